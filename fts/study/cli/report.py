"""`fts report`: one page with figures, tables and the provenance of every number."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import click

from fts.jobs.cli.app import AS_JSON, here
from fts.jobs.cli.errors import NothingThere
from fts.jobs.cli.output import emit, emit_json
from fts.jobs.cli.show import reading
from fts.state import queries
from fts.state.files import reason_of

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="folder  [default: outputs/report]")
@AS_JSON
def report(out: Path | None, as_json: bool) -> None:
    """Write the page that says what these numbers show and what they do not, with its tables as CSV and JSON.

    Works at any time: what is missing is named. It reads no test label.
    """
    from fts.study.own import own  # here, not above: --help needs no database code
    from fts.study.report_data import make_report

    try:
        with reading() as db:
            jobs = queries.jobs(db)
            if jobs and not own(jobs):
                others = ", ".join(dict.fromkeys(job.study for job in jobs))
                raise NothingThere(
                    f"there is no job of PatchTST here, only of {others}, of which there is no report yet; "
                    "`fts results` shows what was found"
                )
            page = make_report(db, here(), out, now=time.time())
    except OSError as error:
        if out is not None or error.errno not in NO_ROOM:
            raise
        folder = here().outputs / "report"
        why = reason_of(error, folder / "index.html")
        raise click.ClickException(f"{why}; --out DIR writes the report elsewhere") from error
    return emit_json("report", {"page": str(page)}) if as_json else emit(str(page))
