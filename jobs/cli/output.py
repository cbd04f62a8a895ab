"""How a command speaks: tables and JSON on stdout, talk on stderr, every foreign string cleaned on its way out."""

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
from fts.jobs.status.sanitize import clean, clean_value
from fts.state.migrations import SCHEMA
from fts.state.values import Job

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COMPLAINT = "fts: "  # how the sentence of a command that was refused begins
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


def attach() -> None:
    """Gives a program that was started without them (`>&-`, some daemons) streams that lead nowhere.

    Otherwise Python has None there, and the next file that is opened, the database perhaps, gets the stream's number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 PTH123 open as long as the process


def say(text: str) -> None:
    """Talk, for a person: one line on stderr, broken between words where a terminal is narrower."""
    click.echo(_broken(clean(text)), err=True)


def complain(text: str) -> None:
    """What went wrong, as one sentence on stderr."""
    click.echo(_broken(f"{COMPLAINT}{clean(text)}"), err=True)


def _broken(text: str) -> str:
    if not sys.stderr.isatty():
        return text
    try:
        room = os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        return text
    return "\n".join(textwrap.wrap(text, max(20, room), break_long_words=False, break_on_hyphens=False)) or text


def name_unreadable(rows: Sequence[object]) -> None:
    """One line for each row that could not be read, and where to find what to do about it."""
    for row in rows[:3]:
        say(f"{row}; `fts doctor` says what to do")
    if len(rows) > 3:
        say(f"more unreadable rows: {len(rows) - 3}")


def emit(text: str = "") -> None:
    """Data, one or more lines on stdout; each line is cleaned, the line ends are ours."""
    put("\n".join(clean(line) for line in text.split("\n")))


def put(text: str) -> None:
    """Text that is ours on stdout, in plain ASCII where the terminal knows no other."""
    click.echo(text if speaks_unicode() else formatting.to_ascii(text))


def speaks_unicode() -> bool:
    return formatting.speaks_utf8() and os.environ.get("TERM") != "dumb"


def emit_json(kind: str, content: Any, taken_at: float | None = None, **more: Any) -> None:
    """One JSON object: schema, taken_at and the content under its name. NaN has no word in JSON and becomes null.

    `more` stands beside the content where it is not None.
    """
    record = {"schema": SCHEMA, "taken_at": time.time() if taken_at is None else taken_at, kind: plain(content)}
    record |= {name: plain(value) for name, value in more.items() if value is not None}
    click.echo(json.dumps(record, indent=None if not sys.stdout.isatty() else 2, allow_nan=False))


def emit_line(content: Any) -> None:
    """One line of NDJSON, flushed: for programs that follow along."""
    click.echo(json.dumps(plain(content), allow_nan=False))
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """Dataclasses, enums and tuples as JSON has them, with every string cleaned."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        # a job's labels also by their own names, as budget and horizon always were
        return {**found["labels"], **found} if isinstance(value, Job) else found
    if isinstance(value, dict):
        return {clean(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return clean(str(value))
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float) else clean_value(str(value))


def emit_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    right: Iterable[str] = (),
    least: Sequence[str] = (),
    cut: bool = True,
) -> None:
    """Aligned columns; `right` names the ones that hold numbers. Lines are cut only where a terminal reads them.

    `least`: columns that may be left out where the terminal is too narrow, the first first; a line says which were.
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
    """So that a name that a person gave leaves room for what follows it."""
    return formatting.cut_middle(value, columns) if isinstance(value, str) else value


def _emit_lines(head: str, lines: Iterable[str], room: int) -> None:
    put(click.style(formatting.cut(head, room), bold=True))
    for line in lines:
        put(_coloured(formatting.cut(line, room)))


def terminal_columns() -> int:
    """Columns of the terminal on stdout; a pipe has no edge."""
    if not sys.stdout.isatty():
        return formatting.ENDLESS
    try:
        return max(20, os.get_terminal_size(sys.stdout.fileno()).columns)
    except OSError:
        return 80


def _coloured(line: str) -> str:
    """The first word that names a state gets its colour; the word and its glyph stay."""
    for word in line.split():
        if word in COLOURS:
            return line.replace(word, click.style(word, fg=COLOURS[word]), 1)
    return line
