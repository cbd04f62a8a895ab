"""Runs `fts` as a person does, in a folder of its own: a process of its own, or a fork that costs less (forks.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests import forks

ROOT = Path(__file__).parent.parent
FTS = [sys.executable, "-m", "fts.jobs.cli"]
QUICK = {
    "FTS_LEASE_S": "5", "FTS_BEAT_S": "0.5", "FTS_POLL_S": "0.1", "FTS_AWAKE": "0", "FTS_SENSORS": "none",
    "FTS_NOTIFY": os.devnull,
}  # fmt: skip


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


Process = subprocess.Popen[str] | forks.Forked
STARTED: list[Process] = []  # in the background, by the tests so far


class Study:
    """One folder with its outputs and data, and everything a person can do there."""

    def __init__(self, folder: Path, starts: bool = False, **environ: str) -> None:
        """`starts`: no command is forked, because the start of a process is what is tested."""
        self.folder, self.starts = folder, starts
        self.outputs = folder / "outputs"
        folder.mkdir(parents=True, exist_ok=True)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FTS_")}
        own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "XDG_STATE_HOME": f"{folder}.state"}
        self.environ = clean | QUICK | own | environ

    def fts(self, *words: str, timeout_s: float = 120.0) -> Said:
        return fts(words, self.folder, self.environ, timeout_s, self.starts)

    def ok(self, *words: str, timeout_s: float = 120.0) -> str:
        said = self.fts(*words, timeout_s=timeout_s)
        assert said.code == 0, f"fts {' '.join(words)}: {said}"
        return said.out

    def json(self, *words: str) -> Any:
        return json.loads(self.ok(*words, "--json"))

    def start(self, *words: str) -> Process:
        """`fts ...` in the background, in a session of its own; what it says goes to outputs/said.txt."""
        with (self.folder / "said.txt").open("ab") as said:
            process = start(words, self.folder, self.environ, said, starts=self.starts)
        STARTED.append(process)
        return process

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Rows of the database, read-only, by column name."""
        import sqlite3

        connection = sqlite3.connect(f"file:{self.outputs / 'fts.db'}?mode=ro", uri=True)
        connection.row_factory = sqlite3.Row
        try:
            return [dict(row) for row in connection.execute(sql)]
        finally:
            connection.close()

    def one(self, sql: str) -> Any:
        (value,) = self.query(sql)[0].values()
        return value


def fts(
    words: Sequence[str], folder: Path, environ: Mapping[str, str], timeout_s: float = 240.0, starts: bool = False
) -> Said:
    """`fts WORDS`, to its end; a fork unless `starts`, or `environ` has what only an interpreter that starts obeys."""
    with forks.off(starts):
        return Said(*forks.run([*FTS, *words], folder, environ, timeout_s))


def start(
    words: Sequence[str],
    folder: Path,
    environ: Mapping[str, str],
    out: IO[bytes],
    err: IO[bytes] | None = None,
    starts: bool = False,
) -> Process:
    """`fts WORDS` in the background, likewise, in a session of its own; both streams go to `out` if there is one."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err or out}
    with forks.off(starts):
        return forks.popen([*FTS, *words], cwd=folder, env=environ, start_new_session=True, **streams)


def wait_until(true: Callable[[], Any], timeout_s: float = 60.0, every_s: float = 0.1) -> Any:
    """The first truthy answer; fails with the question's source line when it never comes."""
    give_up = time.monotonic() + timeout_s
    while time.monotonic() < give_up:
        if answer := true():
            return answer
        time.sleep(every_s)
    raise AssertionError(f"not true within {timeout_s:.0f} s (line {true.__code__.co_firstlineno})")
