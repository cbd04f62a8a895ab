"""The commands that keep house: export, backup, restore, gc, doctor, db."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from fts.jobs.cli.app import AS_JSON, COUNT, here
from fts.jobs.cli.errors import NothingThere
from fts.jobs.cli.output import emit, emit_json, emit_table, say
from fts.jobs.cli.paths import PathType
from fts.jobs.cli.work import MEMORY_LIMIT, executor_options, where_of
from fts.jobs.settings import BadSetting, Where, worker_settings
from fts.jobs.status import formatting
from fts.state.cursors import Connection
from fts.state.db import open_database
from fts.state.disk import reading_uri
from fts.state.errors import WrongStatus
from fts.state.files import csv_cell, is_file
from fts.state.location import require_study
from fts.state.translation import translate

OF_THE_FILE = (  # what SQLite says of the file or its disk, not of the statement
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
)  # fmt: skip
YES = click.option("-y", "--yes", is_flag=True, help="do not ask")


def sure(question: str, yes: bool) -> None:
    """Asks at a terminal; elsewhere `-y` must have been given. Raises Abort or UsageError."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Give -y, because there is no terminal to ask on")
    if not click.confirm(question, err=True):
        raise click.Abort


# ---------------------------------------------------------------- db


@click.group()
def db() -> None:
    """The database itself: where it is, a shell, one query."""


@db.command()
def path() -> None:
    """Where the database is."""
    emit(str(here().db))


@db.command()
@click.argument("sql")
@click.option("--csv", "as_csv", is_flag=True, help="comma-separated")
@click.option("--limit", default=100_000, type=COUNT, show_default=True, help="at most this many rows")
@AS_JSON
def query(sql: str, as_csv: bool, limit: int, as_json: bool) -> None:
    """One read-only query: fts db query "select * from v_trials"."""
    columns, rows = ask(existing(), sql, limit)
    if as_json:
        return emit_json("rows", [dict(zip(columns, row, strict=True)) for row in rows])
    if as_csv:
        from fts.jobs.cli.show import emit_csv

        if not rows:
            return emit(",".join(map(csv_cell, columns)))
        return emit_csv([dict(zip(columns, row, strict=True)) for row in rows])
    if not columns:
        return say("the statement returned nothing")
    numbers = [name for n, name in enumerate(columns) if rows and all(isinstance(row[n], int | float) for row in rows)]
    return emit_table(columns, rows, right=numbers)


@db.command()
def shell() -> None:
    """A read-only SQL shell on the database; needs the program sqlite3."""
    program = shutil.which("sqlite3")
    if program is None:
        raise NothingThere('the program sqlite3 is not installed; `fts db query "select ..."` works without it')
    os.execv(program, [program, "-readonly", "-header", "-column", str(existing())])


def existing() -> Path:
    """The database of this command. Raises NoDatabase when there is none."""
    require_study(here().db)
    return here().db


