"""Trials side by side within a cell, and the lag that keeps the record independent of their timing.

With `parallel = k`, trial n is proposed from, and judged against, trials 0..n-k alone, all of which have ended when it
starts. So the record is the same with one slot or k, whoever ends first, and whatever is killed.
"""

from __future__ import annotations

from typing import Any

PARALLEL = "parallel"  # field of a specification; left out while it is 1
MOST_PARALLEL = 1024
PRICE = (  # python -m benchmarks.lag: four functions, 50 trials, 40 seeds
    "Trial n then knows trials 0..n-K only: of what TPE finds beyond random search in 50 trials, K=4 costs a quarter "
    "and K=16 four fifths; random search pays nothing"
)


def parallel_of(cell: Any) -> int:
    """How many trials of a cell may run at once; 1 for a study whose cells have no such field."""
    return int(getattr(cell, PARALLEL, 1))


def seen_below(cell: Any, number: int) -> int:
    """Trial `number` of the search knows the trials below this number."""
    return max(0, number - parallel_of(cell) + 1)
