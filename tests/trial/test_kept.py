"""Predictions and artifacts: whole or absent, with their md5 in the trial's record, under plain Optuna, too."""

from __future__ import annotations

import errno
import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest

import fts
from fts.jobs.records.artifacts import NothingKept
from fts.jobs.trial.artifacts import BadArtifact, BadPredictions, digest
from fts.jobs.trial.cause import cause_of, is_foreign
from fts.jobs.trial.checkpoint import BadState
from fts.state.files import CannotWrite
from tests.fts_process import Study
from tests.trial.harness import cell_of, log_of, run_one

KEEPS = """
import numpy as np
import fts

def objective(trial):
    x = trial.suggest_float("x", 0.0, 1.0)
    truth = np.arange(4.0)
    fts.predictions(trial, truth, truth + x, index=np.array(["2026-01-0%d" % n for n in range(1, 5)], "datetime64[D]"))
    with open("note.txt", "w") as file:
        file.write(f"x = {x}")
    fts.artifact(trial, "note.txt")
    return x
"""


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    return optuna.create_study(study_name="kept").ask()


def test_they_are_told_with_their_md5_and_equal_ones_are_equal_bytes(tmp_path: Path) -> None:
    cell = cell_of(tmp_path, KEEPS)
    first, second = run_one(cell), run_one(cell)
    assert first.end["fact"] == "result", log_of(cell)
    told = [[fact for fact in one.told if fact["fact"] == "kept"] for one in (first, second)]
    assert told[0] == told[1]
    assert [(fact["name"], fact.get("rows")) for fact in told[0]] == [
        ("predictions.npz", 4),
        ("artifacts/note.txt", None),
    ]
    folder = tmp_path / "outputs" / "trials" / "j" / "trial_0000"
    assert {fact["name"]: fact["md5"] for fact in told[0]} == {
        name: digest(folder / name)[0] for name in ("predictions.npz", "artifacts/note.txt")
    }


def test_the_queue_keeps_them_and_load_reads_them_back(tmp_path: Path) -> None:
    study = Study(tmp_path)
    (tmp_path / "train.py").write_text(KEEPS)
    study.ok("enqueue", "train.py:objective", "--trials", "2")
    study.ok("worker", "--until-empty")
    loaded = fts.load(study.outputs / "fts.db")
    table = loaded.predictions("train", trial=1)
    (x,) = (row["params.x"] for row in loaded.trials.records("train") if row["trial"] == 1)
    assert table["y_pred"].tolist() == [x, 1 + x, 2 + x, 3 + x]
    assert table["index"].tolist() == pd.date_range("2026-01-01", periods=4).tolist()
    note = loaded.artifact("train", "note.txt", trial=1)
    assert note.read_text() == f"x = {x}"
    files = json.loads(study.one("SELECT facts FROM trial WHERE number = 1"))["files"]
    assert files["predictions.npz"]["rows"] == 4 and files["artifacts/note.txt"]["bytes"] == note.stat().st_size
    note.write_text("edited")
    with pytest.raises(NothingKept, match=r"note\.txt has changed since: its md5 is not the recorded one"):
        loaded.artifact("train", "note.txt", trial=1)
    with pytest.raises(NothingKept, match=r"t0 of train kept no artifacts/model; it kept artifacts/note\.txt, pred"):
        loaded.artifact("train", "model", trial=0)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "index", "said"),
    [
        ([1, 2], [1.0], None, "y_true has 2 rows, y_pred 1, index 2; expected equally many"),
        ([], [], None, r"y_true has the shape \(0,\)"),
        (1.0, 2.0, None, "y_true is float of float64, expected an array"),
        ([object()], [1], None, "y_true is list of object, expected an array of numbers or text"),
        ([1, 2], [[1], [2, 3]], None, "y_pred is list, expected numbers"),
        ([1, 2], [1, 2], [[1, 2], [3, 4]], "index 2; expected equally many"),
    ],
)
def test_what_is_no_prediction_is_refused_before_anything_is_written(
    trial: Any, tmp_path: Path, y_true: Any, y_pred: Any, index: Any, said: str
) -> None:
    with pytest.raises(BadPredictions, match=said):
        fts.predictions(trial, y_true, y_pred, index)
    assert list(tmp_path.rglob("*.npz")) == []


@pytest.mark.parametrize(
    ("index", "kept"),
    [
        (pd.date_range("2026", periods=2, tz="Asia/Tokyo"), ["2026-01-01 00:00:00+09:00", "2026-01-02 00:00:00+09:00"]),
        (pd.Series(["a", "b"], dtype="string"), ["a", "b"]),
        (["a", 1], ["a", "1"]),
        (None, [0, 1]),
    ],
)
def test_an_index_of_any_kind_is_kept_without_a_pickle(trial: Any, index: Any, kept: list[Any]) -> None:
    path = fts.predictions(trial, ["cat", "dog"], np.ones((2, 3)), index)
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["index"].tolist() == kept and arrays["y_true"].tolist() == ["cat", "dog"]
        assert arrays["y_pred"].shape == (2, 3)


