"""fts.Study, the Python form of study.toml: the same tables and checks, and conversion to and from the file.

study = fts.Study(
    "train:objective", name="digits", matrix={"size": ["S", "M"]}, budget={"trials": 50},
    space={"lr": {"low": 1e-5, "high": 1e-1, "log": True}}, metrics={"val_loss": {"goal": "minimize"}},
)
study.check()
study.enqueue()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fts.jobs.library.objective import objective_of, refuse_at_the_top, refuse_inside_a_trial
from fts.jobs.settings import places
from fts.jobs.study_file import toml
from fts.jobs.study_file.cells import cells_of
from fts.jobs.study_file.enqueue import EnqueuedCell, check_here, enqueue_cells, preview, titles
from fts.jobs.study_file.faults import At, BadStudy
from fts.jobs.study_file.study import StudyFile
from fts.raising import quoted
from fts.state.db import open_for_person
from fts.state.files import expanded
from fts.state.location import has_study

Table = Mapping[str, Any]
Function = Callable[..., Any] | str


class Study:
    """A study with the tables of study.toml. `of_study` are the keys of [study]: name, seed, python, env, code ..."""

    def __init__(
        self,
        objective: Function | None = None,
        *,
        matrix: Table | None = None,
        space: Table | None = None,
        forbid: Table | None = None,
        budget: Table | None = None,
        metrics: Table | None = None,
        search: Table | None = None,
        resources: Table | None = None,
        cell: Sequence[Table] = (),
        baseline: Table | None = None,
        notify: Table | None = None,
        folder: str | Path | None = None,
        **of_study: Any,
    ) -> None:
        """Paths are relative to `folder` (default: the current one). Raises BadSpec for a value unknown to TOML."""
        first = {} if objective is None else {"objective": objective}
        given = {
            "study": {**first, **of_study}, "matrix": matrix, "space": space, "forbid": forbid, "budget": budget,
            "metrics": metrics, "search": search, "resources": resources, "cell": cell or None,
            "baseline": baseline, "notify": notify,
        }  # fmt: skip
        self.folder = expanded(folder or Path.cwd()).absolute()
        self._file = StudyFile(self._plain(given), self.folder)

    @classmethod
    def read(cls, path: str | Path) -> Study:
        """Reads a study file. Raises BadSpec."""
        file = StudyFile.read(expanded(path))
        made = cls(folder=file.folder)
        made._file = file
        return made

    @property
    def tables(self) -> dict[str, Any]:
        """The tables, as they are read from study.toml."""
        return self._file.tables

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Study) and (self.folder, self.tables) == (other.folder, other.tables)

    __hash__ = None  # type: ignore[assignment]  # its tables are dicts

    def __repr__(self) -> str:
        return f"<study {self.tables.get('study', {}).get('name', 'without a name')} in {self.folder}>"

    def to_toml(self) -> str:
        """Returns the text of study.toml, which reads back equal."""
        return self._file.text or toml.written(self.tables)

    def check(self, db: str | Path | None = None, cells: Sequence[str] = ()) -> list[str]:
        """Checks the cells as `fts enqueue` does and returns their names. Raises BadSpec with the key of the error."""
        return titles(cells_of(self._file, places(db).db, cells))

    def enqueue(
        self,
        db: str | Path | None = None,
        *,
        cells: Sequence[str] = (),
        again: bool = False,
        dry_run: bool = False,
    ) -> list[EnqueuedCell]:
        """Enqueues the cells in one transaction. Returns a Line per cell, which prints as a sentence.

        Raises BadSpec before anything is written, and StudyChanged if it has trials and what decides their results has
        changed.
        """
        refuse_inside_a_trial("enqueue")
        objective = self.tables.get("study", {}).get("objective", "")
        if isinstance(objective, str) and ".py:" in objective:
            refuse_at_the_top(objective, self.folder, "enqueue")
        path = places(db).db
        made = cells_of(self._file, path, cells)
        check_here(made)
        if not has_study(path):
            new = preview(made)  # raises BadSpec before a database is created
            if dry_run:
                return new
        opened = open_for_person(path)
        try:
            return enqueue_cells(opened, made, self._file.metrics, self._file.messages, again=again, dry_run=dry_run)
        finally:
            opened.close()

    def _plain(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._value((name,), value) for name, value in given.items() if value is not None}

    def _value(self, at: At, value: Any) -> Any:
        """Converts a value to TOML's types: tuples to lists, functions to names, numpy's numbers to Python's."""
        if isinstance(value, Mapping):
            for name in value:
                if not isinstance(name, str):
                    raise BadStudy(at, f"has the key {quoted(name)}, expected text")
            return {_text((*at, name), name): self._value((*at, name), each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._value(at, each) for each in value]
        if hasattr(value, "dtype") and getattr(value, "ndim", None) == 0:
            value = value.item()
        if isinstance(value, bool):
            return value
        for kind in (int, float):
            if isinstance(value, kind):
                return kind(value)
        if isinstance(value, str):
            return _text(at, value)
        if isinstance(value, Path):
            return _text(at, str(value))
        if callable(value):
            return objective_of(value, self.folder)
        cure = "; leave the key out" if value is None else ""
        raise BadStudy(at, f"is {quoted(value)} of type {type(value).__name__}, expected what TOML can hold{cure}")


def _text(at: At, value: str) -> str:
    plain = str.__str__(value)
    try:
        plain.encode()
    except UnicodeEncodeError:
        raise BadStudy(at, f"is {plain!a:.80}, expected text that UTF-8 can hold") from None
    return plain
