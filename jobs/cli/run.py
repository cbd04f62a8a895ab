"""Implements `fts run study.toml`: runs one cell of a study file, or one queued job, here and now."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fts.jobs.cli.app import Whole, here
from fts.jobs.cli.enqueue_study import enqueue_file, study_options
from fts.jobs.cli.errors import NothingThere
from fts.jobs.cli.output import say
from fts.jobs.cli.work import console_with_log, machine_options
from fts.jobs.settings import worker_settings
from fts.jobs.study_file.words import STUDY_FILE
from fts.state.location import has_study
from fts.state.values import JobStatus

if TYPE_CHECKING:
    from fts.state.values import Job


@click.command()
@click.argument("what", metavar="STUDY.toml")
@study_options
@click.option("--slot", type=Whole(0, 999), metavar="N", help="slot to run in  [default: the first free one]")
@machine_options
def run(
    what: str,
    wanted: tuple[str, ...],
    settings: tuple[str, ...],
    warm: tuple[str, ...],
    name: str | None,
    again: bool,
    slot: int | None,
    threads: int | None,
    device: str | None,
    memory_limit: int | None,
    **_: Any,
) -> int:
    """Run one cell of a study file here and now; also a queued or paused JOB, by number or name.

    Uses the same code and writes the same records as a worker. Ctrl-C stops it at a checkpoint and the job goes back to
    the queue. Needs a free slot; without one nothing is enqueued.
    """
    from fts.jobs.worker.signals import stop_listening
    from fts.jobs.worker.startup import hold_slot  # here, not above: --help needs no huey
    from fts.jobs.worker.worker import run_job

    machine = worker_settings(slots=1, threads=threads, device=device, memory_limit=memory_limit)
    of_file = STUDY_FILE.fullmatch(what) is not None
    number = None if of_file else _waiting(what)
    if of_file:  # dry run first: what cannot run here must not stay in the queue
        enqueue_file(Path(what), wanted, settings, warm, name, again=again, dry_run=True, one=True)
    with hold_slot(here(), slot) as held:
        if of_file:
            (line,) = enqueue_file(Path(what), wanted, settings, warm, name, again=again, one=True)
            number = line.job_id
            assert number is not None, "what is written has a number"
            job = _job(number)
            if not _can_run(job):
                say(line.told)
                return 0 if job.status is JobStatus.DONE else 1
            if line.state in ("changed", "extended"):
                say(line.told)
        assert number is not None, "a waiting job has a number"
        say(f"job {number} ({_job(number).cell}) runs here on slot {held.slot}; Ctrl-C stops it at a checkpoint")
        code = run_job(here(), machine, number, console_with_log(logging.WARNING), held)
        stop_listening()
        return code


def _job(number: int) -> Job:
    from fts.state import queries
    from fts.state.db import open_for_reading

    db = open_for_reading(here().db)
    try:
        return queries.job(db, number)
    finally:
        db.close()


def _waiting(word: str) -> int:
    """Returns the number of the job that a word names. Raises NothingThere if it cannot run now."""
    from fts.jobs.cli.selection import one_job
    from fts.state import queries
    from fts.state.db import open_for_reading

    if not has_study(here().db):
        raise NothingThere(f"there is no job {word}: the queue is empty; name a study file such as study.toml")
    db = open_for_reading(here().db)
    try:
        job = one_job(queries.jobs(db), word)
    finally:
        db.close()
    if not _can_run(job):
        raise NothingThere(f"job {job.id} ({job.cell}) is {job.status}, not waiting; `fts why {job.id}` says more")
    return job.id


def _can_run(job: Job) -> bool:
    """Is it queued or paused, or was it running here until its worker was killed, for example an earlier `fts run`?"""
    from fts.state import queries
    from fts.state.db import open_for_reading
    from fts.state.liveness import gone_workers

    if job.status is not JobStatus.RUNNING:
        return job.status in (JobStatus.QUEUED, JobStatus.PAUSED)
    db = open_for_reading(here().db)
    try:
        return job.worker_id in gone_workers(queries.workers(db), here().outputs)
    finally:
        db.close()
