"""Prints tables and JSON to stdout and messages to stderr; removes control characters from foreign strings."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

import click

from fts.jobs.records.text_table import layout
from fts.jobs.status import formatting
from fts.jobs.status.sanitize import clean
from fts.state.migrations import SCHEMA
from fts.state.values import Job

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COMPLAINT = "fts: "  # prefix of an error message
COLOURS = {
    "running": "cyan",
    "done": "green",
    "complete": "green",
    "failed": "red",
    "paused": "magenta",
    "interrupted": "yellow",
    "ok": "green",
    "warn": "yellow",
    "bad": "red",
}


def open_closed_streams() -> None:
    """Opens /dev/null for standard streams that are closed (`>&-`, some daemons).

    Otherwise they are None, and the next opened file, such as the database, gets the stream's descriptor.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 PTH123 stays open until exit


def say(text: str) -> None:
    """Prints a message for a person on stderr, wrapped at the terminal's width."""
    click.echo(_wrapped(clean(text)), err=True)


def complain(text: str) -> None:
    """Prints an error as one sentence on stderr."""
    click.echo(_wrapped(f"{COMPLAINT}{clean(text)}"), err=True)


def _wrapped(text: str) -> str:
    if not sys.stderr.isatty():
        return text
    try:
        room = os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        return text
    return "\n".join(textwrap.wrap(text, max(20, room), break_long_words=False, break_on_hyphens=False)) or text


def warn_unreadable(rows: Sequence[object]) -> None:
    """Prints a line for each database row that could not be read (at most 3), and the command that explains it."""
    for row in rows[:3]:
        say(f"{row}; `fts doctor` says what to do")
    if len(rows) > 3:
        say(f"more unreadable rows: {len(rows) - 3}")


def emit(text: str = "") -> None:
    """Prints data on stdout, one or more lines; each line is cleaned."""
    put("\n".join(clean(line) for line in text.split("\n")))


def put(text: str) -> None:
    """Prints our own text on stdout without cleaning, in plain ASCII if the terminal cannot show Unicode."""
    click.echo(text if speaks_unicode() else formatting.to_ascii(text))


def speaks_unicode() -> bool:
    return formatting.speaks_utf8() and os.environ.get("TERM") != "dumb"


def emit_csv(text: str) -> None:
    """Prints CSV with every value as it is; only on a terminal are lines cleaned."""
    if sys.stdout.isatty():
        emit(text)
        return
    has_bytes = hasattr(sys.stdout, "buffer")  # else a text in memory
    click.echo(text.encode(errors="backslashreplace") if has_bytes else text)  # UTF-8 in every locale, as our files


def emit_json(kind: str, content: Any, taken_at: float | None = None, **more: Any) -> None:
    """Prints one JSON object: schema, taken_at and the content under the key `kind`. NaN becomes null.

    Text stays as it is: JSON in ASCII has no control characters, but escapes. Items of `more` that are not None become
    further keys.
    """
    record = {"schema": SCHEMA, "taken_at": time.time() if taken_at is None else taken_at, kind: plain(content)}
    record |= {name: plain(value) for name, value in more.items() if value is not None}
    click.echo(json.dumps(record, indent=None if not sys.stdout.isatty() else 2, allow_nan=False))


def emit_line(content: Any) -> None:
    """Prints one line of NDJSON and flushes, for programs that follow."""
    click.echo(json.dumps(plain(content), allow_nan=False))
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """Converts dataclasses, enums and tuples to JSON types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        # a job's labels are also top-level keys, as budget and horizon always were
        return {**found["labels"], **found} if isinstance(value, Job) else found
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def emit_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    right: Iterable[str] = (),
    least: Sequence[str] = (),
    cut: bool = True,
) -> None:
    """Prints aligned columns; those named in `right` are right-aligned. Cuts lines at a terminal's width.

    If the terminal is too narrow, hides the columns of `least` one by one, in this order, and names them.
    """
    room = terminal_columns() if cut else formatting.ENDLESS
    listed = [[*(_shortened(value, room // 2) for value in row[:-1]), *row[-1:]] for row in rows]
    head, *lines = layout(columns, listed, right)
    hidden: list[str] = []
    for name in least:
        if max(map(formatting.width, (head, *lines))) <= room:
            break
        hidden.append(name)
        kept = [n for n, column in enumerate(columns) if column not in hidden]
        head, *lines = layout([columns[n] for n in kept], [[row[n] for n in kept] for row in listed], right)
    _emit_lines(head, lines, room)
    if hidden:
        left_out = ", ".join(column for column in columns if column in hidden)
        say(f"hidden columns (the terminal is too narrow): {left_out}; --wide or --json shows all")


def _shortened(value: Any, columns: int) -> Any:
    """Cuts a long name in its middle, so that the columns after it stay visible."""
    return formatting.cut_middle(value, columns) if isinstance(value, str) else value


def _emit_lines(head: str, lines: Iterable[str], room: int) -> None:
    put(click.style(formatting.cut(head, room), bold=True))
    for line in lines:
        put(_coloured(formatting.cut(line, room)))


def terminal_columns() -> int:
    """Returns the columns of the terminal on stdout; ENDLESS for a pipe."""
    if not sys.stdout.isatty():
        return formatting.ENDLESS
    try:
        return max(20, os.get_terminal_size(sys.stdout.fileno()).columns)
    except OSError:
        return 80


def _coloured(line: str) -> str:
    """Colours the first word that is a state."""
    for word in line.split():
        if word in COLOURS:
            return line.replace(word, click.style(word, fg=COLOURS[word]), 1)
    return line
