"""Cuts a history into train, validation and test, so that no window and no label crosses a border."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from fts.raising import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

MIN_POSITIVES = 30  # a constant predictor's loss on 19 validation samples had sd 0.148 (lesson 1)


class BadSplit(ValueError):
    """An unusable split: wrong order, unknown fields, or an empty part."""


class SplitTooSmall(BadSplit):
    """A part has too few windows or positives for meaningful scores."""


@dataclass(frozen=True)
class DateSplit:
    """Train until `train_end`, validation until `val_end` (both included), then test."""

    train_end: date = date(2022, 12, 31)
    val_end: date = date(2024, 12, 31)

    def __post_init__(self) -> None:
        if not self.train_end < self.val_end:
            raise BadSplit(f"train must end before validation ends, got {self.train_end} and {self.val_end}")


@dataclass(frozen=True)
class FractionSplit:
    """The first `train` share of the rows, then `val`; the rest is test."""

    train: float = 0.70
    val: float = 0.15

    def __post_init__(self) -> None:
        if not (0 < self.train < 1 and 0 < self.val < 1 and self.train + self.val <= 1):
            raise BadSplit(f"fractions must be positive and sum to at most 1, got {self.train} and {self.val}")


Split = DateSplit | FractionSplit


@dataclass(frozen=True)
class Borders:
    """A split of T rows: train is [0, train_stop), validation [train_stop, val_stop), test [val_stop, T)."""

    train_stop: int
    val_stop: int
    n_rows: int
    text: str  # how it was chosen and where the borders are, for a person

    def part(self, name: str) -> tuple[int, int]:
        return {
            "train": (0, self.train_stop),
            "val": (self.train_stop, self.val_stop),
            "test": (self.val_stop, self.n_rows),
        }[name]


def parse(content: Mapping[str, Any] | None) -> Split | None:
    """Parses {"train_end": "2022-12-31", "val_end": "2024-12-31"} or {"train": 0.7, "val": 0.15}; {} is None (choose).

    Raises BadSplit.
    """
    if not content:
        return None
    try:
        if set(content) == {"train_end", "val_end"}:
            return DateSplit(date.fromisoformat(content["train_end"]), date.fromisoformat(content["val_end"]))
        if set(content) == {"train", "val"}:
            return FractionSplit(float(content["train"]), float(content["val"]))
    except BadSplit:
        raise
    except (TypeError, ValueError) as error:
        raise BadSplit(f"split {quoted(dict(content), 120)} cannot be read: {error}") from None
    raise BadSplit(f"split has {', '.join(map(str, content))}, expected train_end and val_end, or train and val")


def borders(dates: np.ndarray, split: Split | None = None) -> Borders:
    """Returns the borders of the split in `dates` (T days, rising, datetime64[D]).

    None: the default dates if all three parts get rows, else by fraction. Raises BadSplit if train or
    validation would be empty.
    """
    chosen, why = (split, "as asked") if split is not None else _choose(dates)
    if isinstance(chosen, DateSplit):
        train_stop = int(np.searchsorted(dates, np.datetime64(chosen.train_end, "D"), side="right"))
        val_stop = int(np.searchsorted(dates, np.datetime64(chosen.val_end, "D"), side="right"))
        how = "by date"
    else:
        train_stop = int(len(dates) * chosen.train)
        val_stop = int(round(len(dates) * (chosen.train + chosen.val), 6))
        how = f"by fraction {chosen.train:.0%} / {chosen.val:.0%} / {1 - chosen.train - chosen.val:.0%}"
    if not 0 < train_stop < val_stop:
        span = f"{dates[0]} to {dates[-1]}" if len(dates) else "no rows"
        raise BadSplit(f"the split {chosen} leaves train or validation empty: the data covers {span}")
    parts = f"train {_span(dates, 0, train_stop)}, val {_span(dates, train_stop, val_stop)}"
    return Borders(
        train_stop, val_stop, len(dates), f"{how} ({why}): {parts}, test {_span(dates, val_stop, len(dates))}"
    )


def _choose(dates: np.ndarray) -> tuple[Split, str]:
    """Returns the default dates if all three parts get rows, else fractions; with the reason, for the record."""
    default = DateSplit()
    last, first = dates[-1], dates[0]
    if last <= np.datetime64(default.val_end, "D"):
        return FractionSplit(), f"the data ends on {last}, so a test part after {default.val_end} would be empty"
    if first > np.datetime64(default.train_end, "D"):
        return FractionSplit(), f"the data begins on {first}, so a train part until {default.train_end} would be empty"
    return default, "the default"


def _span(dates: np.ndarray, start: int, stop: int) -> str:
    return f"{dates[start]}..{dates[stop - 1]} ({stop - start} rows)" if stop > start else "none"


def window_ends(start: int, stop: int, context: int, horizon: int) -> np.ndarray:
    """Returns int64 positions e of each window's last row: rows e-context+1..e+horizon are all inside [start, stop)."""
    return np.arange(start + context - 1, stop - horizon, dtype=np.int64)


def check_counts(y_T: np.ndarray, train_ends: np.ndarray, val_ends: np.ndarray, min_positives: int, text: str) -> None:
    """Raises SplitTooSmall unless validation has `min_positives` of each class, and train both classes.

    Few negatives make a score as noisy as few positives: AUC and loss depend on the rarer class (lesson 1).
    """
    n_val, n_pos = len(val_ends), int(y_T[val_ends].sum())
    n_train, n_train_pos = len(train_ends), int(y_T[train_ends].sum())
    rarer, n_rarer = ("positives", n_pos) if n_pos <= n_val - n_pos else ("negatives", n_val - n_pos)
    if n_rarer < min_positives:
        raise SplitTooSmall(
            f"validation has {n_rarer} {rarer} in {n_val} windows, at least {min_positives} are needed for a useful "
            f"score; take a longer history, another split or another task ({text})"
        )
    for part, n, pos in (("train", n_train, n_train_pos), ("validation", n_val, n_pos)):
        if pos in (0, n):
            raise SplitTooSmall(f"{part} has {pos} positives in {n} windows, both classes are needed ({text})")
