"""Measures how far features have drifted from the training rows (prices were once 6.5 times as high: lesson 22)."""

from __future__ import annotations

import numpy as np
import pandas as pd


def drift_table(features: pd.DataFrame, train_stop: int, val_stop: int) -> pd.DataFrame:
    """Returns one row per feature: mean and sd in train [0, train_stop), validation and test, and their comparison.

    `{part}_mean_ratio` = mean / train mean, `{part}_sd_ratio` = sd / train sd, `{part}_shift` = (mean - train mean) /
    train sd. Uses features only, never labels.
    """
    x_TF = features.to_numpy(np.float64)
    train_F, sd_F = _mean_sd(x_TF[:train_stop])
    columns = {"feature": list(features.columns), "train_mean": train_F, "train_sd": sd_F}
    for name, x in (("val", x_TF[train_stop:val_stop]), ("test", x_TF[val_stop:])):
        mean_F, later_sd_F = _mean_sd(x)
        with np.errstate(divide="ignore", invalid="ignore"):  # a feature that is constant in train has no ratio
            columns |= {
                f"{name}_mean": mean_F,
                f"{name}_sd": later_sd_F,
                f"{name}_mean_ratio": mean_F / train_F,
                f"{name}_sd_ratio": later_sd_F / sd_F,
                f"{name}_shift": (mean_F - train_F) / sd_F,
            }
    return pd.DataFrame(columns)


def _mean_sd(x_TF: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not len(x_TF):
        return np.full(x_TF.shape[1], np.nan), np.full(x_TF.shape[1], np.nan)
    return x_TF.mean(axis=0), x_TF.std(axis=0)
