"""Runs one frozen specification here and now, without a queue: what a generated script calls.

from jobs.foreground import run_cell
run_cell(spec, dry_run=True)
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fts.search.spec import CellSpec
from jobs.settings import Places, places, worker_settings
from state.values import Job, JobStatus


def main(spec: dict[str, Any], argv: list[str] | None = None) -> int:
    """The whole of a generated script: its flags, its run, and every error as one sentence. Returns the exit code."""
    parser = argparse.ArgumentParser(description=f"{spec.get('kind', 'cell')} {spec.get('experiment')}")
    parser.add_argument("--dry-run", action="store_true", help="one optimizer step on real data, nothing is written")
    parser.add_argument("--again", action="store_true", help="run it once more, although it has been done")
    parser.add_argument("--db", help="the database (default: $FTS_DB, else outputs/fts.db)")
    parser.add_argument("--threads", type=int, help="of each trial")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 or mps")
    flags = parser.parse_args(argv)
    from jobs.cli.errors import code_of, sentence_of

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    try:
        return run_cell(
            spec, flags.db, dry_run=flags.dry_run, again=flags.again, threads=flags.threads, device=flags.device
        )
    except Exception as error:  # the outermost net of a script: a person reads one sentence
        print(sentence_of(error), file=sys.stderr)
        return code_of(error)


def run_cell(
    spec: dict[str, Any] | CellSpec,
    db: str | Path | None = None,
    *,
    dry_run: bool = False,
    again: bool = False,
    threads: int | None = None,
    device: str | None = None,
) -> int:
    """Runs a cell (or train, replicate, baseline) to its end in this process; returns 0 when it is done.

    A specification that waits or was stopped goes on where it was; one that has been done is not done again unless
    `again` says so: a search may take days. Raises BadSpec, NotEnqueued when its one-step dry
    run fails, SlotTaken, StateError.
    """
    cell = spec if isinstance(spec, CellSpec) else CellSpec.from_json(spec)
    here = places(db)
    if dry_run:
        return _try(here, cell)
    from jobs.commands.matrix import enqueue_cells
    from jobs.commands.naming import kept_apart
    from jobs.winners import same_job
    from jobs.worker import run_job
    from state import queries
    from state.db import open_database

    opened = open_database(here.db)
    try:
        jobs = queries.jobs(opened)
        (cell,) = kept_apart(opened, [cell])
        if not again and not waits(jobs, cell) and (done := same_job(jobs, cell)) is not None:
            print(f"{cell.experiment} has been done as job {done.id}; --again runs it once more")
            return 0
        (line,) = enqueue_cells(opened, here, [cell])
    finally:
        opened.close()
    assert line.job_id is not None, "what is written has a number"
    return run_job(here, worker_settings(slots=1, threads=threads, device=device), line.job_id)


def waits(jobs: Iterable[Job], cell: CellSpec) -> bool:
    """Whether just this waits or runs already: then it goes on."""
    live = (job for job in jobs if job.status in (JobStatus.QUEUED, JobStatus.PAUSED, JobStatus.RUNNING))
    return any(CellSpec.from_json(job.spec).identity == cell.identity for job in live)


def _try(here: Places, cell: CellSpec) -> int:
    from jobs.commands.matrix import enqueue_cells

    (line,) = enqueue_cells(None, here, [cell], dry_run=True)
    print(f"{cell.experiment}: {line.found}; dry run, nothing was written")
    return 0
