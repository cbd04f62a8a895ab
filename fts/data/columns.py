"""Recognises columns of bars by the names that public sources use, in any case, with their numbers and units."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fts.data.faults import BadBars
from fts.raising import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PRICES = ("Open", "High", "Low", "Close")
COLUMNS = (*PRICES, "Volume")
ASKED = ("date", "open", "high", "low", "close", "volume", "name")  # keys that --columns accepts

# field -> its names without case, signs and spaces; if a file has several, the earlier one is used
_NAMES: dict[str, tuple[str, ...]] = {
    "Date": (
        "date", "dates", "tradedate", "tradingdate", "tradingday", "day", "datetime", "timestamp", "exchangedate",
        "businessdate", "asofdate", "observationdate", "quotedate", "pricedate", "datadate", "caldt", "dt", "datum",
        "fecha", "data", "tarih", "дата", "日付", "日期", "dtyyyymmdd", "windowstart", "time", "t", "unix",
        "unixtimestamp", "opentime", "epoch",
    ),
    "Open": (
        "open", "openprice", "priceopen", "pxopen", "opening", "openingprice", "o", "eroffnung", "eroffn", "erster",
        "ouverture", "ouv", "apertura", "otwarcie", "openprc", "abertura", "acls", "откр", "始値", "开盘", "开盘价",
    ),
    "High": (
        "high", "highprice", "pricehigh", "pxhigh", "dayhigh", "h", "hi", "max", "hoch", "tageshoch", "plushaut",
        "haut", "maximo", "najwyzszy", "askhi", "maxima", "massimo", "hoog", "yuksek", "макс", "高値", "最高",
        "最高价", "高",
    ),
    "Low": (
        "low", "lowprice", "pricelow", "pxlow", "daylow", "l", "lo", "min", "tief", "tagestief", "plusbas", "bas",
        "minimo", "najnizszy", "bidlo", "minima", "laag", "dusuk", "мин", "安値", "最低", "最低价", "低",
    ),
    "Close": (
        "close", "closeprice", "priceclose", "closelast", "closingprice", "closing", "pxlast", "lastprice", "last",
        "c", "price", "settle", "settlementprice", "schlusskurs", "schluss", "zuletzt", "cloture", "dernier",
        "clot", "cierre", "ultimo", "zamkniecie", "laatst", "latest", "ostatnio", "simdi", "цена", "終値", "收盘",
        "收盘价", "prc", "vixclose", "vixcls", "value", "closeclosepriceadjustedforsplits",
    ),
    "Volume": (
        "volume", "vol", "totalvolume", "sharevolume", "volumeshares", "pxvolume", "v", "stuecke", "stucke", "volumen",
        "wolumen", "wol", "hac", "объем", "出来高", "成交量", "交易量", "numberofshares", "shares", "tickvol",
        "tickvolume", "tottrdqty", "totaltradedquantity", "sharestraded",
    ),
    "Adjusted": (
        "adjclose", "adjustedclose", "adjusted", "closeadj", "closeadjusted", "adjustclose", "adjcloseprice",
        "adjcloseadjustedclosepriceadjustedforsplitsanddividendandorcapitalgaindistributions",
    ),
    "Name": (
        "symbol", "ticker", "name", "tic", "sym", "instrument", "stock", "asset", "security", "secid", "permno",
        "code", "isin",
    ),
}  # fmt: skip
_ADJUSTED_ONLY = {"Open": "adjopen", "High": "adjhigh", "Low": "adjlow", "Close": "adjclose", "Volume": "adjvolume"}
_RANK = {name: (field, rank) for field, names in _NAMES.items() for rank, name in enumerate(names)}
_BASIC = {name.lower(): name for name in (*COLUMNS, "Adjusted")} | {"adjclose": "Adjusted"}
_NO_TICKERS = {"adj", "adjusted", "unadjusted", "raw", "prev", "previous", "change", "average", "total", "ex", ""}
_TUPLE = re.compile(r"\(\s*['\"]?(.*?)['\"]?\s*,\s*['\"]?(.*?)['\"]?\s*\)")


@dataclass(frozen=True)
class FileHeader:
    """The columns of a file: names as written, and their tickers if the header has them."""

    names: tuple[str, ...]
    tickers: tuple[str | None, ...]
    lines: int = 1  # number of lines in the file


def plain_name(name: str) -> str:
    """Normalises `<1. Adj. Close (USD)>` to `adjclose`; a name without Latin letters keeps its letters."""
    if len(name.strip()) == 1 and name.strip() == "T":  # in Polygon's grouped bars T is the ticker, t the time
        return "ticker"
    text = re.sub(r"\(.*?\)|\[.*?\]", "", name) if re.match(r"[^(\[]", name.strip()) else name
    text = unicodedata.normalize("NFKD", text).lower().strip(" <>*\"'")
    latin = re.sub(r"^\d+[a-z]?\.\s*", "", text.encode("ascii", "ignore").decode())
    return re.sub(r"[^a-z0-9]", "", latin) or "".join(sign for sign in text if sign.isalnum())


def field_of(name: str) -> str | None:
    """Returns Date, Open ... Volume, Adjusted or Name; None for another column."""
    found = _RANK.get(plain_name(name))
    return found[0] if found else None


def recognised(row: Sequence[str]) -> int:
    """Returns how many different fields a row of cells names; the header of a file names the most."""
    return len({field for cell in row if (field := field_of(cell) or _split_name(cell)[0])})


def with_tickers(names: Sequence[str]) -> FileHeader:
    """Splits names such as AAPL.Open, Close_AAPL or ('Close', 'AAPL') into field and ticker."""
    found = [(None, None) if field_of(name) else _split_name(name) for name in names]
    counts: dict[str, int] = {}
    for _, ticker in found:
        if ticker:
            counts[ticker] = counts.get(ticker, 0) + 1
    names_, tickers = list(names), [None] * len(names)
    for i, (field, ticker) in enumerate(found):
        if field and ticker and counts[ticker] >= 3:
            names_[i], tickers[i] = field, ticker  # type: ignore[call-overload]  # a list of None grows into names
    return FileHeader(tuple(names_), tuple(tickers))


def _split_name(name: str) -> tuple[str | None, str | None]:
    """Returns field and ticker of `AAPL.Close`, in either order."""
    pairs = [match.groups()] if (match := _TUPLE.fullmatch(name.strip())) else []
    for sign in (".", "_", " ", "-", ":", "|"):
        if sign in name and not pairs:
            pairs += [tuple(name.split(sign, 1)), tuple(name.rsplit(sign, 1))]
    for pair in pairs:
        for field, ticker in (pair, pair[::-1]):
            if (known := _BASIC.get(plain_name(field))) and not _is_no_ticker(ticker):
                return known, ticker.strip()
            if (plain_name(field) in ("date", "datetime")) and not ticker.strip():
                return "Date", None
    return None, None


def _is_no_ticker(text: str) -> bool:
    return plain_name(text) in _NO_TICKERS or field_of(text) is not None


def pick_columns(names: Sequence[str], asked: Mapping[str, str], origin: str) -> dict[str, int]:
    """Returns field -> position of its column: as asked, else by its name. Raises BadBars for a missing name."""
    found = {key.capitalize(): _asked_column(key, wanted, names, origin) for key, wanted in asked.items()}
    ranked: dict[str, list[tuple[int, int]]] = {}
    for i, name in enumerate(names):
        if (known := _RANK.get(plain_name(name))) and i not in found.values():
            ranked.setdefault(known[0], []).append((known[1], i))
    for field, candidates in ranked.items():
        candidates.sort()
        if field in found:
            continue
        if len(candidates) > 1 and candidates[0][0] == candidates[1][0]:
            one, two = (names[i] for _, i in candidates[:2])
            raise BadBars(
                f"{origin}: two columns are called {field} ({quoted(one, 40)} and {quoted(two, 40)}); keep one, or "
                "name the right "
                f"one with --columns {field.lower()}=..."
            )
        found[field] = candidates[0][1]
    found |= _only_adjusted(names, found)
    return found if "Volume" in found else found | _some_volume(names, found, origin)


def _only_adjusted(names: Sequence[str], found: Mapping[str, int]) -> dict[str, int]:
    """Returns the columns Adj. Open ... if a file has no other prices."""
    if any(field in found for field in ("Open", "High", "Low")):
        return {} if "Close" in found or "Adjusted" not in found else {"Close": found["Adjusted"]}
    plain = [plain_name(name) for name in names]
    return {field: plain.index(name) for field, name in _ADJUSTED_ONLY.items() if name in plain and field not in found}


def _some_volume(names: Sequence[str], found: Mapping[str, int], origin: str) -> dict[str, int]:
    """Returns the only column named like Volume BTC. Raises BadBars if there are several."""
    alike = [i for i, n in enumerate(names) if plain_name(n).startswith("volume") and i not in found.values()]
    if len(alike) > 1:
        raise BadBars(
            f"{origin}: {' and '.join(repr(names[i]) for i in alike)} may be the volume; choose one with --columns "
            f"'volume={names[alike[0]]}'"
        )
    return {"Volume": alike[0]} if alike else {}


def _asked_column(key: str, wanted: str, names: Sequence[str], origin: str) -> int:
    for alike in (str, str.casefold, plain_name):
        if found := [i for i, name in enumerate(names) if alike(name) == alike(wanted)]:
            return found[0]
    if wanted.isdecimal() and 1 <= int(wanted) <= len(names):
        return int(wanted) - 1
    raise BadBars(f"{origin}: there is no column {quoted(wanted, 60)} for {key}; {columns_are(names)}")


def columns_are(names: Sequence[str]) -> str:
    """Lists the columns of a file for an error, at most twenty."""
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"the columns are {', '.join(name[:40] or '(no name)' for name in names[:20])}{more}"


def source_of(header: FileHeader) -> str:
    """Names the public source with this header; `a plain table` if unknown."""
    names = [name.strip() for name in header.names]
    plain = {plain_name(name) for name in names}
    if header.lines >= 2:
        return f"yfinance, {header.lines} header lines"
    if any(header.tickers):
        return "one column per ticker and field"
    for words, wanted in _SIGNATURES:
        if wanted <= plain:
            return words
    if any(name.startswith("<") for name in names):
        return "MetaTrader or stooq" if "per" in plain or "tickvol" not in plain else "MetaTrader"
    return "a plain table"


_SIGNATURES = (
    ("Alpha Vantage, adjusted", {"timestamp", "open", "close", "adjustedclose"}),
    ("Alpha Vantage", {"timestamp", "open", "high", "low", "close", "volume"}),
    ("Nasdaq.com", {"closelast"}),
    ("investing.com", {"price", "open", "high", "low", "change"}),
    ("Tiingo", {"adjclose", "adjopen", "adjhigh", "adjlow"}),
    ("Polygon", {"o", "h", "l", "c", "t"}),
    ("Yahoo, one header line", {"date", "open", "adjclose"}),
    ("Bloomberg", {"pxlast"}),
)
