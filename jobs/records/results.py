"""The results of jobs: a table for people, all digits for programs, and the rows of a study's summary file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.names import axis_columns
from fts.jobs.api.study import Table
from fts.jobs.records import columns
from fts.jobs.records.energy import energies, total
from fts.jobs.records.searches import COMING, Searches
from fts.jobs.records.text_table import markdown
from fts.jobs.records.trial_roles import baseline_of, replicates_of
from fts.jobs.status import formatting, naming, trial_facts
from fts.jobs.status.declared import ARROWS
from fts.state import queries
from fts.state.files import csv_text
from fts.state.pareto_front import first_of, front
from fts.state.values import JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fts.jobs.records.trial_roles import Replicates
    from fts.jobs.status.declared import Declared
    from fts.state.db import Database
    from fts.state.values import Attempt, Job, StudyRecord, Trial

HEAD = ("timestamp", "study", "experiment", "cell")  # columns before the axes
BEHIND = (  # columns after the axes
    "metric", "direction", "value", "best_trial", "best_step", "trials_complete", "trials_pruned", "trials_failed",
    "trials_wanted", "status", "cause", "minutes", "energy_wh", "code_commit", "job",
)  # fmt: skip

SOMETIMES = ("front", "other_seeds", "other_seeds_mean", "other_seeds_low", "other_seeds_high", "baseline", "note")
TAKEN = frozenset((*HEAD, *BEHIND, *SOMETIMES))


def tables(db: Database, jobs: Sequence[Job]) -> list[tuple[str, Table]]:
    """Returns (study, table of results) for each study of these jobs."""
    names = dict.fromkeys(job.study for job in sorted(jobs, key=lambda job: job.id))
    found = []
    for name in names:
        of_study = [job for job in jobs if job.study == name]
        found.append((name, columns.study_of(of_study[0]).results(db, of_study) or table(db, of_study)))
    return found


def table(db: Database, jobs: Sequence[Job]) -> Table:
    """Returns a study's table: cell, axes, trials, best value, best trial, its parameters, time, energy, note."""
    searches = Searches(queries.jobs(db))
    study = columns.declared(jobs[0].study, queries.studies(db).get(jobs[0].study))
    measured = energies(db)
    shown = sorted((job for job in jobs if job.status is not JobStatus.CANCELLED), key=lambda job: job.id)
    found = []
    for job in shown:
        trials = tuple(queries.shown_trials(db, job.id))
        seconds = spent_until_now(db, job, trials)
        energy = total(measured, trials, seconds)
        newer, other = newer_of(searches, job), other_axes(searches, job)
        best = front(job, trials)
        found.append(JobResults(job, naming.cell_name(job), trials, best, sum(seconds.values()), energy, newer, other))
    records = [each.record() for each in found]
    head, lines = columns.aligned(records)
    laid = layout(found, study)
    alike = len({each.name for each in found}) < len(found)  # two searches of one cell differ by their job id only
    return Table(
        tuple(name for name, _, _ in laid),
        [[texts[n] or "—" for _, _, texts in laid] for n in range(len(found))],
        tuple(name for name, right, _ in laid if right),
        records,
        csv_text(head, [["" if value is None else value for value in line] for line in lines]),
        least=("Wh", "took", "state") if alike else ("Wh", "job", "took", "state"),
    )


@dataclass(frozen=True)
class JobResults:
    """One job and its results."""

    job: Job
    name: str
    trials: Sequence[Trial]
    front: tuple[Trial, ...]  # the best trial; with several goals the Pareto front
    seconds: float
    energy_wh: float | None
    newer: str | None  # `job 5 is queued`: waiting or running searches of the same cell
    other_axes: str | None  # `job 5 has width instead of size`: the study's axes have changed

    @property
    def best(self) -> Trial | None:
        return first_of(self.front)

    @property
    def again(self) -> Replicates | None:
        return replicates_of(self.best, self.trials)

    @property
    def baseline(self) -> float | None:
        trial = baseline_of(self.trials)
        return None if trial is None else trial.value

    @property
    def note(self) -> str:
        notes = [f"older search: {self.newer}"] if self.newer else []
        notes += [f"earlier axes: {self.other_axes}"] if self.other_axes else []
        if self.best is None and self.job.status in formatting.ENDED:
            notes.append(formatting.without_best(self.job))
        if self.best is not None and self.job.status is JobStatus.FAILED:
            notes.append(f"what it found before it failed ({self.job.cause})")
        return ", ".join([*notes, *(badge for badge in (self.best.badges if self.best else ()) if badge != "reused")])

    def record(self) -> dict[str, Any]:
        return record(self.job, self.trials, self.seconds, self.energy_wh) | {"note": self.note or None}


