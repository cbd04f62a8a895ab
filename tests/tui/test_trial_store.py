"""Packed trials come back as they were, weigh little, and are found by id and number."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import pytest

from fts.jobs.status import formatting
from fts.state import queries, transitions
from fts.state.db import open_database
from fts.state.values import Claim, Job, JobStatus, Trial
from fts.tui import pictures
from fts.tui.data import cells, table_rows
from fts.tui.data.reader import Reader, ReadRequest
from fts.tui.data.trial_store import OrderedTrials, TrialStore, by_id, by_number, ids_of, place_of
from fts.tui.data.view import TRIALS
from fts.tui.widgets import matrix, trial_table
from tests.state.helpers import live_trial
from tests.tui import study


@pytest.fixture
def trials(db_path) -> tuple[Trial, ...]:
    db = open_database(db_path, readonly=True)
    found = tuple(queries.shown_trials(db, 6))
    db.close()
    return found


def shown(trial: Trial) -> Trial:
    """What a store keeps of it."""
    return replace(trial, pid_started=None)


def test_a_trial_comes_back_as_it_was(trials):
    assert list(TrialStore(trials)) == [shown(trial) for trial in trials]


def test_places_are_those_of_a_tuple(trials):
    store = TrialStore(trials)
    assert store[-1] == shown(trials[-1])
    assert store[1:3] == tuple(map(shown, trials[1:3]))
    with pytest.raises(IndexError):
        store[len(trials)]


def test_a_trial_is_found_by_id_and_by_number(trials):
    store = TrialStore(trials)
    for found in (store, trials):
        assert by_id(found, trials[3].id).number == 3
        assert by_number(found, 3).id == trials[3].id
        assert place_of(found, trials[3].id) == 3
        assert (by_id(found, 10**9), by_id(found, None), by_number(found, 99)) == (None, None, None)


def test_a_changed_shelf_leaves_the_old_one_as_it_was(trials):
    store = TrialStore(trials[:-1])
    worse = replace(trials[2], value=0.1, status="failed")
    other = store.with_changes({2: worse}, [trials[-1]])
    assert (other[2], other[-1]) == (shown(worse), shown(trials[-1]))
    assert (len(store), store[2]) == (len(trials) - 1, shown(trials[2]))


def test_picked_trials_are_the_live_ones_where_they_are_known(trials):
    live = replace(trials[1], epochs=99)
    picked = OrderedTrials(TrialStore(trials), [2, 1], {live.id: live})
    assert [trial.epochs for trial in picked] == [trials[2].epochs, 99]
    assert list(ids_of(picked)) == [trials[2].id, live.id]


def test_a_packed_trial_weighs_less_than_three_hundred_bytes(trials):
    many = [replace(trials[0], id=n, number=n, value=n / 7, started_at=n * 1.5) for n in range(2000)]
    tracemalloc.start()
    store = TrialStore(many)
    weight = tracemalloc.get_traced_memory()[0] / len(store)
    tracemalloc.stop()
    assert weight < 300


@pytest.mark.parametrize(
    ("sort", "wanted"), [("", ""), ("value", ""), ("epochs", ""), ("", "state:pruned"), ("", "!t3")]
)
def test_a_table_of_many_shows_what_a_table_of_few_shows(db_path, monkeypatch, sort, wanted):
    few = rows(db_path, sort, wanted)
    monkeypatch.setattr(cells, "MANY_TRIALS", 3)
    assert rows(db_path, sort, wanted) == few


def rows(db_path, sort: str, wanted: str) -> list[Trial]:
    view = pictures.look(db_path, "trials", (120, 40), now=study.NOW, user=study.USER, job_id=6)
    return [shown(trial) for trial in table_rows.trials_of(replace(view, sort=sort, filter=wanted))]


def test_a_trial_that_ends_joins_the_many(db_path, monkeypatch):
    monkeypatch.setattr(cells, "MANY_TRIALS", 3)
    reader = Reader(db_path)
    request = ReadRequest(job_id=6, screen=TRIALS)
    before = reader.read(request).details.trials
    db = open_database(db_path)
    job: Job = queries.job(db, 6)
    claim = Claim(job, job.token, job.attempt, job.worker_id)
    live = live_trial(db, 6)
    transitions.finish_trial(db, claim, live.id, "complete", "finished", value=0.7, best_epoch=4, val_auc=0.7)
    study.start_trial(db, study.Clock(study.NOW), claim, live.number + 1)
    db.close()
    monkeypatch.setattr(cells, "_read_cell", None)
    after = reader.read(request).details.trials
    reader.close()
    assert isinstance(after, TrialStore)
    assert [t.number for t in after] == [*(t.number for t in before), live.number + 1]
    assert (after[-2].value, before[-1].value) == (0.7, None)


def test_ten_thousand_stand_in_straight_columns(db_path):
    view = pictures.look(db_path, "trials", (100, 30), now=study.NOW, job_id=6)
    many = tuple(replace(trial, number=9_998 + n) for n, trial in enumerate(view.trials))
    wide = replace(view, details=replace(view.details, trials=many), glance=view.glance)
    lines = ["".join(text for text, _ in line) for line in trial_table.trials(wide, 100, 20)]
    rows = [line for line in lines if "complete" in line]
    assert any(" 9998 " in row for row in rows) and any(" 10000 " in row for row in rows)
    assert {row.index("complete") for row in rows} == {lines[0].index("state")}
    job = replace(view.job, trials_complete=10_006, status=JobStatus.DONE, best_value=0.5)
    assert formatting.width("".join(t for t, _ in matrix._matrix_cell(view, job, {job.id: 0.5}, set(), 16))) == 16
