"""Warm starts and the campaign view: pure functions of what has run."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from fts.state import queries, transitions
from fts.state.db import Database, open_database
from fts.state.values import Job, JobStatus, Margin, Trial
from fts.study.cell import CellSpec
from fts.study.matrix import write
from fts.study.outlook import expected_best, more_trials, outlooks, trials_after
from fts.study.warm_start import first_trials, fits, warmed

GRID = {"2M": ["d64-L2-h2-ff128", "d128-L2-h2-ff256"], "20M": ["d256-L4-h4-ff512"]}
PARAMS = {"learning_rate": 5e-4, "weight_decay": 1e-3, "warmup_steps": 100, "dropout": 0.3}


def cell(budget: str = "2M", horizon: int = 1, **changes: Any) -> CellSpec:
    space = {
        "architecture": {"kind": "choice", "choices": GRID[budget]},
        "learning_rate": {"kind": "float", "low": 1e-4, "high": 1e-3, "log": True},
        "weight_decay": {"kind": "float", "low": 1e-4, "high": 5e-3, "log": True},
        "warmup_steps": {"kind": "choice", "choices": [100, 200]},
        "dropout": {"kind": "float", "low": 0.1, "high": 0.6, "log": False},
    }
    name = f"phase6a_{budget}_h{horizon}_threshold_1pct"
    made = CellSpec(name, budget, horizon, "threshold_1pct", "a25", "SPX.dataset.a25", "0" * 32, 10, 5, space)
    return replace(made, **changes)


def run_cell(
    db: Database,
    spec: CellSpec,
    values: list[float],
    done: bool = True,
    params: dict[str, Any] | None = None,
    pruned: int = 0,
) -> Job:
    """A cell with complete trials of these values and some pruned ones, as a worker would have written it."""
    (entry,) = write(db, [spec], who="test")
    worker = transitions.register_worker(db, "lab", 1, 1.0, 1)
    claim = transitions.claim(db, worker, 60.0, job_id=entry.job_id)
    assert claim is not None
    for number, value in enumerate([*values, *([0.9] * pruned)]):
        chosen = params or {"architecture": GRID[spec.budget][0]} | PARAMS
        trial = transitions.start_trial(
            db, claim, number, params=chosen, effective={"n": number}, architecture=str(chosen["architecture"]),
            objective=spec.objective, seed=1,
        )  # fmt: skip
        status = "complete" if number < len(values) else "pruned"
        transitions.finish_trial(db, claim, trial, status, "finished", value=value, best_epoch=1, val_loss=value)
    if done:
        transitions.finish_job(db, claim)
    else:
        transitions.release_job(db, claim, "drained")
    return queries.job(db, entry.job_id)


@pytest.fixture
def db(tmp_path: Path) -> Database:
    return open_database(tmp_path / "outputs" / "fts.db")


# ---------------------------------------------------------------- warm start


def test_another_horizon_lends_its_whole_configuration(db: Database):
    run_cell(db, cell("2M", 3), [0.6])
    (warm,) = warmed(db, [cell("2M", 1)])
    assert warm.warm_start == ({"architecture": GRID["2M"][0]} | PARAMS,)


def test_a_smaller_budget_lends_its_training_parameters_only(db: Database):
    run_cell(db, cell("2M", 1), [0.6])
    (warm,) = warmed(db, [cell("20M", 1)])
    assert warm.warm_start == ({"architecture": GRID["20M"][0]} | PARAMS,)
    assert warmed(db, [cell("20M", 1)]) == [warm]  # frozen: the same call, the same trials


def test_the_nearest_neighbour_goes_first_and_doubles_are_dropped(db: Database):
    run_cell(db, cell("2M", 1), [0.6], params={"architecture": GRID["2M"][0]} | PARAMS | {"dropout": 0.5})
    run_cell(db, cell("20M", 5), [0.7])
    run_cell(db, cell("20M", 3), [0.7])
    (warm,) = warmed(db, [cell("20M", 1)])
    assert [params["dropout"] for params in warm.warm_start] == [0.3, 0.5]


def test_a_larger_budget_other_data_another_task_or_another_objective_lends_nothing(db: Database):
    run_cell(db, cell("20M", 1), [0.6])
    run_cell(db, cell("2M", 3, task="threshold_2pct", experiment="other_task"), [0.6])
    run_cell(db, cell("2M", 3, objective="val_auc", experiment="other_objective"), [0.6])
    run_cell(db, cell("2M", 3, dataset="IXIC.dataset.a25", data_md5="1" * 32, experiment="other_data"), [0.6])
    run_cell(db, cell("2M", 5, split={"train": 0.5, "val": 0.4}, experiment="other_split"), [0.6])
    assert warmed(db, [cell("2M", 1)]) == [cell("2M", 1)]


def test_a_winner_outside_the_cells_space_lends_nothing():
    narrow = cell("2M", 1)
    assert not fits(narrow.space, {"architecture": "d512-L6-h8-ff2048"} | PARAMS)
    assert not fits(narrow.space, {"architecture": GRID["2M"][0]} | PARAMS | {"dropout": 0.9})
    assert not fits(narrow.space, PARAMS)
    assert first_trials(narrow, []) == []


# ---------------------------------------------------------------- campaign


def test_the_expected_best_of_k_is_the_mean_over_all_choices():
    values = [0.7, 0.5, 0.9, 0.6, 0.65]
    for k in range(1, 6):
        slow = mean(min(chosen) for chosen in itertools.combinations(values, k))
        assert expected_best(values, k) == pytest.approx(slow)


def test_further_trials_gain_with_the_logarithm_of_their_number():
    values = [0.70, 0.62, 0.66, 0.61, 0.64, 0.60, 0.69, 0.68]
    doubling = more_trials(values, len(values))
    assert doubling == pytest.approx(expected_best(values, 4) - expected_best(values, 8))
    assert more_trials(values, 3 * len(values)) == pytest.approx(2 * doubling)
    assert more_trials(values, 0) == 0


def test_a_begun_cell_is_judged_by_its_own_trials(db: Database):
    job = run_cell(db, cell("2M", 1), [0.6, 0.7, 0.65, 0.62], done=False)
    (outlook,) = look(db, [job])
    assert (outlook.left, outlook.best) == (6, 0.6)
    assert outlook.chance == pytest.approx(6 / 10)
    assert outlook.gain == pytest.approx(more_trials([0.6, 0.7, 0.65, 0.62], 6))
    assert outlook.worth_it is None  # no noise is known


def test_pruned_trials_are_a_third_of_a_look_each(db: Database):
    job = run_cell(db, cell("2M", 1, pruner="halving"), [0.6, 0.7, 0.65, 0.62], done=False, pruned=3)
    (outlook,) = look(db, [job])
    assert outlook.left == 3 and outlook.chance == pytest.approx(3 / (3 + 4 + 1))
    assert outlook.gain == pytest.approx(more_trials([0.6, 0.7, 0.65, 0.62], 3, seen=5))


def test_a_step_in_size_on_other_features_prices_or_scores_says_nothing(db: Database):
    others = ({"tier": "a20"}, {"dataset": "NDX.dataset.a25"}, {"data_md5": "1" * 32}, {"objective": "val_auc"})
    for n, other in enumerate(others):
        for spec, value in ((cell("2M", 3, **other), 0.66), (cell("20M", 3, **other), 0.60)):
            run_cell(db, replace(spec, experiment=f"{spec.experiment}_{n}"), [value])
    run_cell(db, cell("2M", 1), [0.65])
    write(db, [cell("20M", 1)])
    jobs = queries.jobs(db)
    (found,) = outlooks(jobs, {job.id: queries.trials(db, job.id) for job in jobs}, [], 0.0)
    assert found.gain is None and found.basis == "no comparable cell has run"


def test_a_cell_nobody_has_begun_is_judged_by_the_same_step_in_size_elsewhere(db: Database):
    run_cell(db, cell("2M", 1), [0.60])
    run_cell(db, cell("2M", 3), [0.66])
    run_cell(db, cell("20M", 3), [0.64])
    (entry,) = write(db, [cell("20M", 1)], who="test")
    (outlook,) = look(db, queries.jobs(db))
    assert outlook.job == entry.job_id and outlook.chance is None
    assert outlook.gain == pytest.approx(0.02)
    assert "1 other horizon" in outlook.basis


def test_a_gain_below_the_noise_is_said_to_be_so(db: Database):
    job = run_cell(db, cell("2M", 1), [0.600, 0.601, 0.602, 0.6005], done=False)
    margin = Margin(job.id, 0, "random forest (window)", 9, 2, 400, 0.0, -0.05, 0.05, 0.0, -0.03, 0.03, 0.0)
    (outlook,) = look(db, [job], [margin])
    assert outlook.noise == pytest.approx(0.03) and outlook.worth_it is False


def test_a_search_is_followed_by_seeds_and_folds_which_cost_trials(db: Database):
    run_cell(db, cell("2M", 3), [0.66])
    plain, judged = cell("2M", 1), cell("2M", 5, winner_seeds=3, winner_folds="4of6")
    walk = replace(cell("2M", 3), kind="walk", cv="walk-forward:4of6", trials=3, origin={"job": 1}, experiment="walk")
    write(db, [plain, judged, walk], who="test")
    nothing, follows, of_winner = look(db, queries.jobs(db))
    assert nothing.then == 0.0 and follows.then == pytest.approx(
        follows.seconds / follows.left * trials_after(3, "4of6")
    )
    assert trials_after(3, "4of6") == pytest.approx(2 + 3 * 0.4 * (3 + 4 + 5 + 6) / 7) and trials_after(1, None) == 0
    assert of_winner.left == 3 and of_winner.gain is None and of_winner.basis == "evaluates the winner"


def test_ended_and_cancelled_cells_have_no_outlook(db: Database):
    done = run_cell(db, cell("2M", 1), [0.6])
    assert done.status is JobStatus.DONE
    assert look(db, [done]) == []


def test_nothing_like_it_has_run_is_said(db: Database):
    write(db, [cell("2M", 1)], who="test")
    (outlook,) = look(db, queries.jobs(db))
    assert (outlook.gain, outlook.seconds, outlook.basis) == (None, None, "no comparable cell has run")
    assert math.isfinite(outlook.left)


def look(db: Database, jobs: Any, margins: list[Margin] | None = None) -> Any:
    trials: dict[int, tuple[Trial, ...]] = {job.id: queries.trials(db, job.id) for job in jobs}
    return outlooks(tuple(jobs), trials, margins or [], now=db.now())