TextColumn = tuple[str, bool, list[str | None]]  # heading, whether it holds numbers, one text per job


def layout(found: Sequence[JobResults], study: Declared) -> list[TextColumn]:
    """Returns the columns of the table; omits a column that is empty for all jobs."""
    bests = [each.best for each in found]
    metrics = list(dict.fromkeys(each.job.metric for each in found))
    laid: list[TextColumn] = [
        ("job", True, [str(each.job.id) for each in found]),
        ("cell", False, [each.name for each in found]),
    ]
    axes = axes_of([each.job for each in found], study)
    if len(axes) > 1:  # with one axis, the cell's name is its value
        labels = {axis.name: axis.label for axis in study.axes}
        laid += [
            (labels.get(name) or name, False, [_plain(each.job.labels.get(name)) for each in found]) for name in axes
        ]
    laid += [
        ("state", False, [str(each.job.status) for each in found]),
        ("trials", False, [_trials(each.job) for each in found]),
    ]
    for name in metrics:
        declared = columns.metric_of(study, name)
        of_metric = [each.job.metric == name for each in found]
        job = next(each.job for each in found if each.job.metric == name)
        texts = [
            trial_facts.formatted(best.value, declared.format) if best is not None and mine else None
            for best, mine in zip(bests, of_metric, strict=True)
        ]
        laid.append((columns.heading(declared.label or name, job), True, texts))
    for name in dict.fromkeys(name for each in found for name in list(each.job.goals)[1:] if name not in metrics):
        job = next(each.job for each in found if name in each.job.goals)
        spec = columns.metric_of(study, name).format
        values = [None if best is None else trial_facts.metrics_of(best).get(name) for best in bests]
        texts = [trial_facts.formatted(value, spec) for value in values]
        laid.append((f"{name} {ARROWS[job.goals[name]]}", True, texts))
    laid.append(("best", False, [None if best is None else _which(best) for best in bests]))
    fronts = [str(len(each.front)) if len(each.job.goals) > 1 else None for each in found]
    laid.append(("front", True, fronts))
    won = [best for best in bests if best is not None]
    every = [trial for each in found for trial in each.trials]
    for name in columns.main_parameters(every):
        texts = [None if best is None else trial_facts.drawn(best.params, name) for best in bests]
        laid.append((name, True, texts if any(name in best.params for best in won) else [None] * len(bests)))
    laid += [
        ("other seeds", True, [None if each.again is None else _again(each.again) for each in found]),
        ("baseline", True, [None if each.baseline is None else trial_facts.number(each.baseline) for each in found]),
        ("took", True, [formatting.spell(each.seconds) if each.trials else None for each in found]),
        ("Wh", True, [None if each.energy_wh is None else watt_hours(each.energy_wh) for each in found]),
        ("note", False, [each.note or None for each in found]),
    ]
    return [(name, right, texts) for name, right, texts in laid if any(texts)]


def axes_of(jobs: Iterable[Job], study: Declared) -> list[str]:
    """Returns the names of the axes: declared ones first, then those that only jobs have."""
    used = dict.fromkeys(name for job in jobs for name in job.labels)
    known = [axis.name for axis in study.axes]
    return [*(name for name in known if name in used), *(name for name in used if name not in known)]


def _plain(value: Any) -> str | None:
    return None if value is None else str(value)


def _which(best: Trial) -> str:
    return f"t{best.number}"


def _trials(job: Job) -> str:
    return f"{job.trials_complete}/{job.trials_pruned}/{job.trials_failed} of {job.trials_wanted}"


def watt_hours(energy: float) -> str:
    """Formats watt hours: `0.42`, `18.3`, `240`."""
    return f"{energy:.2f}" if energy < 1 else f"{energy:.1f}" if energy < 100 else f"{energy:.0f}"


def _again(again: Replicates) -> str:
    """Returns `0.0325 ± 0.012 (3)`: mean, half of the 95 % interval, number of trials."""
    interval = again.interval
    half = f" ± {formatting.number((interval.high - interval.low) / 2)}" if interval.is_known else ""
    return f"{trial_facts.number(interval.value)}{half} ({interval.n})"


def newer_of(searches: Searches, cell: Job) -> str | None:
    """Returns `job 5 is queued, job 6 runs`: waiting or running searches that will replace this one's results."""
    coming = [job for job in searches.newer(cell) if job.status in COMING] if cell.kind == "cell" else []
    return ", ".join(f"job {job.id} {COMING[job.status]}" for job in coming) or None


