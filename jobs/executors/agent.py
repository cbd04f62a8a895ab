"""The agent: runs on a node, starts and watches trial processes there, and sends their facts and files to the worker.

    python -Pm fts.jobs.executors.agent --name gpu1        (the worker's launch command starts it)

It exchanges frames (fts.jobs.executors.frames) on stdin and stdout and uses no database. Each attempt of a trial has
its own scratch folder; files are sent before the fact that names them. If the worker is silent for a lease, the agent
asks the trial for a checkpoint and exits. SIGTERM and SIGUSR1 mean that the engine wants the node back: it exits after
a checkpoint, with exit code 75.
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

from fts import __version__
from fts.jobs.api.protocol import STOPPED
from fts.jobs.cgroups import usable_cores
from fts.jobs.devices import BadSetting, check_here
from fts.jobs.executors import fingerprint
from fts.jobs.executors.frames import MOST_FROM_HEAD, BadFrame, Frame, FrameKind, FrameReader, Writer
from fts.jobs.executors.node_data import DataSets, MustLeave
from fts.jobs.executors.node_trial import NodeTrial
from fts.jobs.executors.on_node import new_scratch
from fts.jobs.sensors.detect import from_env
from fts.jobs.sensors.gpus import list_gpus
from fts.jobs.settings import best_device
from fts.jobs.supervisor.child import PATIENCE
from fts.jobs.supervisor.staged_files import BadFile
from fts.jobs.threads import repeat
from fts.jobs.trial.process import JOBS
from fts.jobs.watchdog.policy import HeatPolicy, MemoryLimits, Thresholds
from fts.state.files import remove

log = logging.getLogger("fts.agent")

LISTEN_S = 0.05  # between two checks for orders while a trial runs
IDLE_S = 0.25
SIGTERM_S = 15.0  # time before SIGTERM when the engine wants the node back, since it will soon kill everything
BLOCKS_S = 60.0  # the longest time for one order: a process that is started may import from a slow disk
INBOX = 64  # frames; when the inbox is full, the worker waits


class Agent:
    """One connection, and at most one trial process."""

    def __init__(
        self, name: str, stdin: int, stdout: int, scratch: Path, host: str | None = None, device: str | None = None
    ) -> None:
        self.name, self.scratch, self.device = name, scratch, device
        self.host = host or os.environ.get("SLURMD_NODENAME") or os.uname().nodename
        self.lease_s, self.grace_s, self.beat_s = 60.0, 60.0, 5.0
        self.disconnected = ""  # why the connection to the worker has ended; empty: it is open
        self.preempted = False
        self.writer = Writer(stdout, lambda: bool(self.disconnected))
        self.reader = FrameReader(stdin, MOST_FROM_HEAD)
        self.inbox: queue.Queue[Frame | None] = queue.Queue(INBOX)
        self.sensors = from_env(disk=scratch)
        self.guard = HeatPolicy(Thresholds.from_env())
        self.trial = NodeTrial(scratch, self.writer, self.sensors, self.guard, self._beat)
        self.data = DataSets(scratch, self._may_wait)
        self._beaten = self._blocked_until = float("-inf")  # monotonic
        self._beating = threading.Lock()
        self._leave_by = self._sigterm_at = float("inf")  # monotonic

    def run(self) -> int:
        """Serves the worker until the agent has to leave; returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._preempt)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        try:
            self.writer.begin()  # here, not above: the worker may be gone by now
            self.writer.send(FrameKind.HELLO, self.hello())
            threading.Thread(target=self._read, name="orders", daemon=True).start()
            threading.Thread(target=self._watch_silence, name="silence", daemon=True).start()
            while not self._step():
                pass
        except BrokenPipeError as error:
            self.disconnected = self.disconnected or f"the worker is gone: {error}"
        except (BadFrame, BadFile, OSError) as error:
            self._refuse(str(error))
        if self.disconnected:
            log.warning("%s; this agent leaves", self.disconnected)
        left_s = max(0.0, min(self.grace_s, self._leave_by - time.monotonic()))
        self.trial.end(left_s if self.disconnected else 10.0)
        self.trial.close()
        self.data.close()
        self.sensors.close()
        return STOPPED if self.preempted or self.disconnected else 0

    @property
    def preemption_reason(self) -> str:
        return f"the engine wants {self.host} back"

    def hello(self) -> dict[str, Any]:
        """Describes this node: hardware, code version, GPUs, current reading."""
        found, reading = fingerprint.of_this_machine(), self.sensors.read()
        return {
            "name": self.name,
            "host": self.host,
            "pid": os.getpid(),
            "fingerprint": found.md5,
            "hardware": found.words,
            "code": fingerprint.code_md5(),
            "version": __version__,
            "cores": usable_cores(),
            "gpus": [asdict(gpu) for gpu in list_gpus()],
            "device": best_device(),
            "lacks": self._lacks(),
            "reading": reading_json(reading),
            "scratch": str(self.scratch),
            "job": next((os.environ[name] for name in JOBS if name in os.environ), None),
        }

    def _lacks(self) -> str | None:
        """Says that the device of the worker's --device is missing here; None: it is here, or any will do."""
        if self.device is None:
            return None
        try:
            check_here(self.device, "--device")
        except BadSetting as missing:
            return str(missing)
        return None

    # -- frames from the worker

    def _read(self) -> None:
        why = "the worker has ended the connection"
        try:
            while (frame := self.reader.next()) is not None:
                self._receive(frame)
        except (BadFrame, OSError) as error:
            why = str(error)
            self._refuse(why)
        except Exception as error:  # an unknown content must end the connection, not only this thread
            log.exception("a frame of the worker cannot be handled")
            why = f"what the worker sent cannot be used: {error}"
            self._refuse(why)
        self.disconnected = self.disconnected or why
        self.inbox.put(None)

    def _receive(self, frame: Frame) -> None:
        """Handles urgent frames at once, in the reader's thread; puts the others into the inbox."""
        meta = frame.meta
        if frame.kind is FrameKind.WELCOME:
            self.lease_s, self.grace_s, self.beat_s = (float(meta[name]) for name in ("lease_s", "grace_s", "beat_s"))
        elif frame.kind is FrameKind.SEND:
            self.trial.send(meta["message"])
        elif frame.kind is FrameKind.STOP:
            self.trial.stop(str(meta.get("how")))
        elif frame.kind is not FrameKind.BEAT:
            if frame.kind is FrameKind.START:
                self.trial.expects()
            self.inbox.put(frame)

    def _watch_silence(self) -> None:
        """Notices the silence of the worker; sends heartbeats while the main loop carries out an order."""

        def look() -> float | None:
            if time.monotonic() - self.reader.heard > self.lease_s and not self.inbox.full():  # full: we do not read
                self.disconnected = self.disconnected or f"no word from the worker for {self.lease_s:g} s"
            if self.disconnected:
                return None
            if time.monotonic() < self._blocked_until:
                with contextlib.suppress(BrokenPipeError):  # the main loop notices it
                    self._beat()
            return min(1.0, self.lease_s / 10)

        repeat(look, threading.Event(), "heartbeat to the worker")

    def _preempt(self, signum: int, frame: Any) -> None:
        self.preempted = True

    def _refuse(self, why: str) -> None:
        with contextlib.suppress(OSError):
            self.writer.send(FrameKind.REFUSED, {"said": why[:2000]})

    # -- the main loop

    def _step(self) -> bool:
        """Handles one frame, forwards facts, sends vitals; True: the agent exits."""
        busy = self.trial.child is not None
        with contextlib.suppress(queue.Empty):
            frame = self.inbox.get_nowait() if busy else self.inbox.get(timeout=IDLE_S)
            self._blocked_until = time.monotonic() + BLOCKS_S
            if frame is not None and self._carry_out(frame):
                return True
        self._blocked_until = float("-inf")
        if self.trial.pump(LISTEN_S if self.inbox.empty() else 0.0):
            reason = self.preemption_reason if self.preempted else None
            ended = self.trial.ended(self.host, reason, connected=not self.disconnected)
            self.writer.send(FrameKind.EXIT, ended | self._machine())
            self.trial.drop()
        self._beat()
        return (bool(self.disconnected) or self.preempted) and self._leaves()

    def _leaves(self) -> bool:
        """Stops the trial with a checkpoint, within the grace; True: no trial runs any more."""
        begins = self._leave_by == float("inf")
        if self.preempted and (begins or self.trial.child is None):
            self.writer.send(FrameKind.PREEMPTED, {"said": self.preemption_reason})
        if self.trial.child is None:
            return True
        if begins:
            self._leave_by = time.monotonic() + self.grace_s
            self._sigterm_at = time.monotonic() + min(SIGTERM_S, PATIENCE * self.grace_s)
            # without a worker, end of file tells a trial that waits for the pruner's answer that none will come
            self.trial.stop("stdin" if self.disconnected else "ask")
        elif time.monotonic() > self._leave_by:
            self.trial.stop("kill")
        elif time.monotonic() > self._sigterm_at:
            self._sigterm_at = float("inf")
            self.trial.stop("insist")
        return False

    def _carry_out(self, frame: Frame) -> bool:
        """Carries out one frame; True: the worker asked the agent to leave."""
        meta, trial = frame.meta, self.trial
        if frame.kind is FrameKind.CODE:
            trial.code.expect(str(meta["md5"]), str(meta["folder"]))
        elif frame.kind is FrameKind.DATA:
            with contextlib.suppress(MustLeave):  # the next step of the main loop exits
                self.writer.send(FrameKind.NEED, {"files": self.data.want(meta["files"])})
        elif frame.kind is FrameKind.START:
            trial.code.settle()
            self.data.place(trial.code.copy)
            trial.start(meta)
        elif frame.kind is FrameKind.LIMITS:  # in the order of the frames: the first ones follow START at once
            trial.limit_memory(MemoryLimits(**meta["limits"]))
        elif frame.kind is FrameKind.ATTEMPT:
            trial.begin(meta)
        elif frame.kind is FrameKind.FILE:
            takes = {"code": trial.code.part, "data": self.data.part}.get(str(meta.get("of")), trial.file)
            takes(meta, frame.body)
        elif frame.kind is FrameKind.RUN:
            trial.run()
        elif frame.kind is FrameKind.END:
            trial.end()
            return bool(meta.get("leave"))
        return False

    def _may_wait(self) -> bool:
        """Called while it waits for a data set that another agent fetches; returns whether to go on waiting."""
        self._beat()
        return not self.disconnected and not self.preempted

    def _beat(self) -> None:
        if time.monotonic() - self._beaten < self.beat_s or not self._beating.acquire(blocking=False):
            return
        try:
            self._beaten = time.monotonic()
            if self.trial.child is None:
                self.guard.step(self.sensors.read())  # while the machine cools down no trial's watchdog does this
            self.writer.send(FrameKind.VITALS, self._machine() | self.trial.vitals())
        finally:
            self._beating.release()

    def _machine(self) -> dict[str, Any]:
        return {"reading": reading_json(self.sensors.read()), "guard": self.guard.state}


