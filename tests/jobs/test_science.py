"""From baselines to the final model on one small study, run by real workers, with its test set poisoned throughout.

Every number of the test part is NaN. What runs to its end with finite numbers has not read them.
"""

from __future__ import annotations

import ast
import csv
import json
import math
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from fts.analysis import load_trials
from fts.analysis.sealed import evaluate_test
from fts.scores.intervals import compare
from fts.search import dataset
from fts.search.predict import NoModel, WrongBars, load_model, predict_bars, predict_file
from jobs import margins
from jobs.cli import main
from jobs.commands.baselines import with_baselines
from jobs.commands.matrix import write
from jobs.exports import best_record, export_results
from jobs.models import model_folder, opened_by
from jobs.report import make_report, study_data
from jobs.results import results
from jobs.seeds import spread_of
from jobs.settings import Places
from jobs.share import to_optuna, to_parquet
from jobs.winners import replicate_spec, same_job, train_spec, winner
from state import queries, transitions
from state.db import Database
from state.errors import WrongStatus
from state.values import JobStatus
from tests.data.made import make_bars
from tests.jobs.science import cells_of, copied, make_data, opened, poison_test_part, run_queue

ROOT = Path(__file__).parents[2]
CELL, REPLICATE, TRAIN = (f"{word}_tiny_h1_threshold_1pct" for word in ("phase6a", "replicate", "train"))


