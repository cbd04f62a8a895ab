"""Where daily bars come from: the arch package (no network), Yahoo, or a file of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from fts.data.bars import BadBars, check_bars, check_closes


class SourceFailed(RuntimeError):
    """A source gave no bars: no network, an unknown ticker, no such file."""


def bundled_sp500() -> pd.DataFrame:
    """S&P 500, 5,031 rows, 1999-01-04 to 2018-12-31, unadjusted."""
    from arch.data import sp500  # here, not above: arch costs 1.2 s, and only a build needs it

    return check_bars(sp500.load(), "arch.data.sp500")


def bundled_nasdaq() -> pd.DataFrame:
    """Nasdaq Composite, 5,031 rows, 1999-01-04 to 2018-12-31, unadjusted."""
    from arch.data import nasdaq  # here, not above: arch costs 1.2 s, and only a build needs it

    return check_bars(nasdaq.load(), "arch.data.nasdaq")


def bundled_vix() -> pd.Series:
    """VIX closes, 1,259 days, 2014-01-03 to 2019-01-03; FRED's empty rows (holidays) are left out."""
    from arch.data import vix  # here, not above: arch costs 1.2 s, and only a build needs it

    return check_closes(vix.load().rename(columns={"vix": "Close"}), "arch.data.vix")


BUNDLED: dict[str, Callable[[], pd.DataFrame]] = {"SPX": bundled_sp500, "IXIC": bundled_nasdaq}


def bundled(ticker: str) -> pd.DataFrame:
    if ticker not in BUNDLED:
        raise SourceFailed(
            f"no bundled bars for {ticker}, there are {', '.join(BUNDLED)}; use --source yahoo for others"
        )
    return BUNDLED[ticker]()


def yahoo(ticker: str) -> pd.DataFrame:
    """All daily bars of a ticker, adjusted for splits and dividends. Raises SourceFailed, BadBars."""
    return check_bars(_download(ticker), f"Yahoo {ticker}")


def yahoo_vix() -> pd.Series:
    """All closes of ^VIX. Raises SourceFailed, BadBars."""
    return check_closes(_download("^VIX"), "Yahoo ^VIX")


def _download(ticker: str) -> pd.DataFrame:
    import logging

    import yfinance  # here, not above: 0.3 s and a network client that an offline build never needs

    logging.getLogger("yfinance").setLevel(logging.CRITICAL)  # it prints the same failure twice; ours says it once
    try:
        frame = yfinance.Ticker(ticker).history(period="max", interval="1d", auto_adjust=True)
    except (OSError, yfinance.exceptions.YFException) as error:  # curl's and requests' errors are OSErrors
        reason = str(error).split(" See http")[0].strip(". \n")[:160] or type(error).__name__
        raise SourceFailed(
            f"could not download {ticker} from Yahoo ({reason}); check the network, or use the bundled bars or a file"
        ) from None
    if frame.empty:
        raise SourceFailed(
            f"Yahoo sent no bars for {ticker}; check the ticker and the network, or use the bundled bars or a file"
        )
    today = pd.Timestamp.now(frame.index.tz).normalize()
    return frame[frame.index < today]  # the bar of the running day still changes


def bars_file(path: Path) -> pd.DataFrame:
    """Bars of a parquet or csv file, told apart by the ending. Raises SourceFailed, BadBars."""
    return parquet_file(path) if is_parquet(path) else csv_file(path)


def is_parquet(path: Path) -> bool:
    """By its ending, in capitals too: other systems write those."""
    return path.suffix.lower() == ".parquet"


def csv_file(path: Path) -> pd.DataFrame:
    """Bars from a csv file with the columns Date, Open, High, Low, Close, Volume. Raises SourceFailed, BadBars."""
    return check_bars(_read(path), path.name)


def parquet_file(path: Path) -> pd.DataFrame:
    """Bars from a parquet file with the columns of `csv_file`; Date may be the index. Raises SourceFailed, BadBars."""
    return check_bars(_read(path), path.name)


def closes_file(path: Path) -> pd.Series:
    """VIX closes from a csv or parquet file with Date and Close. Raises SourceFailed, BadBars."""
    return check_closes(_read(path), path.name)


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise SourceFailed(f"{path} is not there; give the path of a csv or parquet file")
    try:
        return pd.read_parquet(path) if is_parquet(path) else pd.read_csv(path)
    except (ValueError, OSError) as error:  # pandas' and pyarrow's parse errors are ValueErrors
        reason = (str(error).splitlines() or ["empty"])[0][:160]
        raise BadBars(f"{path.name}: cannot be read as {path.suffix.lstrip('.') or 'csv'} ({reason})") from None
