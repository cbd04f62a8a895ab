"""Enqueues the cells of a study, compared with its earlier jobs.

An unchanged study changes nothing. More trials extend a job; fewer never delete any. A job that is not running takes
over changes of how trials run (time, memory, threads). A job without trials takes the whole new specification. If
trials exist and anything that decides their results has changed, nothing is enqueued: the study needs another name,
or `again`.
"""

from __future__ import annotations

import json
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs import functions
from fts.jobs.api.command import BareStudy, identity_of, question_of
from fts.jobs.api.function import FunctionCell
from fts.jobs.api.spec import BadSpec
from fts.jobs.objective_file import to_file_path
from fts.jobs.records.questions import TIME_IS_UP, enqueued_sentence
from fts.jobs.status import formatting
from fts.jobs.study_file import changes
from fts.state import queries, transitions
from fts.state.scheduling import preference
from fts.state.transitions.base import transaction
from fts.state.values import Enqueued, JobStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from fts.jobs.api.bare_cell import BareCell
    from fts.state.db import Database
    from fts.state.values import Job

WAITING = (JobStatus.QUEUED, JobStatus.PAUSED)


class StudyChanged(BadSpec):
    """Jobs with trials exist whose results the changed study would not give."""


@dataclass(frozen=True)
class EnqueuedCell:
    """The result of enqueueing one cell."""

    cell: str
    experiment: str
    job_id: int | None  # None: a dry run, and the cell is new
    state: str  # new, extended, changed, or the status of the existing job
    told: str  # the result as a sentence
    extended_from: int | None = None  # trials it had before

    def __str__(self) -> str:
        return self.told


@dataclass
class EnqueuePlan:
    """What to do with one cell."""

    cell: BareCell
    job: Job | None = None  # the job that already covers the cell, or takes it over
    whole: bool = False  # the job takes the whole specification, because none of its trials has begun
    fields: list[str] = field(default_factory=list)  # fields that the job takes over, unless it is running
    words: str = ""  # these changes in words


def check_here(cells: Sequence[BareCell]) -> None:
    """Raises BadSpec for a cell that no database can hold, or whose sampler needs a package that is not installed."""
    from fts.jobs.search.needs import check_packages  # here: only cells that are enqueued need them

    for cell in cells:
        cell.check_encoding()
        if getattr(cell, "python", None) is None or cell.space is not None:
            check_packages(cell.sampler)


def too_small_here(cells: Sequence[BareCell]) -> list[str]:
    """Returns sentences about what this machine has too little of for a trial: GPUs, their memory, cores."""
    from fts.jobs.sensors.gpus import too_few_gpus  # here: psutil
    from fts.jobs.settings import too_few_cores

    of_gpus = too_few_gpus((cell.gpu, cell.memory_bytes) for cell in cells)
    return [*filter(None, (of_gpus, too_few_cores(max(cell.threads or 1 for cell in cells))))]


def take_over(db: Database, cells: Sequence[BareCell], typed: Collection[str], dry_run: bool) -> list[str]:
    """Changes how trials run in existing jobs of the same cells, by the options in `typed`. Returns a text per cell.

    For cells from a command line: an option that was typed counts even with its default; other fields stay.
    """
    study = BareStudy(cells[0].study)
    there = by_labels(job for job in queries.jobs(db) if job.study == study.name and job.kind == "cell")
    plans = [same_question(cell, there.get(key_of(cell.axes), [])) for cell in cells]
    for cell, plan in zip(cells, plans, strict=True):
        if plan is not None and plan.job is not None:
            plan.fields = [name for name in plan.fields if name in (*typed, *changes.PLACES)]
            plan.words = changes.in_words(cell, plan.job.spec, plan.fields)
    changed = [plan for plan in plans if plan is not None and plan.words and may_change(plan)]
    if changed:
        transitions.respecify(db, [_respecified(study, plan) for plan in changed])  # one call: one undo reverts it
    return ["" if plan is None else taken_over(plan, dry_run) for plan in plans]


