"""Cheap models on the windows of a cell: right, repeatable, and unable to see what the transformer cannot."""

from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from fts.analysis.baselines import BASELINES, baseline_params, best_baseline, flat_windows, last_rows, run_baselines
from fts.analysis.boosted import installed
from fts.jobs.api.spec import config_md5
from fts.study.baseline_jobs import baseline_of
from fts.study.cell import effective_config
from tests.analysis.planted import probabilities, slow_noise
from tests.cli.study import cell
from tests.data.made import make_bars

CONTEXT = 20


@dataclass(frozen=True)
class PlantedCell:
    """The fields of a cell's data that baselines read."""

    name: str
    features_TF: np.ndarray  # noqa: N815 - tensors carry their shape
    bars_T5: np.ndarray  # noqa: N815 - as above
    y_T: np.ndarray  # noqa: N815 - as above
    train_ends: np.ndarray
    val_ends: np.ndarray
    context: int
    horizon: int
    prior: float


def planted_cell(skill=2.0, horizon=3, days=700, seed=0):
    rng = np.random.default_rng(seed)
    signal = slow_noise(rng, days, 0.9)
    features = rng.standard_normal((days, 4)).astype(np.float32)
    features[:, 0] = signal
    y = (rng.random(days) < probabilities(skill * signal)).astype(np.float32)
    ends = np.arange(CONTEXT - 1, days - horizon)
    train = ends[ends + horizon < 480]
    val = ends[ends - CONTEXT + 1 >= 480]
    y[days - horizon :] = np.nan
    bars = make_bars(days, seed).to_numpy()
    return PlantedCell("planted", features, bars, y, train, val, CONTEXT, horizon, float(y[train].mean()))


def test_every_model_sees_both_views_and_the_prior_sees_nothing():
    results = list(run_baselines(planted_cell()))
    assert [(r.name, r.inputs) for r in results] == [
        ("class prior", "nothing"),
        ("logistic regression", "last row"),
        ("random forest", "last row"),
        ("gradient boosting", "last row"),
        ("logistic regression", "window"),
        ("random forest", "window"),
        ("gradient boosting", "window"),
        ("ATR over close", "bars"),
        ("EWMA volatility", "bars"),
        ("HAR volatility", "bars"),
        ("GARCH volatility", "bars"),
        ("small network", "last row"),
        (installed(), "last row"),
    ]
    assert all(r.n_val == len(r.predictions) for r in results)
    assert results[0].auc == 0.5
    assert min(r.auc for r in results[1:4]) > 0.6


def test_scores_are_those_of_the_stored_predictions():
    cell = planted_cell()
    result = list(run_baselines(cell))[1]
    y = cell.y_T[cell.val_ends]
    assert result.auc == pytest.approx(roc_auc_score(y, result.predictions))
    assert result.loss == pytest.approx(log_loss(y, result.predictions.astype(float)), abs=1e-6)
    assert result.auc_low < result.auc < result.auc_high
    assert (result.n_val, result.n_pos) == (len(y), int(y.sum()))


def test_same_seed_same_predictions_whatever_the_threads():
    cell = planted_cell(days=620)
    one, two = list(run_baselines(cell, seed=3)), list(run_baselines(cell, seed=3, n_jobs=2))
    assert all(np.array_equal(a.predictions, b.predictions) for a, b in zip(one, two, strict=True))


def test_without_skill_no_baseline_pretends_any():
    results = list(run_baselines(planted_cell(skill=0.0, seed=4)))
    assert sum(r.auc_low <= 0.5 <= r.auc_high for r in results) >= 11


def test_a_view_reads_nothing_after_the_window_or_before_it():
    cell = planted_cell()
    ends = cell.val_ends[:5]
    changed = cell.features_TF.copy()
    changed[ends[-1] + 1 :] = 1e6
    changed[: ends[0] - CONTEXT + 1] = -1e6
    other = PlantedCell(**{**vars(cell), "features_TF": changed})
    for view in (last_rows, flat_windows):
        assert np.array_equal(view(cell, ends), view(other, ends))


def test_a_flat_window_holds_its_last_day_and_its_level():
    cell = planted_cell()
    end = cell.val_ends[:1]
    flat = flat_windows(cell, end)
    x = cell.features_TF[end[0] - CONTEXT + 1 : end[0] + 1]
    assert flat.shape == (1, 4 * (CONTEXT // 5 + 2))
    assert flat[0, :4] == pytest.approx((x[-1] - x.mean(0)) / x.std(0), abs=1e-5)
    assert flat[0, -8:-4] == pytest.approx(x.mean(0), abs=1e-6)


def test_a_window_without_a_known_future_is_refused():
    cell = planted_cell()
    late = PlantedCell(**{**vars(cell), "val_ends": np.r_[cell.val_ends, len(cell.y_T) - 1]})
    with pytest.raises(ValueError, match=r"1 of .* windows of planted have no label"):
        list(run_baselines(late))


def test_the_best_baseline_depends_on_the_score_asked_for():
    results = list(run_baselines(planted_cell()))
    assert best_baseline(results, "auc").auc == max(r.auc for r in results)
    assert best_baseline(results, "loss").loss == min(r.loss for r in results)
    with pytest.raises(ValueError, match="no baseline results"):
        best_baseline([])


def test_entries_keep_their_place_and_old_results_their_identity():
    """Trial n of a job that is in a database is entry n, and is recognised by its effective configuration."""
    assert [(b["model"], b["inputs"]) for b in BASELINES[:7]] == [
        ("class prior", "nothing"), ("logistic regression", "last row"), ("random forest", "last row"),
        ("gradient boosting", "last row"), ("logistic regression", "window"), ("random forest", "window"),
        ("gradient boosting", "window"),
    ]  # fmt: skip
    base = baseline_of(cell("2M", 1))
    found = [effective_config(base, baseline_params(n)) for n in (1, 9)]
    assert [found[0][name] for name in ("model", "inputs")] == ["logistic regression", "last row"]
    assert "version" not in found[0] and config_md5(found[0]) == "f1e5a4c1a0e57d08efdfd38a7fd689c6"
    changed = effective_config(base, baseline_params(1) | {"version": "2"})
    assert config_md5(changed) != config_md5(found[0])
    with pytest.raises(ValueError, match="there are 13 baselines, from trial 0 to 12; asked for 13"):
        baseline_params(13)
