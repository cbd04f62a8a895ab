"""The labels of a task, and fingerprints that distinguish labels (lesson 2)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fts.data.tasks import task

if TYPE_CHECKING:
    import pandas as pd


def label(bars: pd.DataFrame, task_name: str, horizon: int) -> np.ndarray:
    """Returns y_T float32: 1 if the rise comes within `horizon` trading days, else 0; NaN in the last `horizon`."""
    if horizon < 1:
        raise ValueError(f"horizon is {horizon}, expected at least 1 trading day")
    chosen = task(task_name)
    future_T = bars["High" if chosen.on == "high" else "Close"].to_numpy(np.float64)
    target_T = (1 + chosen.percent / 100) * bars["Close"].to_numpy(np.float64)
    y_T = np.full(len(bars), np.nan, dtype=np.float32)
    if len(bars) > horizon:
        best_T = np.lib.stride_tricks.sliding_window_view(future_T[1:], horizon).max(axis=1)  # row t: t+1..t+H
        y_T[: len(best_T)] = best_T >= target_T[: len(best_T)]
    return y_T


@dataclass(frozen=True)
class LabelFingerprint:
    """Equal fingerprints of different tasks or horizons mean that one of them uses the other's labels."""

    md5: str
    base_rate: float  # share of ones among the known labels
    n: int  # number of known labels
    definition: str = ""  # versioned name and horizon: threshold_1pct.high.v2.h3


def fingerprint(y: np.ndarray, definition: str = "") -> LabelFingerprint:
    """Returns the md5 over one byte per label (0, 1, 255 for unknown), independent of the float format."""
    known = np.isfinite(y)
    codes = np.where(known, np.nan_to_num(y), 255).astype(np.uint8)
    rate = float(y[known].mean(dtype=np.float64)) if known.any() else float("nan")
    return LabelFingerprint(hashlib.md5(codes.tobytes()).hexdigest(), rate, int(known.sum()), definition)
