"""What a function is given, what it may return, and the one sentence for everything that goes wrong."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fts.jobs import axis_words, functions, objective_file
from fts.jobs.api.spec import BadSpec
from fts.jobs.python import python
from fts.jobs.search.past_trial import PastTrial
from fts.jobs.study_file import warm
from fts.jobs.supervisor.attempt import MOST_IN_A_LINE, SPECIFICATION, RunningAttempt
from fts.jobs.supervisor.child import TrialProcess
from fts.jobs.trial.arguments import bind
from fts.jobs.trial.process import Commands
from fts.jobs.trial.running import RunningTrial
from fts.jobs.trial.signature import BadFunction
from fts.jobs.unused_names import unread
from fts.state.values import HUGE
from tests.trial.harness import Record, cell_of, log_of, run_one, spec_of

CHOICE = {"lr": {"kind": "choice", "choices": ["a"]}}
SPACE = {"lr": {"kind": "float", "low": 0.0, "high": 1.0}, "layers": {"kind": "int", "low": 1, "high": 3}}
PARAMS = {"lr": 0.5, "layers": 2}


def ran(folder: Path, body: str, params: dict[str, Any] | None = None, **fields: Any) -> Record:
    cell = cell_of(folder, body, **fields)
    return run_one(cell, params=params or {})


WORDS = (
    "import argparse, sys\nwords = argparse.ArgumentParser()\nwords.add_argument('--lr', default=3.0)\n"
    "given = words.parse_args()\n"
)
HIDES = "def hides(f):\n    def g(*args, **kwargs): return f(*args, **kwargs)\n    return g\n"
GIVEN = [
    ("def objective(trial): return trial.number", {}, {}, 0),
    ("def objective(t): return t.suggest_int('k', 5, 5)", {}, {}, 5),
    ("def objective(trial, size, data='x'): return len(size + data)", {"axes": {"size": "XL"}}, {}, 3),
    ("def objective(trial, size, /, *, n=1): return size + n", {"axes": {"size": 4}}, {}, 5),
    ("import fts\ndef objective(trial): return fts.cell(trial)['size']", {"axes": {"size": 4}}, {}, 4),
    ("def objective(size): return size", {"axes": {"size": 4}}, {}, 4),
    ("def objective(seed): return seed < 2**31", {}, {}, 1),
    ("def objective(*args): return args[0].number", {}, {}, 0),
    ("def objective(n='a', lr=1): return lr if n == 'a' else 9", {"axes": {"lr": 4}}, {}, 4),  # no trial for a default
    ("def objective(n=3): return n", {}, {}, 3),
    ("import optuna\ndef objective(t=optuna.trial.FixedTrial({'k': 1})): return t.suggest_int('k', 5, 5)", {}, {}, 5),
    ("def objective(n=3, lr=1, /): return n * lr", {"axes": {"lr": 4}}, {}, 12),  # not lr for n
    ("def objective(*, n=3, lr=1): return n * lr", {"axes": {"lr": 4}}, {}, 12),
    ("def objective(**given): return given['lr']", {"axes": {"lr": 4}}, {}, 4),
    (
        "import functools\ndef f(n, lr): return n * lr\nobjective = functools.partial(f, n=3)",
        {"axes": {"lr": 4}},
        {},
        12,
    ),
    (HIDES + "@hides\ndef objective(lr, n=3): return n * lr", {"axes": {"lr": 4}}, {}, 12),
    (HIDES.replace("**kwargs", "") + "@hides\ndef objective(lr, n=3): return n * lr", {"axes": {"lr": 4}}, {}, 12),
    ("def objective(lr, layers): return lr + layers", {"space": SPACE}, PARAMS, 2.5),
    ("def objective(lr, layers, seed=None): return seed < 2**31", {"space": SPACE}, PARAMS, 1),
    ("def objective(**given): return given['lr'] + given['size']", {"space": SPACE, "axes": {"size": 1}}, PARAMS, 1.5),
    ("def objective(trial): return trial.suggest_float('lr', 0, 1)", {"space": SPACE}, PARAMS, 0.5),
    ("def objective(trial): return {'a': 1, 'b': 2}", {"metric": "b"}, {}, 2),
    ("def objective(trial): return [3.5]", {}, {}, 3.5),
    ("def objective(trial): trial.report(4, 0); trial.report(2, 1)", {}, {}, 2),
    ("import sys\ndef objective(trial): return len(sys.stdin.read())", {}, {}, 0),
    (WORDS + "def objective(trial): return given.lr * (sys.argv == [__file__])", {}, {}, 3),
    (HIDES + "@hides\ndef objective(trial, size): return trial.number + size", {"axes": {"size": 4}}, {}, 4),
    ("import numpy as np\ndef objective(trial): return np.float32(1.5)", {}, {}, 1.5),
    ("from pathlib import Path\ndef objective(trial): return Path('train.py').exists()", {}, {}, 1),
    ("def objective(trial): return __name__ == 'train'", {}, {}, 1),
]


@pytest.mark.parametrize(("body", "fields", "params", "value"), GIVEN)
def test_a_function_gets_what_it_asks_for_by_name(
    tmp_path: Path, body: str, fields: dict[str, Any], params: dict[str, Any], value: float
) -> None:
    record = ran(tmp_path, body, params, **fields)
    assert record.end["fact"] == "result", record.end
    assert (record.end["value"], record.end["reason"], record.code) == (value, "finished", 0)


def test_the_last_report_and_the_best_are_those_of_the_first_goal(tmp_path: Path) -> None:
    bare = "def objective(trial):\n    for n, loss in enumerate((4, 1, 2)): trial.report(loss, n)\n    return 9"
    end = ran(tmp_path, bare).end
    assert (end["value"], end["last_value"], end["best_epoch"]) == (9, 2, 1)
    named = "import fts\ndef objective(trial):\n    fts.report(trial, 0, a=4, b=1)\n    return 9, 8"
    goals = {"a": "minimize", "b": "minimize"}
    ends = [ran(tmp_path, named, metric="a", goals=goals, prune_by=one).end for one in ("a", "b")]
    assert [end["last_value"] for end in ends] == [4, 4]


def test_what_enqueue_accepts_a_trial_can_call_and_what_the_function_does_not_get_is_said(tmp_path: Path) -> None:
    """Each signature with axes and with a space: refused before anything is queued, or called."""
    size, lr, nothing = {"axes": {"size": [4]}}, {"space": SPACE}, ""
    for signature, fields, refused, said in (
        ("", {}, "takes no trial; write `def objective(trial)`", nothing),
        ("", size, "takes no trial", nothing),
        ("", lr, "takes no trial", nothing),
        ("size", {}, nothing, nothing),  # the first parameter is the trial, whatever its name
        (
            "size",
            size,
            nothing,
            "its 2 trials are the same but for the seeds of random, numpy and torch; write --trials 1",
        ),
        ("size, seed", size, nothing, nothing),
        ("trial", {"axes": {"trial": [4]}}, "gets the trial as trial", nothing),
        ("trial", {"space": {"trial": SPACE["lr"]}}, "gets the trial as trial", nothing),
        ("t", {"axes": {"trial": [4]}}, nothing, "does not read the axis trial"),
        ("trial, **given", size, nothing, "does not read the axis size"),
        ("**given", size | lr, nothing, nothing),
        ("**given", size, nothing, nothing),
        ("n=3, size=1", size, nothing, "its 2 trials are the same but for"),
        ("*, n=3, size, seed", size, nothing, nothing),
        ("n: int, size", size, "needs n, which nothing gives", nothing),
        ("n=None, size=1", size, "would get a trial as its first argument n", nothing),
        ("n: 'Trial | None' = None, size=1", size, nothing, nothing),
        ("sizes=3", size, "takes no size; did you mean sizes?", nothing),
        ("*args", {}, nothing, nothing),
        ("lr, layers", size | lr, "takes no size; it takes lr, layers", nothing),
        ("trial, lr", {}, "needs lr, which nothing gives", nothing),
    ):
        (tmp_path / "train.py").write_text(f"def objective({signature}): return 1.0\n")
        try:
            (cell,) = functions.cells("train.py:objective", tmp_path, 2, **fields)
        except objective_file.BadObjective as error:
            assert refused and refused in str(error), (signature, fields)
            continue
        assert not refused, (signature, fields)
        warnings = unread([cell])
        assert len(warnings) == bool(said) and all(said in one for one in warnings), (signature, warnings)
        end = run_one(cell, params=PARAMS if "space" in fields else {}).end
        assert (end["fact"], end.get("value")) == ("result", 1.0), (signature, fields, end)


def test_arguments_and_values_that_mean_something_else_in_the_code_are_told(tmp_path: Path) -> None:
    """A first argument that is only computed with, first trials of a function that draws nothing, words of Python."""
    (tmp_path / "other.py").write_text("def objective(lr): return lr\n")
    for body, refused in (
        ("return n * 2 + lr", "needs n, which nothing gives"),
        ("return n['lr']", "needs n, which nothing gives"),
        ("return n.suggest_int('k', 1, 2)", ""),
        ("return other(n) * 2", ""),
        ("return exp(n)", ""),  # a function of theirs
        ("return self.sum(n)", ""),
        ("return math.exp(n)", "needs n, which nothing gives"),
        ("n = n.number\n    return n * 2", ""),
    ):
        (tmp_path / "train.py").write_text(f"def objective(n, lr=1):\n    {body}\n")
        with pytest.raises(objective_file.BadObjective, match=refused) if refused else contextlib.nullcontext():
            functions.cells("train.py:objective", tmp_path, 1, axes={"lr": [1]})
    (tmp_path / "train.py").write_text("from other import *\n")
    assert functions.cells("train.py:objective", tmp_path, 1, axes={"lr": [1]}), "it may come from there"
    (tmp_path / "train.py").write_text("def objective(lr): return lr\n")
    with pytest.raises(BadSpec, match="draws none; write them as axes of the cells"):
        warm.started(functions.cells("train.py:objective", tmp_path, 1, axes={"lr": [1]}), [{"lr": 3}], 1)
    name, values = axis_words.parse_axis("\u00b5=True,None,\u0661")
    assert (name, values) == ("\u03bc", ["True", "None", "\u0661"]), "as Python reads the name in code"
    (tmp_path / "train.py").write_text("def objective(\u00b5): return 1.0\n")
    words = unread(functions.cells("train.py:objective", tmp_path, 1, axes={name: values}))
    assert [one.partition(",")[0] for one in words] == [
        "the axis \u03bc has the text True",
        "the axis \u03bc has the text None",
    ]


WRAPS = "import functools\ndef gives(f):\n    @functools.wraps(f)\n    def g({}): return f({})\n    return g\n@gives\n"
NAMES = HIDES.replace("**kwargs", "") + "@hides\n"


def test_a_decorated_function_gets_what_its_decorator_takes(tmp_path: Path) -> None:
    """What a decorator gives is not refused before a trial runs; values never go to another argument."""
    draws, lr = "t.suggest_int('k', 4, 4)", {"lr": [4]}
    for body, axes, said, value in (
        ("def gives(f): return lambda t: f({'k': 3})\n@gives\ndef objective(c): return c['k']", {}, "", 3),
        (WRAPS.format("t", draws) + "def objective(lr): return lr * 2", {}, "", 8),
        (WRAPS.format("t", "t, 3") + f"def objective(t, data): return data * {draws}", {}, "needs data", 12),
        (WRAPS.format("*a, **b", "*a, data=3, **b") + f"def objective(t, data): return data + {draws}", {}, "data", 7),
        (WRAPS.format("*a", "a[0].number + 5") + "def objective(t): return t", {}, "", 5),  # by place
        ("import functools\n@functools.singledispatch\ndef objective(t): return t.number", {}, "", 0),
        ("import functools\n@functools.lru_cache\ndef objective(lr): return lr", lr, "", 4),
        (NAMES + "def objective(lr=1, n=3): return lr * n", lr, "", 12),
        (NAMES + "def objective(n=3, lr=1): return lr * n", lr, "", 12),
        ("def f(t, seed, n): return n\nfrom functools import partial\nobjective = partial(f, seed=7, n=3)", {},
         "objective is a partial that gives seed, but each trial gets its own seed", 3),
    ):  # fmt: skip
        (tmp_path / "train.py").write_text(body)
        (cell,) = functions.cells("train.py:objective", tmp_path, 1, axes=axes)
        warnings = unread([cell])
        assert len(warnings) == bool(said) and all(said in one for one in warnings), (body, warnings)
        end = run_one(cell).end
        assert end.get("value") == value or str(value) in end.get("message", ""), (body, end)
    (tmp_path / "train.py").write_text(NAMES + "def objective(lr): return lr")
    (cell,) = functions.cells("train.py:objective", tmp_path, 1, axes=lr)
    assert "takes no size" in run_one(replace(cell, axes=cell.axes | {"size": 3})).end["message"]


PASSES = """
import functools
def passes(f):
    def g({takes}): return f({takes})
    return {returns}
