"""A script has its own search with Optuna. fts names its other settings, and refuses another direction."""

from __future__ import annotations

import ast
import contextlib
import re
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from fts.jobs import functions, objective_file
from fts.jobs.api.function import FunctionCell
from fts.jobs.api.spec import BadSpec
from fts.jobs.objective_file import BadObjective
from fts.jobs.own_search import not_taken_over, own_search, refuse_other_direction, search_at_import
from fts.jobs.unused_names import unread
from tests.fts_process import Study
from tests.trial.test_function import ran

HEAD = """
    import optuna
    N = 7
    def objective(trial):
        x, y = trial.suggest_float("x", -5, 5), 1.0
        return x, y
    def other(trial):
        return 1.0
    def rule(trial):
        return (trial.params["x"],)
"""
GUARD = '    if __name__ == "__main__":\n'
READS = "and fts does not read them; here they are"


def cell_of(folder: Path, body: str, head: str = HEAD, **fields: object) -> FunctionCell:
    body = textwrap.indent(textwrap.dedent(body).strip(), " " * 8)
    (folder / "train.py").write_text(textwrap.dedent(head + GUARD + body))
    return functions.cells("train.py:objective", folder, 20, **fields)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("optuna.create_study(direction='maximize').optimize(objective, n_trials=N)", "--direction maximize, as there"),
        ("optuna.create_study(direction=optuna.study.StudyDirection.MAXIMIZE).optimize(objective)", "maximizes"),
        ("study = optuna.create_study(directions=['minimize', 'maximize'])\nstudy.optimize(lambda t: objective(t))",
         "line 12 makes a study with 2 goals; add --goal x=minimize --goal y=maximize"),
        ("first = optuna.create_study(direction='maximize')\nfirst.optimize(other)\nsecond = optuna.create_study()\n"
         "second.optimize(objective)", None),
        ("study = optuna.create_study(direction=choose())\nstudy.optimize(objective)", None),
        ("first, second = optuna.create_study(direction='maximize'), optuna.create_study()", None),
    ],
)  # fmt: skip
def test_a_search_in_the_other_direction_is_refused_unless_an_option_names_it(
    tmp_path: Path, body: str, said: str | None
) -> None:
    cell = cell_of(tmp_path, body)
    refuse_other_direction(cell, {"direction"})
    with pytest.raises(BadSpec, match=said) if said else contextlib.nullcontext():
        refuse_other_direction(cell, ())


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("optuna.create_study().optimize(objective, n_trials=20)", []),
        ("study = optuna.create_study()\nstudy.optimize(objective, n_trials=5)\nstudy.optimize(objective, 9)", []),
        ("study: object = optuna.create_study()\nstudy.optimize(objective, N, timeout=60, n_jobs=2)",
         [f"{READS} --trials 7 --timeout 60s --parallel 2"]),
        ("from optuna.pruners import NopPruner\n"
         "study = optuna.create_study(sampler=optuna.samplers.NSGAIISampler(seed=1), pruner=NopPruner())\n"
         "study.enqueue_trial({'x': 2.0})\nstudy.enqueue_trial({'x': 3.0})\nstudy.optimize(objective)",
         [f"{READS} --sampler nsgaii --pruner none --warm-start x=2.0 --warm-start x=3.0"]),
        ("study = optuna.create_study()\nstudy.enqueue_trial({'k': 'a b', 'x': 1})\nstudy.enqueue_trial({'k': 'a,b'})\n"
         "study.enqueue_trial({'k': '1'})\nstudy.enqueue_trial({'k': None})\nstudy.optimize(objective)",
         [f"{READS} --warm-start 'k=a b,x=1' --warm-start '{{\"k\": \"a,b\"}}' --warm-start '{{\"k\": \"1\"}}' "
          "--warm-start k=None"]),
        ("study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_warmup_steps=5))\n"
         "study.optimize(objective, callbacks=[print])",
         ["no counterpart here: callbacks, n_warmup_steps of MedianPruner"]),
        ("sampler = Annealing()\nstudy = optuna.create_study(sampler=sampler)\nstudy.optimize(objective, callbacks=[])",
         ["no counterpart here: Annealing"]),
        ("sampler = optuna.samplers.TPESampler(constraints_func=rule)\n"
         "study = optuna.create_study(sampler=sampler)\nstudy.optimize(objective)",
         ['line 12: constraints_func is not called here; call trial.set_constraint("NAME", VALUE) in objective']),
    ],
)  # fmt: skip
def test_what_the_script_sets_and_the_cell_does_not_have_is_said(tmp_path: Path, body: str, said: list[str]) -> None:
    found = not_taken_over([cell_of(tmp_path, body)], ())
    assert len(found) == len(said), found
    assert all(part in sentence for part, sentence in zip(said, found, strict=True)), found


def test_what_an_option_names_is_not_said_and_a_study_file_hears_only_of_its_direction(tmp_path: Path) -> None:
    body = "study = optuna.create_study(direction='maximize')\nstudy.optimize(objective, n_trials=5, callbacks=[print])"
    cell = cell_of(tmp_path, body)
    (other,) = not_taken_over([cell], {"trials"})
    assert "callbacks" in other
    (direction,) = not_taken_over([cell], None)
    assert direction == "train.py line 12 makes a study that maximizes, and this one minimizes value"
    constrained = HEAD.replace("return x, y", 'trial.set_user_attr("constraint", (x,))\n        return x, y')
    body = "s = optuna.create_study(sampler=optuna.samplers.TPESampler(constraints_func=rule))\ns.optimize(objective)"
    assert not_taken_over([cell_of(tmp_path, body, constrained)], ()) == []