def ask(database: Path, sql: str, limit: int) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Columns and rows of one statement that cannot write. Raises UsageError with what SQLite says of it."""
    connection = Connection(reading_uri(database), uri=True, timeout=30)
    connection.translate = lambda error: error  # most are errors in the statement, not in the file
    try:
        connection.execute("PRAGMA query_only = 1")
        cursor = connection.execute(sql)
        names = [column[0] for column in cursor.description or ()]
        rows = cursor.fetchmany(limit) if names else []
    except (sqlite3.Error, sqlite3.Warning) as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in OF_THE_FILE:
            raise translate(error, database) from error
        raise click.UsageError(f"SQLite says: {error}") from error
    finally:
        connection.close()
    if len(rows) == limit:
        say(f"only the first {limit} rows; --limit shows more")
    return unlike(names), [tuple(_shown(value) for value in row) for row in rows]


def unlike(names: list[str]) -> list[str]:
    """Column names made different from each other, so that a row can become an object."""
    seen: dict[str, int] = {}
    for n, name in enumerate(names):
        seen[name] = seen.get(name, 0) + 1
        names[n] = name if seen[name] == 1 else f"{name}_{seen[name]}"
    return names


def _shown(value: Any) -> Any:
    return f"{len(value)} bytes" if isinstance(value, bytes) else value


# ---------------------------------------------------------------- files


@click.command()
@click.option("--all", "everything", is_flag=True, help="every cell (the default when none is named)")
@click.argument("wanted", nargs=-1, metavar="[JOB]...")
@click.option(
    "--optuna",
    "optuna_url",
    metavar="URL",
    help="write Optuna studies there, e.g. sqlite:///optuna.db  [default: none]",
)
@click.option(
    "--parquet",
    "parquet",
    type=PathType(file_okay=False, path_type=Path),
    metavar="DIR",
    help="tables for pandas  [default: none]",
)
@AS_JSON
def export(
    everything: bool, wanted: tuple[str, ...], optuna_url: str | None, parquet: Path | None, as_json: bool
) -> None:
    """Rewrite the JSON and CSV files in outputs/ from the database; or hand the study to Optuna or to pandas."""
    from fts.jobs.cli.selection import choose
    from fts.jobs.cli.show import reading
    from fts.jobs.records import earlier_exports, exports  # here: after the flags were read
    from fts.state import queries

    written: list[Any]
    with reading() as opened:
        if not optuna_url and not parquet and (aside := earlier_exports.move_aside(opened, here())) is not None:
            say(f"exports of an earlier database moved to {aside} now")
        if optuna_url or parquet:
            from fts.jobs.records.optuna import to_optuna

            written = [f"{optuna_url} {name}" for name in to_optuna(opened, optuna_url, say)] if optuna_url else []
            if parquet:
                from fts.jobs.records.frames import to_parquet

                written += to_parquet(opened, here(), parquet)
        elif wanted and not everything:
            jobs = [job for job in choose(queries.jobs(opened), wanted).jobs if job.kind == "cell"]
            written = [
                *(exports.export_job(opened, here(), job) for job in jobs),
                *exports.export_tables(opened, here()),
            ]
        else:
            written = exports.export_all(opened, here())
    if as_json:
        return emit_json("written", [str(item) for item in written])
    return emit("\n".join(map(str, written)))


@click.command()
@click.option("--keep", default=7, type=COUNT, show_default=True, help="backups to keep")
@AS_JSON
def backup(keep: int, as_json: bool) -> None:
    """Copy the database while it is in use, into the folder backups beside it."""
    from fts.state.backup import backup as copy  # here: only for this command

    opened = open_database(existing(), create=False)
    try:
        made = copy(opened, here().backups, keep=keep)
    finally:
        opened.close()
    return emit_json("backup", {"path": str(made), "bytes": made.stat().st_size}) if as_json else emit(str(made))


@click.command()
@click.argument("file", required=False, type=PathType(path_type=Path))
@YES
@AS_JSON
def restore(file: Path | None, yes: bool, as_json: bool) -> None:
    """Put a backup (default: the newest) in the database's place; the current one is kept beside it."""
    from fts.state.damage import copies, newest_backup
    from fts.state.restore import restore as put_back  # here: only for this command

    chosen = file or newest_backup(here().db)
    if chosen is None:
        if copies(here().backups):
            raise NothingThere(f"there is no good backup in {here().backups}: all of them are damaged")
        raise NothingThere(f"there is no backup in {here().backups}; `fts backup` makes one")
    if not is_file(chosen):
        raise NothingThere(f"there is no file {chosen}")
    refuse_while_working()
    sure(f"Put {chosen.name} in the place of {here().db}? Everything recorded after this backup is lost.", yes)
    kept = put_back(chosen, here().db)
    if as_json:
        return emit_json("restored", {"path": str(here().db), "from": str(chosen), "kept": kept and str(kept)})
    return emit(f"{here().db} is now {chosen.name}")


