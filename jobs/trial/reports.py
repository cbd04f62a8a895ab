"""Reads a command's reports from growing files: JSON lines, or lines of output that match a regular expression.

Every process reads a file from its first byte, because the previous one may have been killed with lines unread. A
window is the range of bytes that one attempt has written. A line that a kill cut off is ignored.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fts.jobs.api.command import EPOCH_GROUPS
from fts.jobs.api.function import VALUE
from fts.jobs.api.goals import goals_of
from fts.jobs.trial.running import MAX_METRICS, wrong_name
from fts.raising import quoted
from fts.state.files import CannotWrite, naming
from fts.state.values import Direction, bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fts.jobs.api.command import CommandCell

CHUNK = 1 << 20  # bytes
LONGEST = 1 << 20  # bytes; longer lines are ignored
TAIL = 4096  # bytes
LINE_END = re.compile(rb"[\r\n]")  # \r: a progress bar overwrites its line
EPOCH = re.compile(r"\b(?:epoch|step|round|iteration|iter)\b\W{0,3}(\d{1,9}(?:\.\d+)?)\b", re.IGNORECASE)
WITHOUT_EXPONENT = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)")
EXPONENT = re.compile(r"[eE][-+]?\d+(?![\w.])")
MOST_NAMES = 50  # of metrics in one message


@dataclass
class Window:
    """The range of bytes that one attempt has written to a file."""

    start: int
    end: int | None = None  # None: it is still writing


class CompleteLines:
    """The complete lines of a file, each with the attempt that wrote it."""

    def __init__(self, path: Path, windows: list[Window]) -> None:
        self.path, self.windows = path, windows
        self._at, self._position, self._rest = 0, windows[0].start, b""
        self._seen: tuple[int, int] | None = None  # inode and modification time at the last read
        self._tail = b""  # the last bytes before the position; if they differ, the file was rewritten
        self.last = ""  # the last line that is not blank
        self.ignored = 0  # lines that were too long

    def new(self, ended: bool = False) -> Iterator[tuple[int, str]]:
        """Yields the new lines. `ended`: the writer has ended by itself, so the last line needs no newline."""
        try:
            file = os.fdopen(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK), "rb")  # a named pipe would wait
        except FileNotFoundError:
            return
        with naming(self.path), file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise CannotWrite(errno.EINVAL, f"{self.path} is not a file any more; let the command add lines to it")
            self._notice_new_file(file.fileno())
            while self._at < len(self.windows):
                window = self.windows[self._at]
                file.seek(self._position)
                while True:
                    room = CHUNK if window.end is None else min(CHUNK, window.end - self._position)
                    chunk = file.read(max(0, room))
                    if not chunk:
                        break
                    self._position += len(chunk)
                    self._tail = (self._tail + chunk)[-TAIL:]
                    *lines, self._rest = LINE_END.split(self._rest + chunk)
                    self._rest = self._rest[: LONGEST + 1]
                    for line in lines:
                        yield from self._decoded(line)
                if window.end is None:
                    break
                self._at, self._rest = self._at + 1, b""
                if self._at < len(self.windows):
                    start = self.windows[self._at].start
                    self._tail = self._tail if start == self._position else b""
                    self._position = start
        if ended:
            line, self._rest = self._rest, b""
            yield from self._decoded(line)

    def _decoded(self, line: bytes) -> Iterator[tuple[int, str]]:
        if len(line) > LONGEST:
            self.ignored += 1
            return
        text = line.decode(errors="replace").removeprefix("\ufeff").strip()  # some editors and shells begin a file so
        if text:
            self.last = text
            yield self._at, text

    def _notice_new_file(self, handle: int) -> None:
        """Reads a file that was truncated or replaced from its beginning, as written by this attempt."""
        found = os.fstat(handle)
        seen, self._seen = self._seen, (found.st_ino, found.st_mtime_ns)
        if seen == self._seen:
            return
        other = (seen is not None and seen[0] != found.st_ino) or found.st_size < self._position
        if other or os.pread(handle, len(self._tail), self._position - len(self._tail)) != self._tail:
            for window in self.windows[:-1]:
                window.end = window.start
            self.windows[-1].start = 0
            self._at, self._position, self._rest, self._tail = len(self.windows) - 1, 0, b"", b""


@dataclass
class CommandReport:
    """One epoch that the command reported."""

    attempt: int
    step: int
    value: float
    metrics: dict[str, float]


@dataclass
class Reports:
    """Converts lines to epochs. An epoch is complete when it has the study's metric."""

    cell: CommandCell
    complain: Callable[[str], None]
    epochs: list[CommandReport] = field(default_factory=list)
    names: dict[str, None] = field(default_factory=dict)  # every metric that was seen, in order
    _partial: dict[tuple[int, int], dict[str, float]] = field(default_factory=dict)
    _latest: dict[int, CommandReport] = field(default_factory=dict)  # step -> its last report
    _counted: dict[int, int] = field(default_factory=dict)  # attempt -> number of its reports without `epoch` or `step`
    _fractions: bool = False  # has an `epoch` been no whole number, such as 0.25? Then those that are whole count, too
    complaints: list[str] = field(default_factory=list)  # about invalid reports, each once
    _undecided: set[Any] = field(default_factory=set)  # steps without the study's metric, until one has it

    def take(self, attempt: int, line: str) -> CommandReport | None:
        """Returns the epoch that this line completes, or None if it reports nothing new."""
        found = self._by_regex(line) if self.cell.regex is not None else self._by_json(line)
        if found is None:
            return None
        step = self._step(found)
        metrics = {name: number for name, value in found.items() if (number := self._number(name, value)) is not None}
        for name in metrics:
            if len(self.names) < MOST_NAMES:
                self.names.setdefault(name)
        decides = self.cell.metric in metrics
        if metrics and not decides and not self.epochs:
            self._undecided.add((attempt, step) if step is not None else len(self._undecided))
        if step is None:
            step = self._counted.get(attempt, self._next(attempt) if self._fractions else 0)
            self._counted[attempt] = step + decides
        together = self._partial.setdefault((attempt, step), {})
        together.update(metrics)
        if not decides:
            return None
        if len(together) > MAX_METRICS:
            self._say_once(f"report {step} has {len(together)} metrics, expected at most {MAX_METRICS}")
            return None
        report = CommandReport(attempt, step, together[self.cell.metric], dict(together))
        before = self._latest.get(step)
        self._latest[step] = report
        self.epochs.append(report)
        return None if before is not None and same(before.metrics, report.metrics) else report

    @property
    def lacks_metric(self) -> bool:
        """Has a second step begun without the study's metric ever being reported? Its name may be wrong."""
        return not self.epochs and len(self._undecided) > 1

    @property
    def best(self) -> CommandReport | None:
        """The best finite epoch, with the last report of each step."""
        sound = [report for report in self._latest.values() if math.isfinite(report.value)]
        key = Direction(self.cell.direction).key
        return min(sound, key=lambda report: key(report.value), default=None)

    @property
    def count(self) -> int:
        return len(self._latest)

    def _by_json(self, line: str) -> dict[str, Any] | None:
        if self.cell.stdout and not line.startswith("{"):
            return None
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            if not self.cell.stdout:
                self._say_once(
                    f"a line of the report is {line[:80]!r}, expected {self._expected}: it is left out ({error})"
                )
            return None
        if is_number(found) and self._has_one_goal:
            return {self.cell.metric: found}
        if not isinstance(found, dict):
            self._say_once(f"a line of the report is {line[:80]}, expected {self._expected}: it is left out")
            return None
        if set(found) - set(EPOCH_GROUPS) == {VALUE} and self._has_one_goal:  # the metric without a name
            found[self.cell.metric] = found.pop(VALUE)
        return found

    @property
    def _has_one_goal(self) -> bool:
        return len(goals_of(self.cell)) == 1

    @property
    def _expected(self) -> str:
        return f'a JSON object such as {{"epoch": 0, "{self.cell.metric}": 0.5}}'

    def _by_regex(self, line: str) -> dict[str, Any] | None:
        matched = re.search(self.cell.regex or "", line)
        if matched is None:
            return None
        found: dict[str, Any] = {
            name: text if name in EPOCH_GROUPS else whole_number(matched, name)
            for name, text in matched.groupdict().items()
            if text is not None
        }
        if self.cell.metric not in matched.re.groupindex:
            plain = set(range(1, matched.re.groups + 1)) - set(matched.re.groupindex.values())
            if plain and matched[min(plain)] is not None:
                found[self.cell.metric] = whole_number(matched, min(plain))
        if not set(found) & set(EPOCH_GROUPS) and (epoch := EPOCH.search(line)):
            found["epoch"] = epoch[1]
        return found

    def _step(self, found: dict[str, Any]) -> int | None:
        """Removes `epoch`, else `step`, from what was found and returns it as a number; None: the report is counted.

        An epoch of 0.25 is no number of a report, and those that are whole would then lie between the counted ones.
        """
        names = [name for name in EPOCH_GROUPS if name in found]
        for name in names:
            step = whole_step(found[name])
            if step is not None and not (self._fractions and name == EPOCH_GROUPS[0]):
                del found[name]
                return step
            if step is None and name == EPOCH_GROUPS[0] and is_fraction(found[name]):
                self._fractions = True
                self._say_once("epoch is not a whole number: reports are numbered by their step, or counted")
            elif step is None:
                given = quoted(found[name])
                self._say_once(f"{name} is {given}, expected a whole number from 0: this report is counted instead")
        for name in names:
            del found[name]
        return None

    def _next(self, attempt: int) -> int:
        return 1 + max((report.step for report in self.epochs if report.attempt == attempt), default=-1)

    def _number(self, name: str, value: Any) -> float | None:
        if (wrong := wrong_name(name)) is not None:
            self._say_once(f"{wrong}; it is not recorded")
            return None
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            try:
                return bounded(float(value))
            except (ValueError, OverflowError):
                pass
        if name == self.cell.metric:
            if value is None:
                return math.nan
            self._say_once(f"{name} is {quoted(value)}, expected a number: this report is left out")
        return None

    def _say_once(self, sentence: str) -> None:
        if sentence not in self.complaints and len(self.complaints) < MOST_NAMES:
            self.complaints.append(sentence)
            self.complain(sentence)


