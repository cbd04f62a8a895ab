"""The mistakes that once cost months, planted: each is refused or flagged by its name, by the real worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fts.analysis.report import write_report
from fts.features import tiers
from fts.features.leak import LeakyFeature
from fts.jobs.cli import main
from fts.jobs.settings import Places
from fts.state import queries
from fts.state.db import Database
from fts.state.values import Cause, JobStatus
from fts.study import dataset
from fts.study.cell import CellSpec
from fts.study.matrix import NotEnqueued, enqueue_cells, write
from fts.study.report_data import study_data
from fts.study.results import results
from tests.analysis.pages import unwritten
from tests.data.made import make_bars, write_csv
from tests.jobs.science import cells_of, make_data, opened, run_queue

HIGH, CLOSE = "threshold_1pct", "threshold_1pct_close"


def bars_without_wicks(rows: int = 900) -> pd.DataFrame:
    """Every day closes at its high: the label on highs and the label on closes are the same."""
    bars = make_bars(rows, 11)
    bars["High"] = bars["Close"]
    bars["Open"] = bars["Low"] = bars["Close"] * (1 - np.random.default_rng(0).uniform(0.001, 0.02, rows))
    return bars


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """One run of the queue over five cells, four of them with a planted fault."""
    folder = tmp_path_factory.mktemp("planted")
    places = Places(folder / "outputs" / "fts.db", make_data(folder / "data", bars=bars_without_wicks()).root)
    (sound,) = cells_of(places, trials=1)
    cells = [
        sound,
        collapsed(places),
        with_unused_parameter(places),
        *cells_of(places, trials=1, task=CLOSE),  # equal labels
        replace(sound, experiment="nineteen_samples", split=nineteen(places), min_positives=30),
    ]
    db = opened(places)
    write(db, cells, who="test")
    db.close()
    run_queue(places)
    return places


def collapsed(places: Places) -> CellSpec:
    """Weight decay times learning rate is 1: every matrix becomes zero, and every window gets the same answer."""
    (cell,) = cells_of(places, trials=1, epochs=3)
    planted = {
        "learning_rate": {"kind": "choice", "choices": [1e-6]},
        "weight_decay": {"kind": "choice", "choices": [1e6]},
        "warmup_steps": {"kind": "choice", "choices": [1]},
    }
    return replace(cell, experiment="collapsed", space=cell.space | planted)


def with_unused_parameter(places: Places) -> CellSpec:
    (cell,) = cells_of(places, trials=1)
    momentum = {"momentum": {"kind": "float", "low": 0.1, "high": 0.9, "log": False}}
    return replace(cell, experiment="unused_parameter", space=cell.space | momentum)


def nineteen(places: Places) -> dict[str, float]:
    """A split that leaves 19 validation windows, as in lesson 1: 19 + context 20 + horizon 1 - 1 rows."""
    rows = dataset.listing(places.data)[-1].rows
    return {"train": 0.8, "val": (int(0.8 * rows) + 39.5) / rows - 0.8}


@pytest.fixture
def db(places: Places) -> Iterator[Database]:
    opened_db = opened(places)
    yield opened_db
    opened_db.close()


def test_a_collapsed_model_is_flagged(db: Database):
    (trial,) = queries.trials(db, queries.job(db, "collapsed").id)
    assert "collapsed" in trial.badges
    (row,) = [row for row in results(db) if row.experiment == "collapsed"]
    assert "collapsed" in row.badges


def test_a_parameter_nothing_consumes_is_refused_by_name(db: Database):
    job = queries.job(db, "unused_parameter")
    assert (job.status, job.cause) == (JobStatus.FAILED, Cause.CODE_ERROR)
    assert "nothing in a trial consumes momentum" in (job.message or "")
    assert queries.trials(db, job.id) == ()


def test_an_unused_parameter_does_not_even_enter_the_queue(places: Places):
    with pytest.raises(NotEnqueued, match="momentum"):
        enqueue_cells(None, places, [with_unused_parameter(places)], dry_run=True)


def test_equal_labels_under_two_names_are_an_error(db: Database):
    sound, clash = queries.job(db, "phase6a_tiny_h1_" + HIGH), queries.job(db, "phase6a_tiny_h1_" + CLOSE)
    assert sound.status is JobStatus.DONE
    assert (clash.status, clash.cause) == (JobStatus.FAILED, Cause.DATA_ERROR)
    assert sound.experiment in (clash.message or "") and "wrong labels" in (clash.message or "")


def test_nineteen_validation_samples_are_refused(db: Database):
    job = queries.job(db, "nineteen_samples")
    assert (job.status, job.cause) == (JobStatus.FAILED, Cause.DATA_ERROR)
    assert "positives in 19 windows" in (job.message or "")


def test_the_report_names_what_was_planted(places: Places, db: Database, tmp_path: Path):
    with unwritten():
        page = write_report(study_data(db, places), tmp_path).read_text()
    assert "predicts a constant" in page
    for refused in ("unused_parameter", "phase6a_tiny_h1_threshold_1pct_close", "nineteen_samples"):
        begun = len(queries.trials(db, queries.job(db, refused).id))
        said = "1 trial, failed: no complete trial" if begun else "no finished trial (job failed)"
        assert f"{refused}: {said}" in page


def test_a_feature_that_sees_tomorrow_makes_no_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def tomorrow(inputs: tiers.Inputs) -> np.ndarray:
        return inputs.bars["Close"].shift(-1).ffill().to_numpy(np.float64)

    leaky = {**tiers.TIERS["a20"], "close_tomorrow": tomorrow}
    monkeypatch.setattr(tiers, "TIERS", {**tiers.TIERS, "a20": leaky})
    path = write_csv(make_bars(600, 2), tmp_path / "LEAK.csv")
    with pytest.raises(LeakyFeature, match="close_tomorrow"):
        dataset.build(tmp_path / "data", "csv", "LEAK", "a20", path=path, context=20, horizon=5)
    monkeypatch.setenv("FTS_DATA", str(tmp_path / "data"))
    assert (
        main(["--db", str(tmp_path / "fts.db"), "enqueue", "tiny/h1", "--tier", "a20"]) != 0
    )  # there is nothing to train on
