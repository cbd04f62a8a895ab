"""Volatility forecasts: what the textbook says, fitted on the training days alone, and unable to look ahead."""

import numpy as np
import pandas as pd
import pytest
from arch import arch_model

from fts.analysis import volatility
from fts.analysis.baselines import fit_one
from fts.analysis.volatility import ATR, EWMA, FORECASTS, GARCH, HAR, LooksAhead, log_variance, returns
from tests.analysis.test_baselines import PlantedCell, planted_cell
from tests.data.made import make_bars

STOP, HORIZON = 600, 3


def moody_bars(rows=900, seed=1):
    """Bars whose moves are three times as large in every other hundred days."""
    calm = make_bars(rows, seed)
    scale = np.where(np.arange(rows) // 100 % 2, 1.5, 0.5)
    close = 100 * np.exp(np.cumsum(scale * np.diff(np.log(calm["Close"]), prepend=np.log(100))))
    parts = {name: close * (calm[name] / calm["Close"]) ** scale for name in ("Open", "High", "Low")}
    return pd.DataFrame({**parts, "Close": close, "Volume": calm["Volume"]}).to_numpy(copy=True), scale


@pytest.mark.parametrize("name", FORECASTS)
def test_a_forecast_knows_calm_from_wild_months(name):
    bars, scale = moody_bars()
    found = log_variance(name, bars, STOP, HORIZON)
    settled = np.arange(len(bars)) % 100 > 50
    wild, calm = (found[settled & (scale == s)].mean() for s in (1.5, 0.5))
    assert wild - calm > 1  # nine times the variance is 2.2


@pytest.mark.parametrize("name", FORECASTS)
def test_neither_parameters_nor_forecasts_of_earlier_days_know_the_days_after(name):
    bars, _ = moody_bars()
    other = bars.copy()
    other[STOP + 50 :, :4] = bars[STOP + 50 :, :4] * np.linspace(1, 3, len(bars) - STOP - 50)[:, None] ** 4
    seen, changed = (log_variance(name, table, STOP, HORIZON) for table in (bars, other))
    assert np.array_equal(seen[: STOP + 50], changed[: STOP + 50])
    assert not np.allclose(seen[STOP + 50 :], changed[STOP + 50 :])


def centred(_train, _horizon):
    return lambda bars: np.log(pd.Series(returns(bars) ** 2).rolling(11, center=True, min_periods=1).mean() + 1e-8)


def scaled_by_the_whole(train, horizon):
    usual = FORECASTS[EWMA](train, horizon)
    return lambda bars: usual(bars) - usual(bars).mean()


def tomorrow(train, horizon):
    usual = FORECASTS[ATR](train, horizon)
    return lambda bars: np.append(usual(bars)[1:], usual(bars)[-1])


@pytest.mark.parametrize("leaky", [centred, scaled_by_the_whole, tomorrow])
def test_a_planted_look_ahead_is_caught_before_it_has_a_score(leaky, monkeypatch):
    monkeypatch.setitem(volatility.FORECASTS, HAR, leaky)
    with pytest.raises(LooksAhead, match=r"HAR volatility: the forecast of day .* looks ahead"):
        fit_one(HAR, "bars", planted_cell())


def test_the_fit_is_handed_the_training_days_and_no_more(monkeypatch):
    handed = []
    monkeypatch.setitem(
        volatility.FORECASTS, EWMA, lambda train, h: handed.append(len(train)) or FORECASTS[ATR](train, h)
    )
    cell = planted_cell()
    fit_one(EWMA, "bars", cell)
    assert handed == [cell.train_ends[-1] + 1]


def test_garch_is_that_of_arch_with_parameters_of_the_training_days():
    bars, _ = moody_bars()
    percent = 100 * returns(bars)[1:]
    model = arch_model(percent, mean="Constant", vol="GARCH", p=1, q=1, rescale=False)
    fitted = model.fit(disp="off", last_obs=STOP - 1)
    theirs = model.fix(fitted.params.to_numpy()).forecast(horizon=HORIZON, start=0, reindex=False).variance
    ours = np.exp(log_variance(GARCH, bars, STOP, HORIZON)[1:]) * 1e4
    assert ours[200:] == pytest.approx(theirs.mean(axis=1).to_numpy()[200:], rel=1e-3)


def test_ewma_is_that_of_pandas_and_atr_that_of_wilder():
    bars, _ = moody_bars(300)
    squares = pd.Series(returns(bars)[1:] ** 2)
    theirs = squares.ewm(alpha=0.06, adjust=True).mean()
    assert np.exp(log_variance(EWMA, bars, 200, 1))[1:] == pytest.approx(theirs.to_numpy())
    talib = pytest.importorskip("talib")
    atr = talib.ATR(bars[:, 1], bars[:, 2], bars[:, 3], 14)[200:]
    assert np.exp(log_variance(ATR, bars, 200, 1) / 2)[200:] == pytest.approx(atr / bars[200:, 3], rel=1e-3)


def test_prices_that_stand_still_have_a_forecast_too():
    bars, _ = moody_bars(300)
    bars[100:130, :4] = bars[100, 3]
    for name in (ATR, EWMA, HAR, GARCH):
        assert np.isfinite(log_variance(name, bars, 250, 1)).all(), name


def test_a_label_about_the_size_of_moves_is_forecast_with_skill():
    bars, _ = moody_bars()
    best = np.lib.stride_tricks.sliding_window_view(bars[1:, 1], HORIZON).max(axis=1)
    y = np.r_[(best >= 1.01 * bars[: len(best), 3]), np.full(HORIZON, np.nan)].astype(np.float32)
    ends = np.arange(19, len(bars) - HORIZON)
    train, val = ends[ends + HORIZON < STOP], ends[ends - 19 >= STOP]
    features = np.zeros((len(bars), 1), np.float32)
    cell = PlantedCell("moody", features, bars, y, train, val, 20, HORIZON, float(y[train].mean()))
    found = {name: fit_one(name, "bars", cell).auc for name in FORECASTS}
    assert min(found.values()) > 0.55, found
