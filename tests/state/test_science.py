"""What is found out after the trials: margins and openings, and that both stay."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from fts.state import queries, replay, transitions
from fts.state.db import Database
from fts.state.errors import NoSuchRow, WrongStatus
from fts.state.values import Margin
from tests.state.helpers import claimed, enqueued, started, verbs

MARGIN = Margin(1, 0, "random forest (window)", 9, 2, 400, 0.01, -0.02, 0.04, -0.001, -0.01, 0.008, 0.0)


def complete_trial(db: Database) -> int:
    enqueued(db)
    claim = claimed(db)
    trial = started(db, claim)
    transitions.finish_trial(db, claim, trial, "complete", "finished", value=0.5, best_epoch=1)
    return claim.job_id


def test_the_latest_margin_of_a_cell_counts_and_is_in_every_snapshot(db: Database) -> None:
    enqueued(db)
    transitions.record_margin(db, MARGIN, "worker 1")
    transitions.record_margin(db, replace(MARGIN, auc=0.02), "worker 1")
    (margin,) = queries.margins(db)
    assert margin == replace(MARGIN, auc=0.02, at=margin.at)
    assert queries.snapshot(db).margin(1) == margin
    assert queries.snapshot(db).margin(2) is None


def test_a_replay_knows_the_margin_as_it_was_then(db: Database) -> None:
    enqueued(db)
    before = db.now()
    transitions.record_margin(db, MARGIN, "worker 1")
    (first,) = queries.margins(db)
    time.sleep(0.01)
    transitions.record_margin(db, replace(MARGIN, auc=0.02), "worker 1")
    assert replay.rebuild(db, before - 1.0).margins == ()
    assert [m.auc for m in replay.rebuild(db, first.at + 0.005).margins] == [MARGIN.auc]
    assert [m.auc for m in replay.rebuild(db, db.now() + 1.0).margins] == [0.02]


def test_a_margin_of_no_job_is_refused(db: Database) -> None:
    with pytest.raises(NoSuchRow):
        transitions.record_margin(db, MARGIN, "worker 1")


def test_the_test_set_is_opened_once_and_undo_does_not_close_it(db: Database) -> None:
    job = complete_trial(db)
    transitions.unseal(db, job, 0, "ada@lab")
    with pytest.raises(WrongStatus, match="ada@lab opened it"):
        transitions.unseal(db, job, 0, "eve@lab")
    (opening,) = queries.openings(db)
    assert (opening.who, opening.trial, opening.scores) == ("ada@lab", 0, None)
    (event,) = queries.events(db, verbs=["unsealed"])
    assert event.inverse is None and "ada@lab opened the test set" in event.message


def test_an_opening_has_the_scores_of_its_test(db: Database) -> None:
    job = complete_trial(db)
    transitions.unseal(db, job, 0, "ada@lab")
    transitions.record_test(db, queries.job(db, job).experiment, {"auc": 0.6}, "ada@lab")
    assert [verb for verb in verbs(db) if verb in ("unsealed", "tested")] == ["unsealed", "tested"]
    assert queries.openings(db)[0].scores == {"auc": 0.6}


def test_a_test_set_is_not_opened_for_a_trial_that_is_not_complete(db: Database) -> None:
    enqueued(db)
    claim = claimed(db)
    started(db, claim)
    with pytest.raises(WrongStatus, match="trial 0 of job 1 is running"):
        transitions.unseal(db, claim.job_id, 0, "ada@lab")
    with pytest.raises(WrongStatus, match="not there"):
        transitions.unseal(db, claim.job_id, 7, "ada@lab")


def test_scores_of_a_sealed_test_set_are_refused(db: Database) -> None:
    with pytest.raises(WrongStatus, match="sealed"):
        transitions.record_test(db, "phase6a_2M_h1_threshold_1pct", {"auc": 0.6}, "eve@lab")
