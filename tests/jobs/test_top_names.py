"""What a name of a file is decides before a job is written: what can be called runs, anything else is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from fts.jobs.objective_file import BadObjective, inspect
from tests.trial.test_function import ran

FILE = """
import functools
import random as module

LR = 0.1
GRID = {"a": [1]}
NOTE: str = "text"


class Model:
    def __init__(self, k=1): self.k = k
    def __call__(self, trial): return self.k * trial.suggest_int("n", 2, 2)
    def method(self, trial): return 5
    @staticmethod
    def static(trial): return 6


class Bare:
    pass


class Derived(Bare):
    pass


class Awaited:
    async def __call__(self, trial): return 1


def base(trial, k): return trial.number + k


def inside(trial):
    def steps():
        yield 1
    return sum(steps())


def steps(trial):
    if trial.number:
        yield 1


async def awaited(trial): return 1


def plain(function):
    return functools.wraps(function)(lambda trial: 7)


@plain
async def decorated(trial): return 1


one = Model(k=3)
bound = Model().method
static = Model.static
part = functools.partial(base, k=3)
short: object = lambda trial: 8
alias = base
bare = Bare()
awaiting = Awaited()
late = functools.partial(steps)
derived = Derived()
"""
CALLED = {"one": 6, "bound": 5, "static": 6, "part": 3, "short": 8, "inside": 1, "decorated": 7}
REFUSED = {
    "LR": "LR of FILE is 0.1; name a function",
    "GRID": "GRID of FILE is {'a': [1]}; name a function",
    "NOTE": "NOTE of FILE is 'text'; name a function",
    "module": "module of FILE is a module; name a function",
    "Model": "Model of FILE is a class; write `objective = Model()` below it, with a __call__, and name that",
    "bare": "bare of FILE is an instance of Bare, which has no __call__; name a function",
    "awaiting": "awaiting of FILE is an async function; an objective is a plain one, which may call asyncio.run",
    "awaited": "awaited of FILE is an async function; an objective is a plain one, which may call asyncio.run",
    "steps": "steps of FILE is a generator; an objective returns its number, and reports with trial.report",
    "late": "late of FILE is a generator; an objective returns its number, and reports with trial.report",
    "nothing": "FILE has no function 'nothing'; it has base, inside, steps, awaited, plain, decorated",
    "Model.static": "'train.py:Model.static' names an attribute of a class; write `objective = Model.static` at the "
    "end of train.py and name train.py:objective",
}


@pytest.mark.parametrize(("name", "value"), CALLED.items())
def test_whatever_can_be_called_is_an_objective(tmp_path: Path, name: str, value: float) -> None:
    record = ran(tmp_path, FILE, name=name)
    assert record.end["fact"] == "result", record.end
    assert record.end["value"] == value
    inspect(f"train.py:{name}", tmp_path)


ELSEWHERE = {
    "class M:\n    def __call__(self, trial): return 1\nif __name__ == '__main__':\n    objective = M()": (
        'line 4 makes it under `if __name__ == "__main__":`, which a trial does not run; make it above'
    ),
    "def run(data):\n    def objective(trial): return 1\n": "line 2 defines it inside run; move it to the top level",
    "trial = study.ask()\nstudy.tell(trial, 1.0)": "write what it does between study.ask() and study.tell() as",
    "print(1)": "it has none; to run all of it in each trial, enqueue it as a command: fts enqueue --metric",
}


@pytest.mark.parametrize(("text", "sentence"), ELSEWHERE.items())
def test_a_name_that_is_not_at_the_top_level_is_found(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "train.py").write_text(text)
    with pytest.raises(BadObjective, match="has no function 'objective'") as refused:
        inspect("train.py:objective", tmp_path)
    assert sentence in str(refused.value)


SEVERAL = {  # a file that Python accepts -> the arguments that are known of its objective
    "if found:\n    def objective(trial): return 1\nelse:\n    def objective(t, u): return 2\n": (),
    "try:\n    from fast import objective\nexcept ImportError:\n    objective = None\n": (),
    "with quiet():\n    def objective(trial): return 1\n": ("trial",),
    "match machine:\n    case 'spark':\n        def objective(trial): return 1\n": ("trial",),
    "objective, other = made()\n": (),
    "def objective(data, lr): return lr\nobjective = partial(objective, load())\n": (),
    "if TYPE_CHECKING:\n    from far import objective\ndef objective(trial): return 1\n": ("trial",),
}


RUN = "import sys\ndef run(trial): return 7\n"
CLASS = "class Model: pass\n"
MADE = (  # files of which only running them shows what their objective is; all return 7
    RUN + "globals()['objective'] = run",
    RUN + "globals().update(objective=run)",
    RUN + "for k in (1, 2):\n    vars()['object' + 'ive' * k] = run",
    RUN + "own = locals()\nown['objective'] = run",
    RUN + "setattr(sys.modules[__name__], 'objective', run)",
    RUN + "sys.modules[__name__].objective = run",
    RUN + "import importlib\nimportlib.import_module(__name__).objective = run",
    RUN + "def __getattr__(name):\n    if name == 'objective': return run\n    raise AttributeError(name)",
    RUN + "if (objective := run): pass",
    RUN + "for objective in (run,): pass",
    RUN + "match [run]:\n    case [objective]: pass",
    RUN + "from contextlib import nullcontext\nwith nullcontext(run) as objective: pass",
    RUN + "def makes():\n    global objective\n    objective = run\nmakes()",
    RUN + "objective = None\ndef makes():\n    global objective\n    objective = run\nmakes()",
    RUN + "objective = None\nglobals()['objective'] = run",
    RUN + "def objective(): pass\ndef named(f): globals()['objective'] = f\nnamed(run)",
    "exec('def objective(trial): return 7')",
    "try:\n    from made import *\nexcept ImportError:\n    pass",
    "objective = None\nfrom made import *",
    "@lambda made: made()\nclass objective:\n    def __call__(self, trial): return 7",
    "class objective:\n    def __new__(cls, trial): return 7",
    "class Meta(type):\n    def __call__(cls, trial): return 7\nclass objective(metaclass=Meta): pass",
    "class Maker:\n    def __new__(cls): return lambda trial: 7\nobjective = Maker()",
    CLASS + "Model.__call__ = lambda self, trial: 7\nobjective = Model()",
    CLASS + "setattr(Model, '__call__', lambda self, trial: 7)\nobjective = Model()",
    "class Model:\n    __call__ = lambda self, trial: 7\nobjective = Model()",
    "class Model:\n    if True:\n        def __call__(self, trial): return 7\nobjective = Model()",
)


@pytest.mark.parametrize("text", MADE)
def test_an_objective_that_is_made_at_run_time_is_accepted(tmp_path: Path, text: str) -> None:
    (tmp_path / "made.py").write_text("def objective(trial): return 7\n")
    end = ran(tmp_path, text).end
    assert end.get("value") == 7, end
    inspect("train.py:objective", tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "print(globals()['run'], globals().get('x'), 'x' in globals(), [k for k in vars().keys()])",
        "import sys\ntorch = sys.modules.get('torch')\nlog = print(__name__)",
        "class Model:\n    def __getattr__(self, name): return 7",
        "def other():\n    global another\n    another = run",
    ],
)
def test_a_file_that_only_reads_its_names_makes_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "train.py").write_text("def run(trial): return 7\n" + text)
    with pytest.raises(BadObjective, match="has no function 'objective'; it has run"):
        inspect("train.py:objective", tmp_path)


@pytest.mark.parametrize("more", ["print('objective', globals()['objective'])", "exec('x = 1')"])
def test_a_value_is_refused_unless_a_text_of_a_file_that_makes_names_has_its_name(tmp_path: Path, more: str) -> None:
    (tmp_path / "train.py").write_text(f"objective = 3\n{more}\n")
    with pytest.raises(BadObjective, match="is 3; name a function"):
        inspect("train.py:objective", tmp_path)


@pytest.mark.parametrize(("text", "parameters"), SEVERAL.items())
def test_an_objective_that_depends_on_the_machine_or_is_bound_again_is_accepted(
    tmp_path: Path, text: str, parameters: tuple[str, ...]
) -> None:
    (tmp_path / "train.py").write_text(text)
    assert inspect("train.py:objective", tmp_path).parameters == parameters


def test_a_file_that_is_nested_too_deeply_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(f"def objective(trial): return 1\nX = {'+'.join('1' * 30_000)}\n")
    with pytest.raises(BadObjective, match=r"is no Python file: .*recursion"):
        inspect("train.py:objective", tmp_path)


def test_a_program_of_hydra_is_a_command(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import hydra\n@hydra.main(config_path=None)\ndef objective(cfg): return cfg.x\n"
    )
    with pytest.raises(BadObjective, match=r"is a program of Hydra; .* -- python train.py x=\{x:0.0..1.0\}"):
        inspect("train.py:objective", tmp_path)


@pytest.mark.parametrize(("name", "sentence"), REFUSED.items())
def test_what_no_trial_can_call_is_refused_before_a_job_is_written(tmp_path: Path, name: str, sentence: str) -> None:
    path = tmp_path / "train.py"
    path.write_text(FILE)
    with pytest.raises(BadObjective) as refused:
        inspect(f"train.py:{name}", tmp_path)
    assert str(refused.value) == sentence.replace("FILE", str(path))


def test_another_name_of_a_function_asks_for_what_the_function_asks_for(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(FILE)
    assert inspect("train.py:alias", tmp_path).required == inspect("train.py:base", tmp_path).required == ("trial", "k")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Model", "Model in train.py is a class, expected a function, or an instance of it"),
        ("awaiting", "awaiting in train.py is async or a generator, expected a function that returns"),
        ("late", "late in train.py is async or a generator"),
        ("derived", "derived in train.py is Derived, expected a function"),
    ],
)
def test_what_the_file_does_not_say_is_said_by_the_trial(tmp_path: Path, name: str, told: str) -> None:
    record = ran(tmp_path, FILE, name=name)
    assert record.end["fact"] == "failed" and told in record.end["message"]
