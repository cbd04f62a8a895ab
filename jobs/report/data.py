"""Reads the data of the report: the cells of one study with their trials, curves, space, time and energy."""

from __future__ import annotations

import math
from dataclasses import field
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.records import columns
from fts.jobs.records.energy import energies, total
from fts.jobs.records.results import newer_of, spent
from fts.jobs.records.searches import Searches, begun_cells
from fts.jobs.records.trial_roles import Replicates, baseline_of, replicates_of, role_of, search_of
from fts.jobs.status import naming
from fts.state import queries
from fts.state.errors import UnreadableHistory
from fts.state.pareto_front import best_of
from fts.state.values import JobStatus, TrialStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fts.jobs.status.declared import Declared
    from fts.state.db import Database
    from fts.state.values import Curve, Direction, Job, Trial

INFEASIBLE = "infeasible"  # badge of a trial that violates a constraint
MOST_CURVES = 200  # trials per cell with steps for the charts and the pruning audit


@dataclass(frozen=True)
class CellReport:
    """One cell with its data for the report."""

    job: Job
    name: str
    trials: tuple[Trial, ...]  # of the search
    best: Trial | None
    replicates: Replicates | None
    baseline: Trial | None
    curves: Mapping[int, Mapping[int, float]]  # number -> step -> value
    space: Mapping[str, Mapping[str, Any]]  # parameter -> distribution
    worked: Mapping[int, float]  # trial number -> seconds of work, with replicates and baselines
    energy_wh: float | None
    newer: str | None  # waiting or running searches of the same cell
    failed_extra: tuple[Trial, ...] = ()  # failed replicates and baselines

    @property
    def seconds(self) -> float:
        return sum(self.worked.values())

    @property
    def metric(self) -> str:
        return self.job.metric

    @property
    def direction(self) -> Direction:
        return self.job.direction

    @property
    def complete(self) -> list[Trial]:
        """The search's complete trials with a finite, ranked value, by number."""
        return [t for t in self.trials if t.status is TrialStatus.COMPLETE and is_finite(t.value) and t.is_ranked]

    def key(self, value: float) -> float:
        """Returns a sort key: smaller is better."""
        return self.direction.key(value)

    @property
    def ended(self) -> int:
        """Number of complete trials of the search, with those that violate a constraint."""
        return sum(trial.status is TrialStatus.COMPLETE for trial in self.trials)

    @property
    def invalid(self) -> int:
        """Number of complete trials that violate a constraint."""
        return sum(trial.status is TrialStatus.COMPLETE and INFEASIBLE in trial.badges for trial in self.trials)

    @property
    def goals(self) -> Mapping[str, Direction]:
        """Metric -> direction if there are several goals, the first goal first; else empty."""
        return self.job.goals if len(self.job.goals) > 1 else {}


@dataclass(frozen=True)
class StudyReport:
    """One study with its data for the report."""

    name: str
    declared: Declared
    cells: tuple[CellReport, ...]
    axes: Mapping[str, tuple[Any, ...]]  # name -> values that occur, in order
    others: int = 0  # jobs of the study that the page does not show: older searches
    source: str = ""
    made_at: str = ""
    folder_of: Mapping[tuple[int, int], Any] = field(default_factory=dict)  # job, trial -> its folder

    @property
    def with_result(self) -> list[CellReport]:
        return [cell for cell in self.cells if cell.best is not None]

    @property
    def step(self) -> str:
        return self.declared.step

    def label(self, axis: str) -> str:
        return next((one.label for one in self.declared.axes if one.name == axis and one.label), axis)


def study_report(db: Database, places: Any, name: str, made_at: str = "") -> StudyReport:
    """Reads everything about one study in one transaction."""
    from fts.jobs.api.spec import trial_folder  # here, not above: only this function needs it

    with db.read():
        every = queries.jobs(db)
        of_study = [job for job in every if job.study == name]
        shown = sorted(begun_cells(of_study), key=lambda job: job.id)
        record = queries.studies(db).get(name)
        measured = energies(db)
        read = [
            (job, queries.trials(db, job.id), curves_of(db, job), queries.attempts_by_trial(db, job.id))
            for job in shown
        ]
    declared = columns.declared(name, record, of_study)
    cells, searches = [], Searches(every)
    folders = {}
    for job, trials, curves, worked in read:
        seconds = spent(trials, worked)
        best = best_of(job, trials)
        baseline = baseline_of(trials)
        again = replicates_of(best, trials)
        for trial in (best, baseline):
            if trial is not None:
                folders[job.id, trial.number] = trial_folder(places.outputs, job.experiment, job.id, trial.number)
        cells.append(
            CellReport(
                job,
                naming.cell_name(job),
                tuple(search_of(trials)),
                best,
                again,
                baseline,
                {curve.number: curve.epochs for curve in chosen(curves, best)},
                space_of(job, curves),
                {trial.number: seconds[trial.id] for trial in trials},
                total(measured, trials, seconds),
                newer_of(searches, job),
                tuple(t for t in trials if role_of(t) is not None and t.status is TrialStatus.FAILED),
            )
        )
    cells.sort(key=lambda cell: (declared.place(cell.job), cell.job.id))
    return StudyReport(
        name,
        declared,
        tuple(cells),
        axes_of(cells, declared),
        others=sum(job.status is not JobStatus.CANCELLED for job in of_study) - len(cells),
        source=f"database {places.db.name}, study {name}",
        made_at=made_at,
        folder_of=folders,
    )


def curves_of(db: Database, job: Job) -> tuple[Curve, ...]:
    """Returns the curves of a job; () if a row of its trials is unreadable, which `fts doctor` reports."""
    try:
        return queries.curves(db, job.id)
    except UnreadableHistory:
        return ()


def chosen(curves: Sequence[Curve], best: Trial | None) -> list[Curve]:
    """Returns the curves of the latest trials with steps, and of the best one."""
    with_steps = [curve for curve in curves if len(curve.epochs) > 1]
    latest = with_steps[-MOST_CURVES:]
    return [*latest, *(c for c in with_steps[:-MOST_CURVES] if best is not None and c.number == best.number)]


def space_of(job: Job, curves: Sequence[Curve]) -> dict[str, dict[str, Any]]:
    """Returns the declared space, else the latest distribution that trials drew each parameter from."""
    declared = job.spec.get("space")
    if isinstance(declared, dict):
        return {name: value for name, value in declared.items() if isinstance(value, dict)}
    found: dict[str, dict[str, Any]] = {}
    for curve in curves:
        found |= {name: one for name, one in curve.distributions.items() if isinstance(one, dict)}
    return found


def axes_of(cells: Sequence[CellReport], declared: Declared) -> dict[str, tuple[Any, ...]]:
    """Returns the axes of these cells, with the values that occur."""
    names = dict.fromkeys([*(axis.name for axis in declared.axes), *(name for c in cells for name in c.job.labels)])
    found = {}
    for name in names:
        known = next((axis.values for axis in declared.axes if axis.name == name), ())
        there = [cell.job.labels[name] for cell in cells if name in cell.job.labels]
        values = [value for value in known if value in there]
        values += [value for value in dict.fromkeys(there) if value not in values]
        if values:
            found[name] = tuple(values)
    return found


def is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
