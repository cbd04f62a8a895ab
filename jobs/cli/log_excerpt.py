"""Shows the last log lines of a failed job or a lost worker, below `fts status` and `fts why`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.cli.app import here
from fts.jobs.status.log_excerpt import LastLines, departed, last_lines, trouble, worker_lines
from fts.jobs.status.naming import names_of
from fts.jobs.status.surface import Surface
from fts.state import queries

if TYPE_CHECKING:
    from fts.state.db import Database
    from fts.state.values import Job, Snapshot


def last_lines_of(db: Database, snapshot: Snapshot, selected: int | None) -> LastLines | None:
    """Returns the last log lines of the failed or lost job (if it is the selected one), else of the lost worker."""
    now = snapshot.taken_at
    job = trouble(snapshot, now, selected)
    if selected is not None and (job is None or job.id != selected):
        return None
    said = None if job is None else _of_job(db, job, names_of(snapshot.jobs)[job.id])
    worker = departed(snapshot, now) if said is None and selected is None else None
    return said if worker is None else worker_lines(worker, snapshot, here().outputs, now)


def _of_job(db: Database, job: Job, name: str) -> LastLines | None:
    trials = [trial for trial in (queries.latest_trial(db, job.id),) if trial is not None]
    return last_lines(job, trials, queries.events(db, job_id=job.id), here().outputs, name=name)


def last_words(last: LastLines | None) -> list[str]:
    """Formats the log lines below a title, and the command that shows more: `fts logs 5`."""
    if last is None:
        return []
    where = last.where(Surface.COMMAND_LINE)
    return [f"last words of {last.title}:", *(f"  {text}" for text in last.lines), f"  ({where})"]
