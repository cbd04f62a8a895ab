"""Calls the code of an installed study, so that a call that does not return can be named, and left where that is safe.

A question (`params`, `resources`, ...) only returns a value: it runs in a thread of its own, and the slot may leave it.
A hook (`after_trial`, ...) gets the database: it runs in the slot's thread, because a second call beside the first
could write twice; only the end of the whole worker ends it (worker/slot_watch.py). So does an export, which calls
methods of the study, too. The studies of functions and commands run no code of a user here and are called directly.
"""

from __future__ import annotations

import itertools
import os
import queue
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.status.formatting import spell
from fts.jobs.threads import begin, place_of, stack_of
from fts.jobs.watchdog.stop_request import StopReason
from fts.state.values.job import NOT_RETURNED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fts.jobs.api.study import Study

QUESTIONS = frozenset(
    {
        "cell", "labels", "params", "effective", "describe", "seed", "reuses", "program", "resources",
        "memory_program", "plan", "leaner", "can_shrink", "batch",
    }
)  # fmt: skip
HOOKS = frozenset({"request", "on_result", "after_trial", "after_job"})
LOOK_S = 0.25  # between two looks for an order while a question is open
ORDER_S = 10.0  # an order to stop does not wait longer for an answer


@dataclass(frozen=True)
class Call:
    """A call that a thread of a slot waits for."""

    n: int
    words: str  # `params() of the study X`
    thread: int  # that runs the code of the study
    ends_with_worker: bool = False  # nothing is lost if the worker ends meanwhile: it is called again, or left out


CALLS: dict[int, Call] = {}  # by the slot's thread; read by worker/slot_watch.py
_numbers = itertools.count()


@contextmanager
def calling(words: str) -> Iterator[None]:
    """Names what this thread does until the end of the block; the end of the worker may interrupt it."""
    mine = threading.get_ident()
    CALLS[mine] = Call(next(_numbers), words, mine, ends_with_worker=True)
    try:
        yield
    finally:
        CALLS.pop(mine, None)


class NotReturned(Exception):
    """A question to a study has not returned, and its slot leaves it. `thread` still runs it, and is at `stack`."""

    def __init__(self, message: str, thread: threading.Thread, stack: str) -> None:
        super().__init__(message)
        self.thread, self.stack = thread, stack


class CalledStudy:
    """A study for one job runner. It has the attributes of the study, and calls its methods as above."""

    def __init__(
        self,
        study: Study,
        patience_s: float,
        ordered: Callable[[], StopReason | None],
        others_wait: Callable[[], bool],
    ) -> None:
        """`others_wait`: could the slot run another job? Only then is a question left after `patience_s`."""
        self._study, self._patience_s = study, patience_s
        self._ordered, self._others_wait = ordered, others_wait

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._study, name)
        if name in QUESTIONS:
            return partial(self._ask, name, found)
        return partial(self._call, name, found) if name in HOOKS else found

    def _call(self, name: str, method: Callable[..., Any], *args: Any, **named: Any) -> Any:
        with calling(f"{name}() of the study {self._study.name}, which is not interrupted because it may be writing"):
            return method(*args, **named)

    def _ask(self, name: str, method: Callable[..., Any], *args: Any, **named: Any) -> Any:
        try:
            asker = _IDLE.pop()
        except IndexError:
            asker = _Asker()
        mine, words = threading.get_ident(), f"{name}() of the study {self._study.name}"
        CALLS[mine] = Call(next(_numbers), words, asker.thread.ident or 0)
        try:
            asker.ask(partial(method, *args, **named))
            began = time.monotonic()
            while not asker.has_answered(LOOK_S):
                if not asker.thread.is_alive() or self._leaves(time.monotonic() - began):
                    raise self._not_returned(name, time.monotonic() - began, asker.thread)
        except BaseException:
            asker.end()
            raise
        finally:
            CALLS.pop(mine, None)
        try:
            return asker.answer()
        finally:
            _IDLE.append(asker)

    def _leaves(self, waited_s: float) -> bool:
        order = self._ordered()
        if order is not None and order is not StopReason.DRAIN and waited_s >= ORDER_S:
            return True
        return waited_s >= self._patience_s and (order is not None or self._others_wait())

    def _not_returned(self, name: str, waited_s: float, thread: threading.Thread) -> NotReturned:
        words = f"the study {self._study.name} {NOT_RETURNED} {name}() within {spell(waited_s)}"
        frame = sys._current_frames().get(thread.ident or 0)
        if frame is None:
            return NotReturned(words, thread, "")
        return NotReturned(f"{words}: it is {place_of(frame)}", thread, stack_of(frame))


class _Asker:
    """A thread that asks one question after another. Raises OSError where no thread can be started."""

    def __init__(self) -> None:
        self._questions: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._answered = threading.Event()
        self._value: Any = None
        self._error: BaseException | None = None
        self.thread = begin(threading.Thread(target=self._run, name="question to a study", daemon=True))

    def ask(self, question: Callable[[], Any]) -> None:
        self._answered.clear()
        self._questions.put(question)

    def has_answered(self, within_s: float) -> bool:
        return self._answered.wait(within_s)

    def answer(self) -> Any:
        """Returns the value of the question, or raises its error."""
        (value, error), self._value, self._error = (self._value, self._error), None, None
        if error is not None:
            raise error
        return value

    def end(self) -> None:
        self._questions.put(None)

    def _run(self) -> None:
        while (question := self._questions.get()) is not None:
            try:
                self._value = question()
            except BaseException as error:  # noqa: BLE001  # also SystemExit: raised in the slot's thread
                self._error = error
            del question
            self._answered.set()


_IDLE: list[_Asker] = []  # as many as slots have asked at the same time
os.register_at_fork(after_in_child=_IDLE.clear)  # a child has none of these threads
