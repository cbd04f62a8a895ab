"""The values that a user may choose for a cell, the default first. Importing it loads no science."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.data import tasks
from fts.model import budgets
from fts.raising import quoted
from fts.study.recipe import FEATURES

if TYPE_CHECKING:
    from collections.abc import Sequence


SIZES = tuple(budgets.BUDGETS)
BUDGETS = tuple(size for size in SIZES if size != "tiny")  # `tiny` is only for tests
HORIZONS = (1, 3, 5)  # trading days
TASKS = tuple(tasks.TASKS)
TASK, TIER = TASKS[0], "r20"
TIERS = (TIER, *(tier for tier in FEATURES if tier != TIER))
TRIALS = EPOCHS = 50
SEEDS = 3  # of a winner: its own seed, and others that it was not selected by
FOLDS = "4of6"  # folds of a winner besides its split: the first two of six would leave little to train on
CONTEXT = 80  # days in a window
# tier -> defaults of a new cell that differ from those of other tiers (docs/LOG.md); evaluated on the same days
WINDOWS: dict[str, dict[str, Any]] = {"r20": {"context": 20, "longest": CONTEXT, "norm": "none"}}


def unknown_tier(tier: str) -> str:
    return f"there is no tier {quoted(tier, 40)}; there are {', '.join(TIERS)}"


def usual_data(names: Sequence[str], tier: str) -> str | None:
    """Returns the default data set of a tier: the S&P 500's, or the only one. None if a name is needed."""
    usual = f"SPX.dataset.{tier}"
    if usual in names:
        return usual
    return names[0] if len(names) == 1 else None
