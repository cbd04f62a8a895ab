"""Finds the jobs that words name: 7, 3-5, 2M/h1, 2B, h3, mnist/S, size:S, an experiment, a study, state:failed, all.

Several words make one set, in queue order. A word that matches nothing is an error.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import click

from fts.frozen import dataclass
from fts.jobs.api.load import loadable
from fts.jobs.api.names import means_jobs
from fts.jobs.api.nearest import hint
from fts.jobs.cli.errors import NothingThere
from fts.jobs.status.naming import cell_name, with_task
from fts.state.errors import WrongStatus
from fts.state.values import Job, JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NUMBER = re.compile(r"#?(\d{1,15})")
RANGE = re.compile(r"#?(\d{1,15})(?:-|\.\.)(\d{1,15})")
CELL = re.compile(r"([A-Za-z0-9.]+)[/_]h(\d{1,3})", re.IGNORECASE)
HORIZON = re.compile(r"h(\d{1,3})", re.IGNORECASE)
TRIAL = re.compile(r"(.+):t?(\d{1,7})")
FIELDS = ("state", "status", "budget", "horizon", "task", "tier", "kind", "cause", "experiment")
EVERY_STUDY = ("state", "status", "kind", "cause", "experiment", "study", "metric")


@dataclass(frozen=True)
class ChosenJobs:
    """The chosen jobs."""

    jobs: tuple[Job, ...]
    named: frozenset[int]  # numbers of the jobs that were named by themselves (7), not by a pattern (2B)


def choose(jobs: Sequence[Job], wanted: Sequence[str]) -> ChosenJobs:
    """Returns the jobs that the words name. Raises NothingThere for a word without match, UsageError for a bad one."""
    found: set[int] = set()
    named: set[int] = set()
    for word in wanted:
        if not word.strip():  # a variable of the shell without a value; not every job without a budget
            raise click.UsageError(f"{word!r} names no job: {known(jobs)}")
        matches = _matching(jobs, word)
        if not matches:
            raise nothing(jobs, word)
        found |= {job.id for job in matches}
        if NUMBER.fullmatch(word) or len(matches) == 1:
            named |= {job.id for job in matches}
    return ChosenJobs(tuple(job for job in jobs if job.id in found), frozenset(named))


def _matching(jobs: Sequence[Job], word: str) -> list[Job]:
    """Returns the jobs that one word names. `!word` names all others; raises NothingThere if `word` names none."""
    if word.startswith("!") and len(word) > 1 and not _by_own_name(jobs, word):
        left_out = {job.id for job in _matching(jobs, word[1:])}
        if not left_out and ":" not in word:  # a typing error; but `!state:failed` may leave out none
            raise nothing(jobs, word[1:])
        return [job for job in jobs if job.id not in left_out]
    if means_jobs(word):
        _refuse_jobs_and_a_name(jobs, word)
    found = _by_own_name(jobs, word) or _by_word(jobs, word)
    return _in_its_case(found or _by_shown_name(jobs, word) or _by_study_or_value(jobs, word), word)


def _refuse_jobs_and_a_name(jobs: Sequence[Job], word: str) -> None:
    """Raises UsageError if `7`, `3-5` or `all` also names a study or cell of other jobs: enqueued by an earlier fts."""
    lower = word.lower()
    called = [job for job in jobs if lower in (cell_name(job).lower(), job.experiment.lower(), job.study.lower())]
    if (
        not called
        or not (meant := list(filter(matcher(word), jobs)))
        or {job.id for job in meant} <= {job.id for job in called}
    ):
        return
    one = called[0]
    name = f"study:{one.study}" if one.study.lower() == lower else f"{one.study}/{cell_name(one)}"
    low, high = min(job.id for job in meant), max(job.id for job in meant)
    numbers = f"'#{low}'" if low == high else f"{low}-{high}" if ".." in word else f"{low}..{high}"
    raise click.UsageError(
        f"{word!r} means {'every job' if lower == 'all' else 'job numbers'} and is also a name: write {name} for what "
        f"has this name, or {numbers} for the {'jobs' if low < high else 'job'}"
    )


def _in_its_case(found: list[Job], word: str) -> list[Job]:
    """Returns the jobs with exactly this name, if the others differ from it only in upper and lower case."""
    names = {job.id: _names(job) for job in found}
    exact = [job for job in found if word in names[job.id]]
    return exact if exact and all(word.lower() in map(str.lower, one) for one in names.values()) else found


def _names(job: Job) -> set[str]:
    values = {f"{name}:{value}" for name, value in job.labels.items()} | {str(value) for value in job.labels.values()}
    return {cell_name(job), job.experiment, job.study, f"{job.study}/{cell_name(job)}"} | values


def nothing(jobs: Sequence[Job], word: str) -> click.ClickException:
    """Returns the error for a word that names no job: UsageError for an unknown budget, else NothingThere."""
    cell = CELL.fullmatch(word)
    has_sizes = not jobs or any(job.budget for job in jobs)
    if cell and has_sizes and (known_sizes := sizes()):
        there = {name.lower() for name in (*known_sizes, *(job.budget for job in jobs), "base")}
        if cell[1].lower() not in there:
            expected = ", ".join(known_sizes)
            return click.UsageError(f"{word!r} is not a cell: budget {cell[1]!r} is unknown; expected {expected}")
    shown = with_task(jobs)
    names = [name for job in jobs for name in (shown[job.id], cell_name(job), job.experiment)]
    names += [job.study for job in jobs if not job.budget]
    names += [f"{name}:{value}" for job in jobs for name, value in job.labels.items()]
    return NothingThere(f"no job matches {word!r}; {hint(word, names)}{known(jobs)}")


def axes_of(jobs: Sequence[Job]) -> tuple[str, ...]:
    """Returns the names of the axes of these jobs."""
    return tuple(dict.fromkeys(name for job in jobs for name in job.labels))


def _by_word(jobs: Sequence[Job], word: str) -> list[Job]:
    if not jobs:
        return []
    axes, (first, _, value) = axes_of(jobs), word.partition(":")
    if first in EVERY_STUDY and (by_axis := [job for job in jobs if _has(job, first, value)]):
        return _by_axis_alone(jobs, word, by_axis)
    if first != word and first not in (*known_fields(axes), *EVERY_STUDY):
        for cell in (word.rpartition(":")[0], first):  # the name of a cell may hold a colon
            if _by_own_name(jobs, cell):
                raise _names_a_trial(word, cell)
    return list(filter(matcher(word, axes), jobs))


def _has(job: Job, axis: str, value: str) -> bool:
    return axis in job.labels and str(job.labels[axis]).lower() == value.lower()


def _by_axis_alone(jobs: Sequence[Job], word: str, by_axis: list[Job]) -> list[Job]:
    """Returns the jobs with this value of an axis that is named as a field of each job, such as `state`.

    Raises UsageError if the word means other jobs by that field.
    """
    try:
        by_field = list(filter(matcher(word), jobs))
    except click.UsageError:  # there is no such state
        return by_axis
    if not by_field or by_field == by_axis:
        return by_axis
    name, _, value = word.partition(":")
    raise click.UsageError(
        f"{word!r} means jobs by their {name} and by the axis {name}: write {value} for the axis, or the jobs' numbers"
    )


def _names_a_trial(word: str, cell: str) -> click.UsageError:
    return click.UsageError(f"{word!r} names a trial, and this command takes whole cells: write {cell}")


def _by_own_name(jobs: Sequence[Job], word: str) -> list[Job]:
    """Returns jobs with exactly this name, if one has no budget: a cell of another study may be named `h1`."""
    lower = word.lower()
    called = [job for job in jobs if lower in (cell_name(job).lower(), job.experiment.lower())]
    return called if not NUMBER.fullmatch(word) and any(not job.budget for job in called) else []


def _by_study_or_value(jobs: Sequence[Job], word: str) -> list[Job]:
    """Returns every job of the study of that name; else every job with that value on one of its axes."""
    if NUMBER.fullmatch(word) or RANGE.fullmatch(word):
        return []  # such a word means job numbers only
    lower = word.lower()
    of_study = [job for job in jobs if job.study.lower() == lower]
    return of_study or [job for job in jobs if lower in (str(value).lower() for value in job.labels.values())]


def sizes() -> list[str]:
    """Returns the values of the first axis of each installed study that can be loaded."""
    return [str(value) for study in loadable().values() for axis in study.axes[:1] for value in axis.values]


def _by_shown_name(jobs: Sequence[Job], word: str) -> list[Job]:
    """Returns jobs by the name in tables, `2M/h1 2pct` (a cell with its task), `2M/h1#7`, or STUDY/CELL."""
    names = with_task(jobs)
    found = ((job, (names[job.id], f"{names[job.id]}#{job.id}", f"{cell_name(job)}#{job.id}")) for job in jobs)
    shown = [job for job, told in found if word.lower() in map(str.lower, told)]
    return shown or [job for job in jobs if f"{job.study}/{cell_name(job)}".lower() == word.lower()]


def refuse_several_tasks(jobs: Sequence[Job], wanted: Sequence[str]) -> None:
    """Raises UsageError if a cell's name matches cells of several tasks: a change of one is not meant for all."""
    names = with_task(jobs)
    for word in filter(CELL.fullmatch, wanted):
        meant = list(filter(matcher(word), jobs))
        if len({job.task for job in meant}) > 1:
            text = ", ".join(f"{job.id} ({names[job.id]})" for job in meant[:6])
            raise click.UsageError(f"{word!r} means jobs of several tasks: {text}; name them by their numbers")


