"""Runs one frozen specification here and now, without a queue: what a generated script calls.

from fts.study.run_script import run_cell
run_cell(spec, dry_run=True)
"""

from __future__ import annotations

import argparse
import logging
import sys
from typing import TYPE_CHECKING, Any

from fts.jobs.settings import Places, places, worker_settings
from fts.state.values import JobStatus
from fts.study.cell import CellSpec

if TYPE_CHECKING:
    from pathlib import Path


def main(spec: dict[str, Any], argv: list[str] | None = None) -> int:
    """Parses flags of a generated script and runs its cell. Prints errors as one sentence; returns the exit code."""
    parser = argparse.ArgumentParser(description=f"{spec.get('kind', 'cell')} {spec.get('experiment')}")
    parser.add_argument("--dry-run", action="store_true", help="run one optimizer step on real data, write nothing")
    parser.add_argument("--again", action="store_true", help="run it again, although it is done")
    parser.add_argument("--db", help="path of the database (default: $FTS_DB, else outputs/fts.db)")
    parser.add_argument("--threads", type=int, help="number of threads per trial")
    parser.add_argument("--device", help="device of the trials: cpu, cuda, cuda:1 or mps")
    flags = parser.parse_args(argv)
    from fts.jobs.cli.errors import code_of, sentence_of

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    try:
        return run_cell(
            spec, flags.db, dry_run=flags.dry_run, again=flags.again, threads=flags.threads, device=flags.device
        )
    except Exception as error:  # noqa: BLE001  # outermost handler of a script: print one sentence
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
    """Runs a cell (or train, replicate, baseline) to its end in this process; returns 0 if it is done.

    A waiting job continues, with more trials if the specification has more. A done job is not repeated, unless
    `again`; for a failed or cancelled job it prints how to continue. Raises BadSpec, NotEnqueued if the one-step dry
    run fails, SlotTaken, StateError.
    """
    cell = spec if isinstance(spec, CellSpec) else CellSpec.from_json(spec)
    here = places(db)
    if dry_run:
        return _try(here, cell)
    from fts.jobs.worker.worker import run_job
    from fts.state.db import open_database
    from fts.study.matrix import enqueue_cells

    opened = open_database(here.db)
    try:
        (line,) = enqueue_cells(opened, here, [cell], again=again)
    finally:
        opened.close()
    if line.is_over:
        print(line.told)
        return 0 if line.status == JobStatus.DONE else 1
    assert line.job_id is not None, "what is written has a number"
    return run_job(here, worker_settings(slots=1, threads=threads, device=device), line.job_id)


def _try(here: Places, cell: CellSpec) -> int:
    from fts.study.matrix import enqueue_cells

    (line,) = enqueue_cells(None, here, [cell], dry_run=True)
    print(f"{cell.experiment}: {line.found}; dry run, nothing was written")
    return 0
