"""Reports a slot whose thread does nothing for long, such as in a call to a disk or a driver that does not return.

A thread that works or waits looks for orders several times a second (Orders.looks). One that no longer does would keep
its job `running` for ever, while the heartbeats of its worker go on. A thread that waits for a call of a study's code
counts as doing nothing, although it looks for orders (supervisor/study_calls.py).
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fts.jobs.status.event_groups import SLOT_STUCK, SLOT_WORKS
from fts.jobs.status.formatting import spell
from fts.jobs.supervisor.study_calls import CALLS
from fts.jobs.threads import place_of, stack_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fts.jobs.supervisor.orders import Orders

log = logging.getLogger("fts.worker")

COUNTED_AT_MOST_S = 5.0  # of one gap between two looks: this process may have been stopped or asleep itself


class SlotWatch:
    """Watches the threads of one worker. `report` records a verb, a message and data with the number of the slot."""

    def __init__(
        self,
        orders: Orders,
        stuck_s: float,
        report: Callable[[str, str, dict[str, Any]], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.orders, self.stuck_s, self.report, self.clock = orders, stuck_s, report, clock
        self._looked_at = clock()
        self._watched: dict[int, _Thread] = {}  # by identity of the thread
        self._ended: list[_Thread] = []  # reported as stuck, and has ended since

    @contextmanager
    def working(self, slot: int) -> Iterator[None]:
        """Watches this thread while it runs jobs in a slot."""
        mine = threading.get_ident()
        self._watched[mine] = _Thread(slot, self.orders.looks[mine])
        try:
            yield
        finally:
            ended = self._watched.pop(mine)
            if ended.reported:
                self._ended.append(ended)

    def look(self) -> None:
        """Reports each thread that has got stuck or works again. After an error of `report` it reports again."""
        now = self.clock()
        passed_s, self._looked_at = min(now - self._looked_at, COUNTED_AT_MOST_S), now
        while self._ended:
            self._report_works(self._ended[0])
            del self._ended[0]
        for thread, one in list(self._watched.items()):
            call, looks = CALLS.get(thread), self.orders.looks[thread]
            if looks != one.looks if call is None else call.n != one.call:
                if one.reported:
                    self._report_works(one)
                one.quiet_s, one.reported = 0.0, False
                one.looks, one.call = looks, None if call is None else call.n
                continue
            one.quiet_s += passed_s
            if one.quiet_s >= self.stuck_s and not one.reported:
                self._report_stuck(thread, one)

    def _report_stuck(self, thread: int, one: _Thread) -> None:
        call = CALLS.get(thread)
        frame = sys._current_frames().get(thread if call is None else call.thread)
        if frame is None:
            return
        place = place_of(frame) if call is None else f"in {call.words}, {place_of(frame)}"
        text = f"slot {one.slot} has done nothing for {spell(one.quiet_s)}: it is {place}"
        self.report(SLOT_STUCK, text, {"slot": one.slot, "quiet_s": one.quiet_s, "place": place})
        one.reported = True
        log.error("%s\n%s", text, stack_of(frame))

    def _report_works(self, one: _Thread) -> None:
        text = f"slot {one.slot} works again, after {spell(one.quiet_s)}"
        self.report(SLOT_WORKS, text, {"slot": one.slot, "quiet_s": one.quiet_s})


class _Thread:
    def __init__(self, slot: int, looks: int) -> None:
        self.slot, self.looks = slot, looks
        self.call: int | None = None  # that it waited for at the last look
        self.quiet_s = 0.0  # observed time in which it did not look for orders
        self.reported = False
