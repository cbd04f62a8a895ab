"""Starts real workers, ends them at named or random moments, and looks at what they left."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from fts.jobs.settings import Places
from tests import forks

ROOT = Path(__file__).resolve().parents[2]
RUN_WORKER = ROOT / "tests" / "chaos" / "run_worker.py"
INJECT = ROOT / "tests" / "chaos" / "inject"
PATIENCE_S = 120.0  # of the harness; never asserted, only so that a hanging test ends
QUICK = {
    "FTS_POLL_S": "0.05", "FTS_BEAT_S": "0.4", "FTS_LEASE_S": "4", "FTS_CHECKPOINT_EVERY_S": "0.05",
    "FTS_MAX_IDLE_ATTEMPTS": "1000", "FTS_DEVICE": "cpu",
    "FTS_DISK_RESERVE": "1M",
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
}  # fmt: skip


class Nursery:
    """A process that has torch imported and forks workers from itself; see nursery.py."""

    def __init__(self) -> None:
        answers, its_answers = os.pipe()
        self.process = forks.popen(
            [sys.executable, "-Pm", "tests.chaos.nursery"],
            stdin=subprocess.PIPE,
            stdout=its_answers,
            stderr=sys.__stderr__,
            env={**os.environ, **QUICK, "PYTHONPATH": str(ROOT)},
        )
        os.close(its_answers)
        self._answers = os.fdopen(answers)
        self.ready = self._answer()

    def ask(self, **words: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words).encode() + b"\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._answers.readline())
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)
        self._answers.close()


class RunningWorker:
    """A worker process of a test: forked by the nursery, or an ordinary `python run_worker.py`."""

    def __init__(self, nursery: Nursery | None, env: dict[str, str], argv: list[str], log: Path) -> None:
        self.nursery, self.log = nursery, log
        log.parent.mkdir(parents=True, exist_ok=True)
        if nursery is not None:
            self.pid = int(nursery.ask(start=env, argv=argv, log=str(log))["pid"])
            return
        with log.open("ab") as out:
            self._popen = subprocess.Popen(
                [sys.executable, str(RUN_WORKER), *argv],
                env=env | {"PYTHONPATH": f"{INJECT}{os.pathsep}{ROOT}"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=log.parent,
            )
        self.pid = self._popen.pid

    def poll(self) -> int | None:
        if self.nursery is None:
            return self._popen.poll()
        code = self.nursery.ask(poll=self.pid)["code"]
        return None if code is None else int(code)

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        code = until(self.poll, timeout_s, lambda: f"worker {self.pid} still runs\n{self.talk()}")
        return int(code)

    def send(self, signum: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.wait()

    def talk(self, characters: int = 4000) -> str:
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""


@dataclass
class Harness:
    """One study under attack."""

    places: Places
    nursery: Nursery | None
    folder: Path  # of the journal and the workers' logs
    workers: list[RunningWorker] = field(default_factory=list)  # every one that was started

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    @property
    def trouble(self) -> Path:
        return self.folder / "trouble"

    def start(self, faults: Iterable[str] = (), argv: Iterable[str] = ("--until-empty",), **env: str) -> RunningWorker:
        """A worker that has to suffer these faults."""
        self.folder.mkdir(parents=True, exist_ok=True)
        around = {name: value for name, value in os.environ.items() if not name.startswith("FTS_")}
        ours = {
            "FTS_DB": str(self.places.db),
            "FTS_DATA": str(self.places.data),
            "FTS_CHAOS": ",".join(faults),
            "FTS_CHAOS_JOURNAL": str(self.journal),
        }
        log = self.folder / "worker.log"
        self.workers.append(RunningWorker(self.nursery, {**around, **QUICK, **ours, **env}, list(argv), log))
        return self.workers[-1]

    def close(self) -> None:
        """Kills what a failed test has left running; a worker first, because it would start another trial."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
        for process in self.trial_processes():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def finish(self) -> None:
        """An undisturbed worker brings the study to its end."""
        worker = self.start()
        code = worker.wait()
        assert code == 0, f"exit code {code}\n{worker.talk()}"

    def fired(self) -> list[str]:
        """The faults that have happened, in order."""
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        return [line.split(" ", 2)[2] for line in lines if line.startswith("fired ")]

    def trial_processes(self) -> list[psutil.Process]:
        """Every living trial process of this study, orphans too.

        A forked one keeps the command line of the nursery, so its output tells: it goes to a log of this study.
        """
        logs = str(self.places.logs)
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                stdout = str(Path(f"/proc/{process.pid}/fd/1").readlink())
                if stdout.startswith(logs) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found


def until(found: Callable[[], Any], timeout_s: float = PATIENCE_S, sorry: Callable[[], str] = lambda: "") -> Any:
    """The first thing `found` returns that is not None or False; a sentence when it never comes."""
    end = time.monotonic() + timeout_s
    while (thing := found()) is None or thing is False:
        assert time.monotonic() < end, f"waited {timeout_s:.0f} s in vain; {sorry()}"
        time.sleep(0.02)
    return thing


def seeded(name: str, default: int) -> random.Random:
    """Random choices that can be had again: FTS_CHAOS_SEED=... replays what a failed test printed."""
    seed = int(os.environ.get("FTS_CHAOS_SEED", default))
    print(f"{name}: FTS_CHAOS_SEED={seed}")
    return random.Random(seed)