def matcher(word: str, axes: Sequence[str] = ()) -> Callable[[Job], bool]:
    """Returns the predicate for one word; `!word` negates it. `axes` are names that may precede a colon, `size:S`."""
    if word.startswith("!") and len(word) > 1:
        asks = matcher(word[1:], axes)
        return lambda job: not asks(job)
    if match := NUMBER.fullmatch(word):
        wanted = int(match[1])
        return lambda job: job.id == wanted
    if match := RANGE.fullmatch(word):
        low, high = sorted((int(match[1]), int(match[2])))
        return lambda job: low <= job.id <= high
    if match := CELL.fullmatch(word):
        cell = f"{match[1]}/h{match[2]}".lower()
        return lambda job: bool(job.horizon) and f"{job.budget}/h{job.horizon}".lower() == cell
    if match := HORIZON.fullmatch(word):
        horizon = int(match[1])
        return lambda job: bool(job.horizon) and job.horizon == horizon
    if ":" in word:
        return _field(word, axes)
    low_word = word.lower()
    if low_word == "all":
        return lambda job: True
    return lambda job: low_word in (job.experiment.lower(), job.budget.lower(), cell_name(job).lower())


def one_job(jobs: Sequence[Job], word: str) -> Job:
    """Returns the one job a word means: prefers queued or running jobs, then those that ever began, then the newest.

    2M/h1 is the cell itself, not the same cell with walk-forward folds (`2M/h1 wf5`) or its final training.
    """
    matches = list(choose(jobs, [word]).jobs)
    matches = [job for job in matches if cell_name(job).lower() == word.lower()] or matches
    cells = {(job.study, job.experiment, job.kind) for job in matches}
    if len(cells) > 1 or (len(matches) > 1 and RANGE.fullmatch(word)):  # 1-2 means both, even if they are one cell
        named = with_task(jobs)
        names = ", ".join(f"{job.id} ({named[job.id]})" for job in matches[:6])
        raise click.UsageError(f"{word!r} means several jobs: {names}; name one")
    return _current(matches)


