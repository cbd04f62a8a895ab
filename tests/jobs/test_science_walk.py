"""A cell's winner is judged by walk-forward after its search: with seeds, beside the baselines of the same folds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fts.analysis.baselines import BASELINES
from fts.analysis.walked import walked as find_walked
from fts.jobs.api.spec import BadSpec
from fts.jobs.settings import Places
from fts.scores.folds import over_folds
from fts.state import queries
from fts.state.db import Database
from fts.state.values import Job, JobStatus
from fts.study import margins
from fts.study.cell import CellSpec
from fts.study.margins import predictions_path, question
from fts.study.matrix import NotEnqueued, enqueue_cells, write
from fts.study.report_data import not_walked, study_data, walks_of
from fts.study.results import across_assets, remarks, results
from fts.study.study import PatchTST
from fts.study.winners import follow_winner, walk_specs, winner
from tests.jobs.science import CELL, cells_of, make_data, opened, poison_test_part, run_queue


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Places, Database]:
    """A cell of one trial, and its winner with two seeds on the last two of three stretches; two baselines there."""
    folder = tmp_path_factory.mktemp("walked")
    manifest = make_data(folder / "data")
    poison_test_part(manifest)
    places = Places(folder / "outputs" / "fts.db", manifest.root)
    db = opened(places)
    write(db, cells_of(places, trials=1, epochs=2), who="test")
    run_queue(places)
    cell = asking(db)
    baseline, walk = walk_specs(cell, winner(db, cell), "2of3", 2)
    write(db, [replace(baseline, trials=2), walk], who="test")  # prior, regression
    run_queue(places)
    return places, db


def asking(db: Database) -> Job:
    """The cell's job, as one that asks for folds and another seed after its search."""
    job = queries.job(db, CELL)
    return replace(job, spec=job.spec | {"winner_folds": "2of3", "winner_seeds": 2})


def test_the_winner_is_judged_on_folds_with_its_seeds_beside_the_baselines(walked: tuple[Places, Database]):
    places, db = walked
    jobs = {job.kind: job for job in queries.jobs(db)}
    assert set(jobs) == {"cell", "baseline", "walk"}
    assert {job.status for job in jobs.values()} == {JobStatus.DONE}, [job.message for job in jobs.values()]
    walk, rival = jobs["walk"], queries.trials(db, jobs["baseline"].id)[1]
    assert walk.cell == "tiny/h1 wf2of3" and question(walk) == question(jobs["baseline"])
    trials = queries.trials(db, walk.id)
    assert len({trial.seed for trial in trials}) == len(trials) == 2
    (best,) = queries.trials(db, jobs["cell"].id)
    assert {trial.params["learning_rate"] for trial in trials} == {best.params["learning_rate"]}
    for trial in trials:
        assert [epoch.epoch for epoch in queries.epochs(db, trial.id)] == [1, 2], "a fold is an epoch"
        mine, theirs = (
            pd.read_parquet(predictions_path(places, job, one))
            for job, one in ((walk, trial), (jobs["baseline"], rival))
        )
        assert mine["date"].equals(theirs["date"]) and len(mine) == trial.n_val
        y, p = mine["y"].to_numpy(float), mine["p"].to_numpy(float)
        assert trial.val_auc == pytest.approx(over_folds("auc", y, p, 2)[0], abs=1e-9)
        assert trial.value == trial.val_loss == pytest.approx(over_folds("log_loss", y, p, 2)[0], abs=1e-6)
        assert trial.auc_low is not None and trial.auc_low < trial.val_auc < (trial.auc_high or 0)
    y, p = theirs["y"].to_numpy(float), theirs["p"].to_numpy(float)
    assert rival.val_auc == pytest.approx(over_folds("auc", y, p, 2)[0], abs=1e-9)


def test_results_show_the_mean_over_seeds_first_and_its_difference(walked: tuple[Places, Database]):
    _, db = walked
    rows = [row for row in results(db) if not row.cell.endswith("by AUC")]
    assert [row.cell for row in rows] == ["base/h1 wf2of3", "tiny/h1 wf2of3", "tiny/h1"]
    row = rows[1]
    trials = queries.trials(db, row.job)
    assert row.val_auc == pytest.approx(np.mean([trial.val_auc for trial in trials]))
    assert row.seeds == 2 and row.best_trial is None and row.rival is not None
    assert row.auc_gain_low is not None and row.auc_gain_low < (row.auc_gain or 0)
    one_s = trials[0]
    assert (row.auc_high or 0) - (row.auc_low or 0) > 0.9 * ((one_s.auc_high or 0) - (one_s.auc_low or 0))


def test_a_margin_is_of_all_seeds_although_the_best_of_them_was_known_before(walked: tuple[Places, Database]):
    places, db = walked
    walk = next(job for job in queries.jobs(db) if job.kind == "walk")
    whole = next(margin for margin in queries.margins(db) if margin.job_id == walk.id)
    assert margins.margin_of(db, places, walk, queries.jobs(db), whole) is None, "nothing is new"
    of_one = replace(whole, auc=whole.auc + 0.1, auc_low=whole.auc)  # as it stood after the first seed, the best
    found = margins.margin_of(db, places, walk, queries.jobs(db), of_one)
    assert found is not None and replace(found, at=whole.at) == whole


