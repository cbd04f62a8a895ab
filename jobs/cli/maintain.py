"""Implements the maintenance commands: export, backup, restore, gc, doctor, db."""

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
from fts.jobs.cli.output import emit, emit_csv, emit_json, emit_table, say
from fts.jobs.cli.paths import PathType
from fts.jobs.cli.work import MEMORY_LIMIT, executor_options, where_of
from fts.jobs.settings import BadSetting, Where, worker_settings
from fts.jobs.status import formatting
from fts.raising import raise_as
from fts.state.cursors import Connection
from fts.state.db import is_small, open_database, open_for_reading
from fts.state.disk import reading_uri
from fts.state.errors import DatabaseCorrupt, StateError, WrongStatus
from fts.state.files import csv_text, is_file, listed
from fts.state.location import require_study
from fts.state.translation import translate

FILE_ERRORS = (  # SQLite error codes about the file or its disk, not about the statement
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
)  # fmt: skip
PRAGMAS_OF_A_NAME = (  # their value names what to read; it sets nothing
    "table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list",
    "foreign_key_check", "integrity_check", "quick_check",
)  # fmt: skip
YES = click.option("-y", "--yes", is_flag=True, help="do not ask for confirmation")


def confirm(question: str, yes: bool) -> None:
    """Asks for confirmation at a terminal; without one, -y is required. Raises Abort or UsageError."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Give -y, because there is no terminal to ask on")
    if not click.confirm(question, err=True):
        raise click.Abort


# ---------------------------------------------------------------- db


@click.group()
def db() -> None:
    """Access the database: its path, a shell, one query."""


@db.command()
def path() -> None:
    """Print the path of the database."""
    emit(str(here().db))


@db.command()
@click.argument("sql")
@click.option("--csv", "as_csv", is_flag=True, help="print comma-separated values")
@click.option("--limit", default=100_000, type=COUNT, show_default=True, help="largest number of rows")
@AS_JSON
def query(sql: str, as_csv: bool, limit: int, as_json: bool) -> None:
    """Run one read-only query: fts db query "select * from v_trials"."""
    if not sql.strip():
        raise click.UsageError("the query is empty")
    columns, rows = run_query(existing(), sql, limit)
    _print(columns, rows, as_csv, as_json)
    if (damage := damage_of(here().db)) is not None:  # said after the answer: it may be what is left of the study
        raise damage


def _print(columns: list[str], rows: list[tuple[Any, ...]], as_csv: bool, as_json: bool) -> None:
    if as_json:
        return emit_json("rows", [dict(zip(columns, row, strict=True)) for row in rows])
    if as_csv:
        return emit_csv(csv_text(columns, rows).rstrip("\n"))
    if not columns:
        return say("the statement returned nothing")
    numbers = [name for n, name in enumerate(columns) if rows and all(isinstance(row[n], int | float) for row in rows)]
    return emit_table(columns, rows, right=numbers)


@db.command()
def shell() -> None:
    """Open a read-only SQL shell on the database; needs the program sqlite3."""
    program = shutil.which("sqlite3")
    if program is None:
        raise NothingThere('the program sqlite3 is not installed; `fts db query "select ..."` works without it')
    database = existing()
    if (damage := damage_of(database)) is not None:
        say(str(damage))
    os.execv(program, [program, "-readonly", "-header", "-column", str(database)])


def existing() -> Path:
    """Returns the path of this command's database. Raises NoDatabase when there is none."""
    require_study(here().db)
    return here().db


def damage_of(database: Path) -> DatabaseCorrupt | None:
    """Returns the damage that the check of every reader finds in a small file."""
    if is_small(database):
        try:
            open_for_reading(database).close()
        except DatabaseCorrupt as damage:
            return damage
        except StateError:  # such as an older schema: it can be queried
            pass
    return None


