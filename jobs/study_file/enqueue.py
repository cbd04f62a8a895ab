"""Puts the cells of a study in line, beside what they were before: the same again, more, or another question.

The same study changes nothing. More trials extend a job, fewer never delete. How trials run (time, memory, threads) is
taken over by a job that does not run. A job without a trial takes the whole new specification. Where trials exist and
the question is another one, nothing is put in line: the study needs another name, or `again`.
"""

from __future__ import annotations

import json
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs import functions
from fts.jobs.api.command import BareStudy, question_of
from fts.jobs.api.spec import BadSpec
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
    """Jobs with trials ask another question than the study does now."""


@dataclass(frozen=True)
class Line:
    """What became of one cell."""

    cell: str
    experiment: str
    job_id: int | None  # None: a dry run, and the cell is new
    state: str  # new, extended, changed, or the status of the job that was there
    told: str  # the whole in a sentence
    extended_from: int | None = None  # trials it had before

    def __str__(self) -> str:
        return self.told


@dataclass
class Plan:
    cell: BareCell
    job: Job | None = None  # that answers the question already, or takes the cell over
    whole: bool = False  # it takes the whole specification: no trial has begun
    fields: list[str] = field(default_factory=list)  # that it takes over, or would if it did not run
    words: str = ""


def check_here(cells: Sequence[BareCell]) -> None:
    """Raises BadSpec where this machine has no package that a sampler needs."""
    from fts.jobs.search.needs import check_packages  # here: only what is put in line needs them

    for cell in cells:
        if getattr(cell, "python", None) is None or cell.space is not None:
            check_packages(cell.sampler)


def take_over(db: Database, cells: Sequence[BareCell], typed: Collection[str], dry_run: bool) -> list[str]:
    """Jobs of the same questions take over how their trials run, as far as it was typed; what to say of each cell.

    For cells from a command line: a default that was typed counts, and what was not typed stays as it is.
    """
    study = BareStudy(cells[0].study)
    there = by_labels(job for job in queries.jobs(db) if job.study == study.name and job.kind == "cell")
    said = []
    for cell in cells:
        plan = same_question(cell, there.get(key_of(cell.axes), []))
        if plan is not None and plan.job is not None:
            plan.fields = [name for name in plan.fields if name in (*typed, *changes.PLACES)]
            plan.words = changes.in_words(cell, plan.job.spec, plan.fields)
            if plan.words and may_change(plan):
                transitions.respecify(db, [_respecified(study, plan)])
        said.append("" if plan is None else taken_over(plan, dry_run))
    return said


def put_in_line(
    db: Database,
    cells: Sequence[BareCell],
    metrics: Sequence[Mapping[str, Any]] = (),
    messages: Sequence[str] | None = None,
    *,
    again: bool = False,
    dry_run: bool = False,
) -> list[Line]:
    """Writes the jobs, all or none, and says of each cell what became of it.

    `metrics`, and the kinds of messages (None: all), are declared with the study. Raises StudyChanged before anything
    is written.
    """
    study = BareStudy(cells[0].study)
    rule = transitions.SameQuestion(question_of, lambda spec: str(study.cell(spec).identity))
    with transaction(db, dry_run):
        before = {job.id: job for job in queries.jobs(db)}
        there = by_labels(job for job in before.values() if job.study == study.name and job.kind == "cell")
        plans = [Plan(cell) if again else planned(db, cell, there.get(key_of(cell.axes), [])) for cell in cells]
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


def _with_other_axes(lines: list[Line], cell: BareCell, before: Sequence[Job]) -> list[Line]:
    """Says once that the study's cells were called by other axes so far: an axis was renamed, added or left out."""
    first = next((n for n, line in enumerate(lines) if line.state == "new"), None)
    named = {tuple(sorted(job.labels)): job for job in before}
    if first is None or not named or tuple(sorted(cell.axes)) in named:
        return lines
    axes, job = list(named.items())[-1]
    said = (
        f"; it has {_axes(cell.axes)}, earlier jobs of {cell.study} such as job {job.id} have {_axes(axes)}: they stay "
        f"beside it; --name {cell.study}2 would keep them apart"
    )
    lines[first] = replace(lines[first], told=lines[first].told + said)
    return lines