def enqueue_cells(
    db: Database,
    cells: Sequence[BareCell],
    metrics: Sequence[Mapping[str, Any]] = (),
    messages: Sequence[str] | None = None,
    *,
    again: bool = False,
    dry_run: bool = False,
) -> list[EnqueuedCell]:
    """Writes the jobs in one transaction and returns an EnqueuedCell per cell.

    `metrics` and `messages` (kinds of messages; None: all) are stored with the study. Raises StudyChanged before
    anything is written.
    """
    study = BareStudy(cells[0].study)
    rule = transitions.SameQuestion(question_of, lambda spec: str(study.cell(spec).identity))
    with transaction(db, dry_run), transitions.one_undo(db):
        before = {job.id: job for job in queries.jobs(db)}
        functions.refuse_name_of_jobs(study.name, before.values())
        there = by_labels(job for job in before.values() if job.study == study.name and job.kind == "cell")
        cells = spelled_as_before(cells, before.values())
        plans = [EnqueuePlan(cell) if again else planned(db, cell, there.get(key_of(cell.axes), [])) for cell in cells]
        if not again:
            refuse_another_question(study, plans, there)
        transitions.respecify(db, [_respecified(study, plan) for plan in plans if plan.words and may_change(plan)])
        rows = [study.row(plan.cell) for plan in plans if not plan.whole]
        found = iter(transitions.enqueue(db, rows, rule=rule, again=again))
        known = queries.studies(db).get(study.name)
        declared = functions.declaration(cells, None if known is None else known.declaration)
        transitions.declare_study(db, study.name, _with_messages(_with_metrics(declared, metrics), messages))
        after = before if dry_run else {job.id: job for job in queries.jobs(db)}
    lines = [_line(study, plan, None if plan.whole else next(found), after, dry_run) for plan in plans]
    return _with_other_axes(lines, cells[0], [job for jobs in there.values() for job in jobs])


def _with_other_axes(lines: list[EnqueuedCell], cell: BareCell, before: Sequence[Job]) -> list[EnqueuedCell]:
    """Adds a note to the first new cell if earlier jobs have other axes: one was renamed, added or removed."""
    first = next((n for n, line in enumerate(lines) if line.state == "new"), None)
    named = {tuple(sorted(job.labels)): job for job in before}
    if first is None or not named or tuple(sorted(cell.axes)) in named:
        return lines
    axes, job = list(named.items())[-1]
    note = (
        f"; it has {_axes(cell.axes)}, earlier jobs of {cell.study} such as job {job.id} have {_axes(axes)}: all stay "
        f"in one study; --name {cell.study}2 would separate them"
    )
    lines[first] = replace(lines[first], told=lines[first].told + note)
    return lines


def _axes(names: Collection[str]) -> str:
    return f"{'the axis' if len(names) == 1 else 'the axes'} {', '.join(names)}" if names else "no axis"


def preview(cells: Sequence[BareCell]) -> list[EnqueuedCell]:
    """Returns what `enqueue_cells` would do without a database."""
    study = BareStudy(cells[0].study)
    functions.refuse_name_of_jobs(study.name)
    new = Enqueued(0, created=True)
    return [
        EnqueuedCell(
            study.title(cell), cell.experiment, None, "new", enqueued_sentence(study.title(cell), cell, new, None, True)
        )
        for cell in cells
    ]


# -- earlier jobs


def by_labels(jobs: Iterable[Job]) -> dict[str, list[Job]]:
    found: dict[str, list[Job]] = {}
    for job in jobs:
        found.setdefault(key_of(job.labels), []).append(job)
    return found


def key_of(labels: Mapping[str, Any]) -> str:
    return json.dumps(dict(labels), sort_keys=True)


def planned(db: Database, cell: BareCell, of_cell: Sequence[Job]) -> EnqueuePlan:
    """Returns what to do with a cell, given its earlier jobs."""
    if (same := same_question(cell, of_cell)) is not None:
        return same
    for job in reversed(of_cell):
        differs = changes.question_differs(cell, job.spec)
        unbegun = job.status in WAITING and job.attempt == 0 and not queries.trials(db, job.id)
        only_steps = differs == ["steps"] and job.status is not JobStatus.RUNNING
        if unbegun or only_steps:
            fields = changes.taken_over(cell, job.spec)
            trials = cell.trials if unbegun else max(cell.trials, job.spec["trials"])
            mine = replace(cell, experiment=job.experiment, trials=trials)
            words = changes.in_words(mine, job.spec, [*differs, *fields])
            return EnqueuePlan(mine, job, unbegun, [*differs, *fields], words)
    return EnqueuePlan(cell)


