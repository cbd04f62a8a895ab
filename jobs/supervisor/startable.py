"""Finds the job that a slot should run: the first by rank whose trial can begin now, else the first.

So a job that wants a GPU, or a node larger than the free one, does not keep the jobs behind it from a free slot.
Neither does one whose study does not say what its trials want.
"""

from __future__ import annotations

import threading
import time
from functools import cache
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.executors.base import Want
from fts.jobs.status.formatting import count
from fts.jobs.supervisor.declared_wants import DeclaredWants
from fts.state import transitions
from fts.state.ticket_rows import runnable, spec_md5
from fts.state.values.job import SILENT, is_of_study

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from fts.jobs.settings import WorkerSettings
    from fts.jobs.supervisor.slot import Slot
    from fts.state.db import Database

RESERVED_S = 2.0  # in which a slot claims the job for which its trial has left it
MOST = 10_000  # jobs that are looked at, from the first by rank: 20 ms
AT_ONCE = 100  # specifications that are read together
READ_S = 0.2  # for specifications that were not read before; the rest is read at later looks
TELL_AGAIN_S = 60.0  # another worker may have changed the rows since
MOST_TOLD = 1_000  # jobs, from the first by rank, whose rows say that later ones start before them


@dataclass(frozen=True)
class Left:
    """A trial that has left its slot to another job."""

    md5: str  # of its job's specification
    trial_id: int
    want: Want


class StartableJobs:
    """What the queued jobs of one worker want. Thread-safe. `takes_work`: does the worker still take jobs?"""

    def __init__(self, db: Database, settings: WorkerSettings, takes_work: Callable[[], bool] = lambda: True) -> None:
        self.db, self._takes_work = db, takes_work
        self.declared = DeclaredWants(db, settings.threads)
        self._lock = threading.Lock()
        self._left: dict[int, Left] = {}  # job id -> what its trial wants that has left a slot
        self._reserved: dict[int, tuple[int, float]] = {}  # job id -> the slot that is to claim it, until when
        # job id -> why its row says that later jobs start before it, and until when that need not be looked at again
        self._told: dict[int, tuple[str, float]] = {}

    def ahead(self, slot: Slot, excluded: Collection[int]) -> dict[int, str]:
        """Returns the queued jobs that the slot should pass over for the first that can begin now, and why.

        If none can, only those of studies that do not answer: the first of the others then waits in the slot.
        """
        first = None
        found = runnable(self.db, excluded, MOST if slot.is_selective else 1)
        wants = self._wants(found)
        if slot.is_selective:
            known = [n for n, want in enumerate(wants) if want is not None]
            able = slot.first_startable([want for want in wants if want is not None])
            first = None if able is None else known[able]
        elif None in wants:
            found = runnable(self.db, excluded, MOST)
            wants = self._wants(found)
        passed = {found[n][0]: self._silence(found[n][0]) for n, want in enumerate(wants) if want is None}
        return passed | {found[n][0]: lack(want.gpus) for n, want in enumerate(wants[: first or 0]) if want is not None}

    def tell(self, passed: Mapping[int, str], worker_id: int) -> None:
        """Writes into the rows of these jobs, and an event, why they are passed over, if that is news.

        Takes it back for jobs of a study that has answered since.
        """
        now, news, again = time.monotonic(), dict[int, str | None](), dict[int, str | None]()
        with self._lock:
            for job_id, why in list(passed.items())[:MOST_TOLD]:
                told, until = self._told.get(job_id, ("", 0.0))
                if told != why or until < now:
                    self._told[job_id] = (why, now + TELL_AGAIN_S)
                    (again if told == why else news)[job_id] = why
            for job_id, (why, _) in list(self._told.items()):
                if is_of_study(why) and self.declared.silent(job_id) is None:
                    news[job_id] = None
                    del self._told[job_id]
        if news:
            transitions.pass_over(self.db, worker_id, news)
        if again:
            transitions.pass_over(self.db, worker_id, again, again=True)

    def claimed(self, slot: Slot, job_id: int) -> None:
        """Notes that the slot has taken the job, which takes its GPUs in a moment."""
        with self._lock:
            self._told.pop(job_id, None)
        want = self.declared.latest(job_id)
        if want is not None and slot.is_local:
            slot.room.expect(slot.index, want.gpus)

    def ended(self, slot: Slot) -> None:
        """Notes that the slot has left its job, which may have taken no GPUs."""
        if slot.is_local:
            slot.room.expect(slot.index, 0)

    def other(self, slot: Slot, job_id: int, want: Want, excluded: Collection[int]) -> int | None:
        """Returns a queued job that can begin in the slot now, while a trial of `job_id` waits; None: none can.

        For RESERVED_S no other slot gets the same job as the answer, so that only one trial leaves its slot for it.
        """
        if not slot.is_selective or not self._takes_work():
            return None
        now = time.monotonic()
        with self._lock:
            self._reserved = {job: (to, until) for job, (to, until) in self._reserved.items() if until > now}
            others = {job for job, (to, _) in self._reserved.items() if to != slot.index}
        found = runnable(self.db, {*excluded, *others, job_id}, MOST)
        known = [(job, its) for (job, _), its in zip(found, self._wants(found), strict=False) if its is not None]
        first = slot.first_startable([want, *(its for _, its in known)])
        if not first:
            return None
        chosen = known[first - 1][0]
        with self._lock:
            if self._reserved.setdefault(chosen, (slot.index, now + RESERVED_S))[0] != slot.index:
                return None  # to another slot, a moment ago
        return chosen

    def leaves(self, job_id: int, trial_id: int, want: Want) -> None:
        """Notes what a trial wants that leaves its slot to another job."""
        left = Left(spec_md5(self.db, job_id), trial_id, want)
        with self._lock:
            self._left[job_id] = left

    def needed(self, job_id: int, trial_id: int) -> int:
        """Returns the bytes that a trial that has left its slot needs, as far as known, and forgets them."""
        with self._lock:
            left = self._left.pop(job_id, None)
        return left.want.needed if left is not None and left.trial_id == trial_id else 0

    def _wants(self, found: Sequence[tuple[int, str]]) -> list[Want | None]:
        """Returns what these jobs want, without the last ones if not all can be read within READ_S.

        None: its study does not answer.
        """
        wants, until, some = list[Want | None](), time.monotonic() + READ_S, False
        for n, (job_id, md5) in enumerate(found):
            want = self._known(job_id, md5)
            if want is None and self.declared.silent(job_id) is None:
                if some and time.monotonic() > until:
                    break
                self.declared.ask([other for other, its in found[n : n + AT_ONCE] if self._known(other, its) is None])
                want = self._known(job_id, md5)
                if want is None and self.declared.silent(job_id) is None:
                    want = Want()  # its specification has changed just now
            some = some or want is not None
            wants.append(want)
        return wants

    def _known(self, job_id: int, md5: str) -> Want | None:
        if self.declared.not_returned(job_id) is not None:
            return None
        left = self._left.get(job_id)  # without the lock, as DeclaredWants.of
        return left.want if left is not None and left.md5 == md5 else self.declared.of(job_id, md5)

    def _silence(self, job_id: int) -> str:
        why = self.declared.not_returned(job_id)
        return f"the study {self.declared.silent(job_id) or ''} {SILENT}" if why is None else why


@cache  # for 10,000 jobs a look
def lack(gpus: int) -> str:
    """Says what a trial with so many GPUs needs that was not free."""
    return f"it needs {count(gpus, 'GPU')} besides a slot" if gpus else "it needs a node that is free for it"
