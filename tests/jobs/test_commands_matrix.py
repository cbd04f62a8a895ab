"""From a matrix to jobs in line: frozen specs, baselines first, tried once, written all or none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fts.jobs.api.halving import HALVING, Halving
from fts.jobs.api.spec import BadSpec
from fts.jobs.settings import Places
from fts.model.budgets import count_parameters, fits
from fts.state import queries, transitions
from fts.state.db import open_database
from fts.study import dataset
from fts.study.baseline_jobs import baseline_of, with_baselines
from fts.study.cell import CellSpec, settled
from fts.study.cell_data import label_fingerprint
from fts.study.choices import TIER, WINDOWS
from fts.study.dry_run import check_cells, check_on_paper, first_params
from fts.study.evidence import cell_data
from fts.study.margins import question
from fts.study.matrix import NotEnqueued, enqueue_cells, enqueue_matrix, find_data, make_cells, with_days
from fts.study.recipe import model_config
from fts.study.space import parse_override
from tests.cli.study import Said, cell, finished_cell, make_study, runner
from tests.data.made import build


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default data set, built once."""
    root = tmp_path_factory.mktemp("data")
    build(root)
    return root


@pytest.fixture
def places(tmp_path: Path, data: Path) -> Places:
    return Places(tmp_path / "outputs" / "fts.db", data)


def test_a_matrix_is_frozen_with_data_code_and_space(places: Places):
    made = make_cells(places, ["2M", "20M"], [1, 5], 50, 40, "threshold_1pct", "a25", seed=7)
    names = [spec.experiment for spec in made]
    assert names[:2] == ["phase6a_2M_h1_threshold_1pct", "phase6a_2M_h5_threshold_1pct"] and len(names) == 4
    entry = dataset.listing(places.data)[-1]
    assert {spec.data_md5 for spec in made} == {entry.md5} and made[0].dataset == "SPX.dataset.a25"
    assert len(made[0].space["architecture"]["choices"]) == 80
    assert made[0].seed == 7 and made[0].code_dirty in (True, False, None)
    assert CellSpec.from_json(json.loads(json.dumps(made[0].to_json()))) == made[0]


def test_the_same_cell_twice_is_one_job_and_another_seed_is_another(places: Places):
    db = open_database(places.db)
    first = enqueue_matrix(db, places, ["2M"], [1], 3, 2, tier="a25", check=False)
    again = enqueue_matrix(db, places, ["2M"], [1], 3, 2, tier="a25", check=False)
    other = enqueue_matrix(db, places, ["2M"], [1], 3, 2, tier="a25", check=False, seed=1)
    assert (first[0].job_id, first[0].created) == (1, True)
    assert (again[0].job_id, again[0].created) == (1, False)
    assert (other[0].job_id, other[0].created) == (2, True)


def test_a_cell_of_other_features_or_prices_does_not_hide_behind_the_name_of_one_that_is_there(places: Places):
    """Exports and the report go by the name: outputs/hpo/{experiment}, and the newest cell of it."""
    db = open_database(places.db)
    (first,) = make_cells(places, ["2M"], [1], 3, 2, "threshold_1pct", "a25")
    name = first.experiment
    others = [
        replace(first, tier="a20"),
        replace(first, dataset="NDX.dataset.a25"),
        replace(first, tier="a20", dataset="NDX.dataset.a20"),
    ]
    for cell_ in [first, *others, first, *others]:
        enqueue_cells(db, places, [cell_], check=False)
    assert [job.experiment for job in queries.jobs(db)] == [name, f"{name}_a20", f"{name}_NDX", f"{name}_NDX_a20"]
    enqueue_cells(db, places, [replace(first, seed=4)], check=False)
    assert queries.job(db, 5).experiment == name, "another search of the same question keeps its name"


