"""The same bars as public sources write them: one function per layout, for tests."""

from collections.abc import Callable
from io import StringIO

import numpy as np
import pandas as pd

FIELDS = ["Open", "High", "Low", "Close", "Volume"]


def lines(bars: pd.DataFrame, header: str, form: str, newest_first: bool = False, end: str = "\n") -> str:
    """One line per bar; `form` may name d (the day), Open ... Volume."""
    rows = [form.format(d=day, **row) for day, row in zip(bars.index, bars.to_dict("records"), strict=True)]
    return end.join([header, *(rows[::-1] if newest_first else rows)]) + end


def german(value: float, digits: int = 2) -> str:
    return f"{value:,.{digits}f}".translate(str.maketrans(",.", ".,"))


DAY_FIRST = "{d:%d.%m.%Y};{Close:.2f};{Open:.2f};{High:.2f};{Low:.2f};{Volume:.0f}"


def localised(bars: pd.DataFrame) -> pd.DataFrame:
    """The cells as a German spreadsheet shows them."""
    return bars.assign(**{name: [german(v, 0 if name == "Volume" else 2) for v in bars[name]] for name in FIELDS})


def levels(bars: pd.DataFrame, *tickers: str, swapped: bool = False, reset: bool = False) -> str:
    """What `yfinance.download(...).to_csv()` writes."""
    frame = pd.concat({t: bars * (1 + i) for i, t in enumerate(tickers)}, axis=1, names=["Ticker", "Price"])
    frame = frame if swapped else frame.swaplevel(axis=1).sort_index(axis=1)
    out = StringIO()
    (frame.reset_index() if reset else frame).to_csv(out)
    return out.getvalue()


P = "{Open:.2f},{High:.2f},{Low:.2f},{Close:.2f}"
ISO = "{d:%Y-%m-%d}"
V = ",{Volume:.0f}"
ROW = f"{ISO},{P}{V}"
PLAIN = "Date,Open,High,Low,Close,Volume"