def _current(jobs: Sequence[Job]) -> Job:
    ended = (JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLED)
    return max(jobs, key=lambda job: (job.status not in ended, not _never_began(job), job.id))


def _never_began(job: Job) -> bool:
    """Returns whether the job was cancelled before its first attempt, so that it has nothing to show."""
    return job.status is JobStatus.CANCELLED and job.attempt == 0


def one_cell(jobs: Sequence[Job], word: str) -> Job:
    """Returns the one cell a word means. Raises WrongStatus if it means only a baseline, a final training etc."""
    try:
        return one_job([job for job in jobs if job.kind == "cell"], word)
    except NothingThere:
        other = one_job(jobs, word)  # raises NothingThere if the word matches no job at all
        raise WrongStatus(f"job {other.id} ({cell_name(other)}) is a {other.kind}; only a cell has a winner") from None


def only_cell(jobs: Sequence[Job]) -> Job:
    """Returns the only cell, as `one_job` if it was searched again. Raises UsageError for several, NothingThere."""
    cells = [job for job in jobs if job.kind == "cell"]
    if len({(job.study, job.experiment) for job in cells}) == 1:
        return _current(cells)
    raise click.UsageError(f"name a cell; {known(jobs)}") if cells else NothingThere(known(jobs))


def split_trial(word: str, axes: Sequence[str] = ()) -> tuple[str, int | None]:
    """Splits `2M/h1:t3` into cell and trial number 3; the number is None without `:t3`, as in `size:5`."""
    match = TRIAL.fullmatch(word)
    field, _, value = word.partition(":")
    if (field in axes or field.lower() in (*FIELDS, *EVERY_STUDY)) and not (match and (":" in value or "t" in value)):
        return word, None
    if match is None and ":" in word:
        cell = word.partition(":")[0]
        raise click.UsageError(
            f"{word!r} names no trial: a trial is CELL:tN such as {cell}:t3, and epochs have no names; "
            f"`fts trials {shlex.quote(cell)}` lists the trials"
        )
    return (match[1], int(match[2])) if match else (word, None)


