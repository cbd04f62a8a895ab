"""Names jobs by their cells, for commands and the monitor; equal names get a suffix that makes them unique."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from fts.jobs.status.memoize import Once

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fts.state.values import Job, Trial


def cell_name(job: Job) -> str:
    """Returns the name that the study gave the cell when it was enqueued: `20M/h3`, `mnist/S`."""
    return job.cell or job.experiment


def trial_name(job: Job | None, number: int | None, architecture: str = "") -> str:
    """Returns `t12`; of a baseline job the name of the baseline, `logistic regression (last row)`, if it is known."""
    return architecture if architecture and job is not None and job.kind == "baseline" else f"t{number}"


def best_name(job: Job, trials: Iterable[Trial]) -> str:
    """Returns `t12` for a job's best trial; of a baseline job the name of the best baseline, if it is in `trials`."""
    there = trials if job.kind == "baseline" else ()
    found = next((t for t in there if t.job_id == job.id and t.number == job.best_trial), None)
    return trial_name(job, job.best_trial, found.architecture if found is not None else "")


def ticker_of(job: Job) -> str:
    """Returns SPX for a job on SPX.dataset.a25."""
    return str(job.spec.get("dataset", "")).partition(".dataset.")[0]


_JOBS = re.compile(r"\b[Jj]obs? (\d+(?:, \d+)*)\b(?: \([\w.-]+\))?")
_IS_JOB = re.compile(r" is job (\d+)\b")  # after an experiment: the change that enqueued it
_EXPERIMENT = r"(?P<name>\w[\w.-]*)"  # as state.transitions.base.NAME
_PLACES = re.compile(
    rf"""
    (?:^|(?<=do\ of\ ')|(?<=do\ ')|(?<=since\ \()|(?<=one,\ ))
      {_EXPERIMENT}(?=:\ |\ is\ job\ |\ on\ its\ test\ set|\ was\ evaluated)
    | (?:\b(?:trial\ \d+|best|front|test\ set)\ of|\btakes)\ {_EXPERIMENT.replace("name", "later")}(?=[\s:,;]|$)
    """,
    re.VERBOSE,
)  # where sentences of an event (also quoted by undo and redo) and questions of an action name an experiment


def name_cells(text: str, jobs: Sequence[Job], about: int | None = None) -> str:
    """Replaces jobs in a text by cell names: `job 7 (phase6a_200M_h1_...): paused` becomes `200M/h1: paused`.

    `phase6a_... is job 7` becomes `200M/h1 enqueued`. Unknown jobs keep their number. If several jobs belong to a named
    experiment, job `about` is preferred. Replaces an experiment only where our sentences name one: a study called `e`
    or `trial` leaves all other words as they are.
    """
    names = names_of(jobs)

    new: list[tuple[int, int, str]] = []  # start and end of a name in the text, and its replacement
    for found in _PLACES.finditer(text):
        start, end = found.span(found.lastgroup or 0)
        meant = [job.id for job in jobs if job.experiment == text[start:end]]
        queued = _IS_JOB.match(text, end)
        if queued is not None and int(queued[1]) in meant:
            new.append((start, queued.end(), f"{names[int(queued[1])]} enqueued"))
        elif meant:
            new.append((start, end, names[about if about in meant else meant[0]]))
    for found in _JOBS.finditer(text):
        ids = [int(number) for number in found[1].split(", ")]
        if all(number in names for number in ids):
            new.append((*found.span(), ", ".join(names[number] for number in ids)))
    parts, at = [], 0
    for start, end, name in sorted(new):  # all at once: a cell may be called `job 1`
        if start >= at:
            parts += [text[at:start], name]
            at = end
    return "".join((*parts, text[at:]))


def is_named(text: str, job: Job) -> bool:
    """Says whether a sentence of an event names its job, by number or by experiment."""
    if any(str(job.id) in found[1].split(", ") for found in _JOBS.finditer(text)):
        return True
    return any((found["name"] or found["later"]) == job.experiment for found in _PLACES.finditer(text))


def names_of(jobs: Sequence[Job]) -> dict[int, str]:
    """Returns cell names by job id, as `with_task`; equal ones get the job's number: `2M/h1#7`.

    Computed once per snapshot, because a screen asks in every line.
    """
    if not isinstance(jobs, tuple):  # a list may change
        return _names_of(jobs)
    return _named((jobs,), None, lambda: _names_of(jobs))


_named: Once[dict[int, str]] = Once()


def _names_of(jobs: Sequence[Job]) -> dict[int, str]:
    plain = with_task(jobs)
    counts = Counter(plain.values())
    return {number: name + (f"#{number}" if counts[name] > 1 else "") for number, name in plain.items()}


def with_task(jobs: Sequence[Job]) -> dict[int, str]:
    """Returns cell names by job id. A name that several studies have gets the study, `digits/mnist/S`.

    A name that several tasks have gets the task: `2M/h1 2pct`.
    """
    tasks: dict[str, set[str]] = {}
    studies: dict[str, set[str]] = {}
    for job in jobs:
        tasks.setdefault(cell_name(job), set()).add(job.task)
        studies.setdefault(cell_name(job), set()).add(job.study)
    return {job.id: _told_apart(job, tasks[cell_name(job)], studies[cell_name(job)]) for job in jobs}


def _told_apart(job: Job, tasks: set[str], studies: set[str]) -> str:
    name = cell_name(job)
    if len(studies) > 1:
        return f"{job.study}/{name}"
    return name + (f" {job.task.removeprefix('threshold_')}" if len(tasks) > 1 and job.task else "")
