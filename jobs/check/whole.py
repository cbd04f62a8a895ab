"""Examines the cells of a study within a time limit, and forecasts time and memory of the whole matrix."""

from __future__ import annotations

import tempfile
import time
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.command import BareStudy, CommandCell, filled
from fts.jobs.check import words
from fts.jobs.check.examine import Examination, Examined
from fts.jobs.check.rehearsal import Stage, first_params
from fts.jobs.check.words import whole_trial_s
from fts.jobs.status import formatting
from fts.jobs.study_file.chosen import chosen as meant
from fts.jobs.supervisor.attempt import Ended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fts.jobs.api.bare_cell import BareCell
    from fts.jobs.settings import Places

LEAST_CELL_S = 30.0  # least time for a cell; with less left, no further cell begins
STARTUP = 10  # first trials, which samplers draw without results
FIRST_DRAWS_S = 60.0  # time limit for a function to draw its parameters, including imports
SLACK = 1.5  # a cell may take this many times as long as the longest so far
SHARE_OF_MEMORY = 0.85  # part of the memory that trials may use


@dataclass(frozen=True)
class TrialMachine:
    """The machine on which the study is tried and forecast."""

    places: Places
    device: str
    threads: int
    slots: int
    memory: int | None  # bytes; None: unknown

    @property
    def most(self) -> int | None:
        """Memory limit of one trial in bytes."""
        return None if self.memory is None else int(SHARE_OF_MEMORY * self.memory)


