"""The values that the monitor's enqueue form and its process `python -m fts.jobs.form` exchange as JSON.

The form never imports a study. The process reads files, plans and counts, and answers with one line of JSON each.
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
LOST = "lost"  # its job is running, but the worker is dead or silent
ADDS = (NEW, EXTENDS, CHANGES)  # states in which enqueueing the cell changes something
WIDEST = 12  # an axis with more values becomes rows instead of columns
Value = str | int | float


@dataclass(frozen=True)
class Found:
    """One study that the form lists, with the reason if it cannot be chosen."""

    key: str  # identifies it in the form's memory
    title: str  # study.toml, train.py:objective, patchtst
    kind: str  # file, function, command, installed
    where: str  # its folder
    note: str = ""  # what is known without reading all of it
    problem: str = ""  # why it cannot be chosen, as a sentence


@dataclass(frozen=True)
class Field:
    """One option of `fts enqueue`, as its command declares it."""

    name: str  # trials; in a study file budget.trials
    label: str  # --trials; in a study file the key
    kind: str  # TEXT, CHOICE, FLAG, SEVERAL
    help: str  # its line of `fts enqueue --help`
    default: str = ""  # the initial text
    usual: str = ""  # what applies if the field is empty, in words
    choices: tuple[str, ...] = ()
    metavar: str = ""


@dataclass(frozen=True)
class CellNow:
    """One cell of the chosen study, and what enqueueing it now would do."""

    name: str  # as in --cell and `fts status`
    labels: dict[str, Value]
    state: str  # NEW, EXTENDS, CHANGES, ANOTHER, LOST, or the status of the job that covers it
    note: str  # the state in a few words: new, 12 of 50 there, 50 trials
    told: str  # the state as a sentence
    more: int = 0  # trials that enqueueing would add
    job: int | None = None  # the job that covers it, or would be extended

    @property
    def adds(self) -> bool:
        return self.state in ADDS


@dataclass(frozen=True)
class Look:
    """The current state of a study: its options, its cells, its problems."""

    fields: tuple[Field, ...]
    cells: tuple[CellNow, ...]
    problems: dict[str, str]  # field -> why its value is refused
    problem: str  # why there are no cells; empty: there are cells
    said: tuple[str, ...]  # the other lines that `fts enqueue` would print
    stamp: str  # changes when a file of the study changes
    folder: str = ""


@dataclass(frozen=True)
class Cost:
    """What the selected cells would cost."""

    cells: int  # number of cells whose enqueueing changes something
    trials: int
    sentences: tuple[str, ...]
    line: str  # the command line that enqueues them
    words: tuple[str, ...]  # its arguments after `fts`
    problem: str = ""  # why it cannot be enqueued
    check: tuple[str, ...] = ()  # the arguments of the same `fts check`; empty: there is none


def as_data(value: Any) -> dict[str, Any]:
    return asdict(value)


def to_found(data: Mapping[str, Any]) -> Found:
    return Found(**data)


def to_look(data: Mapping[str, Any]) -> Look:
    """Reads a Look from the JSON of `as_data`."""
    fields = tuple(Field(**each | {"choices": tuple(each["choices"])}) for each in data["fields"])
    cells = tuple(CellNow(**each) for each in data["cells"])
    return Look(**{**data, "fields": fields, "cells": cells, "said": tuple(data["said"])})


def to_cost(data: Mapping[str, Any]) -> Cost:
    lists = {name: tuple(data[name]) for name in ("sentences", "words", "check")}
    return Cost(**{**data, **lists})


# ---------------------------------------------------------------- the layout of the cells


@dataclass(frozen=True)
class Grid:
    """The cells as rows and columns. The last axis becomes the columns if it is narrow enough; else a cell is a row."""

    axes: tuple[str, ...]  # the axes at the start of each row
    rows: tuple[tuple[Value | None, ...], ...]
    columns: tuple[str, ...]  # headings of the cells; a single empty one: each row is a cell
    places: dict[tuple[int, int], str] = field(default_factory=dict)  # (row, column) -> name of the cell

    @property
    def is_matrix(self) -> bool:
        return self.columns != ("",)

    def row_of(self, row: int) -> list[str]:
        return [name for (r, _), name in self.places.items() if r == row]

    def column_of(self, column: int) -> list[str]:
        return [name for (_, c), name in self.places.items() if c == column]

    def alike(self, row: int, axis: int) -> list[str]:
        """Returns the cells of all rows with the same value of an axis as this row."""
        value = self.rows[row][axis]
        same = {n for n, labels in enumerate(self.rows) if labels[axis] == value}
        return [name for (r, _), name in self.places.items() if r in same]


def grid_of(cells: Sequence[CellNow]) -> Grid:
    """Returns the layout, in which every cell has one place."""
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
    """Selects all of the names, or deselects them if all were selected."""
    wanted = set(names)
    return set(ticked) - wanted if wanted <= set(ticked) else set(ticked) | wanted


def summary(cells: Iterable[CellNow], ticked: Collection[str]) -> tuple[int, int, str]:
    """Counts the selected cells: (cells that change something, trials they add, a text with the number per state)."""
    chosen = [cell for cell in cells if cell.name in ticked]
    adding = [cell for cell in chosen if cell.adds]
    counts: dict[str, int] = {}
    for cell in [*adding, *(cell for cell in chosen if not cell.adds)]:
        counts[cell.state] = counts.get(cell.state, 0) + 1
    text = ", ".join(f"{count} {WORDS.get(state, f'already there ({state})')}" for state, count in counts.items())
    return len(adding), sum(cell.more for cell in adding), text


WORDS = {NEW: "new", EXTENDS: "extended", CHANGES: "changed", ANOTHER: "refused"}
