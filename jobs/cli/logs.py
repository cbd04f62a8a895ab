"""`fts logs`: what a trial printed, from a file of any size, in memory for a few lines."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from typing import TYPE_CHECKING, BinaryIO

import click

from fts.jobs.cli.app import AS_JSON, COUNT, here
from fts.jobs.cli.errors import NothingThere
from fts.jobs.cli.output import emit, emit_json, emit_line, say
from fts.jobs.cli.show import find_trial, reading
from fts.jobs.status import naming
from fts.jobs.status.log_excerpt import log_file
from fts.jobs.status.sanitize import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

CHUNK = 1 << 18
LINE_BYTES = 1 << 14  # a longer line is shown in pieces of this size: `clean` cuts what is much longer
LINE_END = re.compile(rb"(\r\n|\n|\r)")


@click.command()
@click.argument("cell", metavar="[CELL[:tN]]", required=False)
@click.option("-f", "--follow", is_flag=True, help="show new lines as they are written; Ctrl-C ends it")
@click.option("-n", "--lines", default=50, type=COUNT, show_default=True, help="show this many lines, the last ones")
@click.option(
    "--grep", metavar="RE", help="only lines of the whole log that match this regular expression  [default: all]"
)
@AS_JSON
def logs(cell: str | None, follow: bool, lines: int, grep: str | None, as_json: bool) -> None:
    """What a trial printed; without CELL the log that was written to last."""
    pattern = _pattern(grep)
    path = _log_of(cell)
    say(str(path))
    if pattern is None:
        shown: Iterable[str] = last_lines(path, lines)
    else:
        found, total = matching(path, pattern, lines)
        shown = found
        if total > len(found):
            say(f"the last {len(found)} of {total} matching lines; -n shows more")
        elif not total:
            say("no line of this log matches")
    if as_json and not follow:
        return emit_json("log", {"path": str(path), "lines": list(shown)})
    for line in shown:
        emit_line({"line": line}) if as_json else emit(line)
    if follow:
        for line in follow_lines(path):
            if not pattern or pattern.search(line):
                emit_line({"line": line}) if as_json else emit(line)
    return None


def _pattern(grep: str | None) -> re.Pattern[str] | None:
    try:
        return re.compile(grep) if grep else None
    except re.error as error:
        raise click.UsageError(f"{grep!r} is not a regular expression: {error}") from error


def _log_of(cell: str | None) -> Path:
    folder = here().logs
    if cell is None:
        files = [path for path in folder.glob("*.log") if path.is_file()] if folder.is_dir() else []
        if not files:
            raise NothingThere(f"there is no log in {folder} yet; a worker writes one per trial")
        return max(files, key=lambda path: path.stat().st_mtime)
    with reading() as db:
        job, trial = find_trial(db, cell)
    path = log_file(here().outputs, trial.log_path)  # never a file elsewhere, whatever a hostile row says
    if path is None or not path.is_file():
        named = f": {clean(trial.log_path)} is not there, and not in {folder}" if trial.log_path else ""
        raise NothingThere(f"t{trial.number} of {naming.cell_name(job)} has left no log file{named}")
    return path


def last_lines(path: Path, count: int) -> Iterator[str]:
    """The last `count` lines, found from the end of the file and then read forward: memory for one chunk."""
    with path.open("rb") as file:
        file.seek(start_of_last(file, count))
        left = deque(all_lines(_chunks(file)), maxlen=count) if count <= 10_000 else all_lines(_chunks(file))
        yield from map(clean, left)


def start_of_last(file: BinaryIO, count: int) -> int:
    """Where the last `count` lines begin; a progress bar that draws with \\r is one of them, all_lines splits it."""
    position = file.seek(0, os.SEEK_END)
    wanted = count + _ends_with_newline(file, position)
    while position > 0:
        size = min(CHUNK, position)
        position -= size
        file.seek(position)
        chunk = file.read(size)
        here_ = chunk.count(b"\n")
        if here_ >= wanted:
            cut = -1
            for _ in range(here_ - wanted + 1):
                cut = chunk.index(b"\n", cut + 1)
            return position + cut + 1
        wanted -= here_
    return 0


def _ends_with_newline(file: BinaryIO, size: int) -> bool:
    if size == 0:
        return False
    file.seek(size - 1)
    return file.read(1) == b"\n"


def matching(path: Path, pattern: re.Pattern[str], count: int) -> tuple[list[str], int]:
    """The last `count` lines of the whole file that match, and how many match in all."""
    kept: deque[str] = deque(maxlen=count)
    total = 0
    with path.open("rb") as file:
        for line in all_lines(_chunks(file)):
            if pattern.search(line):
                total += 1
                kept.append(clean(line))  # only what is shown: cleaning two gigabytes takes minutes
    return list(kept), total


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def all_lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Every line, the unfinished one at the end as well."""
    splitter = Splitter()
    for chunk in chunks:
        yield from splitter.lines(chunk)
    yield from splitter.rest()


class Splitter:
    """Splits bytes that come in pieces into lines at \\n, \\r\\n and \\r, and never holds more than one line."""

    def __init__(self) -> None:
        self._held = b""

    def lines(self, chunk: bytes) -> Iterator[str]:
        """The lines that end in this piece; longer ones than LINE_BYTES in parts."""
        data = self._held + chunk
        self._held = b""
        whole, last = (data[:-1], b"\r") if data.endswith(b"\r") else (data, b"")  # perhaps the half of \r\n
        *parts, rest = LINE_END.split(whole)
        for line, end in zip(parts[::2], parts[1::2], strict=True):
            if line or end != b"\r":  # a bar's \r at the beginning of its line ends nothing
                yield from _pieces(line)
        while len(rest) > LINE_BYTES:
            yield _text(rest[:LINE_BYTES])
            rest = rest[LINE_BYTES:]
        self._held = rest + last

    def rest(self) -> Iterator[str]:
        """What has no end yet."""
        if held := self._held.rstrip(b"\r"):
            yield _text(held)
        self._held = b""


def _pieces(line: bytes) -> Iterator[str]:
    for start in range(0, max(1, len(line)), LINE_BYTES):
        yield _text(line[start : start + LINE_BYTES])


def _text(line: bytes) -> str:
    return line.decode(errors="replace")


def follow_lines(path: Path, poll_s: float = 0.3) -> Iterator[str]:
    """Lines as they are written, for ever; starts at the end of the file, and again when it was cut or replaced."""
    file = path.open("rb")
    splitter = Splitter()
    try:
        file.seek(0, os.SEEK_END)
        while True:
            if chunk := file.read(CHUNK):
                yield from map(clean, splitter.lines(chunk))
                continue
            time.sleep(poll_s)
            try:
                now = path.stat()
            except OSError:  # moved away; it may come back
                continue
            if not os.path.samestat(now, os.fstat(file.fileno())):
                yield from map(clean, splitter.rest())
                file.close()
                file = path.open("rb")
            elif now.st_size < file.tell():
                file.seek(0)
    finally:
        file.close()
