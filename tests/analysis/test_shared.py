"""The same configurations at several horizons: planted likeness and planted strangeness are told apart."""

import json

import numpy as np
import pandas as pd
import pytest

from fts.analysis.horizon import horizon_variance
from fts.analysis.paired_configurations import FEWEST, shared_configurations, verdict
from tests.analysis.tables import trial_table

HORIZONS = (1, 3, 5)


def same_configurations(best_dropout, n=50, noise=0.0005, **options):
    """One random search of `n` configurations, trained at every horizon; the loss is a bowl around its best dropout."""
    tables = []
    for horizon in HORIZONS:
        table = trial_table([("2M", 1)], n=n, seed=3, noise=0.0, best_dropout=best_dropout[horizon], **options)
        luck = pd.Series(range(n)).mul(37 * horizon).mod(n).sub(n / 2).mul(2 * noise / n)  # another seed, repeatably
        tables.append(table.assign(
            horizon=horizon, experiment=f"phase6a_2M_h{horizon}_threshold_1pct", value=table["value"] + luck,
            job=horizon,
        ))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def test_one_search_serves_horizons_that_want_the_same():
    pairs = shared_configurations(same_configurations(dict.fromkeys(HORIZONS, 0.3)))
    assert [(p.chosen, p.judged) for p in pairs] == [(1, 3), (1, 5), (3, 1), (3, 5), (5, 1), (5, 3)]
    assert all(p.n == 50 and p.rho_low > 0.9 and p.part_high < 0.5 for p in pairs)
    found = horizon_variance(same_configurations(dict.fromkeys(HORIZONS, 0.3)), permutations=200)
    assert found.verdict == "yes"
    assert found.sentence.startswith("Yes: a configuration that is best at one horizon is a good one")


def test_horizons_that_want_opposites_are_found_to_need_their_own():
    found = horizon_variance(same_configurations({1: 0.1, 3: 0.35, 5: 0.6}), permutations=200)
    far = next(p for p in found.shared if (p.chosen, p.judged) == (1, 5))
    assert far.rho_high < 0
    assert far.part_low > 1  # worse than the middle configuration
    assert far.place > 25
    assert found.verdict == "no"
    assert "between h1 and h5" in found.sentence


def test_noise_alone_decides_nothing():
    pairs = shared_configurations(same_configurations(dict.fromkeys(HORIZONS, 0.3), noise=0.2))
    assert verdict(pairs) is None


def test_the_luck_of_seeds_is_not_taken_for_a_difference_between_horizons():
    decided = [verdict(lucky_study(seed, apart=0.0)) for seed in range(4)]
    assert "no" not in decided, "one truth at all horizons, and seeds worth more than any parameter"


def test_horizons_that_differ_are_found_under_the_luck_of_seeds_too():
    decided = [verdict(lucky_study(seed, apart=0.25)) for seed in range(4)]
    assert decided.count("no") >= 3 and "yes" not in decided


def lucky_study(seed, apart):
    """Fifty configurations at three horizons; the best dropout is `apart` between neighbours, the rest is luck."""
    rng = np.random.default_rng(seed)
    noise = 0.06 if apart == 0.0 else 0.02
    table = same_configurations({1: 0.35 - apart, 3: 0.35, 5: 0.35 + apart}, noise=0.0)
    return shared_configurations(table.assign(value=table["value"] + noise * rng.standard_normal(len(table))))


@pytest.mark.parametrize("change", [
    lambda t: t[t["number"] < FEWEST - 1], lambda t: t.assign(status="pruned"), lambda t: t[t["horizon"] == 1],
    lambda t: t.assign(params=[json.dumps({"n": n}) for n in range(len(t))]),
], ids=["few", "pruned", "one horizon", "other configurations"])  # fmt: skip
def test_without_pairs_nothing_is_said(change):
    assert shared_configurations(change(same_configurations(dict.fromkeys(HORIZONS, 0.3)))) == ()
