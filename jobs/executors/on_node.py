"""The agent's folders on a node: scratch, one folder per attempt, and the copy of the worker's code."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.executors.incoming_files import MD5, IncomingFiles
from fts.jobs.executors.outgoing_files import CheckpointStore, OutgoingFiles
from fts.jobs.supervisor.attempt import run_command
from fts.jobs.supervisor.shared_checkpoints import Pointer, fetch
from fts.jobs.supervisor.staged_files import BadFile, checked_name
from fts.state.files import expanded, is_abandoned, make_folder, open_log, remove, write_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from fts.jobs.api.study import Program

PREFIX = "fts-agent-"
TOKEN = re.compile(r"[0-9a-z-]{1,80}")


class CodeCopy:
    """Maps the worker's code folder to its copy on this node; each version of the code has a folder named by md5."""

    def __init__(self, scratch: Path) -> None:
        self.root = scratch / "code"
        self._folder: str | None = None  # the program's folder on the worker's machine; None: use the path as it is
        self.copy = self.root
        self._named = False  # a CODE frame has arrived since the last program was started
        self._arriving: IncomingFiles | None = None

    def expect(self, md5: str, folder: str) -> None:
        """Prepares for the code of that folder, unless this version is here; the next program uses it."""
        if not MD5.fullmatch(md5):
            raise BadFile(f"the md5 of the code is {md5[:60]!r}")
        self._folder, self.copy, self._named = folder, self.root / md5, True
        if not self.copy.is_dir():
            make_folder(self.copy, self.root)
            self._arriving = IncomingFiles(self.copy, self.root, durable=False)

    def part(self, meta: dict[str, Any], body: bytes) -> None:
        if self._arriving is None:
            raise BadFile("code came without a request")
        self._arriving.part(meta, body)

    def settle(self) -> None:
        """Commits the received code before the next program starts."""
        if self._arriving is not None:
            self._arriving.commit()
            self._arriving = None
        if not self._named:
            self._folder = None
        self._named = False

    def here(self, path: str | None) -> str | None:
        """Returns the path on this machine for a path of the worker's machine."""
        if path is None or self._folder is None or not Path(path).is_relative_to(self._folder):
            return path
        return str(self.copy / Path(path).relative_to(self._folder))


class AttemptFiles:
    """The folder and the log of one attempt, and what was already sent of both."""

    def __init__(self, scratch: Path, meta: dict[str, Any], alive: Callable[[], None] = lambda: None) -> None:
        """Raises BadFile for names that lead elsewhere. `alive` is called while large files are copied."""
        self.token = str(meta["token"])
        if not TOKEN.fullmatch(self.token):
            raise BadFile(f"the token of an attempt is {self.token[:80]!r}")
        self.spec: dict[str, Any] = meta["spec"]
        self.root = scratch / f"attempt-{self.token}"
        job, trial = (checked_name(str(name)) for name in (meta["job"], meta["trial"]))
        self.folder = self.root / "trials" / job / trial
        self.log = self.root / "logs" / job / f"{trial}.log"
        make_folder(self.folder)
        os.close(open_log(self.log, self.root))
        self._alive, stays = alive, None
        if (location := meta.get("elsewhere")) is not None:
            root = Path(str(location["root"]))
            stays = CheckpointStore(Path(str(location["folder"])) / self.token, root, int(location["beyond"]), alive)
        self.files = OutgoingFiles(self.folder, stays)
        self.warned_of_link = False  # of one that stays here
        self._logged = 0  # bytes of our log that were sent
        self._log_over = False

    def fetch(self, meta: dict[str, Any]) -> None:
        """Copies a checkpoint file of an earlier attempt from the shared folder. Raises BadFile, BadBlob, OSError."""
        pointer = Pointer(str(meta["at"]), int(meta["size"]), str(meta["md5"]))
        fetch(pointer, self.folder / checked_name(meta.get("name")), self.root, self._alive)

    def take_log(self, body: bytes) -> None:
        """Appends output of earlier attempts; needed by a trial with metrics in its log."""
        handle = open_log(self.log, self.root)
        try:
            write_all(handle, body)
        finally:
            os.close(handle)
        self._logged += len(body)

    def more_log(self, size: int, most: int | None) -> bytes:
        if self._log_over:
            return b""
        try:
            with self.log.open("rb") as file:
                file.seek(self._logged)
                body = file.read(size)
        except OSError:
            return b""
        self._logged += len(body)
        if most is not None and self._logged > most:
            self._log_over = True
            return body + b"\n[fts: it printed more, which stays on the node]\n"
        return body

    def order(self, code: CodeCopy) -> dict[str, Any]:
        """Returns the "run" command with the paths of this machine."""
        spec = dict(self.spec)
        spec |= {"folder": str(self.folder), "log_path": str(self.log)}
        cell = spec.get("cell")
        if isinstance(cell, dict) and isinstance(cell.get("folder"), str):
            spec["cell"] = cell | {"folder": code.here(cell["folder"])}
        return run_command(spec)

    def close(self) -> None:
        remove(self.root)


def program_on_node(program: Program, code: CodeCopy) -> Program:
    """Returns the program with the paths of this machine; our own package may have another path here."""
    words = list(program.words)
    if program.python is not None and words and words[0].endswith("other_python.py"):
        home = Path(sys.modules["fts"].__path__[0]).absolute()
        words[:2] = [str(home / "jobs" / "trial" / "other_python.py"), str(home)]
    return replace(
        program, words=tuple(words), folder=code.here(program.folder), forks_for=code.here(program.forks_for)
    )


def new_scratch(folder: str | None) -> tuple[Path, int]:
    """Creates and locks a scratch folder for this agent; removes those of dead agents."""
    parent = expanded(folder or tempfile.gettempdir()).absolute()
    parent.mkdir(parents=True, exist_ok=True)
    mine = f"{PREFIX}{os.getuid()}-"
    for path in parent.glob(f"{mine}*"):
        with contextlib.suppress(OSError):
            if path.stat().st_uid == os.getuid() and not path.is_symlink():
                is_abandoned(path, remove)
    while True:
        scratch = Path(tempfile.mkdtemp(prefix=mine, dir=parent)).resolve()
        try:
            lock = os.open(scratch, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # another agent has removed it, since it was not locked yet
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another agent is removing it now
            os.close(lock)
            continue
        except OSError:  # a file system without locks
            pass
        if scratch.is_dir():
            return scratch, lock
        os.close(lock)
