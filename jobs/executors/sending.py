"""What a node gets before a trial begins: the declared code of its study, and the data sets that it reads."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from fts.jobs.api.code import TooMuchCode, all_files, beside
from fts.jobs.api.code import files as code_files
from fts.jobs.executors.arriving import BadFile, checked_name
from fts.jobs.executors.frames import Kind
from fts.jobs.executors.outgoing import State, open_plain, send_file, state_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.jobs.api.study import Program
    from fts.jobs.executors.channel import Channel

READ = 1 << 20  # bytes at once


class Sending:
    """Of one worker: it knows the md5 of each data set until that changes."""

    def __init__(self, sync: Sequence[str], outputs: Path, data: Path, most_data: int) -> None:
        """`sync`: of every study. `data`: the folder that specifications name. `most_data`: bytes that a node keeps."""
        self.sync, self.outputs, self.data, self.most_data = tuple(sync), outputs, data, most_data
        self._md5s: dict[Path, tuple[State, str]] = {}
        self._lock = threading.Lock()

    def send(self, channel: Channel, program: Program) -> None:
        """Code and data of a program, once for each state of them. Raises BrokenPipeError, OSError."""
        if program.folder is not None:
            self._send(channel, Path(program.folder), (*self.sync, *program.sync), program.data)
        if program.reads_data_folder and self.data.is_dir():
            self._send(channel, self.data, (), (".",))

    def _send(self, channel: Channel, folder: Path, sync: Sequence[str], data: Sequence[str]) -> None:
        if not sync and not data:
            return
        sets = {os.path.relpath(path, folder): path for path in all_files(folder, data)}
        try:
            named = sorted(set(code_files(folder, beside(folder, sync, self.outputs), without=set(sets))))
        except TooMuchCode as error:
            raise OSError(f"sync {' '.join(sync)}: {error}") from None
        md5 = hashlib.md5(usedforsecurity=False)
        for name, path in named:
            md5.update(f"{name} {hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}\n".encode())
        states = {name: self._md5_of(name, path) for name, path in sorted(sets.items())}
        for name, (state, known) in states.items():
            md5.update(f"data {name} {known} {state.size}\n".encode())
        told = md5.hexdigest()
        channel.writer.send(Kind.CODE, {"md5": told, "folder": str(folder)})
        if told in channel.has_code:
            return
        for name, path in named:
            fd = None if name.startswith("..") else open_plain(path)
            if fd is None:
                continue
            try:
                send_file(channel.writer, name, fd, {"of": "code"})
            finally:
                os.close(fd)
        if states:
            by_md5 = {known: (name, state) for name, (state, known) in states.items()}
            files = {name: (known, state.size) for name, (state, known) in states.items()}
            asked = {"folder": str(folder), "files": files, "most": self.most_data}
            for missing in channel.ask_needs(asked):
                if missing in by_md5:
                    name, state = by_md5[missing]
                    self._send_data(channel, missing, sets[name], state)
        channel.has_code.add(told)

    def _md5_of(self, name: str, path: Path) -> tuple[State, str]:
        """Slots wait for the one that reads a data set."""
        try:
            checked_name(name)
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, BadFile) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise OSError(f"data set {name} cannot be sent: {why}") from None
        try:
            with self._lock:
                now = state_of(fd)
                if (known := self._md5s.get(path)) is not None and known[0] == now:
                    return known
                md5 = hashlib.md5(usedforsecurity=False)
                while body := os.read(fd, READ):
                    md5.update(body)
                self._md5s[path] = found = (state_of(fd), md5.hexdigest())
                return found
        finally:
            os.close(fd)

    def _send_data(self, channel: Channel, md5: str, path: Path, state: State) -> None:
        """One that changes meanwhile is refused there, which is no fault of the node."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            before, channel.blameless = channel.blameless, True
            send_file(channel.writer, md5, fd, {"of": "data"})
            if state_of(fd) == state:
                channel.blameless = before
        finally:
            os.close(fd)
