"""`fts run` runs one cell here and now; `fts demo` is the example of `make run`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import click

from fts.jobs.cli.app import Whole, here
from fts.jobs.cli.errors import NothingThere
from fts.jobs.cli.output import say
from fts.jobs.cli.selection import NUMBER, one_job
from fts.jobs.cli.work import console_with_log, machine_options
from fts.jobs.settings import worker_settings
from fts.jobs.status.explain import why
from fts.jobs.status.naming import cell_name
from fts.state import liveness, queries
from fts.state.daily_bars import PATCHTST
from fts.state.db import open_for_person, open_for_reading
from fts.state.location import has_study
from fts.state.values import Job, JobStatus
from fts.study import matrix
from fts.study.cli.enqueue import cell_options, parse_cell, specs_of

if TYPE_CHECKING:
    from fts.study.cell import CellSpec


@click.command()
@click.argument("cell")
@cell_options
@click.option("--again", is_flag=True, help="search the cell again, although it has a job")
@click.option("--no-check", is_flag=True, help="skip the dry run of one step for a new cell")
@click.option("--slot", type=Whole(0, 999), metavar="N", help="slot to use  [default: the first free one]")
@machine_options
def run(
    cell: str,
    task: str,
    again: bool,
    no_check: bool,
    slot: int | None,
    threads: int | None,
    device: str | None,
    memory_limit: int | None,
    **fields: Any,
) -> int:
    """Run one CELL here and now: a waiting job (by number or name), or a new one such as 2M/h1.

    It uses the same code and writes the same records as a worker; Ctrl-C writes a checkpoint and the job stays queued.
    It needs a free slot; without one nothing is enqueued.

    The options below are for the PatchTST study; for a study file: fts run study.toml --help
    """
    from fts.jobs.worker.startup import hold_slot
    from fts.jobs.worker.worker import run_job  # here, not above: --help needs no huey

    settings = worker_settings(slots=1, threads=threads, device=device, memory_limit=memory_limit)
    job = waiting_job(cell)
    wanted = [] if job is not None else specs_of([parse_cell(cell, task)], **fields)
    with hold_slot(here(), slot) as held:  # first: a cell that cannot run here must not stay queued
        if job is None:
            line = enqueued_here(wanted, not no_check, again)
            if line.is_over:
                say(line.told)
                return 0 if line.status == JobStatus.DONE else 1
            job = line.job_id
            assert job is not None, "what is written has a number"
        say(f"job {job} runs here on slot {held.slot}; Ctrl-C stops it at a checkpoint")
        return run_job(here(), settings, job, console_with_log(logging.WARNING), held)


def enqueued_here(wanted: list[CellSpec], check: bool, again: bool) -> matrix.CellLine:
    """Enqueues one new cell, or finds the existing job of the same question."""
    db = open_for_person(here().db)
    try:
        (line,) = matrix.enqueue_cells(db, here(), wanted, check=check, again=again, tell=say)
        return line
    finally:
        db.close()


def waiting_job(word: str) -> int | None:
    """Returns the number of the waiting job that a word names, or None if it names a new cell.

    Raises NothingThere for a job that exists but cannot be run here; the message says who runs it or how it ended.
    """
    if not has_study(here().db):
        if NUMBER.fullmatch(word):
            raise NothingThere(f"there is no job {word}: the queue is empty; name a cell such as 2M/h1")
        return None
    db = open_for_reading(here().db)
    try:
        snapshot = liveness.with_local_facts(queries.snapshot(db), here().outputs)
    finally:
        db.close()
    killed = [worker.id for worker in snapshot.workers if worker.gone]  # for example an earlier `fts run`
    runs = [job for job in snapshot.jobs if job.status is JobStatus.RUNNING and job.worker_id in killed]
    waiting = [*runs, *(job for job in snapshot.jobs if job.status in (JobStatus.QUEUED, JobStatus.PAUSED))]
    try:
        return one_job(waiting, word).id
    except NothingThere:
        running = [job for job in snapshot.jobs if job.status is JobStatus.RUNNING]
        if found := _of_these(running, word):
            raise NothingThere("; ".join(why(found, snapshot))) from None
        others = [job for job in snapshot.jobs if job.study != PATCHTST]
        if NUMBER.fullmatch(word) or _of_these(others, word):  # neither can name a new cell
            ended = one_job(snapshot.jobs, word)
            raise NothingThere(
                f"job {ended.id} ({cell_name(ended)}) is {ended.status}, not waiting; `fts why {ended.id}` says more"
            ) from None
        return None


def _of_these(jobs: list[Job], word: str) -> Job | None:
    try:
        return one_job(jobs, word)
    except click.ClickException:
        return None


@click.command()
def demo() -> int:
    """Run three 2M cells on real S&P 500 data through queue and worker and show the results: a few minutes."""
    from fts.study.demo import demo as run_demo

    worker_settings()  # check the machine before minutes of building data
    return run_demo(here(), console_with_log(logging.WARNING))