def _axes(names: Collection[str]) -> str:
    return f"{'the axis' if len(names) == 1 else 'the axes'} {', '.join(names)}" if names else "no axis"


def preview(cells: Sequence[BareCell]) -> list[Line]:
    """What `put_in_line` would do where there is no database yet."""
    study = BareStudy(cells[0].study)
    new = Enqueued(0, created=True)
    return [
        Line(
            study.title(cell), cell.experiment, None, "new", enqueued_sentence(study.title(cell), cell, new, None, True)
        )
        for cell in cells
    ]


# -- what there was


def by_labels(jobs: Iterable[Job]) -> dict[str, list[Job]]:
    found: dict[str, list[Job]] = {}
    for job in jobs:
        found.setdefault(key_of(job.labels), []).append(job)
    return found


def key_of(labels: Mapping[str, Any]) -> str:
    return json.dumps(dict(labels), sort_keys=True)


def planned(db: Database, cell: BareCell, of_cell: Sequence[Job]) -> Plan:
    """What becomes of the cell, by the jobs that it had before."""
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
            return Plan(mine, job, unbegun, [*differs, *fields], words)
    return Plan(cell)


def same_question(cell: BareCell, of_cell: Sequence[Job]) -> Plan | None:
    """With the job that answers the cell's question, or will."""
    same = [job for job in of_cell if question_of(job.spec) == cell.question]
    if not (same := same or [job for job in of_cell if has_moved(cell, job.spec)]):
        return None
    job = min(same, key=lambda job: preference(str(job.status), job.trials_wanted, job.id, cell.wanted))
    fields = [*changes.question_differs(cell, job.spec), *changes.taken_over(cell, job.spec)]
    return Plan(cell, job, False, fields, changes.in_words(cell, job.spec, fields))


def has_moved(cell: BareCell, spec: Mapping[str, Any]) -> bool:
    """Is the same code asked the same, in another place than where it was then, which is gone?"""
    differs = changes.question_differs(cell, spec)
    there = [Path(str(spec.get(name))) / (cell.file or "" if name == "folder" else "") for name in differs]
    return bool(differs) and set(differs) <= set(changes.PLACES) and not any(path.exists() for path in there)


def taken_over(plan: Plan, dry_run: bool) -> str:
    """What to say behind the sentence of a cell; empty: it runs as before."""
    if not plan.words or plan.job is None:
        return ""
    if may_change(plan):
        return f"; {'would take' if dry_run else 'takes'} over: {plan.words}"
    return (
        f"; it runs, so this waits: {plan.words}; `fts pause {plan.job.id}`, enqueue the study again, "
        f"`fts resume {plan.job.id}`"
    )


def may_change(plan: Plan) -> bool:
    return plan.job is not None and plan.job.status is not JobStatus.RUNNING


def _respecified(study: BareStudy, plan: Plan) -> transitions.Respecified:
    """What its job shall be: all of it, or the present specification with the fields that are taken over."""
    assert plan.job is not None, "only a job can change"
    spec = plan.cell.to_json()
    if not plan.whole:
        spec = changes.with_fields(plan.cell, plan.job.spec, plan.fields) | {"trials": plan.job.spec["trials"]}
    row = study.row(study.cell(spec))
    return transitions.Respecified(plan.job.id, row, plan.words, unbegun=plan.whole, goes_on=_has_more_time(plan))


def _has_more_time(plan: Plan) -> bool:
    """Has its time ended its job, which may work for longer now?"""
    assert plan.job is not None, "only a job can change"
    before, now = plan.job.spec.get("timeout_s"), plan.cell.timeout_s
    longer = "timeout_s" in plan.fields and before is not None and (now is None or now > before)
    return longer and (plan.job.message or "").startswith(TIME_IS_UP)


