"""Implements `fts logs`: prints the log of a trial, from a file of any size with the memory of a few lines."""

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
from fts.state.files import is_file, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

CHUNK = 1 << 18
LINE_BYTES = 1 << 14  # longer lines are split into pieces of this size, because `clean` cuts much longer text
LINE_END = re.compile(rb"(\r\n|\n|\r)")


@click.command()
@click.argument("cell", metavar="[CELL[:tN]]", required=False)
@click.option("-f", "--follow", is_flag=True, help="show new lines as they are written; Ctrl-C ends it")
@click.option("-n", "--lines", default=50, type=COUNT, show_default=True, help="number of lines to show, from the end")
@click.option(
    "--grep", metavar="RE", help="show only lines of the whole log that match this regular expression  [default: all]"
)
@AS_JSON
def logs(cell: str | None, follow: bool, lines: int, grep: str | None, as_json: bool) -> None:
    """Print the log of a trial; without CELL the log that was written to last."""
    pattern = _pattern(grep)
    path = _log_of(cell)
    say(str(path))
    end = path.stat().st_size if follow else None  # what is written while these lines are shown follows them
    if pattern is None:
        shown: Iterable[str] = last_lines(path, lines, end)
    else:
        found, total = matching(path, pattern, lines, end)
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
        for line in follow_lines(path, start=end):
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
        files = [path for path in listed(folder) if path.suffix == ".log" and is_file(path)]
        if not files:
            raise NothingThere(f"there is no log in {folder} yet; a worker writes one per trial")
        return max(files, key=lambda path: path.stat().st_mtime)
    with reading() as db:
        job, trial = find_trial(db, cell)
    path = log_file(here().outputs, trial.log_path)  # a manipulated row cannot name a file outside of outputs
    if path is None or not is_file(path):
        named = f": {clean(trial.log_path)} is not there, and not in {folder}" if trial.log_path else ""
        raise NothingThere(f"t{trial.number} of {naming.cell_name(job)} has left no log file{named}")
    return path


def last_lines(path: Path, count: int, end: int | None = None) -> Iterator[str]:
    """Yields the last `count` lines: searches their start from the end of the file, with memory for one chunk.

    Here and below, `end` is the size of the file that is read, None the whole file.
    """
    with path.open("rb") as file:
        file.seek(start_of_last(file, count, end))
        found = all_lines(_chunks(file, end))
        yield from map(clean, deque(found, maxlen=count) if count <= 10_000 else found)


def start_of_last(file: BinaryIO, count: int, end: int | None = None) -> int:
    """Returns the offset of the last `count` lines. Counts \\n only, so a progress bar drawn with \\r is one line."""
    position = file.seek(0, os.SEEK_END)
    position = position if end is None else min(position, end)
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


def matching(path: Path, pattern: re.Pattern[str], count: int, end: int | None = None) -> tuple[list[str], int]:
    """Returns the last `count` matching lines of the whole file, and the number of all matches."""
    kept: deque[str] = deque(maxlen=count)
    total = 0
    with path.open("rb") as file:
        for line in all_lines(_chunks(file, end)):
            if pattern.search(line):
                total += 1
                kept.append(clean(line))  # cleans only lines that are shown: two gigabytes would take minutes
    return list(kept), total


def _chunks(file: BinaryIO, end: int | None = None) -> Iterator[bytes]:
    while chunk := file.read(CHUNK if end is None else max(0, min(CHUNK, end - file.tell()))):
        yield chunk


def all_lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yields every line, including an unfinished one at the end."""
    splitter = Splitter()
    for chunk in chunks:
        yield from splitter.lines(chunk)
    yield from splitter.rest()


class Splitter:
    """Splits chunks of bytes into lines at \\n, \\r\\n and \\r; holds at most one line in memory."""

    def __init__(self) -> None:
        self._held = b""

    def lines(self, chunk: bytes) -> Iterator[str]:
        """Yields the lines that end in this chunk; lines longer than LINE_BYTES in pieces."""
        data = self._held + chunk
        self._held = b""
        whole, last = (data[:-1], b"\r") if data.endswith(b"\r") else (data, b"")  # may be the first half of \r\n
        *parts, rest = LINE_END.split(whole)
        for line, end in zip(parts[::2], parts[1::2], strict=True):
            if line or end != b"\r":  # a \r at the start of a line (progress bar) ends no line
                yield from _pieces(line)
        while len(rest) > LINE_BYTES:
            yield _text(rest[:LINE_BYTES])
            rest = rest[LINE_BYTES:]
        self._held = rest + last

    def rest(self) -> Iterator[str]:
        """Yields the unfinished line, if any."""
        if held := self._held.rstrip(b"\r"):
            yield _text(held)
        self._held = b""


def _pieces(line: bytes) -> Iterator[str]:
    for start in range(0, max(1, len(line)), LINE_BYTES):
        yield _text(line[start : start + LINE_BYTES])


def _text(line: bytes) -> str:
    return line.decode(errors="replace")


def follow_lines(path: Path, poll_s: float = 0.3, start: int | None = None) -> Iterator[str]:
    """Yields new lines for ever, from `start` (None: the end of the file); starts over when it was cut or replaced."""
    file = path.open("rb")
    splitter = Splitter()
    try:
        file.seek(0, os.SEEK_END) if start is None else file.seek(start)
        while True:
            if chunk := file.read(CHUNK):
                yield from map(clean, splitter.lines(chunk))
                continue
            time.sleep(poll_s)
            try:
                now = path.stat()
            except OSError:  # moved away or deleted; it may come back
                continue
            if not os.path.samestat(now, os.fstat(file.fileno())):
                yield from map(clean, splitter.rest())
                file.close()
                file = path.open("rb")
            elif now.st_size < file.tell():
                file.seek(0)
    finally:
        file.close()
