"""`fts script`: a cell of the matrix as a file one can read, keep beside a paper, and run by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fts.search.script import script_name, script_text
from fts.search.spec import CellSpec
from jobs.cli.group import here
from jobs.cli.matrix import cell_options, parse_cell, specs_of
from jobs.cli.output import emit, emit_json
from jobs.commands import matrix
from jobs.exports import write_text
from state.errors import WrongStatus
from state.values import Job, JobStatus


@click.command()
@click.argument("cells", nargs=-1, metavar="[CELL]...")
@click.option("--matrix", "whole", is_flag=True, help="all budgets x all horizons")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="folder  [default: outputs/scripts]")
@cell_options
@click.option("--json", "as_json", is_flag=True, help="one JSON object, with schema and taken_at")
def script(cells: tuple[str, ...], whole: bool, out: Path | None, task: str, as_json: bool, **fields: Any) -> None:
    """Write hpo_{budget}_h{horizon}_{task}.py for each CELL, and train_... once it has a winner.

    A cell that is in the queue is written as it was frozen there; any other as the options say. One that is judged on
    folds is another cell: name it with --cv.
    """
    if bool(cells) == whole:
        raise click.UsageError("name cells such as 2M/h1, or give --matrix")
    wanted = [parse_cell(cell, task) for cell in cells] or [
        (budget, horizon, task) for budget in matrix.BUDGETS for horizon in matrix.HORIZONS
    ]
    known = known_specs()
    specs: list[CellSpec] = []
    for cell in wanted:
        specs += known.get((*cell, fields.get("cv"))) or specs_of([cell], **fields)
    folder = out or here().outputs / "scripts"
    written = [folder / script_name(spec) for spec in specs]
    for path, spec in zip(written, specs, strict=True):
        write_text(path, script_text(spec))
    return emit_json("written", [str(path) for path in written]) if as_json else emit("\n".join(map(str, written)))


def known_specs() -> dict[tuple[str, int, str, str | None], list[CellSpec]]:
    """(budget, horizon, task, cv) -> the newest frozen cell and, where there is a winner, its final training."""
    if not here().db.exists():
        return {}
    from jobs.cli.look import reading
    from state import queries

    found: dict[tuple[str, int, str, str | None], list[CellSpec]] = {}
    with reading() as db:
        for job in sorted(queries.jobs(db), key=lambda job: job.id):
            if job.kind == "cell" and job.status is not JobStatus.CANCELLED:
                found[job.budget, job.horizon, job.task, job.spec.get("cv")] = [
                    CellSpec.from_json(job.spec),
                    *_final(db, job),
                ]
    return found


def _final(db: Any, job: Job) -> list[CellSpec]:
    from jobs.winners import train_spec, winner

    try:
        return [train_spec(job, winner(db, job))]
    except WrongStatus:  # no complete trial yet
        return []