def test_baselines_of_other_prices_are_kept_apart_too_and_still_found_when_they_have_run(places: Places):
    db = open_database(places.db)
    (spx,) = make_cells(places, ["2M"], [1], 3, 2, "threshold_1pct", "a25")
    ndx = replace(spx, dataset="NDX.dataset.a25", data_md5="1" * 32)
    for cell_ in (spx, ndx):
        enqueue_cells(db, places, with_baselines([cell_]), check=False)
    name = "baseline_h1_threshold_1pct_a25"
    assert [job.experiment for job in queries.jobs(db) if job.kind == "baseline"] == [name, f"{name}_NDX"]
    for job in queries.jobs(db):
        claimed = transitions.claim(db, transitions.register_worker(db, "lab", 1, 1.0, 1), 60.0, job_id=job.id)
        assert claimed is not None
        transitions.finish_job(db, claimed)
    again = enqueue_cells(db, places, with_baselines([spx, ndx]), check=False)
    assert [(line.cell.kind, line.created, line.job_id) for line in again] == [
        ("baseline", False, 1), ("cell", False, 2), ("baseline", False, 3), ("cell", False, 4),
    ]  # fmt: skip


def test_cells_of_other_windows_and_norms_share_baselines_and_days_and_have_names_of_their_own(places: Places):
    db = open_database(places.db)
    arguments = (places, ["2M"], [1], 3, 2, "threshold_1pct", "a25")
    (usual,) = make_cells(*arguments)
    (short,) = make_cells(*arguments, context=20, longest=80, norm="partial+stats")
    assert (short.context, short.longest, usual.longest) == (20, 80, None) and "longest" not in usual.to_json()
    assert all(fits("2M", count_parameters(model_config(short, name, 25))) for name in choices_of(short))
    for cell_ in (usual, short):
        enqueue_cells(db, places, with_baselines([cell_]), check=False)
    names = [(job.kind, job.experiment) for job in queries.jobs(db)]
    assert names == [
        ("baseline", "baseline_h1_threshold_1pct_a25"), ("cell", usual.experiment),
        ("cell", f"{usual.experiment}_w20_partial-stats"),
    ]  # fmt: skip
    baseline, first, second = queries.jobs(db)
    assert question(baseline) == question(first) == question(second), "each is compared with the one baseline job"
    (line,) = enqueue_cells(db, places, [short], check=False)
    assert not line.created and line.job_id == second.id


def test_searched_windows_share_the_days_of_the_longest_and_every_trial_can_be_built(places: Places):
    spaces = dict(map(parse_override, ("context=20,120", "norm=revin,partial+stats")))
    (spec,) = make_cells(places, ["2M"], [1], 3, 2, "threshold_1pct", "a25", overrides=spaces)
    assert (spec.context, spec.longest) == (120, None)
    params = {**first_params(spec), "context": 20, "norm": "partial+stats"}
    drawn = settled(spec, params)
    assert (drawn.context, drawn.span, drawn.norm) == (20, 120, "partial+stats")
    config = model_config(drawn, str(params["architecture"]), 25)
    assert config.n_tokens == 4 and len(config.levels) == 19 and fits("2M", count_parameters(config))


def test_a_tier_brings_its_window_and_norm_and_the_old_ones_keep_theirs():
    assert (TIER, WINDOWS) == ("r20", {"r20": {"context": 20, "longest": 80, "norm": "none"}})
    for tier, fields, expected in (
        ("r20", {}, (20, 80, "none")), ("r20", {"context": 40}, (40, 80, "none")),
        ("r20", {"context": 120}, (120, None, "none")), ("r20", {"longest": 20, "norm": "revin"}, (20, None, "revin")),
        ("a25", {}, (80, None, None)), ("a25", {"context": 20}, (20, None, None)), ("a39", {}, (80, None, None)),
    ):  # fmt: skip
        given = with_days(dict(fields), tier, {})
        assert (given["context"], given.get("longest"), given.get("norm")) == expected, (tier, fields)


def test_a_norm_without_features_to_move_and_days_below_the_window_are_refused(places: Places):
    with pytest.raises(BadSpec, match="tier r20 has none; use none"):
        make_cells(places, ["2M"], [1], 3, 2, "threshold_1pct", "r20", norm="partial")
    with pytest.raises(BadSpec, match="longest is 60 days, expected at least the 80 days"):
        make_cells(places, ["2M"], [1], 3, 2, "threshold_1pct", "a25", longest=60)


