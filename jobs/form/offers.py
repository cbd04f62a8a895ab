"""One study in the form: its options, the states of its cells, their cost, and the commands to enqueue and check them.

Here for study files, functions and commands; an installed study has its own subclass of Offer (Study.enqueue_form).
"""

from __future__ import annotations

import os
import shlex
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.api.bare_cell import OBJECTIVE
from fts.jobs.api.form import ANOTHER, Cost, Field, Look
from fts.jobs.api.spec import BadSpec
from fts.jobs.cli import enqueue, enqueue_command, enqueue_study, limits
from fts.jobs.cli.errors import sentence_of
from fts.jobs.form import cell_state, cost, fields
from fts.jobs.status import formatting
from fts.jobs.study_file.cells import cells_of
from fts.jobs.study_file.chosen import chosen
from fts.jobs.study_file.study import StudyFile
from fts.jobs.unused_names import unread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fts.jobs.api.bare_cell import BareCell
    from fts.jobs.api.form import CellNow
    from fts.jobs.settings import Places

FEW_WORDS = 3  # from so many ticked cells on `--cell AXIS:VALUE` is tried, which names all cells with a value


@dataclass
class SeenCells:
    """The cells of a study as last read."""

    cells: Sequence[Any] = ()  # cells in the class of the study
    now: list[CellNow] = field(default_factory=list)  # their states, in the same order
    said: list[str] = field(default_factory=list)  # warnings


class Offer(ABC):
    """A study that can be enqueued from the form. Keeps no state: each call reads the files and the database again."""

    def __init__(self, places: Places, folder: Path) -> None:
        self.places, self.folder = places, folder

    @abstractmethod
    def fields(self) -> list[Field]:
        """Returns the options. Raises if the study cannot be read."""

    @abstractmethod
    def problems(self, typed: Mapping[str, str]) -> dict[str, str]:
        """Returns by field why its typed value is refused."""

    @abstractmethod
    def see(self, typed: Mapping[str, str]) -> SeenCells:
        """Reads the cells and their states. Raises what the command would raise."""

    @abstractmethod
    def words(self, typed: Mapping[str, str], seen: SeenCells, ticked: Sequence[str]) -> list[str]:
        """Returns the arguments of `fts enqueue` for the ticked cells."""

    @abstractmethod
    def sentences(self, seen: SeenCells, ticked: Sequence[str]) -> list[str]:
        """Returns sentences about time, memory and disk of the ticked cells."""

    def check_words(self, typed: Mapping[str, str], seen: SeenCells, ticked: Sequence[str]) -> list[str]:
        """Returns the words after `fts` of a check of the ticked cells; empty if the study has no check."""
        return []

    def stamp(self) -> str:
        """Returns a text that changes when the study's files change."""
        return ""

    # -- called by the server

    def look(self, typed: Mapping[str, str]) -> tuple[Look, SeenCells]:
        """Reads everything about the study. An exception becomes the problem of the Look."""
        stamp = self.stamp()
        known, problems, seen, problem = list[Field](), dict[str, str](), SeenCells(), ""
        try:
            known = self.fields()
            problems = self.problems(typed)
            seen = self._see_now(typed) if not problems else SeenCells()
        except Exception as error:  # noqa: BLE001  # the user's files may raise anything; the form shows it
            problem = sentence_of(error)
        if not problem and problems:
            field_, why = next(iter(problems.items()))
            label = next((each.label for each in known if each.name == field_), field_)
            problem = why if why.startswith(label) else f"{label}: {why}"
        look = Look(tuple(known), tuple(seen.now), problems, problem, tuple(seen.said), stamp, str(self.folder))
        return look, seen

    def _see_now(self, typed: Mapping[str, str]) -> SeenCells:
        seen = self.see(typed)
        with cost.reading(self.places) as db:
            if db is not None:
                seen.now = cell_state.with_lost(db, seen.now)
        return seen

    def cost(self, typed: Mapping[str, str], seen: SeenCells, ticked: Sequence[str]) -> Cost:
        """Returns the cost of enqueueing the ticked cells, and the command lines."""
        chosen_ = [cell for cell in seen.now if cell.name in set(ticked)]
        adding = [cell for cell in chosen_ if cell.adds]
        count, trials = len(adding), sum(cell.more for cell in adding)
        try:
            words = self.words(typed, seen, [cell.name for cell in chosen_])
            sentences = self.sentences(seen, [cell.name for cell in adding]) if adding else []
            check = self.check_words(typed, seen, [cell.name for cell in chosen_])
        except Exception as error:  # noqa: BLE001  # see `look`
            return Cost(count, trials, (), "", (), sentence_of(error))
        refused = [cell for cell in chosen_ if cell.state == ANOTHER]
        problem = refused[0].told if refused else ""
        return Cost(count, trials, tuple(sentences), self.line(words), ("enqueue", *words), problem, tuple(check))

    def line(self, words: Sequence[str]) -> str:
        """Returns the command line as a person would type it in the monitor's working folder."""
        here = Path.cwd()
        typed = ["fts"]
        os.chdir(self.folder)
        try:
            usual = default_database()
        finally:
            os.chdir(here)
        if usual != self.places.db:
            typed += ["--db", str(self.places.db)]
        command = shlex.join([*typed, "enqueue", *words])
        return command if self.folder == here else f"cd {shlex.quote(str(self.folder))} && {command}"


