"""Computes the new ranks of moved jobs; a smaller rank runs earlier."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

Line = Sequence[tuple[int, float]]  # (job id, rank) of the waiting jobs, by rank


def to_place(line: Line, moved: Collection[int], place: int) -> list[int]:
    """Returns the job ids with the moved jobs, in their order, from place `place` (1 is the head) on."""
    chosen = set(moved)
    rest = [job for job, _ in line if job not in chosen]
    at = max(0, min(place - 1, len(rest)))
    return rest[:at] + [job for job, _ in line if job in chosen] + rest[at:]


def before(line: Line, moved: Collection[int], anchor: int) -> list[int]:
    """Returns the job ids with the moved jobs right before job `anchor`."""
    chosen = set(moved)
    rest = [job for job, _ in line if job not in chosen]
    at = rest.index(anchor)
    return rest[:at] + [job for job, _ in line if job in chosen] + rest[at:]


def up(line: Line, moved: Collection[int]) -> list[int]:
    """Returns the job ids with each moved job one place earlier; adjacent moved jobs stay together."""
    order, chosen = [job for job, _ in line], set(moved)
    for i in range(1, len(order)):
        if order[i] in chosen and order[i - 1] not in chosen:
            order[i - 1], order[i] = order[i], order[i - 1]
    return order


def down(line: Line, moved: Collection[int]) -> list[int]:
    """Returns the job ids with each moved job one place later."""
    return up(list(reversed(line)), moved)[::-1]


def new_ranks(line: Line, order: Sequence[int], moved: Collection[int]) -> dict[int, float]:
    """Returns the ranks to write so that the jobs have this order: those of the moved jobs, or of all jobs if no gap
    between ranks is left."""
    old, chosen = dict(line), set(moved)
    if list(order) == [job for job, _ in line]:  # nothing moves: no event, and no undo step of nothing
        return {}
    ranks: dict[int, float] = {}
    i = 0
    while i < len(order):
        if order[i] not in chosen:
            i += 1
            continue
        end = i
        while end < len(order) and order[end] in chosen:
            end += 1
        low = old[order[i - 1]] if i > 0 else None
        high = old[order[end]] if end < len(order) else None
        ranks |= zip(order[i:end], _between(low, high, end - i), strict=True)
        i = end
    full = [ranks.get(job, old[job]) for job in order]
    if any(not a < b for a, b in pairwise(full)):  # no gap left, or equal ranks: renumber all
        ranks = {job: float(n) for n, job in enumerate(order, start=1)}
    return {job: rank for job, rank in ranks.items() if rank != old[job]}


def _between(low: float | None, high: float | None, n: int) -> list[float]:
    if low is None and high is None:
        return [float(i) for i in range(1, n + 1)]
    if low is None:
        assert high is not None
        return [high - n + i for i in range(n)]
    if high is None:
        return [low + i for i in range(1, n + 1)]
    return [low + (high - low) * i / (n + 1) for i in range(1, n + 1)]
