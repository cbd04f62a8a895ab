"""The test set stays sealed until a person opens it, once; the final model, and what it says of new bars."""

from __future__ import annotations

import ast
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fts.data.plausible import find_implausible
from fts.features import tiers
from fts.jobs.records.questions import enqueued_sentence
from fts.model.architecture import Architecture, ModelConfig
from fts.model.patchtst import PatchTST
from fts.state import queries, transitions
from fts.state.db import Database
from fts.state.errors import WrongStatus
from fts.state.values import JobStatus
from fts.study.cell import CellSpec
from fts.study.cell_data import load
from fts.study.final_model import FinalTrial
from fts.study.final_objective import run_final
from fts.study.matrix import write
from fts.study.model_folder import FinalModel, NoModel, load_model, md5_of_config
from fts.study.models import model_folder, opened_by
from fts.study.predict import WrongBars, drift_warnings, predict_bars, predict_file
from fts.study.report_data import study_data
from fts.study.results import results
from fts.study.sealed import evaluate_test
from fts.study.winners import train_spec, winner
from fts.training.checkpoint import CheckpointError, read_weights, write_weights
from fts.training.results import EpochDone
from tests.data.made import make_bars
from tests.jobs.science import (
    CELL,
    TRAIN,
    Ran,
    copied,
    opened,
)
from tests.search.test_spec import TRIAL as SPEC
from tests.training.tiny import make_trainer

ROOT = Path(__file__).parents[2]
SCORES = {"auc": 0.6, "loss": 0.5}


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
    assert opening == ["fts/study/sealed.py"]


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
    with pytest.raises(WrongStatus, match="second evaluation"):
        transitions.record_test(db, CELL, {"auc": 0.7}, "ada")
    db.close()


def test_a_cell_of_the_same_name_is_not_judged_in_the_place_of_the_one_it_was_opened_for(ran: Ran, tmp_path: Path):
    """Another seed or another tier has the same experiment's name: neither score nor model may change hands."""
    places = copied(ran.places, tmp_path)
    db = opened(places)
    job = queries.job(db, CELL)
    best = winner(db, job)
    transitions.unseal(db, job.id, best.number, "ada")
    other = replace(job, id=job.id + 100)
    assert opened_by(db, train_spec(job, best)) is not None
    assert opened_by(db, train_spec(other, best)) is None
    transitions.record_test(db, CELL, SCORES, "ada")
    assert [row.test_auc for row in results(db, [job, other])] == [0.6, None]
    mine = queries.job(db, TRAIN)
    theirs = replace(mine, spec=mine.spec | {"origin": mine.spec["origin"] | {"job": other.id}})
    assert model_folder(places, theirs).name == f"{model_folder(places, mine).name}_job{other.id}"
    db.close()


def test_a_final_training_that_was_done_is_found_and_one_without_a_model_says_how_to_get_it(db: Database):
    job = queries.job(db, TRAIN)
    cell = CellSpec.from_json(job.spec)
    (found,) = write(db, [cell], dry_run=True)
    assert (found.job_id, found.created, found.status) == (job.id, False, "done")
    assert "`--again`" in enqueued_sentence("train h1", cell, found, job)
    assert f"`fts retry {job.id}`" in enqueued_sentence(
        "train h1", cell, found, replace(job, trials_complete=0, trials_failed=1)
    )


def test_the_final_model_trains_on_train_and_validation_for_the_winners_best_epochs(ran: Ran, db: Database):
    job, cell = queries.job(db, TRAIN), queries.job(db, CELL)
    (trial,), best = queries.trials(db, job.id), winner(db, cell)
    assert trial.epochs == best.best_epoch and "in-sample" in trial.badges
    folder = model_folder(ran.places, job)
    config = json.loads((folder / "config.json").read_text())
    data = load(ran.places.data, cell.spec["data_md5"], "threshold_1pct", 1, 20, cell.spec["split"], min_positives=3)
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
    card = (folder / "card.md").read_text()
    assert "opened by ada at noon" in card and f"against {scores['rival']}" in card
    assert evaluate_test(folder, ran.places.data, "eve later") == scores  # no second look