def known(jobs: Sequence[Job]) -> str:
    """Returns a phrase with the jobs that exist, for an error message."""
    if not jobs:
        return "the queue is empty: `fts enqueue` fills it"
    names = list(dict.fromkeys(with_task(jobs).values()))
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    first, last = min(j.id for j in jobs), max(j.id for j in jobs)
    there = f"there are jobs {first}-{last}" if first < last else f"there is job {first}"
    return f"{there}: {', '.join(names[:8])}{more}"


def _field(word: str, axes: Sequence[str]) -> Callable[[Job], bool]:
    name, _, value = word.partition(":")
    known = known_fields(axes)
    accepted = (*known, *EVERY_STUDY)
    near = hint(name, accepted) if name not in accepted else ""
    if name not in accepted and (
        CELL.fullmatch(name) or NUMBER.fullmatch(name) or (TRIAL.fullmatch(word) and not near)
    ):
        raise _names_a_trial(word, name)
    if name.endswith(".py"):
        jobs = "this command takes jobs, by cell or number (`fts queue` lists them)"
        raise click.UsageError(f"{word!r} is a function, and {jobs}; `fts enqueue` and `fts worker` run a function")
    if name not in accepted:
        raise click.UsageError(f"{word!r} asks for {name!r}; {near}expected one of {', '.join(known)}")
    if not value.strip():
        raise click.UsageError(f"{word!r} has no value; write it behind the colon")
    attribute = "status" if name == "state" else name
    wanted = value.lower()
    if attribute == "status" and wanted not in list(JobStatus) and wanted != "held":
        near = hint(value, [*JobStatus, "held"])
        raise click.UsageError(f"there is no state {value!r}; {near}there are {', '.join(JobStatus)} and held")
    if wanted == "held" and attribute == "status":
        return lambda job: job.status == JobStatus.QUEUED and job.hold_reason is not None
    if name in EVERY_STUDY:
        return lambda job: str(getattr(job, attribute) or "").lower() == wanted
    if name == "horizon" and (found := HORIZON.fullmatch(value)):  # horizon:h3, like horizon:3
        return lambda job: job.horizon == int(found[1]) or str(job.labels.get(name)).lower() == wanted
    return lambda job: _has(job, name, value)


def known_fields(axes: Sequence[str]) -> tuple[str, ...]:
    """Returns the names allowed before a colon: fields of every job, and the axes of these jobs."""
    if not axes:
        return FIELDS
    return (*EVERY_STUDY, *(name for name in axes if name not in EVERY_STUDY))
