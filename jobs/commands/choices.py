"""What a person may choose for a cell, the usual value first, without loading the science (a test compares)."""

from __future__ import annotations

from collections.abc import Sequence

BUDGETS = ("2M", "20M", "200M", "2B")  # the matrix of the study
SIZES = ("tiny", *BUDGETS)  # `tiny` is for tests
HORIZONS = (1, 3, 5)  # trading days
TASKS = ("threshold_1pct", "threshold_1pct_close", "threshold_2pct", "threshold_0.5pct")
TIERS = ("a25", "a20", "c")
TASK, TIER = TASKS[0], TIERS[0]
TRIALS = EPOCHS = 50
PRUNERS = {"none": "tpe", "halving": "random", "median": "tpe"}  # with the sampler that is taken beside each


def usual_data(names: Sequence[str], tier: str) -> str | None:
    """The data set of a tier that is taken where none is named: the S&P 500's, or the only one; None: one must be."""
    usual = f"SPX.dataset.{tier}"
    if usual in names:
        return usual
    return names[0] if len(names) == 1 else None
