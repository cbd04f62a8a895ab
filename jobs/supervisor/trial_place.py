"""Finds a node and room for one trial, or a reason to leave its job: an order, a job that can begin before it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from fts.jobs.api.study import CannotFit
from fts.jobs.executors.base import OrderReceived
from fts.jobs.status.formatting import count, in_gb
from fts.jobs.supervisor.declared_wants import by_function, want_of
from fts.jobs.supervisor.memory_pool import LACKS_GPUS, Obstacle
from fts.jobs.supervisor.trial_record import FINGERPRINT
from fts.jobs.watchdog.stop_request import StopReason, StopRequest
from fts.state import queries, transitions
from fts.state.ticket_rows import rank_of
from fts.state.values import Cause
from fts.state.values.job import LEFT_SLOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from fts.jobs.api.study import Resources
    from fts.jobs.executors.base import Want
    from fts.jobs.supervisor.admission import Admission
    from fts.jobs.supervisor.trial_memory import TrialMemory
    from fts.jobs.supervisor.trial_record import TrialRecord
    from fts.jobs.supervisor.work import Work
    from fts.state.values import Trial

YIELD_S = 2.0  # between two looks for a job that can begin while the trial waits for a node or for GPUs
OF_NODE = tuple(reason.value for reason in StopReason if reason.of_node)  # values of Attempt.how


class TrialPlace:
    """The node and the room of one trial."""

    def __init__(
        self,
        work: Work,
        trial: Trial,
        resources: Resources,
        memory: TrialMemory,
        record: TrialRecord,
        stays: Callable[[], bool],
    ) -> None:
        """`stays`: must its slot stay with the job, even if the trial has to wait?"""
        self.work, self.db, self.settings, self.slot = work, work.db, work.settings, work.slot
        self.claim, self.job, self.ordered, self.trial = work.claim, work.claim.job, work.ordered, trial
        self.resources, self.memory, self.record, self.stays = resources, memory, record, stays
        startable = work.startable
        self.needed = startable.needed(self.job.id, trial.id) if startable else 0  # bytes that a node did not have
        self._yields_to: int | None = None  # the job that runs in the slot while this one waits
        self._looked_at = time.monotonic()  # for such a job
        self._waits_for = "for a node"  # why it has no node or room yet, as last reported

    def admit(self, alone: bool = False) -> Admission | StopRequest:
        """Waits for a node and room; returns what the trial may use, or the request to leave the job instead.

        `alone`: no other trial may run on its machine. Raises BadMemory.
        """
        if not self._finds_node():
            return self._left()
        waited = False
        while True:
            try:
                admitted = self.memory.admit(alone)
            except CannotFit as refused:
                if self._fits_elsewhere(refused.needed):
                    if self._finds_node():
                        continue
                    return self._left()
                return StopRequest(StopReason.CANNOT_FIT, f"{named(self.trial)} {refused}")
            except OrderReceived:
                return StopRequest(self.ordered(self.job.id) or StopReason.DRAIN)
            if self._takes_room(admitted, waited, learns=admitted.want.alone and not alone):
                return admitted
            waited, order = True, self.ordered(self.job.id)
            if order is not None or self._yields_to is not None or alone or not self.memory.has_learned():
                return self._left()

    def _finds_node(self) -> bool:
        """Waits for a node that can run the trial, and records the wait; False: an order came first."""
        if self.slot.is_local:
            return True
        want = self._want()

        def waits(reason: str) -> None:
            self._waits_for = reason
            self.record.report("waits", f"t{self.trial.number} waits {reason}")

        return self.slot.find(want, lambda: self.ordered(self.job.id) is not None, waits, self._yields)

    def _want(self) -> Want:
        """Returns what the trial wants from a node."""
        before = {one.host for one in queries.attempts(self.db, self.trial.id) if one.how in OF_NODE and one.host}
        trial = self.record.reread()
        of_gpu = trial.predicted_bytes or 0 if self.resources.gpu and by_function(self.resources) else 0
        return replace(
            want_of(self.resources, self.memory.threads, max(self.needed, of_gpu)),
            like=trial.facts.get(FINGERPRINT),
            avoid=frozenset(before),
        )

    def _yields(self) -> bool:
        """Should another job run in the slot while this trial waits for a node or for GPUs? Looks every YIELD_S."""
        startable, backoff = self.work.startable, self.work.backoff
        if startable is None or backoff is None or time.monotonic() - self._looked_at < YIELD_S or self.stays():
            return False
        self._looked_at, want = time.monotonic(), self._want()
        if want.gpus and self.slot.is_followed(want):  # the last one leaves first, so that none passes another
            return False
        excluded = backoff.excluded(self.db, self.settings.outage_pause_s)
        self._yields_to = startable.other(self.slot, self.job.id, want, excluded)
        return self._yields_to is not None

    def _left(self) -> StopRequest:
        """Returns the request to leave the job, for a trial that has not got a node or room."""
        if (order := self.ordered(self.job.id)) is not None or self._yields_to is None:
            return StopRequest(order or StopReason.DRAIN)
        assert self.work.startable is not None, "_yields is false without it"
        self.work.startable.leaves(self.job.id, self.trial.id, self._want())
        what = f"waits {self._waits_for}; {LEFT_SLOT} {self._yields_to}"
        transitions.interrupt_trial(self.db, self.claim, self.trial.id, Cause.DRAINED, f"it {what}")
        return StopRequest(StopReason.REST, f"{named(self.trial)} {what}", yields=True)

    def _fits_elsewhere(self, needed: int) -> bool:
        """Notes what the trial needs and its node does not have. Returns whether another node may have enough."""
        self.needed = max(self.needed, needed)
        want = self._want()
        return self.slot.refused(replace(want, needed=0) if self.memory.fits_no_node(needed) else want)

    def _takes_room(self, admitted: Admission, waited: bool, learns: bool) -> bool:
        """Waits until the other slots leave enough room, and records the wait; False: an order came first.

        With `learns` the trial waits only because its need is unknown: also False when another trial of the job has
        shown it. `waited`: the trial has waited before, so the wait is recorded at the second check only. What it waits
        for may change meanwhile, and is then recorded again.
        """
        looks, told = 0, set[Obstacle]()

        def leaves() -> bool:
            nonlocal looks
            looks += 1
            if learns and looks > 1 and self.memory.has_learned():
                return True
            obstacle = self.slot.room.obstacle(self.slot.index)
            if looks > waited and obstacle is not None and obstacle not in told:
                told.add(obstacle)
                self._waits_for = f"until {waits_for(admitted, obstacle)}"
                self.record.report("waits", f"t{self.trial.number} waits {self._waits_for}")
            return self.ordered(self.job.id) is not None or (obstacle in LACKS_GPUS and self._yields())

        return self.slot.take_room(admitted, leaves, lambda: rank_of(self.db, self.job.id))


def named(trial: Trial) -> str:
    """Returns the number of a trial and its architecture, if it has one: `t3 d64-L32`."""
    return " ".join([f"t{trial.number}", *filter(None, [trial.architecture])])


def waits_for(admitted: Admission, obstacle: Obstacle) -> str:
    """Says what a trial waits for."""
    want = admitted.want
    match obstacle:
        case Obstacle.TURN:
            return "a trial that has waited longer has started"
        case Obstacle.TURN_OF_GPUS:
            return "an earlier trial that waits for GPUs has started"
        case Obstacle.ALONE:
            return "another trial has ended or reported: the memory that one needs is not known yet"
        case Obstacle.OTHERS:
            return "no other trial runs: the memory it needs is not known yet"
        case Obstacle.THREADS:
            return f"{count(want.threads, 'thread')} {'is' if want.threads == 1 else 'are'} free: other trials use them"
        case Obstacle.GPUS:
            return f"{count(want.gpus, 'GPU')} {'is' if want.gpus == 1 else 'are'} free"
        case Obstacle.MEMORY:
            return f"{in_gb(admitted.need)} of memory are free"
