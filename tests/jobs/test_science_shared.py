"""What other people and programs get of a study: the report, scripts that run by themselves, Optuna, pandas."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest

from fts.analysis import load_trials
from fts.analysis.summarise import summarise
from fts.jobs.api.spec import trial_folder
from fts.jobs.maintenance.cleanup import collect
from fts.jobs.records.exports import export_all, export_trials
from fts.jobs.records.optuna import StorageChanged, to_optuna
from fts.jobs.settings import Places
from fts.state import queries, transitions
from fts.state.db import Database, open_database
from fts.study.cell import CellSpec
from fts.study.matrix import write
from fts.study.parquet import to_parquet
from fts.study.report_data import make_report, study_data, usual_ticker
from fts.study.results import results, results_table
from fts.study.seeds import spread_of
from fts.study.winners import replicate_spec, winner
from tests.analysis.pages import unwritten
from tests.cli.study import add_epoch, claim, finish_trial, start_trial
from tests.jobs.science import (
    CELL,
    TRAIN,
    Ran,
    copied,
    opened,
)

ROOT = Path(__file__).parents[2]


def test_the_report_is_made_from_the_database(ran: Ran, db: Database, tmp_path: Path):
    page = make_report(db, ran.places, tmp_path / "report")
    assert "the test set is sealed" in page.read_text()
    assert "MADE.dataset.a20" in page.read_text(), "whose prices these are"
    assert "Better than a volatility forecast?" in page.read_text() and "HAR volatility" in page.read_text()
    study = study_data(db, ran.places)
    assert len(study.baselines) == 13 and len(study.predictions) == 3 and len(study.cells) == 1
    assert set(study.trials["kind"]) == {"baseline", "cell", "replicate", "train"}


def test_page_and_table_give_every_auc_the_same_interval(ran: Ran, db: Database):
    study = study_data(db, ran.places)
    ((cell,),) = (group.cells for group in summarise(study))
    row = next(row for row in results(db) if row.experiment == CELL)
    assert cell.auc is not None and (cell.auc.low, cell.auc.high) == (row.auc_low, row.auc_high)
    assert cell.scores is not None and cell.scores.auc == cell.auc
    stored = [trial for job in queries.jobs(db) if job.kind == "baseline" for trial in queries.trials(db, job.id)]
    for trial, one in zip(stored, study.baselines, strict=True):
        assert one.scores is not None, trial.params
        shown = [(one.result.auc_low, one.result.auc_high), (one.scores.auc.low, one.scores.auc.high)]
        assert shown == [(trial.auc_low, trial.auc_high)] * 2


def test_a_trial_of_the_study_that_has_ended_keeps_no_checkpoints(ran: Ran, db: Database):
    ended = [(job, trial) for job in queries.jobs(db) if job.kind != "baseline" for trial in queries.trials(db, job.id)]
    folders = [trial_folder(ran.places.outputs, job.experiment, job.id, trial.number) for job, trial in ended]
    assert len(folders) >= 6 and all(folder.is_dir() for folder in folders)
    assert not [folder for folder in folders if (folder / "checkpoint").exists()]
    assert collect(db, ran.places) == [], "nothing is left for fts gc"


def test_a_cell_that_waits_in_line_again_does_not_hide_what_it_found(ran: Ran, tmp_path: Path):
    places = copied(ran.places, tmp_path)
    study = opened(places)
    write(study, [replace(CellSpec.from_json(queries.job(study, CELL).spec), trials=9)], again=True)
    shown, done = study_data(study, places), queries.jobs(study, ["done"])
    assert list(shown.cells["status"]) == ["done"] and list(shown.cells["trials_wanted"]) != [9]
    assert len(shown.predictions) == 3 and len(shown.epochs) > 0
    assert [name for name in to_optuna(study, f"sqlite:///{tmp_path}/optuna.db") if CELL in name] and done
    study.close()


def test_seeds_of_a_job_that_was_cancelled_count_in_the_report_as_in_the_results(ran: Ran, tmp_path: Path):
    places = copied(ran.places, tmp_path)
    db = opened(places)
    cell = queries.job(db, CELL)
    (more,) = write(db, [replicate_spec(cell, winner(db, cell), 5)], who="test")
    transitions.cancel(db, [more.job_id])
    trained = study_data(db, places).trials.query("kind == 'replicate' and status == 'complete'")
    spread = spread_of(db, cell)
    assert spread is not None and len(trained) == spread.n == 2
    db.close()


def test_the_report_and_the_results_say_that_a_newer_search_stands_in_line(ran: Ran, tmp_path: Path):
    places = copied(ran.places, tmp_path)
    study = opened(places)
    with unwritten():
        before = make_report(study, places, tmp_path / "before").read_text()
    shown = queries.job(study, CELL).id
    (line,) = write(study, [replace(CellSpec.from_json(queries.job(study, CELL).spec), trials=9)], again=True)
    with unwritten():
        page = make_report(study, places, tmp_path / "report")
    told = f"{CELL}: job {line.job_id}, a newer search of this cell, is queued; until its first trial ends, "
    told += f"this page shows the results of job {shown}"
    assert told in page.read_text() and "a newer search" not in before
    assert page.read_text().index(told) < page.read_text().index("The matrix")
    assert json.loads((page.parent / "summary.json").read_text())["missing"][0] == told
    newer = {row.job: row.newer for row in results(study) if row.experiment == CELL}
    assert newer == {shown: f"job {line.job_id} is queued", line.job_id: None}
    assert f"older search: job {line.job_id} is queued" in results_table(study)
    study.close()


def test_a_newer_search_hides_the_older_once_a_trial_of_it_has_ended(ran: Ran, tmp_path: Path):
    """Its first trial may run for a day: until it ends the page would be empty."""
    places = copied(ran.places, tmp_path)
    study = opened(places)
    (line,) = write(study, [replace(CellSpec.from_json(queries.job(study, CELL).spec), trials=9)], again=True)
    claimed = claim(study)
    trial = start_trial(study, claimed)
    add_epoch(study, claimed, trial, 1, 0.5)
    running = study_data(study, places)
    assert line.job_id not in set(running.trials["job"]) and len(running.predictions) == 3
    assert "a newer search of this cell, runs;" in running.newer[0] and running.earlier == ()
    finish_trial(study, claimed, trial, 0.5)
    ended = study_data(study, places)
    assert set(ended.trials[ended.trials["kind"] == "cell"]["job"]) == {line.job_id}
    assert ended.newer == () and "is an earlier search of this cell" in ended.earlier[0]
    study.close()


def test_exports_of_a_cell_that_was_searched_again_stand_apart(ran: Ran, tmp_path: Path):
    """One folder holds one job: the newest search's, and the earlier one's own beside it, whoever wrote last."""
    places = copied(ran.places, tmp_path)
    study = opened(places)
    older = queries.job(study, CELL)
    (line,) = write(study, [replace(CellSpec.from_json(older.spec), trials=9)], again=True)
    export_all(study, places)
    assert jobs_in(places.exports / CELL) == {older.id}, "what waits has nothing to write"
    claimed = claim(study)
    for number, value in enumerate((0.6, 0.5)):
        finish_trial(study, claimed, start_trial(study, claimed, number), value)
        export_trials(study, places, claimed.job, [number])
    before = sorted(places.exports.rglob("*"))
    for _ in range(2):
        assert jobs_in(places.exports / CELL) == {line.job_id}
        assert jobs_in(places.exports / f"{CELL}_job{older.id}") == {older.id}
        export_all(study, places)
    assert sorted(places.exports.rglob("*")) == before
    found = load_trials(places.exports)
    assert sorted(found["id"]) == sorted(trial.id for trial in queries.all_trials(study))
    study.close()


def test_an_export_keeps_no_best_trial_of_another_search(ran: Ran, tmp_path: Path):
    places = copied(ran.places, tmp_path)
    study = opened(places)
    write(study, [replace(CellSpec.from_json(queries.job(study, CELL).spec), trials=9)], again=True)
    claimed = claim(study)
    transitions.finish_trial(study, claimed, start_trial(study, claimed), "failed", "code error")
    export_trials(study, places, claimed.job, [0])
    assert sorted(path.name for path in (places.exports / CELL).rglob("*.json")) == [
        f"{CELL}_all_trials.json", "trial_0000.json"
    ]  # fmt: skip
    study.close()


def jobs_in(folder: Path) -> set[int]:
    """The jobs that the files of an exported folder are of; every kind of file must be there."""
    trials = [json.loads(path.read_text()) for path in folder.glob("trials/*.json")]
    trials += json.loads((folder / f"{CELL}_all_trials.json").read_text())
    best = [json.loads((folder / name).read_text()) for name in ("best_params.json", f"{CELL}_tiny_best.json")]
    assert {trial["dataset"] for trial in trials} == {"MADE.dataset.a20"} == {record["dataset"] for record in best}
    return {trial["job_id"] for trial in trials} | {record["job"] for record in best}


def test_a_report_of_an_empty_queue_is_a_report(tmp_path: Path):
    places = Places(tmp_path / "outputs" / "fts.db", tmp_path / "data")
    db = opened(places)
    assert "Nothing has been run yet" in make_report(db, places).read_text()
    db.close()


def test_fts_report_writes_to_the_folder_it_was_given(fts, tmp_path: Path):
    before = sorted((fts.places.outputs / "report").rglob("*"))
    code, out, _ = fts("report", "--out", str(tmp_path / "elsewhere"))
    assert code == 0 and {Path(line).parent for line in out.splitlines()} == {tmp_path / "elsewhere"}
    assert (tmp_path / "elsewhere" / "index.html").is_file()
    assert sorted((fts.places.outputs / "report").rglob("*")) == before


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


def test_a_script_whose_cell_has_been_done_does_not_search_for_days_again(fts, tmp_path: Path):
    _, out, _ = fts("script", "tiny/h1", "--out", str(tmp_path))
    before = len(jobs_of(fts.places))
    for path in out.splitlines():
        done = subprocess.run(
            [sys.executable, path, "--db", str(fts.places.db)],
            capture_output=True, text=True, cwd=tmp_path, env=environment() | {"FTS_DATA": str(fts.places.data)},
            check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert "is done: job" in done.stdout and "--again" in done.stdout
    assert len(jobs_of(fts.places)) == before


def jobs_of(places: Places) -> list[object]:
    db = opened(places)
    try:
        return list(queries.jobs(db))
    finally:
        db.close()


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_the_twelve_scripts_of_the_matrix(fts, tmp_path: Path):
    code, out, said = fts("script", "--matrix", "--tier", "a20", "--out", str(tmp_path / "twelve"))
    assert code == 0, said
    names = sorted(Path(line).name for line in out.splitlines())
    assert len(names) == 12 and names[0] == "hpo_200M_h1_threshold_1pct.py"
    for line in out.splitlines():
        compile(Path(line).read_text(), line, "exec")


def test_a_script_is_of_the_tier_and_the_data_that_were_asked_for(fts, tmp_path: Path):
    """Three cells of one size and horizon, and each is found by what it is of, or by its name."""
    db = opened(fts.places)
    (cell,) = [CellSpec.from_json(job.spec) for job in queries.jobs(db) if job.kind == "cell"]
    c = replace(cell, experiment=f"{CELL}_c", tier="c", dataset="MADE.dataset.c")
    ndx = replace(cell, experiment=f"{CELL}_NDX", dataset="NDX.dataset.a20")
    write(db, [c, ndx], who="test")
    db.close()

    def written(*words: str) -> list[str]:
        code, out, said = fts("script", *words, "--out", str(tmp_path))
        assert code == 0, said
        return [json.loads(json.dumps(runpy.run_path(path)["SPEC"]))["experiment"] for path in out.splitlines()]

    assert written("tiny/h1", "--tier", "c") == [c.experiment]
    assert written("tiny/h1", "--data", "NDX.dataset.a20") == [ndx.experiment]
    assert written("tiny/h1", "--data", cell.dataset) == [CELL, TRAIN]
    assert written(c.experiment) == [c.experiment]
    assert written("tiny/h1") == [CELL, TRAIN, c.experiment, ndx.experiment]


def test_two_data_sets_of_one_tier_are_two_matrices_of_the_report(ran: Ran, db: Database, tmp_path: Path):
    """The one must not stand in the other's place, nor be measured against the other's baselines."""
    db.close()
    places = copied(ran.places, tmp_path)
    study = opened(places)
    (cell,) = [CellSpec.from_json(job.spec) for job in queries.jobs(study) if job.kind == "cell"]
    ndx = replace(cell, experiment=f"{CELL}_NDX", dataset="NDX.dataset.a20", data_md5="1" * 32)
    write(study, [ndx], who="test")
    planned = study_data(study, places).cells
    assert dict(zip(planned["experiment"], planned["task"], strict=True)) == {
        CELL: "threshold_1pct", ndx.experiment: "threshold_1pct NDX",
    }  # fmt: skip
    of_baselines = [job for job in queries.jobs(study) if job.kind == "baseline"]
    of_ndx = [replace(job, spec=job.spec | {"dataset": "NDX.dataset.a20"}) for job in of_baselines]
    assert usual_ticker([*of_ndx, *queries.jobs(study)]) == "MADE", "of the first cell"
    assert usual_ticker(of_ndx) == "NDX" and usual_ticker([]) is None
    with unwritten():
        page = make_report(study, places, tmp_path / "report").read_text()
    assert "1. threshold_1pct on a20" in page and "2. threshold_1pct NDX on a20" in page
    study.close()


def test_two_exports_to_one_storage_take_turns(ran: Ran, db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    url, began = f"sqlite:///{tmp_path / 'optuna.db'}", threading.Event()
    assert to_optuna(db, url) == [CELL]
    real, said = optuna.delete_study, []

    def slow(**words: Any) -> None:
        began.set()
        time.sleep(0.5)
        real(**words)

    monkeypatch.setattr(optuna, "delete_study", slow)
    other = threading.Thread(target=lambda: said.extend(to_optuna(open_database(db.path, readonly=True), url, print)))
    other.start()
    assert began.wait(30) and to_optuna(db, url, said.append) == [CELL]
    other.join(30)
    assert said == [CELL], "a trial was left out, because the other export had deleted its study"

    def gone(**words: Any) -> None:
        raise KeyError("Record does not exist.")

    monkeypatch.setattr(optuna, "delete_study", gone)  # another database's export to the same storage
    with pytest.raises(StorageChanged, match="during this export; run it again"):
        to_optuna(db, url)


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
    cell = queries.job(db, CELL)
    assert (study.user_attrs["job"], study.user_attrs["dataset"]) == (cell.id, "MADE.dataset.a20")
    assert set(optuna.importance.get_param_importances(study)) <= set(ours[0].params)
    optuna.visualization.matplotlib.plot_param_importances(study)
    optuna.visualization.matplotlib.plot_intermediate_values(study)


def test_pandas_opens_what_we_write_and_load_trials_agrees_on_all_three(ran: Ran, db: Database, tmp_path: Path):
    to_parquet(db, ran.places, tmp_path)
    assert len(pd.read_parquet(tmp_path / "epochs.parquet")) == sum(trial.epochs for trial in queries.all_trials(db))
    assert list(pd.read_parquet(tmp_path / "predictions.parquet").columns) == ["date", "y", "p", "trial", "job"]
    columns = ["experiment", "kind", "number", "value", "val_auc", "learning_rate", "badges", "label_md5"]
    tables = [
        load_trials(source)[columns].sort_values(["experiment", "number"]).reset_index(drop=True)
        for source in (ran.places.db, tmp_path, ran.places.exports)
    ]
    for other in tables[1:]:
        pd.testing.assert_frame_equal(tables[0], other, check_dtype=False)


def test_a_cell_judged_on_folds_is_another_script(fts, tmp_path: Path):
    code, out, said = fts("script", "tiny/h1", "--tier", "a20", "--cv", "walk-forward:3", "--out", str(tmp_path / "wf"))
    assert code == 0, said
    (path,) = out.split()
    assert Path(path).name == "hpo_tiny_h1_threshold_1pct_wf3.py", "beside the plain cell's, not in its place"
    assert runpy.run_path(path, run_name="looked_at")["SPEC"]["cv"] == "walk-forward:3"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("2010-12-31,2014-12-31", {"train_end": "2010-12-31", "val_end": "2014-12-31"}),
        ("0.6, 0.2", {"train": 0.6, "val": 0.2}),
    ],
)
def test_a_split_of_ones_own_is_kept_in_the_cell(fts, tmp_path: Path, text: str, kept: dict[str, object]):
    code, out, said = fts("script", "tiny/h3", "--tier", "a20", "--split", text, "--out", str(tmp_path))
    assert code == 0, said
    assert runpy.run_path(out.split()[0], run_name="looked_at")["SPEC"]["split"] == kept


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0.9,0.2", "sum to at most 1"), ("2014-12-31,2010-12-31", "train must end before validation ends"),
        ("0.7", "two days or two shares"), ("2010-13-01,2014-01-01", "month"),
    ],
)  # fmt: skip
def test_a_split_that_cannot_be_is_refused_with_the_right_form(fts, tmp_path: Path, text: str, why: str):
    code, _, said = fts("script", "tiny/h1", "--tier", "a20", "--split", text, "--out", str(tmp_path))
    assert code == 2
    assert why in said and "--split 2016-12-31,2017-12-31" in said and len(said.strip().splitlines()) == 1
