"""The main job as a person types it: bars -> data set -> matrix -> queue -> worker -> trials -> results."""

import csv
import json
from pathlib import Path
from statistics import fmean

import pytest

from tests.data.made import make_bars, write_csv
from tests.fts_process import Study

CELLS = ("--budgets", "tiny", "--horizons", "1,3", "--trials", "3", "--epochs", "2", "--tier", "a20")
SMALL = ("--context", "20", "--batch", "64", "--min-positives", "3", "--data", "MINE.dataset.a20", "--folds", "none")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished study: everything below only looks at it."""
    study = Study(tmp_path_factory.mktemp("end_to_end"))
    bars = write_csv(make_bars(900, 3), study.folder / "mine.csv")
    study.ok("data", "build", "--source", "csv", "--ticker", "MINE", "--tier", "a20", str(bars))
    study.ok("enqueue", "--matrix", *CELLS, *SMALL, "--seeds", "2")
    study.ok("worker", "--until-empty", "--slots", "1", "--threads", "1", timeout_s=240)
    return study


def test_every_cell_is_done_with_all_its_trials(study):
    jobs = study.query("select * from job where kind = 'cell'")
    assert [(job["status"], job["trials_complete"]) for job in jobs] == [("done", 3), ("done", 3)]


def test_horizons_have_different_labels_on_the_same_data(study):
    assert study.one("select count(distinct label_md5) from trial join job on job.id = job_id where kind = 'cell'") == 2
    assert study.one("select count(distinct data_md5) from trial") == 1


def test_every_trial_says_what_it_was(study):
    facts = "n_params n_train n_val n_pos prior_loss label_md5 base_rate data_md5 torch_version host device threads"
    facts += " micro_batch accumulation val_loss val_auc auc_low auc_high best_epoch last_value log_path peak_bytes"
    for trial in study.query("select trial.* from trial join job on job.id = job_id where kind = 'cell'"):
        missing = [name for name in facts.split() if trial[name] is None]
        assert not missing
        assert trial["auc_low"] <= trial["val_auc"] <= trial["auc_high"]
        assert trial["n_pos"] <= trial["n_val"]


def test_the_results_table_shows_what_the_view_holds(study):
    shown = {row["job"]: row for row in study.json("results")["results"]}
    rows = study.query("select * from v_trials where status = 'complete'")
    for job in study.query("select * from job where kind in ('cell', 'walk')"):
        values = [row["value"] for row in rows if row["job"] == job["id"]]
        told = min(values) if job["kind"] == "cell" else fmean(values)  # a winner that is walked was not chosen by it
        assert shown[job["id"]]["value"] == told
    assert len(shown) == len(study.query("select * from job where kind in ('cell', 'walk', 'baseline')"))


def test_exports_agree_with_the_database_to_the_last_digit(study):
    for job in study.query("select * from job where kind = 'cell'"):
        folder = study.outputs / "hpo" / job["experiment"]
        best = json.loads((folder / "best_params.json").read_text())
        assert best == json.loads((folder / f"{job['experiment']}_tiny_best.json").read_text())
        assert best["best_value"] == job["best_value"]
        trials = json.loads((folder / f"{job['experiment']}_all_trials.json").read_text())
        stored = study.query(f"select number, value from trial where job_id = {job['id']} order by number")
        assert [(t["trial_number"], t["value"]) for t in trials] == [(t["number"], t["value"]) for t in stored]
        curve = json.loads((folder / "trials" / "trial_0000.json").read_text())["learning_curve"]
        epochs = study.query(
            "select epoch.val_loss from epoch join trial on trial.id = trial_id "
            f"where job_id = {job['id']} and number = 0"
        )
        assert [point["val_loss"] for point in curve] == [epoch["val_loss"] for epoch in epochs]


def test_the_results_file_has_one_row_a_finished_cell(study):
    with (study.outputs / "experiment_results.csv").open() as file:
        rows = list(csv.DictReader(file))
    best = {job["experiment"]: job["best_value"] for job in study.query("select * from job where kind = 'cell'")}
    assert {row["experiment"]: float(row["val_loss"]) for row in rows} == best


def test_exports_can_be_rebuilt_from_the_database(study):
    files = list((study.outputs / "hpo").rglob("*.json"))
    before = {path: path.read_bytes() for path in files}
    for path in files:
        path.unlink()
    study.ok("export")
    assert {path: path.read_bytes() for path in files} == before


def test_predictions_and_weights_of_each_complete_trial_are_kept(study):
    assert len(list((study.outputs / "trials").rglob("predictions.parquet"))) >= 6
    assert len(list((study.outputs / "trials").rglob("best.safetensors"))) == 6 + 2  # two winners with another seed


def test_the_same_spec_is_not_queued_twice_while_it_waits(study):
    other = ("--budgets", "tiny", "--horizons", "5", "--trials", "1", "--epochs", "1", "--tier", "a20", "--no-check")
    study.ok("enqueue", "--matrix", *other, *SMALL)
    again = study.ok("enqueue", "--matrix", *other, *SMALL)
    assert study.one("select count(*) from job where horizon = 5 and kind = 'cell'") == 1, again
    study.ok("cancel", "h5", "-y")


def test_everything_private_stays_private(study):
    for path in (study.outputs / "fts.db", *(study.outputs / "logs").iterdir()):
        assert Path(path).stat().st_mode & 0o077 == 0, path
    assert study.outputs.stat().st_mode & 0o077 == 0
