"""Runs one attempt of a trial in its process: records the facts that arrive, sends stop and prune commands.

The caller decides what happens next from the AttemptEnd; nothing here decides about jobs.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import signal
import time
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.protocol import STOPPED
from fts.jobs.executors.base import ExitKind
from fts.jobs.supervisor.child import PATIENCE, ChildError, ChildGone
from fts.jobs.trial.death import (
    STACKS,
    cause_of_death,
    exit_sentence,
    last_printed,
    log_tail,
    lost_process,
    size_of,
    split_stacks,
)
from fts.jobs.trial.error_text import with_place
from fts.jobs.trial.stacks import WHERE
from fts.jobs.watchdog.stop_request import StopReason, StopRequest
from fts.state.files import atomic_write, make_folder
from fts.state.values import Cause

if TYPE_CHECKING:
    from collections.abc import Callable

    from fts.jobs.executors.base import Placed

log = logging.getLogger("fts.worker")

TOGETHER_S = 0.05  # limit for one transaction of several facts: other writers wait for it
UNREAD_S = 10.0  # how long the stop command may stay unread: longer than a library usually blocks the interpreter
MOST_IN_A_LINE = 1 << 15  # bytes of a specification sent through the pipe, which holds twice as much
SPECIFICATION = "specification.json"  # in the trial's folder, until the process has read it
OUR_LINE = re.compile(r"\d\d:\d\d:\d\d ")  # a log line of the trial process itself: it does not explain a death


class Ended(StrEnum):
    """How an attempt ended. The first four are also the last fact that a trial process sends."""

    RESULT = "result"  # the trial finished
    PRUNED = "pruned"  # the pruner stopped it
    FAILED = "failed"  # its code raised, or it could not begin
    STOPPED = "stopped"  # by our stop command, or by a SIGTERM from outside
    DIED = "died"  # its process ended without a last fact
    LOST = "lost"  # its node died, was taken away, or could not start it: not the trial's fault


def is_of_function(spec: dict[str, Any]) -> bool:
    """Is this the specification of a trial of a Python function in a file?"""
    return all(name in spec.get("cell", {}) for name in ("folder", "objective"))


def run_command(spec: dict[str, Any]) -> dict[str, Any]:
    """Returns the "run" command; a specification that could fill the pipe goes through a file in its folder."""
    line = json.dumps(spec, separators=(",", ":"))
    if len(line) < MOST_IN_A_LINE:
        return {"do": "run", "spec": spec}
    folder = Path(spec["folder"])
    root, path = folder.parents[2], folder / SPECIFICATION  # root/trials/JOB/TRIAL
    make_folder(folder, root)
    atomic_write(path, line, root, durable=False)
    return {"do": "run", "file": str(path), "md5": hashlib.md5(line.encode()).hexdigest()}


LAST_FACTS = (Ended.RESULT, Ended.PRUNED, Ended.FAILED, Ended.STOPPED)


@dataclass(frozen=True)
class AttemptEnd:
    """How an attempt ended, with the content of its last fact."""

    how: Ended
    facts: dict[str, Any] = field(default_factory=dict)
    stop_request: StopRequest | None = None  # the request that stopped it


class RunningAttempt:
    """Runs one specification in a trial process, which may have run other trials before.

    `record` gets every fact except the last; it may return a StopRequest, or Ended.PRUNED when the pruner ends the
    trial. `stop_request` is called several times a second and returns a StopRequest or None; once there is one, `look`
    is called instead, which shows that somebody still waits for the process. `together` opens one transaction for
    several facts.
    """

    def __init__(
        self,
        child: Placed,
        record: Callable[[dict[str, Any]], StopRequest | Ended | None],
        stop_request: Callable[[], StopRequest | None],
        poll_s: float,
        grace_s: float,
        together: Callable[[], AbstractContextManager[None]] = nullcontext,
        look: Callable[[], object] = bool,
    ) -> None:
        self.child, self.record, self.stop_request, self.look = child, record, stop_request, look
        self.poll_s, self.grace_s, self.together = poll_s, grace_s, together
        self._replies: list[Callable[[], object]] = []  # replies to send once the transaction is committed
        self._stop_request: StopRequest | None = None
        self._started = False  # the trial itself runs, not only its process
        self._has_pruner = False  # a pruner checks its epochs, and the trial waits for each answer
        self._announced_end: dict[str, Any] | None = None  # the fact "ends itself": its code is ending the process
        self._pruned = False  # the pruner has decided: later epochs are ignored
        self._stop_by = self._sigterm_at = self._read_by = float("inf")  # monotonic
        self._oom_kills = child.oom_kills()
        self._ignored_stop = False
        self._killed_for = ""  # why the watchdog has killed it although it was to stop
        self._logs: dict[Path, int] = {}  # log -> its size in bytes before this attempt
        self._code: Path | None = None  # the folder with the user's function

    def run(self, spec: dict[str, Any], number: int) -> AttemptEnd:
        """Blocks until the trial ends or is stopped, or its process or node dies."""
        try:
            end = self._run(spec, number)
        finally:
            self.child.writes_stacks = False
        gone = self.child.exit() if end.how in (Ended.STOPPED, Ended.DIED) else None
        if gone is None or gone.kind is ExitKind.TRIAL:
            return end
        return AttemptEnd(Ended.LOST, {"message": gone.message, "exit_kind": gone.kind}, end.stop_request)

    def _run(self, spec: dict[str, Any], number: int) -> AttemptEnd:
        logs = (Path(str(spec.get("log_path"))), self.child.log_path)
        self._logs = {log: size_of(log) for log in logs}
        if not self.child.was_ready and self.child.log_start is not None:  # it may have ended already, and said why
            self._logs[self.child.log_path] = self.child.log_start
        self._has_pruner = spec["cell"].get("pruner", "none") != "none"
        if is_of_function(spec):
            self._code = (Path(spec["cell"]["folder"]) / str(spec["cell"]["objective"])).parent.absolute()
            self.child.writes_stacks = True
        try:
            self.child.send(run_command(spec) if self.child.reads_files else {"do": "run", "spec": spec})
        except ChildError as error:
            if self.child.poll() is not None:  # its exit explains more than the failed send
                self._stop_request = self.stop_request()  # the watchdog may have killed it before it received the trial
                return self._drain(number)
            return AttemptEnd(Ended.DIED, {"message": str(error), "cause": Cause.MACHINE_ERROR.value})
        while True:
            if end := self._record_all(self.child.facts(self.poll_s), number):
                return end
            if self.child.poll() is not None:
                self._ask_watchdog()
                return self._drain(number)
            self._check_stop()

    def _ask_watchdog(self) -> None:
        """Asks whether the watchdog has killed the process, which may have been asked to stop before."""
        if self._stop_request is None:
            self._stop_request = self.stop_request()
        elif not self._ignored_stop and self.child.poll() in (-WHERE, -signal.SIGKILL):
            found = self.stop_request()
            self._killed_for = found.message if found is not None and found.kill else ""

    def _record_all(self, facts: list[dict[str, Any]], number: int) -> AttemptEnd | None:
        """Records facts in transactions of at most TOGETHER_S; sends the replies after each commit."""
        left = deque(facts)
        while left:
            end = None
            with self.together() if len(left) > 1 else nullcontext():
                until = time.monotonic() + TOGETHER_S
                while left and end is None and time.monotonic() < until:
                    end = self._handle(left.popleft(), number)
            replies, self._replies = self._replies, []
            for reply in replies:
                reply()
            if end is not None:
                return end
        return None

    def _handle(self, fact: dict[str, Any], number: int) -> AttemptEnd | None:
        kind = fact.get("fact")
        if kind == "ready":
            self.child.was_ready = True
        if kind == "ready" or fact.get("number") not in (number, None):
            return None
        if kind == "stopped" and self._announced_end is not None and self._stop_request is None:
            return self._explain_death(None)
        if isinstance(kind, str) and kind in LAST_FACTS:
            return AttemptEnd(Ended.PRUNED if self._pruned else Ended(kind), fact, self._stop_request)
        if self._pruned or self._refused:  # a fact that follows an unrecorded one cannot be recorded either
            return None
        if kind == "ends itself":
            self._announced_end = fact
            return None
        self._started |= kind == "started"
        answer = self.record(fact)
        if answer is Ended.PRUNED:
            self._pruned = kind == "epoch"  # after should_prune() the code itself decides: its next facts count
            self._replies.append(lambda: self._send({"do": "prune", "number": number}))
        elif isinstance(answer, StopRequest):
            self._apply(answer)
        elif kind == "judge" or (kind == "epoch" and self._has_pruner and fact.get("judged", True)):
            self._replies.append(lambda: self._send({"do": "go on", "number": number, "epoch": fact["epoch"]}))
        return None

    def _drain(self, number: int) -> AttemptEnd:
        """Records the facts left in the pipe of a process that has ended, and returns how it ended."""
        while facts := self.child.facts(0.0):
            if end := self._record_all(facts, number):
                return end
        code = self.child.poll()
        if self._pruned:
            return AttemptEnd(Ended.PRUNED, {}, self._stop_request)
        if code == STOPPED and (self.child.asked_to_stop or not self._started):
            return AttemptEnd(Ended.STOPPED, {}, self._stop_request)  # a running trial sends "stopped" before it exits
        return self._explain_death(code)

    def _explain_death(self, code: int | None) -> AttemptEnd:
        """Explains a process that ended with this exit code: cause, message, place. None: by a SIGTERM to itself."""
        oom_kills = self.child.oom_kills() - self._oom_kills
        tail = log_tail(self._logs, STACKS)
        (output, place), lost = split_stacks(tail, self._code), lost_process(tail)
        last = last_printed(output)[:300]
        last = "" if OUR_LINE.match(last) else last
        cause, message = cause_of_death(code, oom_kills, self.child.was_ready, output), exit_sentence(code, oom_kills)
        if self._ignored_stop:
            message = f"the trial did not stop within {self.grace_s:g} s and was killed{lost}"
        elif self._killed_for:
            message = self._killed_for
        elif (end := self._announced_end) is not None and (
            code is None or code >= 0 or code == -(end.get("signal") or 0)
        ):
            cause, message, last = Cause.CODE_ERROR, f"the trial process {str(end.get('how'))[:80]}", ""
        elif cause is Cause.MACHINE_ERROR and self.child.was_ready and self._stop_request is None:
            last = ""  # a kill from outside needs no log line as explanation
        if place is None and last and self._stop_request is not None:
            place = f"its last line of output: {last}"  # for a command nothing else shows where it was
        message = with_place(message, place) + (f": {last}" if last and self._stop_request is None else "")
        facts = {"message": message, "code": code, "cause": cause.value, "place": place, "killed": self._ignored_stop}
        facts["lost"] = lost
        return AttemptEnd(Ended.DIED, facts, self._stop_request)

    def _check_stop(self) -> None:
        if self._stop_request is not None:
            self.look()
        if self._stop_request is None and (request := self.stop_request()) is not None:
            self._apply(request)
        elif self._stop_request is not None and time.monotonic() > self._stop_by:
            log.warning("the trial did not stop within %.0f s and is killed", self.grace_s)
            self._ignored_stop = True
            self.child.kill()
            self._stop_by = float("inf")
        elif self._needs_sigterm():
            self._sigterm_at = self._read_by = float("inf")
            self.child.terminate()

    def _needs_sigterm(self) -> bool:
        """Did the stop command stay unread, or had it no effect for most of the grace?"""
        now = time.monotonic()
        if self._read_by < now:
            self._read_by = float("inf")
            return self.child.has_unread_command
        return self._sigterm_at < now

    @property
    def _refused(self) -> bool:
        """Was one of its facts refused? Then it is being killed."""
        return self._stop_request is not None and self._stop_request.reason is StopReason.CODE_ERROR

    def _apply(self, request: StopRequest) -> None:
        if self._stop_request is not None and request.reason is not StopReason.CODE_ERROR:
            return
        self._stop_request = request
        if request.kill:
            self.child.kill()
            return
        self.child.ask_to_stop()
        now = time.monotonic()
        self._stop_by, self._sigterm_at = now + self.grace_s, now + PATIENCE * self.grace_s
        self._read_by = now + min(UNREAD_S, PATIENCE * self.grace_s)

    def _send(self, command: dict[str, Any]) -> None:
        try:
            self.child.send(command)
        except ChildGone as error:
            log.info("%s", error)  # the run loop finds out how it ended
        except ChildError as error:
            log.warning("%s", error)