def choices_of(spec: CellSpec) -> list[str]:
    return list(spec.space["architecture"]["choices"])


def test_a_cell_keeps_its_name_when_the_one_that_came_first_is_cancelled(places: Places):
    """The same question twice is one job, and what began under a name keeps its folder to itself."""
    db = open_database(places.db)
    (a25,) = make_cells(places, ["2M"], [1], 3, 2, "threshold_1pct", "a25")
    a20 = replace(a25, tier="a20")
    for cell_ in (a25, a20):
        enqueue_cells(db, places, [cell_], check=False)
    transitions.cancel(db, [1])
    (again,) = enqueue_cells(db, places, [a20], check=False)
    assert (again.job_id, again.created, again.cell.experiment) == (2, False, f"{a25.experiment}_a20")
    (third,) = enqueue_cells(db, places, [replace(a25, dataset="BRK.B.dataset.a25")], check=False)
    assert third.cell.experiment == a25.experiment, "nobody has that name: the first was cancelled before it began"
    (fourth,) = enqueue_cells(db, places, [replace(a25, dataset="BRK.A.dataset.a25")], check=False)
    assert fourth.cell.experiment == f"{a25.experiment}_BRK.A"
    assert transitions.claim(db, transitions.register_worker(db, "lab", 1, 1.0, 1), 60.0, job_id=3) is not None
    transitions.cancel(db, [3])
    (fifth,) = enqueue_cells(db, places, [a25], check=False, again=True)
    assert fifth.cell.experiment == f"{a25.experiment}_SPX", "trials of BRK.B lie in the folder of that name"


def test_a_task_that_does_not_exist_is_refused_before_anything_is_tried(places: Places):
    with pytest.raises(BadSpec, match="no task 'threshold_1pct_c'"):
        make_cells(places, ["2M"], [1], 3, 2, "threshold_1pct_c", "a25")


def test_a_value_out_of_range_is_refused_with_its_name_and_nothing_is_written(places: Places):
    db = open_database(places.db)
    for wrong, name in (({"trials": 0}, "trials"), ({"patience": -1}, "patience"), ({"sampler": "magic"}, "sampler")):
        arguments = {
            "budgets": ["2M"],
            "horizons": [1],
            "trials": 3,
            "epochs": 2,
            "tier": "a25",
            "check": False,
        } | wrong
        with pytest.raises(BadSpec, match=name):
            enqueue_matrix(db, places, **arguments)
    with pytest.raises(BadSpec, match="there is no budget"):
        enqueue_matrix(db, places, ["3M"], [1], tier="a25", check=False)
    assert queries.jobs(db) == ()


def test_two_tasks_with_equal_labels_are_refused_before_anything_is_queued(places: Places):
    """The second one was found by its first trial only, when the cell stood in the queue."""
    db = open_database(places.db)
    (one,) = make_cells(places, ["2M"], [1], 3, 2, "threshold_0.98pct", "a25")
    twin, other = replace(one, task="threshold_0.981pct", experiment="twin"), replace(one, horizon=5, experiment="h5")
    for cells in ([one, twin], [twin, one]):
        for dry_run in (True, False):
            with pytest.raises(
                NotEnqueued, match=r"has exactly the labels of \S+ \(task threshold_0[.981]*pct, horizon 1\)"
            ):
                enqueue_cells(db, places, cells, check=False, dry_run=dry_run)
    with pytest.raises(NotEnqueued, match="exactly the labels"):
        enqueue_cells(None, places, [one, twin], check=False, dry_run=True)
    assert queries.jobs(db) == ()
    enqueue_cells(db, places, [one, replace(one, budget="20M", experiment="larger"), other], check=False)
    with pytest.raises(NotEnqueued, match=rf"twin .* has exactly the labels of {one.experiment} .*SPX"):
        enqueue_cells(db, places, [twin], check=False)
    transitions.cancel(db, [1, 2])
    enqueue_cells(db, places, [twin], check=False)  # the others were never begun
    with pytest.raises(NotEnqueued, match="exactly the labels of twin"):
        enqueue_cells(db, places, [replace(one, seed=3)], check=False)
    elsewhere = replace(one, data_md5="0" * 32, seed=4)  # data that is gone: the dry run says so
    assert enqueue_cells(db, places, [elsewhere], check=False)[0].created
    db.close()


