"""Simulates trading on a cell's probabilities on its validation days, after costs: a measure, not advice.

The rule has no free choice: it buys at the close of a day whose probability is in the upper fifth of those before
it, and sells where the task's target is reached, or after the horizon. Its gain over holding the same share of the
index all the time is its timing. The deflated Sharpe ratio (Bailey and Lopez de Prado, "The Deflated Sharpe Ratio",
Journal of Portfolio Management 40(5), 2014) evaluates the timing, corrected for the number of trials.
"""

# shapes: T days of prices, N predicted days, K trials

from __future__ import annotations

import math
from bisect import bisect_left, insort
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from fts.analysis.luck import expected_maximum_normal
from fts.scores.calibration import wilson
from fts.scores.dependence import block_length, effective_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from fts.scores.metrics import Floats

DAYS_A_YEAR = 252
COST = 0.0005  # of the price, at each purchase and each sale
TOP = 0.2  # share of days that are traded: those with the highest probabilities so far
FIRST = 60  # days of probabilities before the first trade
TENTHS = 10
_NORMAL = NormalDist()


class NoPrices(ValueError):
    """The prices do not cover the predicted days, or are invalid."""


@dataclass(frozen=True)
class Rule:
    """When to sell."""

    horizon: int  # most trading days to hold
    percent: float  # sell at this rise
    on_high: bool  # True: sell at the target when a high reaches it; False: at the first close that does
    cost: float = COST


@dataclass(frozen=True)
class Traded:
    """Daily returns over the predicted days, from the first tradable day."""

    returns: Floats  # after costs, 0 on days out of the market
    market: Floats  # of holding the index, close to close
    invested: Floats  # 1 on days in the market
    trades: int

    @property
    def timing(self) -> Floats:
        """Gain over holding the same share of the index all the time."""
        excess: Floats = self.returns - self.invested.mean() * self.market
        return excess

    def a_year(self, returns: Floats) -> float:
        """Mean yearly return, as a share."""
        return float(returns.mean() * DAYS_A_YEAR)


@dataclass(frozen=True)
class Tenth:
    """The days of one tenth of the probabilities."""

    n: int
    promised: float  # mean probability
    came: float  # share of days on which the rise came
    low: float  # 95 % interval of that share, for the number of independent days
    high: float
    earned: float  # mean return from the close to the close `horizon` days later, without costs


def trade(prices: pd.DataFrame, predictions: pd.DataFrame, rule: Rule) -> Traded:
    """Trades the predictions (date, p) on the prices (index of days; High, Close). Raises NoPrices."""
    days_T = prices.index.to_numpy().astype("datetime64[D]")
    dates_N = predictions["date"].to_numpy().astype("datetime64[D]")
    at_N = np.searchsorted(days_T, dates_N)
    if (
        len(dates_N) <= FIRST
        or (at_N >= len(days_T)).any()
        or (days_T[np.minimum(at_N, len(days_T) - 1)] != dates_N).any()
    ):
        raise NoPrices(f"{len(dates_N)} predicted days, expected more than {FIRST}, each with a price")
    wanted_T = np.zeros(len(days_T), bool)
    wanted_T[at_N] = in_upper(predictions["p"].to_numpy(float))
    first, stop = int(at_N[FIRST]), min(int(at_N[-1]) + rule.horizon + 1, len(days_T))
    close_T, high_T = prices["Close"].to_numpy(float), prices["High"].to_numpy(float)
    if stop < first + 2:
        raise NoPrices("no day follows the first that could be traded on")
    if not (np.isfinite(high_T[first:stop]).all() and (close_T[first:stop] > 0).all()):
        raise NoPrices("a price of the predicted days is missing or not above zero")
    returns_T, invested_T, trades = np.zeros(len(days_T)), np.zeros(len(days_T)), 0
    entered, target = -1, math.inf  # day of the purchase; -1: not invested
    for day in range(first, stop):
        if entered >= 0:
            reached = (high_T if rule.on_high else close_T)[day] >= target
            price = target if reached and rule.on_high else close_T[day]
            invested_T[day] = 1.0
            returns_T[day] += price / close_T[day - 1] - 1
            if reached or day - entered >= rule.horizon or day == stop - 1:
                returns_T[day] -= rule.cost
                entered = -1
        if entered < 0 and wanted_T[day] and day + 1 < stop:
            entered, target, trades = day, close_T[day] * (1 + rule.percent / 100), trades + 1
            returns_T[day] -= rule.cost
    returns_T[first + 1] += returns_T[first]  # cost of a purchase on the first day
    span = slice(first + 1, stop)
    market = close_T[first + 1 : stop] / close_T[first : stop - 1] - 1
    return Traded(returns_T[span], market, invested_T[span], trades)


