"""First trials that a person gives: as enqueue_trial of Optuna, exactly; checked before a job is written; kept."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest

import fts
from tests.fts_process import Study, wait_until

BODY = """
import time
import optuna

def objective(trial):
    x = trial.suggest_float("x", -5.0, 5.0)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    loss = x * x + trial.suggest_int("layers", 1, 4)
    if kind == "a":
        loss += trial.suggest_float("width", 1e-4, 1.0, log=True)
    time.sleep({sleep})
    return loss

def declared(x, kind, layers):
    return x * x + layers + (kind == "a")
"""
FIRST: list[dict[str, Any]] = [{"x": 0.5}, {"kind": "a", "width": 0.25, "layers": 3}, {"layers": 2, "x": 1.5}]
GIVEN = ("x=0.5", "kind=a,width=0.25,layers=3", '{"layers": 2, "x": 1.5}')
WORDS = tuple(part for one in GIVEN for part in ("--warm-start", one))
SPACE = ("--space", "x=-5.0:5.0", "--space", "kind=a,b", "--space", "layers=1:4")
TRIALS = 14  # TPE draws the first ten at random


def study_in(folder: Path, sleep: float = 0.0) -> Study:
    study = Study(folder)
    (folder / "train.py").write_text(BODY.format(sleep=sleep))
    return study


def drawn(study: Study) -> list[dict[str, Any]]:
    return [trial["params"] for trial in study.json("trials", "train")["trials"]]


def plain(folder: Path, sampler: str, first: list[dict[str, Any]], body: Any = None) -> list[dict[str, Any]]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=fts.PureSampler(sampler, 0), pruner=optuna.pruners.NopPruner())
    for params in first:
        study.enqueue_trial(params)
    study.optimize(body or runpy.run_path(str(folder / "train.py"))["objective"], n_trials=TRIALS)
    return [one.params for one in study.trials]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_what_is_given_and_what_is_drawn_equal_plain_optuna(tmp_path: Path, sampler: str) -> None:
    study = study_in(tmp_path / "study")
    study.ok("enqueue", "train.py:objective", "--trials", str(TRIALS), "--sampler", sampler, *WORDS)
    study.ok("worker", "--until-empty")
    found = drawn(study)
    assert found == plain(study.folder, sampler, FIRST)
    assert [found[n] | given for n, given in enumerate(FIRST)] == found[:3]
    badges = [trial["badges"] for trial in study.json("trials", "train")["trials"]]
    assert badges == [["warm"]] * 3 + [[]] * (TRIALS - 3)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_of_a_declared_space_too(tmp_path: Path, sampler: str) -> None:
    def body(trial: optuna.Trial) -> float:
        x, kind = trial.suggest_float("x", -5.0, 5.0), trial.suggest_categorical("kind", ["a", "b"])
        return x * x + trial.suggest_int("layers", 1, 4) + (kind == "a")

    study = study_in(tmp_path / "study")
    words = ("--warm-start", "x=0.5", "--warm-start", "kind=a,layers=3")
    study.ok("enqueue", "train.py:declared", "--trials", str(TRIALS), "--sampler", sampler, *SPACE, *words)
    study.ok("worker", "--until-empty")
    assert drawn(study) == plain(study.folder, sampler, [{"x": 0.5}, {"kind": "a", "layers": 3}], body)


def test_a_script_written_for_optuna_enqueues_its_first_trials(tmp_path: Path) -> None:
    study = study_in(tmp_path / "study")
    script = study.folder / "train.py"
    call = f"""
if __name__ == "__main__":
    import fts
    study = fts.create_study(pruner="none")
    for params in {FIRST}:
        study.enqueue_trial(params)
    study.enqueue_trial({FIRST[0]}, skip_if_exists=True)
    study.optimize(objective, n_trials={TRIALS})
    print(study.best_value)
