"""A study as tables, from study.toml or from Python: checks every word, and freezes one cell per combination.

StudyFile.read(Path("study.toml")).cells()      # FunctionCell or CommandCell; BadSpec with the line
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

if TYPE_CHECKING:
    from pathlib import Path

    from fts.jobs.api.bare_cell import BareCell
    from fts.jobs.study_file.matrix import Labels

BY_OPTION = (("study", "name"), ("search", "warm_start"))  # they have options of their own


def folder_of(path: Path) -> Path:
    """Where a study's file lies, by one name wherever a person stands: `../digits/study.toml` is its folder, too."""
    folder = path.absolute().parent
    return folder.resolve() if ".." in folder.parts else folder


@dataclass(frozen=True)
class StudyFile:
    """The tables of a study as they were written, and where."""

    tables: Tables
    folder: Path  # what its paths are relative to; the trials start there
    name: str = ""  # study.toml, for a sentence; empty: it was written in Python
    text: str = field(default="", repr=False)
    settings: tuple[At, ...] = ()  # what --set has changed

    @classmethod
    def read(cls, path: Path, settings: Sequence[str] = ()) -> StudyFile:
        """Raises BadSpec for a file that cannot be read or is no TOML; `settings` are words of --set."""
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror or error
            cure = "; `fts init` writes one with an example" if isinstance(error, FileNotFoundError) else ""
            raise BadSpec(f"{path} cannot be read: {reason}{cure}") from None
        tables, places = toml.parse(text, path.name), []
        for setting in settings:
            tables, at = toml.with_value(tables, setting)
            places.append(at)
        return cls(tables, folder_of(path), path.name, text, tuple(places))

    def named(self, name: str | None) -> StudyFile:
        """The same study under another name."""
        if name is None:
            return self
        table = self.tables.get("study", {})
        other = {**self.tables, "study": {**table, "name": name}} if isinstance(table, Mapping) else self.tables
        return replace(self, tables=other, settings=(*self.settings, ("study", "name")))

    def warmed(self, trials: Sequence[str]) -> StudyFile:
        """The same study, beginning with recorded trials, or with parameters such as `lr=0.001,depth=3`, too."""
        if not trials:
            return self
        search = self.tables.get("search", {})
        if not isinstance(search, Mapping) or not isinstance(search.get("warm_start", []), list | tuple):
            return self  # it is refused as it stands
        first = [warm.parsed(each) if warm.names_parameters(each) else each for each in trials]
        warm_start = [*search.get("warm_start", []), *first]
        at = ("search", "warm_start")
        other = {**self.tables, "search": {**search, "warm_start": warm_start}}
        return replace(self, tables=other, settings=(*self.settings, at))

    # -- what is wrong, and where

    @contextlib.contextmanager
    def placed(self) -> Iterator[None]:
        """A fault gets the file and the line in front."""
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

    # -- the whole

    def cells(
        self,
        wanted: Callable[[str, Labels], bool] | None = None,
        recorded: Callable[[str], Params] | None = None,
        outputs: Path | None = None,
    ) -> list[BareCell]:
        """The cells, or those for which `wanted` (their title, their labels) is true, checked and frozen.

        `recorded` gives the parameters of a trial named in warm_start, `outputs` is the folder of the database. Raises
        BadSpec with the line, before anything is written.
        """
        with self.placed():
            return Freezing(self, recorded, outputs).cells(wanted)

    @property
    def labels(self) -> list[Labels]:
        """Where each cell stands on each axis."""
        with self.placed():
            return matrix.cells(self.tables.get("matrix", {}))

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Every declared metric, as a study declares it."""
        with self.placed():
            found = metrics_of(self.tables.get("metrics", {}))
        return [asdict(Metric(name, goal=each.get("goal"))) for name, each in found.items()]

    @property
    def messages(self) -> tuple[str, ...] | None:
        """Which messages the study sends, in the words of [notify]; None: all."""
        with self.placed():
            asked = keys.checked(("notify",), self.tables.get("notify", {}), keys.NOTIFY)
        return asked.get("on")