LAYOUTS: dict[str, Callable[[pd.DataFrame], str | bytes]] = {
    "plain": lambda b: lines(b, PLAIN, ROW),
    "yfinance, three header lines": lambda b: levels(b, "SPX"),
    "yfinance, by ticker": lambda b: levels(b, "SPX", swapped=True),
    "yfinance, index reset": lambda b: levels(b, "SPX", reset=True),
    "yfinance, time zones": lambda b: lines(
        b, "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits", "{d:%Y-%m-%d} 00:00:00-05:00," + P + V + ",0.0,0.0"
    ),
    "Yahoo, Adj Close": lambda b: lines(b, "Date,Open,High,Low,Close,Adj Close,Volume", f"{ISO},{P},1.5{V}"),
    "Alpha Vantage": lambda b: lines(b, "timestamp,open,high,low,close,volume", ROW, True, "\r\n"),
    "Alpha Vantage, numbered": lambda b: lines(b, ",1. open,2. high,3. low,4. close,5. volume", ROW, True),
    "Alpha Vantage, adjusted": lambda b: lines(
        b,
        "timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient",
        f"{ISO},{P},1.5{V},0,1",
        True,
    ),
    "stooq": lambda b: lines(
        b,
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
        "^SPX,D,{d:%Y%m%d},000000," + P + V + ",0",
        end="\r\n",
    ),
    "stooq, Polish": lambda b: lines(b, "Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen", ROW),
    "Nasdaq.com": lambda b: lines(
        b,
        "Date,Close/Last,Volume,Open,High,Low",
        "{d:%m/%d/%Y},${Close:.2f},{Volume:.0f},${Open:.2f},${High:.2f},${Low:.2f}",
        True,
    ),
    "investing.com": lambda b: (
        "\ufeff"
        + lines(
            b,
            '"Date","Price","Open","High","Low","Vol.","Change %"',
            '"{d:%m/%d/%Y}","{Close:,.2f}","{Open:,.2f}","{High:,.2f}","{Low:,.2f}","{Volume:,.0f}","-0.41%"',
            True,
        )
    ),
    "investing.com, named months": lambda b: lines(
        b,
        '"Date","Price","Open","High","Low","Vol.","Change %"',
        '"{d:%b %d, %Y}","{Close:,.2f}","{Open:,.2f}","{High:,.2f}","{Low:,.2f}","{Volume:.0f}","-0.41%"',
        True,
    ),
    "investing.com, German": lambda b: lines(
        localised(b),
        '"Datum","Zuletzt","Eröffn.","Hoch","Tief","Vol.","+/- %"',
        '"{d:%d.%m.%Y}","{Close}","{Open}","{High}","{Low}","{Volume}","-0,41%"',
        True,
    ),
    "Tiingo": lambda b: lines(
        b,
        "date,close,high,low,open,volume,adjClose,adjHigh,adjLow,adjOpen,adjVolume,divCash,splitFactor",
        "{d:%Y-%m-%d}T00:00:00.000Z,{Close:.2f},{High:.2f},{Low:.2f},{Open:.2f},{Volume:.0f},1,1,1,1,1,0.0,1.0",
    ),
    "Polygon": lambda b: lines(
        b.assign(ms=[int(t.timestamp() * 1000) + 5 * 3_600_000 for t in b.index]),
        "v,vw,o,c,h,l,t,n",
        "{Volume:.1f},1.0,{Open:.2f},{Close:.2f},{High:.2f},{Low:.2f},{ms},100",
    ),
    "Tokyo, seconds since 1970": lambda b: lines(
        b.assign(s=[int(t.timestamp()) - 9 * 3600 for t in b.index]), "time,open,high,low,close,volume", "{s}," + P + V
    ),
    "IEX": lambda b: lines(
        b,
        "close,high,low,open,symbol,volume,changeOverTime,date,uClose,label",
        '{Close:.2f},{High:.2f},{Low:.2f},{Open:.2f},SPX,{Volume:.0f},0.1,{d:%Y-%m-%d},1,"{d:%b %d, %y}"',
    ),
    "Quandl": lambda b: lines(
        b,
        "Date,Open,High,Low,Close,Volume,Ex-Dividend,Split Ratio,Adj. Open,Adj. High,Adj. Low,Adj. Close,Adj. Volume",
        f"{ISO},{P},{{Volume:.0f}},0.0,1.0,1,1,1,1,1",
        True,
    ),
    "Bloomberg": lambda b: lines(b, "Dates,PX_OPEN,PX_HIGH,PX_LOW,PX_LAST,PX_VOLUME", "{d:%m/%d/%Y}," + P + V),
    "a German spreadsheet": lambda b: lines(
        localised(b), "Datum;Erster;Hoch;Tief;Schlusskurs;Stücke", "{d:%d.%m.%Y};{Open};{High};{Low};{Close};{Volume}"
    ).encode("latin-1"),
    "Excel says its separator": lambda b: (
        "sep=;\r\n" + lines(b, PLAIN.replace(",", ";"), ROW.replace(",", ";"), end="\r\n")
    ),
    "Excel's day numbers": lambda b: lines(
        b.assign(n=(b.index - pd.Timestamp("1899-12-30")).days), PLAIN, "{n}," + P + V
    ),
    "MetaTrader 5": lambda b: lines(
        b,
        "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
        "{d:%Y.%m.%d}\t" + P.replace(",", "\t") + "\t{Volume:.0f}\t0\t2",
        end="\r\n",
    ).encode("utf-16"),
    "MetaTrader 4, no header": lambda b: lines(b, "", "{d:%Y.%m.%d},00:00," + P + V).lstrip(),
    "R quantmod": lambda b: lines(
        b,
        '"","SPX.Open","SPX.High","SPX.Low","SPX.Close","SPX.Volume","SPX.Adjusted"',
        '"{d:%Y-%m-%d}",' + P + V + ",1.5",
    ),
    "R write.table": lambda b: lines(
        b, '"Open" "High" "Low" "Close" "Volume"', '"{d:%Y-%m-%d}" ' + P.replace(",", " ") + " {Volume:.0f}"
    ),
    "flattened columns": lambda b: lines(b, "Date," + ",".join(f"\"('{name}', 'SPX')\"" for name in FIELDS), ROW),
    "columns with the ticker": lambda b: lines(b, "Date,Open_SPX,High_SPX,Low_SPX,Close_SPX,Volume_SPX", ROW),
    "numbered rows": lambda b: lines(b, "Unnamed: 0," + PLAIN, f"7,{ISO},{P},{{Volume:.0f}}"),
    "day first": lambda b: lines(b, PLAIN, "{d:%d/%m/%Y}," + P + V),
    "two-digit years": lambda b: lines(b, PLAIN, "{d:%m/%d/%y}," + P + V),
    "named days": lambda b: lines(b, PLAIN, "{d:%a %d-%b-%Y}," + P + V),
    "American hours": lambda b: lines(b, PLAIN, "{d:%m/%d/%Y} 12:00:00 AM," + P + V),
    "Swiss thousands": lambda b: lines(
        b.assign(Open=[f"{v:,.2f}".replace(",", "'") for v in b["Open"]]),
        PLAIN,
        ISO + ",{Open},{High:.2f},{Low:.2f},{Close:.2f},{Volume:.0f}",
    ),
    "titles, comments, a footer": lambda b: (
        "# downloaded today\nS&P 500\n\n"
        + lines(b, PLAIN + ",", f"{ISO},{P},{{Volume:.0f}},")
        + ',,,,,,\n\n"Source: an exchange, without warranty"\n'
    ),
    "a header in a comment": lambda b: lines(b, "# " + PLAIN, ROW),
    "a header twice": lambda b: lines(b.iloc[:200], PLAIN, ROW) + lines(b.iloc[200:], PLAIN, ROW),
    "old Mac lines": lambda b: lines(b, PLAIN, ROW, end="\r"),
    "each line in quotes": lambda b: "".join(f'"{line}"\n' for line in lines(b, PLAIN, ROW).splitlines()),
    "pipes": lambda b: lines(b, PLAIN.replace(",", "|"), ROW.replace(",", "|")),
    "Yahoo's page, pasted": lambda b: "".join(
        f"{line}\n" + ("Dec 1, 2018\t0.35 Dividend\n" if i == 7 else "")
        for i, line in enumerate(
            lines(
                b,
                "Date\tOpen\tHigh\tLow\tClose Close price adjusted for splits.\tAdj Close Adjusted close price "
                "adjusted for splits and dividend and/or capital gain distributions.\tVolume",
                "{d:%b %d, %Y}\t{Open:,.2f}\t{High:,.2f}\t{Low:,.2f}\t{Close:,.2f}\t{Close:,.2f}\t{Volume:,.0f}",
                True,
            ).splitlines()
        )
    ),
    "Russian": lambda b: lines(b, "Дата;Цена;Откр.;Макс.;Мин.;Объём", DAY_FIRST),  # the letters are Russian
    "Chinese": lambda b: lines(b, "日期;收盘;开盘;最高;最低;成交量", DAY_FIRST),
    "Japanese": lambda b: lines(b, "日付;終値;始値;高値;安値;出来高", DAY_FIRST),
    "Turkish": lambda b: lines(b, "Tarih;Şimdi;Açılış;Yüksek;Düşük;Hac.", DAY_FIRST),  # noqa: RUF001  # so are these
    "Dutch": lambda b: lines(b, "Datum;Laatst;Open;Hoog;Laag;Vol.", DAY_FIRST),
    "Italian": lambda b: lines(b, "Data;Ultimo;Apertura;Massimo;Minimo;Vol.", DAY_FIRST),
    "CRSP": lambda b: lines(
        b,
        "PERMNO,date,TICKER,BIDLO,ASKHI,PRC,VOL,OPENPRC",
        "84398,{d:%Y%m%d},SPY,{Low:.2f},{High:.2f},{Close:.2f},{Volume:.0f},{Open:.2f}",
    ),
}


def sample(bars: pd.DataFrame) -> pd.DataFrame:
    """The last 400 bars in whole cents, so that every layout can hold them."""
    return bars.iloc[-400:].round(2).assign(Volume=np.round(bars["Volume"].iloc[-400:] / 100) * 100)
