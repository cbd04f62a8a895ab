"""Reads metrics from files that training libraries write: CSV, TensorBoard events, a JSON of results.

New rows are appended once to the trial's report as JSON lines, so that nothing is lost when the command replaces its
file or either process is killed. Each process reads the files from their beginning.
"""

from __future__ import annotations

import csv
import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.api.command import EPOCH_GROUPS, CommandCell
from fts.jobs.trial.reports import whole_step
from fts.jobs.trial.tensorboard import BadRecord, EventFile
from fts.jobs.trial.wildcards import matching
from fts.state.files import ABSENT, naming, open_log, write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_FILES = 1000
LARGEST_RESULTS = 16 << 20  # bytes of a JSON file of results
MOST_BYTES = 8 << 20  # read from a file at a time
EVERY_S = 0.1  # between two reads of the files
TAIL = 1024  # bytes before the position; if they differ, the file was replaced

Row = dict[str, Any]


class SourceCopy:
    """Appends the rows of a source to the trial's report."""

    def __init__(self, source: Source, report: Path) -> None:
        self.source, self.report = source, report
        self._written = set(_lines(report))
        self._next = 0.0

    def update(self, ended: bool = False) -> None:
        """Appends the rows that the report does not have yet. `ended`: the command has ended by itself."""
        if time.monotonic() < self._next and not ended:
            return
        fresh: list[str] = []
        for row in self.source.new(ended):
            line = json.dumps(row)
            if line not in self._written:
                self._written.add(line)
                fresh.append(line + "\n")
        if fresh:
            handle = open_log(self.report)
            try:
                write_all(handle, "".join(fresh).encode())
            finally:
                os.close(handle)
        self._next = time.monotonic() + EVERY_S


class Source:
    """The files that match a path or pattern, each read while it grows."""

    what = "file"

    def __init__(self, pattern: str, cell: CommandCell, complain: Callable[[str], None]) -> None:
        self.pattern, self.cell, self.complain = pattern, cell, complain
        self.names: dict[str, None] = {}  # every metric that was seen, in order
        self._open: dict[Path, Any] = {}
        self._bad: set[str] = set()
        self._refused: list[PermissionError] = []  # by the last look for files

    def new(self, ended: bool) -> Iterator[Row]:
        for path in self.files():
            try:
                with naming(path):
                    for row in self.rows(path, ended):
                        self.names.update(dict.fromkeys(list(row)[:50]))
                        yield row
            except (*ABSENT, PermissionError, ValueError, LookupError, csv.Error) as error:
                self._say_once(f"{path.name} cannot be read as {self.what} and is left out from there on: {error}")

    def files(self) -> list[Path]:
        return self._matching(self.pattern)

    def _matching(self, pattern: str) -> list[Path]:
        self._refused.clear()
        found = matching(pattern, self._refused.append)
        for error in self._refused:
            self._say_once(_sentence_of(error))
        return found[:MOST_FILES]

    def rows(self, path: Path, ended: bool) -> Iterator[Row]:
        raise NotImplementedError

    @property
    def found(self) -> str:
        """What was found in the files, in words."""
        files = self.files()
        if not files and self._refused:
            return _sentence_of(self._refused[0])
        if not files:
            return f"there is no file {self.pattern}"
        return f"{files[-1]} has {', '.join(self.names) or 'no metrics'}"

    def _say_once(self, sentence: str) -> None:
        if sentence not in self._bad:
            self._bad.add(sentence)
            self.complain(sentence)


class GrowingText:
    """The complete lines of a growing file. A file that was replaced or truncated is read again."""

    def __init__(self, path: Path) -> None:
        self.path, self.position, self.rest = path, 0, b""
        self.names: list[str] | None = None  # of the columns, after the first line was read
        self.count = 0  # number of rows with the study's metric
        self._inode, self._tail = -1, b""

    def new(self, ended: bool) -> tuple[list[str], bool]:
        """Returns the new lines, and whether they are the first of the file."""
        with self.path.open("rb") as file:
            found = os.fstat(file.fileno())
            file.seek(self.position - len(self._tail))
            tail = file.read(len(self._tail))
            restarted = found.st_ino != self._inode or found.st_size < self.position or tail != self._tail
            if restarted:
                self._inode, self.position, self.rest, self._tail = found.st_ino, 0, b"", b""
            file.seek(self.position)
            chunk = file.read(MOST_BYTES)
        self.position += len(chunk)
        self._tail = (self._tail + chunk)[-TAIL:]
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        if ended and self.rest and not chunk[MOST_BYTES - 1 :]:
            lines, self.rest = [*lines, self.rest], b""
        return [line.decode(errors="replace").strip("\r\ufeff") for line in lines], restarted


