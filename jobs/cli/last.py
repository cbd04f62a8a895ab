"""What a job said before its worker died or it failed, below `fts status` and `fts why`."""

from __future__ import annotations

from jobs.cli.group import here
from jobs.glance.last_lines import LastLines, last_lines, trouble
from state import queries
from state.db import Database
from state.values import Snapshot


def last_lines_of(db: Database, snapshot: Snapshot, selected: int | None) -> LastLines | None:
    """Of the job in trouble, if that is the selected one or none is selected."""
    job = trouble(snapshot, snapshot.taken_at, selected)
    if job is None or selected not in (None, job.id):
        return None
    trials = [trial for trial in (queries.latest_trial(db, job.id),) if trial is not None]  # the live one, if one is
    return last_lines(job, trials, queries.events(db, job_id=job.id), here().outputs)


def last_words(last: LastLines | None) -> list[str]:
    """Three lines of a log, and where to read on: `fts logs 5`."""
    if last is None:
        return []
    where = f"fts logs {last.job_id} reads on in {last.source}" if last.source else last.where
    return [f"last words of {last.title}:", *(f"  {text}" for text in last.lines), f"  ({where})"]
