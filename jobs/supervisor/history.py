"""Caches the recorded trials of one job for its sampler and pruner, and rereads only rows that may have changed.

An ended trial of a running job never changes, so a refresh costs the same with ten trials and with ten thousand. The
cache holds only what is in the rows: another supervisor that reads them makes the same decisions.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from fts.jobs.records.trial_roles import role_of
from fts.jobs.search.past_trial import PastTrial
from fts.jobs.search.recorded_study import Rebuilt
from fts.jobs.supervisor.extra_trials import search_number
from fts.state import queries
from fts.state.scheduling import IMPORTED
from fts.state.values import Cause, Fault, Trial, TrialStatus, Verb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fts.state.db import Database

FAILURES_IN_A_ROW = 3  # then the job fails: the parameters are not the cause
ENDED = (TrialStatus.COMPLETE, TrialStatus.PRUNED, TrialStatus.FAILED)
BEGINS_AGAIN = (Verb.RETRIED, Verb.EXTENDED, Verb.UNDONE, Verb.REDONE)  # earlier failures do not count after these


class JobHistory:
    """The recorded trials of a job. Call `refresh` first, whenever a trial may have started or ended.

    Thread-safe: several slots call it.
    """

    def __init__(self, db: Database, job_id: int) -> None:
        self.db, self.job_id = db, job_id
        self._lock = threading.RLock()
        begins = queries.claimed_since(db, job_id, BEGINS_AGAIN)
        self._in_order = FailuresInOrder(queries.failed_before(db, job_id, begins))
        self.rebuilt = Rebuilt()
        self.open: tuple[Trial, ...] = ()  # trials that have not ended, by number
        self.extra_numbers: list[int] = []  # numbers of the extra trials, which are not part of the search
        self._ended: set[int] = set()
        self._settled: dict[int, PastTrial] = {}  # ended trials of the search, by number in the job
        self._open: dict[int, PastTrial] = {}  # open trials of the search, by number in the job
        self._distributions: dict[str, dict[str, Any]] = {}  # by their JSON: equal ones of all trials are one object
        self._first_open = 0  # every trial with a lower number has ended
        self._twins: dict[str, int] = {}  # md5 of an effective configuration -> its first complete trial

    def refresh(self) -> None:
        """Raises UnreadableHistory for a row that cannot be read: without it the search would be another one."""
        with self._lock:
            self._refresh()

    def _refresh(self) -> None:
        rows = queries.readable_trials(self.db, self.job_id, self._first_open)
        curves = queries.curves(self.db, self.job_id, self._first_open, self._distributions) if rows else ()
        ended = [row for row in rows if is_settled(row) and row.number not in self._ended]
        known = set(self.extra_numbers)
        self.extra_numbers += [row.number for row in rows if role_of(row) is not None and row.number not in known]
        past = {
            curve.number: PastTrial(**vars(curve) | {"number": self.search_number(curve.number)})
            for curve in curves
            if curve.number not in self.extra_numbers
        }
        self.open = tuple(row for row in rows if not is_settled(row))
        self._open = {row.number: past[row.number] for row in self.open if row.number in past}
        for row in ended:
            self._ended.add(row.number)
            if row.number not in past:
                continue
            self._settled[row.number] = past[row.number]
            if row.status == TrialStatus.COMPLETE:
                first = self._twins.setdefault(row.effective_md5, row.number)
                self._twins[row.effective_md5] = min(first, row.number)
        of_search = [row for row in ended if role_of(row) is None]
        self._in_order.add({self.search_number(row.number): row for row in of_search})
        self._first_open = self.open[0].number if self.open else len(self)

    def __len__(self) -> int:
        return len(self._ended) + len(self.open)

    def search_number(self, number: int) -> int:
        """Returns the trial's number within the search, which does not count extra trials."""
        return search_number(self.extra_numbers, number)

    def past(self, without: int | None = None) -> list[PastTrial]:
        """Returns the trials of the search, ordered by their numbers within it; `without`: leave out this trial."""
        with self._lock:
            found = {**self._settled, **self._open}
        if without is not None:
            found.pop(without, None)
        return sorted(found.values(), key=attrgetter("number"))

    def before(self, number: int) -> list[PastTrial]:
        """Returns the trials with lower numbers within the search."""
        past = self.past()
        return past[: bisect_left(past, number, key=attrgetter("number"))]

    def twin(self, effective_md5: str, below: int) -> Trial | None:
        """Returns the first complete trial with this effective configuration if its search number is below `below`."""
        number = self._twins.get(effective_md5)
        known = number is not None and self.search_number(number) < below
        return queries.trial(self.db, self.job_id, number) if number is not None and known else None

    def fails_after(self, below: int) -> Trial | None:
        """Returns the trial, below this search number, after which the job fails; None: the job may go on.

        Counts in the order of the numbers, so that it does not depend on which trial ends first.
        """
        last = self._in_order.last
        return last[1] if last is not None and last[0] < below else None

    @property
    def search_has_ended(self) -> bool:
        """Has every started trial of the search ended?"""
        return all(role_of(trial) is not None for trial in self.open)


class FailuresInOrder:
    """Counts failures in a row in the order of the search numbers; waits for lower numbers to end."""

    def __init__(self, passed: frozenset[int] = frozenset()) -> None:
        self.passed = passed  # ids of trials that failed before a person asked to go on: they do not count
        self.last: tuple[int, Trial] | None = None  # search number and trial after which the job fails
        self._next = 0
        self._ahead: dict[int, Trial] = {}  # ended trials that wait for a lower number to end
        self._failures, self._fitted = 0, False

    def add(self, ended: dict[int, Trial]) -> None:
        self._ahead |= ended
        while self.last is None and (trial := self._ahead.pop(self._next, None)) is not None:
            if trial.status in FITTED or (trial.id not in self.passed and IMPORTED not in trial.badges):
                self._failures = failures_in_a_row([trial], self._failures, self._fitted)
                self._fitted |= trial.status in FITTED
                counted = trial.status is TrialStatus.FAILED and trial.cause == Cause.DATA_ERROR
                if counted or self._failures >= FAILURES_IN_A_ROW:
                    self.last = (self._next, trial)
            self._next += 1


def is_settled(trial: Trial) -> bool:
    """Has it ended for good? A failed trial that a retry has reset runs again."""
    return trial.status in ENDED and trial.ended_at is not None


TOO_LARGE = (Cause.OUT_OF_MEMORY, Cause.CANNOT_FIT)
FITTED = (TrialStatus.COMPLETE, TrialStatus.PRUNED)


def failures_in_a_row(trials: Iterable[Trial], before: int = 0, fitted: bool = False) -> int:
    """Returns how many trials in a row failed at the end because of the code or data, counting on from `before`.

    `fitted`: an earlier trial was complete or pruned. Then a trial that is too large is not the code's fault.
    """
    failures = before
    for trial in sorted((one for one in trials if is_settled(one)), key=lambda one: one.ended_at or 0.0):
        if trial.status in FITTED:
            failures, fitted = 0, True
        elif not (fitted and trial.cause in TOO_LARGE):
            failures += trial.cause is None or trial.cause.fault is not Fault.TRIAL
    return failures
