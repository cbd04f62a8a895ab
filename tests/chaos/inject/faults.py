"""Named moments in the life of a worker and of a trial, and what goes wrong at one of them. The product knows nothing.

FTS_CHAOS="trial:fsync:3:kill,worker:claim:2:kill" reads: the trial process kills itself before its third fsync, the
worker before the second statement of its transactions named claim. Once each: what has fired stands in the journal
(FTS_CHAOS_JOURNAL). "worker:write:5+:full" fails from the fifth write on, as long as the file `trouble` lies beside
the journal.

Moments of a worker: sql (every statement), write (every statement that changes something, every commit), and each
transition by its name (claim, take, start_trial, record_epoch ...; its BEGIN, statements, COMMIT, and what follows).
Moments of both: fsync, rename, replace, mkdir; of a trial: fact (each line on its pipe).
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE_MOMENTS = ("fsync", "rename", "replace", "mkdir")
WORDS = {"full": "database or disk is full", "locked": "database is locked", "io": "disk I/O error"}
ERRORS = {"enospc": errno.ENOSPC, "eio": errno.EIO}


@dataclass(frozen=True)
class Fault:
    role: str  # worker | trial
    site: str
    n: int  # at the n-th time, counted from 1 in each process
    action: str  # kill | kill-all | stop | enospc | eio | short | full | locked | io
    lasting: bool = False  # from the n-th time on, while the trouble lasts

    @classmethod
    def parse(cls, text: str) -> Fault:
        role, site, n, action = text.split(":")
        return cls(role, site, int(n.rstrip("+")), action, n.endswith("+"))

    def __str__(self) -> str:
        return f"{self.role}:{self.site}:{self.n}{'+' if self.lasting else ''}:{self.action}"


class Script:
    """What this process has to suffer, and how often it has been at each moment."""

    def __init__(self, role: str, text: str, journal: Path | None) -> None:
        self.journal = journal
        self.trouble = journal.with_name("trouble") if journal else None
        fired = {line.split(" ", 2)[2] for line in self._lines() if line.startswith("fired ")}
        faults = [Fault.parse(part) for part in text.split(",") if part]
        self.faults = [fault for fault in faults if fault.role == role and str(fault) not in fired]
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def _lines(self) -> list[str]:
        return self.journal.read_text().splitlines() if self.journal and self.journal.exists() else []

    def note(self, word: str, what: object) -> None:
        if self.journal is not None:
            fd = os.open(self.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            real_write(fd, f"{word} {os.getpid()} {what}\n".encode())
            os.close(fd)

    def reach(self, site: str) -> str | None:
        """Counts this moment; returns what is to go wrong now, after doing what cannot be returned from."""
        with self._lock:
            self.counts[site] += 1
            fault = next((f for f in self.faults if f.site == site and self._due(f)), None)
            if fault is not None and not fault.lasting:
                self.faults.remove(fault)
        if fault is None:
            return None
        self.note("fired", fault)
        if fault.action == "kill-all":
            kill_children()
        if fault.action in ("kill", "kill-all"):
            os.kill(os.getpid(), signal.SIGKILL)
        if fault.action == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
            return None
        return fault.action

    def _due(self, fault: Fault) -> bool:
        if fault.lasting:
            return self.counts[fault.site] >= fault.n and self.trouble is not None and self.trouble.exists()
        return self.counts[fault.site] == fault.n


script = Script("nobody", "", None)
real_write = os.write


def install(role: str | None) -> None:
    """Reads the environment and wraps what this role goes through; None: an ordinary process."""
    global script
    if role is None:
        return
    journal = os.environ.get("FTS_CHAOS_JOURNAL")
    script = Script(role, os.environ.get("FTS_CHAOS", ""), Path(journal) if journal else None)
    for name in FILE_MOMENTS:
        setattr(os, name, file_moment(name, getattr(os, name)))
    if role == "worker":
        watch_database()
    else:
        os.write = write_moment  # type: ignore[assignment]


def role_of(argv: list[str]) -> str | None:
    if "fts.study.objective" in argv:
        return "trial"
    return "worker" if any(part.endswith("run_worker.py") for part in argv) else None


def kill_children() -> None:
    """SIGKILL to the sessions of all children."""
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            try:
                os.killpg(int(child), signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue


def file_moment(name: str, real: Any) -> Any:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if name == "rename" and "/checkpoint-" in str(args[1]):
            script.note("checkpoint", Path(args[1]).parent)
        wrong = script.reach(name)
        if wrong in ERRORS:
            raise OSError(ERRORS[wrong], os.strerror(ERRORS[wrong]), str(args[0]))
        return real(*args, **kwargs)

    return wrapped


def write_moment(fd: int, data: Any) -> int:
    """os.write of a trial process is the pipe of facts, and nothing else."""
    wrong = script.reach("fact")
    if wrong in ERRORS:
        raise OSError(ERRORS[wrong], os.strerror(ERRORS[wrong]))
    return real_write(fd, data[: max(1, len(data) // 2)] if wrong == "short" else data)


def watch_database() -> None:
    import peewee

    base = peewee.SqliteDatabase
    real_execute, real_begin, real_commit = base.execute_sql, base.begin, base.commit
    here = threading.local()

    def moments(*sites: str) -> None:
        for site in (*sites, getattr(here, "transition", None)):
            wrong = script.reach(site) if site else None
            if wrong in WORDS:
                raise peewee.OperationalError(WORDS[wrong])

    def execute_sql(self: Any, sql: str, params: Any = None) -> Any:
        changes = not sql.lstrip().upper().startswith(("SELECT", "PRAGMA", "WITH"))
        moments("sql", *(("write",) if changes else ()))
        return real_execute(self, sql, params)

    def begin(self: Any, lock_type: Any = None) -> Any:
        here.transition = transition_of(sys._getframe(1)) if lock_type else None
        moments("sql")
        return real_begin(self, lock_type)

    def commit(self: Any) -> Any:
        moments("sql", "write")
        result = real_commit(self)
        moments()
        here.transition = None
        return result

    base.execute_sql, base.begin, base.commit = execute_sql, begin, commit  # type: ignore[method-assign]


def transition_of(frame: Any) -> str | None:
    """The outermost function of `state` that opened this transaction."""
    name = None
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("fts.state.") and module not in (
            "fts.state.database",
            "fts.state.db",
            "fts.state.group_commit",
            "fts.state.transitions.base",
        ):
            name = frame.f_code.co_name
        elif name is not None and not module.startswith("contextlib"):
            break
        frame = frame.f_back
    return name
