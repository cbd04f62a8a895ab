"""`fts trials --top N`, and what `fts import` and `fts restore` hand to a program."""

from __future__ import annotations

from pathlib import Path

import optuna

from fts.jobs.api.spec import trial_folder
from tests.fts_process import Study

BODY = """
VALUES = [3, 1, 2, 0.5, 1]
OTHER = [0, 2, 3, 9, 2.5]

def one(trial):
    trial.suggest_float("x", 0, 1)
    if trial.number == 3:
        trial.set_user_attr("constraint", 1.0)
    return VALUES[trial.number]

def two(trial):
    trial.suggest_float("x", 0, 1)
    return VALUES[trial.number], OTHER[trial.number]
"""


def test_the_best_trials_stand_first_and_of_several_goals_the_front(tmp_path: Path) -> None:
    study = Study(tmp_path / "study")
    (study.folder / "train.py").write_text(BODY)
    study.ok("enqueue", "train.py:one", "--trials", "5", "--name", "one")
    study.ok(
        "enqueue", "train.py:two", "--trials", "5", "--name", "two", "--goal", "a=minimize", "--goal", "b=minimize"
    )
    assert "has no trial yet" in study.fts("trials", "one", "--top", "2").err
    study.ok("worker", "--until-empty")

    def top(name: str, count: int) -> list[int]:
        return [trial["trial"] for trial in study.json("trials", name, "--top", str(count))["trials"]]

    assert top("one", 9) == [1, 4, 2, 0], "the earlier one of equals; t3 is infeasible"
    assert top("one", 2) == [1, 4]
    assert top("two", 9) == [3, 1, 0, 4, 2] and top("two", 2) == [3, 1]
    listed = study.ok("trials", "one", "--top", "2").splitlines()
    assert [line.split()[0] for line in listed[:3]] == ["trial", "t1★", "t4"]
    assert len(study.ok("trials", "one", "--top", "2", "--csv").splitlines()) == 3
    assert study.fts("trials", "one", "--top", "0").code == 2
    for number in range(5):
        folder = trial_folder(study.outputs, "two", 2, number)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "best.safetensors").touch()
    freed = [item["path"] for item in study.json("gc", "--only-best", "-n")["gc"]["items"]]
    of_two = {path.split("/")[-2] for path in freed}
    assert of_two == {"trial_0002", "trial_0004"}, "with several goals the whole front is the best"


def test_a_search_in_which_no_trial_meets_its_constraints_says_so(tmp_path: Path) -> None:
    study = Study(tmp_path / "study")
    (study.folder / "train.py").write_text("def one(trial): return {'value': trial.suggest_float('x', 0, 1), 'n': 5}\n")
    study.ok("enqueue", "train.py:one", "--trials", "2", "--constraint", "n<=4")
    said = study.fts("worker", "--until-empty")
    assert "2 trials: 2 infeasible; none meets the constraints" in said.out + said.err
    assert "2 trials, all infeasible: every complete trial violates a constraint" in study.ok("results")


def test_import_and_restore_tell_a_program_what_they_did(tmp_path: Path) -> None:
    study = Study(tmp_path / "study")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = optuna.create_study(storage=f"sqlite:///{study.folder}/optuna.db", study_name="old")
    made.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=4)
    found = study.json("import", "optuna.db")["imported"]
    assert (found["job"], found["study"], found["trials"], found["left_out"]) == (1, "old", 4, [])
    assert (found["best_trial"], found["best_value"]) == (made.best_trial.number, made.best_value)
    copy = study.json("backup")["backup"]["path"]
    said = study.json("restore", "--yes")["restored"]
    assert Path(said["path"]).samefile(study.outputs / "fts.db") and Path(said["from"]).samefile(copy)
    assert said["kept"] is None or Path(said["kept"]).exists()


def test_a_script_that_names_no_place_for_its_report_is_told_before_it_runs(tmp_path: Path) -> None:
    study = Study(tmp_path / "study")
    told = "run.sh names neither $FTS_REPORT nor `fts log`; if it prints its loss, add --regex 'loss=([-0-9.eE+]+)'"
    words = ("enqueue", "--metric", "loss", "--trials", "2", "-n")
    command = ("--", "bash", "run.sh", "{x:0.0..1.0}")
    (study.folder / "run.sh").write_text("echo loss=$1\n")
    assert told in study.fts(*words, *command).err
    assert told not in study.fts(*words, "--regex", "loss=(.*)", *command).err
    (study.folder / "run.sh").write_text("fts log loss=$1\n")
    assert told not in study.fts(*words, *command).err
    (study.folder / "report.py").write_text("")
    (study.folder / "run.sh").write_text("import report\n")
    assert told not in study.fts(*words, "--", "python", "run.sh", "{x:0.0..1.0}").err
