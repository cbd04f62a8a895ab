"""Small invented histories for tests: a random walk with a believable day inside each bar."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fts.data.manifest import DatasetVersion
from fts.features import leak
from fts.study import dataset


def make_bars(rows: int = 900, seed: int = 0, start: str = "2015-01-05") -> pd.DataFrame:
    """Bars on business days without about 3 % of them (holidays), as fts.data.bars.check_bars returns them."""
    rng = np.random.default_rng(seed)
    days = pd.bdate_range(start, periods=int(rows * 1.1) + 20).to_numpy().astype("datetime64[us]")
    days = np.sort(rng.permutation(days[1:])[: rows - 1])
    index = pd.DatetimeIndex(np.concatenate([[np.datetime64(start, "us")], days]), name="Date")
    close = 100 * np.exp(np.cumsum(rng.normal(0.0002, 0.011, rows)))
    open_ = close * np.exp(rng.normal(0, 0.004, rows))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.004, rows)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.004, rows)))
    volume = np.round(1e6 * np.exp(rng.normal(0, 0.3, rows)))
    return pd.DataFrame({"Open": open_, "High": high, "Low": low, "Close": close, "Volume": volume}, index=index)


def write_csv(bars: pd.DataFrame, path: Path) -> Path:
    bars.to_csv(path)  # to_csv writes the shortest text that reads back as the same float
    return path


def build(root: Path, *words: str, **named: Any) -> DatasetVersion:
    """dataset.build with ten cuts of the leak check, for tests of something else: every day takes .3 to 4 s."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leak, "_every_day", lambda *_, **__: None)
        return dataset.build(root, *words, **named)