def reading_json(reading: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(reading).items() if value is not None}


def main() -> int:
    parser = argparse.ArgumentParser(description="runs trials on a node; started by `fts worker --executor ...`")
    parser.add_argument("--name", default=os.uname().nodename)
    parser.add_argument("--host", help="what this machine is called  [default: as it calls itself]")
    parser.add_argument("--scratch", help="folder for scratch folders  [default: $FTS_SCRATCH, else $TMPDIR]")
    parser.add_argument("--device", help="what this machine must have  [default: its best device is used]")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    stdout = os.dup(1)
    os.set_inheritable(stdout, False)
    os.dup2(2, 1)  # print() must not write into the stream of frames
    stdin = os.dup(0)
    os.set_inheritable(stdin, False)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.umask(0o077)
    try:
        scratch, lock = new_scratch(given.scratch or os.environ.get("FTS_SCRATCH"))
    except OSError as error:
        sys.exit(
            f"no scratch folder can be made at {error.filename}: {error.strerror}; FTS_SCRATCH names another folder"
        )
    try:
        return Agent(given.name, stdin, stdout, scratch, given.host, given.device).run()
    finally:
        remove(scratch)
        os.close(lock)


if __name__ == "__main__":
    from fts.jobs.executors.agent import main as life  # the real module, not its copy named __main__

    sys.exit(life())
