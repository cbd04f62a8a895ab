"""fts in a script: a study as tables beside its worker, run from the file of its function, taken over from Optuna."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest

import fts
from fts.jobs.api.function import code_md5
from fts.jobs.api.spec import BadSpec
from fts.jobs.cli import main
from fts.jobs.library.objective import objective_of
from fts.jobs.library.reading import NoPandas, NoSuchCell, Pivot, Table
from fts.jobs.records.optuna import shown
from fts.state.columns import TABLES
from fts.state.db import Database, open_database
from fts.state.errors import NotOurDatabase
from fts.state.unreadable import unreadable_of
from tests.cli.study import places_of
from tests.cli.toy import claim, finished_toy, make_toy, run_trial
from tests.fts_process import Study, wait_until

SCRIPT = """
import time
import fts

def objective(trial):
    x = trial.suggest_float("x", -5, 5)
    time.sleep({sleep})
    return {{"loss": x * x, "other": 1.0}}

if __name__ == "__main__":
    study = fts.create_study(name="rf", sampler="random")
    study.optimize(objective, n_trials={trials}, metric="loss")
    print(study.best_value, study.best_params["x"], study.best_trial.number, len(study.trials))
    print(len(study.trials_dataframe()))
"""


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[Database]:
    opened = make_toy(tmp_path)
    yield opened
    opened.close()


def command(path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["--db", str(path), *words])
    said = capsys.readouterr()
    return code, said.out, said.err


# ---------------------------------------------------------------- reading


def test_a_table_without_rows_has_the_columns_that_it_will_have(toy: Database) -> None:
    loaded = fts.load(toy.path)
    tables = (loaded.cells, loaded.trials, loaded.best, loaded.epochs)
    empty = [list(table().columns) for table in tables]
    assert [len(table()) for table in tables[1:]] == [0, 0, 0]
    assert loaded.trials("mnist/S").query("status == 'complete'")["value"].tolist() == []
    run_trial(toy, claim(toy), 0, 0.6)
    for table, columns in zip(tables, empty, strict=True):
        there = [name for name in table().columns if "." not in name and name not in ("data", "size")]
        assert there == [name for name in columns if name not in ("data", "size")], table
    for table_name in ("trial", "job"):
        toy.execute_sql(f"DELETE FROM {table_name}")  # a queue without a job
    assert list(loaded.cells().columns) == [name for name in empty[0] if name not in ("data", "size")]


def test_tables_name_axes_parameters_and_metrics_and_are_fresh_at_each_call(toy: Database) -> None:
    claimed = claim(toy)
    run_trial(toy, claimed, 0, 0.6)
    loaded = fts.load(toy.path)
    assert loaded.trials("mnist/S")["value"].tolist() == [0.6]
    run_trial(toy, claimed, 1, 0.8, {"lr": 1e-4, "optimizer": "sgd", "momentum": 0.5})
    table = loaded.trials("mnist/S")
    assert table["params.lr"].tolist() == [0.01, 1e-4] and table["metrics.loss"].tolist() == [1 - 0.6, 1 - 0.8]
    assert table["data"].tolist() == ["mnist"] * 2 and table["size"].tolist() == ["S"] * 2
    steps = loaded.epochs("train_mnist_S")
    assert steps["step"].tolist() == [0, 1, 0, 1] and "metrics.loss" in steps and steps["value"].iloc[-1] == 0.8
    cells = loaded.cells()
    assert cells["cell"].tolist() == ["mnist/S", "mnist/M", "cifar/S", "cifar/M"]
    assert cells["best_value"].tolist()[0] == 0.8 and cells["complete"].tolist() == [2, 0, 0, 0]
    best = loaded.best(1)
    assert len(best) == 1 and best["trial"].tolist() == [1] and loaded.trials.records() == loaded.trials.records(1)
    with pytest.raises(NoSuchCell, match="no job matches 'mnist/X'; did you mean"):
        loaded.trials("mnist/X")
    with pytest.raises(NoSuchCell, match="cifar/S has no best trial: no complete trial yet"):
        loaded.best("cifar/S")


def test_a_table_that_is_not_called_and_a_folder_in_place_of_the_file_say_what_to_write(toy: Database) -> None:
    found = fts.load(toy.path)
    with pytest.raises(AttributeError, match=r"write trials\(\)\.columns"):
        found.trials.columns  # noqa: B018
    with pytest.raises(TypeError, match=r"write trials\(\)\['value'\]"):
        found.trials["value"]
    assert not hasattr(found.trials, "_repr_html_"), "a notebook asks for it"
    with pytest.raises(
        NotOurDatabase, match=re.escape(f"is a folder, and the database is a file; name the one in it, {toy.path}")
    ):
        fts.load(toy.path.parent)


def test_a_pivot_has_the_best_trial_of_each_cell_in_the_declared_order(toy: Database) -> None:
    for acc in (0.6, 0.7, 0.8):
        run_trial(toy, claim(toy), 0, acc)  # mnist/S, mnist/M, cifar/S
    loaded = fts.load(toy.path)
    table = loaded.pivot("size", "data", "loss")
    assert list(table.index) == ["S", "M"] and list(table.columns) == ["mnist", "cifar"]
    assert table.loc["M", "mnist"] == pytest.approx(0.3) and table.isna().loc["M", "cifar"]
    assert (table.index.name, table.columns.name) == ("size", "data")
    assert loaded.pivot.records("size", "data")[0] == {"size": "S", "mnist": 0.6, "cifar": 0.8}
    with pytest.raises(NoSuchCell, match="no cell has the axes size and tier; there are: data, size"):
        loaded.pivot("size", "tier")
    with pytest.raises(NoSuchCell, match=r"has 'f1'; expected acc, metrics.acc, metrics.loss, params.lr"):
        loaded.pivot("size", "data", "f1")
    toy.execute_sql("UPDATE job SET metric = 'f1' WHERE cell = 'mnist/M'")  # a study with another main metric
    assert loaded.pivot.records("size", "data", "acc") == [
        {"size": "S", "mnist": 0.6, "cifar": 0.8}, {"size": "M", "mnist": 0.7, "cifar": None},
    ]  # fmt: skip
    assert loaded.pivot.records("size", "data", "f1")[1] == {"size": "M", "mnist": 0.7, "cifar": None}


def test_a_cell_is_a_study_of_optuna_with_what_each_trial_drew(toy: Database) -> None:
    finished_toy(toy)
    study = fts.load(toy.path).optuna("mnist/S")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE", "FAIL"]
    assert study.best_params == {"lr": 1e-4, "optimizer": "sgd", "momentum": 0.5} and study.best_value == 0.8
    assert study.trials[0].intermediate_values == {0: pytest.approx(0.5), 1: 0.6}
    assert study.trials[1].distributions["optimizer"] == optuna.distributions.CategoricalDistribution(["adam", "sgd"])


def test_without_pandas_one_sentence_says_so_and_records_work(toy: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    finished_toy(toy)
    monkeypatch.setitem(sys.modules, "pandas", None)
    loaded = fts.load(toy.path)
    with pytest.raises(NoPandas, match=r"tables need pandas, which is not installed: `.*pip install pandas`"):
        loaded.trials()
    assert [row["trial"] for row in loaded.trials.records()] == [0, 1, 2]


def test_the_winner_as_words_as_python_and_as_json(toy: Database, capsys: pytest.CaptureFixture[str]) -> None:
    run_trial(toy, claim(toy), 0, 0.8, {"lr": 1e-4, "optimizer": "a b"})
    assert command(toy.path, capsys, "best", "mnist/S")[1] == "--lr=0.0001 '--optimizer=a b'\n"
    code, out, err = command(toy.path, capsys, "best", "1", "--python")
    so_far = "t0 of mnist/S: acc 0.8000; so far: 1 of 3 trials have ended\n"
    assert (code, out, err) == (0, "dict(lr=0.0001, optimizer='a b')\n", so_far)
    found = json.loads(command(toy.path, capsys, "best", "1", "--json")[1])["best"]
    assert (found["value"], found["trial"], found["axes"]) == (0.8, 0, {"data": "mnist", "size": "S"})
    code, out, err = command(toy.path, capsys, "best", "2")
    assert (code, out) == (6, "") and "job 2 (mnist/M) has no best trial: no complete trial yet; `fts trials 2`" in err


def test_the_winner_is_not_called_alone_where_others_are_as_good(
    toy: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    claimed = claim(toy)
    for number, value in enumerate((0.8, 0.5, 0.8)):
        run_trial(toy, claimed, number, value)
    assert command(toy.path, capsys, "best", "1")[2] == "t0 of mnist/S: acc 0.8000; as good: 1 other\n"


# ---------------------------------------------------------------- a script that calls optimize


def run(study: Study, *more: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "rf.py", *more]
    return subprocess.run(words, cwd=study.folder, env=study.environ, capture_output=True, text=True, timeout=120)


def test_a_script_runs_its_study_goes_on_and_returns_at_once_when_all_is_there(tmp_path: Path) -> None:
    study = Study(tmp_path)
    for trials, workers in ((1, 1), (1, 1), (2, 2)):  # the number stands under __main__: the question is the same
        (tmp_path / "rf.py").write_text(SCRIPT.format(sleep=0, trials=trials))
        said = run(study)
        assert said.returncode == 0, said
        value, x, number, n = said.stdout.splitlines()[0].split()
        assert float(value) == float(x) ** 2 and (int(n), said.stdout.splitlines()[1]) == (trials, str(trials))
        assert f"rf: {trials} of {trials} trial" in said.stderr and ", best " in said.stderr
        assert study.one("SELECT count(*) FROM worker") == workers and study.one("SELECT count(*) FROM job") == 1
    best = study.query("SELECT best_trial, spec FROM job")[0]
    assert best["best_trial"] == int(number) and json.loads(best["spec"])["objective"] == "rf.py:objective"
    assert not study.query("SELECT * FROM trial WHERE badges <> '[]'"), "no trial says that its code has changed"


OPTUNAS_WORDS = """
import argparse, fts, optuna, time

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", default="4")
assert parser.parse_args().epochs in ("3", "4")