def default_database() -> Path:
    from fts.jobs.settings import places  # here: the name `places` is used in this module

    return places(None).db


# ---------------------------------------------------------------- study.toml


class OfFile(Offer):
    """A study file."""

    command = enqueue_study.enqueue_study

    def __init__(self, places: Places, folder: Path, name: str) -> None:
        super().__init__(places, folder)
        self.path, self.name = folder / name, name

    def stamp(self) -> str:
        found = [self.path]
        try:
            study = StudyFile.read(self.path).tables.get("study", {})
            code = study.get("code", []) if isinstance(study, dict) else []
            found += [self.folder / name for name in code if isinstance(name, str)]
        except (BadSpec, OSError):
            pass
        return stamp_of(found)

    def fields(self) -> list[Field]:
        return [*fields.of_file(StudyFile.read(self.path).tables), *fields.of_command(self.command)]

    def problems(self, typed: Mapping[str, str]) -> dict[str, str]:
        return fields.problems_of_keys(typed) | fields.problems_of(self.command, typed)

    def _options(self, typed: Mapping[str, str]) -> dict[str, Any]:
        words = [self.name, *fields.words_of(self.command, typed)]
        words += [word for each in fields.settings_of(typed) for word in ("--set", each)]
        return self.command.make_context("enqueue", words, obj=self.places).params

    def see(self, typed: Mapping[str, str]) -> SeenCells:
        given = self._options(typed)
        study = StudyFile.read(self.path, given["settings"]).named(given["name"]).warmed(given["warm"])
        made = cells_of(study, self.places.db)
        from fts.jobs.study_file import enqueue  # here: peewee

        enqueue.check_here(made)
        with cost.reading(self.places) as db:
            from fts.state import queries

            jobs = () if db is None else queries.jobs(db)
            now = cell_state.of_file(db, made, jobs, given["again"])
        said = unread(made)
        return SeenCells(made, now, said)

    def words(self, typed: Mapping[str, str], seen: SeenCells, ticked: Sequence[str]) -> list[str]:
        settings = [word for each in fields.settings_of(typed) for word in ("--set", each)]
        cells = cell_words(seen, ticked)
        return [self.name, *cells, *settings, *fields.words_of(self.command, typed)]

    def sentences(self, seen: SeenCells, ticked: Sequence[str]) -> list[str]:
        return bare_sentences(self.places, seen, ticked)

    def check_words(self, typed: Mapping[str, str], seen: SeenCells, ticked: Sequence[str]) -> list[str]:
        settings = [word for each in fields.settings_of(typed) for word in ("--set", each)]
        return [
            "check",
            self.name,
            *cell_words(seen, ticked),
            *settings,
            *fields.words_of(self.command, typed, ["again"]),
        ]


# ---------------------------------------------------------------- a function or a command