def whole_step(given: Any) -> int | None:
    """Returns the number of a report: a whole number from 0, also as text and as 3.0; None: it is none."""
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return None
    try:
        step = int(given) if isinstance(given, int) or (isinstance(given, str) and "." not in given) else float(given)
        return int(step) if step >= 0 and (isinstance(step, int) or step.is_integer()) else None
    except (ValueError, OverflowError):
        return None


def is_fraction(given: Any) -> bool:
    """Is it a number from 0 that lies between two whole ones?"""
    try:
        return not isinstance(given, bool) and 0 <= float(given) < math.inf and not float(given).is_integer()
    except (TypeError, ValueError, OverflowError):
        return False


def whole_number(matched: re.Match[str], group: str | int) -> str:
    """Returns the text of a group, with the exponent of its number: `loss=([0-9.]+)` leaves out that of 1.5e-05."""
    text = matched[group]
    behind = EXPONENT.match(matched.string, matched.end(group)) if WITHOUT_EXPONENT.fullmatch(text) else None
    return text if behind is None else text + behind[0]


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(one: dict[str, float], other: dict[str, float]) -> bool:
    """Are the metrics equal? NaN equals NaN."""
    return one.keys() == other.keys() and all(
        one[name] == other[name] or (math.isnan(one[name]) and math.isnan(other[name])) for name in one
    )
