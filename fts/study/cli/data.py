"""`fts data`: build, list, verify and register data sets."""

from __future__ import annotations

import csv
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fts.jobs.cli.app import AS_JSON, here
from fts.jobs.cli.output import emit, emit_json, emit_table, plain, say
from fts.jobs.cli.paths import PathType
from fts.jobs.status.formatting import count
from fts.raising import quoted
from fts.state.files import shell_path
from fts.study import choices

if TYPE_CHECKING:
    from collections.abc import Callable

    from fts.data.layouts import ReadOptions
    from fts.data.manifest import DatasetVersion
    from fts.data.sources import Taken

SOURCES = click.Choice(["bundled", "yahoo", "csv", "parquet", "raw"])


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that say how to read a file, and passes them to the command as one argument, `read_as`."""
    options = (
        click.option("--columns", multiple=True, metavar="open=o,close=Close/Last", help="column of each field"),
        click.option(
            "--date-format", metavar="dd/mm/yyyy", help="format of the dates, or %d/%m/%Y  [default: detected]"
        ),
        click.option(
            "--name", metavar="AAPL", help="stock to read, if the file holds several  [default: the only one]"
        ),
        click.option("--decimal", type=click.Choice([".", ","]), help="decimal separator  [default: detected]"),
    )

    @wraps(command)
    def read(
        columns: tuple[str, ...], date_format: str | None, name: str | None, decimal: str | None, **others: Any
    ) -> Any:
        return command(read_as=reading_of(columns, date_format, name, decimal), **others)

    for option in reversed(options):
        read = option(read)
    return read


ACCEPT = click.option(
    "--accept",
    "accepted",
    multiple=True,
    callback=lambda ctx, option, names: accepted_of(names),
    metavar="gaps,moves",
    help="accept findings that look wrong, by their names in the error message",
)


def reading_of(columns: tuple[str, ...], date_format: str | None, name: str | None, decimal: str | None) -> ReadOptions:
    """Returns the reading options. Raises UsageError for an unknown column or an invalid date format."""
    from fts.data.columns import ASKED  # here, not above: pandas
    from fts.data.dates import strptime_format
    from fts.data.faults import BadBars
    from fts.data.layouts import ReadOptions

    found: dict[str, str] = {}
    for part in _parts(columns):
        key, sign, column = part.partition("=")
        if not sign or key.strip().lower() not in ASKED or not column.strip():
            raise click.UsageError(
                f"--columns {quoted(part, 60)}: expected one of {', '.join(ASKED)}, =, and a column's name"
            )
        found[key.strip().lower()] = column.strip()
    try:
        form = strptime_format(date_format) if date_format is not None else None
    except BadBars as error:
        raise click.UsageError(str(error)) from None
    return ReadOptions(found, form, name, decimal)


def _parts(columns: tuple[str, ...]) -> list[str]:
    """Splits `open=o,close=Close, adjusted` into two parts: a comma inside a column's name needs no quotes."""
    parts: list[str] = []
    for text in columns:
        for part in next(csv.reader([text]), []):
            if "=" in part or not parts:
                parts.append(part)
            else:
                parts[-1] += f",{part}"
    return parts


