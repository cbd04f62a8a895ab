"""Which trial of a cell may start now, where several run side by side: a function of what has begun and what has ended.

Trial n knows trials 0..n-k (jobs/api/lag.py). So two trials of which one knows the other never run at the same time,
whatever a retry has put back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True)
class Begun:
    """A trial that has begun and has not ended for good."""

    number: int  # within the job
    searched: int | None  # within the search; None: it runs beside it, and neither knows nor is known
    runs: bool  # in a slot of this worker
    put_back: bool  # a failed one that a retry will run again, and that has not begun again


def next_begun(begun: Sequence[Begun], parallel: int) -> int | None:
    """The trial that goes on next: an interrupted one, else one that was put back, the lowest number first."""
    waits = sorted((one for one in begun if not one.runs), key=lambda one: one.number)
    for one in waits:
        if not one.put_back:
            return one.number
    for one in waits:
        if one.searched is None or not _disturbs(one.searched, one.number, begun, parallel):
            return one.number
    return None


def may_begin(searched: int, begun: Iterable[Begun], parallel: int) -> bool:
    """Have all the trials ended that this new one of the search knows?"""
    return not any(other.searched is not None and other.searched <= searched - parallel for other in begun)


def _disturbs(searched: int, number: int, begun: Sequence[Begun], parallel: int) -> bool:
    """Does it know one that has not ended, or does one that runs know it?"""
    others = [other for other in begun if other.number != number and other.searched is not None]
    known_by = [other for other in others if not other.put_back and (other.searched or 0) >= searched + parallel]
    return bool(known_by) or not may_begin(searched, others, parallel)