def test_a_global_that_the_objective_changes_is_said(tmp_path: Path) -> None:
    head = HEAD.replace(
        "def objective(trial):", "def keep():\n        global best\n        best = 1\n    def objective(trial):"
    )
    assert not_taken_over([cell_of(tmp_path, "pass", head)], ()) == []  # nothing calls it
    called = cell_of(tmp_path, "pass", head.replace("return x, y", "keep()\n        return x"))
    (said,) = not_taken_over([called], ())
    assert said.startswith("train.py line 5 changes the global best; no later trial sees that")
    assert not_taken_over([replace(called, process="reused")], ()) == []
    at_import = head.replace("def objective", "keep()\n    def objective").replace("return x", "return best, x")
    assert not_taken_over([cell_of(tmp_path, "pass", at_import)], ()) == [], "each trial does it anew"


def test_check_and_enqueue_say_so_and_write_nothing_in_another_direction(tmp_path: Path) -> None:
    study = Study(tmp_path / "study")
    cell_of(study.folder, "optuna.create_study(direction='maximize').optimize(objective, n_trials=N)")
    for word in ("check", "enqueue"):
        refused = study.fts(word, "train.py:objective")
        assert refused.code == 2 and refused.err.startswith("fts: train.py line 12 makes a study that maximizes")
        assert refused.err.count("\n") == 1 and not (study.folder / "outputs").exists()
    said = study.fts("enqueue", "train.py:objective", "--direction", "maximize")
    assert said.code == 0 and f"{READS} --trials 7" in said.err


@pytest.mark.parametrize(
    "last",
    [
        "study = optuna.create_study()\nstudy.optimize(objective, n_trials=3)",
        "for n in range(2):\n    optuna.create_study().optimize(objective, n_trials=3)",
        "study = optuna.load_study(study_name='a', storage=None)\nwith open('x'):\n    study.optimize(objective)",
    ],
)
def test_a_search_at_the_top_level_is_refused_before_a_job_is_written(tmp_path: Path, last: str) -> None:
    (tmp_path / "train.py").write_text(f"import optuna\ndef objective(trial):\n    return 1.0\n{last}\n")
    with pytest.raises(BadObjective, match="runs a whole search when the file is imported"):
        objective_file.inspect("train.py:objective", tmp_path)


def test_a_file_that_nests_deeply_is_read(tmp_path: Path) -> None:
    deep = "sum = " + " + ".join(["1"] * 2000) + "\nframe = frame" + ".drop()" * 500 + "\n"
    (tmp_path / "train.py").write_text(deep + "def objective(trial):\n    return 1.0\n")
    (cell,) = functions.cells("train.py:objective", tmp_path, 20)
    assert not_taken_over([cell], ()) == []


def test_only_what_an_import_runs_is_a_search_at_import_and_options_in_a_dict_are_unknown() -> None:
    search = "    study = optuna.create_study(**options)\n    study.optimize(objective)\n"
    asked = f'if __name__ == "__main__" and len(sys.argv) > 1:\n{search}'
    long = f"TEXT = {' + '.join(['x'] * 900)}\n"
    assert search_at_import((long + asked).encode()) is None
    assert search_at_import((long + asked + "else:\n" + search).encode()) == 7
    own = own_search(ast.parse(asked), "objective")
    assert own is not None and own.directions == ()


@pytest.mark.parametrize("head", [b"", b"\xef\xbb\xbf", "# coding: latin-1\nX = 'Größe'\n".encode("latin-1")])
def test_an_axis_that_the_file_does_not_read_is_said_in_every_encoding(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "train.py").write_bytes(head + b"def objective(trial): return 1.0\n")
    made = functions.cells("train.py:objective", tmp_path, 3, axes={"size": ["S", "M"]})
    assert [one[:36] for one in unread(made)] == ["train.py does not read the axis size"]


def test_a_search_at_import_that_the_text_does_not_show_ends_the_trial_and_one_in_the_function_does_not(
    tmp_path: Path,
) -> None:
    inner = "optuna.create_study().optimize(lambda trial: trial.suggest_float('a', 0, 1), n_trials=2)"
    body = f"import optuna\ndef main():\n    {inner}\ndef objective(trial):\n    main()\n    return 1.0\n"
    assert ran(tmp_path, body).end["value"] == 1.0
    objective_file.inspect("train.py:objective", tmp_path)
    end = ran(tmp_path, body + "main()\n").end
    assert (end["fact"], end["lasting"]) == ("failed", True)
    assert end["message"].startswith("train.py runs a whole search when it is imported")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("wandb.agent(wandb.sweep({}), train, count=5)", "line 4 runs train with W&B, which gives it its parameters"),
        ("tune.Tuner(tune.with_resources(train, {}), param_space={}).fit()", "line 4 runs train with Ray Tune"),
        ("wandb.agent(wandb.sweep({}), function=other)", "would get a trial as its first argument config"),
    ],
)
def test_a_function_that_another_tuner_calls_gets_a_function_around_it(tmp_path: Path, call: str, said: str) -> None:
    path = tmp_path / "train.py"
    path.write_text(f"def train(config=None):\n    return config['lr']\nif __name__ == '__main__':\n    {call}\n")
    with pytest.raises(BadObjective, match=said):
        functions.cells("train.py:train", tmp_path, 20)
    path.write_text(path.read_text().replace("=None", ""))
    wanted = re.escape("`def run(lr, n): return train({'lr': lr, 'n': n})`")
    space = {"lr": {"kind": "float", "low": 0.0, "high": 1.0}, "n": {"kind": "int", "low": 1, "high": 4}}
    with pytest.raises(BadObjective, match=wanted):
        functions.cells("train.py:train", tmp_path, 20, space=space)