def run_query(database: Path, sql: str, limit: int) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Runs one read-only statement; returns columns and rows. Raises UsageError with SQLite's message."""
    try:
        connection = Connection(reading_uri(database), uri=True, timeout=30)
    except sqlite3.Error as error:  # such as a file that this user may not read
        raise_as(translate(error, database), error)
    connection.translate = lambda error, _: error  # most errors are in the statement, not in the file
    try:
        connection.execute("PRAGMA query_only = 1")
        connection.set_authorizer(_only_reads)
        cursor = connection.execute(sql)
        names = [column[0] for column in cursor.description or ()]
        rows = cursor.fetchmany(limit + 1) if names else []
    except (sqlite3.Error, sqlite3.Warning) as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in FILE_ERRORS:
            raise_as(translate(error, database), error)
        raise click.UsageError(f"SQLite says: {error}") from error
    finally:
        connection.close()
    if len(rows) > limit:
        say(f"only the first {formatting.count(limit, 'row')}; --limit shows more")
    return numbered(names), [tuple(_shown(value) for value in row) for row in rows[:limit]]


def _only_reads(action: int, name: str | None, value: str | None, *_: str | None) -> int:
    """Denies what query_only lets pass: ATTACH and VACUUM INTO create a file, a PRAGMA may change the mode."""
    sets = action == sqlite3.SQLITE_PRAGMA and value is not None and str(name).lower() not in PRAGMAS_OF_A_NAME
    return sqlite3.SQLITE_DENY if sets or action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK


def numbered(names: list[str]) -> list[str]:
    """Numbers repeated column names, so that a row can become a JSON object."""
    seen: dict[str, int] = {}
    for n, name in enumerate(names):
        seen[name] = seen.get(name, 0) + 1
        names[n] = name if seen[name] == 1 else f"{name}_{seen[name]}"
    return names


def _shown(value: Any) -> Any:
    return f"{len(value)} bytes" if isinstance(value, bytes) else value


# ---------------------------------------------------------------- files


@click.command()
@click.option("--all", "everything", is_flag=True, help="export every cell (the default if none is named)")
@click.argument("wanted", nargs=-1, metavar="[JOB]...")
@click.option(
    "--optuna",
    "optuna_url",
    metavar="URL",
    help="export to an Optuna storage instead, e.g. sqlite:///optuna.db  [default: none]",
)
@click.option(
    "--parquet",
    "parquet",
    type=PathType(file_okay=False, path_type=Path),
    metavar="DIR",
    help="export tables for pandas into this folder instead  [default: none]",
)
@AS_JSON
def export(
    everything: bool, wanted: tuple[str, ...], optuna_url: str | None, parquet: Path | None, as_json: bool
) -> None:
    """Rewrite the JSON and CSV files in outputs/ from the database; or export the study for Optuna or pandas."""
    from fts.jobs.cli.selection import choose
    from fts.jobs.cli.show import reading
    from fts.jobs.records import earlier_exports, exports  # here, not above: --help does not need them
    from fts.state import queries

    if wanted and (everything or optuna_url or parquet):
        option = "--all" if everything else "--optuna" if optuna_url else "--parquet"
        raise click.UsageError(f"{option} exports every cell; leave out {' '.join(wanted)}")
    written: list[Any]
    with reading() as opened:
        jobs = choose(queries.jobs(opened), wanted).jobs if wanted else ()
        if not optuna_url and not parquet and (aside := earlier_exports.move_aside(opened, here())) is not None:
            say(f"exports of an earlier database moved to {aside} now")
        if optuna_url or parquet:
            from fts.jobs.records.optuna import shown, to_optuna

            written = (
                [f"{shown(optuna_url)} {name}" for name in to_optuna(opened, optuna_url, say)] if optuna_url else []
            )
            if parquet:
                from fts.jobs.records.frames import to_parquet

                written += to_parquet(opened, here(), parquet)
        elif wanted:
            written = [
                *(exports.export_job(opened, here(), job) for job in jobs if job.kind == "cell"),
                *exports.export_tables(opened, here()),
            ]
        else:
            written = exports.export_all(opened, here())
    if as_json:
        return emit_json("written", [str(item) for item in written])
    return emit("\n".join(map(str, written)))


