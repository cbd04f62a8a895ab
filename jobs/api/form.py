"""What the enqueue form of the monitor and the process that answers it say to each other: plain values, as JSON.

The form never imports a study: `python -m fts.jobs.form` reads files, plans and counts, one line of JSON per answer.
"""

from __future__ import annotations

from dataclasses import asdict, field
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

TEXT, CHOICE, FLAG, SEVERAL = "text", "choice", "flag", "several"
YES = "yes"  # the value of a flag that is given
NEW, EXTENDS, CHANGES, ANOTHER = "new", "extends", "changes", "another"
LOST = "lost"  # it would run, but its worker is dead or silent
ADDS = (NEW, EXTENDS, CHANGES)  # states in which enqueueing a cell changes something
WIDEST = 12  # values of an axis that become columns; an axis with more of them becomes rows
Value = str | int | float


@dataclass(frozen=True)
class Found:
    """One study that the form offers, or cannot offer."""

    key: str  # names it for the next time
    title: str  # study.toml, train.py:objective, patchtst
    kind: str  # file, function, command, installed
    where: str  # its folder
    note: str = ""  # what is known of it without reading it whole
    problem: str = ""  # why it cannot be chosen, in a sentence


@dataclass(frozen=True)
class Field:
    """One option of `fts enqueue`, as its command declares it."""

    name: str  # trials; of a study file budget.trials
    label: str  # --trials; of a study file the key
    kind: str  # TEXT, CHOICE, FLAG, SEVERAL
    help: str  # its line of `fts enqueue --help`
    default: str = ""  # what stands there while nobody has typed
    usual: str = ""  # what holds where nothing is given, in words
    choices: tuple[str, ...] = ()
    metavar: str = ""


@dataclass(frozen=True)
class CellNow:
    """One cell of the chosen study, and what enqueueing it would do now."""

    name: str  # as --cell and `fts status` call it
    labels: dict[str, Value]
    state: str  # NEW, EXTENDS, CHANGES, ANOTHER, LOST, or the status of the job that has done or will do it
    note: str  # the same in a few words: new, 12 of 50 there, 50 trials
    told: str  # the same in a sentence
    more: int = 0  # trials that enqueueing would add
    job: int | None = None  # that answers its question, or takes it over

    @property
    def adds(self) -> bool:
        return self.state in ADDS


@dataclass(frozen=True)
class Look:
    """A study as it is now: its options, its cells, and what is wrong."""

    fields: tuple[Field, ...]
    cells: tuple[CellNow, ...]
    problems: dict[str, str]  # field -> why its value is refused
    problem: str  # why there are no cells; empty: there are
    said: tuple[str, ...]  # what `fts enqueue` would say beside the cells
    stamp: str  # changes when a file of the study does
    folder: str = ""


@dataclass(frozen=True)
class Cost:
    """What the ticked cells would take."""

    cells: int  # that would change something
    trials: int
    sentences: tuple[str, ...]
    line: str  # the command line that does it
    words: tuple[str, ...]  # the same behind `fts`
    problem: str = ""  # why it cannot be enqueued
    check: tuple[str, ...] = ()  # `fts check` with the same words; none: there is no such check


def as_data(value: Any) -> dict[str, Any]:
    return asdict(value)


def to_found(data: Mapping[str, Any]) -> Found:
    return Found(**data)


def to_look(data: Mapping[str, Any]) -> Look:
    """What `as_data` made of one."""
    fields = tuple(Field(**each | {"choices": tuple(each["choices"])}) for each in data["fields"])
    cells = tuple(CellNow(**each) for each in data["cells"])
    return Look(**{**data, "fields": fields, "cells": cells, "said": tuple(data["said"])})


def to_cost(data: Mapping[str, Any]) -> Cost:
    lists = {name: tuple(data[name]) for name in ("sentences", "words", "check")}
    return Cost(**{**data, **lists})


# ---------------------------------------------------------------- how cells stand beside each other


@dataclass(frozen=True)
class Grid:
    """Cells by rows and columns: the last axis of a matrix that is narrow enough makes columns, else each is a row."""

    axes: tuple[str, ...]  # in front of each row
    rows: tuple[tuple[Value | None, ...], ...]
    columns: tuple[str, ...]  # headings of the cells; one without a name: a row is a cell
    places: dict[tuple[int, int], str] = field(default_factory=dict)  # (row, column) -> name of the cell

    @property
    def is_matrix(self) -> bool:
        return self.columns != ("",)

    def row_of(self, row: int) -> list[str]:
        return [name for (r, _), name in self.places.items() if r == row]

    def column_of(self, column: int) -> list[str]:
        return [name for (_, c), name in self.places.items() if c == column]

    def alike(self, row: int, axis: int) -> list[str]:
        """The cells of all rows that have this row's value of an axis."""
        value = self.rows[row][axis]
        same = {n for n, labels in enumerate(self.rows) if labels[axis] == value}
        return [name for (r, _), name in self.places.items() if r in same]


def grid_of(cells: Sequence[CellNow]) -> Grid:
    """Every cell has one place."""
    axes = tuple(dict.fromkeys(name for cell in cells for name in cell.labels))
    if len(axes) >= 2:
        *before, last = axes
        columns = tuple(dict.fromkeys(cell.labels.get(last) for cell in cells))
        if len(columns) <= WIDEST and None not in columns:
            rows = list(dict.fromkeys(tuple(cell.labels.get(name) for name in before) for cell in cells))
            at = {row: n for n, row in enumerate(rows)}
            across = {value: n for n, value in enumerate(columns)}
            places = {
                (at[tuple(cell.labels.get(name) for name in before)], across[cell.labels.get(last)]): cell.name
                for cell in cells
            }
            if len(places) == len(cells) and len(rows) < len(cells):
                named = tuple(f"{last} {value}" for value in columns)
                return Grid(tuple(before), tuple(rows), named, places)
    rows = [tuple(cell.labels.get(name) for name in axes) for cell in cells]
    return Grid(axes, tuple(rows), ("",), {(n, 0): cell.name for n, cell in enumerate(cells)})


def toggled(ticked: Collection[str], names: Iterable[str]) -> set[str]:
    """All of them ticked, or none where all were."""
    wanted = set(names)
    return set(ticked) - wanted if wanted <= set(ticked) else set(ticked) | wanted


def summary(cells: Iterable[CellNow], ticked: Collection[str]) -> tuple[int, int, str]:
    """(cells that change something, trials they add, what becomes of the others) of the ticked ones, at once."""
    chosen = [cell for cell in cells if cell.name in ticked]
    adding = [cell for cell in chosen if cell.adds]
    counts: dict[str, int] = {}
    for cell in [*adding, *(cell for cell in chosen if not cell.adds)]:
        counts[cell.state] = counts.get(cell.state, 0) + 1
    told = ", ".join(f"{count} {WORDS.get(state, f'already there ({state})')}" for state, count in counts.items())
    return len(adding), sum(cell.more for cell in adding), told


WORDS = {NEW: "new", EXTENDS: "extended", CHANGES: "changed", ANOTHER: "refused"}