"""
WITH_WRAPS = "functools.wraps(f)(g)"
TAKES = {  # what a wrapper takes -> what cannot be passed through it
    "*args": {"*, lr", "trial, *, size", "size, **rest"},
    "**kwargs": {"lr, /", "trial, /, size"},
    "*args, **kwargs": set(),
    "first, *args": {"*, lr", "trial, *, size", "size, **rest"},
}
PASSED = {  # the parameters of an objective -> the fields of its cell, what the objective returns, its value
    "trial": ({}, "trial.number", 0),
    "trial, size": ({"axes": {"size": 4}}, "trial.number + size", 4),
    "size, trial": ({"axes": {"size": 4}}, "trial.number + size", 4),
    "trial, *, size": ({"axes": {"size": 4}}, "trial.number + size", 4),
    "trial, /, size": ({"axes": {"size": 4}}, "trial.number + size", 4),
    "trial, n=(1, 2), size=3": ({"axes": {"size": 4}}, "trial.number + size * n[1]", 8),
    "lr, /": ({"axes": {"lr": 4}}, "lr", 4),
    "*, lr": ({"axes": {"lr": 4}}, "lr", 4),
    "lr, seed": ({"axes": {"lr": 4}}, "lr + 0 * seed", 4),
    "size, **rest": ({"axes": {"size": 4, "other": 5}}, "size + rest['other']", 9),
    "lr, layers": ({"space": SPACE}, "lr + layers", 2.5),
    "lr, trial, layers": ({"space": SPACE}, "lr + layers + trial.number", 2.5),
    "lr, layers, momentum": (
        {"space": SPACE | {"momentum": {"kind": "choice", "choices": [1]}}},
        "momentum is None",
        1,
    ),
}


@pytest.fixture(scope="module")
def orders() -> Iterator[Commands]:
    """Those of a trial to which its supervisor sends none."""
    reads, writes = os.pipe()
    yield Commands(reads)
    (thread,) = (one for one in threading.enumerate() if one.name == "orders")
    os.close(writes)  # it ends
    thread.join()
    os.close(reads)


def called(orders: Commands, folder: Path, body: str, params: dict[str, Any] | None = None, **fields: Any) -> Any:
    """What the objective returns to a call with a trial's arguments, in this process; or a sentence."""
    spec = spec_of(cell_of(folder, body, **fields), Record(0), (), params=params or {})
    names: dict[str, Any] = {}
    exec(compile(body, "train.py", "exec"), names)
    try:
        return bind(names["objective"], RunningTrial(spec, orders), body.encode())[1]()
    except BadFunction as error:
        return str(error)


