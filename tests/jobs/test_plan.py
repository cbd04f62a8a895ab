"""`fts plan --memory`: what each cell takes on this machine, and what does not fit."""

import json
from pathlib import Path

import pytest

from fts.jobs.api.spec import BadSpec
from fts.jobs.api.study import CannotFit
from fts.jobs.cli import main
from fts.jobs.settings import Places
from fts.jobs.status.explain import why
from fts.jobs.supervisor.admission import admit
from fts.state import queries, transitions
from fts.state.db import open_database
from fts.study.cell import settled
from fts.study.estimate import Allowed, RecordedTrials, Windows, plan_cell, windows_of_models
from fts.study.evidence import cell_data
from fts.study.matrix import make_cells, write
from fts.study.memory_plan import hold_reason, too_large
from fts.study.recipe import cell_shape
from fts.study.study import PatchTST
from fts.study.walk_forward_objective import folds_of
from tests.chaos import study
from tests.state.helpers import epoch

GiB = 1 << 30
FIELDS = {"split": {"train": 0.6, "val": 0.3}, "min_positives": 3, "context": 20}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study.make_data(tmp_path_factory.mktemp("plan") / "data")


@pytest.fixture
def places(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setenv("FTS_DATA", str(data))
    return Places(tmp_path / "outputs" / "fts.db", data)


def cell(places: Places, budget: str, **fields):
    return make_cells(places, [budget], [1], 2, 20, "threshold_1pct", "a20", **(FIELDS | fields))[0]


def test_every_architecture_has_a_recipe_or_its_bytes(places: Places):
    plan = plan_cell(places, RecordedTrials(None, "cpu", 1), cell(places, "2B"), Allowed(9 * GiB, 10 * GiB), "cpu")
    assert len(plan.shapes) == len(plan.fitting) + len(plan.too_large)
    assert plan.fitting and plan.too_large
    assert all(shape.predicted_bytes <= 10 * GiB and shape.step_s for shape in plan.fitting)
    assert any(shape.beyond_share and shape.predicted_bytes > 9 * GiB for shape in plan.fitting)
    assert all(shape.predicted_bytes > 10 * GiB and shape.step_s is None for shape in plan.too_large)


def test_seconds_come_from_recorded_trials_where_there_are_any(places: Places):
    db = open_database(places.db)
    spec = cell(places, "2M")
    write(db, [spec])
    worker = transitions.register_worker(db, "lab", 100, 1.5, 1)
    claim = transitions.claim(db, worker, 60.0)
    assert claim is not None
    name = spec.space["architecture"]["choices"][0]
    trial = transitions.start_trial(
        db, claim, 0, params={}, effective={"architecture": name}, architecture=name, objective="val_loss", seed=1,
        device="cpu", threads=1, n_train=1000, n_val=200,
    )  # fmt: skip
    for n in (1, 2, 3):
        transitions.record_epoch(db, claim, trial, epoch(n, samples_per_s=500.0))
    transitions.finish_trial(db, claim, trial, "complete", "finished", value=0.6)

    known = RecordedTrials(db, "cpu", 1)
    plan = plan_cell(places, known, spec, Allowed(10 * GiB, 10 * GiB), "cpu")
    assert known.rate().source == "1 trials recorded here"
    assert (plan.windows.train, plan.windows.val, plan.epochs) == (1000, 200, 3.0)
    same = next(shape for shape in plan.shapes if shape.architecture == name)
    assert same.epoch_s == pytest.approx(1000 / 500, rel=0.35)
    assert "matrix product" in RecordedTrials(db, "cpu", 2).rate().source  # another number of threads is another speed


def test_the_command_prints_a_table_and_json(places: Places, capsys: pytest.CaptureFixture[str]):
    words = ["--db", str(places.db), "plan", "--memory", "2M/h1", "--tier", "a20", "--memory-limit", "8GB"]
    words += ["--context", "20", "--min-positives", "3"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["plan"]
    assert found["limit"] == 8 << 30 and len(found["cells"]) == 1
    shape = found["cells"][0]["shapes"][0]
    assert {"architecture", "recipe", "micro_batch", "accumulation", "predicted_bytes", "step_s"} <= set(shape)
    assert main(words) == 0
    assert "batch=" in capsys.readouterr().out
    assert not places.db.exists()  # looking creates nothing


def test_a_cell_nothing_of_which_fits_is_held_when_it_is_put_in_line(places: Places, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FTS_MEMORY_LIMIT", "4G")
    monkeypatch.setenv("FTS_DEVICE", "cpu")
    db = open_database(places.db)
    write(db, [cell(places, "2B"), cell(places, "2M")])
    huge, small = queries.jobs(db)
    assert huge.hold_reason is not None and "no architecture fits" in huge.hold_reason
    assert "4.0 GB allowed" in huge.hold_reason
    assert small.hold_reason is None
    worker = transitions.register_worker(db, "lab", 100, 1.5, 1)
    claim = transitions.claim(db, worker, 60.0)
    assert claim is not None and claim.job_id == small.id
    assert "held" in why(huge, queries.snapshot(db))[0]


def test_a_baseline_needs_no_plan(places: Places):
    import dataclasses

    baseline = dataclasses.replace(cell(places, "2M"), kind="baseline")
    assert admit(PatchTST(), baseline, {"model": "prior"}, None, 1, 1, "cpu").recipe is None
    assert too_large(baseline) is None and hold_reason(baseline, 1, "cpu") is None


def test_a_trial_that_goes_on_with_less_memory_keeps_its_optimizer(places: Places):
    tight = cell(places, "2M", context=80)
    name = {"architecture": "d64-L48-h2-ff256"}
    first = admit(PatchTST(), tight, name, None, 8 * GiB, None, "cpu").recipe
    later = admit(PatchTST(), tight, name, first, 800 << 20, None, "cpu").recipe
    assert first is not None and later is not None
    assert later["micro_batch"] < first["micro_batch"] and later["optimizer"] == first["optimizer"]


def test_a_trial_beyond_its_share_may_have_the_others_room_with_the_leanest_recipe(places: Places):
    huge = cell(places, "2B", context=80)
    name = {"architecture": "d768-L256-h2-ff3072"}
    with pytest.raises(CannotFit):
        admit(PatchTST(), huge, name, None, 8 * GiB, 8 * GiB, "cpu")
    admitted = admit(PatchTST(), huge, name, None, 8 * GiB, 20 * GiB, "cpu")
    assert admitted.limit is not None and 8 * GiB < admitted.need < admitted.limit < 20 * GiB
    assert (
        admit(PatchTST(), huge, name, None, 8 * GiB, 16 * GiB, "cpu").recipe == admitted.recipe
    )  # whatever the others do


def test_an_epoch_on_folds_counts_the_windows_of_each(places: Places):
    folded = cell(places, "2M", cv="walk-forward:5")
    data = cell_data(str(places.data), folded)
    folds = folds_of(data, folded)
    plan = plan_cell(places, RecordedTrials(None, "cpu", 1), folded, Allowed(10 * GiB, 10 * GiB), "cpu")
    assert plan.windows == Windows(sum(len(f.train_ends) for f in folds), sum(len(f.val_ends) for f in folds))
    models = windows_of_models(str(places.data), folded)
    assert [one.train for one in models] == [len(f.train_ends) for f in folds]
    with pytest.raises(BadSpec, match="too few for 20 walk-forward folds"):
        windows_of_models(str(places.data), cell(places, "2M", cv="walk-forward:20"))


def test_a_recorded_speed_is_of_the_window_that_the_trial_drew(places: Places):
    both = {"context": {"kind": "choice", "choices": [20, 40]}}
    spec = cell(places, "2M", overrides=both, context=40)
    db = open_database(places.db)
    write(db, [spec])
    worker = transitions.register_worker(db, "lab", 100, 1.5, 1)
    claim = transitions.claim(db, worker, 60.0)
    assert claim is not None
    name = spec.space["architecture"]["choices"][0]
    trial = transitions.start_trial(
        db, claim, 0, params={"architecture": name, "context": 20}, effective={"architecture": name}, architecture=name,
        objective="val_loss", seed=1, device="cpu", threads=1, n_train=1000, n_val=200,
    )  # fmt: skip
    transitions.record_epoch(db, claim, trial, epoch(1, samples_per_s=500.0))
    transitions.finish_trial(db, claim, trial, "complete", "finished", value=0.6)
    drawn = cell_shape(settled(spec, {"context": 20}), name).flops_per_window
    assert RecordedTrials(db, "cpu", 1).rate().flops == pytest.approx(500 * drawn)
    assert drawn < 0.6 * cell_shape(spec, name).flops_per_window
