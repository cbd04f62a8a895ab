"""Caches the values made from rows: a write changes a few of ten thousand rows, and only those are converted again."""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING, Any, TypeVar

from fts.state.values import JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fts.state.values import Job

Made = TypeVar("Made")
Found = TypeVar("Found")
ENDED = (JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLED)
PLAIN = 2  # marshal version without references: equal values give equal bytes


class KnownRows:
    """The cache of one reader. Compares rows by a 64-bit hash of their values; does not keep the rows."""

    def __init__(self, clean: Callable[[Any], Any] | None = None) -> None:
        """`clean`: is applied to each value before it is cached."""
        self._clean = clean
        self._kept: dict[str, dict[int, tuple[int, Any]]] = {}  # table: row id: (hash, value)
        self._of_jobs: dict[str, dict[int, tuple[Job, Any]]] = {}  # what: job id: (ended job, what its trials give)

    def values(
        self, table: str, rows: Iterable[Mapping[str, Any]], make: Callable[[Mapping[str, Any]], Made], *more: Any
    ) -> tuple[Made, ...]:
        """Converts each row with `make`, in order; returns the same object as the last time for an unchanged row.

        `more`: dictionaries by row id; their values count as further columns of the row.
        """
        before, now = self._kept.get(table, {}), dict[int, tuple[int, Any]]()
        for row in rows:
            id = row["id"]
            hashed = hash(marshal.dumps((*row.values(), *(each.get(id) for each in more)), PLAIN))
            kept = before.get(id)
            if kept is None or kept[0] != hashed:
                made = make(row)
                kept = hashed, made if self._clean is None else self._clean(made)
            now[id] = kept
        self._kept[table] = now
        return tuple(value for _, value in now.values())

    def of_jobs(
        self, what: str, jobs: Sequence[Job], read: Callable[[list[int]], Mapping[int, Found]]
    ) -> dict[int, Found]:
        """Returns by job id what `read` finds in the trials of these jobs; jobs without a value are left out.

        An ended job that is the same object as the last time is not read again: its trials change only together with
        its row. So the cost of a read does not grow with the trials of all ended jobs.
        """
        before = self._of_jobs.get(what, {})
        known = {job.id: before[job.id] for job in jobs if job.id in before and before[job.id][0] is job}
        changed = [job for job in jobs if job.id not in known]
        found = read([job.id for job in changed]) if changed else {}
        known |= {job.id: (job, found.get(job.id)) for job in changed}
        self._of_jobs[what] = {id: kept for id, kept in known.items() if kept[0].status in ENDED}
        return {id: value for id, (_, value) in known.items() if value is not None}

    def has(self, table: str, value: Any) -> bool:
        """Whether this object is one of those returned last."""
        kept = self._kept.get(table, {}).get(value.id)
        return kept is not None and kept[1] is value