def other_axes(searches: Searches, cell: Job) -> str | None:
    """Returns `job 5 has width instead of size`: the latest job of this name on other axes."""
    other = searches.on_other_axes(cell) if cell.kind == "cell" else None
    if other is None:
        return None
    new = ", ".join(name for name in other.labels if name not in cell.labels)
    old = ", ".join(name for name in cell.labels if name not in other.labels)
    return f"job {other.id} has {f'{new} instead of {old}' if new and old else new or f'no {old}'}"


# ---------------------------------------------------------------- time


def spent(
    trials: Iterable[Trial], worked: Mapping[int, Sequence[Attempt]], until: float | None = None
) -> dict[int, float]:
    """Returns seconds by trial id: those of its epochs, or without epoch times those of its processes.

    A process that still runs counts up to the time `until`; without `until` it does not count.
    """
    return {trial.id: trial.train_seconds or _ran(trial, worked.get(trial.id, ()), until) for trial in trials}


def _ran(trial: Trial, attempts: Sequence[Attempt], until: float | None) -> float:
    if trial.reused_from is not None:
        return 0.0
    spans = ((one.began_at, until if one.ended_at is None else one.ended_at) for one in attempts)
    return sum(max(0.0, end - began) for began, end in spans if end is not None)


def spent_until_now(db: Database, job: Job, trials: Iterable[Trial]) -> dict[int, float]:
    """Returns seconds by trial id until now. A silent worker counts as working until its lease ends."""
    until = None if job.lease_until is None else min(db.now(), job.lease_until)
    return spent(trials, queries.attempts_by_trial(db, job.id), until)


# ---------------------------------------------------------------- the summary file


def head_of(jobs: Sequence[Job], declared: Mapping[str, StudyRecord]) -> list[str]:
    """Returns the columns that every row of a study's summary file has."""
    study = columns.declared(jobs[0].study, declared.get(jobs[0].study))
    return [*HEAD, *axis_columns(dict.fromkeys(axes_of(jobs, study)), TAKEN), *BEHIND]


def row_of(db: Database, job: Job, trials: Sequence[Trial], measured: Mapping[int, float]) -> dict[str, Any]:
    """Returns one row of the summary file by column, without missing values."""
    seconds = spent(trials, queries.attempts_by_trial(db, job.id))
    found = record(job, trials, sum(seconds.values()), total(measured, trials, seconds))
    return {name: value for name, value in found.items() if value is not None}


def record(job: Job, trials: Sequence[Trial], seconds: float, energy_wh: float | None) -> dict[str, Any]:
    """Returns one job as a flat row with all digits."""
    found = front(job, trials)
    best = first_of(found)
    row: dict[str, Any] = {"timestamp": formatting.iso(job.ended_at), "study": job.study, "experiment": job.experiment}
    row |= {"cell": job.cell} | axis_columns(job.labels, TAKEN)
    row |= {
        "metric": job.metric, "direction": str(job.direction), "value": best and best.value,
        "best_trial": best and best.number, "best_step": best and best.best_epoch,
        "trials_complete": job.trials_complete, "trials_pruned": job.trials_pruned, "trials_failed": job.trials_failed,
        "trials_wanted": job.trials_wanted, "status": str(job.status), "cause": job.cause and str(job.cause),
        "minutes": round(seconds / 60, 4), "energy_wh": None if energy_wh is None else round(energy_wh, 3),
        "code_commit": best and best.code_commit, "job": job.id,
    }  # fmt: skip
    if len(job.goals) > 1:
        row["front"] = " ".join(f"t{trial.number}" for trial in found)
    if best is not None:
        row |= {f"params.{name}": value for name, value in best.params.items()}
        row |= {f"metrics.{name}": value for name, value in trial_facts.metrics_of(best).items()}
        row |= {f"facts.{name}": value for name, value in trial_facts.facts_of(best).items()}
    if (again := replicates_of(best, trials)) is not None:
        row |= {"other_seeds": again.interval.n, "other_seeds_mean": again.interval.value}
        if again.interval.is_known:
            row |= {"other_seeds_low": again.interval.low, "other_seeds_high": again.interval.high}
    if (baseline := baseline_of(trials)) is not None:
        row["baseline"] = baseline.value
    return row


def as_markdown(shown: Table) -> str:
    return "\n".join(markdown(shown.columns, shown.rows, shown.right))
