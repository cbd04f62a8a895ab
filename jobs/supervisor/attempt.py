"""One trial process working on one trial: its facts become rows, people's and the watchdog's wishes become commands.

The supervisor says what to do next by how an attempt ended; nothing here decides about jobs.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.protocol import STOPPED
from fts.jobs.executors.base import Whose
from fts.jobs.supervisor.child import PATIENCE, ChildError, ChildGone
from fts.jobs.trial.death import STACKS, cause_of_death, died_of, last_said, last_words, size_of, was_at
from fts.jobs.trial.error_text import with_place
from fts.jobs.watchdog.stop_request import StopReason, StopRequest
from fts.state.files import atomic_write, make_folder
from fts.state.values import Cause

if TYPE_CHECKING:
    from collections.abc import Callable

    from fts.jobs.executors.base import Placed

log = logging.getLogger("fts.worker")

TOGETHER_S = 0.05  # that a transaction of several facts may take: other writers wait for it
UNHEARD_S = 10.0  # that the order to stop lies unread: longer than a library keeps the interpreter, as a rule
MOST_IN_A_LINE = 1 << 15  # bytes of a specification; a pipe holds twice as much
SPECIFICATION = "specification.json"  # in the trial's folder, until the process has read it
OUR_LINE = re.compile(r"\d\d:\d\d:\d\d ")  # what the trial process itself says in a log explains no death


class Ended(StrEnum):
    """How an attempt ended. The first four are also the last fact that a trial's process tells."""

    RESULT = "result"  # the trial came to its own end
    PRUNED = "pruned"  # by the pruner's verdict
    FAILED = "failed"  # its code raised, or it could not begin
    STOPPED = "stopped"  # as asked, or by a SIGTERM from outside
    DIED = "died"  # its process is gone without a word
    LOST = "lost"  # its node is gone, was taken away, or could not start it: nothing that the trial did


def is_of_function(spec: dict[str, Any]) -> bool:
    """Is it a trial of a function in a file of its own folder?"""
    return all(name in spec.get("cell", {}) for name in ("folder", "objective"))


LAST_FACTS = (Ended.RESULT, Ended.PRUNED, Ended.FAILED, Ended.STOPPED)


@dataclass(frozen=True)
class AttemptEnd:
    """How an attempt ended, and what its last fact said."""

    how: Ended
    facts: dict[str, Any] = field(default_factory=dict)
    wish: StopRequest | None = None  # what it was stopped for


