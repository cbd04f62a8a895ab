"""Sources of daily bars: the package arch (no network), Yahoo, or a file of the user."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fts.data.bars import check_bars, check_closes
from fts.data.columns import COLUMNS
from fts.data.layouts import Layout, ReadOptions, read_file
from fts.data.plausible import Implausible, find_implausible, largest_move, widest_gap
from fts.state.files import is_file

if TYPE_CHECKING:
    from collections.abc import Callable, Container

AS_IT_STANDS = ReadOptions()


class SourceFailed(RuntimeError):
    """A source returned no bars: no network, an unknown ticker."""


class NoSourceFile(SourceFailed):
    """The file of a source does not exist."""


def bundled_sp500() -> pd.DataFrame:
    """Returns the S&P 500, 5,031 rows, 1999-01-04 to 2018-12-31, unadjusted."""
    return check_bars(_of_arch("sp500"), "arch.data.sp500")


def bundled_nasdaq() -> pd.DataFrame:
    """Returns the Nasdaq Composite, 5,031 rows, 1999-01-04 to 2018-12-31, unadjusted."""
    return check_bars(_of_arch("nasdaq"), "arch.data.nasdaq")


def bundled_vix() -> pd.Series:
    """Returns VIX closes, 1,259 days, 2014-01-03 to 2019-01-03; FRED's empty rows (holidays) are dropped."""
    return check_closes(_of_arch("vix").rename(columns={"vix": "Close"}), "arch.data.vix")


def _of_arch(name: str) -> pd.DataFrame:
    """Returns arch.data.NAME.load(), read from its file: importing arch costs 1.2 s, mostly for statsmodels.

    Raises SourceFailed if arch is not installed.
    """
    arch = find_spec("arch")
    if arch is None or not arch.submodule_search_locations:
        raise SourceFailed("the bundled bars come with the package arch, which is missing; install arch>=8")
    file = Path(arch.submodule_search_locations[0], "data", name, f"{name}.csv.gz")
    if not file.is_file():  # a version that keeps it elsewhere
        frame: pd.DataFrame = import_module(f"arch.data.{name}").load()
    else:
        frame = pd.read_csv(file, index_col="Date", parse_dates=True).apply(pd.to_numeric, errors="coerce")
    return frame


BUNDLED: dict[str, Callable[[], pd.DataFrame]] = {"SPX": bundled_sp500, "IXIC": bundled_nasdaq}


def bundled(ticker: str) -> pd.DataFrame:
    if ticker not in BUNDLED:
        raise SourceFailed(
            f"no bundled bars for {ticker}; bundled are {', '.join(BUNDLED)}; use --source yahoo for others"
        )
    return BUNDLED[ticker]()


def yahoo(ticker: str) -> pd.DataFrame:
    """Returns all daily bars of a ticker, adjusted for splits and dividends. Raises SourceFailed, BadBars."""
    return check_bars(_download(ticker), f"Yahoo {ticker}")


def yahoo_vix() -> pd.Series:
    """Returns all closes of ^VIX. Raises SourceFailed, BadBars."""
    return check_closes(_download("^VIX"), "Yahoo ^VIX")


def _download(ticker: str) -> pd.DataFrame:
    import logging

    import yfinance  # here, not above: 0.3 s and a network client that an offline build does not need

    logging.getLogger("yfinance").setLevel(logging.CRITICAL)  # it prints the failure that we raise
    try:
        frame = yfinance.Ticker(ticker).history(period="max", interval="1d", auto_adjust=True)
    except (OSError, yfinance.exceptions.YFException) as error:  # errors of curl and requests are OSErrors
        reason = str(error).split(" See http")[0].strip(". \n")[:160] or type(error).__name__
        raise SourceFailed(
            f"could not download {ticker} from Yahoo ({reason}); check the network, or use the bundled bars or a file"
        ) from None
    if frame.empty:
        raise SourceFailed(
            f"Yahoo sent no bars for {ticker}; check the ticker and the network, or use the bundled bars or a file"
        )
    today = pd.Timestamp.now(frame.index.tz).normalize()
    closed: pd.DataFrame = frame[frame.index < today]  # today's bar still changes
    return closed