@dataclass(frozen=True)
class Ran:
    places: Places
    sound_md5: str  # of the data set before its test part was poisoned


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Baselines and a cell of three trials, the first one warm; then its winner with two seeds, and its final model."""
    folder = tmp_path_factory.mktemp("science")
    manifest = make_data(folder / "data")
    sound, _ = poison_test_part(manifest)
    places = Places(folder / "outputs" / "fts.db", manifest.root)
    (cell,) = cells_of(places, trials=3, seed=5)
    warm = {
        "architecture": "d16-L1-h2-ff32",
        "learning_rate": 5e-4,
        "weight_decay": 1e-3,
        "warmup_steps": 100,
        "dropout": 0.2,
    }
    db = opened(places)
    write(db, with_baselines([replace(cell, warm_start=(warm,))]), who="test")
    db.close()
    run_queue(places)
    db = opened(places)
    job = queries.job(db, CELL)
    best = winner(db, job)
    write(db, [replicate_spec(job, best, 2), train_spec(job, best)], who="test")
    db.close()
    run_queue(places)
    return Ran(places, sound)


@pytest.fixture
def db(ran: Ran) -> Iterator[Database]:
    opened_db = opened(ran.places)
    yield opened_db
    opened_db.close()


@pytest.fixture
def fts(ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]  # a closure
    """`fts(...)` on a copy of the study: exit code, stdout, stderr."""
    monkeypatch.setenv("FTS_DATA", str(ran.places.data))
    copy = copied(ran.places, tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["--db", str(copy.db), *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    run.places = copy  # type: ignore[attr-defined]
    return run


# ---------------------------------------------------------------- the sealed test set


def test_nothing_of_all_this_has_read_a_test_label(db: Database):
    jobs = queries.jobs(db)
    assert {(job.kind, job.status) for job in jobs} == {
        (kind, JobStatus.DONE) for kind in ("baseline", "cell", "replicate", "train")
    }
    for trial in queries.all_trials(db):
        assert trial.value is not None and math.isfinite(trial.value)
        assert trial.val_auc is not None and math.isfinite(trial.val_auc)


def test_the_poison_is_real(ran: Ran, db: Database):
    folder = model_folder(ran.places, queries.job(db, TRAIN))
    with pytest.raises(WrongBars, match="test part of the data has gaps"):
        evaluate_test(folder, ran.places.data, "test")
    assert not (folder / "test.json").exists()


def test_one_place_in_the_code_opens_the_test_set():
    opening = [
        path.relative_to(ROOT).as_posix()
        for package in ("fts", "jobs", "state", "tui")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.keyword) and node.arg == "sealed" and getattr(node.value, "value", None) is not True
        if not (isinstance(node.value, ast.Name) and node.value.id == "sealed")
    ]
    assert opening == ["fts/analysis/sealed.py"]


def test_fts_final_opens_once_says_who_and_shows_it_ever_after(fts):
    code, _, said = fts("final", "tiny/h1")
    assert code == 2 and "Give -y" in said  # nobody is at the keyboard, so nobody has agreed
    code, _, said = fts("final", "tiny/h1", "-y")
    assert code == 1 and "gaps" in said  # it has opened the set, and stumbled over the poison in it
    db = opened(fts.places)
    (event,) = queries.events(db, verbs=["unsealed"])
    opening = queries.opening(db, CELL)
    assert opening is not None and "@" in opening.who and event.inverse is None
    assert "test opened by" in fts("results")[1]
    (sentence,) = study_data(db, fts.places).test_openings
    assert opening.who in sentence and "not evaluated yet" in sentence
    with pytest.raises(WrongStatus, match="open already"):
        transitions.unseal(db, opening.job_id, opening.trial, "eve")
    db.close()


def test_a_sealed_cell_takes_no_test_scores(db: Database):
    with pytest.raises(WrongStatus, match="sealed"):
        transitions.record_test(db, CELL, {"auc": 0.9}, "eve")


def test_only_the_trial_it_was_opened_for_is_judged_and_only_once(ran: Ran, tmp_path: Path):
    places = copied(ran.places, tmp_path)
    db = opened(places)
    job = queries.job(db, CELL)
    best = winner(db, job)
    other = next(trial for trial in queries.trials(db, job.id) if trial.number != best.number)
    assert opened_by(db, train_spec(job, best)) is None
    transitions.unseal(db, job.id, best.number, "ada")
    assert str(opened_by(db, train_spec(job, best))).startswith("ada at 20")
    assert opened_by(db, train_spec(job, other)) is None
    transitions.record_test(db, CELL, {"auc": 0.6}, "ada")
    assert opened_by(db, train_spec(job, best)) is None
    with pytest.raises(WrongStatus, match="second look"):
        transitions.record_test(db, CELL, {"auc": 0.7}, "ada")
    db.close()


# ---------------------------------------------------------------- baselines


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


def test_the_baselines_row_is_the_rival_that_differences_are_taken_to(db: Database):
    shown = {row.experiment: row for row in results(db)}
    (margin,) = queries.margins(db)
    baseline, cell = next(row for name, row in shown.items() if name.startswith("baseline")), shown[CELL]
    assert (baseline.best_trial, baseline.architecture) == (margin.rival_trial, margin.rival)
    assert cell.auc_gain == pytest.approx((cell.val_auc or 0) - (baseline.val_auc or 0), abs=1e-6)
    assert baseline.minutes > 0, "a baseline has no epochs; its time is from start to end"


def test_a_baseline_that_was_run_is_not_asked_again(ran: Ran, db: Database):
    from jobs.commands.matrix import before_cells

    assert [spec.kind for spec in before_cells(db, cells_of(ran.places))] == ["cell"]


# ---------------------------------------------------------------- seeds and the final model


def test_replicates_train_the_winner_again_with_other_seeds(db: Database):
    cell, again = queries.job(db, CELL), queries.trials(db, queries.job(db, REPLICATE).id)
    best = winner(db, cell)
    assert all(trial.params == best.params and trial.effective_md5 == best.effective_md5 for trial in again)
    assert len({best.seed, *(trial.seed for trial in again)}) == 3
    assert len({trial.value for trial in again}) == 2  # none was taken over from its twin
    spread = spread_of(db, cell)
    assert spread is not None and spread.n == 2 and spread.low < spread.mean < spread.high
    assert spread.sd == pytest.approx(np.std([trial.value for trial in again], ddof=1))


def test_the_same_replicate_twice_is_one_job(db: Database):
    cell = queries.job(db, CELL)
    done = same_job(queries.jobs(db), replicate_spec(cell, winner(db, cell), 2))
    assert done is not None and done.experiment == REPLICATE
    assert same_job(queries.jobs(db), replicate_spec(cell, winner(db, cell), 3)) is None


def test_the_final_model_trains_on_train_and_validation_for_the_winners_best_epochs(ran: Ran, db: Database):
    job, cell = queries.job(db, TRAIN), queries.job(db, CELL)
    (trial,), best = queries.trials(db, job.id), winner(db, cell)
    assert trial.epochs == best.best_epoch and "in-sample" in trial.badges
    folder = model_folder(ran.places, job)
    config = json.loads((folder / "config.json").read_text())
    data = dataset.load(
        ran.places.data, cell.spec["data_md5"], "threshold_1pct", 1, 20, cell.spec["split"], min_positives=3
    )
    assert config["trained_on"]["windows"] == data.split.val_stop - 20 - 1 + 1 > (best.n_train or 0) + (best.n_val or 0)
    assert np.datetime64(config["trained_on"]["last_day"]) < data.dates[data.split.val_stop - 1]
    assert [entry["mean"] for entry in json.loads((folder / "scaler.json").read_text())] == list(data.mean)
    card = (folder / "card.md").read_text()
    assert f"{best.val_loss:.4f}" in card and "The test set is sealed" in card


def test_a_sound_test_set_is_judged_once_and_the_card_says_so(ran: Ran, db: Database, tmp_path: Path):
    folder = sound_model(ran, db, tmp_path)
    scores = evaluate_test(folder, ran.places.data, "ada at noon")
    table = pd.read_parquet(folder / "test_predictions.parquet")
    assert scores["n"] == len(table) > 50 and scores["auc_low"] <= scores["auc"] <= scores["auc_high"]
    assert scores["n_pos"] == table["y"].sum()
    assert "opened by ada at noon" in (folder / "card.md").read_text()
    assert evaluate_test(folder, ran.places.data, "eve later") == scores  # no second look


def test_predict_says_of_new_bars_what_the_model_said_of_the_same_days(ran: Ran, db: Database, tmp_path: Path):
    folder = sound_model(ran, db, tmp_path)
    evaluate_test(folder, ran.places.data, "ada")
    judged = pd.read_parquet(folder / "test_predictions.parquet").set_index("date")["p"]
    model = load_model(folder)
    bars = make_bars(900, 7)
    predicted = predict_bars(model, bars)
    again = predict_bars(load_model(folder), bars)
    pd.testing.assert_frame_equal(predicted.table, again.table, check_exact=True)
    by_day = predicted.table.set_index("date")["p"]
    assert np.abs(by_day.reindex(judged.index).to_numpy() - judged.to_numpy()).max() < 1e-5
    assert len(predicted.table) == 900 - 199 - 20 + 1


def test_bars_that_do_not_match_are_refused_by_name(ran: Ran, db: Database, tmp_path: Path):
    model = load_model(model_folder(ran.places, queries.job(db, TRAIN)))
    bars = make_bars(230, 3)
    with pytest.raises(WrongBars, match=r"few.csv has 210 rows; the model needs 219"):
        bars[:210].to_csv(tmp_path / "few.csv")
        predict_file(model, tmp_path / "few.csv")
    with pytest.raises(ValueError, match="column Volume is missing"):
        bars.drop(columns="Volume").to_csv(tmp_path / "narrow.csv")
        predict_file(model, tmp_path / "narrow.csv")
    with pytest.raises(NoModel, match="config.json"):
        load_model(tmp_path)


def test_bars_from_another_world_get_a_warning(ran: Ran, db: Database):
    model = load_model(model_folder(ran.places, queries.job(db, TRAIN)))
    bars = make_bars(400, 3)
    bars[["Open", "High", "Low", "Close"]] *= 6.5  # lesson 22
    (warning,) = predict_bars(model, bars).warnings
    assert "sma_" in warning or "dema_" in warning


def sound_model(ran: Ran, db: Database, folder: Path) -> Path:
    """The final model as if its data set had never been poisoned: before the test part the two files are equal."""
    copy = folder / "model"
    shutil.copytree(model_folder(ran.places, queries.job(db, TRAIN)), copy)
    config = json.loads((copy / "config.json").read_text())
    config["cell"]["data_md5"] = ran.sound_md5
    (copy / "config.json").write_text(json.dumps(config))
    return copy


# ---------------------------------------------------------------- report, scripts, other programs


def test_the_report_is_made_from_the_database(ran: Ran, db: Database, tmp_path: Path):
    page = make_report(db, ran.places, tmp_path / "report")
    assert "The test set is sealed" in page.read_text() or "test set is sealed" in page.read_text()
    study = study_data(db, ran.places)
    assert len(study.baselines) == 7 and len(study.predictions) == 1 and len(study.cells) == 1
    assert set(study.trials["kind"]) == {"baseline", "cell", "replicate", "train"}


def test_a_report_of_an_empty_queue_is_a_report(tmp_path: Path):
    places = Places(tmp_path / "outputs" / "fts.db", tmp_path / "data")
    db = opened(places)
    assert "Nothing has been run yet" in make_report(db, places).read_text()
    db.close()


def test_scripts_are_the_frozen_cell_and_pass_a_dry_run(fts, tmp_path: Path):
    code, out, _ = fts("script", "tiny/h1", "--out", str(tmp_path / "scripts"))
    paths = [Path(line) for line in out.splitlines()]
    assert code == 0 and [path.name for path in paths] == [
        f"{word}_tiny_h1_threshold_1pct.py" for word in ("hpo", "train")
    ]
    db = opened(fts.places)
    cell = queries.job(db, CELL)
    spec = runpy.run_path(str(paths[0]), run_name="looked_at")["SPEC"]
    assert json.loads(json.dumps(spec)) == json.loads(json.dumps(cell.spec))
    db.close()
    for path in paths:
        done = subprocess.run(
            [sys.executable, str(path), "--dry-run", "--db", str(tmp_path / "other" / "fts.db")],
            capture_output=True, text=True, cwd=ROOT, env=environment(), check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "nothing was written" in done.stdout
    assert not (tmp_path / "other").exists()


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_the_twelve_scripts_of_the_matrix(fts, tmp_path: Path):
    code, out, said = fts("script", "--matrix", "--tier", "a20", "--out", str(tmp_path / "twelve"))
    assert code == 0, said
    names = sorted(Path(line).name for line in out.splitlines())
    assert len(names) == 12 and names[0] == "hpo_200M_h1_threshold_1pct.py"
    for line in out.splitlines():
        compile(Path(line).read_text(), line, "exec")


def test_optuna_opens_what_we_write(ran: Ran, db: Database, tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    assert to_optuna(db, url) == [CELL]
    assert to_optuna(db, url) == [CELL]  # once more replaces it
    study = optuna.load_study(study_name=CELL, storage=url)
    ours = queries.trials(db, queries.job(db, CELL).id)
    assert [trial.value for trial in study.trials] == [trial.value for trial in ours]
    assert [trial.params for trial in study.trials] == [trial.params for trial in ours]
    assert study.trials[0].intermediate_values == {e.epoch: e.val_loss for e in queries.epochs(db, ours[0].id)}
    assert study.best_trial.number == queries.job(db, CELL).best_trial
    assert set(optuna.importance.get_param_importances(study)) <= set(ours[0].params)
    optuna.visualization.matplotlib.plot_param_importances(study)
    optuna.visualization.matplotlib.plot_intermediate_values(study)


def test_pandas_opens_what_we_write_and_load_trials_agrees_on_all_three(ran: Ran, db: Database, tmp_path: Path):
    to_parquet(db, ran.places, tmp_path)
    assert len(pd.read_parquet(tmp_path / "epochs.parquet")) == sum(trial.epochs for trial in queries.all_trials(db))
    assert list(pd.read_parquet(tmp_path / "predictions.parquet").columns) == ["date", "y", "p", "trial"]
    columns = ["experiment", "kind", "number", "value", "val_auc", "learning_rate", "badges", "label_md5"]
    tables = [
        load_trials(source)[columns].sort_values(["experiment", "number"]).reset_index(drop=True)
        for source in (ran.places.db, tmp_path, ran.places.exports)
    ]
    for other in tables[1:]:
        pd.testing.assert_frame_equal(tables[0], other, check_dtype=False)


def test_a_warm_trial_is_marked(db: Database):
    trials = queries.trials(db, queries.job(db, CELL).id)
    assert ["warm" in trial.badges for trial in trials] == [True, False, False]
    assert trials[0].params["learning_rate"] == 5e-4