def objective(trial):
    x = trial.suggest_float("x", -1, 1)
    trial.set_user_attr("pair", [x, 1])
    time.sleep(1.1 if trial.number == 0 else 0)  # longer than the first timeout
    return x

if __name__ == "__main__":
    study = fts.create_study(
        study_name="words", direction=optuna.study.StudyDirection.MINIMIZE, sampler=None, load_if_exists=True
    )
    study.optimize(objective, n_trials=3, timeout={timeout}, n_jobs=1, catch=(ValueError,), gc_after_trial=True)
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    assert study.best_trial.user_attrs["pair"] == [study.best_params["x"], 1]
    print(study.study_name, study.direction.name, len(complete))
"""


def test_a_script_keeps_optunas_words_and_goes_on_when_it_gets_more_time(tmp_path: Path) -> None:
    study = Study(tmp_path)
    for timeout, trials in ((1, 1), (1000, 3)):
        (tmp_path / "rf.py").write_text(OPTUNAS_WORDS.format(timeout=timeout))
        said = run(study, "--epochs", "3")
        assert said.stdout == f"words MINIMIZE {trials}\n", said
        assert "trials import rf.py without --epochs 3: pass what they need" in said.stderr
        again = study.fts("enqueue", "rf.py:objective", "--name", "words", "--trials", "3").err
        assert ("its time is up, a longer --timeout continues it" in again) == (trials == 1)
    assert "1 of 3 trials ended" in said.stderr and "takes over: budget.timeout 1 s -> 17 min" in said.stderr
    events = study.query("SELECT verb FROM event WHERE verb IN ('finished', 'changed') ORDER BY id")
    assert [event["verb"] for event in events] == ["finished", "changed", "finished"]


def test_ctrl_c_leaves_the_study_running_and_says_how_to_go_on(tmp_path: Path) -> None:
    study = Study(tmp_path)
    (tmp_path / "rf.py").write_text(SCRIPT.format(sleep=1.5, trials=4))
    with (tmp_path / "said.txt").open("w") as said:
        script = subprocess.Popen(
            [sys.executable, "rf.py"], cwd=tmp_path, env=study.environ, stderr=said, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
        )  # fmt: skip
    wait_until(lambda: re.search(r"rf: [1-3] of 4 trials", (tmp_path / "said.txt").read_text()))
    os.killpg(script.pid, signal.SIGINT)
    assert script.wait(60) == 130
    last = (tmp_path / "said.txt").read_text().splitlines()[-1]
    assert last.startswith(
        "rf continues without this process: `fts status` shows its progress, `fts pause rf` stops it"
    )
    wait_until(lambda: study.one("SELECT status FROM job") == "done")
    assert study.one("SELECT trials_complete FROM job") == 4
    wait_until(lambda: study.one("SELECT count(*) FROM worker WHERE status = 'running'") == 0)


def test_a_worker_that_is_killed_is_replaced_while_the_script_waits_and_when_it_runs_again(tmp_path: Path) -> None:
    """Its job is `running` in the database, so the call waited for ever for a worker that was dead."""
    study = Study(tmp_path)
    (tmp_path / "rf.py").write_text(SCRIPT.format(sleep=0.5, trials=4))

    def wait_for(trials: int) -> None:
        wait_until(lambda: f"rf: {trials} of 4 trials" in (tmp_path / "said.txt").read_text())
        wait_until(lambda: study.one("SELECT count(*) FROM trial WHERE status = 'running'"))

    def kill_worker() -> None:
        os.kill(
            int(study.one("SELECT pid FROM worker WHERE status = 'running' ORDER BY id DESC LIMIT 1")), signal.SIGKILL
        )

    with (tmp_path / "said.txt").open("w") as said:
        script = subprocess.Popen([sys.executable, "rf.py"], cwd=tmp_path, env=study.environ, stderr=said)
    wait_for(1)
    kill_worker()
    wait_for(2)
    script.kill()
    script.wait()
    kill_worker()
    assert run(study).returncode == 0
    assert study.one("SELECT trials_complete FROM job") == 4
    assert study.one("SELECT count(*) FROM worker") == 3


def test_a_function_that_fails_ends_the_call_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "rf.py").write_text(SCRIPT.format(sleep="1 / 0", trials=1))
    said = run(Study(tmp_path))
    assert said.returncode == 1 and said.stderr.splitlines()[-1].startswith("fts.jobs.library.studies.StudyFailed: rf ")
    assert "division by zero" in said.stderr and "`fts retry 1` continues it" in said.stderr.splitlines()[-1]


WRONG = {
    "study.optimize(lambda trial: 1)": "the objective is a lambda; a trial loads it from its file by its name",
    "study.optimize(functools.partial(objective, size=1))": "the objective is a functools.partial",
    "study.optimize(inner())": "nested is not at the top of rf.py",
    "study.optimize(Model().fit)": "the objective is a method",
    "study.optimize(hidden, callbacks=[])": 'of type Model, called hidden under `if __name__ == "__main__":`; a trial',
    "study.optimize(objective, callbacks=[print])": "optimize takes no callbacks: workers run the trials",
    "study.optimize(Model())": "the objective is of type Model",
    "study.optimize(Model)": "the objective is the class Model; write `objective = Model()`",
    "study.optimize(objective)": "rf.py line 15 calls optimize at its top level, and each trial would call it again",
    "fts.create_study(sampler=optuna.samplers.TPESampler())": "the sampler is a TPESampler; write sampler='tpe'",
    "fts.create_study(pruner=optuna.pruners.NopPruner())": "the pruner is a NopPruner; write pruner='none'",
    "fts.create_study().enqueue_trial({}, user_attrs={})": "enqueue_trial takes no user_attrs; expected params, skip",
    "fts.create_study().add_trial(1)": "a study of fts has no add_trial; `fts import` imports the trials",
    "study.optimize('rf.py:objective', timeout='1h')": "timeout is '1h', expected a number of seconds",
    "fts.create_study(direction='down')": "the direction is 'down', expected one of minimize, maximize",
}
PARTS = """
import functools, optuna, fts
def objective(trial, size=0): return trial.number
def inner():
    def nested(trial): return 1
    return nested
