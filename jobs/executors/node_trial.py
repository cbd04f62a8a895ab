"""The agent's part for one trial: process, watchdog and attempt; sends facts, and the files before their facts."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from fts.jobs.api.study import Program
from fts.jobs.executors.base import ExitKind
from fts.jobs.executors.frames import MOST_BODY, FrameKind, Writer
from fts.jobs.executors.incoming_files import IncomingFiles
from fts.jobs.executors.on_node import AttemptFiles, CodeCopy, program_on_node
from fts.jobs.sensors.detect import Machine, visible_names
from fts.jobs.supervisor.attempt import UNREAD_S, is_of_function
from fts.jobs.supervisor.child import NOT_RESIDENT, ChildError, Starter, TrialProcess, limit_data
from fts.jobs.supervisor.shared_checkpoints import BadBlob, CannotKeep
from fts.jobs.supervisor.staged_files import BadFile
from fts.jobs.watchdog.policy import HeatPolicy, MemoryLimits, WatchdogAction
from fts.jobs.watchdog.watchdog import PaceLimits, Watchdog
from fts.state.values import Cause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from fts.jobs.sensors.reading import Sensors

log = logging.getLogger("fts.agent")

LAST = ("result", "pruned", "failed", "stopped")
WITH_FILES = (*LAST, "checkpoint", "kept")  # facts that name files: the files are sent first
PROGRESS = ("started", "epoch", "checkpoint")
SHARE = 0.05  # fraction of the time that may go into sending a command's files after epochs
LINK_STAYS = (
    "{!r} is a link to a folder, or leads out of the trial's folder. It stays on this node, and an attempt elsewhere "
    "will not find it; write the name into a file instead"
)
KEPT_CHANGING = (
    "the checkpoint of step {} stays on this node: files of its folder changed each time that they were sent; write "
    "logs to another folder"
)
MOST_LOG = 128 << 20  # bytes of a log that are sent, unless the trial's metrics are read from it


class NodeTrial:
    """Runs at most one process at a time, and in it one attempt after another."""

    def __init__(
        self, scratch: Path, writer: Writer, sensors: Sensors, guard: HeatPolicy, alive: Callable[[], None]
    ) -> None:
        """`alive` is called while large files are copied."""
        self.scratch, self.writer, self.sensors, self.guard, self.alive = scratch, writer, sensors, guard, alive
        self.code = CodeCopy(scratch)
        self.starter = Starter(scratch / "logs" / "trial_process.log")
        self.child: TrialProcess | None = None
        self.watchdog: Watchdog | None = None
        self.attempt: AttemptFiles | None = None
        self.program: Program | None = None
        self.process = 0  # number of the process, as the worker counts them
        self._arriving: IncomingFiles | None = None
        self._files_after = 0.0  # monotonic
        self._measures = False  # its step times are comparable
        self._early: list[str] | None = None  # STOP frames for a process that is still being started; None: no start
        self._lock = threading.Lock()  # one thread receives frames, another starts the process and sends its files
        self._read_by = float("inf")  # monotonic
        self._stays_frozen = False  # an order has frozen it
        self._oom_kills = 0  # of the machine before the process was started
        self._asked_to_end = False  # it was asked to end: not the node's fault if it never becomes ready
        self._over = False  # the trial has failed because of its files: later facts are ignored
        if isinstance(sensors, Machine):
            sensors.watch_gpus(self._given_gpus)

    def _given_gpus(self) -> Sequence[str]:
        """Returns the GPUs of this node that the worker has given to the process."""
        return () if self.child is None or self.program is None else visible_names(self.program.env) or ()

    # -- orders of the worker

    def start(self, meta: dict[str, Any]) -> None:
        """Starts a process of this program after ending the previous one."""
        self.end()
        self._drop_attempt()
        self.process = int(meta["process"])
        self.program = program_on_node(Program(**meta["program"]), self.code)
        child = self.starter.start(self.program, int(meta["threads"]))
        pace = PaceLimits(**meta.get("pace", {}))
        self.watchdog = Watchdog(child, MemoryLimits(**meta["limits"]), self.sensors, self.guard, pace=pace)
        try:
            self.watchdog.memory.start()
        except OSError:  # without its watchdog no trial may run
            child.kill()
            child.close()
            raise
        keep_within(child, self.watchdog.limits)
        self._read_by, self._asked_to_end, self._oom_kills = float("inf"), False, child.oom_kills()
        self._stays_frozen = False
        with self._lock:
            self.child = child
            early, self._early = self._early or [], None
        for how in early:
            self.stop(how)

    def begin(self, meta: dict[str, Any]) -> None:
        """Prepares an attempt in its own folder, before its checkpoint files arrive. Raises BadFile, OSError."""
        self._drop_attempt()
        self.attempt = AttemptFiles(self.scratch, meta, self.alive)
        self._measures = bool(meta.get("measures"))
        self._arriving = IncomingFiles(self.attempt.folder, self.attempt.root, durable=False)
        if self.watchdog is not None:
            self.watchdog.begin_trial(meta.get("usual_step_s"), meta.get("report_s"), meta.get("gap_s"))

    def file(self, meta: dict[str, Any], body: bytes) -> None:
        """Stores a part of a checkpoint file or of the earlier log. Raises BadFile, OSError."""
        if self.attempt is None or meta.get("token") != self.attempt.token:
            return
        if meta.get("of") == "log":
            self.attempt.take_log(body)
        elif "at" in meta:
            try:
                self.attempt.fetch(meta)
            except BadBlob as error:  # the trial continues from the previous checkpoint, or restarts
                log.warning("%s is missing, so the trial cannot continue from it: %s", meta.get("name"), error)
        elif self._arriving is not None:
            self._arriving.part(meta, body)

    def run(self) -> None:
        """Sends the trial to the process; all its files have arrived."""
        assert self.attempt is not None and self._arriving is not None, "an attempt comes first"
        self._arriving.commit()
        self.attempt.files.mark_all_sent()
        if self.child is not None:
            self.child.writes_stacks = is_of_function(self.attempt.spec)
            with contextlib.suppress(ChildError):
                self.child.send(self.attempt.order(self.code), timeout_s=60.0)

    def send(self, message: dict[str, Any]) -> None:
        if self.child is not None:
            with contextlib.suppress(ChildError):
                self.child.send(message)

    def expects(self) -> None:
        """Collects STOP frames from now on for the process that is about to start."""
        with self._lock:
            self._early = []

    def stop(self, how: str) -> None:
        with self._lock:
            if self._early is not None:
                self._early.append(how)
                return
            if how in ("freeze", "thaw"):
                self._stays_frozen = how == "freeze"
        if (child := self.child) is not None:
            self._asked_to_end |= how in ("ask", "insist", "kill", "stdin")
            if how == "ask":
                self._read_by = time.monotonic() + UNREAD_S
            {
                "freeze": child.freeze,
                "thaw": child.thaw,
                "ask": child.ask_to_stop,
                "insist": child.terminate,
                "kill": child.kill,
                "stdin": child.close_stdin,
            }.get(how, lambda: None)()

    def limit_memory(self, limits: MemoryLimits) -> None:
        if (watchdog := self.watchdog) is not None and (child := self.child) is not None:
            watchdog.limit_memory(limits)
            keep_within(child, limits)

    # -- facts, files and log

    def pump(self, timeout_s: float) -> bool:
        """Sends the facts and log of the process; True: it has ended, and everything was sent."""
        child = self.child
        if child is None:
            return False
        for fact in child.facts(timeout_s):
            self._tell(fact)
        ended = child.poll() is not None
        if ended:
            while facts := child.facts(0.0):
                for fact in facts:
                    self._tell(fact)
        if self.watchdog is not None:
            self._watch(child, self.watchdog)
        if time.monotonic() > self._read_by:
            self._read_by = float("inf")
            if child.has_unread_command:
                child.terminate()
        if self.attempt is not None:
            self._send_log(self.attempt)
        return ended

    def _tell(self, fact: dict[str, Any]) -> None:
        kind, attempt = fact.get("fact"), self.attempt
        if self._over:
            return
        if kind == "ready" and self.child is not None:
            self.child.was_ready = True
        if kind in LAST and self.child is not None:
            self.child.writes_stacks = False
        if self.watchdog is not None:
            if kind == "step":  # only for the watchdog, which runs here
                self.watchdog.progress(fact.get("step_s") if self._measures else None)
                return
            if kind in PROGRESS:
                self.watchdog.progress()
                self.watchdog.pace.reported()
        if attempt is not None:
            self._send_log(attempt)
            if kind in WITH_FILES or (kind == "epoch" and self.program is not None and self.program.relays):
                fact = self._with_files(attempt, fact)
                if fact["fact"] == "checkpoint" and attempt.files.lags:
                    self._explain(attempt, KEPT_CHANGING.format(fact.get("step")))
                    return
        token = None if attempt is None else attempt.token
        self.writer.send(FrameKind.FACT, {"process": self.process, "token": token, "fact": fact})

    def _with_files(self, attempt: AttemptFiles, fact: dict[str, Any]) -> dict[str, Any]:
        """Sends the fact's files and returns the fact; if files cannot be sent, kills the trial and returns "failed".

        That is the fault of the trial or of the shared file system, not of the node.
        """
        try:
            self._send_files(attempt, hurry=fact["fact"] in WITH_FILES)
        except (BadFile, CannotKeep) as error:
            self._over = True
            if self.child is not None:
                self.child.kill()
            cause = Cause.CODE_ERROR if isinstance(error, BadFile) else Cause.DISK
            shared = isinstance(error, CannotKeep)  # the folder of `--checkpoints`, which all nodes use
            return {"fact": "failed", "cause": cause, "message": str(error), "shared": shared}
        return fact

    def _send_files(self, attempt: AttemptFiles, hurry: bool) -> None:
        if not hurry and time.monotonic() < self._files_after:
            return
        began = time.monotonic()
        if not attempt.files.is_torn:
            attempt.files.send(self.writer, {"token": attempt.token}, again=hurry)
        if attempt.files.is_torn:
            with self._standing():
                attempt.files.send(self.writer, {"token": attempt.token}, again=hurry)
        self._files_after = time.monotonic() + (time.monotonic() - began) / SHARE
        if attempt.files.links_left and not attempt.warned_of_link:
            attempt.warned_of_link = True
            self._explain(attempt, LINK_STAYS.format(attempt.files.links_left[0]))

    @contextlib.contextmanager
    def _standing(self) -> Iterator[None]:
        """Stops the trial's processes meanwhile: their files are then as a kill would leave them, and do not change."""
        child = self.child
        if child is None or child.frozen or not child.freeze():
            yield
            return
        try:
            yield
        finally:
            with self._lock:
                if not self._stays_frozen:
                    child.thaw()

    def _explain(self, attempt: AttemptFiles, text: str) -> None:
        """Adds a line to the trial's log at the head, unless metrics are read from it."""
        if self.program is None or not self.program.reads_log:
            self.writer.send(FrameKind.LOG, {"token": attempt.token}, f"\n[fts: {text}]\n".encode())

    def _send_log(self, attempt: AttemptFiles) -> None:
        most = None if self.program is not None and self.program.reads_log else MOST_LOG
        while body := attempt.more_log(MOST_BODY, most):
            self.writer.send(FrameKind.LOG, {"token": attempt.token}, body)

    def _watch(self, child: TrialProcess, watchdog: Watchdog) -> None:
        for decision in watchdog.check():
            if decision.action is WatchdogAction.FREEZE:
                child.freeze()
            elif decision.action is WatchdogAction.THAW:
                child.thaw()
            decided = {name: getattr(decision, name) for name in ("action", "message", "state", "cause", "changed")}
            self.writer.send(FrameKind.DECISION, {"process": self.process, **decided})

    def vitals(self) -> dict[str, Any]:
        """Returns memory and pace of the process; empty without one."""
        watchdog, child = self.watchdog, self.child
        if watchdog is None or child is None:
            return {}
        return {
            "token": None if self.attempt is None else self.attempt.token,
            "peak": watchdog.memory.peak,
            "tree": watchdog.latest.tree_bytes if watchdog.latest is not None else 0,
            "step_s": watchdog.pace.latest_step_s,
            "worked_s": watchdog.worked_s,
            "frozen": child.frozen,
        }

    # -- the end of the process

    def ended(self, host: str, preempted: str | None, connected: bool) -> dict[str, Any]:
        """Sends the last files if `connected` to the worker; returns the content of the EXIT frame."""
        child = self.child
        assert child is not None, "the process has just ended"
        if self.attempt is not None and connected:
            self._send_log(self.attempt)
            with contextlib.suppress(BadFile, CannotKeep):  # its facts have already been sent
                self._send_files(self.attempt, hurry=True)
        kind, said = ExitKind.TRIAL, ""
        if preempted is not None:
            kind, said = ExitKind.PREEMPTED, preempted
        elif not child.was_ready and not self._asked_to_end:
            kind, said = ExitKind.LAUNCH_FAILED, f"no trial process comes up on {host}: {self._last_line()}"
        report = {
            "process": self.process,
            "code": child.poll(),
            "whose": kind,
            "said": said,
            "oom_kills": child.oom_kills() - self._oom_kills,
        }
        return report | self.vitals()

    def _last_line(self) -> str:
        logs = [self.starter.log_path] + ([self.attempt.log] if self.attempt is not None else [])
        for path in logs:
            with contextlib.suppress(OSError):
                lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
                if lines:
                    return lines[-1][:300]
        return "it printed nothing"

    def end(self, within_s: float = 10.0) -> None:
        """Ends the process: first by closing its stdin, after `within_s` by a kill. Sends nothing."""
        if self.child is not None and self.child.poll() is None:
            self.child.close_stdin()
            self.child.wait(within_s)
        self.drop()

    def drop(self) -> None:
        """Closes the process and its watchdog."""
        if self.watchdog is not None:
            self.watchdog.close()
        if self.child is not None:
            self.child.close()
        self.child = self.watchdog = None

    def close(self) -> None:
        self.starter.close()

    def _drop_attempt(self) -> None:
        if self.attempt is not None:
            self.attempt.close()
        self.attempt = self._arriving = None
        self._over = False


def keep_within(child: TrialProcess, limits: MemoryLimits) -> None:
    limit_data(child.pid, None if limits.hard is None else limits.hard + NOT_RESIDENT)
