"""What an order would take on this machine, before it is given: what `fts plan --memory` says, word for word.

It runs as a process of its own: the plan needs the science, which no window should load.
"""

from __future__ import annotations

import json
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Lock
from typing import Any

from fts.jobs.actions.handlers import CommandFailed, argv_of, sentence_of
from fts.jobs.status import formatting
from fts.jobs.status.forecast import worth_of_pruned
from fts.state.scheduling import preference
from fts.study.choices import BUDGETS, EPOCHS, PRUNERS, TASK, TIER

Cell = tuple[str, int]  # (budget, horizon)


@dataclass(frozen=True)
class Standing:
    """A job that asks the same question."""

    job: int
    status: str
    trials: int  # that are wanted of it


@dataclass(frozen=True)
class CellCost:
    """One cell of the plan; bytes and seconds of its architectures."""

    trial_s: float | None  # of the middle architecture; None: none fits
    low: int  # bytes of the smallest architecture that fits (or of the smallest, if none does)
    high: int
    shapes: int
    too_large: int  # architectures that cannot run here
    waiting: int  # that need more than a slot's share
    same: tuple[Standing, ...] = ()  # jobs of the same question


@dataclass(frozen=True)
class Preview:
    """The plan of every cell of the matrix."""

    cells: dict[Cell, CellCost]
    slots: int
    share: int  # bytes for each slot
    device: str
    source: str  # where the seconds come from


@dataclass(frozen=True)
class SearchSettings:
    """What `fts plan` and `fts enqueue` are asked alike, beside the cells."""

    epochs: int = EPOCHS
    pruner: str = next(iter(PRUNERS))
    task: str = TASK
    tier: str = TIER
    data: str | None = None  # None: the tier's usual one

    def words(self) -> tuple[str, ...]:
        """As options of either command."""
        asked = ("--epochs", str(self.epochs), "--pruner", self.pruner, "--task", self.task, "--tier", self.tier)
        return (*asked, "--data", self.data) if self.data is not None else asked


class Command(ABC):
    """One or several calls of `fts`, made where the answer is waited for; who asks may stop listening at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._child: subprocess.Popen[str] | None = None
        self._stopped = False
        self._starting = Lock()

    @abstractmethod
    def answer(self) -> Any:
        """Waits for it. Raises CommandFailed with its sentence, OSError."""

    def stop(self) -> None:
        """Nobody listens any more."""
        with self._starting:
            self._stopped = True
            if self._child is not None and self._child.poll() is None:
                self._child.kill()

    def _printed(self, *words_: str) -> str:
        """What `fts WORDS` printed."""
        with self._starting:
            if self._stopped:
                raise CommandFailed("nobody waits for this answer any more")
            pipe, none = subprocess.PIPE, subprocess.DEVNULL
            self._child = subprocess.Popen(argv_of(self.path, words_), stdout=pipe, stderr=pipe, stdin=none, text=True)
        out, err = self._child.communicate()
        if self._child.returncode != 0:
            raise CommandFailed(sentence_of(words_[0], err, self._child.returncode))
        return out


class Question(Command):
    """One `fts plan --memory --matrix`."""

    def __init__(self, path: Path, settings: SearchSettings, budgets: Sequence[str] = BUDGETS) -> None:
        super().__init__(path)
        self.settings, self.budgets = settings, budgets

    def answer(self) -> Preview:
        words_ = ("--memory", "--matrix", "--json", "--budgets", ",".join(self.budgets), *self.settings.words())
        return read(self._printed("plan", *words_))


class DryRun(Command):
    """One `fts enqueue --dry-run` for each call."""

    def __init__(self, path: Path, calls: Sequence[Sequence[str]]) -> None:
        super().__init__(path)
        self.calls = [list(call) for call in calls]

    def answer(self) -> list[str]:
        """What each cell would become, and what its step found."""
        said: list[str] = []
        for call in self.calls:
            said += read_dry_run(self._printed("enqueue", "--dry-run", "--json", *call))
        return said


class DataList(Command):
    """One `fts data list`."""

    def answer(self) -> dict[str, tuple[str, ...]]:
        """The names of each tier's data sets."""
        return read_data_list(self._printed("data", "list", "--json"))


def read_data_list(out: str) -> dict[str, tuple[str, ...]]:
    """What `fts data list --json` printed; raw data has no tier."""
    try:
        found: dict[str, tuple[str, ...]] = {}
        for entry in json.loads(out)["data"]["datasets"]:
            if (tier := entry["tier"]) is not None:
                found[tier] = (*found.get(tier, ()), str(entry["dataset"]))
        return found
    except (KeyError, TypeError, ValueError) as error:
        raise CommandFailed(f"this window cannot read the answer of `fts data list`: {error!r}") from error


def read_dry_run(out: str) -> list[str]:
    """What `fts enqueue --dry-run --json` printed, a sentence for each cell."""
    try:
        lines = json.loads(out)["enqueued"]
        return [f"{line['told']}" + (f"; {line['found']}" if line["found"] else "") for line in lines]
    except (KeyError, TypeError, ValueError) as error:
        raise CommandFailed(f"this window cannot read the answer of `fts enqueue`: {error!r}") from error