def in_upper(p_N: Floats, share: float = TOP, first: int = FIRST) -> np.ndarray:
    """Whether each probability is in the upper `share` of those before it; False for the first `first` ones."""
    found_N, earlier = np.zeros(len(p_N), bool), list[float]()
    for n, p in enumerate(p_N.tolist()):
        found_N[n] = n >= first and bisect_left(earlier, p) >= (1 - share) * n
        insort(earlier, p)
    return found_N


def sharpe(returns_T: Floats) -> float:
    """Mean over standard deviation of daily returns; 0 for constant returns."""
    sd = float(returns_T.std(ddof=1)) if len(returns_T) > 1 else 0.0
    return float(returns_T.mean()) / sd if sd > 0 else 0.0


def best_of_none(sharpes_K: Sequence[float], looked: int) -> float:
    """Returns the expected Sharpe ratio of the best of `looked` trials without skill (Bailey and Lopez de Prado, eq.
    6).

    The trials vary like those in `sharpes_K`, daily Sharpe ratios. Raises ValueError with fewer than two of them.
    """
    if len(sharpes_K) < 2:
        raise ValueError(f"{len(sharpes_K)} trials, expected at least 2: how far trials differ by luck is not known")
    n = max(2, looked, len(sharpes_K))
    return float(np.std(sharpes_K, ddof=1)) * expected_maximum_normal(n)


def deflated_sharpe(returns_T: Floats, threshold: float) -> float:
    """Returns the probability that the true daily Sharpe ratio is above `threshold` (Bailey and Lopez de Prado, eq. 9).

    Corrects for skewness, fat tails and the number of days.
    """
    estimate, n = sharpe(returns_T), len(returns_T)
    sd = float(returns_T.std())
    if n < 3 or sd == 0:
        return 0.5 if estimate == threshold else 0.0
    z_T = (returns_T - returns_T.mean()) / sd
    skew, kurtosis = float((z_T**3).mean()), float((z_T**4).mean())
    spread = math.sqrt(max(1e-12, 1 - skew * estimate + (kurtosis - 1) / 4 * estimate**2))
    return _NORMAL.cdf((estimate - threshold) * math.sqrt(n - 1) / spread)


def tenths(prices: pd.DataFrame, predictions: pd.DataFrame, horizon: int) -> list[Tenth]:
    """Returns ten groups of equal size by probability, with their outcomes, from predictions (date, y, p).

    Raises TooFewSamples if the days do not allow an interval.
    """
    close_T = prices["Close"]
    later = (close_T.shift(-horizon) / close_T - 1).reindex(predictions["date"]).to_numpy(float)
    y_N, p_N = predictions["y"].to_numpy(float), predictions["p"].to_numpy(float)
    effective = effective_size(y_N, block_length(y_N, horizon)) / len(y_N)
    found = []
    for members in np.array_split(np.argsort(p_N, kind="stable"), TENTHS):
        if len(members):
            came = float(y_N[members].mean())
            low, high = wilson(came, max(1.0, len(members) * effective))
            earned = float(np.nanmean(later[members])) if np.isfinite(later[members]).any() else math.nan
            found.append(Tenth(len(members), float(p_N[members].mean()), came, low, high, earned))
    return found