def test_page_and_table_give_a_walk_the_same_interval(walked: tuple[Places, Database]):
    places, db = walked
    (row,) = (row for row in results(db) if row.cell == "tiny/h1 wf2of3")
    (one,) = find_walked(study_data(db, places))
    assert one.baseline is not None
    shown = one.baseline.auc
    assert (shown.value, shown.low, shown.high) == pytest.approx((row.auc_gain, row.auc_gain_low, row.auc_gain_high))
    assert (one.auc.value, one.auc.low, one.auc.high) == pytest.approx((row.val_auc, row.auc_low, row.auc_high))
    assert one.seeds == one.row.wanted == 2
    jobs = queries.jobs(db)
    trials = {job.id: queries.trials(db, job.id) for job in jobs}
    walk = next(job for job in jobs if job.kind == "walk")
    later = replace(walk, id=99, status=JobStatus.FAILED, trials_complete=0, message="3 trials: 3 diverged")
    assert [walk.id for *_, walk in walks_of([*jobs, later], {**trials, 99: ()})] == [walk.id], "the one with trainings"
    (told,) = not_walked([job for job in [*jobs, later] if job is not walk], trials)
    assert told.endswith("on walk-forward folds is complete (job 99, failed: 3 trials: 3 diverged)")


def test_results_of_two_assets_are_laid_side_by_side_where_both_were_walked(
    walked: tuple[Places, Database],
):
    _, db = walked
    jobs = {job.id: job for job in queries.jobs(db)}
    rows = [replace(row, auc_gain=-0.2, auc_gain_low=-0.3, auc_gain_high=-0.1) for row in results(db)]
    assert list(across_assets(rows, jobs.values())) == []
    others = {
        100 + n: replace(job, id=100 + n, spec=job.spec | {"dataset": "OTHER.dataset.a20"}) for n, job in jobs.items()
    }
    both = [*rows, *(replace(row, job=100 + row.job) for row in rows)]
    (told,) = across_assets(both, [*jobs.values(), *others.values()])
    gap = "-0.200 [-0.300, -0.100]"
    assert told == f"tiny/h1 vs base on MADE {gap} and OTHER {gap}: holds: worse on both"
    (told,) = across_assets([replace(row, seeds=1) for row in both], [*jobs.values(), *others.values()])
    assert told.endswith("no difference is shown on both")
    (alone,) = (replace(row, seeds=1) for row in rows if row.cell == "tiny/h1 wf2of3")
    assert any("no verdict against" in said for said in remarks(alone)) and not any(
        "worse" in s for s in remarks(alone)
    )


def test_baselines_of_the_same_folds_follow_by_themselves_and_once(walked: tuple[Places, Database]):
    _, db = walked
    for _ in range(2):  # a worker that was killed before its job had ended comes to this again
        follow_winner(db, PatchTST(), asking(db), "test")
    jobs = {job.kind: job for job in queries.jobs(db)}
    assert len(queries.jobs(db)) == len(jobs) == 4 and jobs["replicate"].trials_wanted == 1
    assert jobs["baseline"].trials_wanted == len(BASELINES), "those that were missing are added"
    assert jobs["walk"].status is JobStatus.DONE


def test_a_cell_keeps_its_md5_where_nobody_asks_for_folds(tmp_path: Path):
    places = Places(tmp_path / "fts.db", make_data(tmp_path / "data").root)
    (plain,), (folded,) = cells_of(places), cells_of(places, winner_folds="4of6")
    assert "winner_folds" not in plain.to_json()
    assert plain.identity == folded.identity and plain.question == folded.question
    assert CellSpec.from_json(folded.to_json()) == folded
    for wrong in ("6of4", "4", "0of3", "4 of 6"):
        with pytest.raises(BadSpec, match="such as 4of6"):
            cells_of(places, winner_folds=wrong)


def test_every_fold_is_looked_at_before_anything_enters_the_queue(tmp_path: Path):
    """A stretch without a rise: the last fold's training days have both classes, the first one's have not."""
    from tests.data.made import make_bars

    bars = make_bars(900, 7)
    bars.iloc[:500, :4] = bars.iloc[:1, :4].to_numpy() * (1 - np.arange(500)[:, None] * 1e-4)
    places = Places(tmp_path / "outputs" / "fts.db", make_data(tmp_path / "data", bars=bars).root)
    db = opened(places)
    for asked in ({"winner_folds": "4of6"}, {"cv": "walk-forward:5"}):
        with pytest.raises(NotEnqueued, match=r"fold \d of \d has 0 rises in \d+ training windows \(\d{4}-"):
            enqueue_cells(db, places, cells_of(places, **asked), check=False)
    assert not queries.jobs(db)
    db.close()