class Attempt:
    """Runs one spec in a trial process that may have run others before.

    `record` gets every fact except the last; it may return a StopRequest, or Ended.PRUNED, which
    is the pruner's verdict. `wish` is asked several times a second. `together` makes one transaction of several facts.
    """

    def __init__(
        self,
        child: Placed,
        record: Callable[[dict[str, Any]], StopRequest | Ended | None],
        wish: Callable[[], StopRequest | None],
        poll_s: float,
        grace_s: float,
        together: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.child, self.record, self.wish = child, record, wish
        self.poll_s, self.grace_s, self.together = poll_s, grace_s, together
        self._answers: list[Callable[[], object]] = []  # to what has been taken, and is not on record yet
        self._wish: StopRequest | None = None
        self._started = False  # the trial itself runs, not only its process
        self._judged = False  # a pruner looks at its epochs, and the trial waits for what it says
        self._own_end: dict[str, Any] | None = None  # how it was about to end its process, as far as it has said
        self._pruned = False  # decided; what the trial still tells of its later epochs does not count
        self._stop_by = self._insist_at = self._heard_by = float("inf")  # monotonic
        self._oom_kills = child.oom_kills()
        self._ignored_stop = False
        self._logs: dict[Path, int] = {}  # with their bytes before this attempt
        self._code: Path | None = None  # where the files of a person's function lie

    def run(self, spec: dict[str, Any], number: int) -> AttemptEnd:
        """Blocks until the trial has ended, or was stopped, or the process died, or its node did."""
        try:
            end = self._run(spec, number)
        finally:
            self.child.writes_stacks = False
        gone = self.child.exit() if end.how in (Ended.STOPPED, Ended.DIED) else None
        if gone is None or gone.whose is Whose.TRIAL:
            return end
        return AttemptEnd(Ended.LOST, {"message": gone.said, "whose": gone.whose}, end.wish)

    def _run(self, spec: dict[str, Any], number: int) -> AttemptEnd:
        logs = (Path(str(spec.get("log_path"))), self.child.log_path)
        self._logs = {log: size_of(log) for log in logs}
        self._judged = spec["cell"].get("pruner", "none") != "none"
        if is_of_function(spec):
            self._code = (Path(spec["cell"]["folder"]) / str(spec["cell"]["objective"])).parent.absolute()
            self.child.writes_stacks = True
        try:
            self.child.send(self._order(spec))
        except ChildError as error:
            if self.child.poll() is not None:  # it says why, and how it ended
                self._wish = self.wish()  # perhaps the watchdog killed it before it had heard of the trial
                return self._last_words(number)
            return AttemptEnd(Ended.DIED, {"message": str(error), "cause": Cause.MACHINE_ERROR.value})
        while True:
            if end := self._take_all(self.child.facts(self.poll_s), number):
                return end
            if self.child.poll() is not None:
                self._wish = self._wish or self.wish()  # it may be dead because the watchdog killed it
                return self._last_words(number)
            self._look_around()

    def _order(self, spec: dict[str, Any]) -> dict[str, Any]:
        """The command that begins the trial; by file where a pipe would not hold it before the process reads."""
        line = json.dumps(spec, separators=(",", ":"))
        if len(line) < MOST_IN_A_LINE or not self.child.reads_files:
            return {"do": "run", "spec": spec}
        path = Path(spec["folder"]) / SPECIFICATION
        make_folder(path.parent, path.parents[3])
        atomic_write(path, line, path.parents[3], durable=False)
        return {"do": "run", "file": str(path), "md5": hashlib.md5(line.encode()).hexdigest()}

    def _take_all(self, facts: list[dict[str, Any]], number: int) -> AttemptEnd | None:
        """Records what has arrived, together as far as it takes no longer than TOGETHER_S, and answers after that."""
        left = deque(facts)
        while left:
            end = None
            with self.together() if len(left) > 1 else nullcontext():
                until = time.monotonic() + TOGETHER_S
                while left and end is None and time.monotonic() < until:
                    end = self._take(left.popleft(), number)
            answers, self._answers = self._answers, []
            for answer in answers:
                answer()
            if end is not None:
                return end
        return None

    def _take(self, fact: dict[str, Any], number: int) -> AttemptEnd | None:
        kind = fact.get("fact")
        if kind == "ready":
            self.child.was_ready = True
        if kind == "ready" or fact.get("number") not in (number, None):
            return None
        if kind == "stopped" and self._own_end is not None and self._wish is None:
            return self._death(None)
        if isinstance(kind, str) and kind in LAST_FACTS:
            return AttemptEnd(Ended.PRUNED if self._pruned else Ended(kind), fact, self._wish)
        if self._pruned or self._refused:  # what builds on a fact that is not on record cannot be recorded either
            return None
        if kind == "ends itself":
            self._own_end = fact
            return None
        self._started |= kind == "started"
        wish = self.record(fact)
        if wish is Ended.PRUNED:
            self._pruned = kind == "epoch"  # one that asked may still end otherwise: what it does then counts
            self._answers.append(lambda: self._send({"do": "prune", "number": number}))
        elif isinstance(wish, StopRequest):
            self._obey(wish)
        elif kind == "judge" or (kind == "epoch" and self._judged and fact.get("judged", True)):
            self._answers.append(lambda: self._send({"do": "go on", "number": number, "epoch": fact["epoch"]}))
        return None

    def _last_words(self, number: int) -> AttemptEnd:
        """The process is gone; what it still wrote counts."""
        while facts := self.child.facts(0.0):
            if end := self._take_all(facts, number):
                return end
        code = self.child.poll()
        if self._pruned:
            return AttemptEnd(Ended.PRUNED, {}, self._wish)
        if code == STOPPED and (self.child.asked_to_stop or not self._started):
            return AttemptEnd(Ended.STOPPED, {}, self._wish)  # one that runs says that it has stopped before it leaves
        return self._death(code)

    def _death(self, code: int | None) -> AttemptEnd:
        """Whose fault it is that the process ended with this code, and where it was then; None: by its own SIGTERM."""
        oom_kills = self.child.oom_kills() - self._oom_kills
        said, place = was_at(last_words(self._logs, STACKS), self._code)
        last = last_said(said)[:300]
        last = "" if OUR_LINE.match(last) else last
        cause, message = cause_of_death(code, oom_kills, self.child.was_ready, said), died_of(code, oom_kills)
        if self._ignored_stop:
            message = f"the trial did not stop within {self.grace_s:g} s and was killed"
        elif self._own_end is not None and (code is None or code >= 0 or code == -(self._own_end.get("signal") or 0)):
            cause, message, last = Cause.CODE_ERROR, f"the trial process {str(self._own_end.get('how'))[:80]}", ""
        elif cause is Cause.MACHINE_ERROR and self.child.was_ready and self._wish is None:
            last = ""  # a kill from outside explains itself
        if place is None and last and self._wish is not None:
            place = f"its last line of output: {last}"  # of a command it is all that tells where it was
        message = with_place(message, place) + (f": {last}" if last and self._wish is None else "")
        told = {"message": message, "code": code, "cause": cause.value, "place": place, "unheard": self._ignored_stop}
        return AttemptEnd(Ended.DIED, told, self._wish)

    def _look_around(self) -> None:
        if self._wish is None and (wish := self.wish()) is not None:
            self._obey(wish)
        elif self._wish is not None and time.monotonic() > self._stop_by:
            log.warning("the trial did not stop within %.0f s and is killed", self.grace_s)
            self._ignored_stop = True
            self.child.kill()
            self._stop_by = float("inf")
        elif self._is_deaf():
            self._insist_at = self._heard_by = float("inf")
            self.child.insist()

    def _is_deaf(self) -> bool:
        """Does the order to stop lie unread, or has it led to nothing for most of the grace?"""
        now = time.monotonic()
        if self._heard_by < now:
            self._heard_by = float("inf")
            return self.child.unheard
        return self._insist_at < now

    @property
    def _refused(self) -> bool:
        """Was a fact of it refused? It is being killed."""
        return self._wish is not None and self._wish.reason is StopReason.CODE_ERROR

    def _obey(self, wish: StopRequest) -> None:
        if self._wish is not None and wish.reason is not StopReason.CODE_ERROR:
            return
        self._wish = wish
        if wish.kill:
            self.child.kill()
            return
        self.child.ask_to_stop()
        now = time.monotonic()
        self._stop_by, self._insist_at = now + self.grace_s, now + PATIENCE * self.grace_s
        self._heard_by = now + min(UNHEARD_S, PATIENCE * self.grace_s)

    def _send(self, command: dict[str, Any]) -> None:
        try:
            self.child.send(command)
        except ChildGone as error:
            log.info("%s", error)  # how it ended is found out by itself
        except ChildError as error:
            log.warning("%s", error)