class Model:
    def fit(self, trial): return 1
    def __call__(self, trial): return 1
study = fts.create_study()
if __name__ == "__main__":
    hidden = Model()
for call, expected in {wrong}.items():
    try:
        eval(call) if call != "study.optimize(objective)" else study.optimize(objective)
    except (ValueError, AttributeError) as refused:
        assert expected in str(refused), (call, str(refused))
    else:
        raise AssertionError(call)
print("all refused")
"""


def test_what_no_trial_could_load_is_refused_in_a_sentence_before_anything_is_written(tmp_path: Path) -> None:
    study = Study(tmp_path)
    (tmp_path / "rf.py").write_text(PARTS.format(wrong=WRONG))
    said = run(study)
    assert said.stdout == "all refused\n", said.stderr
    typed = "import fts\ndef f(trial): return 1\nfts.create_study().optimize(f)"
    done = subprocess.run(
        [sys.executable, "-c", typed], env=study.environ, cwd=tmp_path, capture_output=True, text=True
    )
    assert "f was typed into a notebook or a prompt; a trial loads the function" in done.stderr.splitlines()[-1]
    assert not study.outputs.exists()


def test_a_decorated_function_is_found_by_its_name_in_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its wrapper has another name, and may be of another module."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "wrappers.py").write_text(
        "def times(f):\n    def inner(**names): return f(**names)\n    return inner\n"
    )
    (tmp_path / "decorated.py").write_text("import wrappers\n@wrappers.times\ndef objective(trial): return 1\n")
    module = importlib.import_module("decorated")
    assert objective_of(module.objective, tmp_path) == "decorated.py:objective"
    with pytest.raises(BadSpec, match=r"inner is not at the top of wrappers\.py"):
        objective_of(module.wrappers.times(module.objective), tmp_path)


def test_several_cells_have_no_single_best(toy: Database) -> None:
    run_trial(toy, claim(toy), 0, 0.6)
    study = fts.create_study("train", direction="maximize", db=toy.path)
    with pytest.raises(ValueError, match=r"train has 4 cells \(mnist/S, .*name one: study.optuna\('mnist/S'\)"):
        _ = study.best_params
    assert study.optuna("mnist/S").best_value == 0.6
    with pytest.raises(ValueError, match=r"there is no study nix in .*call optimize first"):
        _ = fts.create_study("nix", db=toy.path).best_value


def test_what_stands_under_main_decides_nothing_and_anything_else_does() -> None:
    code = b"import x\nif __name__ == '__main__':\n    run(100)\ndef f(t): return 1\n"
    assert code_md5(code) == code_md5(code.replace(b"run(100)", b"run(200)\n    more()"))
    assert code_md5(code) != code_md5(code.replace(b"return 1", b"return 2"))
    other = code.replace(b"\ndef", b"\nelse:\n    y = 1\ndef")
    assert code_md5(other) == hashlib.md5(other).hexdigest(), "a trial runs what stands behind else"
    assert code_md5(b"x = 1\n") == hashlib.md5(b"x = 1\n").hexdigest()


def test_importing_fts_loads_nothing_heavy(tmp_path: Path) -> None:
    look = "import fts, sys; print([name for name in ('pandas', 'optuna', 'peewee', 'click') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", look], env=Study(tmp_path).environ, capture_output=True, text=True)
    assert done.stdout == "[]\n" and "load" in dir(fts)


# ---------------------------------------------------------------- history of Optuna


def recorded(path: Path) -> str:
    """Eight ended trials, one of which failed and some were pruned, and one that runs."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = f"sqlite:///{path}"
    sampler, pruner = optuna.samplers.RandomSampler(seed=0), optuna.pruners.MedianPruner(n_startup_trials=2)
    study = optuna.create_study(storage=url, study_name="old", direction="maximize", sampler=sampler, pruner=pruner)

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -5, 5)
        trial.suggest_categorical("kind", ["a", "b", None])
        for step in range(3):
            trial.report(x * step, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        trial.set_user_attr("n", trial.number)
        if trial.number == 1:
            raise ValueError("broken")
        return x

    study.optimize(objective, n_trials=8, catch=(ValueError,))
    study.ask()
    return url


def test_two_goals_of_optuna_become_history_with_their_front(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(storage=url, study_name="old", directions=["minimize", "maximize"], sampler=sampler)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        trial.set_constraint("y", y - 0.8)
        return x + y, x - y

    study.optimize(objective, n_trials=12)
    path = places_of(tmp_path).db
    code, out, err = command(path, capsys, "import", url)
    assert (code, out) == (0, f"old is job 1 (old): 12 trials, front {len(study.best_trials)}\n"), err
    after = fts.load(path).optuna("old")
    assert [one.values for one in after.trials] == [one.values for one in study.trials]
    assert [one.number for one in after.best_trials] == [one.number for one in study.best_trials]
    assert len(fts.load(path).best.records("old")) == len(study.best_trials)


FUNCTION = """
def objective(trial):
    trial.suggest_categorical("kind", ["a", "b", None])
    return trial.suggest_float("x", -5, 5)
"""


def test_trials_of_optuna_become_history_and_a_function_goes_on_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(textwrap.dedent(FUNCTION))
    url = recorded(tmp_path / "optuna.db")
    before = optuna.load_study(study_name="old", storage=url)
    path = places_of(tmp_path).db
    code, out, err = command(path, capsys, "import", url, "--name", "new", "--objective", "train.py:objective")
    assert code == 0 and out.startswith("old is job 1 (new): 8 trials, best"), err
    assert "left out: trial 8, it has not ended (running)" in err
    told = json.loads(command(path, capsys, "import", url, "--name", "newer", "--json")[1])
    assert told["imported"]["left_out"] == ["trial 8, it has not ended (running)"]
    assert told["imported"]["renumbered"] == {} and "numbers here" not in err
    before.add_trials([optuna.create_trial(value=value) for value in (-9.0, -8.0)])
    again = command(path, capsys, "import", url, "--name", "third", "--json")
    assert json.loads(again[1])["imported"]["renumbered"] == {"9": 8, "10": 9}
    assert "numbers here have no gap: trial 9 of the storage is t8, and so on for 2 trials" in again[2]
    after = fts.load(path).optuna("new")
    for old, new in zip(before.trials[:8], after.trials, strict=True):
        assert (old.state, old.params, old.distributions) == (new.state, new.params, new.distributions)
        assert old.intermediate_values == new.intermediate_values
        assert old.state.name != "COMPLETE" or old.value == new.value
    assert after.best_trial.number == before.best_trial.number == fts.load(path).cells.records()[0]["best_trial"]
    assert fts.load(path).trials.records("new")[0]["started_at"] == before.trials[0].datetime_start.timestamp()
    failed = fts.load(path).trials.records("new")[1]
    assert (failed["status"], failed["value"]) == ("failed", None), "its last report is no value"
    assert "nothing is left to run" in command(path, capsys, "retry", "new")[2]
    assert "there is a study 'new' here (job 1)" in command(path, capsys, "import", url, "--name", "new")[2]
    more = ("enqueue", "train.py:objective", "--name", "new", "--direction", "maximize", "--trials", "9")
    assert "new is extended: job 1 from 8 to 9 trials" in command(path, capsys, *more)[2]
    study = Study(tmp_path)
    study.ok("worker", "--until-empty", "--slots", "1", "--threads", "1")
    assert study.query("SELECT number, status FROM trial WHERE job_id = 1 AND number > 7") == [
        {"number": 8, "status": "complete"}
    ]


def test_storages_of_optuna_may_have_braces_in_their_path_and_are_private(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a {b} {").mkdir()
    recorded(tmp_path / "optuna.db")
    there = (tmp_path / "optuna.db").rename(tmp_path / "a {b} {" / "optuna}.db")
    folder = tmp_path / "my study"
    folder.mkdir()
    (folder / "train.py").write_text(textwrap.dedent(FUNCTION))
    path = places_of(tmp_path).db
    words = ("import", str(there), "--name", "new", "--objective", f"{folder}/train.py:objective")
    code, _, err = command(path, capsys, *words)
    assert code == 0, err
    assert f"`fts enqueue '{folder}/train.py:objective' --name new" in err, "typed as printed, the path is two words"
    for name in ("x{rate=1}.db", "{.db", "{0}.db", "{SCHEMA_VERSION}.db"):
        code, _, err = command(path, capsys, "export", "--optuna", f"sqlite:///{tmp_path}/{name}")
        known = re.sub("{SCHEMA_VERSION}", r"[0-9]+", name) if "SCHEMA" in name else re.escape(name)
        assert code == 0 and any(re.fullmatch(known, one.name) for one in tmp_path.iterdir()), (name, err)
    for umask in (0o000, 0o777):
        before = os.umask(umask)
        try:
            command(path, capsys, "export", "--optuna", f"sqlite:///{tmp_path}/mask{umask}.db")
        finally:
            assert os.umask(before) == umask
        assert (tmp_path / f"mask{umask}.db").stat().st_mode & 0o777 == 0o600, "as every other export"
    code, _, err = command(path, capsys, "export", "--optuna", "{x")
    assert code == 2 and "Optuna cannot use '{x'" in err, err


def test_a_study_without_its_function_can_be_read_and_never_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = recorded(tmp_path / "optuna.db")
    path = places_of(tmp_path).db
    for words in (("--name", "a b"), ("--objective", "nix.py:f")):
        assert command(path, capsys, "import", url, *words)[0] != 0 and not path.exists(), "it made an empty study"
    assert command(path, capsys, "import", str(tmp_path / "optuna.db"))[0] == 0  # the file alone is a storage
    assert "nothing is left to run" in command(path, capsys, "retry", "old")[2]
    for words in ("trials old", "curve old", "results", "status", "best old", "queue --json", "export"):
        code, _, err = command(path, capsys, *words.split())
        assert code == 0, (words, err)
    assert "there is no study 'nix'; " in command(path, capsys, "import", url, "--study", "nix")[2]
    code, _, err = command(path, capsys, "import", "sqlite:///nowhere.db")
    assert code == 2 and "there is no file nowhere.db" in err and not Path("nowhere.db").exists()


def test_neither_import_nor_export_changes_a_file_or_study_of_another_program(
    toy: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_trial(toy, claim(toy), 0, 0.6)
    other, empty, text = tmp_path / "other.db", tmp_path / "empty.db", tmp_path / "text.db"
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE mine (a)")
    empty.touch()
    text.write_text("no database, but long enough for the header of one " * 20)
    own = tables_of(toy.path)
    for path in (other, empty, text, toy.path):
        before = path.read_bytes() if path != toy.path else b""
        code, _, err = command(toy.path, capsys, "import", str(path))
        assert code == 2 and "expected a storage of Optuna" in err, (path, err)
        assert path == toy.path or path.read_bytes() == before, path
    for address in ("sqlite:///{}", "sqlite+pysqlite:///{}", "sqlite:///{}?timeout=3", "sqlite:///file:{}?uri=true"):
        code, _, err = command(toy.path, capsys, "export", "--optuna", address.format(toy.path))
        assert code == 2 and "is the database of fts itself" in err and tables_of(toy.path) == own, address
        assert command(toy.path, capsys, "import", address.format(toy.path))[0] == 2 and tables_of(toy.path) == own

    url = f"sqlite:///{tmp_path / 'a@b.db'}"
    theirs = optuna.create_study(storage=url, study_name="train_mnist_S")
    theirs.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    code, _, err = command(toy.path, capsys, "export", "--optuna", url)
    assert code == 2 and f"{url} has a study 'train_mnist_S' that fts has not written" in err
    assert len(optuna.load_study(storage=url, study_name="train_mnist_S").trials) == 3
    assert f"{url} has train_mnist_S" in command(toy.path, capsys, "import", url, "--study", "nix")[2]
    ours = f"sqlite:///{tmp_path / 'ours.db'}"
    for _ in range(2):  # our own study is replaced
        assert command(toy.path, capsys, "export", "--optuna", ours)[0] == 0
    assert len(optuna.load_study(storage=ours, study_name="train_mnist_S").trials) == 1
    optuna.delete_study(storage=ours, study_name="train_mnist_S")
    optuna.create_study(storage=ours, study_name="train_mnist_S")  # what an export leaves that was killed here
    assert command(toy.path, capsys, "export", "--optuna", ours)[0] == 0
    assert len(optuna.load_study(storage=ours, study_name="train_mnist_S").trials) == 1
    assert shown("postgresql://me:secret@host:5/db") == "postgresql://host:5/db"

    early = ("budget", "horizon", "task", "tier", "data_md5")  # all attributes of an export of before 2026-11-23
    for attributes, code in ((early, 0), (early[:4], 2), ((*early, "mine"), 2)):
        optuna.delete_study(storage=ours, study_name="train_mnist_S")
        earlier = optuna.create_study(storage=ours, study_name="train_mnist_S")
        for name in attributes:
            earlier.set_user_attr(name, "2M")
        earlier.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
        name = f"of{len(attributes)}"
        assert command(toy.path, capsys, "import", ours, "--study", "train_mnist_S", "--name", name)[0] == 0
        assert command(toy.path, capsys, "export", "--optuna", ours)[0] == code, attributes


def test_attributes_that_are_too_long_to_import_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path / 'long.db'}"

    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr("text", "x" * (20_000 if trial.number else 10))
        return trial.suggest_float("x", 0, 1)

    optuna.create_study(storage=url, study_name="long").optimize(objective, n_trials=2)
    code, out, err = command(places_of(tmp_path).db, capsys, "import", url)
    assert code == 0 and "long is job 1 (long): 2 trials" in out
    assert "left out: the user attributes of trial 1: 20,012 characters, expected at most 16,000" in err
    assert "of trial 0" not in err


def test_an_import_leaves_out_what_no_reader_accepts_and_every_row_that_it_writes_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'odd.db'}"
    study = optuna.create_study(storage=url, study_name="odd")
    wide = optuna.distributions.FloatDistribution(-1e308, 1e308)
    texts = optuna.distributions.CategoricalDistribution(["a", "z" * 5000])
    deep: list[Any] = []
    for _ in range(60):
        deep = [deep]

    def add(name: str, value: Any, kind: Any = wide, **more: Any) -> optuna.trial.FrozenTrial:
        return optuna.create_trial(value=1.0, params={name: value}, distributions={name: kind}, **more)

    ancient = add("x", 1.0)
    ancient.datetime_start = datetime(1950, 1, 1)
    trials = (
        add("x", 1.0, intermediate_values={0: 1.0, 2**31 - 1: 1.0}),
        *(add("x", 1.0, user_attrs={"odd": odd}) for odd in (deep, "\ud800", 10**400)),
        *(add("x", huge) for huge in (1e200, -1e100)),
        add("y" * 201, 1.0),
        add("text", "z" * 5000, texts),
        ancient,
    )
    study.add_trials(trials)
    path = places_of(tmp_path).db
    told = json.loads(command(path, capsys, "import", url, "--json")[1])["imported"]
    assert told["trials"] == 4 and [line.split(":")[0].split(",")[0] for line in told["left_out"]] == [
        "the user attributes of trial 1", "the user attributes of trial 2", *(f"trial {n}" for n in range(4, 9))
    ]  # fmt: skip
    assert told["left_out"][2] == "trial 4, x drew 1e+200; expected a number between -1e100 and 1e100"
    with contextlib.closing(open_database(path, readonly=True)) as db:
        assert not [row for table in TABLES for row in unreadable_of(db, table)]
    assert len(fts.load(path).optuna("odd").trials) == 4 and len(fts.load(path).epochs.records()) == 2
    optuna.create_study(storage=url, study_name="none").add_trial(add("x", 1e200))
    assert "has no trial that can be recorded here" in command(path, capsys, "import", url, "--study", "none")[2]


def tables_of(path: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


def test_large_whole_numbers_keep_their_digits_beside_missing_values() -> None:
    """pandas made floats of them: a seed of 63 bits, kept as an attribute, was another one when one trial lacked it."""
    seed = 2**62 + 1
    rows = [{"seed": seed, "mixed": seed, "few": 1}, {"seed": None, "mixed": 0.5, "few": None}]
    table = Table(lambda: rows)()
    assert (table["seed"][0], table["seed"].count(), table["mixed"].tolist()) == (seed, 1, [seed, 0.5])
    assert table["few"].dtype == float
    pivot = Pivot(lambda: [{"size": "S", "a": seed, "b": 1.5}, {"size": "M", "a": None, "b": None}])()
    assert pivot["a"]["S"] == seed and pivot["b"].dtype == float