def spelled_as_before(cells: Sequence[BareCell], jobs: Iterable[Job]) -> list[BareCell]:
    """Returns the cells with axes in the order of earlier jobs of the study, which decides their names.

    The path of the function is as it was typed for an earlier job of the same question: such a path, as
    ./train.py:objective, is part of the question of jobs that earlier versions have enqueued.
    """
    mine = [job for job in jobs if job.study == cells[0].study and job.kind == "cell"]
    there, orders = by_labels(mine), {frozenset(job.labels): list(job.labels) for job in reversed(mine)}
    ordered = [_in_order(cell, orders.get(frozenset(cell.axes))) for cell in cells]
    return [_spelled_as_before(cell, there.get(key_of(cell.axes), ())) for cell in ordered]


def _in_order(cell: BareCell, names: Sequence[str] | None) -> BareCell:
    if names is None or list(cell.axes) == names:
        return cell
    return replace(cell, axes={name: cell.axes[name] for name in names})


def _spelled_as_before(cell: BareCell, of_cell: Sequence[Job]) -> BareCell:
    if not isinstance(cell, FunctionCell) or any(job.spec.get("objective") == cell.objective for job in of_cell):
        return cell
    for job in reversed(of_cell):
        typed = str(job.spec.get("objective"))
        if to_file_path(typed, Path(cell.folder)) == cell.objective:
            older = replace(cell, objective=typed)
            if older.question == question_of(job.spec):
                return older
    return cell


def same_question(cell: BareCell, of_cell: Sequence[Job]) -> EnqueuePlan | None:
    """Returns a plan with the job that has the cell's question, or None."""
    same = [job for job in of_cell if question_of(job.spec) == cell.question]
    if not (same := same or [job for job in of_cell if has_moved(cell, job.spec)]):
        return None
    job = min(
        same,
        key=lambda job: (not _is_twin(cell, job), *preference(str(job.status), job.trials_wanted, job.id, cell.wanted)),
    )
    fields = [*changes.question_differs(cell, job.spec), *changes.taken_over(cell, job.spec)]
    return EnqueuePlan(cell, job, False, fields, changes.in_words(cell, job.spec, fields))


def _is_twin(cell: BareCell, job: Job) -> bool:
    """Does the job have the cell's own specification, and has it not ended? Only one may do so."""
    return job.status in (*WAITING, JobStatus.RUNNING) and identity_of(job.spec) == cell.identity


def has_moved(cell: BareCell, spec: Mapping[str, Any]) -> bool:
    """Is it the same study, moved from a folder or interpreter that no longer exists?"""
    differs = changes.question_differs(cell, spec)
    there = [Path(str(spec.get(name))) / (cell.file or "" if name == "folder" else "") for name in differs]
    return bool(differs) and set(differs) <= set(changes.PLACES) and not any(path.exists() for path in there)


def taken_over(plan: EnqueuePlan, dry_run: bool) -> str:
    """Returns the end of a cell's sentence about changed fields; empty: nothing changes."""
    if not plan.words or plan.job is None:
        return ""
    if may_change(plan):
        return f"; {'would take' if dry_run else 'takes'} over: {plan.words}"
    return (
        f"; it is running, so not changed yet: {plan.words}; `fts pause {plan.job.id}`, enqueue the study again, "
        f"`fts resume {plan.job.id}`"
    )


def may_change(plan: EnqueuePlan) -> bool:
    return plan.job is not None and plan.job.status is not JobStatus.RUNNING


def _respecified(study: BareStudy, plan: EnqueuePlan) -> transitions.Respecified:
    """Returns the job's new specification: that of the cell, or its old one with the fields that are taken over."""
    assert plan.job is not None, "only a job can change"
    spec = plan.cell.to_json()
    if not plan.whole:
        spec = changes.with_fields(plan.cell, plan.job.spec, plan.fields) | {"trials": plan.job.spec["trials"]}
    row = study.row(study.cell(spec))
    return transitions.Respecified(plan.job.id, row, plan.words, unbegun=plan.whole, goes_on=_has_more_time(plan))


def _has_more_time(plan: EnqueuePlan) -> bool:
    """Did the job end at its timeout, and is the timeout longer now?"""
    assert plan.job is not None, "only a job can change"
    before, now = plan.job.spec.get("timeout_s"), plan.cell.timeout_s
    longer = "timeout_s" in plan.fields and before is not None and (now is None or now > before)
    return longer and (plan.job.message or "").startswith(TIME_IS_UP)