class CsvSource(Source):
    """A CSV file such as Lightning's metrics.csv: a line of names, then one row per report. Empty cells are skipped."""

    what = "CSV"

    @property
    def found(self) -> str:
        known = [text.names for text in self._open.values() if isinstance(text, GrowingText) and text.names]
        return f"{self.files()[-1]} has the columns {', '.join(known[-1][:50])}" if known else super().found

    def rows(self, path: Path, ended: bool) -> Iterator[Row]:
        text = self._open.setdefault(path, GrowingText(path))
        while True:
            before = text.position
            lines, restarted = text.new(ended)
            if restarted:
                text.names, text.count = None, 0
            for cells in csv.reader(line for line in lines if line.strip()):
                if text.names is None:
                    text.names = [name.strip() for name in cells]
                    continue
                row = {
                    name: number
                    for name, cell in zip(text.names, cells, strict=False)
                    if (number := number_in(cell)) is not None
                }
                named = next((name for name in EPOCH_GROUPS if name in row), None)
                if named == "epoch" and whole_step(row["epoch"]) is not None:
                    row.pop("step", None)
                elif named is None and self.cell.metric in row:
                    row = {"epoch": text.count} | row
                text.count += self.cell.metric in row
                yield row
            if text.position - before < MOST_BYTES:
                return


class TensorBoardSource(Source):
    """The scalars of all event files in a folder. The tag `val/loss` becomes the metric val_loss."""

    what = "TensorBoard events"

    def files(self) -> list[Path]:
        return [path for path in self._matching(f"{self.pattern}/**/*tfevents*") if path.is_file()]

    def rows(self, path: Path, ended: bool) -> Iterator[Row]:
        events = self._open.setdefault(path, EventFile(path))
        try:
            for step, tag, value in events.new():
                yield {"step": max(step, 0), metric_name(tag): value}
        except BadRecord as error:
            self._say_once(f"{path.name}: {error}; what comes after it is left out")


class ResultsSource(Source):
    """A JSON file, written at the end, or repeatedly with its `epoch` or `step`. A list holds several reports."""

    what = "JSON of results"

    def rows(self, path: Path, ended: bool) -> Iterator[Row]:
        found = path.stat()
        if found.st_size > LARGEST_RESULTS:
            raise ValueError(f"it has {found.st_size:,} bytes, expected at most {LARGEST_RESULTS:,}")
        seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        if self._open.get(path) == seen and not ended:
            return
        self._open[path] = seen
        try:
            content = json.loads(path.read_text(errors="replace"))
        except (ValueError, RecursionError):
            if ended:  # while the command runs, the file may be incomplete
                raise
            return
        several = isinstance(content, list)
        for place, one in enumerate(content if several else [content]):
            row = {str(name): value for name, value in flat(one) if isinstance(value, int | float)}
            row = {name: value for name, value in row.items() if not isinstance(value, bool)}
            named = next((name for name in EPOCH_GROUPS if name in row), None)
            if named == "epoch" and whole_step(row["epoch"]) is not None:
                row.pop("step", None)
            if named is None:
                row = {"epoch": place} | row
            if (named is not None or several or ended) and len(row) > 1:
                yield row


def source_of(cell: CommandCell, path: str, complain: Callable[[str], None]) -> Source | None:
    """Returns the reader of the cell's file of metrics; None: the cell names none."""
    if cell.csv is not None:
        return CsvSource(path, cell, complain)
    if cell.tensorboard is not None:
        return TensorBoardSource(path, cell, complain)
    return ResultsSource(path, cell, complain) if cell.results is not None else None


def _sentence_of(error: PermissionError) -> str:
    return f"this user may not look into {error.filename} ({error.strerror}), so no file of metrics is found there"


def metric_name(tag: str) -> str:
    """Converts a TensorBoard tag to the name of a metric: letters, digits and _.-"""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", tag)[:80] or "_"


def number_in(text: str) -> int | float | None:
    """Returns the number in a text, or None."""
    text = text.strip()
    try:
        return int(text) if re.fullmatch(r"[+-]?\d{1,18}", text) else float(text)
    except ValueError:
        return None


def flat(content: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Flattens nested dicts: {"val": {"loss": 1}} yields val.loss and 1."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield from flat(value, f"{before}{name}.")
    elif before:
        yield before[:-1], content


def _lines(report: Path) -> list[str]:
    try:
        with naming(report):
            return report.read_text(errors="replace").splitlines()
    except ABSENT:
        return []