@dataclass(frozen=True)
class Taken:
    """Checked bars of one source, the recognised layout, and the findings."""

    bars: pd.DataFrame
    origin: str  # the file's name, or the source and ticker
    layout: Layout
    findings: tuple[Implausible, ...]

    def lines(self, accepted: Container[str] = ()) -> tuple[str, ...]:
        """Returns a summary for a person, to read before anything is registered."""
        facts, seen = self.facts(), self.layout
        other = {name: column for name, column in seen.columns.items() if name.lower() != column.lower()}
        columns = ", ".join(f"{name} from {column!r}" for name, column in other.items()) or "as named"
        read = (
            f"layout: {seen.source}; {seen.text}; dates as {seen.dates}; {seen.order}",
            f"columns: {columns}",
        )
        return (
            f"{self.origin}: {facts['rows']:,} rows, {facts['start']} to {facts['end']}",
            *(read if seen.columns else ()),
            f"prices: {seen.adjusted}; largest move {facts['largest_move']}",
            f"gaps: {facts['gaps']}",
            *(f"note: {note}" for note in seen.notes),
            *(f"{_weight(finding, accepted)}: {finding.sentence}" for finding in self.findings),
        )

    def facts(self) -> dict[str, Any]:
        """Returns the summary for a program."""
        days = self.bars.index.to_numpy().astype("datetime64[D]")
        gap, move = widest_gap(days), largest_move(self.bars)
        return {
            "origin": self.origin,
            "rows": len(days),
            "start": str(days[0]),
            "end": str(days[-1]),
            "gaps": f"at most {gap[0]} weekday{'s' * (gap[0] > 1)} in a row, after {gap[1]}" if gap else "none",
            "largest_move": f"{np.expm1(move[0]):+.1%} on {move[1]:%Y-%m-%d}" if move else "none",
            "layout": asdict(self.layout),
            "findings": [asdict(finding) for finding in self.findings],
        }


def _weight(finding: Implausible, accepted: Container[str]) -> str:
    if not finding.spoils:
        return "warning"
    return "accepted" if finding.kind in accepted else "wrong"


def take(bars: pd.DataFrame, origin: str, adjusted: str) -> Taken:
    """Returns bars of a source with known layout, and their findings."""
    layout = Layout("", "oldest first", "", "", {}, adjusted)
    return Taken(bars, origin, layout, find_implausible(bars))


def take_file(path: Path, reading: ReadOptions = AS_IT_STANDS) -> Taken:
    """Reads the bars of a csv or parquet file in any known layout. Raises SourceFailed, BadBars."""
    frame, layout = _read(path, reading)
    if "Volume" not in frame or _all_zero(frame["Volume"]):
        frame["Volume"] = 1.0
        layout = replace(
            layout,
            notes=(*layout.notes, "the file has no volume: the column Volume of the data set gets 1 on each day"),
        )
    bars = check_bars(frame, path.name)
    return Taken(bars, path.name, layout, find_implausible(bars))


def take_closes(path: Path, reading: ReadOptions = AS_IT_STANDS) -> Taken:
    """Reads the VIX closes of a file; other columns are dropped. Raises SourceFailed, BadBars."""
    frame, layout = _read(path, reading, wanted=("Close",))
    closes = check_closes(frame, path.name).to_frame()
    return Taken(closes, path.name, layout, find_implausible(closes))


def _read(path: Path, reading: ReadOptions, wanted: tuple[str, ...] = COLUMNS) -> tuple[pd.DataFrame, Layout]:
    if not is_file(path):
        raise NoSourceFile(f"{path} is not there; give the path of a csv or parquet file")
    return read_file(path, reading, wanted)


def _all_zero(volume: pd.Series) -> bool:
    return bool((pd.to_numeric(volume, errors="coerce") == 0).all())