def refuse_while_working() -> None:
    """A worker of this machine holds its slot whatever its database says, or can no longer say."""
    from fts.state import slot_lock  # here: only for this command

    for path in sorted(here().outputs.glob("slot-*.lock")):
        index = path.stem.removeprefix("slot-")
        if index.isdecimal() and (holder := slot_lock.holder(here().outputs, int(index))) is not None:
            raise WrongStatus(f"a worker has the database open ({holder}): stop it first, with Ctrl-C or SIGTERM")


@click.command()
@click.option("--only-best", is_flag=True, help="also the weights of all trials that are not the best of their cell")
@click.option("-n", "--dry-run", is_flag=True, help="show what would be deleted, delete nothing")
@YES
@AS_JSON
def gc(only_best: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Delete files that no trial needs any more: checkpoints of ended trials, interrupted writes."""
    from fts.jobs.cli.show import reading
    from fts.jobs.maintenance import cleanup

    with reading() as opened:
        found = cleanup.collect(opened, here(), only_best)
    total = sum(item.bytes for item in found)
    if not as_json:
        emit_table(
            ("file", "bytes", "why"), [(_near(i.path), formatting.size(i.bytes), i.why) for i in found], ("bytes",)
        )
    if found and not dry_run:
        if only_best:
            sure(f"Remove them ({formatting.size(total)})? The weights cannot be brought back.", yes)
        freed, left = cleanup.free(found, here())
        say(f"{formatting.size(freed)} freed")
        if left:
            raise click.ClickException(
                f"{formatting.count(len(left), 'file or folder', 'files or folders')} could not be removed, "
                f"{_near(left[0])} first; look whether its disk is read-only and the folder is yours"
            )
    else:
        say(f"{formatting.size(total)} would be freed" if found else "nothing to free")
    if as_json:
        emit_json("gc", {"items": [i.__dict__ | {"path": str(i.path)} for i in found], "bytes": total, "dry": dry_run})


def _near(found: Path) -> Path:
    return found.relative_to(here().outputs) if found.is_relative_to(here().outputs) else found


@click.command()
@click.option("--fix", is_flag=True, help="fix what can be fixed without risk")
@executor_options
@click.option("--slots", type=COUNT, help="agents that --executor command starts at once  [default: 1]")
@click.option("--threads", type=COUNT, help="that an agent is started with  [default: 1]")
@MEMORY_LIMIT
@AS_JSON
def doctor(fix: bool, as_json: bool, **flags: Any) -> None:
    """What is wrong here, and what to do about it; exit code 1 when something is bad.

    With --executor: starts one agent per node and compares hardware, libraries and code, before the first trial. Takes
    the options of `fts worker`. Where the engine chooses the nodes, --slots says how many agents it is asked for.
    """
    from fts.jobs.maintenance import doctor as checks

    where = where_of(flags)
    if where.executor != "local":
        return of_nodes(where, as_json, **flags)
    if given := [name for name, value in flags.items() if value is not None]:
        raise BadSetting(f"--{given[0].replace('_', '-')} means nothing without --executor")
    found = checks.examine(here())
    if as_json:
        emit_json("findings", [finding.to_json() for finding in found])
    else:
        for finding in found:
            mark = click.style(
                f"{finding.state:<8}", fg={"ok": "green", "warn": "yellow", "bad": "red"}.get(finding.state)
            )
            click.echo(mark, nl=False)
            emit(f"{finding.name}: {finding.text}" + (f" -> {finding.cure}" if finding.cure else ""))
    if fix:
        for line in checks.mend(here(), found):
            say(line)
    if any(finding.state == "bad" for finding in found):
        raise click.exceptions.Exit(1)
    return None


def of_nodes(where: Where, as_json: bool, **flags: Any) -> None:
    from fts.jobs.executors.node_checks import examine

    found = examine(here(), worker_settings(where=where, **flags), say)
    if as_json:
        emit_json("nodes", [asdict(one) for one in found])
    for one in () if as_json else found:
        emit(f"{one.state:<8}{one.node}: {one.text}" + (f" -> {one.cure}" if one.cure else ""))
    if any(one.state == "bad" for one in found):
        raise click.exceptions.Exit(1)