def refuse_another_question(study: BareStudy, plans: Sequence[EnqueuePlan], there: Mapping[str, Sequence[Job]]) -> None:
    """Raises StudyChanged if a cell that no job covers has an earlier job with trials."""
    found: dict[str, list[tuple[str, Job]]] = {}
    for plan in plans:
        if plan.job is not None:
            continue
        begun = [job for job in there.get(key_of(plan.cell.axes), []) if job.attempt or job.trials_ended]
        if not begun:
            continue
        job = min(begun, key=lambda job: (len(changes.question_differs(plan.cell, job.spec)), -job.id))
        words = changes.in_words(plan.cell, job.spec, changes.question_differs(plan.cell, job.spec))
        found.setdefault(words, []).append((study.title(plan.cell), job))
    if not found:
        return
    changed = []
    for words, those in found.items():
        name, job = those[0]
        others = f" and {formatting.count(len(those) - 1, 'other cell')}" if len(those) > 1 else ""
        trials = formatting.count(job.trials_ended, "trial")
        kept = f"keeps its {trials}" if job.trials_ended else "has begun"
        changed.append(f"{name}{others}: {words} (job {job.id} {kept})")
    raise StudyChanged(
        f"{study.name} has changed what it searches: {'; '.join(changed[:4])}; give it another name (--name "
        f"{study.name}2), or start a new search beside the old one with --again"
    )


# -- sentences


def another_question(cell: BareCell, before: Sequence[Job]) -> str:
    """Returns why an earlier job of the cell does not cover it; empty: there is no such job."""
    same = [job for job in before if job.study == cell.study and job.labels == cell.axes]
    if not same:
        return ""
    job = min(same, key=lambda job: (len(functions.changed_fields(cell, job.spec)), -job.id))  # the most similar one
    if "imported_from" in job.spec and "objective" not in job.spec:
        return (
            f"; job {job.id} was imported without a function, so its trials are not used: `fts import` with "
            "--objective and --name NEW imports them into a job that can get more trials"
        )
    differs = functions.changed_fields(cell, job.spec)
    script = Path(cell.file or "its script").name
    if differs == ["code_md5"]:
        return (
            f"; {script} has changed since job {job.id}, so this is a new search; to extend job {job.id}, restore the "
            f"earlier {script}"
        )
    changed = changes.in_words(cell, job.spec, [name for name in differs if name != "code_md5"])
    before_file = Path(str(job.spec.get("script") or str(job.spec.get("objective", "")).rpartition(":")[0])).name
    file = f" and an earlier {script}" if "code_md5" in differs and before_file == script else ""
    return f"; job {job.id} is a different search of this cell: {changed}{file}" if changed else ""


def _line(
    study: BareStudy, plan: EnqueuePlan, found: Enqueued | None, jobs: Mapping[int, Job], dry_run: bool
) -> EnqueuedCell:
    name = study.title(plan.cell)
    if found is None:
        assert plan.job is not None, "only an existing job takes a whole specification"
        would = "would be changed" if dry_run else "is changed"
        trials = formatting.count(plan.cell.trials, "trial")
        sentence = f"{name} {would}: job {plan.job.id}, {plan.words or 'no field'}; {trials}, none has begun"
        return EnqueuedCell(name, plan.cell.experiment, plan.job.id, "changed", sentence)
    job = None if found.created and dry_run else jobs.get(found.job_id)
    sentence = enqueued_sentence(name, plan.cell, found, job, dry_run)
    state = "new" if found.created else "extended" if found.extended_from is not None else found.status
    sentence += taken_over(plan, dry_run)
    if plan.words and may_change(plan) and state == found.status:
        state = "changed"
    return EnqueuedCell(name, plan.cell.experiment, found.job_id or None, state, sentence, found.extended_from)


def _with_metrics(declared: dict[str, Any], metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the declaration with the metrics of the study file first, in their order."""
    before = {metric["name"]: metric for metric in declared.get("metrics", []) if isinstance(metric, dict)}
    listed = {metric["name"]: before.get(metric["name"], {}) | dict(metric) for metric in metrics}
    return declared | {"metrics": list((listed | {n: m for n, m in before.items() if n not in listed}).values())}


def _with_messages(declared: dict[str, Any], messages: Sequence[str] | None) -> dict[str, Any]:
    """Returns the declaration with the current [notify] of the file."""
    kept = {name: value for name, value in declared.items() if name != "notify"}
    return kept if messages is None else kept | {"notify": list(messages)}


def titles(cells: Sequence[BareCell]) -> list[str]:
    """Returns the title of each cell."""
    study = BareStudy(cells[0].study)
    return [study.title(cell) for cell in cells]
