"""Volatility forecasts, which a model of `rises by 1 %` has to beat.

Whether a price rises by 1 % within some days depends mostly on how much it moves at all. Each forecast is fitted
only on the training days, filtered forward, and turned into a probability by a logistic regression on its logarithm.
"""

# shapes: T days in time order, 5 columns (Open, High, Low, Close, Volume)

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterable

Floats = NDArray[np.float64]
Forecast = Callable[[Floats], Floats]  # bars T x 5 -> log of the daily variance, as known at the end of each day
Fit = Callable[[Floats, int], Forecast]  # bars of the training days, horizon in trading days

ATR, EWMA, HAR, GARCH = "ATR over close", "EWMA volatility", "HAR volatility", "GARCH volatility"
WILDER = 1 / 14  # weight of the newest day in ATR(14)
RISKMETRICS = 0.06  # weight of the newest day in RiskMetrics' daily variance (1996): 1 - 0.94
WEEK, MONTH = 5, 22  # trading days, as in Corsi (2009, Journal of Financial Econometrics 7, 174-196)
SMALLEST = 1e-10  # daily variance; a constant price has zero, which has no logarithm
CUTS = 6  # number of days at which each fitted forecast is computed again without its future


class LooksAhead(ValueError):
    """A forecast changes when later days are removed."""


def log_variance(name: str, bars_T5: Floats, train_stop: int, horizon: int, seed: int = 0) -> Floats:
    """Returns the forecast of each day, from a model fitted only on the first `train_stop` days.

    Raises LooksAhead if a forecast changes without the days after it.
    """
    forecast = FORECASTS[name](bars_T5[:train_stop], horizon)
    found_T = forecast(bars_T5)
    cuts = np.random.default_rng(seed).integers(max(1, len(bars_T5) // 4), len(bars_T5), CUTS)
    refuse_look_ahead(name, forecast, bars_T5, found_T, sorted({train_stop, *map(int, cuts)}))
    return found_T


def refuse_look_ahead(name: str, forecast: Forecast, bars_T5: Floats, found_T: Floats, cuts: Iterable[int]) -> None:
    """Raises LooksAhead unless the forecasts of the first `cut` days equal those of a history that ends there."""
    for cut in cuts:
        apart = np.flatnonzero(~np.isclose(forecast(bars_T5[:cut]), found_T[:cut], rtol=1e-9, atol=1e-9))
        if len(apart):
            raise LooksAhead(
                f"{name}: the forecast of day {apart[0] + 1} changes when the history ends on day {cut}: it looks ahead"
            )


def atr_over_close(_train_T5: Floats, _horizon: int) -> Forecast:
    """Wilder's average true range of 14 days over the close, as a variance; nothing is fitted."""

    def forecast(bars_T5: Floats) -> Floats:
        _, high, low, close, _ = bars_T5.T
        before = np.concatenate([close[:1], close[:-1]])
        true_range = np.maximum(high, before) - np.minimum(low, before)
        return _log((recur(true_range, WILDER, 1 - WILDER, true_range[0]) / close) ** 2)

    return forecast


def ewma(_train_T5: Floats, _horizon: int) -> Forecast:
    """The exponentially weighted mean of squared returns, with the weight of RiskMetrics; nothing is fitted."""

    def forecast(bars_T5: Floats) -> Floats:
        seen = 1 - (1 - RISKMETRICS) ** np.arange(len(bars_T5))  # sum of the weights; the first day has no return
        return _log(recur(returns(bars_T5) ** 2, RISKMETRICS, 1 - RISKMETRICS, 0.0) / np.maximum(seen, RISKMETRICS))

    return forecast


def har(train_T5: Floats, horizon: int) -> Forecast:
    """A regression of the log variance of the coming days on that of the last day, week and month.

    The variance of a day is that of its range (Garman and Klass 1980) and of the night before it.
    """
    x_T4 = _har_inputs(train_T5)
    sums = np.concatenate([[0.0], np.cumsum(np.exp(x_T4[:, 1]))])
    coming = np.log((sums[1 + horizon :] - sums[1:-horizon]) / horizon)  # row t: days t+1 .. t+horizon
    first = min(MONTH, len(coming) // 2)  # the first month has no month before it
    weights = np.linalg.lstsq(x_T4[first : len(coming)], coming[first:], rcond=None)[0]
    return lambda bars_T5: _har_inputs(bars_T5) @ weights


def garch(train_T5: Floats, horizon: int) -> Forecast:
    """GARCH(1, 1) with a constant mean, fitted by `arch`; the mean variance of the coming days."""
    from arch import arch_model  # here, not above: 1.2 s of imports

    percent = 100 * returns(train_T5)[1:]
    fitted = arch_model(percent, mean="Constant", vol="GARCH", p=1, q=1, rescale=False).fit(
        disp="off", show_warning=False
    )
    mean, omega, alpha, beta = (float(fitted.params[name]) for name in ("mu", "omega", "alpha[1]", "beta[1]"))
    start = float(np.var(percent))

    def forecast(bars_T5: Floats) -> Floats:
        shocks = (100 * returns(bars_T5) - mean) ** 2
        shocks[0] = start  # the first day has no return
        next_day = recur(omega + alpha * shocks, 1.0, beta, start)
        return _log(_mean_ahead(next_day, omega, alpha + beta, horizon) / 1e4)

    return forecast


def _mean_ahead(next_day: Floats, omega: float, persistence: float, horizon: int) -> Floats:
    """Returns the mean of the expected variances of days 1 .. horizon, from that of the next day."""
    total, ahead = np.zeros_like(next_day), next_day
    for _ in range(horizon):
        total, ahead = total + ahead, omega + persistence * ahead
    return total / horizon


FORECASTS: dict[str, Fit] = {ATR: atr_over_close, EWMA: ewma, HAR: har, GARCH: garch}


def returns(bars_T5: Floats) -> Floats:
    """Returns log returns of the close; 0 on the first day."""
    return np.diff(np.log(bars_T5[:, 3]), prepend=np.log(bars_T5[0, 3]))


def day_variance(bars_T5: Floats) -> Floats:
    """Returns Garman and Klass's variance of each day from its four prices, plus the squared overnight move."""
    open_, high, low, close = np.log(bars_T5[:, :4]).T
    night = open_ - np.concatenate([open_[:1], close[:-1]])
    variance_T: Floats = 0.5 * (high - low) ** 2 - (2 * np.log(2) - 1) * (close - open_) ** 2 + night**2
    return variance_T


def recur(x_T: Floats, new: float, old: float, start: float) -> Floats:
    """Returns y[t] = new * x[t] + old * y[t - 1], with y[-1] = start."""
    from scipy.signal import lfilter  # here, not above: only forecasts need it

    y_T: Floats = lfilter([new], [1.0, -old], x_T, zi=np.array([old * start]))[0]
    return y_T


def _har_inputs(bars_T5: Floats) -> Floats:
    day = np.maximum(day_variance(bars_T5), SMALLEST)
    means = [_log(_trailing_mean(day, days)) for days in (1, WEEK, MONTH)]
    return np.stack([np.ones_like(day), *means], axis=1)


def _trailing_mean(x_T: Floats, days: int) -> Floats:
    """Returns the mean over the last `days`, or over as many as there are."""
    sums = np.concatenate([[0.0], np.cumsum(x_T)])
    stop = np.arange(1, len(x_T) + 1)
    start = np.maximum(0, stop - days)
    mean_T: Floats = (sums[stop] - sums[start]) / (stop - start)
    return mean_T


def _log(variance_T: Floats) -> Floats:
    return np.log(np.maximum(variance_T, SMALLEST))
