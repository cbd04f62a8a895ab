"""Sends a study's data sets to a node, by md5, and only those that the node does not have."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.api.code import all_files, not_inside
from fts.jobs.executors.base import DataNotSent
from fts.jobs.executors.outgoing_files import State, send_file, state_of
from fts.jobs.supervisor.staged_files import BadFile, checked_name
from fts.state.files import why_unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fts.jobs.executors.channel import Channel

READ = 1 << 20  # bytes at once


@dataclass(frozen=True)
class DataSet:
    """One data file."""

    path: Path
    state: State
    md5: str


class DataSums:
    """Computes the md5 of data sets and caches it until the file changes."""

    def __init__(self) -> None:
        self._known: dict[Path, DataSet] = {}
        self._lock = threading.Lock()

    def read(self, folder: Path, data: Sequence[str], looks: Callable[[], None] = lambda: None) -> dict[str, DataSet]:
        """Returns the data sets by name relative to the folder. Calls `looks` for each part read.

        Raises DataNotSent, and what `looks` raises.
        """
        for word in data:
            if (why := not_inside(word, folder)) is not None:
                raise DataNotSent(f"`data` {why}")
        return {os.path.relpath(path, folder): self._of(path, folder, looks) for path in all_files(folder, data)}

    def _of(self, path: Path, folder: Path, looks: Callable[[], None]) -> DataSet:
        """Returns one data set; other slots wait while one reads it."""
        try:
            checked_name(os.path.relpath(path, folder))
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, BadFile) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise DataNotSent(f"data set {path} cannot be sent: {why}") from None
        try:
            with self._lock:
                known, state = self._known.get(path), state_of(fd)  # from before the read: a write meanwhile shows
                if known is None or known.state != state:
                    md5 = hashlib.md5(usedforsecurity=False)
                    while body := os.read(fd, READ):
                        md5.update(body)
                        looks()
                    known = self._known[path] = DataSet(path, state, md5.hexdigest())
                return known
        finally:
            os.close(fd)


def send_data(channel: Channel, sets: Mapping[str, DataSet], looks: Callable[[], None]) -> None:
    """Sends the data sets that the node needs. Raises BrokenPipeError, DataNotSent, and what `looks` raises."""
    by_md5 = {one.md5: one for one in sets.values()}
    for md5 in channel.ask_needs({name: (one.md5, one.state.size) for name, one in sets.items()}, looks):
        one = by_md5.get(md5)
        if one is None:
            continue  # an md5 that we did not offer; the node will report the data set that is missing
        try:
            fd = os.open(one.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise DataNotSent(f"data set {one.path} cannot be read: {why_unreadable(error, one.path)}") from None
        try:
            changed = state_of(fd) != one.state
            if not changed:
                before, channel.blameless = channel.blameless, True
                send_file(channel.writer, md5, fd, {"of": "data"}, looks)
                changed = state_of(fd) != one.state
                channel.blameless = before or changed  # the node refuses a changed file: not its fault
        finally:
            os.close(fd)
        if changed:
            raise DataNotSent(f"data set {one.path} was written to while it was sent; `fts retry` sends it again")
