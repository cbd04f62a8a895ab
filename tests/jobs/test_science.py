"""What one small study found: margins over its baselines, other seeds, a warm start, and no test label read."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from fts.analysis.summarise import _replicates
from fts.jobs.records.exports import best_record, export_results, write_json
from fts.scores.intervals import compare
from fts.state import queries, transitions
from fts.state.db import Database
from fts.study import margins
from fts.study.baseline_jobs import with_baselines
from fts.study.cell import CellSpec
from fts.study.matrix import write
from fts.study.results import results
from fts.study.seeds import spread_of
from fts.study.study import PatchTST
from fts.study.winners import follow_winner, replicate_spec, winner
from tests.jobs.science import (
    CELL,
    REPLICATE,
    Ran,
    cells_of,
    copied,
    opened,
    run_queue,
)


def test_a_cells_margin_is_the_paired_difference_to_the_best_baseline(ran: Ran, db: Database):
    (margin,) = queries.margins(db)
    baseline, cell = queries.jobs(db)[0], queries.job(db, CELL)
    rivals = queries.trials(db, baseline.id)
    best_rival = max(rivals, key=lambda trial: trial.val_auc or 0.0)
    assert (margin.job_id, margin.rival_trial, margin.rival) == (cell.id, best_rival.number, best_rival.architecture)
    best = winner(db, cell)
    mine, theirs = (
        pd.read_parquet(margins.predictions_path(ran.places, job, trial))
        for job, trial in ((cell, best), (baseline, best_rival))
    )
    slow = compare(mine["y"], mine["p"], theirs["p"], 1)
    assert (margin.auc, margin.auc_low, margin.auc_high) == pytest.approx(
        (slow.interval.value, slow.interval.low, slow.interval.high)
    )
    assert margin.auc == pytest.approx((best.val_auc or 0) - (best_rival.val_auc or 0), abs=1e-6)


def test_results_status_and_csv_show_the_margin(fts):
    db = opened(fts.places)
    (margin,) = queries.margins(db)
    (row,) = [row for row in results(db) if row.cell == "tiny/h1"]
    assert (row.auc_gain, row.rival) == (margin.auc, margin.rival)
    assert f"{margin.auc:+.3f} [{margin.auc_low:+.3f}, {margin.auc_high:+.3f}]" in fts("results")[1]
    assert f"base {margin.auc:+.3f}" in fts("status")[1]
    again = queries.job(db, REPLICATE).id
    assert fts("results", REPLICATE)[2] == (
        f"there is no result of a cell: job {again} (tiny/h1 seeds) is a replicate; `fts trials {again}` shows its "
        "trials\n"
    )
    (line,) = csv.DictReader(export_results(db, fts.places).open())
    assert float(line["auc_gain_low"]) == margin.auc_low and line["baseline"] == margin.rival
    db.close()


def test_the_winners_file_holds_its_margin_and_none_of_another_trial(ran: Ran, db: Database):
    (margin,) = queries.margins(db)
    best = json.loads((ran.places.exports / CELL / "best_params.json").read_text())
    assert best["best_trial"] == margin.trial
    assert best["margin"]["baseline"] == margin.rival and best["margin"]["n"] == margin.n
    assert best["margin"]["auc_gain_low"] == margin.auc_low < best["margin"]["auc_gain"] < margin.auc_high
    job, trial = queries.job(db, CELL), queries.trial(db, margin.job_id, margin.trial)
    assert best_record(job, trial, replace(margin, trial=margin.trial + 1))["margin"] is None


def test_a_margin_that_is_known_is_not_computed_again(ran: Ran, db: Database):
    assert margins.refresh(db, ran.places, queries.job(db, CELL), "test") == []


def test_a_damaged_file_of_predictions_ends_no_job_and_leaves_no_margin_of_another_trial(ran: Ran, tmp_path: Path):
    places = copied(ran.places, tmp_path)
    db = opened(places)
    (margin,) = queries.margins(db)
    job = queries.job(db, CELL)
    margins.predictions_path(places, job, queries.trial(db, job.id, margin.trial)).write_bytes(b"torn")
    transitions.record_margin(db, replace(margin, trial=margin.trial + 1), "test")  # of an earlier best
    assert margins.refresh(db, places, job, "test") == []
    (row,) = [row for row in results(db) if row.experiment == CELL]
    (line,) = csv.DictReader(export_results(db, places).open())
    db.close()
    assert row.auc_gain is None and line["auc_gain"] == ""


def test_an_export_holds_null_where_a_loss_was_no_number(tmp_path: Path):
    write_json(tmp_path / "trial.json", {"learning_curve": [{"val_loss": float("nan")}], "value": float("inf")})
    read = json.loads((tmp_path / "trial.json").read_text(), parse_constant=pytest.fail)
    assert read == {"learning_curve": [{"val_loss": None}], "value": None}


def test_the_baselines_row_is_the_rival_that_differences_are_taken_to(db: Database):
    shown = {row.experiment: row for row in results(db)}
    (margin,) = queries.margins(db)
    baseline, cell = next(row for name, row in shown.items() if name.startswith("baseline")), shown[CELL]
    assert (baseline.best_trial, baseline.architecture) == (margin.rival_trial, margin.rival)
    assert cell.auc_gain == pytest.approx((cell.val_auc or 0) - (baseline.val_auc or 0), abs=1e-6)
    assert baseline.minutes > 0, "a baseline has no epochs; its time is from start to end"


def test_a_baseline_that_was_run_is_not_asked_again(ran: Ran, db: Database):
    found = write(db, with_baselines(cells_of(ran.places)), dry_run=True)
    assert [(line.created, line.status) for line in found] == [(False, "done"), (True, "queued")]


def test_replicates_train_the_winner_again_with_other_seeds(db: Database):
    cell, again = queries.job(db, CELL), queries.trials(db, queries.job(db, REPLICATE).id)
    best = winner(db, cell)
    assert all(trial.params == best.params and trial.effective_md5 == best.effective_md5 for trial in again)
    assert len({best.seed, *(trial.seed for trial in again)}) == 3
    assert len({trial.value for trial in again}) == 2  # none was taken over from its twin
    spread = spread_of(db, cell)
    assert spread is not None and spread.n == 2 and spread.low < spread.mean < spread.high
    assert spread.sd == pytest.approx(np.std([trial.value for trial in again], ddof=1))


def test_a_winner_whose_other_seeds_are_in_line_gets_them_once_and_no_undo_of_a_person_takes_them(
    ran: Ran, tmp_path: Path
):
    """A worker that was killed before its job had ended comes to this again."""
    places = copied(ran.places, tmp_path)
    db = opened(places)
    before = len(queries.jobs(db))
    cell = queries.job(db, CELL)
    assert cell.spec["winner_seeds"] == 3
    for _ in range(2):
        follow_winner(db, PatchTST(), cell, "worker 7")
    assert len(queries.jobs(db)) == before
    plain = {name: value for name, value in cell.spec.items() if name != "winner_seeds"}
    follow_winner(db, PatchTST(), replace(cell, spec=plain), "worker 7")  # of an older fts: nothing follows
    assert not db.execute_sql("select id from event where who = 'worker 7'").fetchall()
    follow_winner(db, PatchTST(), replace(cell, spec=plain | {"winner_seeds": 4}), "worker 7")
    assert len(queries.jobs(db)) == before and queries.job(db, REPLICATE).trials_wanted == 3
    (told,) = db.execute_sql("select inverse from event where who = 'worker 7'").fetchall()
    assert told == (None,)
    db.close()


def test_seeds_of_a_former_winner_that_still_wait_leave_the_line_unless_a_person_asked_for_them(
    ran: Ran, tmp_path: Path
):
    places = copied(ran.places, tmp_path)
    db = opened(places)
    cell = queries.job(db, CELL)
    best = winner(db, cell)
    one, two = (trial for trial in queries.trials(db, cell.id) if trial.number != best.number)
    (own,) = write(db, [replicate_spec(cell, one, 2)], "worker 7", by_a_person=False)
    (wanted,) = write(db, [replicate_spec(cell, two, 2)], "ada@lab")
    follow_winner(db, PatchTST(), cell, "worker 8")
    gone, kept = queries.job(db, own.job_id), queries.job(db, wanted.job_id)
    assert (str(gone.status), gone.message) == ("cancelled", f"trial {best.number} is the winner now")
    assert str(kept.status) == "queued"
    transitions.undo(db)
    assert str(queries.job(db, wanted.job_id).status) == "cancelled", "an undo is of what a person did"
    db.close()


def test_more_seeds_asked_later_do_not_train_the_first_ones_twice(ran: Ran, tmp_path: Path):
    places = copied(ran.places, tmp_path)
    db = opened(places)
    cell = queries.job(db, CELL)
    write(db, [replace(CellSpec.from_json(cell.spec), winner_seeds=4)], who="test")
    run_queue(places)
    spread = spread_of(db, cell)
    db.close()
    assert spread is not None and spread.n == 3
    assert [job.experiment for job in queries.jobs(opened(places))].count(REPLICATE) == 1, "the job was extended"


def test_the_same_replicate_twice_is_one_job(db: Database):
    cell = queries.job(db, CELL)
    for seeds, extended_from in ((2, None), (1, None), (3, 2)):
        (found,) = write(db, [replicate_spec(cell, winner(db, cell), seeds)], dry_run=True)
        assert queries.job(db, found.job_id).experiment == REPLICATE
        assert (found.created, found.extended_from) == (False, extended_from)


def test_a_warm_trial_is_marked(db: Database):
    trials = queries.trials(db, queries.job(db, CELL).id)
    assert ["warm" in trial.badges for trial in trials] == [True, False, False]
    assert trials[0].params["learning_rate"] == 5e-4


@pytest.mark.parametrize("line", [(5, 7), (7, 5)])
def test_of_a_seed_that_was_trained_twice_the_first_counts_as_in_the_report(monkeypatch: pytest.MonkeyPatch, line):
    """Another machine may have another last digit; the jobs come in the order of the queue."""
    job = SimpleNamespace(id=1, kind="cell")
    again = [SimpleNamespace(id=n, kind="replicate", spec={"origin": {"job": 1}}) for n in line]
    values = {1: 0.4, 5: 0.5, 7: 0.6}
    trials = {
        n: SimpleNamespace(status="complete", effective_md5="e", seed=3, value=value, val_auc=0.7)
        for n, value in values.items()
    }
    monkeypatch.setattr("fts.study.seeds.own_jobs", lambda db: (job, *again))
    monkeypatch.setattr("fts.study.seeds.queries.trials", lambda db, n: (trials[n],))
    monkeypatch.setattr("fts.study.seeds.best_of", lambda cell, found: trials[1])
    monkeypatch.setattr("fts.study.seeds.TrialStatus", SimpleNamespace(COMPLETE="complete"))
    spread = spread_of(None, job)  # type: ignore[arg-type]
    rows = pd.DataFrame([{"kind": "replicate", **vars(trials[n])} for n in (5, 7)])
    assert spread is not None and spread.mean == _replicates(rows, {"effective_md5": "e"})["value"].mean() == 0.5
