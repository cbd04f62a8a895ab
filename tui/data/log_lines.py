"""Reads logs: of the selected trial, and the last lines of a job in trouble or of a worker that has stopped."""

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
    from fts.tui.data.reader import ReadCache, ReadRequest

ENDS = (*FAILED, *RELEASED)  # events that store the end of a log


def last_words(db: Database, snapshot: Snapshot, request: ReadRequest, path: Path) -> LastLines | None:
    """Returns the last lines of the job in trouble, or of the worker that has stopped. Not cached: it reads little."""
    job = next((job for job in snapshot.jobs if job.id == request.words_of), None)
    last = None if job is None else _last_of_job(db, job, naming.names_of(snapshot.jobs)[job.id], request, path)
    if (
        last is None
        and request.at is None
        and (worker := departed(snapshot, request.now or snapshot.taken_at)) is not None
    ):
        last = worker_lines(worker, snapshot, path.absolute().parent, request.now or snapshot.taken_at)
    return last


def _last_of_job(db: Database, job: Job, name: str, request: ReadRequest, path: Path) -> LastLines | None:
    latest = queries.latest_trial(db, job.id)  # the live one, if there is one
    trials = [clean_value(latest)] if latest is not None else []
    ends = queries.events(db, job_id=job.id, verbs=ENDS, limit=20)  # not cleaned: that would remove line ends
    if request.at is not None:
        ends = tuple(event for event in ends if event.at <= request.at)
    return last_lines(job, trials, ends, path.absolute().parent, name=name, past=request.at is not None)


def trial_lines(request: ReadRequest, cache: ReadCache, path: Path) -> tuple[str, ...]:
    if request.screen != TRIALS or request.at is not None:
        return ()
    trial = by_id(cache.cell.trials, request.trial_id)
    ended_badly = trial is not None and str(trial.status) in ("failed", "interrupted")
    return of_trial(trial, path.absolute().parent) if trial is not None and ended_badly else ()


def log_of(
    snapshot: Snapshot, request: ReadRequest, cache: ReadCache, db_path: Path
) -> tuple[tuple[str, ...], str, str]:
    """Returns (lines, name, problem) of the selected trial's log. Opens only files below the database's folder."""
    if not (request.with_log or request.screen == LOGS):
        return (), "", ""
    trial = _logged_trial(snapshot, request, cache)
    if trial is None or not trial.log_path:
        cache.log.forget()
        return (), "", ""
    study = db_path.absolute().parent
    path = log_file(study, trial.log_path)
    if path is None:
        return (), "", f"the log of t{trial.number} lies outside {study.name}/ and is not opened"
    try:
        cache.log.read(path)
    except OSError as error:
        return (), path.name, f"{path.name}: {error.strerror or error}"
    if request.at is not None:  # replay: only the lines written until then
        return tuple(lines_until(cache.log.lines, path.stat().st_mtime, request.at)), path.name, ""
    return cache.log.lines, path.name, ""


def _logged_trial(snapshot: Snapshot, request: ReadRequest, cache: ReadCache) -> Trial | None:
    known = cache.cell.trials if cache.cell.job_id == request.job_id else ()
    own = [t for t in (*snapshot.trials, *known[-1:]) if t.job_id == request.job_id]
    chosen = by_id(known, request.trial_id) or by_id(own, request.trial_id)
    live = next((t for t in own if t.ended_at is None), None)
    return chosen or live or max(own, key=lambda t: t.number, default=None)