@dataclass
class StudyEstimate:
    """Time and memory of the whole study on this machine."""

    cells: int
    trials: int
    checked: int  # number of cells that ran
    slots: int
    seconds: float | None = None  # time of the whole study; None: unknown
    at_least: bool = False  # the trial of some cell did not run to its end
    peak_bytes: int = 0  # of the largest trial
    memory: int | None = None
    peak_at_least: bool = False  # a trial did not run to its end, or a cell did not run: it may take more

    @property
    def fits(self) -> bool | None:
        """Whether the trials of all slots fit into the machine's memory; None: unknown."""
        if self.memory is None or not self.peak_bytes:
            return None
        if self.peak_bytes * self.slots > SHARE_OF_MEMORY * self.memory:
            return False
        return None if self.peak_at_least else True

    @property
    def _others(self) -> str:
        if self.checked == self.cells:
            return ""
        return f", estimated from {formatting.count(self.checked, 'cell')}"

    def sentences(self) -> Iterator[str]:
        cells = f"{formatting.count(self.cells, 'cell')}, {formatting.count(self.trials, 'trial')}"
        with_slots = formatting.count(self.slots, "slot")
        if self.seconds is None:
            yield f"{cells}: how long they take is not known"
        else:
            least = "at least " if self.at_least else "about "
            yield f"{cells}: {least}{words.seconds(self.seconds)} with {with_slots}, without pruning{self._others}"
        if self.memory is None or not self.peak_bytes:
            return
        need, there = formatting.size(self.peak_bytes * self.slots), formatting.size(self.memory)
        if self.fits is not False:
            least = "at least " if self.peak_at_least else ""
            yield f"memory: {least}{need} with {with_slots}, of {there}{self._others}"
        else:
            room = int(SHARE_OF_MEMORY * self.memory // self.peak_bytes)
            cure = f"use --slots {room}" if room else "make the trial smaller"
            yield f"memory: {need} with {with_slots}, but {there} are there; {cure}"


@dataclass
class Checked:
    """Everything that `fts check` found."""

    cells: list[Examined] = field(default_factory=list)
    not_checked: list[BareCell] = field(default_factory=list)  # cells for which there was no time left
    forecast: StudyEstimate | None = None

    @property
    def has_problems(self) -> bool:
        return any(cell.has_problems for cell in self.cells) or (
            self.forecast is not None and self.forecast.fits is False
        )


def check(
    cells: Sequence[BareCell],
    machine: TrialMachine,
    patience_s: float,
    reports: int | None,
    tell: Callable[[BareCell, str], None],
    found: Callable[[Examined], None],
) -> Checked:
    """Examines the cells one after another; calls `found` with each result."""
    until, longest = time.monotonic() + patience_s, LEAST_CELL_S
    least_s = min(LEAST_CELL_S, patience_s)
    checked = Checked()
    with tempfile.TemporaryDirectory(prefix="fts-check-", ignore_cleanup_errors=True) as folder:
        for index, cell in enumerate(cells):
            left = until - time.monotonic()
            if index and left < min(LEAST_CELL_S, longest):
                checked.not_checked = list(cells[index:])
                break
            root = Path(folder).resolve() / str(index)
            examination = Examination(
                partial(stage, cell, machine), cell, root, reports, machine.places.outputs, partial(tell, cell)
            )
            began = time.monotonic()
            examined = examination.run(max(least_s, left / (len(cells) - index)))
            took = SLACK * (time.monotonic() - began)
            longest = took if not index else max(longest, took)
            checked.cells.append(examined)
            found(examined)
    checked.forecast = forecast(cells, checked, machine)
    return checked


def stage(cell: BareCell, machine: TrialMachine, root: Path) -> Stage:
    return Stage(BareStudy(cell.study), cell, root, machine.places.data, machine.device, machine.threads, machine.most)


def forecast(cells: Sequence[BareCell], checked: Checked, machine: TrialMachine) -> StudyEstimate:
    """Forecasts from the cells that ran; assumes that the others take the average of these."""
    ran = [one for one in checked.cells if one.first is not None and (one.first.ended or one.first.cut)]
    trials = sum(map(trials_of, cells))
    at_once = sum(min(cell.parallel, cell.trials) for cell in cells)
    slots = max(1, min(machine.slots, at_once))
    made = StudyEstimate(len(cells), trials, len(ran), slots, memory=machine.memory)
    made.peak_bytes = max((one.first.peak_bytes for one in ran if one.first is not None), default=0)
    known = [one for one in ran if one.trial_s is not None]
    made.at_least = len(known) < len(ran)
    whole = [one for one in ran if one.first is not None and one.first.end.how is Ended.RESULT]
    made.peak_at_least = len(whole) < len(cells)
    if known:
        by_cell = {id(one.cell): one.trial_s or 0.0 for one in known}
        seen = {id(one.cell): one.first.took_s for one in ran if one.first is not None}
        usual = sum(by_cell.values()) / len(by_cell)
        each = [trials_of(cell) * by_cell.get(id(cell), max(usual, seen.get(id(cell), 0.0))) for cell in cells]
        made.seconds = sum(each) / slots
    return made


def trials_of(cell: BareCell) -> int:
    """Counts the trials of a cell: its search, the winner with other seeds, and its baseline."""
    return cell.trials + cell.seeds - 1 + (cell.baseline is not None)


# -- what would be drawn


@dataclass(frozen=True)
class Shown:
    """One trial with the parameters that the search would draw."""

    cell: BareCell
    number: int
    params: dict[str, Any]
    words: list[str] | None = None  # for a command: its words with all values
    problem: str | None = None


def show(cells: Sequence[BareCell], machine: TrialMachine, count: int) -> Iterator[Shown]:
    """Yields the first trials of each cell. A function draws while it runs, so it runs until its first report."""
    with tempfile.TemporaryDirectory(prefix="fts-check-", ignore_cleanup_errors=True) as folder:
        for index, cell in enumerate(cells):
            for number in range(min(count, cell.trials)):
                yield shown(cell, machine, Path(folder).resolve() / f"{index}-{number}", number)


def shown(cell: BareCell, machine: TrialMachine, root: Path, number: int) -> Shown:
    study = BareStudy(cell.study)
    if cell.space is None and not isinstance(cell, CommandCell):
        on = stage(cell, machine, root)
        seen = on.run(on.spec(number), FIRST_DRAWS_S, lambda seen: bool(seen.reports))
        problem = None if seen.ended or seen.cut else seen.message
        return Shown(cell, number, seen.params, problem=problem)
    params = first_params(study, cell, number)
    if not isinstance(cell, CommandCell):
        return Shown(cell, number, params)
    return Shown(cell, number, params, command_line(cell, params, number))


def command_line(cell: CommandCell, params: dict[str, Any], number: int) -> list[str]:
    """Returns the command as one would type it; files and folders of a trial are replaced by names."""
    from fts.jobs.api.command import SEED_BITS  # here, not above: only --show needs it

    own = {
        "params": "PARAMETERS.json",
        "seed": BareStudy(cell.study).seed(cell, number) % 2**SEED_BITS,
        "number": number,
        "checkpoint_dir": "CHECKPOINTS",
        "folder": "FOLDER",
        "threads": cell.threads or 1,
        "shrink": 0,
    }
    words = filled(cell, {**params, **cell.axes}, own)
    if cell.shell:
        return [words[-1]]
    return [cell.command[0], *words[1:]] if cell.program else words


def chosen(cells: Sequence[BareCell], names: Sequence[str]) -> list[BareCell]:
    """Returns the cells that --cell names. Raises BadSpec with the cells that exist."""
    wanted = meant([cell.axes for cell in cells], names)
    return [cell for cell in cells if wanted is None or wanted("", cell.axes)]


__all__ = [
    "Checked", "StudyEstimate", "TrialMachine", "check", "chosen", "forecast", "show", "whole_trial_s",
]  # fmt: skip
