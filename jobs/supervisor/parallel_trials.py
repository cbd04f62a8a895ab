"""The slots of one worker that work on one job at the same time: which trial may start, who runs it, how all leave.

Trial n knows trials 0..n-k (jobs/api/lag.py). So two trials of which one knows the other never run at the same time,
whatever a retry has put back.
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

Live = frozenset[int]  # numbers of the trials that run


class Turns:
    """Thread-safe. One slot leads from the claim to the end of the job; others join while there is a trial for them.

    `opens` puts the next trial on record (None: none may start now), `runs` runs it in a slot, `settles` is called
    when it has ended; both return the wish that the job is left for. `waits`: may another trial start now? Then
    `calls` asks the worker for another slot.
    """

    def __init__(
        self,
        parallel: int,
        opens: Callable[[Live], Trial | None],
        runs: Callable[[Trial, Slot], StopRequest | None],
        settles: Callable[[Trial], StopRequest | None],
        waits: Callable[[Live], bool],
        calls: Callable[[], object],
    ) -> None:
        self.parallel = parallel
        self._opens, self._runs, self._settles, self._waits, self._calls = opens, runs, settles, waits, calls
        self._changed = threading.Condition(threading.RLock())
        self._live: set[int] = set()
        self._rests: dict[int, float] = {}  # trials that go on later -> monotonic, while others run
        self._wish: StopRequest | None = None
        self._error: BaseException | None = None
        self._closed = False  # between the last trial and the end of the job nobody may join

    def lead(self, slot: Slot) -> StopRequest | None:
        """Trial after trial until all have ended, or until the wish for which the job is left. Raises any slot's error.

        Nobody works on the job when it returns.
        """
        with self._changed:
            self._closed = False
        try:
            while self._turn(slot, leads=True):
                pass
        except BaseException as error:  # noqa: BLE001  # raised below, when the other slots have left
            self._fail(error)
        with self._changed:
            while self._live:
                self._changed.wait()
            self._closed = True
            if self._error is not None:
                raise self._error
            return self._wish

    def join(self, slot: Slot) -> bool:
        """Runs trials in another slot while there are any for it; False: there was none."""
        ran = False
        try:
            while self._turn(slot, leads=False):
                ran = True
        except BaseException as error:  # noqa: BLE001  # the leading slot raises it
            self._fail(error)
        if self._error is not None:
            slot.close()
        return ran

    def ordered(self, order: StopReason | None) -> StopReason | None:
        """What its trials have to stop for: an order, or what another slot is leaving the job for."""
        if order is not None or (self._error is None and self._wish is None):
            return order
        if self._wish is not None and self._wish.reason in (StopReason.DRAIN, StopReason.LOST):
            return self._wish.reason
        return StopReason.LOST if isinstance(self._error, StaleToken) else StopReason.STOP

    def _turn(self, slot: Slot, leads: bool) -> bool:
        """One trial; False: there is none for this slot any more."""
        with self._changed:
            trial = self._next(leads)
            if trial is None:
                return False
            self._live.add(trial.number)
            calls = len(self._live) < self.parallel and self._waits(self._begun())
        if calls:
            self._calls()
        wish: StopRequest | None = None
        error: BaseException | None = None
        try:
            wish = self._runs(trial, slot)
        except BaseException as raised:  # noqa: BLE001  # the leading slot raises it
            error = raised
        with self._changed:
            self._live.discard(trial.number)
            if error is None and wish is not None and wish.reason is StopReason.REST and self._live:
                self._rests[trial.number] = time.monotonic() + wish.seconds
                self._changed.notify_all()
                return True
            try:
                if error is None and wish is None:
                    wish = self._settles(trial)
            except BaseException as raised:  # noqa: BLE001  # the same
                error = raised
            self._error = self._error or error
            self._wish = self._wish or wish
            self._changed.notify_all()
            return error is None and wish is None

    def _next(self, leads: bool) -> Trial | None:
        while self._error is None and self._wish is None and not self._closed:
            if not self._live:
                self._rests.clear()  # the leading slot has nothing better to do
            if len(self._live) < self.parallel:
                trial = self._opens(self._begun())
                if trial is not None:
                    return trial
            if not leads or not self._live:
                return None
            self._changed.wait(min((until - time.monotonic() for until in self._rests.values()), default=None))
        return None

    def _begun(self) -> Live:
        """The trials that run, and those that rest: none of them may be begun by another slot."""
        now = time.monotonic()
        self._rests = {number: until for number, until in self._rests.items() if until > now}
        return frozenset(self._live | self._rests.keys())

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()


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
