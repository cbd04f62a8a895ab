"""Implements `fts report`: writes one page per study with figures, tables and conclusions."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import click

from fts.jobs.api.nearest import hint
from fts.jobs.cli.app import AS_JSON, here
from fts.jobs.cli.errors import NothingThere
from fts.jobs.cli.output import emit, emit_json
from fts.jobs.cli.paths import PathType
from fts.jobs.cli.show import reading
from fts.state import queries
from fts.state.files import reason_of

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


@click.command()
@click.argument("study", required=False)
@click.option(
    "--out", type=PathType(file_okay=False, path_type=Path), help="folder to write to  [default: outputs/report]"
)
@AS_JSON
def report(study: str | None, out: Path | None, as_json: bool) -> None:
    """Write a page about what the results of a STUDY show and what they do not; without STUDY, one page per study.

    The page opens in any browser, without a network. Works at any time: it names what is missing. Reads no test labels.
    """
    from fts.jobs.report.report import write_report  # here, not above: --help does not need it

    try:
        with reading() as db:
            names = list(dict.fromkeys(job.study for job in sorted(queries.jobs(db), key=lambda job: job.id)))
            if not names:
                raise NothingThere("there is no job yet, so there is nothing to report: `fts enqueue` adds one")
            if study is not None and study not in names:
                raise NothingThere(
                    f"there is no study {study!r}; {hint(study, names)}expected one of {', '.join(names)[:300]}"
                )
            now = time.time()
            wanted = [study] if study else names
            pages = [path for name in wanted for path in write_report(db, here(), name, out, now)]
    except OSError as error:
        if out is not None or error.errno not in NO_ROOM:
            raise
        why = reason_of(error, here().outputs / "report" / "index.html")
        raise click.ClickException(f"{why}; --out DIR writes the report elsewhere") from error
    if as_json:
        return emit_json("report", {"page": str(pages[0]), "pages": [str(path) for path in pages]})
    return emit("\n".join(str(path) for path in pages))
