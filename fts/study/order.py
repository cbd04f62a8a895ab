"""What the monitor puts in line: cells, trials and settings, as the words of `fts enqueue`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fts.study.choices import BUDGETS, HORIZONS, usual_data

if TYPE_CHECKING:
    from fts.state.values import Job
    from fts.study.preview import Cell, SearchSettings


@dataclass(frozen=True)
class Order:
    """What is to be put in line."""

    cells: tuple[Cell, ...]
    trials: int
    settings: SearchSettings

    def calls(self) -> list[tuple[str, ...]]:
        """Words after `fts enqueue`, one call per set of horizons: a full matrix is one call."""
        by_budget: dict[str, list[int]] = {}
        for budget, horizon in self.cells:
            by_budget.setdefault(budget, []).append(horizon)
        groups: dict[tuple[int, ...], list[str]] = {}
        for budget, horizons in by_budget.items():
            groups.setdefault(tuple(sorted(horizons)), []).append(budget)
        return [
            (
                "--matrix", "--budgets", ",".join(budgets), "--horizons", ",".join(map(str, horizons)),
                "--trials", str(self.trials), *self.settings.words(),
            )
            for horizons, budgets in groups.items()
        ]  # fmt: skip


def states_of(jobs: Iterable[Job], settings: SearchSettings, data: str | None) -> dict[Cell, str]:
    """The state of each cell that has a job: one of another task, tier or data set is another cell.

    Where `data` is None, nobody knows yet which data set is meant, and each counts.
    """
    return {(job.budget, job.horizon): str(job.status) for job in jobs if _is_alike(job, settings, data)}


def _is_alike(job: Job, settings: SearchSettings, data: str | None) -> bool:
    if (job.kind, job.task, job.tier) != ("cell", settings.task, settings.tier) or job.spec.get("cv"):
        return False
    return data in (None, job.spec.get("dataset"))


def first_choice(there: Iterable[Cell]) -> set[Cell]:
    """The missing cells of the smallest size of the matrix that is not complete; `tiny` is for tests."""
    for budget in BUDGETS:
        if missing := {(budget, h) for h in HORIZONS} - set(there):
            return missing
    return set()


def data_choices(names: Sequence[str], tier: str) -> list[str | None]:
    """What --data may be, the usual one (None: it need not be named) first."""
    usual = usual_data(names, tier)
    others: list[str | None] = [name for name in names if name != usual]
    return others if names and usual is None else [None, *others]


def named(cells: Sequence[Cell]) -> str:
    """2M/h1 h3 h5, 20M/h1."""
    by_budget: dict[str, list[str]] = {}
    for budget, horizon in cells:
        by_budget.setdefault(budget, []).append(f"h{horizon}")
    return ", ".join(f"{budget}/{' '.join(horizons)}" for budget, horizons in by_budget.items())


def step(ladder: Sequence[int], value: int, direction: int) -> int:
    """The next rung up or down, also from between two."""
    if direction > 0:
        return next((rung for rung in ladder if rung > value), max(value, ladder[-1]))
    return next((rung for rung in reversed(ladder) if rung < value), min(value, ladder[0]))