@click.command()
@click.option("--keep", default=7, type=COUNT, show_default=True, help="number of backups to keep")
@AS_JSON
def backup(keep: int, as_json: bool) -> None:
    """Copy the database while it is in use, into the folder backups next to it."""
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
    """Replace the database by a backup (default: the newest); the current one is kept next to it."""
    from fts.state.damage import closed_backups, copies, newest_backup
    from fts.state.restore import is_of_other_study
    from fts.state.restore import restore as put_back  # here: only for this command

    chosen = file or newest_backup(here().db)
    if chosen is None:
        if (why := closed_backups(here().backups)) is not None:
            raise click.ClickException(why)
        if copies(here().backups):
            raise NothingThere(f"all backups in {here().backups} are damaged")
        raise NothingThere(f"there is no backup in {here().backups}; `fts backup` makes one")
    if not is_file(chosen):
        raise click.UsageError(f"there is no file {chosen}")
    refuse_while_working()
    if is_of_other_study(chosen, here().db):
        say(f"{chosen} is the backup of another study than the present one at {here().db}")
    confirm(f"Replace {here().db} by {chosen.name}? Everything recorded after this backup is lost.", yes)
    kept = put_back(chosen, here().db)
    if as_json:
        return emit_json("restored", {"path": str(here().db), "from": str(chosen), "kept": kept and str(kept)})
    emit(f"{here().db} is now {chosen.name}")
    return None if kept is None else say(f"the former database is {kept}")


def refuse_while_working() -> None:
    """Raises WrongStatus while a worker of this machine holds a slot lock; works with an unreadable database, too."""
    from fts.state import slot_lock  # here: only for this command

    for path in sorted(path for path in listed(here().outputs) if path.match("slot-*.lock")):
        index = path.stem.removeprefix("slot-")
        if index.isdecimal() and (holder := slot_lock.holder(here().outputs, int(index))) is not None:
            raise WrongStatus(f"a worker has the database open ({holder}): stop it first, with Ctrl-C or SIGTERM")


@click.command()
@click.option(
    "--only-best", is_flag=True, help="also delete the weights of all trials that are not the best of their cell"
)
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
            confirm(f"Remove them ({formatting.size(total)})? The weights cannot be restored.", yes)
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
@click.option("--slots", type=COUNT, help="number of agents that --executor command starts at once  [default: 1]")
@click.option("--threads", type=COUNT, help="threads that each agent is started with  [default: 1]")
@MEMORY_LIMIT
@AS_JSON
def doctor(fix: bool, as_json: bool, **flags: Any) -> None:
    """Find what is wrong here, and say what to do about it; exit code 1 when something is bad.

    With --executor: starts one agent per node and compares hardware, libraries and code, before the first trial. Takes
    the options of `fts worker`. If the engine chooses the nodes, --slots is the number of agents to request.
    """
    from fts.jobs.maintenance import doctor as checks

    where = where_of(flags)
    if where.executor != "local":
        return check_nodes(where, as_json, **flags)
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
        for line in checks.fix_all(here(), found):
            say(line)
    if any(finding.state == "bad" for finding in found):
        raise click.exceptions.Exit(1)
    return None


def check_nodes(where: Where, as_json: bool, **flags: Any) -> None:
    from fts.jobs.executors.node_checks import examine

    found = examine(here(), worker_settings(where=where, **flags), say)
    if as_json:
        emit_json("nodes", [asdict(one) for one in found])
    for one in () if as_json else found:
        emit(f"{one.state:<8}{one.node}: {one.text}" + (f" -> {one.cure}" if one.cure else ""))
    if any(one.state == "bad" for one in found):
        raise click.exceptions.Exit(1)