def test_labels_are_compared_as_trials_report_them(places: Places):
    (one,) = make_cells(places, ["2M"], [3], 3, 2, "threshold_2pct", "a25")
    found = label_fingerprint(places.data, one.data_md5, one.task, one.horizon, one.split, one.tier)
    assert found == cell_data(str(places.data), one).label


def test_missing_data_names_the_command_that_makes_it(places: Places, tmp_path: Path):
    with pytest.raises(NotEnqueued, match=r"run `fts data build`$"):
        find_data(tmp_path / "empty", "r20")
    with pytest.raises(NotEnqueued, match="run `fts data build --tier a20`"):
        find_data(places.data, "a20")
    with pytest.raises(BadSpec, match="there is no tier"):
        find_data(places.data, "z")


def test_a_cell_is_tried_with_one_step_and_a_broken_one_keeps_all_out(places: Places):
    (good,) = make_cells(places, ["tiny"], [1], 3, 2, "threshold_1pct", "a25")
    bad = replace(good, patch=33)
    first, second = check_cells(places, [good, bad])
    assert first.problem is None and "one step of d" in first.found
    assert second.problem is not None and "33" in second.problem
    db = open_database(places.db)
    with pytest.raises(NotEnqueued, match="nothing was enqueued"):
        enqueue_cells(db, places, [bad])
    assert queries.jobs(db) == ()
    assert not list(places.outputs.glob("trials/*"))


def test_a_warm_up_that_outlasts_the_training_is_said_once(places: Places):
    cells = make_cells(places, ["2B"], [1, 3], 3, 25, "threshold_1pct", "a25")
    first, second = check_cells(places, cells)
    assert "at most 325 steps (25 epochs of 13), so one that draws warmup_steps 500 ends before" in first.found
    assert "warmup_steps" not in second.found
    (short,) = check_cells(places, [replace(cells[0], max_steps=300)])
    assert "at most 300 steps (--max-steps 300), so one that draws warmup_steps 300 or 500" in short.found
    (long,) = check_cells(places, [replace(cells[0], epochs=100)])
    assert "warmup_steps" not in long.found


def test_the_largest_budget_is_counted_on_the_meta_device(places: Places):
    (spec,) = make_cells(places, ["2B"], [1], 3, 2, "threshold_1pct", "a25")
    checked = check_on_paper(spec)
    assert checked.problem is None and "75 architectures counted" in checked.found
    small = replace(spec, space={"architecture": {"kind": "choice", "choices": ["d64-L2-h2-ff128"]}})
    assert "does not fit the budget 2B" in (check_on_paper(small).problem or "")


def test_a_baseline_stands_before_the_first_cell_of_each_horizon():
    cells = [cell(budget, horizon) for budget in ("2M", "20M") for horizon in (1, 3)]
    line = with_baselines(cells)
    assert [(spec.kind, spec.budget, spec.horizon) for spec in line] == [
        ("baseline", "base", 1), ("cell", "2M", 1), ("baseline", "base", 3), ("cell", "2M", 3), ("cell", "20M", 1),
        ("cell", "20M", 3),
    ]  # fmt: skip


def test_a_baseline_that_ran_is_not_run_again(tmp_path: Path):
    db = make_study(tmp_path, budgets=(), horizons=())
    enqueue_cells(db, Places(tmp_path / "x.db", tmp_path), [baseline_of(cell("2M", 1))], check=False)
    finished_cell(db)
    places = Places(tmp_path / "x.db", tmp_path)
    wanted = with_baselines([cell("2M", 1), cell("2M", 3)])
    lines = enqueue_cells(db, places, wanted, check=False)
    assert [(line.cell.kind, line.created, line.status) for line in lines] == [
        ("baseline", False, "done"), ("cell", True, "queued"), ("baseline", True, "queued"), ("cell", True, "queued"),
    ]  # fmt: skip


