"""Weather for running studies: processes end, freeze and come back at random moments, singly and together."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from dataclasses import dataclass

import psutil

from tests.chaos.any_study import PATIENCE_S, Studies


@dataclass(frozen=True)
class Stroke:
    """What is hit, how often, and with which signal."""

    often: int
    kinds: tuple[str, ...] = ()
    one: bool = False  # of them, not all
    number: int = signal.SIGKILL


STROKES = {
    "trial": Stroke(9, ("trial",), one=True),
    "command": Stroke(7, ("other",), one=True),
    "template": Stroke(3, ("template",), one=True),
    "template and trial": Stroke(3, ("template", "trial")),
    "worker": Stroke(2, ("worker",)),
    "worker and trial": Stroke(2, ("worker", "trial")),
    "everything": Stroke(2, ("worker", "template", "trial", "other")),
    "paused": Stroke(3, ("trial", "template", "worker"), one=True),
    "asked to stop": Stroke(1, ("trial", "worker"), one=True, number=signal.SIGTERM),
    "second worker": Stroke(1),
}


class Weather:
    """Ends, stops and starts processes at random moments until there were so many losses."""

    def __init__(self, study: Studies, rng: random.Random) -> None:
        self.study, self.rng = study, rng
        self.losses: Counter[str] = Counter()
        self.extended = False
        self._other: subprocess.Popen[bytes] | None = None

    def rage(self, losses: int, until_s: float = 3600.0) -> None:
        end = time.monotonic() + until_s
        worker = self.start()
        worker.kill()  # between being put in line and the first claim
        self.losses["worker at birth"] += 1
        worker.wait()
        worker = self.start()
        while self.losses.total() < losses and time.monotonic() < end:
            time.sleep(self.rng.choice((0.0, 0.1, 0.5, 1.0, 3.0, 6.0)))
            if not self.extended and self.losses.total() > losses / 3:
                self.study.put_in_line()
                self.extended = True
            self.strike()
            if worker.poll() is not None:
                if worker.returncode == 0 and self.extended and self.is_over():
                    break
                self.study.retry()
                worker = self.start()
        if not self.extended:
            self.study.put_in_line()
        for one in self.study.workers:
            self.signal(one.pid, signal.SIGCONT)
        for each in self.study.processes().values():
            for process in each:
                self.signal(process.pid, signal.SIGCONT)
        for one in self.study.workers:
            if one.poll() is None:
                self.signal(one.pid, self.rng.choice((signal.SIGTERM, signal.SIGKILL)))
                one.wait(PATIENCE_S)

    def is_over(self) -> bool:
        connection = sqlite3.connect(f"file:{self.study.db}?mode=ro", uri=True)
        try:
            return not connection.execute("SELECT 1 FROM job WHERE status != 'done'").fetchone()
        finally:
            connection.close()

    def start(self) -> subprocess.Popen[bytes]:
        slots, threads = self.rng.choice(((1, 1), (2, 1), (1, 2), (2, 1)))
        return self.study.start(slots, threads)

    def strike(self) -> None:
        """One stroke of lightning."""
        there = self.study.processes()
        what = self.rng.choices(list(STROKES), [each.often for each in STROKES.values()])[0]
        stroke = STROKES[what]
        hit = [process for kind in stroke.kinds for process in there[kind]]
        if stroke.one and hit:
            hit = [self.rng.choice(hit)]
        if what == "paused":
            self.pause(hit)
        elif what == "second worker":
            if self._other is not None and self._other.poll() is None:
                return
            self._other = self.study.start(elsewhere=True)
        else:
            for process in hit:
                self.signal(process.pid, stroke.number)
        if hit:
            self.losses[what] += 1

    def pause(self, hit: list[psutil.Process]) -> None:
        """A worker perhaps for longer than its lease, so that another may take over."""
        for process in hit:
            self.signal(process.pid, signal.SIGSTOP)
            time.sleep(self.rng.choice((0.2, 1.0, 6.0)))
            self.signal(process.pid, signal.SIGCONT)

    @staticmethod
    def signal(pid: int, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
