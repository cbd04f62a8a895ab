"""The agent: runs on a node, starts trial processes there, watches them, and sends home what they tell and write.

    python -Pm fts.jobs.executors.agent --name gpu1        (a launch command of the worker starts it)

It speaks fts.jobs.executors.frames on stdin and stdout and knows no database. A trial runs in a scratch folder of its
attempt alone; its files go home before the fact that tells of them. Without a word from the worker for a lease it asks
the trial to checkpoint, and leaves. SIGTERM and SIGUSR1 mean that the engine wants the node back: it leaves with a
checkpoint, and exit code 75.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import queue
import signal
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fts.jobs.api.protocol import STOPPED
from fts.jobs.api.study import Program
from fts.jobs.executors import fingerprint
from fts.jobs.executors.arriving import Arriving, BadFile
from fts.jobs.executors.base import Whose
from fts.jobs.executors.frames import MOST_BODY, MOST_FROM_HEAD, BadFrame, Frame, Kind, Reader, Writer
from fts.jobs.executors.node_data import DataSets, Left
from fts.jobs.executors.on_node import Attempt, Mapped, mapped_program, new_scratch
from fts.jobs.sensors.detect import from_env
from fts.jobs.sensors.gpus import list_gpus
from fts.jobs.settings import best_device
from fts.jobs.supervisor.child import NOT_RESIDENT, ChildError, TrialProcess, limit_data
from fts.jobs.supervisor.elsewhere import BadBlob, CannotKeep
from fts.jobs.supervisor.starter import Starter
from fts.jobs.watchdog.policy import Action, HeatPolicy, MemoryLimits, Thresholds
from fts.jobs.watchdog.watchdog import PaceLimits, Watchdog
from fts.state.files import remove
from fts.state.values import Cause

log = logging.getLogger("fts.agent")

LISTEN_S = 0.05  # between two looks for orders while a trial runs
IDLE_S = 0.25
INBOX = 64  # frames that wait; then the worker waits
LAST = ("result", "pruned", "failed", "stopped")
WITH_FILES = (*LAST, "checkpoint", "kept")  # facts that tell of files
SHARE = 0.05  # of the time, that files of a command may travel
MOST_LOG = 128 << 20  # bytes of a log that travel, unless the trial's metrics are read from it
PROGRESS = ("started", "epoch", "checkpoint")


class Agent:
    """One connection, and at most one trial process."""

    def __init__(self, name: str, stdin: int, stdout: int, scratch: Path, host: str | None = None) -> None:
        self.name, self.scratch = name, scratch
        self.host = host or os.environ.get("SLURMD_NODENAME") or os.uname().nodename
        self.lease_s, self.grace_s, self.beat_s = 60.0, 60.0, 5.0
        self.alone = ""  # why nobody listens any more
        self.preempted = False
        self.writer = Writer(stdout, lambda: bool(self.alone), magic=True)
        self.reader = Reader(stdin, MOST_FROM_HEAD)
        self.inbox: queue.Queue[Frame | None] = queue.Queue(INBOX)
        self.sensors = from_env(disk=scratch)
        self.guard = HeatPolicy(Thresholds.from_env())
        self.starter = Starter(scratch / "logs" / "trial_process.log")
        self.child: TrialProcess | None = None
        self.watchdog: Watchdog | None = None
        self.attempt: Attempt | None = None
        self.mapped = Mapped(scratch)
        self.data = DataSets(scratch, self._stays)
        self.program: Program | None = None
        self._arriving: Arriving | None = None
        self.process = 0  # which one of this agent's, as the worker counts them
        self._beaten = float("-inf")
        self._files_after = 0.0  # monotonic
        self._measures = False  # the length of its steps means something
        self._leave_by = float("inf")  # monotonic
        self._over = False  # the trial has failed by what it wrote: nothing that it tells counts any more
        self._lock = threading.Lock()  # of `child` being there

    def run(self) -> int:
        """Its whole life; the exit code."""
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._preempt)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self.writer.send(Kind.HELLO, self.hello())
        threading.Thread(target=self._read, name="orders", daemon=True).start()
        threading.Thread(target=self._listen_for_silence, name="silence", daemon=True).start()
        try:
            while not self._step():
                pass
        except BrokenPipeError as error:
            self.alone = self.alone or f"the worker is gone: {error}"
        except (BadFrame, BadFile, OSError) as error:
            self._refuse(str(error))
        if self.alone:
            log.warning("%s; this agent leaves", self.alone)
        self._end_child()
        self.data.close()
        self.starter.close()
        self.sensors.close()
        return STOPPED if self.preempted or self.alone else 0

    @property
    def wanted_back(self) -> str:
        return f"the engine wants {self.host} back"

    def hello(self) -> dict[str, Any]:
        """What this node is."""
        found, reading = fingerprint.of_this_machine(), self.sensors.read()
        return {
            "name": self.name,
            "host": self.host,
            "pid": os.getpid(),
            "fingerprint": found.md5,
            "hardware": found.words,
            "code": fingerprint.code_md5(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "gpus": [asdict(gpu) for gpu in list_gpus()],
            "device": best_device(),
            "reading": told_of(reading),
            "scratch": str(self.scratch),
            "job": next((os.environ[name] for name in ("SLURM_JOB_ID", "PBS_JOBID") if name in os.environ), None),
        }

    # -- what the worker says

    def _read(self) -> None:
        why = "the worker has ended the connection"
        try:
            while (frame := self.reader.next()) is not None:
                self._take(frame)
        except (BadFrame, OSError) as error:
            why = str(error)
            self._refuse(why)
        self.alone = self.alone or why
        self.inbox.put(None)

    def _take(self, frame: Frame) -> None:
        """At once what cannot wait for the next look."""
        child = self.child
        if frame.kind is Kind.WELCOME:
            self.lease_s, self.grace_s, self.beat_s = (
                float(frame.meta[name]) for name in ("lease_s", "grace_s", "beat_s")
            )
        elif frame.kind is Kind.SEND and child is not None:
            with contextlib.suppress(ChildError):
                child.send(frame.meta["message"])
        elif frame.kind is Kind.STOP and child is not None:
            stop(child, str(frame.meta.get("how")))
        elif frame.kind is Kind.LIMITS and self.watchdog is not None and child is not None:
            limits = MemoryLimits(**frame.meta["limits"])
            self.watchdog.limit_memory(limits)
            keep_within(child, limits)
        elif frame.kind not in (Kind.BEAT, Kind.SEND, Kind.STOP, Kind.LIMITS):
            self.inbox.put(frame)

    def _listen_for_silence(self) -> None:
        while not self.alone:
            time.sleep(min(1.0, self.lease_s / 10))
            if time.monotonic() - self.reader.heard > self.lease_s and not self.inbox.full():  # full: we are slow
                self.alone = f"no word from the worker for {self.lease_s:g} s"

    def _preempt(self, signum: int, frame: Any) -> None:
        self.preempted = True

    def _refuse(self, why: str) -> None:
        with contextlib.suppress(OSError):
            self.writer.send(Kind.REFUSED, {"said": why[:2000]})

    # -- its loop

    def _step(self) -> bool:
        """One look around; True: it leaves."""
        busy = self.child is not None
        with contextlib.suppress(queue.Empty):
            frame = self.inbox.get_nowait() if busy else self.inbox.get(timeout=IDLE_S)
            if frame is not None and self._obey(frame):
                return True
        if self.child is not None and self._pump(self.child, LISTEN_S if self.inbox.empty() else 0.0):
            self._ended()
        self._beat()
        if not self.alone and not self.preempted:
            return False
        if self.child is None:
            if self.preempted:
                self.writer.send(Kind.PREEMPTED, {"said": self.wanted_back})
            return True
        if self._leave_by == float("inf"):
            self._leave_by = time.monotonic() + self.grace_s
            if self.preempted:
                self.writer.send(Kind.PREEMPTED, {"said": self.wanted_back})
            if self.alone:  # nobody will answer: end of file says so to a trial that waits for a verdict
                self.child.close_stdin()
            else:
                self.child.ask_to_stop()
        elif time.monotonic() > self._leave_by:
            self.child.kill()
        return False

    def _obey(self, frame: Frame) -> bool:
        meta = frame.meta
        if frame.kind is Kind.CODE:
            self.mapped.expect(str(meta["md5"]), str(meta["folder"]))
        elif frame.kind is Kind.DATA:
            with contextlib.suppress(Left):  # the next look around leaves
                self.writer.send(Kind.NEED, {"files": self.data.want(meta["files"])})
        elif frame.kind is Kind.START:
            self.mapped.settle()
            self.data.place(self.mapped.copy)
            self._start(meta)
        elif frame.kind is Kind.ATTEMPT:
            self._begin(meta)
        elif frame.kind is Kind.FILE:
            self._file(meta, frame.body)
        elif frame.kind is Kind.RUN:
            self._run()
        elif frame.kind is Kind.END:
            self._end_child()
            if meta.get("leave"):
                return True
        return False

    def _stays(self) -> bool:
        """While it waits for a data set that another agent fetches."""
        self._beat()
        return not self.alone and not self.preempted

    def _start(self, meta: dict[str, Any]) -> None:
        """A process of this program; the one before has ended."""
        self._end_child()
        self._drop_attempt()
        self.process = int(meta["process"])
        self.program = mapped_program(Program(**meta["program"]), self.mapped)
        child = self.starter.start(self.program, int(meta["threads"]))
        pace = PaceLimits(**meta.get("pace", {}))
        self.watchdog = Watchdog(child, MemoryLimits(**meta["limits"]), self.sensors, self.guard, pace=pace)
        self.watchdog.memory.start()
        keep_within(child, self.watchdog.limits)
        self.child = child

    def _begin(self, meta: dict[str, Any]) -> None:
        """Another trial: a folder of its attempt alone, and what it goes on from."""
        self._drop_attempt()
        self.attempt = Attempt(self.scratch, meta, self._beat)
        self._measures = bool(meta.get("measures"))
        self._arriving = Arriving(self.attempt.folder, self.attempt.root, durable=False)
        if self.watchdog is not None:
            self.watchdog.begin_trial(meta.get("usual_step_s"), meta.get("report_s"), meta.get("gap_s"))

    def _drop_attempt(self) -> None:
        if self.attempt is not None:
            self.attempt.close()
        self.attempt = self._arriving = None
        self._over = False

    def _file(self, meta: dict[str, Any], body: bytes) -> None:
        if meta.get("of") == "code":
            self.mapped.part(meta, body)
        elif meta.get("of") == "data":
            self.data.part(meta, body)
        elif self.attempt is None or meta.get("token") != self.attempt.token:
            return
        elif meta.get("of") == "log":
            self.attempt.take_log(body)
        elif "at" in meta:
            try:
                self.attempt.fetch(meta)
            except BadBlob as error:  # the trial goes on from the checkpoint before, or begins anew
                log.warning("%s is not there to go on from: %s", meta.get("name"), error)
        elif self._arriving is not None:
            self._arriving.part(meta, body)

    def _run(self) -> None:
        assert self.attempt is not None and self._arriving is not None, "an attempt comes first"
        self._arriving.commit()
        self.attempt.files.knows()
        if self.child is not None:
            with contextlib.suppress(ChildError):
                self.child.send(self.attempt.order(self.mapped), timeout_s=60.0)

    # -- what the trial tells

    def _pump(self, child: TrialProcess, timeout_s: float) -> bool:
        """Sends on what has come; True: the process has ended, and all is told."""
        for fact in child.facts(timeout_s):
            self._tell(fact)
        ended = child.poll() is not None
        if ended:
            while facts := child.facts(0.0):
                for fact in facts:
                    self._tell(fact)
        if self.watchdog is not None:
            self._watch(child, self.watchdog)
        if self.attempt is not None:
            self._send_log()
        return ended

    def _tell(self, fact: dict[str, Any]) -> None:
        kind, attempt = fact.get("fact"), self.attempt
        if self._over:
            return
        if kind == "ready" and self.child is not None:
            self.child.was_ready = True
        if self.watchdog is not None:
            if kind == "step":  # a heartbeat, which the watchdog hears here
                self.watchdog.progress(fact.get("step_s") if self._measures else None)
                return
            if kind in PROGRESS:
                self.watchdog.progress()
                self.watchdog.pace.reported()
        if attempt is not None:
            self._send_log()
            if kind in WITH_FILES or (kind == "epoch" and self.program is not None and self.program.relays):
                fact = self._with_files(attempt, fact)
        token = None if attempt is None else attempt.token
        self.writer.send(Kind.FACT, {"process": self.process, "token": token, "fact": fact})

    def _with_files(self, attempt: Attempt, fact: dict[str, Any]) -> dict[str, Any]:
        """The fact, after its files; or that the trial has failed, where they cannot go home: no node is at fault."""
        try:
            self._send_files(attempt, hurry=fact["fact"] in WITH_FILES)
        except (BadFile, CannotKeep) as error:
            self._over = True
            if self.child is not None:
                self.child.kill()
            cause = Cause.CODE_ERROR if isinstance(error, BadFile) else Cause.DISK
            shared = isinstance(error, CannotKeep)  # the folder of `--checkpoints`, which all nodes see
            return {"fact": "failed", "cause": cause, "message": str(error), "shared": shared}
        return fact

    def _send_files(self, attempt: Attempt, hurry: bool) -> None:
        if not hurry and time.monotonic() < self._files_after:
            return
        began = time.monotonic()
        attempt.files.send(self.writer, {"token": attempt.token})
        self._files_after = time.monotonic() + (time.monotonic() - began) / SHARE

    def _send_log(self) -> None:
        attempt = self.attempt
        if attempt is None:
            return
        most = None if self.program is not None and self.program.reads_log else MOST_LOG
        while body := attempt.more_log(MOST_BODY, most):
            self.writer.send(Kind.LOG, {"token": attempt.token}, body)

    def _watch(self, child: TrialProcess, watchdog: Watchdog) -> None:
        for decision in watchdog.check():
            if decision.action is Action.FREEZE:
                child.freeze()
            elif decision.action is Action.THAW:
                child.thaw()
            told = {name: getattr(decision, name) for name in ("action", "message", "state", "cause", "changed")}
            self.writer.send(Kind.DECISION, {"process": self.process, **told})

    def _beat(self) -> None:
        if time.monotonic() - self._beaten < self.beat_s:
            return
        self._beaten = time.monotonic()
        self.writer.send(Kind.VITALS, self._vitals())

    def _vitals(self) -> dict[str, Any]:
        watchdog, child = self.watchdog, self.child
        told: dict[str, Any] = {"reading": told_of(self.sensors.read()), "guard": self.guard.state}
        if child is None:
            self.guard.step(self.sensors.read())  # a machine that cools after a stop has no trial to ask
        if watchdog is not None and child is not None:
            told |= {
                "peak": watchdog.memory.peak,
                "tree": watchdog.latest.tree_bytes if watchdog.latest is not None else 0,
                "step_s": watchdog.pace.latest_step_s,
                "worked_s": watchdog.worked_s,
                "frozen": child.frozen,
            }
        return told

    # -- the end of a process

    def _ended(self) -> None:
        """The process has ended by itself, or was killed."""
        child = self.child
        assert child is not None, "it was there a moment ago"
        if self.attempt is not None and not self.alone:
            self._send_log()
            with contextlib.suppress(BadFile, CannotKeep):  # it has ended by itself, and told all that it had to tell
                self._send_files(self.attempt, hurry=True)
        whose, said = Whose.TRIAL, ""
        if self.preempted:
            whose, said = Whose.PREEMPTED, self.wanted_back
        elif not child.was_ready:
            whose, said = Whose.LAUNCH_FAILED, f"no trial process comes up on {self.host}: {self._last_line()}"
        told = {
            "process": self.process,
            "code": child.poll(),
            "whose": whose,
            "said": said,
            "oom_kills": child.oom_kills(),
        }
        self.writer.send(Kind.EXIT, told | self._vitals())
        self._drop_child()

    def _last_line(self) -> str:
        logs = [self.starter.log_path] + ([self.attempt.log] if self.attempt is not None else [])
        for path in logs:
            with contextlib.suppress(OSError):
                lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
                if lines:
                    return lines[-1][:300]
        return "it printed nothing"

    def _end_child(self) -> None:
        """Gently, if it still answers; without telling anybody."""
        child = self.child
        if child is None:
            return
        if child.poll() is None:
            child.close_stdin()
            child.wait(max(0.0, min(self.grace_s, self._leave_by - time.monotonic())) if self.alone else 10.0)
        self._drop_child()

    def _drop_child(self) -> None:
        if self.watchdog is not None:
            self.watchdog.close()
        if self.child is not None:
            self.child.close()
        self.child = self.watchdog = None


def stop(child: TrialProcess, how: str) -> None:
    {
        "freeze": child.freeze,
        "thaw": child.thaw,
        "ask": child.ask_to_stop,
        "kill": child.kill,
        "stdin": child.close_stdin,
    }.get(how, lambda: None)()


def keep_within(child: TrialProcess, limits: MemoryLimits) -> None:
    limit_data(child.pid, None if limits.hard is None else limits.hard + NOT_RESIDENT)


def told_of(reading: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(reading).items() if value is not None}


def main() -> int:
    parser = argparse.ArgumentParser(description="runs trials on a node; started by `fts worker --executor ...`")
    parser.add_argument("--name", default=os.uname().nodename)
    parser.add_argument("--host", help="what this machine is called  [default: as it calls itself]")
    parser.add_argument("--scratch", help="folder for scratch folders  [default: $FTS_SCRATCH, else $TMPDIR]")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    stdout = os.dup(1)
    os.set_inheritable(stdout, False)
    os.dup2(2, 1)  # what anything prints is no frame
    stdin = os.dup(0)
    os.set_inheritable(stdin, False)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.umask(0o077)
    scratch, lock = new_scratch(given.scratch or os.environ.get("FTS_SCRATCH"))
    try:
        return Agent(given.name, stdin, stdout, scratch, given.host).run()
    finally:
        remove(scratch)
        os.close(lock)


if __name__ == "__main__":
    from fts.jobs.executors.agent import main as life  # the module, not this copy of it under another name

    sys.exit(life())