def read(out: str) -> Preview:
    """What the command printed. Raises CommandFailed when it is not what we know."""
    try:
        found = json.loads(out)["plan"]
        cells = {(str(cell["budget"]), int(cell["horizon"])): cost_of(cell) for cell in found["cells"]}
        rate = str(found["rate"]["source"])
        return Preview(cells, int(found["slots"]), int(found["limit"]), str(found["device"]), rate)
    except (KeyError, TypeError, ValueError) as error:
        raise CommandFailed(f"this window cannot read the answer of `fts plan --memory`: {error!r}") from error


def cost_of(cell: dict[str, Any]) -> CellCost:
    """As `estimate.CellPlan` has it: a trial of the middle architecture, for as many epochs as trials usually run."""
    fitting = [shape for shape in cell["shapes"] if shape["recipe"] is not None]
    needs = [int(shape["predicted_bytes"]) for shape in fitting or cell["shapes"]] or [0]
    trial_s = float(cell["epochs"]) * median(shape["epoch_s"] or 0.0 for shape in fitting) if fitting else None
    waiting = sum(bool(shape["beyond_share"]) for shape in fitting)
    shapes = len(cell["shapes"])
    same = tuple(Standing(int(s["job"]), str(s["status"]), int(s["trials"])) for s in cell.get("same", ()))
    return CellCost(trial_s, min(needs), max(needs), shapes, shapes - len(fitting), waiting, same)


def standing(cost: CellCost | None, trials: int) -> Standing | None:
    """The job that such an order would find, by the rule of `fts enqueue`; None: the cell is new."""
    there = cost.same if cost is not None else ()
    return min(there, key=lambda job: preference(job.status, job.trials, job.job, trials), default=None)


def trials_left(cost: CellCost, trials: int, pruner: str = "none") -> float:
    """How many trials would run, in unpruned ones: none for a cell that is there, the further ones of an extension."""
    there = standing(cost, trials)
    had = 0 if there is None else min(there.trials, trials)
    return float(trials - had) if pruner == "none" or trials == had else worth_of_pruned(trials, had)


def trials_to_run(plan: Preview, cells: Sequence[Cell], trials: int) -> int:
    """Of all cells together, without those that are there."""
    return round(sum(trials_left(cost, trials) if (cost := plan.cells.get(cell)) else trials for cell in cells))


def became(plan: Preview, cells: Sequence[Cell], trials: int) -> str:
    """2 new; extends 2M/h1 (job 3) from 50 to 75 trials; there already: 20M/h1 (done)."""
    found = {cell: standing(plan.cells.get(cell), trials) for cell in cells}
    new = sum(there is None for there in found.values())
    more = [f"{b}/h{h} (job {t.job}) from {t.trials}" for (b, h), t in found.items() if t and t.trials < trials]
    same = [f"{b}/h{h} ({t.status})" for (b, h), t in found.items() if t and t.trials >= trials]
    told = [formatting.count(new, "new cell")] if new else []
    told += [f"extends {', '.join(more)} to {formatting.count(trials, 'trial')}"] if more else []
    told += [f"already there: {', '.join(same)}"] if same else []
    return "; ".join(told)


def time_of(plan: Preview, cells: Sequence[Cell], trials: int, pruner: str = "none") -> str:
    """How long the new part of an order takes, and for which cells nobody can tell."""
    known = [plan.cells[cell] for cell in cells if cell in plan.cells]
    left = [(cost.trial_s, trials_left(cost, trials, pruner)) for cost in known]
    seconds = [trial_s * count for trial_s, count in left if trial_s is not None]
    unknown = len(cells) - len(seconds)
    more = f", and {formatting.count(unknown, 'cell')} of unknown duration" if unknown else ""
    if not more and not sum(seconds):
        return "nothing to run"
    return f"about {formatting.spell(sum(seconds) / plan.slots)} on {formatting.count(plan.slots, 'slot')}{more}"


def sentences(plan: Preview, cells: Sequence[Cell], trials: int, pruner: str = "none") -> list[str]:
    """What is new, time, memory by size, and what does not fit, for the chosen cells."""
    if not cells:
        return ["no cell is chosen"]
    known = [(cell, plan.cells[cell]) for cell in cells if cell in plan.cells]
    said = [
        became(plan, cells, trials),
        f"time: {time_of(plan, cells, trials, pruner)}",
        f"  estimated from {plan.source}",
    ]
    said.append(f"memory, {formatting.size(plan.share)} for each slot: {_by_budget(known)}")
    for budget in dict.fromkeys(budget for (budget, _), _ in known):
        costs = [cost for (own, _), cost in known if own == budget]
        large, waiting, shapes = (max(getattr(c, name) for c in costs) for name in ("too_large", "waiting", "shapes"))
        if large:
            said.append(f"  {budget}: {large} of {shapes} architectures do not fit this machine")
        if waiting:
            said.append(f"  {budget}: {waiting} of {shapes} wait until other trials free their memory")
    return said


def _by_budget(known: Sequence[tuple[Cell, CellCost]]) -> str:
    spans: dict[str, tuple[int, int]] = {}
    for (budget, _), cost in known:
        low, high = spans.get(budget, (cost.low, cost.high))
        spans[budget] = min(low, cost.low), max(high, cost.high)
    return ", ".join(f"{budget} {span(*both)}" for budget, both in spans.items())


def span(low: int, high: int) -> str:
    """1.0 to 3.1 GB."""
    first, last = formatting.size(low), formatting.size(high)
    if first == last:
        return first
    unit = last.split()[-1]
    return f"{first.removesuffix(' ' + unit)} to {last}"
