"""Parallel trials within a cell, and the lag that makes their results independent of timing.

With `parallel = k`, sampler and pruner of trial n see only trials 0..n-k, all of which have ended when it starts. So
the results are the same with one slot or k, whichever trial ends first, and whatever is killed.
"""

from __future__ import annotations

from typing import Any

PARALLEL = "parallel"  # field of a specification; left out while it is 1
MOST_PARALLEL = 1024
PRICE = (  # python -m benchmarks.lag: four functions, 50 trials, 40 seeds
    "Trial n then sees only trials 0..n-K. In 50 trials, TPE loses a quarter of its advantage over random search with "
    "K=4 and four fifths with K=16; random search loses nothing"
)


def parallel_of(cell: Any) -> int:
    """Returns how many trials of a cell may run at once; 1 if its study has no such field."""
    return int(getattr(cell, PARALLEL, 1))


def seen_below(cell: Any, number: int) -> int:
    """Returns the number below which trial `number` of the search sees earlier trials."""
    return max(0, number - parallel_of(cell) + 1)
