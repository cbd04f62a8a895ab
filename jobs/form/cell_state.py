"""Describes what enqueueing each cell would do now. Only reads: a dry run of the command would take the write lock.

Follows the rules of fts.jobs.study_file.enqueue and fts.state.transitions.extend; a test compares them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fts.jobs.api.command import BareStudy
from fts.jobs.api.form import ANOTHER, CHANGES, EXTENDS, LOST, NEW, CellNow
from fts.jobs.records.questions import enqueued_sentence
from fts.jobs.status import formatting
from fts.jobs.status.conditions import is_live
from fts.jobs.study_file import changes, enqueue
from fts.state import liveness, queries
from fts.state.transitions.extend import amount_of
from fts.state.values import Amount, Enqueued

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from fts.jobs.api.bare_cell import BareCell
    from fts.state.db import Database
    from fts.state.values import Job

LIVE = ("queued", "running", "paused")


def of_file(db: Database | None, cells: Sequence[BareCell], jobs: Sequence[Job], again: bool) -> list[CellNow]:
    """Describes the cells of a study file."""
    study, found = BareStudy(cells[0].study), []
    for cell, name, of_cell in _with_jobs(study, cells, jobs):
        if again or db is None:
            found.append(_new(study, cell, name, of_cell, again))
            continue
        plan = enqueue.planned(db, cell, of_cell)
        if plan.whole:
            assert plan.job is not None, "a whole new specification has a job"
            trials = formatting.count(cell.trials, "trial")
            sentence = f"{name} would be changed: job {plan.job.id}, {plan.words}; {trials}, none has begun"
            more = max(cell.wanted - plan.job.trials_wanted, 0)
            found.append(CellNow(name, cell.axes, CHANGES, "changed, waits", sentence, more, plan.job.id))
        elif plan.job is None:
            begun = [job for job in of_cell if job.attempt or job.trials_ended]
            found.append(_another(cell, name, begun) if begun else _new(study, cell, name, of_cell, again))
        else:
            found.append(_there(plan, name))
    return found


def of_words(cells: Sequence[BareCell], jobs: Sequence[Job], again: bool, typed: Collection[str]) -> list[CellNow]:
    """Describes the cells of a command line. A job that does not run takes over the options in `typed`."""
    study, found = BareStudy(cells[0].study), []
    for cell, name, of_cell in _with_jobs(study, cells, jobs):
        plan = None if again else enqueue.same_question(cell, of_cell)
        if plan is None or plan.job is None:
            now = _new(study, cell, name, of_cell, again)
            why = "" if again else enqueue.another_question(cell, jobs)
            found.append(CellNow(now.name, now.labels, now.state, now.note, now.told + why, now.more))
            continue
        plan.fields = [name for name in plan.fields if name in typed]
        plan.words = changes.in_words(cell, plan.job.spec, plan.fields)
        found.append(_there(plan, name))
    return found


def with_lost(db: Database, cells: Sequence[CellNow]) -> list[CellNow]:
    """Returns the cells, with the state lost instead of running if the job's worker is dead or silent."""
    if not any(cell.state == "running" for cell in cells):
        return list(cells)
    jobs = {job.id: job for job in queries.jobs(db)}
    workers = queries.workers(db)
    dead = liveness.gone_workers(workers, db.path.absolute().parent)
    live = {worker.id for worker in workers if is_live(replace(worker, gone=worker.id in dead), db.now())}
    return [
        replace(
            cell,
            state=LOST,
            note=cell.note.replace("running", LOST, 1),
            told=cell.told.replace("is running", "has lost its worker", 1),
        )
        if cell.state == "running" and cell.job is not None and jobs[cell.job].worker_id not in live
        else cell
        for cell in cells
    ]


def _with_jobs(
    study: BareStudy, cells: Sequence[BareCell], jobs: Sequence[Job]
) -> Iterator[tuple[BareCell, str, list[Job]]]:
    """Yields each cell with its name and the jobs of its study with the same axis values."""
    by_axes = enqueue.by_labels([job for job in jobs if job.study == study.name and job.kind == "cell"])
    for cell, name in zip(enqueue.spelled_as_before(cells, jobs), names_of(study, cells), strict=True):
        yield cell, name, by_axes.get(enqueue.key_of(cell.axes), [])


def names_of(study: BareStudy, cells: Sequence[BareCell]) -> list[str]:
    """Returns a unique name for each cell: its title, or if several cells share it its axes with their names."""
    titles = [study.title(cell) for cell in cells]
    repeated = {title for title, count in Counter(titles).items() if count > 1}
    return [
        ",".join(f"{axis}={value}" for axis, value in cell.axes.items()) if title in repeated else title
        for cell, title in zip(cells, titles, strict=True)
    ]


def _new(study: BareStudy, cell: BareCell, name: str, of_cell: Sequence[Job], again: bool) -> CellNow:
    if again:  # even --again does not duplicate a job with the same specification that has not ended
        live = [job for job in of_cell if str(job.status) in LIVE and _identity(study, job.spec) == cell.identity]
        if live:
            return _there(enqueue.EnqueuePlan(cell, live[0]), name)
    sentence = enqueued_sentence(name, cell, Enqueued(0, created=True), None, True)
    note = "again" if again and of_cell else NEW
    return CellNow(name, cell.axes, NEW, note, sentence, cell.wanted)


def _identity(study: BareStudy, spec: Mapping[str, Any]) -> str:
    try:
        return str(study.cell(spec).identity)
    except (ValueError, LookupError):
        return ""


def _another(cell: BareCell, name: str, begun: Sequence[Job]) -> CellNow:
    """Describes a cell whose jobs ask other questions; compares it with the most similar of them."""
    job = min(begun, key=lambda job: (len(changes.question_differs(cell, job.spec)), -job.id))
    words = changes.in_words(cell, job.spec, changes.question_differs(cell, job.spec))
    sentence = (
        f"{name} searches something else than job {job.id} did: {words}; --name {cell.study}2 begins another study, "
        f"--again runs a new search"
    )
    return CellNow(name, cell.axes, ANOTHER, "different search", sentence, 0, job.id)


def _there(plan: enqueue.EnqueuePlan, name: str) -> CellNow:
    """Describes a cell that has a job with the same question; the job is extended if more trials are asked for."""
    job, cell = plan.job, plan.cell
    assert job is not None, "the caller has checked it"
    had = amount_of(job.spec, job.trials_wanted)
    asked = Amount(cell.trials, cell.seeds, cell.baseline is not None)
    has = Amount(max(had.search, asked.search), max(had.seeds, asked.seeds), had.baseline or asked.baseline)
    state, more = str(job.status), 0
    found = Enqueued(job.id, False, state, held=job.hold_reason)
    ended = f"{formatting.trials_ended(job)} of {formatting.count(job.trials_wanted, 'trial')}"
    note = f"{state}, {ended}" if job.trials_ended < job.trials_wanted else f"{state}, {job.trials_wanted} trials"
    if has != had:
        wanted = has.search + has.extra
        more = wanted - had.search - had.extra
        held = None if state not in LIVE else job.hold_reason
        found = Enqueued(job.id, False, state, extended_from=job.trials_wanted, had=had, has=has, held=held)
        note = f"{formatting.trials_ended(job)} of {wanted} there"
        state = EXTENDS
    sentence = enqueued_sentence(name, cell, found, job, True) + enqueue.taken_over(plan, True)
    if plan.words and enqueue.may_change(plan) and state != EXTENDS:
        state, note = CHANGES, f"{note}; changed"
    return CellNow(name, cell.axes, state, note, sentence, more, job.id)