def test_the_one_look_at_the_test_set_also_judges_the_best_baseline(ran: Ran, db: Database, tmp_path: Path):
    """Fitted on all windows before the test part, as the model was; the one that led on validation, not on test."""
    scores = evaluate_test(sound_model(ran, db, tmp_path), ran.places.data, "ada")
    (margin,) = queries.margins(db)
    assert scores["rival"] == margin.rival
    assert scores["auc_gain"] == pytest.approx(scores["auc"] - scores["rival_auc"], abs=1e-6)
    assert scores["loss_gain"] == pytest.approx(scores["loss"] - scores["rival_loss"], abs=1e-6)
    assert scores["auc_gain_low"] <= scores["auc_gain"] <= scores["auc_gain_high"]


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
    bars[:210].to_csv(tmp_path / "few.csv")
    bars.drop(columns="Volume").to_csv(tmp_path / "narrow.csv")
    with pytest.raises(WrongBars, match=r"few.csv has 210 rows; the model needs 219"):
        predict_file(model, tmp_path / "few.csv")
    with pytest.raises(ValueError, match="column Volume is missing"):
        predict_file(model, tmp_path / "narrow.csv")
    with pytest.raises(NoModel, match=r"config.json"):
        load_model(tmp_path)


def test_a_model_folder_that_was_damaged_is_refused_by_its_file(ran: Ran, db: Database, tmp_path: Path):
    folder = tmp_path / "model"
    shutil.copytree(model_folder(ran.places, queries.job(db, TRAIN)), folder)
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])  # one bit of one weight
    with pytest.raises(CheckpointError, match="damaged or another model's"):
        load_model(folder)
    weights.unlink()
    with pytest.raises(NoModel, match=r"model.safetensors is missing"):
        load_model(folder)
    weights.write_bytes(whole)
    assert load_model(folder).folder == folder
    scaler = (folder / "scaler.json").read_bytes()
    for damage in (scaler[:40], b"{}", b"\xff" + scaler):
        (folder / "scaler.json").write_bytes(damage)
        with pytest.raises(NoModel, match=r"scaler.json is damaged"):
            load_model(folder)


@pytest.mark.parametrize("number", [math.nan, math.inf, 0.0, -1.0, None, "abc", [1, 2]])
def test_a_scaler_with_other_numbers_than_an_sd_has_is_refused(ran: Ran, db: Database, tmp_path: Path, number: object):
    """NaN and 0 gave NaN for every day, below 0 a wrong probability, all with exit code 0."""
    folder = own_model(ran, db, tmp_path)
    scaler = json.loads((folder / "scaler.json").read_text())
    scaler[3]["sd"] = number
    (folder / "scaler.json").write_text(json.dumps(scaler))
    with pytest.raises(NoModel, match="expected two numbers and an sd above 0"):
        load_model(folder)


def test_a_scaler_changed_by_hand_is_not_the_models(ran: Ran, db: Database, tmp_path: Path):
    folder = own_model(ran, db, tmp_path)
    scaler = json.loads((folder / "scaler.json").read_text())
    scaler[0]["mean"] += 1
    (folder / "scaler.json").write_text(json.dumps(scaler))
    with pytest.raises(NoModel, match=r"scaler.json is not the one this model was trained with"):
        load_model(folder)
    (folder / "scaler.json").write_text(json.dumps([1, 2]))
    with pytest.raises(NoModel, match="an entry without feature, mean and sd"):
        load_model(folder)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("norm", "none", "says norm 'none', the weights are of a model with 'revin'"),  # it loaded, and predicted
        ("architecture", "d4096-L999-h4-ff9999", "says architecture"),  # it was built first, in all the memory there is
        ("stride", 7, "says stride 7"),
        ("colour", "red", "says colour 'red'"),
    ],
)
def test_a_configuration_of_another_model_than_the_weights_is_refused(
    ran: Ran, db: Database, tmp_path: Path, name: str, value: object, said: str
):
    folder = own_model(ran, db, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    changed = config | {"model": config["model"] | {name: value}}
    (folder / "config.json").write_text(json.dumps(changed))
    with pytest.raises(NoModel, match=said):
        load_model(folder)


def test_a_configuration_that_lacks_a_part_or_tells_another_window_is_refused(ran: Ran, db: Database, tmp_path: Path):
    folder = own_model(ran, db, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k not in ("tier", "features")}))
    with pytest.raises(NoModel, match=r"config.json is damaged \(no features, tier\)"):
        load_model(folder)
    (folder / "config.json").write_text(json.dumps(config | {"context": "eighty"}))
    with pytest.raises(NoModel, match="says context 'eighty', the weights are of a model with 20"):
        load_model(folder)