def test_a_later_artifact_of_the_same_name_takes_the_place_and_a_folder_is_kept_whole(
    trial: Any, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    (model / "deep").mkdir(parents=True)
    (model / "deep" / "weights").write_text("1")
    (model / "old").write_text("")
    fts.artifact(trial, model)
    (model / "old").unlink()
    kept = fts.artifact(trial, "model")
    assert sorted(str(file.relative_to(kept)) for file in kept.rglob("*")) == ["deep", "deep/weights"]
    assert kept == tmp_path / "checkpoints" / "kept" / "trial_0000" / "artifacts" / "model"


@pytest.mark.parametrize(
    ("path", "name", "said"),
    [
        ("none.bin", None, "none.bin is neither a file nor a folder; write it before"),
        (".", "../up", "the artifact's name is '../up', expected a file name"),
        (".", "", "the artifact's name is ''"),
        (".", ".hidden", "the artifact's name is '.hidden'"),
        (".", "x" * 81, "at most 80 letters"),
    ],
)
def test_an_artifact_that_cannot_be_kept_is_refused(trial: Any, path: str, name: str | None, said: str) -> None:
    with pytest.raises(BadArtifact, match=said):
        fts.artifact(trial, path, name)


@pytest.mark.parametrize("make", ["dangling", "to a folder", "pipe"])
def test_a_folder_that_cannot_be_copied_whole_is_the_codes_fault_not_the_disks(
    trial: Any, tmp_path: Path, make: str
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    if make == "pipe":
        os.mkfifo(model / "odd")
    else:
        (model / "odd").symlink_to(tmp_path if make == "to a folder" else "nowhere")
    with pytest.raises(BadArtifact, match="model/odd cannot be copied, expected a file that can be read, and no link"):
        fts.artifact(trial, model)
    with pytest.raises(BadState, match="model/odd cannot be copied"):
        fts.checkpoint(trial).save({}, files=[model])


def test_a_folder_that_would_be_copied_into_itself_or_changes_meanwhile_is_not_called_trouble_with_the_disk(
    trial: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trouble with the disk pauses the whole queue."""
    checkpoint = fts.checkpoint(trial)
    own = checkpoint.dir
    for folder in (own.parent, own.parent.parent):
        with pytest.raises(CannotWrite, match=r"cannot be copied into itself, to .*; name a part of it") as refused:
            fts.artifact(trial, folder, "all")
        assert cause_of(refused.value) == "code error"
        with pytest.raises(CannotWrite, match="cannot be copied into itself"):
            checkpoint.save({}, files=[folder])
    assert not [path for path in own.parent.rglob("*") if path.is_file()]
    model = tmp_path / "model"
    model.mkdir()
    (model / "a").write_text("a")
    for number, sentence, full in ((errno.ENOENT, "a cannot be copied", False), (errno.ENOSPC, "is full", True)):
        failed = OSError(number, os.strerror(number), str(model / "a"))

        def copytree(*_: Any, failed: OSError = failed, **__: Any) -> None:
            raise shutil.Error([(str(model / "a"), "b", str(failed))])  # as the real one does

        with monkeypatch.context() as patched:
            patched.setattr(shutil, "copytree", copytree)
            with pytest.raises(CannotWrite, match=sentence) as refused:
                fts.artifact(trial, model)
        assert refused.value.errno == number and is_foreign(refused.value) is not full


def test_a_checkpoint_holds_files_too_and_a_damaged_one_is_passed_over(tmp_path: Path, trial: Any) -> None:
    checkpoint = fts.checkpoint(trial)
    for epoch in range(2):
        checkpoint._cost_s = 0.0
        draft, copied = checkpoint.dir / "model", tmp_path / "settings.txt"
        draft.mkdir()
        (draft / "weights").write_text(f"w{epoch}")
        copied.write_text(f"s{epoch}")
        assert checkpoint.save({"epoch": epoch}, files=[draft, copied])
        assert copied.exists() and not draft.exists(), "what lies in the folder of the checkpoints is moved into one"
    assert fts.checkpoint(trial).load() == {"epoch": 1}
    (newest := sorted(checkpoint.dir.iterdir())[-1] / "files" / "model" / "weights").write_text("x1")
    again = fts.checkpoint(trial)
    assert again.load() == {"epoch": 0} and not newest.exists()
    assert again.files["settings.txt"].read_text() == "s0" and (again.files["model"] / "weights").read_text() == "w0"
    with pytest.raises(TypeError, match="nothing is neither a file nor a folder"):
        again._cost_s = 0.0
        again.save({}, files=["nothing"])


@pytest.mark.parametrize(
    ("function", "rest"),
    [
        (fts.artifact, [b"content"]),
        (fts.predictions, [[1.0], [1.0]]),
        (fts.checkpoint, []),
        (partial(fts.report, val_loss=0.5), [3]),
        (fts.seed, ["model"]),
        (fts.cell, []),
        (fts.shrink, []),
    ],
)
def test_a_call_without_the_trial_says_what_is_missing(function: Any, rest: list[Any]) -> None:
    with pytest.raises(TypeError, match=r"the first argument is 'a\.bin', expected the trial that the function got"):
        function("a.bin", *rest)