def test_a_baseline_job_of_before_is_extended_by_the_baselines_that_came_since(tmp_path: Path):
    db = make_study(tmp_path, budgets=(), horizons=())
    places = Places(tmp_path / "x.db", tmp_path)
    now = baseline_of(cell("2M", 1))
    enqueue_cells(db, places, [replace(now, trials=7)], check=False)
    (line,) = enqueue_cells(db, places, [now], check=False)
    assert (line.created, line.extended_from, line.cell.trials) == (False, 7, 13)
    (job,) = queries.jobs(db)
    assert job.trials_wanted == 13


def test_the_command_says_what_it_put_in_line(places: Places, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setenv("FTS_DATA", str(places.data))
    fts = runner(tmp_path, capsys)
    said = fts("enqueue", "--matrix", "--no-check", "--tier", "a25", "--json")
    lines = json.loads(said.out)["enqueued"]
    assert [line["kind"] for line in lines].count("cell") == 12
    assert [line["kind"] for line in lines].count("baseline") == 3 and lines[0]["kind"] == "baseline"
    again: Said = fts("enqueue", "2M/h1", "phase6a_20M_h3_threshold_1pct", "--no-check", "--tier", "a25")
    assert again.out.count("already there (queued)") == 2 and "2 are already there" in again.err
    assert len(queries.jobs(open_database(places.db))) == 15
    assert fts("enqueue", "--matrix", "--no-check", "--tier", "a25", "-n", "--db", str(tmp_path / "other.db")).code == 0
    assert not (tmp_path / "other.db").exists()


def test_the_halving_rule_is_frozen_when_a_cell_is_put_in_line(places: Places):
    usual, chosen, none = (
        make_cells(places, ["2M"], [1], 3, 2, "threshold_1pct", "a25", **fields)[0]
        for fields in ({"pruner": "halving"}, {"halving": Halving(keep=0.25)}, {"pruner": "median"})
    )
    assert usual.halving == HALVING and usual.halving_rule == HALVING
    assert chosen.pruner == "halving" and chosen.halving == Halving(keep=0.25)
    assert none.halving is None
    assert (usual.sampler, chosen.sampler, none.sampler) == ("random", "random", "tpe")
    (named,) = make_cells(places, ["2M"], [1], 3, 2, "threshold_1pct", "a25", pruner="halving", sampler="tpe")
    assert (named.sampler, named.halving) == ("tpe", HALVING)
    for pruner, sampler in {"none": "tpe", "halving": "random", "median": "tpe"}.items():
        (cell,) = make_cells(places, ["2M"], [1], 3, 2, "threshold_1pct", "a25", pruner=pruner)
        assert cell.sampler == sampler
    with pytest.raises(BadSpec, match="pruner is median"):
        make_cells(places, ["2M"], [1], 3, 2, "threshold_1pct", "a25", pruner="median", halving=HALVING)


def test_enqueue_says_which_rule_it_froze_and_refuses_another(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FTS_DATA", str(data))
    fts = runner(tmp_path, capsys)
    said: Said = fts(
        "enqueue", "2M/h1", "--halving", "keep=1/3,trailing=none", "--no-check", "--tier", "a25", "--dry-run"
    )
    assert said.code == 0 and "keep the best 0.333" in said.err and "sampler random" in said.err
    told: Said = fts(
        "enqueue", "2M/h1", "--pruner", "halving", "--sampler", "tpe", "--no-check", "--tier", "a25", "--dry-run"
    )
    assert told.code == 0 and "sampler tpe" in told.err
    for wrong in ("2,1,0.5,2", "keep", "2,3,fifty,2"):
        refused: Said = fts("enqueue", "2M/h1", "--halving", wrong, "--no-check", "--tier", "a25")
        assert refused.code == 2 and len(refused.err.strip().splitlines()) == 1 and "expected" in refused.err
    clash: Said = fts("enqueue", "2M/h1", "--pruner", "none", "--halving", "2,3,0.5,2", "--no-check", "--tier", "a25")
    assert clash.code == 2 and "pruner is none" in clash.err
