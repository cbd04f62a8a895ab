"""Reads what programs have written: the log of a trial, the last lines of a job in trouble or of a worker that left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.status import naming
from fts.jobs.status.event_groups import FAILED, RELEASED
from fts.jobs.status.log_excerpt import (
    LastLines,
    departed,
    last_lines,
    lines_until,
    log_file,
    of_trial,
    worker_lines,
)
from fts.jobs.status.sanitize import clean_value
from fts.state import queries
from fts.tui.data.trial_store import by_id
from fts.tui.data.view import LOGS, TRIALS

if TYPE_CHECKING:
    from pathlib import Path

    from fts.state.db import Database
    from fts.state.values import Job, Snapshot, Trial
    from fts.tui.data.reader import Memory, ReadRequest

ENDS = (*FAILED, *RELEASED)  # events that keep the end of a log


def last_words(db: Database, snapshot: Snapshot, wish: ReadRequest, path: Path) -> LastLines | None:
    """Of the job in trouble, or of the worker that left; read anew each time, because it is three lines of one file."""
    job = next((job for job in snapshot.jobs if job.id == wish.words_of), None)
    said = None if job is None else _last_of_job(db, job, naming.names_of(snapshot.jobs)[job.id], wish, path)
    if said is None and wish.at is None and (worker := departed(snapshot, wish.now or snapshot.taken_at)) is not None:
        said = worker_lines(worker, snapshot, path.absolute().parent, wish.now or snapshot.taken_at)
    return said


def _last_of_job(db: Database, job: Job, name: str, wish: ReadRequest, path: Path) -> LastLines | None:
    latest = queries.latest_trial(db, job.id)  # the live one, if one is
    trials = [clean_value(latest)] if latest is not None else []
    ends = queries.events(db, job_id=job.id, verbs=ENDS, limit=20)  # as written: cleaned ones have lost their line ends
    if wish.at is not None:
        ends = tuple(event for event in ends if event.at <= wish.at)
    return last_lines(job, trials, ends, path.absolute().parent, name=name, past=wish.at is not None)


def trial_lines(wish: ReadRequest, memory: Memory, path: Path) -> tuple[str, ...]:
    if wish.screen != TRIALS or wish.at is not None:
        return ()
    trial = by_id(memory.cell.trials, wish.trial_id)
    ended_badly = trial is not None and str(trial.status) in ("failed", "interrupted")
    return of_trial(trial, path.absolute().parent) if trial is not None and ended_badly else ()


def log_of(snapshot: Snapshot, wish: ReadRequest, memory: Memory, db_path: Path) -> tuple[tuple[str, ...], str, str]:
    """(lines, name, problem) of the selected trial's log; only files below the database's folder are opened."""
    if not (wish.with_log or wish.screen == LOGS):
        return (), "", ""
    trial = _logged_trial(snapshot, wish, memory)
    if trial is None or not trial.log_path:
        memory.log.forget()
        return (), "", ""
    study = db_path.absolute().parent
    path = log_file(study, trial.log_path)
    if path is None:
        return (), "", f"the log of t{trial.number} lies outside {study.name}/ and is not opened"
    try:
        memory.log.read(path)
    except OSError as error:
        return (), path.name, f"{path.name}: {error.strerror or error}"
    if wish.at is not None:  # what was written later is not known yet
        return tuple(lines_until(memory.log.lines, path.stat().st_mtime, wish.at)), path.name, ""
    return memory.log.lines, path.name, ""


def _logged_trial(snapshot: Snapshot, wish: ReadRequest, memory: Memory) -> Trial | None:
    known = memory.cell.trials if memory.cell.job_id == wish.job_id else ()
    own = [t for t in (*snapshot.trials, *known[-1:]) if t.job_id == wish.job_id]
    chosen = by_id(known, wish.trial_id) or by_id(own, wish.trial_id)
    live = next((t for t in own if t.ended_at is None), None)
    return chosen or live or max(own, key=lambda t: t.number, default=None)
