"""The commands that show: queue, trials, curve, events, results, why. None of them writes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from fts.jobs.cli.app import AS_JSON, COUNT, here
from fts.jobs.cli.errors import NothingThere
from fts.jobs.cli.log_excerpt import last_lines_of, last_words
from fts.jobs.cli.output import emit, emit_json, emit_table, name_unreadable, plain, say
from fts.jobs.cli.selection import choose, one_job, split_trial
from fts.jobs.cli.time_option import since_of
from fts.jobs.records import results as results_table
from fts.jobs.search.importance import importance
from fts.jobs.status import formatting, naming
from fts.jobs.status.explain import why as reasons_of
from fts.jobs.status.log_excerpt import is_lost
from fts.state import liveness, queries
from fts.state.db import Database, open_for_reading
from fts.state.files import csv_text
from fts.state.rows import unreadable_in
from fts.state.values import Event, Job, JobStatus, Trial


@contextmanager
def reading() -> Iterator[Database]:
    """The database of this command, for reading only. Raises NoDatabase when there is none."""
    db = open_for_reading(here().db)
    try:
        yield db
    finally:
        db.close()


@click.command()
@click.argument("wanted", nargs=-1, metavar="[JOB]...")
@AS_JSON
def queue(wanted: tuple[str, ...], as_json: bool) -> None:
    """Every job in the order it will run, then the ended ones.

    JOB narrows it: 7, 3-5, 2M/h1, 2B, h3, state:failed.
    """
    with reading() as db:
        snapshot, now = queries.snapshot(db), db.now()
    if not as_json:
        snapshot = liveness.seen(snapshot, here().db.parent)
    name_unreadable(snapshot.unreadable)
    jobs = choose(snapshot.jobs, wanted).jobs if wanted else snapshot.jobs
    if as_json:
        return emit_json("jobs", jobs, snapshot.taken_at)
    if not jobs:
        return say("the queue is empty: `fts enqueue --matrix` fills it")
    if snapshot.queue_paused:
        why = snapshot.queue_paused_reason or "no reason given"
        say(f"the queue is paused: {why}; `fts resume --queue` lets jobs start")
    places = {job.id: n for n, job in enumerate((j for j in snapshot.jobs if j.status in WAITING), start=1)}
    columns = ("job", "place", "cell", "task", "tier", "state", "trials", "best", "attempt", "note")
    rows = [
        (
            job.id,
            places.get(job.id),
            naming.cell_name(job),
            job.task,
            job.tier,
            f"{formatting.LOST} lost"
            if is_lost(job, snapshot, now)
            else f"{formatting.glyph_of(job.status)} {job.status}",
            f"{formatting.trials_ended(job)}/{job.trials_wanted}",
            formatting.score(job.best_value),
            job.attempt,
            remark(job),
        )
        for job in jobs
    ]
    return emit_table(columns, rows, right=("job", "place", "trials", "best", "attempt"))


WAITING = (JobStatus.QUEUED, JobStatus.PAUSED)


def remark(job: Job) -> str:
    """What a person should know beside the state."""
    if job.unreadable:
        return f"unreadable: {job.unreadable}"
    if job.hold_reason:
        return f"held: {job.hold_reason}"
    if job.asked:
        return f"asked to {job.asked}"
    if job.status in (JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.QUEUED) and job.cause:
        return f"{job.cause}: {job.message}" if job.message else str(job.cause)
    return ""


@click.command()
@click.argument("cell")
@click.option("--csv", "as_csv", is_flag=True, help="comma-separated, every digit")
@AS_JSON
def trials(cell: str, as_csv: bool, as_json: bool) -> None:
    """The trials of one CELL (2M/h1, its experiment name, or its job number), best marked with a star."""
    with reading() as db:
        job = one_job(queries.jobs(db), cell)
        found = queries.trials(db, job.id)
    name_unreadable(unreadable_in({"job": [job], "trial": found}))
    if as_json:
        return emit_json("trials", found)
    if not found:
        return say(f"job {job.id} ({naming.cell_name(job)}) has no trial yet; `fts why {job.id}` says why")
    if as_csv:
        return emit_csv([flat(trial) for trial in found])
    columns: tuple[str, ...] = (
        "trial",
        "state",
        "objective",
        "value",
        "epoch",
        "epochs",
        "AUC",
        "95%",
        "prior",
        "n_val",
        "n_pos",
    )
    columns += ("architecture", "params", "batch", "lr", "dropout", "minutes", "note")
    rows = [_trial_row(trial, trial.number == job.best_trial) for trial in found]
    right = ("value", "epoch", "epochs", "AUC", "prior", "n_val", "n_pos", "params", "lr", "dropout", "minutes")
    emit_table(columns, rows, right=right)
    if shares := importance(found):
        listed = ", ".join(f"{each.name} {each.share:.2f}" for each in shares)
        say(f"share of rank variance in {shares[0].n} trials, each parameter alone: {listed}")
    return None


def _trial_row(trial: Trial, best: bool) -> list[Any]:
    return [
        f"t{trial.number}{formatting.BEST if best else ''}",
        f"{formatting.glyph_of(trial.status)} {trial.status}",
        trial.objective,
        formatting.score(trial.value),
        trial.best_epoch,
        trial.epochs,
        formatting.score(trial.val_auc, 3),
        results_table.interval(trial.auc_low, trial.auc_high),
        formatting.score(trial.prior_loss),
        trial.n_val,
        trial.n_pos,
        trial.architecture,
        results_table.parameters(trial.n_params),
        f"{trial.micro_batch}x{trial.accumulation}" if trial.micro_batch else None,
        _number(trial.params.get("learning_rate")),
        _number(trial.params.get("dropout")),
        f"{trial.train_seconds / 60:.1f}",
        ", ".join([*trial.badges, *([trial.message] if trial.message else [])]),
    ]


def _number(value: object) -> str | None:
    return None if value is None else formatting.number(value)


@click.command()
@click.argument("cell", metavar="CELL[:tN]")
@click.option("--plot", is_flag=True, help="draw it with characters")
@AS_JSON
def curve(cell: str, plot: bool, as_json: bool) -> None:
    """Losses epoch by epoch of one trial: `fts curve 2M/h1:t3`; without :tN the running one, else the best."""
    from fts.jobs.cli.plot import plot_curve  # here: only when it is needed

    with reading() as db:
        job, trial = find_trial(db, cell)
        epochs = queries.epochs(db, trial.id)
    name_unreadable(unreadable_in({"job": [job], "trial": [trial], "epoch": epochs}))
    if as_json:
        return emit_json("epochs", epochs)
    if not epochs:
        return say(f"t{trial.number} of {naming.cell_name(job)} has no epoch yet")
    say(f"{job.experiment} t{trial.number}, {trial.architecture}, {trial.status}")
    if plot:
        return emit(plot_curve(epochs, trial.prior_loss))
    columns: tuple[str, ...] = (
        "epoch",
        "step",
        "train_loss",
        "val_loss",
        "val_auc",
        "val_brier",
        "pred_min",
        "pred_max",
        "pred_sd",
    )
    columns += ("lr", "samples/s", "seconds")
    rows = [
        (
            f"{formatting.BEST if e.epoch == trial.best_epoch else ''}{e.epoch}",
            e.step,
            formatting.score(e.train_loss),
            formatting.score(e.val_loss),
            formatting.score(e.val_auc, 3),
            formatting.score(e.val_brier),
            formatting.score(e.pred_min, 3),
            formatting.score(e.pred_max, 3),
            formatting.score(e.pred_sd),
            formatting.number(e.learning_rate),
            f"{e.samples_per_s:.0f}",
            f"{e.seconds:.1f}",
        )
        for e in epochs
    ]
    return emit_table(columns, rows, right=columns)


def find_trial(db: Database, word: str) -> tuple[Job, Trial]:
    """`2M/h1:t3`; without `:t3` the running trial, else the best, else the latest."""
    cell, number = split_trial(word)
    job = one_job(queries.jobs(db), cell)
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
@click.option("--since", metavar="TIME", help="10h, 2d, or 2026-11-20 22:00")
@click.option("--limit", default=50, type=COUNT, show_default=True, help="at most this many events, the newest")
@click.option("--job", "cell", metavar="CELL", help="only of this job")
@AS_JSON
def events(since: str | None, limit: int, cell: str | None, as_json: bool) -> None:
    """The journal: who changed what, and when, oldest first."""
    with reading() as db:
        after = since_of(since) if since else None
        job_id = one_job(queries.jobs(db), cell).id if cell else None
        found = [e for e in queries.events(db, limit=limit, job_id=job_id) if after is None or e.at >= after]
    name_unreadable(unreadable_in({"event": found}))
    if as_json:
        return emit_json("events", found)
    if len(found) == limit:
        say(f"only the newest {limit} events; --limit shows more")
    if not found:
        return say("nothing has happened" + (f" since {since}" if since else " yet"))
    columns = ("event", "when", "who", "verb", "job", "what")
    now = time.time()
    rows = [(e.id, formatting.when(e.at, now), e.who, e.verb, e.job_id, event_words(e)) for e in found]
    return emit_table(columns, rows, right=("event", "job"))


def event_words(event: Event) -> str:
    return f"{event.message} (undone by event {event.undone_by})" if event.undone_by else event.message


@click.command()
@click.argument("wanted", nargs=-1, metavar="[JOB]...")
@click.option("--csv", "form", flag_value="csv", help="comma-separated, every digit")
@click.option("--md", "form", flag_value="md", help="a Markdown table")
@click.option("--json", "form", flag_value="json", help="one JSON object, with schema and taken_at")
@click.option("--wide", is_flag=True, help="every column, even if the terminal is narrower")
def results(wanted: tuple[str, ...], form: str | None, wide: bool) -> None:
    """Best value per cell: with its 95 % interval, the class prior's loss and the size of the validation set.

    A narrow terminal shows the columns that carry the conclusion; --wide shows all.
    """
    with reading() as db:
        jobs = queries.jobs(db)
        rows = results_table.results(db, choose(jobs, wanted).jobs if wanted else jobs)
    name_unreadable(unreadable_in({"job": jobs}))
    if form == "json":
        return emit_json("results", rows)
    if form == "csv":
        return emit(results_table.as_csv(rows).rstrip("\n"))
    if not rows:
        return say("there is no cell yet: `fts enqueue --matrix` puts the matrix in line")
    if form == "md":
        return emit(results_table.as_markdown(rows))
    least = () if wide else results_table.LEAST
    emit_table(results_table.COLUMNS, results_table.table(rows), right=results_table.NUMBERS, least=least, cut=not wide)
    if note := results_table.data_note(rows):
        say(note)
    return say(
        "validation data only. 95%: interval of the AUC. prior: loss of always predicting the base rate. vs base: "
        "AUC minus that of the best baseline on the same days. Wh: energy of the training, where a sensor measures it"
    )


@click.command()
@click.argument("job", metavar="JOB")
@AS_JSON
def why(job: str, as_json: bool) -> None:
    """Why a JOB is not running: its place, a hold, the queue, the workers."""
    with reading() as db:
        snapshot = liveness.seen(queries.snapshot(db), here().db.parent)
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
    """A trial as one row of a table: what has parts is JSON, what is missing is empty."""
    values = plain(trial)
    return {
        name: "" if value is None else json.dumps(value) if isinstance(value, dict | list) else value
        for name, value in values.items()
    }


def emit_csv(rows: list[dict[str, Any]]) -> None:
    emit(csv_text(rows[0], [list(row.values()) for row in rows]).rstrip("\n"))
