"""The columns of a study's trials, from its declaration: for tables, CSV, JSON, exported files and frames.

A fact or metric that a study declares or its trials report needs no other list. A study may name the columns of its
tables itself (fts.jobs.api.study.Study.columns). Axes, metrics and facts come from its stored declaration, so a reader
needs none of its code.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fts.jobs.api import load
from fts.jobs.api.names import axis_columns
from fts.jobs.api.study import Column, Fact, Metric, Study
from fts.jobs.search.importance import importance
from fts.jobs.status.declared import ARROWS, Declared, read
from fts.jobs.status.trial_facts import WITH_COLUMN, drawn, facts_of, formatted, metrics_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fts.state.values import Epoch, Job, StudyRecord, Trial

TABLE, CSV, JSON, FRAME = "table", "csv", "json", "frame"  # where a fact may be shown
PARAMETERS = 4  # most columns for parameters in a table: the most important ones
METRICS = 3  # most columns for metrics in a table, besides the optimized one


def declared(name: str, record: StudyRecord | None, jobs: Sequence[Job] = ()) -> Declared:
    """Returns a study's declaration, extended by what these jobs use beyond it."""
    return read(name, record, jobs)


def metric_of(study: Declared, name: str) -> Metric:
    """Returns the declared metric, or the default for an undeclared one."""
    return study.metric(name) or Metric(name)


def study_of(job: Job) -> Study:
    """Returns a job's study; the default study if its package is broken or missing."""
    try:
        return load.study(job.study)
    except load.UnknownStudy:
        return Study()


def has_own(job: Job) -> bool:
    """Whether its study names the columns of its tables itself."""
    return bool(study_of(job).columns)


# ---------------------------------------------------------------- values


def record(job: Job, trial: Trial, study: Declared, seconds: float | None, where: str) -> dict[str, Any]:
    """Returns one trial as a flat row, with its parameters as params.NAME; `where`: CSV, JSON or FRAME."""
    row: dict[str, Any] = {
        "job": job.id, "study": job.study, "experiment": job.experiment, "cell": job.cell, "trial": trial.number,
        "status": str(trial.status), "metric": trial.metric, "direction": str(trial.direction), "value": trial.value,
        "best_step": trial.best_epoch, "last_value": trial.last_value, "steps": trial.epochs,
    }  # fmt: skip
    taken = {*row, *AFTER}
    axes = axis_columns(job.labels, taken)
    after: dict[str, Any] = {name: seconds if name == "seconds" else getattr(trial, name) for name in AFTER}
    after |= {"cause": trial.cause and str(trial.cause), "badges": " ".join(trial.badges)}
    shown = {name: value for name, value in facts_of(trial).items() if where in study.fact(name).shown}
    return (
        row
        | axes
        | {f"params.{name}": value for name, value in trial.params.items()}
        | {f"metrics.{name}": value for name, value in metrics_of(trial).items()}
        | {f"facts.{name}": value for name, value in shown.items()}
        | after
    )


def tree(job: Job, trial: Trial, study: Declared, seconds: float | None) -> dict[str, Any]:
    """Returns one trial as an object for JSON, with nested labels, params, metrics and facts."""
    flat = record(replace(job, labels={}), trial, study, seconds, JSON)
    grouped: dict[str, Any] = {"labels": job.labels, "params": trial.params, "metrics": metrics_of(trial)}
    grouped["facts"] = {name: v for name, v in facts_of(trial).items() if JSON in study.fact(name).shown}
    plain = {name: value for name, value in flat.items() if not name.startswith(GROUPS)}
    return plain | grouped | {"badges": list(trial.badges)}


def step_tree(epoch: Epoch, job: Job) -> dict[str, Any]:
    """Returns one step of a trial as an object for JSON."""
    named = {"metric": job.deciding_metric, "value": epoch.value, "metrics": epoch.metrics}
    return {"step": epoch.epoch, **named, "at": epoch.at}


def declared_facts(trial: Trial, study: Declared) -> dict[str, Any]:
    """Returns the declared facts without a database column, for the CSV of a study that names its columns itself."""
    named = (fact.name for fact in study.facts if CSV in fact.shown and fact.name not in WITH_COLUMN)
    return {name: "" if (value := facts_of(trial).get(name)) is None else value for name in named}


GROUPS = ("params.", "metrics.", "facts.")
AFTER = (  # last columns of a trial, after those that differ between studies
    "seconds", "cause", "message", "badges", "seed", "host", "device", "threads", "peak_bytes", "code_commit",
    "torch_version", "reused_from", "log_path", "started_at", "ended_at",
)  # fmt: skip


