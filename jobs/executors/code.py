"""Sends a study's code to a node: the files that `sync` names, all read before the first is sent."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.api.code import TooMuchCode, beside, files, not_inside
from fts.jobs.executors.base import CodeNotSent
from fts.jobs.executors.data import send_data
from fts.jobs.executors.frames import FrameKind
from fts.jobs.executors.outgoing_files import send_bytes
from fts.jobs.supervisor.machine_errors import is_disk_trouble
from fts.jobs.supervisor.staged_files import BadFile, checked_name

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

    from fts.jobs.executors.channel import Channel
    from fts.jobs.executors.data import DataSet


@dataclass(frozen=True)
class CodeFile:
    """One file of the code."""

    name: str  # relative to the study's folder
    content: bytes
    runs: bool  # it is executable


def send_code(
    channel: Channel,
    folder: Path,
    sync: Sequence[str],
    outputs: Path,
    sets: Mapping[str, DataSet],
    looks: Callable[[], None],
) -> None:
    """Sends the declared files, and the data `sets`, unless this node already has this version.

    Calls `looks` after each file. Raises BrokenPipeError, CodeNotSent, and what `looks` raises.
    """
    md5, parts = md5_of(read_code(folder, sync, outputs, sets), sets), list[CodeFile]()
    if md5 not in channel.has_code:
        parts = list(read_code(folder, sync, outputs, sets))
        md5 = md5_of(parts, sets)  # a file may have changed in between
    channel.writer.send(FrameKind.CODE, {"md5": md5, "folder": str(folder)})
    if md5 in channel.has_code:
        return
    channel.has_code.add(md5)
    for part in parts:
        send_bytes(channel.writer, part.name, part.content, {"of": "code", "runs": part.runs})
        looks()
    if sets:
        send_data(channel, sets, looks)


def read_code(folder: Path, sync: Sequence[str], outputs: Path, without: Container[str] = ()) -> Iterator[CodeFile]:
    """Yields each declared file, sorted by name; links are followed. Raises CodeNotSent."""
    for word in sync:
        if (why := not_inside(word, folder)) is not None:
            raise CodeNotSent(f"`sync` {why}")
    try:
        found = sorted(set(files(folder, beside(folder, sync, outputs), without)))
    except TooMuchCode as error:
        raise CodeNotSent(f"`sync`: {error}") from None
    for name, path in found:
        if not path.is_file():  # a broken link, a socket, or a file that was just removed
            continue
        try:
            yield CodeFile(checked_name(name), path.read_bytes(), os.access(path, os.X_OK))
        except BadFile as error:
            raise CodeNotSent(f"{error}; rename it, or leave it out of `sync`") from None
        except OSError as error:
            if is_disk_trouble(error):
                raise
            raise CodeNotSent(
                f"{path} cannot be read: {error.strerror}; make it readable, or leave it out of `sync`"
            ) from None


def md5_of(parts: Iterable[CodeFile], sets: Mapping[str, DataSet] | None = None) -> str:
    md5 = hashlib.md5(usedforsecurity=False)
    for part in parts:
        content = hashlib.md5(part.content, usedforsecurity=False).hexdigest()
        md5.update(f"{part.name} {content} {part.runs}\n".encode())
    for name, one in sorted((sets or {}).items()):
        md5.update(f"data {name} {one.md5}\n".encode())
    return md5.hexdigest()
