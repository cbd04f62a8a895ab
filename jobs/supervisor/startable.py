"""Finds the job that a slot should run: the first by rank whose trial can begin now, else the first.

So a job that wants a GPU, or a node larger than the free one, does not keep the jobs behind it from a free slot.
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.api.load import study as load_study
from fts.jobs.api.study import LEARN
from fts.jobs.executors.base import Want
from fts.state.ticket_rows import runnable, spec_md5, specifications

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from fts.jobs.api.study import Resources
    from fts.jobs.settings import WorkerSettings
    from fts.jobs.supervisor.slot import Slot
    from fts.state.db import Database

RESERVED_S = 2.0  # in which a slot claims the job for which its trial has left it
MOST = 10_000  # jobs that are looked at, from the first by rank: 20 ms
AT_ONCE = 100  # specifications that are read together
READ_S = 0.2  # for specifications that were not read before; the rest is read at later looks


@dataclass(frozen=True)
class Left:
    """A trial that has left its slot to another job."""

    md5: str  # of its job's specification
    trial_id: int
    want: Want


def want_of(resources: Resources, threads: int, needed: int = 0) -> Want:
    """Returns what a trial wants from its node. Memory that is promised together with GPUs is that of each GPU.

    `needed`: bytes that a node did not have.
    """
    promised = resources.memory if isinstance(resources.memory, int) else 0
    return Want(
        threads=threads,
        gpus=resources.gpu,
        memory=None if resources.gpu else promised or None,
        needed=max(promised, needed),
    )


def by_function(resources: Resources) -> bool:
    """Is its memory the answer of a user's function, which is known once a trial of it has been claimed?"""
    return isinstance(resources.memory, str) and resources.memory != LEARN


class StartableJobs:
    """What the queued jobs of one worker want. Thread-safe. `takes_work`: does the worker still take jobs?"""

    def __init__(self, db: Database, settings: WorkerSettings, takes_work: Callable[[], bool] = lambda: True) -> None:
        self.db, self.settings, self._takes_work = db, settings, takes_work
        self._lock = threading.Lock()
        self._declared: dict[int, tuple[str, Want]] = {}  # job id -> md5 of its specification, and what it declares
        self._left: dict[int, Left] = {}  # job id -> what its trial wants that has left a slot
        self._reserved: dict[int, tuple[int, float]] = {}  # job id -> the slot that is to claim it, until when

    def ahead(self, slot: Slot, excluded: Collection[int]) -> frozenset[int]:
        """Returns the queued jobs before the one that the slot should run; none if no job can begin now."""
        if not slot.is_selective:
            return frozenset()
        found = runnable(self.db, excluded, MOST)
        first = slot.first_startable(self._wants(found))
        return frozenset(job_id for job_id, _ in found[: first or 0])

    def claimed(self, slot: Slot, job_id: int) -> None:
        """Notes that the slot has taken the job, which takes its GPUs in a moment."""
        with self._lock:
            declared = self._declared.get(job_id)
        if declared is not None and slot.is_local:
            slot.room.expect(slot.index, declared[1].gpus)

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
        first = slot.first_startable([want, *self._wants(found)])
        if not first:
            return None
        chosen = found[first - 1][0]
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

    def _wants(self, found: Sequence[tuple[int, str]]) -> list[Want]:
        """Returns what these jobs want, without the last ones if not all can be read within READ_S."""
        wants, until = list[Want](), time.monotonic() + READ_S
        for n, (job_id, md5) in enumerate(found):
            want = self._known(job_id, md5)
            if want is None:
                if wants and time.monotonic() > until:
                    break
                self._read([other for other, its in found[n : n + AT_ONCE] if self._known(other, its) is None])
                want = self._known(job_id, md5) or Want()  # it has changed just now
            wants.append(want)
        return wants

    def _known(self, job_id: int, md5: str) -> Want | None:
        with self._lock:
            if (left := self._left.get(job_id)) is not None and left.md5 == md5:
                return left.want
            declared = self._declared.get(job_id)
        return declared[1] if declared is not None and declared[0] == md5 else None

    def _read(self, job_ids: Sequence[int]) -> None:
        for job_id, study, spec, md5 in specifications(self.db, job_ids):
            want = self._declares(study, spec)
            with self._lock:
                self._declared[job_id] = (md5, want)

    def _declares(self, name: str, spec: str) -> Want:
        """Returns what a specification declares; nothing if it is wrong: the job then fails once claimed."""
        try:
            study = load_study(name)
            resources = study.resources(study.cell(json.loads(spec)))
        except Exception:  # noqa: BLE001  # a study's own code
            return Want()
        # of such memory the least is assumed: otherwise a trial that may share a GPU would wait for a whole one
        needed = 1 if resources.gpu and by_function(resources) else 0
        return want_of(resources, resources.threads or self.settings.threads, needed)
