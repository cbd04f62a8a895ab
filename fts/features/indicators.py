"""The indicators: TA-Lib where it has them, else pandas' rolling windows.

Every function takes float64[T] columns in order of time and returns float64[T], NaN while warming up. All are
recursions or trailing windows from the first row on: the value of a day depends on the days before it and on the start
of the history, never on its end (fts.features.leak checks this at every build).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import talib

if TYPE_CHECKING:
    from collections.abc import Callable

    from pandas.api.typing import Rolling

VIX_WARM_UP = 59  # rows of the VIX history before its slowest feature, vix_percentile_60d, has a value


def dema(close: np.ndarray, days: int) -> np.ndarray:
    return talib.DEMA(close, days)


def sma(close: np.ndarray, days: int) -> np.ndarray:
    return talib.SMA(close, days)


def rsi(close: np.ndarray, periods: int) -> np.ndarray:
    """Wilder's relative strength index, 0..100."""
    return talib.RSI(close, periods)


def stochrsi(close: np.ndarray) -> np.ndarray:
    """%K of STOCHRSI(14, 5, 3), 0..100: the position of RSI(14) within its range of the last 5 periods."""
    return talib.STOCHRSI(close, timeperiod=14, fastk_period=5, fastd_period=3)[0]


def macd_line(close: np.ndarray) -> np.ndarray:
    """EMA(12) - EMA(26); the 9 of the signal line only lengthens the warm-up."""
    return talib.MACD(close, 12, 26, 9)[0]


def obv(close: np.ndarray, volume: np.ndarray) -> np.ndarray:
    """On-balance volume, cumulative from the first row of the history."""
    return talib.OBV(close, volume)


def adosc(high: np.ndarray, low: np.ndarray, close: np.ndarray, volume: np.ndarray) -> np.ndarray:
    """Chaikin oscillator: EMA(3) - EMA(10) of the accumulation/distribution line."""
    return talib.ADOSC(high, low, close, volume, 3, 10)


def atr(high: np.ndarray, low: np.ndarray, close: np.ndarray, days: int) -> np.ndarray:
    return talib.ATR(high, low, close, days)


def adx(high: np.ndarray, low: np.ndarray, close: np.ndarray, days: int) -> np.ndarray:
    return talib.ADX(high, low, close, days)


def bb_percent_b(close: np.ndarray, days: int) -> np.ndarray:
    """(C - lower) / (upper - lower) of Bollinger bands two population standard deviations wide."""
    upper, _, lower = talib.BBANDS(close, days, 2, 2)
    with np.errstate(divide="ignore", invalid="ignore"):  # a flat price is refused later, with name and date
        share: np.ndarray = (close - lower) / (upper - lower)
        return share


def vwap(close: np.ndarray, volume: np.ndarray, days: int) -> np.ndarray:
    """Rolling sum(C * V) / sum(V)."""
    with np.errstate(divide="ignore", invalid="ignore"):  # missing volume is refused later, with name and date
        mean: np.ndarray = _rolling(close * volume, days).sum().to_numpy() / _rolling(volume, days).sum().to_numpy()
        return mean


def percentile(values: np.ndarray, days: int) -> np.ndarray:
    """Percentage of the earlier `days`-1 values below today's, 0..100."""
    share: np.ndarray = (_rolling(values, days).rank(method="min").to_numpy() - 1) / (days - 1) * 100
    return share


def zscore(values: np.ndarray, days: int) -> np.ndarray:
    """Distance from the rolling mean in rolling sample standard deviations; 0 for constant values."""
    window = _rolling(values, days)
    sd = window.std().to_numpy()
    distance = values - window.mean().to_numpy()
    z: np.ndarray = np.where(sd == 0, 0.0, distance / np.where(sd == 0, 1.0, sd))
    return z


def vix_regime(vix: np.ndarray) -> np.ndarray:
    """0: below 15, 1: 15 to 25, 2: 25 and above."""
    regime: np.ndarray = np.digitize(vix, [15, 25]).astype(np.float64)
    return regime


def percent_change(values: np.ndarray, days: int) -> np.ndarray:
    changed = np.full(len(values), np.nan)
    changed[days:] = (values[days:] / values[:-days] - 1) * 100
    return changed


def log_return(close: np.ndarray, days: int) -> np.ndarray:
    """Natural logarithm of today's close divided by that of `days` ago."""
    changed = np.full(len(close), np.nan)
    changed[days:] = np.log(close[days:] / close[:-days])
    return changed


def gap(opens: np.ndarray, close: np.ndarray) -> np.ndarray:
    """Today's open relative to yesterday's close, minus 1."""
    changed = np.full(len(close), np.nan)
    changed[1:] = opens[1:] / close[:-1] - 1
    return changed


def bar_range(high: np.ndarray, low: np.ndarray, close: np.ndarray) -> np.ndarray:
    """High minus low, divided by the close."""
    share: np.ndarray = (high - low) / close
    return share


def atr_ratio(high: np.ndarray, low: np.ndarray, close: np.ndarray, days: int) -> np.ndarray:
    ratio: np.ndarray = atr(high, low, close, days) / close
    return ratio


def volatility(close: np.ndarray, days: int) -> np.ndarray:
    """Population standard deviation of the last `days` daily log returns."""
    seen = np.full(len(close), np.nan)
    seen[1:] = talib.STDDEV(np.diff(np.log(close)), days) if len(close) > 1 else seen[1:]
    return seen


def sma_ratio(values: np.ndarray, days: int) -> np.ndarray:
    """Today's value divided by the mean of the last `days`, minus 1."""
    with np.errstate(divide="ignore", invalid="ignore"):  # missing volume is refused later, with name and date
        ratio: np.ndarray = values / sma(values, days) - 1
        return ratio


def macd_ratio(close: np.ndarray) -> np.ndarray:
    ratio: np.ndarray = macd_line(close) / close
    return ratio


def of_finished_weeks(close: pd.Series, indicator: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """An indicator of weekly closes; each day has the value of the week before: Friday's close is first used on Monday.

    A week is Monday to Sunday; its close is that of its last trading day. That close is not used on the last day
    itself: whether a Thursday ends the week (Good Friday) is known only from a calendar or from the next bar, and a
    future bar must not decide. So every day of week w has the value of week w-1 (lesson 24).
    """
    days = close.index.to_numpy().astype("datetime64[D]").astype(np.int64)
    week = (days + 3) // 7  # day 0, 1970-01-01, was a Thursday; numpy's weeks start there, ours on Mondays
    is_last = np.append(week[1:] != week[:-1], True)
    week_of_day = np.concatenate([[0], np.cumsum(is_last[:-1])])
    weekly = np.concatenate([[np.nan], indicator(close.to_numpy(np.float64)[is_last])])
    seen: np.ndarray = weekly[week_of_day]
    return seen


def _rolling(values: np.ndarray, days: int) -> Rolling[pd.Series]:
    return pd.Series(values).rolling(days)
