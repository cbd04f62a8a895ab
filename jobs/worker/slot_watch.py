"""Reports a slot whose thread does nothing for long, such as in a call to a disk or a driver that does not return.

A thread that works or waits looks for orders several times a second (Orders.looks). One that no longer does would keep
its job `running` for ever, while the heartbeats of its worker go on. A thread that waits for a call of a study's code
counts as doing nothing, although it looks for orders (supervisor/study_calls.py).

After an order to stop the whole worker, the time is limited: `gives_up` says when there is nothing left to wait for.
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
from fts.state.values import WorkerOrder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fts.jobs.supervisor.orders import Orders

log = logging.getLogger("fts.worker")

HURRY_S = 10.0  # under an order to stop, a call of a study is reported after this time
BESIDES_S = 30.0  # what is neither a trial nor a call of a study has this time more: a disk may be slow
COUNTED_AT_MOST_S = 5.0  # of one gap between two looks: this process may have been stopped or asleep itself


class SlotWatch:
    """Watches the threads of one worker. `report` records a verb, a message and data with the number of the slot.

    `grace_s` is the time in which a trial has to stop.
    """

    def __init__(
        self,
        orders: Orders,
        stuck_s: float,
        grace_s: float,
        report: Callable[[str, str, dict[str, Any]], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.orders, self.report, self.clock = orders, report, clock
        self.stuck_s, self.grace_s, self.hurry_s = stuck_s, grace_s, min(HURRY_S, stuck_s)
        self._stopping_s = 0.0  # observed time since the order to stop
        self._looked_at = clock()
        self._observing = threading.Lock()
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
        self.observe()
        while self._ended:
            self._report_works(self._ended[0])
            del self._ended[0]
        for thread, one in list(self._watched.items()):
            if one.reported and one.works_again:
                self._report_works(one)
                one.reported = one.works_again = False
            call = CALLS.get(thread)
            hurries = call is not None and call.ends_with_worker and self.orders.is_to_stop(thread)
            if one.quiet_s >= (self.hurry_s if hurries else self.stuck_s) and not one.reported:
                self._report_stuck(thread, one)

    def observe(self) -> None:
        """Counts for how long each thread has done nothing. Writes nothing, so it waits for no database."""
        with self._observing:
            now = self.clock()
            passed_s, self._looked_at = min(now - self._looked_at, COUNTED_AT_MOST_S), now
            self._stopping_s = self._stopping_s + passed_s if self.orders.order is WorkerOrder.STOP else 0.0
            for thread, one in list(self._watched.items()):
                call, looks = CALLS.get(thread), self.orders.looks[thread]
                if looks != one.looks if call is None else call.n != one.call:
                    if one.reported and not one.works_again:
                        one.works_again, one.lasted_s = True, one.quiet_s
                    one.quiet_s, one.looks, one.call = 0.0, looks, None if call is None else call.n
                else:
                    one.quiet_s += passed_s

    def gives_up(self) -> list[str]:
        """Returns where the threads of the busy slots are if a worker that was asked to stop need not wait for them.

        A call of a study has the grace of a trial; HURRY_S if the worker was asked twice. Whatever else does not
        return has BESIDES_S more.
        """
        found = []
        for thread, one in list(self._watched.items()):
            call = CALLS.get(thread)
            ends = call is not None and call.ends_with_worker and call.n == one.call
            limit_s = self.grace_s if ends else self.grace_s + BESIDES_S
            if ends and self.orders.stops_asked > 1:
                limit_s = self.hurry_s
            if not self._stopping_s or min(one.quiet_s, self._stopping_s) < limit_s:
                return []
            place, _ = self._place(thread, short=True) or ("at its end", "")
            found.append(f"slot {one.slot}, for {spell(one.quiet_s)} {place}")
        return found

    def _report_stuck(self, thread: int, one: _Thread) -> None:
        if (found := self._place(thread)) is None:
            return
        place, stack = found
        text = f"slot {one.slot} has done nothing for {spell(one.quiet_s)}: it is {place}"
        self.report(SLOT_STUCK, text, {"slot": one.slot, "quiet_s": one.quiet_s, "place": place})
        one.reported = True
        log.error("%s\n%s", text, stack)

    def _place(self, thread: int, short: bool = False) -> tuple[str, str] | None:
        """Says where a slot's thread is, in words and as a stack; None: it has ended."""
        call = CALLS.get(thread)
        frame = sys._current_frames().get(thread if call is None else call.thread)
        if frame is None:
            return None
        if call is None:
            return place_of(frame), stack_of(frame)
        words = call.words.partition(", ")[0] if short else call.words
        return f"in {words}, {place_of(frame)}", stack_of(frame)

    def _report_works(self, one: _Thread) -> None:
        lasted_s = one.lasted_s if one.works_again else one.quiet_s
        text = f"slot {one.slot} works again, after {spell(lasted_s)}"
        self.report(SLOT_WORKS, text, {"slot": one.slot, "quiet_s": lasted_s})


class _Thread:
    def __init__(self, slot: int, looks: int) -> None:
        self.slot, self.looks = slot, looks
        self.call: int | None = None  # that it waited for at the last look
        self.quiet_s = 0.0  # observed time in which it did not look for orders
        self.reported = False
        self.works_again = False  # after it was reported; not reported yet
        self.lasted_s = 0.0  # with works_again: for how long it had done nothing