def aligned(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Returns the common columns of all rows, grouped by kind, and the rows with None for missing values."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = [name for name in names if not name.startswith(GROUPS) and name not in AFTER]
    grouped = [name for group in GROUPS for name in sorted(one for one in names if one.startswith(group))]
    ordered = [*head, *grouped, *(name for name in AFTER if name in names)]
    return ordered, [[_flat(row.get(name)) for name in ordered] for row in rows]


def _flat(value: Any) -> Any:
    """Converts objects and lists to JSON."""
    return json.dumps(value) if isinstance(value, dict | list) else value


# ---------------------------------------------------------------- tables


def of_jobs(jobs: Sequence[Job], studies: Mapping[str, StudyRecord]) -> list[Column]:
    """Returns the columns for axes in a list of jobs; none for a single axis, which is the cell's name."""
    found: dict[str, Column] = {}
    of_study: tuple[Column, ...] | None
    for name, job in {job.study: job for job in jobs}.items():
        of_study = study_of(job).columns.get("jobs")
        study = declared(name, studies.get(name))
        if of_study is None:
            axes = [*(axis.name for axis in study.axes), *job.labels]
            used = [
                axis for axis in dict.fromkeys(axes) if any(axis in one.labels for one in jobs if one.study == name)
            ]
            labels = {axis.name: axis.label for axis in study.axes}
            of_study = tuple(Column(labels.get(axis) or axis, axis, right=False) for axis in used)
            of_study = of_study if len(of_study) > 1 else ()
        found |= {column.field: column for column in of_study}
    return list(found.values())


def best_heading(jobs: Sequence[Job]) -> str:
    """Returns `best acc ↑`; `best` for several metrics, or a study with its own columns."""
    metrics = {(job.metric, job.direction) for job in jobs}
    return f"best {heading(jobs[0].metric, jobs[0])}" if len(metrics) == 1 and not has_own(jobs[0]) else "best"


def of_trials(job: Job, trials: Sequence[Trial], study: Declared) -> tuple[Column, ...]:
    """Returns the columns between a trial's state and its note."""
    of_study = study_of(job).columns.get("trials")
    if of_study is not None:
        named = {column.field for column in of_study}
        more = [fact for fact in _facts_in_table(study) if f"facts.{fact.name}" not in named]
        return (*of_study, *map(_column_of, more))
    metric = metric_of(study, job.metric)
    columns = [
        Column(heading(metric.label or job.metric, job), "value", metric.format),
        Column(f"best {study.step}", "best_epoch"),
        Column(f"{study.step}s", "epochs", "count"),
        *(Column(name, f"params.{name}", "drawn") for name in main_parameters(trials)),
        *(
            Column(metric_of(study, name).label or name, f"metrics.{name}", metric_of(study, name).format)
            for name in other_metrics(job.metric, [(trial.value, metrics_of(trial)) for trial in trials])[:METRICS]
        ),
        *map(_column_of, _facts_in_table(study)),
    ]
    return tuple(column for column in columns if any(_has_value(trial, column) for trial in trials))


def of_steps(job: Job, epochs: Sequence[Epoch], study: Declared) -> tuple[Column, ...]:
    """Returns the columns after the number of a step."""
    of_study = study_of(job).columns.get("steps")
    if of_study is not None:
        return of_study
    name = job.deciding_metric
    metric = metric_of(study, name)
    others = other_metrics(name, [(epoch.value, epoch.metrics) for epoch in epochs])
    return (
        Column(heading(metric.label or name, job, name), "value", metric.format),
        *(Column(metric_of(study, one).label or one, f"metrics.{one}", metric_of(study, one).format) for one in others),
    )


def _facts_in_table(study: Declared) -> list[Fact]:
    return [fact for fact in study.facts if TABLE in fact.shown]


def _column_of(fact: Fact) -> Column:
    label = (fact.label or fact.name) + (f" ({fact.unit})" if fact.unit else "")
    return Column(label, f"facts.{fact.name}", fact.format or "number")


def heading(label: str, job: Job, metric: str | None = None) -> str:
    """Returns `acc ↑`: the arrow points to better values of the metric, by default of the job's own."""
    return f"{label} {ARROWS[job.goals[metric or job.metric]]}"


def main_parameters(trials: Sequence[Trial], most: int = PARAMETERS) -> list[str]:
    """Returns the most important parameters first; then, and while importance is unknown, those drawn most often."""
    counts: dict[str, int] = {}
    for trial in trials:
        for name in trial.params:
            counts[name] = counts.get(name, 0) + 1
    often = sorted(counts, key=lambda name: (-counts[name], name))
    important = [each.name for each in importance(trials) if each.name in counts]
    return list(dict.fromkeys([*important, *often]))[:most]


def other_parameters(trials: Sequence[Trial]) -> list[str]:
    """Returns the parameters without a column in a table of trials."""
    every = main_parameters(trials, 10**9)
    return every[PARAMETERS:]


def other_metrics(main: str, rows: Sequence[tuple[float | None, Mapping[str, Any]]]) -> list[str]:
    """Returns the names of all metrics but the main one, in the order of their first report.

    `rows`: (value, metrics). Omits a metric that equals the value in every row: it is the same under another name.
    """
    names = dict.fromkeys(name for _, metrics in rows for name in metrics if name != main)
    return [name for name in names if any(metrics.get(name, value) != value for value, metrics in rows)]


def _has_value(trial: Trial, column: Column) -> bool:
    value = value_of(trial, column.field)
    return bool(value) if column.format == "count" else value is not None and value != ""


def value_of(row: Trial | Epoch, field: str) -> Any:
    """Returns a column's value for a trial or a step, or None; a pair for a column of two fields."""
    kind, dot, name = field.partition(".")
    if not dot:
        first, *second = field.split()  # only our own names, which contain no blanks
        return getattr(row, first) if not second else tuple(getattr(row, one) for one in (first, *second))
    if kind == "params":
        return row.params.get(name)  # type: ignore[union-attr]  # a step has none, and no column of it says so
    if kind == "facts":
        return facts_of(row).get(name)  # type: ignore[arg-type]
    return row.metrics.get(name) if hasattr(row, "metrics") else metrics_of(row).get(name)


def text_of(row: Trial | Epoch, column: Column) -> str | None:
    """Returns a table cell's text; None means a dash."""
    if column.format == "drawn":
        return drawn(row.params, column.field.partition(".")[2])  # type: ignore[union-attr]
    return formatted(value_of(row, column.field), column.format)
