"""`fts data`: build, list, verify and register data sets."""

from __future__ import annotations

from pathlib import Path

import click

from jobs.cli.group import here
from jobs.cli.output import emit, emit_json, emit_table, say

AS_JSON = click.option("--json", "as_json", is_flag=True, help="one JSON object, with schema and taken_at")
SOURCES = click.Choice(["bundled", "yahoo", "csv", "parquet", "raw"])


@click.group(context_settings={"max_content_width": 110})
def data() -> None:
    """Build, list, verify and register data sets.

    The folder is $FTS_DATA, else ./data. Raw snapshots are never overwritten.
    """


@data.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--source", type=SOURCES, help="bundled (S&P 500, no network), yahoo, csv, parquet, raw  [default: bundled]"
)
@click.option("--ticker", help="SPX or IXIC (bundled), SPY ... (yahoo), or a name for your own bars")
@click.option("--tier", default="a25", show_default=True, help="a20, a25 or c")
@click.option("--vix", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="your VIX closes, for tier c")
@AS_JSON
def build(
    file: Path | None, source: str | None, ticker: str | None, tier: str, vix: Path | None, as_json: bool
) -> None:
    """Make a data set: bars, features, leak check, manifest.

    FILE holds your own bars (csv or parquet).
    """
    from fts.search import dataset  # here, not above: pandas and TA-Lib, half a second

    source = source or _source_of(file)
    if file is not None and source not in ("csv", "parquet"):
        raise click.UsageError(f"a file goes with --source csv or parquet, not with {source}")
    say(
        f"building tier {tier} from {file or source}{f' {ticker}' if ticker else ''}; every feature is tested for leaks"
    )
    entry = dataset.build(here().data, source, ticker, tier, path=file, vix=vix)
    if as_json:
        return emit_json("dataset", entry)
    emit(f"{entry.dataset}  {entry.rows} rows  {entry.start}..{entry.end}  md5 {entry.md5}")
    return say(entry.note or f"in {here().data / entry.path}")


def _source_of(file: Path | None) -> str:
    if file is None:
        return "bundled"
    return "parquet" if file.suffix.lower() == ".parquet" else "csv"


@data.command("list")
@AS_JSON
def list_(as_json: bool) -> None:
    """List the current data sets.

    Raw ones come first, then the files that no manifest knows.
    """
    from fts.search import dataset

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
        say(f"pending registration: {path} (`fts data register {path}`)")
    return None


@data.command()
@AS_JSON
def verify(as_json: bool) -> None:
    """Check every data set against its file.

    The exit code is 1 when something is wrong.
    """
    from fts.search import dataset

    root = here().data
    entries, problems, unknown = dataset.listing(root), dataset.verify(root), dataset.pending(root)
    if as_json:
        content = {"entries": len(entries), "problems": problems, "pending": [str(path) for path in unknown]}
        emit_json("verify", content)
    elif not problems:
        emit(f"{len(entries)} data sets are as recorded" if entries else f"there is no data set in {here().data}")
    for problem in () if as_json else problems:
        emit(problem)
    for path in () if as_json else unknown:
        say(f"pending registration: {path} (`fts data register {path}`)")
    if problems:
        raise click.exceptions.Exit(1)


@data.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--ticker", help="default: the file's name")
@AS_JSON
def register(file: Path, ticker: str | None, as_json: bool) -> None:
    """Check FILE and make it its ticker's bars.

    FILE holds bars, or VIX closes; it becomes the current raw snapshot.
    """
    from fts.search import dataset

    entry = dataset.register(here().data, file, ticker)
    if as_json:
        return emit_json("dataset", entry)
    return emit(f"{entry.dataset}  {entry.rows} rows  {entry.start}..{entry.end}  md5 {entry.md5}")
