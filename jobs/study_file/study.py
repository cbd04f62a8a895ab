"""A study as tables, from study.toml or from Python. Checks every key and value, and freezes one cell per combination.

StudyFile.read(Path("study.toml")).cells()      # FunctionCell or CommandCell; raises BadSpec with the line
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.spec import BadSpec
from fts.jobs.api.study import Metric
from fts.jobs.study_file import keys, matrix, toml, warm
from fts.jobs.study_file.faults import At, BadStudy
from fts.jobs.study_file.freezing import Freezing
from fts.jobs.study_file.tables import Params, Tables, metrics_of
from fts.state.files import why_unreadable

if TYPE_CHECKING:
    from pathlib import Path

    from fts.jobs.api.bare_cell import BareCell
    from fts.jobs.study_file.matrix import Labels

BY_OPTION = (("study", "name"), ("search", "warm_start"))  # keys that have their own command-line option


def folder_of(path: Path) -> Path:
    """Returns the folder of a study's file, the same for every spelling of its path, such as `../digits/study.toml`."""
    folder = path.absolute().parent
    return folder.resolve() if ".." in folder.parts else folder


@dataclass(frozen=True)
class StudyFile:
    """The tables of a study as they were written, and their folder."""

    tables: Tables
    folder: Path  # paths in the study are relative to it; trials start there
    name: str = ""  # file name for messages, study.toml; empty: written in Python
    text: str = field(default="", repr=False)
    settings: tuple[At, ...] = ()  # keys changed by --set or by an option

    @classmethod
    def read(cls, path: Path, settings: Sequence[str] = ()) -> StudyFile:
        """Reads a file. `settings` are values of --set. Raises BadSpec if the file cannot be read or is not TOML."""
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else why_unreadable(error, path)
            cure = "; `fts init` writes one with an example" if isinstance(error, FileNotFoundError) else ""
            raise BadSpec(f"{path} cannot be read: {reason}{cure}") from None
        tables, places = toml.parse(text, path.name), []
        for setting in settings:
            tables, at = toml.with_value(tables, setting)
            places.append(at)
        return cls(tables, folder_of(path), path.name, text, tuple(places))

    def named(self, name: str | None) -> StudyFile:
        """Returns the study with another name, or itself for None."""
        if name is None:
            return self
        table = self.tables.get("study", {})
        other = {**self.tables, "study": {**table, "name": name}} if isinstance(table, Mapping) else self.tables
        return replace(self, tables=other, settings=(*self.settings, ("study", "name")))

    def warmed(self, trials: Sequence[str]) -> StudyFile:
        """Returns the study with more first trials: recorded ones, or parameters such as `lr=0.001,depth=3`."""
        if not trials:
            return self
        search = self.tables.get("search", {})
        if not isinstance(search, Mapping) or not isinstance(search.get("warm_start", []), list | tuple):
            return self  # invalid; cells() refuses it
        first = [warm.parsed(each) if warm.names_parameters(each) else each for each in trials]
        warm_start = [*search.get("warm_start", []), *first]
        at = ("search", "warm_start")
        other = {**self.tables, "search": {**search, "warm_start": warm_start}}
        return replace(self, tables=other, settings=(*self.settings, at))

    # -- the place of an error

    @contextlib.contextmanager
    def placed(self) -> Iterator[None]:
        """Adds file and line to the message of a BadStudy and raises it as BadSpec."""
        try:
            yield
        except BadStudy as error:
            raise BadSpec(f"{self._place(error.at)}{error}") from None

    def _place(self, at: At) -> str:
        if any(at[: len(place)] == place for place in self.settings):
            return "" if at[:2] in BY_OPTION else "--set: "
        line = toml.line_of(self._lines, at)
        if not self.name:
            return ""
        return f"{self.name} line {line}: " if line else f"{self.name}: "

    @cached_property
    def _lines(self) -> dict[At, int]:
        return toml.lines_of(self.text)

    # -- the cells

    def cells(
        self,
        wanted: Callable[[str, Labels], bool] | None = None,
        recorded: Callable[[str], Params] | None = None,
        outputs: Path | None = None,
    ) -> list[BareCell]:
        """Returns the cells, checked and frozen; with `wanted`, only those for which wanted(title, labels) is true.

        `recorded` returns the parameters of a trial named in warm_start; `outputs` is the folder of the database.
        Raises BadSpec with the line, before anything is written.
        """
        with self.placed():
            return Freezing(self, recorded, outputs).cells(wanted)

    @property
    def labels(self) -> list[Labels]:
        """Each cell's value on each axis."""
        with self.placed():
            return matrix.cells(self.tables.get("matrix", {}))

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The declared metrics as fts.jobs.api.study.Metric in JSON."""
        with self.placed():
            found = metrics_of(self.tables.get("metrics", {}))
        return [asdict(Metric(name, goal=each.get("goal"))) for name, each in found.items()]

    @property
    def messages(self) -> tuple[str, ...] | None:
        """The kinds of messages that the study sends, from [notify]; None: all."""
        with self.placed():
            table = keys.checked(("notify",), self.tables.get("notify", {}), keys.NOTIFY)
        return table.get("on")