@pytest.mark.parametrize(("name", "value"), [("horizon", 5), ("task", "threshold_2pct"), ("origin", {})])
def test_a_configuration_changed_by_hand_is_not_the_models(
    ran: Ran, db: Database, tmp_path: Path, name: str, value: object
):
    """What fits any weights: the card and the predictions would say another question."""
    folder = own_model(ran, db, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    assert config[name] != value
    (folder / "config.json").write_text(json.dumps(config | {name: value}))
    with pytest.raises(NoModel, match=r"config.json is not the one this model was trained with"):
        load_model(folder)
    sign(folder, config | {name: value})
    assert load_model(folder).config[name] == value


@pytest.mark.parametrize("name", ["config_md5", "scaler_md5", "weights_md5"])
@pytest.mark.parametrize("value", ["absent", None, "", "0" * 31, 5, ["0" * 32]])
def test_a_model_without_its_checksums_is_not_used(ran: Ran, db: Database, tmp_path: Path, name: str, value: object):
    folder = own_model(ran, db, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    changed = config | {name: value}
    if value == "absent":
        del changed[name]
    sign(folder, changed) if name != "config_md5" else (folder / "config.json").write_text(json.dumps(changed))
    with pytest.raises(NoModel, match=f"no {name}"):
        load_model(folder)


@pytest.mark.parametrize("header", [{}, {"model": "2M"}, "no object"])
def test_weights_that_do_not_say_their_model_are_refused(ran: Ran, db: Database, tmp_path: Path, header: object):
    folder = own_model(ran, db, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    _, weights = read_weights(folder / "model.safetensors")
    md5 = write_weights(folder / "model.safetensors", weights, header)
    (folder / "config.json").write_text(json.dumps(config | {"weights_md5": md5}))
    with pytest.raises(CheckpointError, match="does not say which model its weights belong to"):
        load_model(folder)


def test_weights_that_do_not_fit_or_are_no_numbers_are_refused(ran: Ran, db: Database, tmp_path: Path):
    folder = own_model(ran, db, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    header, weights = read_weights(folder / "model.safetensors")
    bias = weights["head.bias"]
    for odd, said in ((bias * math.nan, "holds values that are no numbers"), (bias.repeat(3), "holds other weights")):
        md5 = write_weights(folder / "model.safetensors", weights | {"head.bias": odd}, header)
        sign(folder, config | {"weights_md5": md5})
        with pytest.raises(CheckpointError, match=said):
            load_model(folder)


def test_volumes_in_another_unit_get_a_warning(ran: Ran, db: Database):
    """Within three sd of the training mean, as every small number above 0 is, and yet not these bars' volumes."""
    model = load_model(model_folder(ran.places, queries.job(db, TRAIN)))
    model = replace(model, sd=np.maximum(model.sd, np.abs(model.mean) / 2))  # as wide as volumes are
    x = tiers.build(make_bars(900, 7), "a20").iloc[:300]
    assert drift_warnings(model, x) == ()
    (warning,) = drift_warnings(model, x.assign(atr_14=x["atr_14"] / 1000))
    assert "atr_14" in warning and "another unit or ticker?" in warning


def test_a_newest_window_unlike_the_training_is_named_where_the_whole_file_is_not(ran: Ran, db: Database):
    model = load_model(model_folder(ran.places, queries.job(db, TRAIN)))
    x = tiers.build(make_bars(900, 7), "a20").iloc[:400]
    grown = x.copy()
    grown.iloc[-model.context :] *= 1.5
    assert drift_warnings(model, x) == ()
    (warning,) = drift_warnings(model, grown)
    assert warning.startswith(f"in the newest window, until {x.index[-1]:%Y-%m-%d}, ") and "sma_200 by" in warning


def test_bars_from_another_world_get_a_warning(ran: Ran, db: Database):
    model = load_model(model_folder(ran.places, queries.job(db, TRAIN)))
    bars = make_bars(400, 3)
    bars[["Open", "High", "Low", "Close"]] *= 6.5  # lesson 22
    (warning,) = (told for told in predict_bars(model, bars).warnings if not told.startswith("spacing"))  # made bars
    assert "sma_" in warning or "dema_" in warning


def own_model(ran: Ran, db: Database, folder: Path) -> Path:
    """A copy of the final model, to be damaged."""
    copy = folder / "model"
    shutil.copytree(model_folder(ran.places, queries.job(db, TRAIN)), copy)
    return copy


def sign(folder: Path, config: dict[str, Any]) -> None:
    """config.json with its own md5 made right: what who means harm would write."""
    config = config | {"config_md5": md5_of_config(config)}
    (folder / "config.json").write_text(json.dumps(config))


def sound_model(ran: Ran, db: Database, folder: Path) -> Path:
    """The final model as if its data set had never been poisoned: before the test part the two files are equal."""
    copy = own_model(ran, db, folder)
    config = json.loads((copy / "config.json").read_text())
    config["cell"]["data_md5"] = ran.sound_md5
    sign(copy, config)
    return copy


def test_days_that_no_market_keeps_are_named():
    """By the same checks that a build makes: fts.data.plausible."""
    bars, now = make_bars(240), pd.Timestamp("2026-11-23")  # of a year made bars lack more days than a market
    days = bars.index
    assert find_implausible(bars, now) == ()
    (gap,) = find_implausible(bars.drop(days[100:160]), now)
    assert (
        "1 gap of more than 5 weekdays" in gap.text
        and f"between {days[99]:%Y-%m-%d} and {days[160]:%Y-%m-%d}" in gap.text
    )
    (weekly,) = find_implausible(bars[::5], now)
    assert "or more days apart: the model reads daily bars" in weekly.text
    (coming,) = find_implausible(bars, days[-3])
    assert "2 of 240 rows lie in the future" in coming.text


def test_a_final_training_that_diverged_leaves_no_model_and_the_test_set_unread(monkeypatch: pytest.MonkeyPatch):
    saved, read = [], []
    monkeypatch.setattr("fts.study.final_model.save_model", lambda folder, trial: saved.append(folder))
    monkeypatch.setattr("fts.study.sealed.evaluate_test", lambda *_: read.append(1) or SCORES)
    for rate, reason in ((1e30, "diverged"), (1e-3, "finished")):
        trainer = make_trainer(learning_rate=rate, warmup_steps=0, grad_clip=0.0, max_epochs=2)
        ended = [event for event in trainer.run() if isinstance(event, EpochDone)]
        if not ended:  # the loss was no number within the first epoch; it may be one later
            trainer.progress.history.append(SimpleNamespace(val_loss=1.0, val_auc=0.5))
        result = FinalTrial(None, None, trainer.config, trainer, {}, None).result(Path("x"))
        assert result["reason"] == reason and (result["message"] is None) == (reason == "finished")
        monkeypatch.setattr(
            "fts.study.final_objective.run_trial", lambda *_, found=result: iter([{"fact": "result", **found}])
        )
        (fact,) = run_final(replace(SPEC, opened_by="ada"), None)
        assert ("test" in fact) == (len(read) == 1) == (len(saved) == 1) == (reason == "finished")


def test_vix_closes_that_lack_days_are_refused_and_those_that_end_early_are_told():
    bars, names = make_bars(300, 7), list(tiers.tier_features("c"))
    network = PatchTST(ModelConfig(Architecture(16, 1, 2, 32), 33, context=20, patch=10, stride=5)).eval()
    config = {"tier": "c", "features": names, "context": 20}
    model = FinalModel(Path("model"), config, network, np.zeros(33), np.full(33, 1e9))
    vix = pd.Series(15 + np.random.default_rng(0).random(300), index=bars.index, name="Close")
    assert not any("VIX" in said for said in predict_bars(model, bars, vix).warnings)
    early = predict_bars(model, bars, vix[:-3])
    assert f"no probability for the newest 3 days: the VIX closes end on {bars.index[-4]:%Y-%m-%d}" in early.warnings
    assert early.table["date"].iloc[-1] == bars.index[-4]
    with pytest.raises(WrongBars, match="these bars: only 60 of 296 days of the bars are in the VIX closes"):
        predict_bars(model, bars, vix[::5])
