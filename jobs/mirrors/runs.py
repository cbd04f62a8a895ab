"""Builds the runs that a mirror shows, as pure functions of the rows of trials: equal rows give equal runs.

The first search of a cell keeps its name; later ones with the same name get the suffix `_job7`. So a name that a mirror
has shown never changes its meaning.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import field
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.spec import NAME
from fts.jobs.records import columns
from fts.jobs.records.exports import numbered_name
from fts.jobs.status.sanitize import clean_value
from fts.jobs.status.trial_facts import facts_of, metrics_of
from fts.state import queries
from fts.state.values import TrialStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fts.jobs.status.declared import Declared
    from fts.state.db import Database
    from fts.state.values import Attempt, Epoch, Job, Trial

FINAL = "final"  # prefix of the name of a final result
ENDED = (TrialStatus.COMPLETE, TrialStatus.PRUNED, TrialStatus.FAILED)


@dataclass(frozen=True)
class Point:
    """One report."""

    step: int
    at: float  # seconds since the epoch
    values: dict[str, float]  # the study's metric first


@dataclass(frozen=True)
class MirroredCell:
    """One search, for which runs are shown."""

    study: str
    born: float  # when the study was first enqueued; distinguishes studies with the same name
    name: str  # unique within its study
    shown: str  # mnist/S
    job: int
    goals: dict[str, str]  # metric -> minimize or maximize, the main one first
    deciding: str  # the metric of a step's number without a name
    labels: dict[str, Any]
    status: str = field(default="", compare=False)  # current status of the job; its runs do not show it
    best: int | None = field(default=None, compare=False)  # number of the best trial
    best_value: float | None = field(default=None, compare=False)
    started_at: float = field(default=0.0, compare=False)
    ended_at: float | None = field(default=None, compare=False)

    @property
    def key(self) -> str:
        """An id of the search that is the same in every copy of its database."""
        return md5([self.study, round(self.born, 3), self.name, self.job])


@dataclass(frozen=True)
class Run:
    """The current state of one trial."""

    cell: MirroredCell
    number: int
    status: TrialStatus
    started_at: float
    ended_at: float | None
    params: dict[str, Any]  # axes and parameters
    points: tuple[Point, ...]  # by step
    results: dict[str, float]  # final values
    notes: dict[str, str]  # everything else: status, cause, facts, attempts

    @property
    def name(self) -> str:
        return f"t{self.number:04d}"

    @property
    def key(self) -> str:
        return f"{self.cell.key}-{self.number}"

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    @property
    def last_step(self) -> int:
        return self.points[-1].step if self.points else 0

    def digest(self) -> str:
        """Returns a digest of everything that a mirror shows."""
        points = [[point.step, point.at, point.values] for point in self.points]
        cell = [self.cell.shown, self.cell.goals]
        ends = [self.status, self.started_at, self.ended_at]
        return md5([self.key, cell, ends, self.params, points, self.results, self.notes])


def md5(value: Any) -> str:
    return hashlib.md5(json.dumps(value, sort_keys=True, default=str).encode(), usedforsecurity=False).hexdigest()


def cells(db: Database, jobs: Sequence[Job]) -> dict[int, MirroredCell]:
    """Returns the cells by job, without jobs with a name that cannot be a folder's, as after manual changes."""
    declared = queries.studies(db)
    born: dict[str, float] = {}
    taken: dict[tuple[str, str], int] = {}
    found: dict[int, MirroredCell] = {}
    for job in sorted(jobs, key=lambda job: job.id):
        if not (NAME.fullmatch(job.study) and NAME.fullmatch(job.experiment)):
            continue
        record = declared.get(job.study)
        born.setdefault(job.study, job.created_at if record is None else record.created_at)
        first = taken.setdefault((job.study, job.experiment), job.id)
        name = job.experiment if first == job.id else numbered_name(job)
        found[job.id] = MirroredCell(
            job.study, born[job.study], name, job.cell, job.id, {one: str(goal) for one, goal in job.goals.items()},
            job.deciding_metric,
            job.labels, str(job.status), job.best_trial, job.best_value, job.started_at or job.created_at, job.ended_at,
        )  # fmt: skip
    return found


def run_of(
    cell: MirroredCell, trial: Trial, epochs: Sequence[Epoch], attempts: Sequence[Attempt], study: Declared
) -> Run:
    """Returns the run of one trial from its rows."""
    known = [metric.name for metric in study.metrics if metric.name != "value"]
    params = dict(trial.params)
    params |= {name if name not in params else f"axis.{name}": value for name, value in cell.labels.items()}
    points = [Point(epoch.epoch, epoch.at, numbers(epoch, cell.deciding, known)) for epoch in epochs]
    return clean_value(
        Run(
            cell, trial.number, trial.status, trial.started_at, trial.ended_at, params,
            tuple(point for point in points if point.values), results_of(trial), notes_of(cell, trial, attempts),
        )
    )  # fmt: skip


def numbers(epoch: Epoch, metric: str, known: Iterable[str]) -> dict[str, float]:
    """Returns the numbers reported at a step: the deciding metric first, then declared metrics, then the others."""
    found = {metric: epoch.value} | {name: epoch.number(name) for name in known if name != metric}
    found |= {name: value for name, value in epoch.metrics.items() if name != metric or epoch.value is None}
    return _numbers(found)


def results_of(trial: Trial) -> dict[str, float]:
    """Returns the final values of an ended trial."""
    if trial.status not in ENDED:
        return {}
    return _numbers({trial.metric: trial.value} | {k: v for k, v in metrics_of(trial).items() if k != trial.metric})


def _numbers(found: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    }


def notes_of(cell: MirroredCell, trial: Trial, attempts: Sequence[Attempt]) -> dict[str, str]:
    """Returns status, cause, facts and attempts as text."""
    goals = ", ".join(f"{goal} {name}" for name, goal in cell.goals.items())
    facts = {f"facts.{name}": _text(value) for name, value in facts_of(trial).items()}
    one_by_one = "; ".join(f"{attempt.n}: {attempt.host or '?'}, {attempt.how or 'not ended'}" for attempt in attempts)
    notes: dict[str, Any] = {
        "study": cell.study, "cell": cell.shown, "job": cell.job, "trial": trial.number, "goal": goals,
        "status": str(trial.status), "cause": trial.cause and str(trial.cause), "message": trial.message,
        "best_step": trial.best_epoch, "badges": " ".join(trial.badges), "attempts": one_by_one, "seed": trial.seed,
        "host": trial.host, "device": trial.device, "peak_bytes": trial.peak_bytes, "code_commit": trial.code_commit,
    }  # fmt: skip
    return {name: _text(value) for name, value in notes.items() if value not in (None, "")} | facts


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def read(db: Database, cell: MirroredCell, trial: Trial, study: Declared) -> Run:
    """Reads one trial with all its reports in one transaction."""
    with db.read():
        now = queries.trial_by_id(db, trial.id)
        return run_of(cell, now, queries.epochs(db, trial.id), queries.attempts(db, trial.id), study)


def declared_of(db: Database, names: Iterable[str]) -> Mapping[str, Declared]:
    known = queries.studies(db)
    return {name: columns.declared(name, known.get(name)) for name in names}