@pytest.mark.parametrize("takes", TAKES)
@pytest.mark.parametrize("returns", ["g", WITH_WRAPS])
def test_values_go_the_way_that_a_wrapper_can_take_them(
    orders: Commands, tmp_path: Path, takes: str, returns: str
) -> None:
    """By position through `*args` alone, by name through `**kwargs` alone; where neither works, one sentence."""
    wrapper = PASSES.format(takes=takes, returns=returns)
    for parameters, (fields, returned, value) in PASSED.items():
        if takes.startswith("first") and parameters.startswith("*"):
            continue
        body = f"{wrapper}@passes\ndef objective({parameters}): return {returned}\n"
        found = called(orders, tmp_path, body, PARAMS if "space" in fields else {}, **fields)
        if parameters in TAKES[takes]:
            assert "; its decorator needs *" in found, parameters
        else:
            assert found == value, parameters


def test_values_go_through_every_wrapper(orders: Commands, tmp_path: Path) -> None:
    """Also those that are classes, wrap a method, stand between others, are called by hand, or give a value."""
    args, names = PASSES.format(takes="*args", returns=WITH_WRAPS), PASSES.format(takes="**kwargs", returns="g")
    both = PASSES.format(takes="*args, **kwargs", returns=WITH_WRAPS).replace("passes", "both")
    run = "def objective(trial, size): return trial.number + size\n"
    own = "def own(f): return lambda *args, **kwargs: f(*args) + kwargs['size']\n"
    for body in (
        both + args + "@both\n@passes\n" + run,
        both + names + "@both\n@passes\n" + run,
        both + names + "@passes\n@both\n" + run,
        "class Has:\n    def __init__(self, f): self.f = f\n    def __call__(self, **names): return self.f(**names)\n"
        "@Has\n" + run,
        args + "class Model:\n    @passes\n    " + run.replace("(", "(self, ", 1) + "objective = Model().objective",
        args + "class Model:\n    @passes\n    def __call__(self, trial, size): return size\nobjective = Model()",
        args + "@passes\ndef f(n, trial, size): return n * size\nobjective = functools.partial(f, 1)",
        args.replace(WITH_WRAPS, "g") + run + "objective = passes(objective)\n",
        names + run.replace("objective", "train") + "objective = passes(train)\n",
        "def gives(f): return lambda *args: f(args[0], 1, *args[1:])\n"
        "@gives\ndef objective(trial, n, size): return n * size",
        "def named(f): return lambda trial, **names: f(trial, **names)\n@named\n" + run,
        "def hides(f): return lambda *args, quiet=True, **names: f(*args, **names)\n@hides\n" + run,
        own + "@own\ndef objective(trial): return trial.number",
        own.replace(" + kwargs['size']", "") + "import fts\n@own\ndef objective(trial): return trial.number + 4",
    ):
        assert called(orders, tmp_path, body, axes={"size": 4}) == 4, body
    hidden = args.replace("*args", "*args, **rest").replace(WITH_WRAPS, "g") + "@passes\n"
    for seed, body, fields in (  # what a search that has begun gives is given to its end
        (1, "def objective(size, seed=0): return seed > 0", {}),
        (0, "def objective(trial, size, seed=0): return seed", {}),
        (0, "def objective(size, seed=0): return seed", {"space": {}}),
    ):
        assert called(orders, tmp_path, hidden + body, axes={"size": 4}, **fields) == seed, body
    unread = args.replace(WITH_WRAPS, "g") + "@passes\ndef objective(trial, k=passes, size=1): return size"
    found = called(orders, tmp_path, unread, axes={"size": 4})
    assert found == "objective gets size by position; its decorator needs **kwargs, too"