class OfWords(Offer):
    """A function or a command: FILE.py:FUNCTION, or -- and the words of a command."""

    def __init__(
        self, places: Places, folder: Path, words: Sequence[str], first: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(places, folder)
        self.first = dict(first or {})  # options that were typed with it: initial values of the fields
        self.base = list(words)
        self.is_command = self.base[:1] == ["--"]
        self.command = enqueue_command.enqueue_command if self.is_command else enqueue.enqueue

    def stamp(self) -> str:
        files = [word.partition(".py:")[0] + ".py" if ".py:" in word else word for word in self.base]
        return stamp_of([self.folder / name for name in files if name and not name.startswith("-")])

    def fields(self) -> list[Field]:
        return fields.of_command(self.command)

    def problems(self, typed: Mapping[str, str]) -> dict[str, str]:
        return fields.problems_of(self.command, typed)

    def _put(self, words: Sequence[str], cells: Sequence[str] = ()) -> list[str]:
        """Joins the arguments: options before the `--` of a command, after a function."""
        return [*cells, *words, *self.base] if self.is_command else [*self.base, *cells, *words]

    def see(self, typed: Mapping[str, str]) -> SeenCells:
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            words = self._put(fields.words_of(self.command, typed))
            with self.command.make_context("enqueue", words, obj=self.places) as context:
                given = dict(context.params)
                again = bool(given.pop("again"))
                for name in ("dry_run", "as_json", "wanted"):
                    given.pop(name)
                made: Sequence[BareCell]
                made = enqueue_command.cells_of(**given) if self.is_command else enqueue.cells_of(**given)
                with cost.reading(self.places) as db:
                    from fts.state import queries  # here: peewee

                    jobs = () if db is None else queries.jobs(db)
                now = cell_state.of_words(made, jobs, again, limits.typed_fields())
        finally:
            os.chdir(before)
        said = unread(made)
        return SeenCells(made, now, said)

    def words(self, typed: Mapping[str, str], seen: SeenCells, ticked: Sequence[str]) -> list[str]:
        return self._put(fields.words_of(self.command, typed), cell_words(seen, ticked))

    def sentences(self, seen: SeenCells, ticked: Sequence[str]) -> list[str]:
        return bare_sentences(self.places, seen, ticked)

    def check_words(self, typed: Mapping[str, str], seen: SeenCells, ticked: Sequence[str]) -> list[str]:
        return ["check", *self._put(fields.words_of(self.command, typed, ["again"]), cell_words(seen, ticked))]


# ---------------------------------------------------------------- shared


def bare_sentences(places: Places, seen: SeenCells, ticked: Sequence[str]) -> list[str]:
    wanted = set(ticked)
    pairs = [(cell, now) for cell, now in zip(seen.cells, seen.now, strict=True) if now.name in wanted]
    with cost.reading(places) as db:
        known = cost.known(db, places, pairs[0][0].study)
    return cost.sentences(known, cost.orders_of([cell for cell, _ in pairs], [now for _, now in pairs], known.jobs))


def cell_words(seen: SeenCells, ticked: Sequence[str]) -> list[str]:
    """Returns --cell options that select exactly the ticked cells; none if all are ticked.

    Raises BadSpec if no options can.
    """
    wanted = set(ticked)
    if len(wanted) == len(seen.now):
        return []
    every = [now.labels for now in seen.now]
    named = [now for now in seen.now if now.name in wanted]
    left = dict.fromkeys(now.name for now in named)
    words = []
    for axis, value in _shared(seen, wanted) if len(named) >= FEW_WORDS else ():
        inside = [now.name for now in named if now.labels.get(axis) == value]
        if sum(name in left for name in inside) >= 2:
            words.append(f"{axis}:{value}")
            left = {name: None for name in left if name not in inside}
    words += ["/".join(str(value) for value in now.labels.values()) for now in named if now.name in left]
    if not _selects(every, words, wanted, seen):
        words = ["/".join(str(value) for value in now.labels.values()) for now in named]
    if not _selects(every, words, wanted, seen):
        raise BadSpec(
            f"no --cell names exactly these {formatting.count(len(wanted), 'cell')}: their values read alike; "
            "tick all cells, or give the axes other values"
        )
    return [word for name in words for word in (["--cell", name] if name[:1] != "-" else [f"--cell={name}"])]


def _shared(seen: SeenCells, wanted: set[str]) -> list[tuple[str, Any]]:
    """Returns (axis, value) pairs whose cells are all ticked, those with most cells first."""
    count: dict[tuple[str, Any], list[int]] = {}
    for now in seen.now:
        for axis, value in now.labels.items():
            if "/" in str(value) or "," in str(value):
                continue
            found = count.setdefault((axis, value), [0, 0])
            found[0] += 1
            found[1] += now.name in wanted
    whole = [pair for pair, (there, ticked) in count.items() if there == ticked]
    return sorted(whole, key=lambda pair: -count[pair][0])


def _selects(every: Sequence[Any], words: Sequence[str], wanted: set[str], seen: SeenCells) -> bool:
    """Returns whether --cell with these words selects exactly the wanted cells."""
    try:
        meant = chosen(every, words)
    except BadSpec:
        return False
    return meant is not None and {now.name for now in seen.now if meant("", now.labels)} == wanted


def stamp_of(paths: Sequence[Path]) -> str:
    found = []
    for path in paths:
        try:
            stat = path.stat()
        except (OSError, ValueError):
            found.append("-")
        else:
            found.append(f"{stat.st_mtime_ns}.{stat.st_size}")
    return " ".join(found)


def is_objective(text: str) -> bool:
    return OBJECTIVE.fullmatch(text) is not None
