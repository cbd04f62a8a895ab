"""Implements the commands that only read: queue, trials, curve, events, why."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from fts.jobs.api.amounts import read_time
from fts.jobs.cli.app import AS_JSON, COUNT, here
from fts.jobs.cli.errors import NothingThere
from fts.jobs.cli.log_excerpt import last_lines_of, last_words
from fts.jobs.cli.output import emit, emit_csv, emit_json, emit_table, plain, say, warn_unreadable
from fts.jobs.cli.selection import axes_of, choose, one_job, split_trial
from fts.jobs.records import columns
from fts.jobs.records.results import spent_until_now
from fts.jobs.search.importance import chance_of, importance
from fts.jobs.status import formatting, naming
from fts.jobs.status.explain import why as reasons_of
from fts.jobs.status.log_excerpt import is_lost
from fts.jobs.status.nodes import ran_on
from fts.state import liveness, queries
from fts.state.db import Database, open_for_reading
from fts.state.files import csv_text
from fts.state.pareto_front import best_first
from fts.state.rows import unreadable_in
from fts.state.scheduling import paused_because
from fts.state.values import Event, Job, JobStatus, Trial, TrialStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fts.jobs.status.declared import Declared


@contextmanager
def reading() -> Iterator[Database]:
    """Opens the database of this command for reading. Raises NoDatabase when there is none."""
    db = open_for_reading(here().db)
    try:
        yield db
    finally:
        db.close()


def warn_lost(db: Database, jobs: Sequence[Job]) -> None:
    """Warns of each job that is recorded as running but has lost its worker, because tables show the records."""
    if any(job.status is JobStatus.RUNNING for job in jobs):
        snapshot = liveness.with_local_facts(queries.snapshot(db), here().db.parent)
        for job in jobs:
            if is_lost(job, snapshot, snapshot.taken_at):
                name = naming.cell_name(job)
                say(f"job {job.id} ({name}) is not running: its worker is gone; `fts worker` continues it")


@click.command()
@click.argument("wanted", nargs=-1, metavar="[JOB]...")
@AS_JSON
def queue(wanted: tuple[str, ...], as_json: bool) -> None:
    """List every job in the order it will run, then the ended ones.

    JOB restricts it: 7, 3-5, mnist/S, size:S, the study's name or state:failed; in the PatchTST study 2M/h1, 2B, h3.
    """
    with reading() as db:
        snapshot, now, studies = queries.snapshot(db), db.now(), queries.studies(db)
    if not as_json:
        snapshot = liveness.with_local_facts(snapshot, here().db.parent)
    warn_unreadable(snapshot.unreadable)
    jobs = choose(snapshot.jobs, wanted).jobs if wanted else snapshot.jobs
    if as_json:
        return emit_json("jobs", jobs, snapshot.taken_at)
    if not jobs:
        return say("the queue is empty: `fts enqueue` fills it")
    if snapshot.queue_paused:
        say(f"{paused_because(snapshot.queue_paused_reason)}; `fts resume --queue` lets jobs start")
    places = {job.id: n for n, job in enumerate((j for j in snapshot.jobs if j.status in WAITING), start=1)}
    axes = columns.of_jobs(jobs, studies)
    several = ("study",) if len({job.study for job in jobs}) > 1 else ()
    best = columns.best_heading(jobs)
    head = (
        "job",
        "place",
        *several,
        "cell",
        *(axis.label for axis in axes),
        "state",
        "trials",
        best,
        "attempt",
        "note",
    )
    rows = [
        (
            job.id,
            places.get(job.id),
            *(job.study for _ in several),
            naming.cell_name(job),
            *(job.labels.get(axis.field) for axis in axes),
            f"{formatting.LOST} lost"
            if is_lost(job, snapshot, now)
            else f"{formatting.glyph_of(job.status)} {job.status}",
            f"{formatting.trials_ended(job)}/{job.trials_wanted}",
            formatting.score(job.best_value) if len(job.goals) == 1 else formatting.best_or_front(job),
            job.attempt,
            remark(job),
        )
        for job in jobs
    ]
    return emit_table(head, rows, right=("job", "place", "trials", best, "attempt"))


WAITING = (JobStatus.QUEUED, JobStatus.PAUSED)


def remark(job: Job) -> str:
    """Returns the note about a job: unreadable, held, asked to stop, or its cause and message."""
    if job.unreadable:
        return f"unreadable: {job.unreadable}"
    if job.hold_reason:
        return f"held: {job.hold_reason}"
    if job.asked:
        return f"asked to {job.asked}"
    if job.is_passed_over:
        return job.message or ""
    if job.status in (JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.QUEUED) and job.cause:
        return f"{job.cause}: {job.message}" if job.message else str(job.cause)
    return ""


@click.command()
@click.argument("cell")
@click.option("--top", type=COUNT, metavar="N", help="list only the best N, the best first  [default: all, by number]")
@click.option("--csv", "as_csv", is_flag=True, help="comma-separated values with all digits")
@AS_JSON
def trials(cell: str, top: int | None, as_csv: bool, as_json: bool) -> None:
    """List the trials of one CELL (mnist/S, or its job number), best marked with a star.

    --top N lists the best by the goal; with several goals the Pareto front, then the front of the rest.
    """
    with reading() as db:
        job = one_job(queries.jobs(db), cell)
        every = queries.trials(db, job.id)
        found = every if top is None else best_first(job, every, top)
        study = columns.declared(job.study, queries.studies(db).get(job.study))
        seconds = {} if columns.has_own(job) else spent_until_now(db, job, found)
        warn_lost(db, [job])
    warn_unreadable(unreadable_in({"job": [job], "trial": found}))
    if as_json:
        if columns.has_own(job):
            return emit_json("trials", found)
        return emit_json("trials", [columns.tree(job, trial, study, seconds.get(trial.id)) for trial in found])
    if not every:
        return say(f"job {job.id} ({naming.cell_name(job)}) has no trial yet; `fts why {job.id}` says why")
    if not found:
        return say(f"job {job.id} ({naming.cell_name(job)}): {formatting.without_best(job)}")
    if as_csv:
        if columns.has_own(job):
            return emit_csv(csv_of([flat(trial) | columns.declared_facts(trial, study) for trial in found]))
        rows = [columns.record(job, trial, study, seconds.get(trial.id), columns.CSV) for trial in found]
        head, lines = columns.aligned(rows)
        return emit_csv(csv_text(head, lines).rstrip("\n"))
    shown = columns.of_trials(job, found, study)
    took = () if columns.has_own(job) else ("took",)
    notes = [", ".join([*trial.badges, *([trial.message] if trial.message else [])]) for trial in found]
    rows_of_table = [
        [
            f"t{trial.number}{formatting.BEST if trial.number in (job.front or (job.best_trial,)) else ''}",
            f"{formatting.glyph_of(trial.status)} {trial.status}",
            *(columns.text_of(trial, column) for column in shown),
            *(formatting.spell(seconds.get(trial.id, 0.0)) for _ in took),
            note,
        ]
        for trial, note in zip(found, notes, strict=True)
    ]
    right = [column.label for column in shown if column.right]
    emit_table(("trial", "state", *(column.label for column in shown), *took, "note"), rows_of_table, [*right, *took])
    if len(job.goals) > 1:
        front = formatting.count(len(job.front), "such trial")
        say(f"{formatting.BEST} no other trial beats it in all of {', '.join(job.goals)}: {front}")
    if shares := importance(every):
        listed = ", ".join(f"{each.name} {each.share:.2f}" for each in shares)
        bar = chance_of(every)
        of = f"{shares[0].n} trials, each parameter alone"
        say(f"importance, from {of}: {listed} (0: none, 1: it decides all; chance alone may reach {bar:.2f})")
    if not columns.has_own(job) and (rest := columns.other_parameters(found)):
        say(f"parameters without a column: {', '.join(rest)}; --csv and --json show all")
    return None


@click.command()
@click.argument("cell", metavar="CELL[:tN]")
@click.option("--plot", is_flag=True, help="draw the curve with characters")
@AS_JSON
def curve(cell: str, plot: bool, as_json: bool) -> None:
    """Show the metrics of one trial by epoch: `fts curve mnist/S:t3`; without :tN the running one, else the best."""
    from fts.jobs.cli.plot import plot_curve, plot_metric  # here, not above: --help does not need it

    with reading() as db:
        job, trial = find_trial(db, cell)
        epochs = queries.epochs(db, trial.id)
        worked = queries.attempts(db, trial.id)
        study = columns.declared(job.study, queries.studies(db).get(job.study))
    warn_unreadable(unreadable_in({"job": [job], "trial": [trial], "epoch": epochs}))
    own = columns.has_own(job)
    if as_json:
        return emit_json("epochs", epochs if own else [columns.step_tree(epoch, job) for epoch in epochs])
    if not epochs:
        return say(f"t{trial.number} of {naming.cell_name(job)} has no {study.step} yet{without_steps(trial, study)}")
    what = trial.architecture if own else ", ".join(f"{k} {formatting.number(v)}" for k, v in trial.params.items())
    where = ran_on(worked, epochs, study.step) if len({one.host for one in worked if one.host}) > 1 else ""
    say(f"{job.experiment} t{trial.number}, {what}, {trial.status}" + (f", {where}" if where else ""))
    if plot:
        told = {epoch.epoch: epoch.value for epoch in epochs if epoch.value is not None}
        if own:
            return emit(plot_curve(epochs, trial.prior_loss))
        name = job.deciding_metric
        return emit(plot_metric(told, name, job.goals[name], study.step))
    shown = columns.of_steps(job, epochs, study)
    head = (study.step, *(column.label for column in shown))
    rows = [
        (
            f"{formatting.BEST if e.epoch == trial.best_epoch else ''}{e.epoch}",
            *(columns.text_of(e, column) for column in shown),
        )
        for e in epochs
    ]
    return emit_table(head, rows, right=head)


def without_steps(trial: Trial, study: Declared) -> str:
    """Says why an ended trial has no steps; empty for a running one."""
    if trial.ended_at is None:
        return ""
    if trial.status is TrialStatus.FAILED:
        return f": it failed{f', {trial.message}' if trial.message else ''}"
    value = "" if trial.value is None else f", its value is {formatting.score(trial.value)}"
    return f": it has ended without a report (trial.report(value, {study.step})){value}"


def find_trial(db: Database, word: str) -> tuple[Job, Trial]:
    """Returns the job and trial for `2M/h1:t3`; without `:t3` the running trial, else the best, else the latest."""
    jobs = queries.jobs(db)
    cell, number = split_trial(word, axes_of(jobs))
    job = one_job(jobs, cell)
    found = queries.trials(db, job.id)
    if not found:
        raise NothingThere(f"job {job.id} ({naming.cell_name(job)}) has no trial yet; `fts why {job.id}` says why")
    if number is None:
        live = [t for t in found if t.ended_at is None]
        best = [t for t in found if t.number == job.best_trial]
        return job, (live or best or found)[-1]
    for trial in found:
        if trial.number == number:
            return job, trial
    raise NothingThere(f"{naming.cell_name(job)} has trials t0-t{found[-1].number}, no t{number}")


@click.command()
@click.option("--since", metavar="TIME", help="start: 10h (ago), 2d, or 2026-11-20 22:00  [default: the beginning]")
@click.option("--limit", default=50, type=COUNT, show_default=True, help="largest number of events, the newest")
@click.option("--job", "cell", metavar="CELL", help="show only events of this job  [default: all jobs]")
@AS_JSON
def events(since: str | None, limit: int, cell: str | None, as_json: bool) -> None:
    """Show the journal: who changed what, and when, oldest first."""
    with reading() as db:
        after = read_time(since) if since else None
        job_id = one_job(queries.jobs(db), cell).id if cell else None
        newest = queries.events(db, limit=limit + 1, job_id=job_id)
    every = [event for event in newest if after is None or event.at >= after]
    found = every[-limit:]
    warn_unreadable(unreadable_in({"event": found}))
    if len(every) > limit:
        say(f"only the newest {limit} events; --limit shows more")
    if as_json:
        return emit_json("events", found)
    if not found:
        return say("nothing has happened" + (f" since {since}" if since else " yet"))
    columns = ("event", "when", "who", "verb", "job", "what")
    now = time.time()
    rows = [(e.id, formatting.when(e.at, now), e.who, e.verb, e.job_id, event_words(e)) for e in found]
    return emit_table(columns, rows, right=("event", "job"))


def event_words(event: Event) -> str:
    return f"{event.message} (undone by event {event.undone_by})" if event.undone_by else event.message


@click.command()
@click.argument("job", metavar="JOB")
@AS_JSON
def why(job: str, as_json: bool) -> None:
    """Say why a JOB is not running: its place, a hold, the queue, the workers."""
    with reading() as db:
        snapshot = liveness.with_local_facts(queries.snapshot(db), here().db.parent)
        found = one_job(snapshot.jobs, job)
        told = reasons_of(found, snapshot)
        last = last_lines_of(db, snapshot, found.id)
    if as_json:
        fields = {
            "job": found.id,
            "cell": naming.cell_name(found),
            "reasons": told,
            "last_lines": last and last.__dict__,
        }
        return emit_json("why", fields, snapshot.taken_at)
    return emit("\n".join([*told, *last_words(last)]))


def flat(trial: Trial) -> dict[str, Any]:
    """Converts a trial to one flat row: nested values become JSON, missing ones empty."""
    values = plain(trial)
    return {
        name: "" if value is None else json.dumps(value) if isinstance(value, dict | list) else value
        for name, value in values.items()
    }


def csv_of(rows: list[dict[str, Any]]) -> str:
    return csv_text(rows[0], [list(row.values()) for row in rows]).rstrip("\n")
