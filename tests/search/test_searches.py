"""Real searches are put beside the unpruned one of their own cell, on the same days and beside their seeds."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.searches import beside, found, spread
from fts.jobs.api.halving import Halving
from fts.jobs.api.spec import trial_folder
from fts.state import queries, transitions
from fts.state.db import open_database
from fts.study.cell import CellSpec
from tests.state.helpers import claimed, epoch, new_db, spec, started

NAME = "phase6a_2M_h1_threshold_1pct"
HALVING = Halving(1, 3, 0.5, 3)
DAYS = pd.bdate_range("2020-01-01", periods=400)


def cell(**changes):
    fields = {"experiment": NAME, "kind": "cell", "trials": 3, "epochs": 9, "sampler": "random", "pruner": "none"}
    return CellSpec(
        **(fields | changes),
        budget="2M", horizon=1, task="threshold_1pct", tier="a25", dataset="SPX.dataset.a25", data_md5="0" * 32,
        space={},
    )  # fmt: skip


def ran(db, asked, *trials, end=transitions.finish_job):
    """A job that ended; each trial is (status, its losses by epoch). Returns its number."""
    row = spec(1, experiment=asked.experiment, kind=asked.kind, trials_wanted=len(trials), spec=asked.to_json())
    (put,) = transitions.enqueue(db, [row], "ada@lab")
    claim = claimed(db)
    for number, (status, losses) in enumerate(trials):
        trial = started(db, claim, number, seed=number)
        for n, loss in enumerate(losses, start=1):
            transitions.record_epoch(db, claim, trial, epoch(n, val_loss=loss))
        cause = "finished" if status == "complete" else "pruned"
        transitions.finish_trial(db, claim, trial, status, cause, value=min(losses), best_epoch=1)
    end(db, claim)
    return put.job_id


def predict(folder, job, number, p):
    y = (np.arange(400) % 3 == 0).astype(int)
    file = trial_folder(folder / "outputs", NAME, job, number) / "predictions.parquet"
    file.parent.mkdir(parents=True)
    pd.DataFrame({"date": DAYS, "y": y, "p": np.clip(p, 0.01, 0.99)}).to_parquet(file)


@pytest.fixture
def study(tmp_path):
    db = new_db(tmp_path)
    ran(db, cell(seed=11), ("complete", (0.7, 0.6, 0.61, 0.62)), ("complete", (0.8, 0.65, 0.66)))
    best = ran(db, cell(seed=12), ("complete", (0.7, 0.58, 0.59)))
    pruned = ran(
        db,
        cell(seed=21, sampler="tpe", pruner="halving", halving=HALVING, trials=50),
        *[("pruned", (0.9,)), ("complete", (0.7, 0.582, 0.59)), ("pruned", (0.8,))],
    )
    ran(db, cell(seed=21, sampler="tpe", pruner="halving", epochs=50), ("complete", (0.4,)))  # another question
    origin = {"job": pruned, "trial": 1}
    again = [("complete", (loss,)) for loss in (0.59, 0.6, 0.61)]
    for asked, seeds in ((3, again), (2, again[:2])):  # the second job trains two of the first one's seeds again
        ran(db, cell(experiment="replicate", kind="replicate", origin=origin, trials=asked), *seeds)
    db.close()
    rng = np.random.default_rng(0)
    for job, number in ((best, 0), (pruned, 1)):
        predict(tmp_path, job, number, 0.33 + rng.normal(0, 0.05, 400))
    return tmp_path / "outputs" / "fts.db"


def test_a_search_stands_beside_the_unpruned_one_of_its_cell(study):
    (searches,) = found([study]).values()
    plain = [f"random, none, seed {seeds}" for seeds in ("11, 12", "11", "12")]
    assert [one.name for one in searches] == [*plain, "tpe, halving 1,3,0.5,3, seed 21"]
    pooled, first, second, pruned = beside(searches)
    assert (pooled.search.trials, pooled.search.epochs, pooled.share, pooled.above) == (3, 10, 1.0, 0.0)
    assert (first.above, second.above) == (pytest.approx(0.02), 0.0)
    assert (pruned.search.epochs, pruned.share, pruned.above) == (5, 0.5, pytest.approx(0.002))
    assert pruned.interval.low < pruned.interval.high and pooled.interval is None
    assert pruned.search.retrained == (0.59, 0.6, 0.61)
    assert spread(pruned.search.retrained) == "0.6000, sd 0.0100 (3)"


def test_epochs_can_be_counted_as_with_the_patience_people_have(study):
    """Trials of 4, 3 and 3 epochs that ended early for a patience of 10 go on to 9, the most their cell allows."""
    (searches,) = found([study], patience=14).values()
    assert [one.epochs for one in searches] == [8 + 7 + 7, 15, 7, 1 + 7 + 1]
    (searches,) = found([study], patience=99).values()
    assert [one.epochs for one in searches] == [27, 18, 9, 1 + 9 + 1]


def test_nothing_to_compare_is_said_in_a_sentence(tmp_path):
    db = new_db(tmp_path)
    ran(db, cell(seed=11), ("complete", (0.7, 0.6)))
    assert len(queries.jobs(db)) == 1
    db.close()
    with pytest.raises(SystemExit, match="no cell here was searched both"):
        found([tmp_path / "outputs" / "fts.db"])


def test_a_search_can_be_judged_by_what_a_share_of_the_epochs_had_reached(study):
    """The pruned one took 1 + 3 + 1 of the unpruned one's 10; the winner is its second trial."""
    (searches,) = found([study], share=0.4).values()
    assert (searches[0].trials, searches[0].epochs, searches[0].best) == (3, 10, 0.58), "the reference is never cut"
    assert (searches[-1].trials, searches[-1].epochs, searches[-1].best) == (2, 4, 0.582)


def test_a_search_that_was_stopped_counts_once_it_had_spent_its_share(study):
    db = open_database(study)
    stopped = cell(seed=33, sampler="tpe", pruner="halving", halving=HALVING, trials=80)
    ran(db, stopped, ("complete", (0.61, 0.62)), ("pruned", (0.7, 0.7)), end=transitions.cancel_running)
    db.close()
    assert all("seed 33" not in one.name for searches in found([study]).values() for one in searches)
    (searches,) = found([study], share=0.3).values()
    assert searches[-1].name.endswith("seed 33") and (searches[-1].trials, searches[-1].epochs) == (1, 2)
    (searches,) = found([study], share=0.5).values()
    assert "seed 33" not in searches[-1].name, "it was stopped before it had spent so much"
