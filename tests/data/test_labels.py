"""Labels equal a slow loop, and their fingerprints tell horizons and tasks apart."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fts.data.labels import fingerprint, label
from fts.data.sources import bundled_sp500
from fts.data.tasks import TASKS, UnknownTask, task
from tests.data.made import make_bars


def slow_labels(bars, factor, column, horizon):
    high, close = bars[column].tolist(), bars["Close"].tolist()
    known = len(bars) - horizon
    return [float(max(high[t + 1 : t + horizon + 1]) >= factor * close[t]) for t in range(known)]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 50), st.sampled_from(sorted(TASKS)))
def test_labels_equal_a_slow_loop(rows, horizon, seed, name):
    bars = make_bars(rows, seed)
    chosen = TASKS[name]
    y = label(bars, name, horizon)
    slow = slow_labels(bars, 1 + chosen.percent / 100, "High" if chosen.on == "high" else "Close", horizon)
    assert y.dtype == np.float32 and len(y) == rows
    assert y[: len(slow)].tolist() == slow
    assert np.isnan(y[len(slow) :]).all()


@pytest.mark.parametrize(
    ("name", "published", "ours"),
    [
        ("threshold_1pct", [21.5, 35.3, 45.1, 56.5], [21.67, 35.49, 45.25, 56.83]),
        ("threshold_1pct_close", [13.8, 25.2, 33.8, 45.8], [13.85, 25.42, 33.96, 45.95]),
    ],
)
def test_base_rates_on_the_sp500_are_the_published_ones(name, published, ours):
    """The published figures leave out some 250 rows at the start (equal from row 249 on), ours the warm-up's 199."""
    bars = bundled_sp500()
    rates = [100 * fingerprint(label(bars, name, h)[249:]).base_rate for h in (1, 2, 3, 5)]
    assert [round(r, 1) for r in rates] == published
    rates = [100 * fingerprint(label(bars, name, h)[199:]).base_rate for h in (1, 2, 3, 5)]
    assert [round(r, 2) for r in rates] == ours


def test_each_horizon_and_task_has_its_own_fingerprint():
    bars = make_bars(600)
    prints = {fingerprint(label(bars, t, h)).md5 for t in TASKS for h in (1, 2, 3, 5)}
    assert len(prints) == 4 * len(TASKS)
    assert fingerprint(label(bars, "threshold_1pct", 1)) == fingerprint(label(bars, "threshold_1pct", 1))


def test_a_fingerprint_counts_only_known_labels():
    found = fingerprint(np.array([1, 0, 1, 1, math.nan], dtype=np.float32))
    assert (found.base_rate, found.n) == (0.75, 4)


def test_names_are_versioned_and_general():
    assert task("threshold_1pct").definition == "threshold_1pct.high.v2"
    assert task("threshold_1pct_close").definition == "threshold_1pct.close.v1"
    assert task("threshold_2.5pct").percent == 2.5
    assert task("threshold_1pct").sentence == "y[t] = 1 iff max(High[t+1..t+H]) >= 1.01 * Close[t]"
    for wrong in ("threshold_0pct", "threshold_1.0pct", "threshold_01pct", "threshold_1pct_low", "direction", ""):
        with pytest.raises(UnknownTask, match="threshold_1pct"):
            task(wrong)