def test_axes_of_a_script_are_checked_as_those_of_a_command(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("def objective(x): return x\n")
    for axes, refused in (
        ({"x": "SML"}, "the axis x is 'SML', expected a list of values"),  # not three cells
        ({"x": 3}, "the axis x is 3, expected a list of values"),
        ({"x": []}, "the axis x has no values"),
        ({"x": [1, 1.0]}, "the axis x names a value twice"),
        ({"x": [None]}, "x is None, expected text or a number"),
        ({"x": [float("nan")]}, "x is nan, expected text or a number"),
        ({"x": [" a"]}, "x is ' a', expected 1 to 200 printable characters"),
        ({3: [1]}, "an axis is called 3, expected a name"),
        (["x"], "the axes are .'x'., expected a dict"),
    ):
        with pytest.raises(BadSpec, match=refused):
            functions.cells("train.py:objective", tmp_path, 1, axes=axes)  # type: ignore[arg-type]
    cells = functions.cells("train.py:objective", tmp_path, 1, axes={"x": np.array([1, 2])})
    assert [type(cell.axes["x"]) for cell in cells] == [int, int]


WRONG = [
    ("def other(trial): return 1", {}, "train.py has no objective; it has other"),
    ("objective = 3", {}, "objective in train.py is int, expected a function"),
    ("def objective(): return 1", {}, "study declares no space (train.py line 1); write def f(trial)"),
    ("class Model:\n    def run(self, trial): return 1\nobjective = Model.run", {},
     "objective is a method of Model (train.py line 2); write `objective = Model().run`"),
    ("objective = max", {}, "objective does not tell which arguments it takes (train.py); write a def"),
    ("def objective(trial, size): return 1", {},
     "size, which is neither an axis of the cell (none) nor a parameter of the space (none) (train.py line 1)"),
    ("def objective(trial): return trial.suggest_float('lr', 0, 0.4)", {"space": SPACE},
     "lr is 0.5 as the study declares it, and train.py suggests 0.0..0.4; make the two equal"),
    ("def objective(trial): return trial.suggest_int('lr', 0, 4)", {"space": SPACE},
     "lr is 0.5 as the study declares it, and train.py suggests int 0..4; make the two equal"),
    ("def objective(trial): return trial.suggest_float('lr', 0, 0.8, step=0.2)", {"warm_start": (PARAMS,)},
     "lr is 0.5 in the warm start, and train.py suggests 0.0..0.8, step 0.2; make the two agree"),
    ("def objective(trial): return trial.suggest_int('lr', 0, 4)", {"space": CHOICE},
     "lr is 'a' as the study declares it"),
    ("def objective(trial): return trial.suggest_float('lr', 0, 0.4)", {"warm_start": (PARAMS,)},
     "lr is 0.5 in the warm start, and train.py suggests 0.0..0.4; make the two agree"),
    ("def objective(trial): return trial.suggest_categorical('lr', ['a', 8])", {"warm_start": (PARAMS,)},
     "lr is 0.5 in the warm start, and train.py suggests 'a', 8; make the two agree"),
    ("def objective(trial): return trial.suggest_categorical('lr', ['b', 8])", {"space": CHOICE},
     "lr is 'a' as the study declares it, and train.py suggests 'b', 8; make the two equal"),
    ("def objective(lr): return 1", {"space": SPACE}, "objective takes no layers (train.py line 1); add it"),
    ("async def objective(trial): return 1", {}, "objective in train.py is async or a generator"),
    ("def objective(trial): pass", {},
     "objective returned None and reported nothing (train.py line 1); return a number or call report"),
    ("def objective(trial): return 'good'", {}, "what objective returned is 'good' of type str, expected a number"),
    ("def objective(trial): return 1, 2", {}, "objective returned 2 values, expected one number"),
    ("def objective(trial): return {'a': 1}", {"metric": "b"}, "the metrics are a, expected b among them"),
    ("def objective(trial): return {'a': 'x'}", {}, "the metric a is 'x' of type str, expected a number"),
    ("import sys\ndef objective(trial):\n    sys.exit(3)", {}, "objective called sys.exit(3) (train.py line 3)"),
    ("from argparse import *\nread = ArgumentParser()\nread.add_argument('data')\ndef objective(trial):\n"
     "    read.parse_args()", {}, "(train.py line 5); a trial has no command line: give every argument a default"),
    ("def objective(trial):\n    return float(input())", {}, "(EOFError, train.py line 2); a trial has no keyboard: "),
    ("def objective(trial):\n    return 1 / 0", {}, "division by zero (ZeroDivisionError, train.py line 2)"),
    ("def objective(trial): return rate\nif __name__ == '__main__':\n    rate = 1", {},
     "(NameError, train.py line 1); line 3 makes rate under `if __name__ == \"__main__\":`, which a trial does not"),
    ("import pandas\ndef objective(trial): pandas.DataFrame().to_csv('none/a.csv')", {},
     "non-existent directory: 'none' (OSError, train.py line 2); the trial runs in /"),
    ("def objective(trial): return trial.system_attrs['a']", {},
     "(AttributeError, train.py line 1); Optuna has removed trial.system_attrs, and the code was written for an older"),
    ("def objective(trial:\n    return 1", {}, "(SyntaxError, train.py line 1)"),
    ("import no_such_package\ndef objective(trial): return 1", {}, "No module named 'no_such_package'"),
    ("def objective(trial): trial.report('x', 0)", {}, "(TypeError, train.py line 1)"),
    ("def objective(trial): trial.report(1, -1)", {}, "(ValueError, train.py line 1)"),
    ("def objective(trial):\n    trial.report(1, 10**12)", {}, "the step is 1000000000000, expected at most "),
    ("def objective(trial): return trial.suggest_float('x', 1, 0)", {}, "(ValueError, train.py line 1)"),
    ("def objective(trial): trial.suggest_categorical('m', [len])", {}, "m has the choice <built-in function len>"),
    ("class E(Exception):\n    __str__ = None\ndef objective(trial): raise E", {}, "no message (E, train.py line 3)"),
    ("import fts\ndef objective(trial): fts.report(trial, 0)", {}, "the report of step 0 has no metric"),
    ("import fts\ndef objective(trial): fts.checkpoint(trial).save({'a': {'b': len}})", {}, "['a']['b'] is a "),
]  # fmt: skip


@pytest.mark.parametrize(("body", "fields", "sentence"), WRONG)
def test_every_mistake_is_one_sentence_with_its_place(
    tmp_path: Path, body: str, fields: dict[str, Any], sentence: str
) -> None:
    params = {} if not fields.keys() & {"space", "warm_start"} else {"lr": "a"} if CHOICE in fields.values() else PARAMS
    record = ran(tmp_path, body, params, **fields)
    assert record.end["fact"] == "failed"
    assert sentence in record.end["message"] and "\n" not in record.end["message"]
    assert "train.py" in record.end["message"]
    assert record.end["cause"] == ("machine error" if "no_such" in body else "code error")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    cell = cell_of(tmp_path, "")
    cell.path.unlink()
    record = run_one(cell)
    assert record.end["message"] == f"{cell.path} does not exist; restore it or enqueue the study again"


@pytest.mark.parametrize("returned", ["float('nan')", "float('inf')", "{'loss': float('nan')}"])
def test_a_value_that_is_no_number_is_a_diverged_trial(tmp_path: Path, returned: str) -> None:
    end = ran(tmp_path, f"def objective(trial): return {returned}").end
    assert (end["fact"], end["value"], end["reason"]) == ("result", None, "diverged")


def test_a_step_that_is_reported_again_is_ignored_and_said_once_with_its_place(tmp_path: Path) -> None:
    body = "def objective(trial):\n    for step in (1, 3, 3, 2, 1): trial.report(step / 2, step)"
    cell = cell_of(tmp_path, body)
    record = run_one(cell)
    assert record.curve == {1: 0.5, 2: 1.0, 3: 1.5}
    said = "step 3 was reported before: 1.5 is ignored, only the first value counts (train.py line 2)"
    log = log_of(cell)
    assert log.count(said) == 1 and "UserWarning" not in log


def test_a_trial_that_prunes_itself_is_pruned(tmp_path: Path) -> None:
    body = "import optuna\ndef objective(trial):\n    raise optuna.TrialPruned()"
    assert ran(tmp_path, body).end["fact"] == "pruned"


def test_unseeded_random_numbers_repeat_and_differ_between_trials(tmp_path: Path) -> None:
    body = "import random, numpy\ndef objective(trial): return random.random() + numpy.random.random()"
    cell = cell_of(tmp_path, body)
    values = [run_one(cell, n).end["value"] for n in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


def test_data_that_the_file_draws_at_import_are_the_same_in_every_trial_and_process(tmp_path: Path) -> None:
    body = "import random, numpy\nDATA = random.random() + numpy.random.random()\ndef objective(trial): return DATA"
    cell = cell_of(tmp_path, body)
    values = [run_one(cell, 0).end["value"], run_one(cell, 1).end["value"], run_one(cell, 1, forked=False).end["value"]]
    assert values == [values[0]] * 3
    assert run_one(replace(cell, seed=1)).end["value"] != values[0]


def test_changed_code_is_a_badge_and_attributes_travel(tmp_path: Path) -> None:
    cell = cell_of(
        tmp_path,
        """
        def objective(trial):
            trial.set_user_attr("n", 3)
            trial.set_user_attr("big", "x" * 2**21)
            return 1
        """,
    )
    cell.path.write_text(cell.path.read_text() + "\n")
    record = run_one(cell)
    (started,) = [fact for fact in record.told if fact["fact"] == "started"]
    assert started["badges"] == ["code changed"]
    assert started["code_md5"] == hashlib.md5(cell.path.read_bytes()).hexdigest()
    assert record.end["user_attrs"] == {"n": 3}


NUMPY = """
    import numpy as np
    import fts

    def objective(trial):
        x = trial.suggest_float("x", np.float32(0), np.float64(1))
        n = trial.suggest_int("n", np.int64(1), np.int64(3)) + trial.suggest_categorical("c", list(np.arange(2)))
        fts.report(trial, np.int64(0), loss=np.float32(0.5), acc=np.array(0.25))
        trial.report(np.array(0.5), np.array(1))
        kinds = {"f": np.float32(0.5), "i": np.int64(2), "b": np.bool_(True), "zero": np.array(1.5), "one": np.ones(1)}
        for name, value in kinds.items():
            trial.set_user_attr(name, value)
        trial.set_user_attr(np.str_("inside"), {"a": [np.float32(0.25)], np.int64(1): (np.int64(2),)})
        trial.set_user_attr("large", np.zeros(10**6))
        trial.set_user_attr("object", object())
        trial.set_user_attr("constraint", np.array([0.5, -1]))
        trial.set_constraint("out of reach", np.inf)
        assert isinstance(trial.user_attrs["f"], np.float32), "in the trial it is what the function set"
        return {"loss": np.float32(0.5), "acc": np.array(0.25), "n": np.int64(4), "flag": np.bool_(True)}
    """


def numbers_of_numpy(record: Record) -> None:
    assert record.end["fact"] == "result", record.end
    assert record.end["metrics"] == {"loss": 0.5, "acc": 0.25, "n": 4.0, "flag": 1.0}
    single = {"f": 0.5, "i": 2, "b": True, "zero": 1.5, "one": [1.0]}
    several = {"inside": {"a": [0.25], "1": [2]}, "constraint": [0.5, -1.0]}
    assert record.end["user_attrs"] == single | several
    assert record.end["constraints"] == {"0": 0.5, "1": -1.0, "out of reach": HUGE}, "a fact cannot express inf"
    assert record.curve == {0: 0.5, 1: 0.5}


def test_numbers_of_numpy_are_numbers_wherever_a_function_gives_one(tmp_path: Path) -> None:
    numbers_of_numpy(ran(tmp_path, NUMPY, metric="loss"))
    said = log_of(cell_of(tmp_path, NUMPY, metric="loss"))
    assert "attributes of the trial that are not recorded: 'large', 'object'; expected plain values of at most" in said


def test_an_attribute_of_too_many_levels_takes_no_other_one_with_it(tmp_path: Path) -> None:
    body = """
    def objective(trial):
        deep = []
        for _ in range(60):
            deep = [deep]
        trial.set_user_attr("deep", deep)
        trial.set_user_attr("text", "[" * 100)
        return 0.5
    """
    assert ran(tmp_path, body).end["user_attrs"] == {"text": "[" * 100}
    assert "attributes of the trial that are not recorded: 'deep'" in log_of(cell_of(tmp_path, body))


def test_a_constraint_that_is_no_number_fails_its_trial_alone(tmp_path: Path) -> None:
    body = """
    def objective(trial):
        trial.set_user_attr("constraint", float("nan"))
        return 1.0
    """
    end = ran(tmp_path, body).end
    assert (end["fact"], end["cause"]) == ("failed", "code error")
    assert end["message"].startswith("the constraint 0 is nan, expected a number"), end


TORCH = """
    import torch

    def objective(trial):
        trial.suggest_float("x", torch.tensor(0.0), torch.tensor(1))
        trial.report(torch.tensor(0.5), torch.tensor(0))
        trial.report(torch.tensor(0.5, requires_grad=True), torch.tensor(0))
        trial.set_user_attr("zero", torch.tensor(1.5, requires_grad=True))
        trial.set_user_attr("inside", [torch.tensor(2), torch.ones(2)])
        trial.set_user_attr("constraint", torch.tensor([0.5, -1]))
        return {"loss": torch.tensor(0.5, requires_grad=True), "acc": torch.tensor(0.25, dtype=torch.bfloat16)}
    """


def test_numbers_of_torch_too(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    record = ran(tmp_path, TORCH, metric="loss")
    assert record.end["fact"] == "result", record.end
    assert record.end["metrics"] == {"loss": 0.5, "acc": 0.25} and record.curve == {0: 0.5}
    assert record.end["user_attrs"] == {"zero": 1.5, "inside": [2, [1.0, 1.0]], "constraint": [0.5, -1.0]}
    assert record.end["constraints"] == {"0": 0.5, "1": -1.0}


def test_a_draw_is_told_before_its_value_is_used_and_once(tmp_path: Path) -> None:
    body = """
    def objective(trial):
        x = trial.suggest_float("x", 1e-5, 1, log=True)
        assert trial.suggest_float("x", 1e-5, 1, log=True) == x
        trial.report(x, 0)
        return x + trial.suggest_categorical("c", [None, True, 2, 0.5, "s"][2:4])
    """
    record = ran(tmp_path, body)
    assert [fact["fact"] for fact in record.told if fact["fact"] != "step"] == [
        "ready", "started", "draw", "epoch", "draw", "result",
    ]  # fmt: skip
    first, second = record.draws.values()
    assert first["distribution"] == {"kind": "float", "low": 1e-5, "high": 1.0, "log": True, "step": None}
    assert second["distribution"] == {"kind": "choice", "choices": [2, 0.5]}
    assert json.loads(json.dumps(first)) == first


def test_a_link_finds_what_lies_beside_its_file_and_a_name_may_have_dots(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "beside.py").write_text("K = 3")
    (code / "train.v2.py").write_text("from beside import K\ndef objective(trial): return K")
    (tmp_path / "train.py").symlink_to(code / "train.v2.py")
    cell = replace(cell_of(tmp_path / "code", "", "objective"), objective="train.v2.py:objective")
    for one in (cell, replace(cell, objective="train.py:objective", folder=str(tmp_path))):
        assert run_one(one).end["value"] == 3


def test_a_file_with_a_name_of_the_standard_library_hides_nothing(tmp_path: Path) -> None:
    cell = cell_of(tmp_path, "import random\ndef objective(trial): return random.randint(1, 1)")
    (tmp_path / "random.py").write_text("def objective(trial): return 7")
    for objective, value in (("train.py:objective", 1), ("random.py:objective", 7)):
        end = run_one(replace(cell, objective=objective)).end
        assert end["value"] == value, log_of(cell)


def test_a_history_that_no_pipe_holds_travels_as_a_file(tmp_path: Path) -> None:
    cell = cell_of(tmp_path, "def objective(trial): return len(trial.study.trials) + trial.suggest_float('x', 0, 0)")
    of_x = {"x": {"kind": "float", "low": 0.0, "high": 0.0, "log": False, "step": None}}
    history = tuple(PastTrial(n, {"x": 0.0}, "complete", 1.0, {}, False, of_x) for n in range(400))
    spec = spec_of(cell, Record(400), history)
    assert len(json.dumps(spec.to_json())) > MOST_IN_A_LINE
    told: list[dict[str, Any]] = []
    with TrialProcess(python("-m", "fts.jobs.trial.function"), Path(spec.log_path), cwd=tmp_path) as child:
        end = RunningAttempt(child, told.append, lambda: None, poll_s=0.05, grace_s=5.0).run(spec.to_json(), 400)
    assert (end.how, end.facts["value"]) == ("result", 401.0)
    assert not (Path(spec.folder) / SPECIFICATION).exists()


def test_an_interpreter_that_cannot_start_says_why(tmp_path: Path) -> None:
    """It had ended before its log was measured, and the machine failed thirty times without a reason."""
    spec = spec_of(cell_of(tmp_path, "def objective(trial): return 1.0"), Record(0), ())
    log = Path(spec.log_path).with_name("process.log")
    for name, value, told in (
        ("PYTHONHASHSEED", "bad", "1: Fatal Python error: config_init_hash_seed: PYTHONHASHSEED must be"),
        ("PYTHONHOME", "/nonexistent", "1: ModuleNotFoundError: No module named 'encodings'"),
    ):
        with TrialProcess(python("-m", "fts.jobs.trial.function"), log, cwd=tmp_path, env={name: value}) as child:
            assert child.wait(60.0) == 1
            end = RunningAttempt(child, lambda _: None, lambda: None, poll_s=0.05, grace_s=5.0).run(spec.to_json(), 0)
        assert end.facts["cause"] == "machine error" and told in end.facts["message"], end


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("from helper import nothing", "cannot import name 'nothing' from 'helper'"),
        ("from turtle import Pen", "rename turtle.py, which takes the place of Python's own turtle"),
        ("import sys; sys.exit('bye')", "train.py called sys.exit('bye') (train.py line 1); keep it out of what runs"),
        (
            "raise ImportError(\"'TkAgg' requires the 'tk' interactive framework\")",
            "leave matplotlib its backend, which",
        ),
    ],
)
def test_what_breaks_at_import_by_a_file_of_the_persons_own_is_the_codes_fault(
    tmp_path: Path, line: str, said: str
) -> None:
    for name in ("helper", "turtle"):
        (tmp_path / f"{name}.py").write_text("")
    end = run_one(cell_of(tmp_path, f"{line}\ndef objective(trial):\n    return 1.0\n")).end
    assert (end["fact"], end["cause"], end["lasting"]) == ("failed", "code error", True)
    assert said in end["message"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("from optuna.samplers import NoSuch", "or install a version of optuna that has it for "),
        ("from math import nothing", "correct the name, or use a newer Python than "),
        (
            "try:\n    import no_such_part\nexcept ImportError as error:\n"
            "    raise ImportError('some dependencies are missing') from error",
            "some dependencies are missing (ImportError, train.py line 4); install it for ",
        ),
        ("raise ImportError('this needs no_such_part: pip install no_such_part')", "; install it for "),
        ("raise ImportError('libcudart.so.99: cannot open shared object file')", None),
    ],
)
def test_an_import_that_only_an_installation_repairs_is_not_tried_again(
    tmp_path: Path, line: str, said: str | None
) -> None:
    """A library's own ImportError was tried ten times with pauses, four minutes long."""
    end = run_one(cell_of(tmp_path, f"{line}\ndef objective(trial):\n    return 1.0\n")).end
    assert (end["fact"], end["cause"], end["lasting"]) == ("failed", "machine error", said is not None)
    assert said is None or said in end["message"], end


def test_an_optuna_that_is_too_old_is_named_before_the_function_is_called(tmp_path: Path) -> None:
    """Each trial had failed: 'OptunaTrial' object has no attribute 'constraints'."""
    code = "import optuna\noptuna.__version__ = '4.5.0'\ndef objective(trial):\n    return 1.0\n"
    end = run_one(cell_of(tmp_path, code)).end
    assert (end["fact"], end.get("lasting")) == ("failed", True), end
    assert "has optuna 4.5.0, expected 5 or newer: " in end["message"]
