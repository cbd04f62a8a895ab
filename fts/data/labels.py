"""What a cell predicts: names of tasks, their labels, and fingerprints that tell two labels apart (lesson 2)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_NAME = re.compile(r"threshold_(\d{1,2}(?:\.\d{1,3})?)pct(_close)?")


class UnknownTask(ValueError):
    """The name is not of the form threshold_1pct or threshold_1pct_close."""


@dataclass(frozen=True)
class Task:
    """Will the price rise by at least `percent` within the horizon?"""

    name: str  # threshold_1pct
    percent: float
    on: str  # high: any high within the horizon counts; close: only closes do

    @property
    def definition(self) -> str:
        """The versioned name: v1 was the earlier scripts' rule on closes, v2 their corrected one on highs."""
        return f"threshold_{self.percent:g}pct.{'high.v2' if self.on == 'high' else 'close.v1'}"

    @property
    def sentence(self) -> str:
        column = self.on.capitalize()
        return f"y[t] = 1 iff max({column}[t+1..t+H]) >= {1 + self.percent / 100:g} * Close[t]"


def task(name: str) -> Task:
    """`threshold_1pct`, `threshold_1pct_close`, `threshold_0.5pct` ... Raises UnknownTask."""
    match = _NAME.fullmatch(name)
    percent = float(match[1]) if match else 0.0
    if not match or percent <= 0 or name != f"threshold_{percent:g}pct{match[2] or ''}":
        raise UnknownTask(
            f"no task {name!r:.60}; a task is called threshold_1pct (on highs) or threshold_1pct_close, with any "
            "percentage from 0.001 to 99"
        )
    return Task(name, percent, "close" if match[2] else "high")


# the ones of the study; `task` knows the general form
TASKS: dict[str, Task] = {
    name: task(name) for name in ("threshold_1pct", "threshold_1pct_close", "threshold_2pct", "threshold_0.5pct")
}


def label(bars: pd.DataFrame, task_name: str, horizon: int) -> np.ndarray:
    """y_T float32: 1 if the rise comes within `horizon` trading days, 0 if not, NaN in the last `horizon` rows."""
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
    """Equal fingerprints of different tasks or horizons mean that one of them is trained on the other's labels."""

    md5: str
    base_rate: float  # share of ones among the known labels
    n: int  # known labels
    definition: str = ""  # versioned name and horizon: threshold_1pct.high.v2.h3


def fingerprint(y: np.ndarray, definition: str = "") -> LabelFingerprint:
    """md5 over one byte per label (0, 1, 255 for unknown), so that it does not depend on the float format."""
    known = np.isfinite(y)
    codes = np.where(known, np.nan_to_num(y), 255).astype(np.uint8)
    rate = float(y[known].mean(dtype=np.float64)) if known.any() else float("nan")
    return LabelFingerprint(hashlib.md5(codes.tobytes()).hexdigest(), rate, int(known.sum()), definition)
