"""Lets several slots of one worker run trials of the same job at the same time, and stops them together.

Trial n uses the results of trials 0..n-k (jobs/api/lag.py). So two trials never run at the same time if one of them
uses the other's result, also after a retry.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.watchdog.stop_request import StopReason, StopRequest
from fts.state.errors import StaleToken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fts.jobs.supervisor.slot import Slot
    from fts.state.values import Trial

Live = frozenset[int]  # numbers of the running trials
LOOK_S = 60.0


class ParallelTrials:
    """Gives trials to slots. One slot leads from the claim to the end of the job; others join while trials can start.

    `open_trial` records the next trial (None: none may start now), `run_trial` runs it in a slot, `after_trial` is
    called when it has ended; the last two return a StopRequest if the job must be left. `may_start`: may another trial
    start now? Then `call_slot` asks the worker for another slot. `look` is called now and then while the leading slot
    waits for others. Thread-safe.
    """

    def __init__(
        self,
        parallel: int,
        open_trial: Callable[[Live], Trial | None],
        run_trial: Callable[[Trial, Slot], StopRequest | None],
        after_trial: Callable[[Trial], StopRequest | None],
        may_start: Callable[[Live], bool],
        call_slot: Callable[[], object],
        look: Callable[[], object] = bool,
    ) -> None:
        self.parallel = parallel
        self._open_trial, self._run_trial, self._after_trial = open_trial, run_trial, after_trial
        self._may_start, self._call_slot, self._look = may_start, call_slot, look
        self._changed = threading.Condition(threading.RLock())
        self._live: set[int] = set()
        self._waiting_until: dict[
            int, float
        ] = {}  # trial that waits for its next try -> monotonic end, while others run
        self._stop_request: StopRequest | None = None
        self._error: BaseException | None = None
        self._closed = False  # True between the last trial and the end of the job: no slot may join

    def lead(self, slot: Slot) -> StopRequest | None:
        """Runs trials until all have ended or the job must be left; returns the StopRequest, or None.

        Waits for the other slots before it returns. Raises the error of any slot.
        """
        with self._changed:
            self._closed = False
        try:
            while self._run_next(slot, leads=True):
                pass
        except BaseException as error:  # noqa: BLE001  # raised below, after the other slots have left
            self._fail(error)
        with self._changed:
            while self._live:
                self._wait()
            self._closed = True
            if self._error is not None:
                raise self._error
            return self._stop_request

    def join(self, slot: Slot) -> bool:
        """Runs trials in another slot while some can start; returns whether any ran."""
        ran = False
        try:
            while self._run_next(slot, leads=False):
                ran = True
        except BaseException as error:  # noqa: BLE001  # the leading slot raises it
            self._fail(error)
        if self._error is not None:
            slot.close()
        return ran

    @property
    def run_side_by_side(self) -> bool:
        """Do several trials run now?"""
        with self._changed:
            return len(self._live) > 1

    def ordered(self, order: StopReason | None) -> StopReason | None:
        """Returns why the trials must stop: an order, or because another slot is leaving the job."""
        if order is not None or (self._error is None and self._stop_request is None):
            return order
        if self._stop_request is not None and self._stop_request.reason in (StopReason.DRAIN, StopReason.LOST):
            return self._stop_request.reason
        return StopReason.LOST if isinstance(self._error, StaleToken) else StopReason.STOP

    def _run_next(self, slot: Slot, leads: bool) -> bool:
        """Runs one trial; False: this slot has nothing more to do here."""
        with self._changed:
            trial = self._next(leads)
            if trial is None:
                return False
            self._live.add(trial.number)
        stop_request: StopRequest | None = None
        error: BaseException | None = None
        try:
            with self._changed:
                needs_slot = len(self._live) < self.parallel and self._may_start(self._begun())
            if needs_slot:
                self._call_slot()
            stop_request = self._run_trial(trial, slot)
        except BaseException as raised:  # noqa: BLE001  # the leading slot raises it
            error = raised
        with self._changed:
            self._live.discard(trial.number)
            if error is None and stop_request is not None and stop_request.reason is StopReason.REST and self._live:
                if not stop_request.yields:
                    self._waiting_until[trial.number] = time.monotonic() + stop_request.seconds
                self._changed.notify_all()
                return leads or not stop_request.yields
            try:
                if error is None and stop_request is None:
                    stop_request = self._after_trial(trial)
            except BaseException as raised:  # noqa: BLE001  # the leading slot raises it
                error = raised
            self._error = self._error or error
            self._stop_request = self._stop_request or stop_request
            self._changed.notify_all()
            return error is None and stop_request is None

    def _next(self, leads: bool) -> Trial | None:
        while self._error is None and self._stop_request is None and not self._closed:
            if not self._live:
                self._waiting_until.clear()  # no other trial runs: start the waiting ones now
            if len(self._live) < self.parallel:
                trial = self._open_trial(self._begun())
                if trial is not None:
                    return trial
            if not leads or not self._live:
                return None
            self._wait(min((until - time.monotonic() for until in self._waiting_until.values()), default=LOOK_S))
        return None

    def _wait(self, at_most_s: float = LOOK_S) -> None:
        """Waits for a change by another slot, at most LOOK_S."""
        self._look()
        self._changed.wait(min(at_most_s, LOOK_S))

    def _begun(self) -> Live:
        """Returns the trials that run or wait for their next try: no other slot may start them."""
        now = time.monotonic()
        self._waiting_until = {number: until for number, until in self._waiting_until.items() if until > now}
        return frozenset(self._live | self._waiting_until.keys())

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()


@dataclass(frozen=True)
class Begun:
    """A trial that has started and has not ended for good."""

    number: int  # within the job
    search_number: int | None  # number within the search; None: an extra trial, which depends on no other
    runs: bool  # in a slot of this worker
    put_back: bool  # failed, reset by a retry, and not started again yet


def next_begun(begun: Sequence[Begun], parallel: int) -> int | None:
    """Returns the trial to continue next: an interrupted one, else one that a retry has reset; lowest number first."""
    waits = sorted((one for one in begun if not one.runs), key=lambda one: one.number)
    for one in waits:
        if not one.put_back:
            return one.number
    for one in waits:
        if one.search_number is None or not _disturbs(one.search_number, one.number, begun, parallel):
            return one.number
    return None


def may_begin(search_number: int, begun: Iterable[Begun], parallel: int) -> bool:
    """Have all trials ended that this new trial of the search depends on?"""
    return not any(
        other.search_number is not None and other.search_number <= search_number - parallel for other in begun
    )


def _disturbs(search_number: int, number: int, begun: Sequence[Begun], parallel: int) -> bool:
    """Does it depend on a trial that has not ended, or does a running trial depend on it?"""
    others = [other for other in begun if other.number != number and other.search_number is not None]
    known_by = [
        other for other in others if not other.put_back and (other.search_number or 0) >= search_number + parallel
    ]
    return bool(known_by) or not may_begin(search_number, others, parallel)
