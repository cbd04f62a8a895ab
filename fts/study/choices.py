"""What a person may choose for a cell, the usual value first, read where the science defines it without loading it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.data import tasks
from fts.model import budgets
from fts.study.recipe import FEATURES

if TYPE_CHECKING:
    from collections.abc import Sequence


SIZES = tuple(budgets.BUDGETS)
BUDGETS = tuple(size for size in SIZES if size != "tiny")  # the matrix of the study; `tiny` is for tests
HORIZONS = (1, 3, 5)  # trading days
TASKS = tuple(tasks.TASKS)
TASK, TIER = TASKS[0], "r20"
TIERS = (TIER, *(tier for tier in FEATURES if tier != TIER))
TRIALS = EPOCHS = 50
SEEDS = 3  # of a winner: its own, and others that it was not chosen by
FOLDS = "4of6"  # that a winner is judged on beside its split: the first two stretches would leave little to train on
CONTEXT = 80  # days of a window
# tier -> what a new cell of it has where nothing else is asked for (docs/LOG.md), judged on the days of the others
WINDOWS: dict[str, dict[str, Any]] = {"r20": {"context": 20, "longest": CONTEXT, "norm": "none"}}


def usual_data(names: Sequence[str], tier: str) -> str | None:
    """The data set of a tier that is taken where none is named: the S&P 500's, or the only one; None: one must be."""
    usual = f"SPX.dataset.{tier}"
    if usual in names:
        return usual
    return names[0] if len(names) == 1 else None