def refuse_another_question(study: BareStudy, plans: Sequence[Plan], there: Mapping[str, Sequence[Job]]) -> None:
    """Raises StudyChanged where a cell without a plan has a job with trials."""
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
    said = []
    for words, those in found.items():
        name, job = those[0]
        others = f" and {formatting.count(len(those) - 1, 'other cell')}" if len(those) > 1 else ""
        trials = formatting.count(job.trials_ended, "trial")
        kept = f"keeps its {trials}" if job.trials_ended else "has begun"
        said.append(f"{name}{others}: {words} (job {job.id} {kept})")
    raise StudyChanged(
        f"{study.name} asks another question than before: {'; '.join(said[:4])}; give it another name (--name "
        f"{study.name}2), or search anew beside what there is with --again"
    )


# -- what it has become


def another_question(cell: BareCell, before: Sequence[Job]) -> str:
    """Why an earlier job of the same cell does not answer this one; empty: there is none."""
    same = [job for job in before if job.study == cell.study and job.labels == cell.axes]
    if not same:
        return ""
    job = min(same, key=lambda job: (len(functions.unlike(cell, job.spec)), -job.id))  # the one that is most alike
    if "imported_from" in job.spec and "objective" not in job.spec:
        return (
            f"; it knows nothing of job {job.id}, which was imported without a function: `fts import` with --objective "
            "and --name NEW makes a history that more trials go on from"
        )
    differs = functions.unlike(cell, job.spec)
    script = Path(cell.file or "its script").name
    if differs == ["code_md5"]:
        return (
            f"; {script} has changed since job {job.id}, so this is another question; to extend job {job.id}, put the "
            f"earlier {script} back"
        )
    changed = changes.in_words(cell, job.spec, [name for name in differs if name != "code_md5"])
    file = f" and an earlier {script}" if "code_md5" in differs else ""
    return f"; job {job.id} asks another question of this cell: {changed}{file}" if changed else ""


def _line(study: BareStudy, plan: Plan, found: Enqueued | None, jobs: Mapping[int, Job], dry_run: bool) -> Line:
    name = study.title(plan.cell)
    if found is None:
        assert plan.job is not None, "a whole new specification has a job"
        would = "would be changed" if dry_run else "is changed"
        trials = formatting.count(plan.cell.trials, "trial")
        sentence = (
            f"{name} {would}: job {plan.job.id}, {plan.words or 'nothing that it says'}; {trials}, none has begun"
        )
        return Line(name, plan.cell.experiment, plan.job.id, "changed", sentence)
    job = None if found.created and dry_run else jobs.get(found.job_id)
    sentence = enqueued_sentence(name, plan.cell, found, job, dry_run)
    state = "new" if found.created else "extended" if found.extended_from is not None else found.status
    sentence += taken_over(plan, dry_run)
    if plan.words and may_change(plan) and state == found.status:
        state = "changed"
    return Line(name, plan.cell.experiment, found.job_id or None, state, sentence, found.extended_from)


def _with_metrics(declared: dict[str, Any], metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The declaration with every metric of the study file, in its order."""
    before = {metric["name"]: metric for metric in declared.get("metrics", []) if isinstance(metric, dict)}
    listed = {metric["name"]: before.get(metric["name"], {}) | dict(metric) for metric in metrics}
    return declared | {"metrics": list((listed | {n: m for n, m in before.items() if n not in listed}).values())}


def _with_messages(declared: dict[str, Any], messages: Sequence[str] | None) -> dict[str, Any]:
    """The declaration with [notify] as the file has it now."""
    kept = {name: value for name, value in declared.items() if name != "notify"}
    return kept if messages is None else kept | {"notify": list(messages)}


def titles(cells: Sequence[BareCell]) -> list[str]:
    """What each cell is called."""
    study = BareStudy(cells[0].study)
    return [study.title(cell) for cell in cells]