def accepted_of(names: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the accepted kinds of findings. Raises UsageError for an unknown one."""
    if not names:
        return ()
    from fts.data.faults import BadBars  # here, not above: pandas
    from fts.data.plausible import check_accepted

    try:
        return tuple(sorted(check_accepted(",".join(names).split(","))))
    except BadBars as error:
        raise click.UsageError(f"--accept: {error}") from None


@click.group(context_settings={"max_content_width": 110})
def data() -> None:
    """Build, list, verify and register data sets.

    The folder is $FTS_DATA, else ./data. Raw snapshots are never overwritten.
    """


@data.command()
@click.argument("file", required=False, type=PathType(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--source", type=SOURCES, help="bundled (S&P 500, no network), yahoo, csv, parquet, raw  [default: bundled]"
)
@click.option(
    "--ticker",
    help="SPX or IXIC (bundled), SPY ... (yahoo), or a name for your own bars  [default: SPX, or the file's name]",
)
@click.option("--tier", default=choices.TIER, show_default=True, help=f"set of features: {', '.join(choices.TIERS)}")
@click.option(
    "--vix",
    type=PathType(exists=True, dir_okay=False, path_type=Path),
    help="file with VIX closes, for tier c  [default: none]",
)
@reading_options
@ACCEPT
@AS_JSON
def build(
    file: Path | None,
    source: str | None,
    ticker: str | None,
    tier: str,
    vix: Path | None,
    read_as: ReadOptions,
    accepted: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make a data set: bars, features, leak check, manifest.

    FILE holds your own bars (csv or parquet).

    The layouts of Yahoo, Alpha Vantage, stooq, Nasdaq.com, investing.com, MetaTrader and others are recognised.

    \b
    fts data build --source csv --ticker MINE bars.csv
    fts data build --source csv --name AAPL --date-format dd/mm/yyyy all_stocks.csv
    """
    source = source or _source_of(file)
    if tier not in choices.TIERS:
        raise click.UsageError(choices.unknown_tier(tier))
    if file is not None and source not in ("csv", "parquet"):
        raise click.UsageError(f"a file goes with --source csv or parquet, not with {source}")
    from fts.data.layouts import ReadOptions  # here: see reading_of
    from fts.study import dataset  # here, not above: pandas and TA-Lib, half a second

    if file is None and read_as != ReadOptions():
        raise click.UsageError("--columns, --date-format, --name and --decimal go with a FILE")

    taken = dataset.take(here().data, source, ticker, file, reading=read_as)
    _say_taken(taken, accepted)
    say(
        f"building tier {tier} from {file or source}{f' {ticker}' if ticker else ''}; every feature is tested for leaks"
    )
    entry = dataset.build(
        here().data, source, ticker, tier, path=file, vix=vix, reading=read_as, accept=accepted, taken=taken
    )
    _emit_entry(entry, taken, as_json)
    if not as_json:
        say(entry.note or f"in {here().data / entry.path}")


def _say_taken(taken: Taken, accepted: tuple[str, ...]) -> None:
    for line in taken.lines(accepted):
        say(line)
    if idle := sorted(set(accepted) - {finding.kind for finding in taken.findings}):
        say(f"--accept {','.join(idle)}: nothing of this kind was found in {taken.origin}")


def _emit_entry(entry: DatasetVersion, taken: Taken, as_json: bool) -> None:
    if as_json:
        return emit_json("dataset", plain(entry) | {"taken": taken.facts()})
    return emit(f"{entry.dataset}  {entry.rows} rows  {entry.start}..{entry.end}  md5 {entry.md5}")


def _source_of(file: Path | None) -> str:
    if file is None:
        return "bundled"
    return "parquet" if file.suffix.lower() == ".parquet" else "csv"


@data.command("list")
@AS_JSON
def list_(as_json: bool) -> None:
    """List the current data sets.

    Raw data sets come first, then files that are not in a manifest.
    """
    from fts.study import dataset

    entries, unknown = dataset.listing(here().data), dataset.pending(here().data)
    if as_json:
        return emit_json("data", {"datasets": entries, "pending": [str(path) for path in unknown]})
    if not entries:
        say(f"there is no data set in {here().data}; `fts data build` makes the default one")
    else:
        columns = ("data set", "version", "tier", "rows", "from", "to", "md5")
        rows = [(e.dataset, e.version, e.tier, e.rows, e.start, e.end, e.md5[:12]) for e in entries]
        emit_table(columns, rows, right=("version", "rows"))
    for path in unknown:
        say(f"pending registration: {path} (`fts data register {shell_path(path)}`)")
    return None


@data.command()
@AS_JSON
def verify(as_json: bool) -> None:
    """Check every data set against its file.

    The exit code is 1 when something is wrong.
    """
    from fts.study import dataset

    root = here().data
    entries, problems, unknown = dataset.listing(root), dataset.verify(root), dataset.pending(root)
    kept = dataset.kept(root)
    if as_json:
        content = {"entries": len(entries), "problems": problems, "pending": [str(path) for path in unknown]}
        emit_json("verify", content | {"kept": kept})
    elif not problems:
        sets = count(len(entries), "data set")
        emit(f"{sets} unchanged since registration" if entries else f"there is no data set in {here().data}")
    for problem in () if as_json else problems:
        emit(problem)
    for path in () if as_json else unknown:
        say(f"pending registration: {path} (`fts data register {shell_path(path)}`)")
    for sentence in () if as_json else kept:
        say(sentence)
    if problems:
        raise click.exceptions.Exit(1)


@data.command()
@click.argument("file", type=PathType(path_type=Path))
@click.option("--ticker", help="default: the file's name")
@reading_options
@ACCEPT
@AS_JSON
def register(
    file: Path,
    ticker: str | None,
    read_as: ReadOptions,
    accepted: tuple[str, ...],
    as_json: bool,
) -> None:
    """Check FILE and make it its ticker's bars.

    FILE holds bars, or VIX closes; it becomes the current raw snapshot.
    """
    from fts.study import dataset  # here, not above: pandas

    taken = dataset.take_to_register(here().data, file, ticker, reading=read_as)
    _say_taken(taken, accepted)
    entry = dataset.register(here().data, file, ticker, reading=read_as, accept=accepted, taken=taken)
    return _emit_entry(entry, taken, as_json)
