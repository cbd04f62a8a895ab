"""Finds the next moment of a replay."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NEAR_S = 0.001  # events this close together are one moment


def neighbour(times: Sequence[float], at: float | None, step: int) -> float | None:
    """Returns the time of the event before (`step` < 0) or after `at`; None: now. The clock may have been set back."""
    here = at if at is not None else time.time()
    if step < 0:
        return max((moment for moment in times if moment < here - NEAR_S), default=min(times))
    return min((moment for moment in times if moment > here + NEAR_S), default=None)