"""
    script.write_text(BODY.format(sleep=0) + call)
    done = subprocess.run(
        [sys.executable, "train.py"], cwd=study.folder, env=study.environ, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert drawn(study) == plain(study.folder, "tpe", FIRST)


def test_they_are_kept_over_a_kill_and_are_part_of_the_search(tmp_path: Path) -> None:
    study = study_in(tmp_path / "study", sleep=0.3)
    words = ("enqueue", "train.py:objective", "--trials", "4", *WORDS)
    study.ok(*words)
    worker = study.start("worker", "--until-empty")
    wait_until(lambda: study.query("SELECT 1 FROM trial WHERE number = 1"))
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    study.ok("worker", "--until-empty")
    assert [drawn(study)[n] | given for n, given in enumerate(FIRST)] == drawn(study)[:3]
    study.ok(*words)
    assert study.one("SELECT COUNT(*) FROM job") == 1, "the same question changes nothing"
    study.ok(*words[:4])
    assert study.one("SELECT COUNT(*) FROM job") == 2, "without them it is another search"


WRONG = [
    (("x=6",), "--warm-start gives x = 6, expected -5 to 5"),
    (("kind=c",), "--warm-start gives kind = 'c', expected one of ['a', 'b']"),
    (("layers=1.5",), "--warm-start gives layers = 1.5, expected 1 to 4"),
    (
        ("layer=1",),
        "--warm-start.layer is an unknown parameter of the space; did you mean layers? known are x, kind,",
    ),
    (("x",), "--warm-start is 'x', expected NAME=VALUE,... such as lr=0.001,depth=3, or a JSON object, each name once"),
    (("x=1,x=2",), "--warm-start is 'x=1,x=2', expected NAME=VALUE,..."),
    (("{x: 1}",), "--warm-start is '{x: 1}', expected NAME=VALUE,..."),
    (("x=1", "x=2", "x=3"), "--warm-start is given 3 times, and a cell has 2 trials"),
]


@pytest.mark.parametrize(("given", "sentence"), WRONG)
def test_what_the_space_does_not_have_is_refused_before_a_job_is_written(
    tmp_path: Path, given: tuple[str, ...], sentence: str
) -> None:
    study = study_in(tmp_path / "study")
    words = [part for one in given for part in ("--warm-start", one)]
    said = study.fts("enqueue", "train.py:declared", "--trials", "2", *SPACE, *words)
    assert said.code == 2 and sentence in said.err, said
    assert not study.outputs.exists()


def test_a_command_and_a_study_file_take_them_too(tmp_path: Path) -> None:
    study = study_in(tmp_path / "study")
    command = ("--metric", "loss", "--stdout", "--", "echo", '{"loss":', "{x:-5.0..5.0}", "}", "{kind:a,b}")
    study.ok("enqueue", "--name", "shown", "--trials", "2", "--warm-start", "x=0.25,kind=b", *command)
    said = study.fts("enqueue", "--name", "shown", "--trials", "2", "--warm-start", "x=9", *command)
    assert said.code == 2 and "--warm-start gives x = 9, expected -5 to 5" in said.err
    (study.folder / "study.toml").write_text(
        '[study]\nname = "file"\nobjective = "train.py:declared"\n[budget]\ntrials = 2\n'
        '[space]\nx = { low = -5.0, high = 5.0 }\nkind = ["a", "b"]\nlayers = { low = 1, high = 4 }\n'
    )
    study.ok("enqueue", "study.toml", "--warm-start", "x=0.25,kind=b")
    study.ok("worker", "--until-empty")
    for name in ("shown", "file"):
        first = study.json("trials", name)["trials"][0]["params"]
        assert (first["x"], first["kind"]) == (0.25, "b")


def test_a_grid_search_is_given_whole_points(tmp_path: Path) -> None:
    study = study_in(tmp_path / "study")
    space = ("--space", "x=0,1", "--space", "kind=a,b", "--space", "layers=1,2", "--sampler", "grid")
    said = study.fts("enqueue", "train.py:declared", *space, "--warm-start", "x=1")
    assert said.code == 2 and "--warm-start gives x = 1 without kind, layers, which a trial needs too" in said.err
    study.ok("enqueue", "train.py:declared", *space, "--warm-start", "x=1,kind=b,layers=2")
    study.ok("worker", "--until-empty")
    found = drawn(study)
    assert len(found) == 9 and found[0] == {"x": 1, "kind": "b", "layers": 2} == found[-1]
