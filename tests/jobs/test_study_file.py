"""study.toml: what each table makes of a cell, and the one sentence for everything that nobody can run."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.api import grid
from fts.jobs.api.code import whole_md5
from fts.jobs.api.function import code_md5
from fts.jobs.api.spec import BadSpec
from fts.jobs.study_file import code, keys, matrix, warm
from fts.jobs.study_file.chosen import chosen
from fts.jobs.study_file.study import StudyFile

TRAIN = """
from helper import width

def objective(trial, data="mnist", size="S"):
    return trial.suggest_float("lr", 0, 1)

def space(data, size):
    return {"width": {"low": 1, "high": width(size)}}

def of_dict(cell):
    print("what it prints is no answer")
    return {"width": [len(cell), 9]}

def broken(cell):
    return {}["nothing"]

def memory(params, cell):
    return 2**20

def baseline(trial):
    return 1.0
"""
WHOLE = """
[study]
name = "digits"
objective = "train:objective"
seed = 3
env = { OMP_NUM_THREADS = 1 }

[matrix]
data = ["mnist", "cifar10"]
size = ["S", "M", "L"]
exclude = [{ data = "mnist", size = "L" }]
include = [{ data = "svhn", size = "S" }]

[space]
from = "train:space"
lr = { low = 1e-5, high = 1e-1, log = true }
layers = { low = 1, high = 4 }
units = { low = 8, high = 64, step = 8 }
optimizer = ["adam", "sgd"]
momentum = { low = 0, high = 0.99, when = "optimizer == 'sgd'" }

[forbid]
too_large = "layers >= 4 and size == 'L'"

[budget]
trials = 50
epochs = 20
timeout = "1h 30m"
trial_timeout = 90
seeds = 3

[metrics]
val_loss = { goal = "minimize" }
latency = { goal = "maximize" }
n_params = { constraint = "<= 2e6" }
val_acc = {}

[search]
sampler = "random"
pruner = "halving"
halving = { keep = 0.5, trailing = "none" }
prune_by = "latency"
warm_start = [{ lr = 1e-3, layers = 2, units = 8, optimizer = "adam", width = 1 }]

[resources]
memory = "8GB"
gpu = 1
threads = 2
stall = "10m"
on_oom = "shrink"

[[cell]]
where = "size == 'L'"
budget = { trials = 20 }
resources = { memory = "train:memory" }

[[cell]]
where = "data == 'cifar10' and size in ('M', 'L')"
space = { layers = { low = 1, high = 8 } }

[baseline]
objective = "train.py:baseline"
"""


def study(folder: Path, text: str, *settings: str) -> StudyFile:
    (folder / "train.py").write_text(TRAIN)
    (folder / "helper.py").write_text("def width(size): return {'S': 2, 'M': 4, 'L': 8}[size]\n")
    (folder / "study.toml").write_text(text)
    return StudyFile.read(folder / "study.toml", settings)


def cells(folder: Path, text: str, *settings: str) -> dict[str, Any]:
    """By experiment."""
    return {cell.experiment: cell for cell in study(folder, text, *settings).cells()}


def test_every_table_reaches_its_cell(tmp_path: Path) -> None:
    made = cells(tmp_path, WHOLE)
    assert list(made) == [
        "digits_mnist_S", "digits_mnist_M", "digits_cifar10_S", "digits_cifar10_M", "digits_cifar10_L", "digits_svhn_S",
    ]  # fmt: skip
    small, large = made["digits_mnist_S"], made["digits_cifar10_L"]
    told = small.to_json()
    assert {name: told.get(name) for name in (
        "study", "trials", "steps", "seed", "timeout_s", "trial_timeout_s", "seeds", "metric", "direction", "goals",
        "constraints", "prune_by", "sampler", "pruner", "memory", "memory_bytes", "gpu", "threads", "stall_s", "on_oom",
        "baseline", "env", "axes", "objective", "folder", "forbid",
    )} == {
        "study": "digits", "trials": 50, "steps": 20, "seed": 3, "timeout_s": 5400.0, "trial_timeout_s": 90.0,
        "seeds": 3, "metric": "val_loss", "direction": "minimize",
        "goals": {"val_loss": "minimize", "latency": "maximize"}, "constraints": {"n_params": "<= 2e6"},
        "prune_by": "latency", "sampler": "random", "pruner": "halving", "memory": None, "memory_bytes": 8 * 2**30,
        "gpu": 1, "threads": 2, "stall_s": 600.0, "on_oom": "shrink", "baseline": "train.py:baseline",
        "env": {"OMP_NUM_THREADS": "1"}, "axes": {"data": "mnist", "size": "S"}, "objective": "train.py:objective",
        "folder": str(tmp_path), "forbid": {"too_large": "layers >= 4 and size == 'L'"},
    }  # fmt: skip
    assert (small.halving.keep, small.halving.trailing, small.halving.growth) == (0.5, None, 9)
    assert small.space == {
        "width": {"kind": "int", "low": 1, "high": 2, "log": False},
        "lr": {"kind": "float", "low": 1e-5, "high": 0.1, "log": True},
        "layers": {"kind": "int", "low": 1, "high": 4, "log": False},
        "units": {"kind": "int", "low": 8, "high": 64, "log": False, "step": 8},
        "optimizer": {"kind": "choice", "choices": ["adam", "sgd"]},
        "momentum": {"kind": "float", "low": 0.0, "high": 0.99, "log": False, "when": "optimizer == 'sgd'"},
    }
    assert small.warm_start == ({"width": 1, "lr": 1e-3, "layers": 2, "units": 8, "optimizer": "adam"},)
    assert (large.trials, large.memory, large.memory_bytes) == (20, "train.py:memory", None)
    assert (large.space["layers"]["high"], large.space["width"]["high"]) == (8, 8)
    metrics = {metric["name"]: metric["goal"] for metric in study(tmp_path, WHOLE).metrics}
    assert metrics == {"val_loss": "minimize", "latency": "maximize", "n_params": None, "val_acc": None}


def test_the_least_study_has_two_lines(tmp_path: Path) -> None:
    (cell,) = cells(tmp_path, '[study]\nobjective = "train:objective"').values()
    assert (cell.study, cell.trials, cell.metric, cell.space, cell.axes) == ("train", 20, "value", None, {})


def test_a_file_of_a_package_is_found_by_its_module(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    for name in ("__init__.py", "train.py"):
        (tmp_path / "net" / name).write_text("def objective(trial): return 1\n")
    for objective, file in (("net.train:objective", "net/train.py"), ("net:objective", "net/__init__.py")):
        (cell,) = cells(tmp_path, f'[study]\nobjective = "{objective}"').values()
        assert (cell.file, cell.study) == (file, file.split("/")[objective.count(".")].removesuffix(".py"))


def test_a_command_takes_the_same_tables(tmp_path: Path) -> None:
    text = """
    [study]
    command = "sh run.sh --lr {lr} {args} --seed {seed}"
    grace = "5s"
    [matrix]
    size = ["S", "M"]
    [space]
    lr = { low = 1e-5, high = 1e-1, log = true }
    layers = [1, 2]
    [metrics]
    loss = { goal = "minimize", regex = 'loss=([-0-9.eE+]+)' }
    acc = { regex = 'epoch (?P<epoch>\\d+).* acc=(?P<acc>\\S+)' }
    """
    (tmp_path / "run.sh").write_text("")
    made = cells(tmp_path, text)
    assert list(made) == ["run_S", "run_M"]
    cell = made["run_S"]
    assert cell.command == ("sh", "run.sh", "--lr", "{lr}", "{args}", "--seed", "{seed}")
    assert (cell.grace_s, cell.metric, set(cell.space)) == (5.0, "loss", {"lr", "layers"})
    for line, found in {
        "epoch 3 loss=0.5 acc=0.25": {"loss": "0.5", "acc": "0.25", "epoch": "3"},
        "loss=2": {"loss": "2"},
        "epoch 4: acc=1e-3": {"acc": "1e-3", "epoch": "4"},
        "nothing": {},
    }.items():
        matched = re.search(cell.regex, line)
        assert matched is not None
        assert {name: value for name, value in matched.groupdict().items() if value is not None} == found


def test_the_program_of_a_command_is_the_one_that_the_trials_path_names(tmp_path: Path) -> None:
    """Another `python` of the person's own PATH ran instead, and a tool outside of it was refused."""
    (tmp_path / "bin").mkdir()
    for name in ("python", "mytool"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\n")
        (tmp_path / "bin" / name).chmod(0o755)
        for path in ("bin:/usr/bin", f"/nowhere:{tmp_path}/bin"):
            env = f'env = {{ PATH = "{path}" }}'
            text = f'[study]\ncommand = "{name} {{x}}"\n{env}\n[space]\nx = [1]\n[metrics]\nv = {{ goal = "minimize" }}'
            (cell,) = cells(tmp_path, text).values()
            assert cell.program == str(tmp_path / "bin" / name)
    with pytest.raises(BadSpec, match="no program 'mytool' in the PATH that `env` gives its trials"):
        cells(tmp_path, text.replace(path, "/usr/bin"))


# -- the matrix


MATRICES: list[tuple[str, list[dict[str, Any]]]] = [
    ("", [{}]),
    ("a = [1, 2]", [{"a": 1}, {"a": 2}]),
    ("a = [1, 2]\nb = ['x', 'y']\nexclude = [{ a = 1 }]", [{"a": 2, "b": "x"}, {"a": 2, "b": "y"}]),
    ("include = [{ a = 1 }, { b = 2 }]", [{"a": 1}, {"b": 2}]),
    ("a = [1]\ninclude = [{ a = 2, c = 'z' }]", [{"a": 1}, {"a": 2, "c": "z"}]),
    ("a = [1, 2]\ninclude = [{ a = 2, c = 'z' }]", [{"a": 1}, {"a": 2, "c": "z"}]),
    ("a = [1, 2]\ninclude = [{ c = 'z' }]", [{"a": 1, "c": "z"}, {"a": 2, "c": "z"}]),
    ("a = [1]\nexclude = [{ a = 1 }]\ninclude = [{ a = 1 }]", [{"a": 1}]),
    ("a = [1, '1']", [{"a": 1}, {"a": "1"}]),
]


@pytest.mark.parametrize(("text", "made"), MATRICES)
def test_a_matrix_is_what_a_workflow_of_github_would_make_of_it(text: str, made: list[dict[str, Any]]) -> None:
    assert matrix.cells(tomllib.loads(text)) == made


def test_the_example_of_githubs_documentation() -> None:
    """https://docs.github.com/en/actions: fruit and animal, with six entries of include."""
    text = """
    fruit = ["apple", "pear"]
    animal = ["cat", "dog"]
    include = [{ color = "green" }, { color = "pink", animal = "cat" }, { fruit = "apple", shape = "circle" },
               { fruit = "banana" }, { fruit = "banana", animal = "cat" }]
    """
    assert matrix.cells(tomllib.loads(text)) == [
        {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
        {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
        {"fruit": "pear", "animal": "cat", "color": "pink"},
        {"fruit": "pear", "animal": "dog", "color": "green"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]


CHOSEN = [
    (["mnist/S"], 1), (["MNIST/s"], 1), (["S"], 3), (["size:S"], 3), (["data=mnist,size=M"], 1), (["S", "svhn"], 3),
]  # fmt: skip


@pytest.mark.parametrize(("words", "count"), CHOSEN)
def test_a_cell_is_chosen_by_its_name_or_its_values(tmp_path: Path, words: list[str], count: int) -> None:
    file = study(tmp_path, WHOLE)
    assert len(file.cells(chosen(file.labels, words))) == count


def test_a_cell_that_is_none_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        BadSpec, match=r"--cell mnist/L is not a cell of the study; did you mean mnist/[SM]\? there are mnist/S, "
    ):
        chosen(study(tmp_path, WHOLE).labels, ["mnist/L"])


def test_names_with_dots_are_a_table_or_one_word(tmp_path: Path) -> None:
    text = """
    [study]
    command = "python train.py {args_hydra}"
    name = "hydra"
    [matrix]
    "model.size" = ["S", "M"]
    [space]
    optimizer.lr = { low = 1e-3, high = 1.0, log = true }
    "optimizer.name" = ["adam", "sgd"]
    "optimizer.momentum" = { low = 0.0, high = 0.9, when = "optimizer.name == 'sgd' and model.size == 'M'" }
    [space.data]
    mixup = { low = 0.0, high = 1.0 }
    crop = [24, 32]
    [metrics]
    loss = { goal = "minimize", regex = "loss=(.*)" }
    """
    made = list(cells(tmp_path, text).values())
    names = ["optimizer.lr", "optimizer.name", "optimizer.momentum", "data.mixup", "data.crop"]
    assert sorted(made[0].space) == sorted(names) and [cell.axes["model.size"] for cell in made] == ["S", "M"]
    assert made[0].space["data.crop"] == {"kind": "choice", "choices": [24, 32]}
    with pytest.raises(BadSpec, match=r"optimizer\.lr twice"):
        cells(tmp_path, text.replace('"optimizer.name" =', '"optimizer.lr" ='))
    with pytest.raises(BadSpec, match="optimizer_lr would both be the environment variable FTS_PARAM_OPTIMIZER_LR"):
        cells(tmp_path, text.replace('"optimizer.name" =', "optimizer_lr = [1]\n'optimizer.name' ="))


# -- the space of a function


def test_a_function_of_the_cell_gets_a_dict_or_the_axes_and_may_print(tmp_path: Path) -> None:
    made = cells(tmp_path, WHOLE, "space.from=train:of_dict", "search.warm_start=[]")
    assert made["digits_mnist_S"].space["width"] == {"kind": "choice", "choices": [2, 9]}


def test_a_function_of_the_cell_that_fails_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(BadSpec, match=r"--set: space.from names train.py:broken, which failed: 'nothing' \(KeyError, "):
        cells(tmp_path, WHOLE, "space.from=train:broken")


# -- code


def test_modules_beside_the_file_are_part_of_the_code_unless_code_says_otherwise(tmp_path: Path) -> None:
    plain = '[study]\nobjective = "train:objective"\n'
    (cell,) = cells(tmp_path, plain).values()
    assert cell.code == ("helper.py",)
    (tmp_path / "helper.py").write_text("changed = 1\n")
    again = StudyFile.read(tmp_path / "study.toml").cells()[0]
    assert again.code_md5 != cell.code_md5 and again.question != cell.question
    (alone,) = cells(tmp_path, plain + "code = []").values()
    assert (alone.code, alone.code_md5) == ((), code_md5(TRAIN.encode()))


def test_a_folder_of_code_counts_with_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    text = '[study]\nobjective = "train:objective"\ncode = ["train.py", "model/"]'
    before = next(iter(cells(tmp_path, text).values())).code_md5
    (tmp_path / "model" / ".hidden").write_text("1")
    assert next(iter(cells(tmp_path, text).values())).code_md5 == before
    (tmp_path / "model" / "net.yaml").write_text("layers: 3")
    assert next(iter(cells(tmp_path, text).values())).code_md5 != before
    (tmp_path / "model" / "outputs").mkdir()
    with pytest.raises(BadSpec, match=r"study.toml line 3: study.code names model/, which contains the outputs of fts"):
        study(tmp_path, text).cells(outputs=tmp_path / "model" / "outputs")


# -- what is refused

MINIMAL = '[study]\nobjective = "train:objective"\n'
MANY = list(range(200))
FAULTS = [
    ("[study", "study.toml is not TOML: Expected ']'"),
    ("[study]\nobjective = train:objective", '(at line 2, column 13); write text in quotes: "train:objective"'),
    ("[study]\nshell = True", "(at line 2, column 9); write true"),
    (MINIMAL + '[metrics]\na = { regex = "a=(\\d)" }', "; in single quotes a backslash has no special meaning"),
    (MINIMAL + "[metrics]\na = { direction = 'minimize' }", "direction is an unknown key of a metric; did you mean"),
    (MINIMAL + "[space]\na = { min = 1, max = 2 }", "space.a.min is an unknown key of a parameter; did you mean low?"),
    (MINIMAL + "[params]", "study.toml line 3: params is an unknown table; did you mean space?"),
    ('[study]\nobjective = "json.tool:main"', "with `from json.tool import main`, and here \"objective:main\""),
    ("", 'study has neither objective nor command, such as objective = "train:objective"'),
    ('name = "x"\n[study]', "study.toml line 1: name is above every table; move it below [study]"),
    (MINIMAL + "[metric]\n", "study.toml line 3: metric is an unknown table; did you mean metrics? known are study"),
    (MINIMAL + "sed = 1", "study.toml line 3: study.sed is an unknown key of [study]; did you mean seed? known are"),
    (MINIMAL + "seed = -1", "study.toml line 3: study.seed is -1, expected a whole number from 0 to"),
    (MINIMAL + 'command = "x"', "study has both objective and command; keep one"),
    (MINIMAL + "shell = true", "study.toml line 3: study.shell belongs to a command, and the study has an objective"),
    (MINIMAL + 'name = "a b"', "study.toml line 3: study.name: 'a b' is not a name, expected a-z, A-Z, 0-9 and _.-"),
    (MINIMAL + 'name = "patchtst"', "study.name: 'patchtst' is the name of an installed study; give this one another"),
    (MINIMAL + 'python = "no/python"', "no/python, which is not a file; expected an interpreter"),
    (MINIMAL + 'code = ["gone.py"]', "study.toml line 3: study.code names gone.py, which is not in"),
    ('[study]\nobjective = "trian:objective"', "line 2: study.objective is 'trian:objective', but there is no trian.p"),
    ('[study]\nobjective = "train:objectiv"', "study.objective: "),
    ('[study]\nobjective = "train"', "study.objective is 'train', expected a function, such as"),
    ('[study]\ncommand = "python train.py"', "metrics are missing: a command reports numbers by name; write val_loss"),
    ('[study]\ncommand = "python train.py --lr {lr}"\n[metrics]\na = { goal = "minimize" }', "{lr} is neither"),
    ('[study]\ncommand = "no-such-program x"\n[metrics]\na = { goal = "minimize" }', "there is no program"),
    (MINIMAL + "[budget]\ntrials = 0", "study.toml line 4: budget.trials is 0, expected a whole number from 1 to 100,"),
    (MINIMAL + "[budget]\ntrials = '50'", "budget.trials is '50', expected a whole number"),
    (MINIMAL + '[budget]\ntimeout = "36 hours"', "budget.timeout is '36 hours', expected a time such as"),
    (MINIMAL + "[budget]\ntrial = 5", "budget.trial is an unknown key of [budget]; did you mean trials?"),
    (MINIMAL + '[resources]\nmemory = "8 elephants"', "resources.memory is '8 elephants', expected \"learn\", a size"),
    (MINIMAL + '[resources]\nmemory = "train:gone"', "resources.memory: "),
    (MINIMAL + '[resources]\non_oom = "die"', "resources.on_oom is 'die', expected one of alone, shrink, fail, prune"),
    (MINIMAL + "[matrix]\nsize = 'S'", "matrix.size is 'S', expected a list of values"),
    (MINIMAL + "[matrix]\nsize = []", "matrix.size is [], expected a list of values"),
    (MINIMAL + '[matrix]\nsize = ["a\\nb"]', "matrix.size has the value 'a\\nb', expected 1 to 200 printable"),
    (MINIMAL + "[matrix]\nsize = ['S', 'S']", "matrix.size names 'S' twice"),
    (MINIMAL + "[matrix]\nsize = [1e150]", "matrix.size has the value 1e+150, expected text or a number"),
    (MINIMAL + "[matrix]\nsize = [inf]", "matrix.size has the value inf, expected text or a number"),
    (MINIMAL + "[search]\nwarm_start = [{ lr = inf }]", "search.warm_start gives lr = inf, expected a finite number"),
    (MINIMAL + "[matrix]\nsize = [true]", 'matrix.size has the value True, expected text or a number; write "yes"'),
    (MINIMAL + "[matrix]\nsize = ['S']\nexclude = [{ siez = 'S' }]", "matrix.exclude.siez is an unknown axis; did y"),
    (MINIMAL + "[matrix]\nsize = ['S']\nexclude = [{ size = 'L' }]", "removes no combination; size has S"),
    (MINIMAL + "[matrix]\nsize = ['S']\nexclude = [{ size = 'S' }]", "matrix leaves no cell: everything is excluded"),
    (MINIMAL + "[matrix]\ncolor = ['red']\n[space]\nlr = [1]", ""),  # the function takes a trial: it may read the cell
    (MINIMAL + f"[matrix]\na = {MANY}\nb = {MANY}", "matrix has more than 10,000 combinations; give fewer values"),
    (MINIMAL + "[space]\nlr = 0.1", "space.lr is 0.1, expected a range"),
    (MINIMAL + "[space]\nlr = { low = 1 }", "space.lr has no high; expected a range"),
    (MINIMAL + "[space]\nlr = { low = 2, high = 1 }", "space.lr has no range: low is 2, high is 1"),
    (MINIMAL + "[space]\nlr = { low = 0, high = 1, log = true }", "space.lr has low 0, expected a number above 0"),
    (MINIMAL + "[space]\nlr = { low = -1e308, high = 1e308 }", "space.lr has the end 1e+308, expected at most 1e+100"),
    (MINIMAL + "[space]\nlr = { low = 0, high = 1, step = 5 }", "space.lr has the step 5, expected at most 1"),
    (MINIMAL + "[space]\nlr = [1, 1.0]", "space.lr names 1.0 twice"),
    (MINIMAL + "[space]\nlr = { low = 0, hihg = 1 }", "space.lr.hihg is an unknown key of a parameter; did you mean"),
    (MINIMAL + "[space]\nlr = { low = 0, high = inf }", "space.lr.high is inf, expected a number"),
    (MINIMAL + "[matrix]\na = [1]\na = [2]", "it is there twice: keep one"),
    (MINIMAL + "[matrix]\na = [1]\n[matrix]\na = [2]", "it is there twice: keep one"),
    (MINIMAL + "[space]\nlr = []", "space.lr has 0 values to choose from"),
    (MINIMAL + "[space]\nlr = [[1]]", "space.lr has the choice [1], expected text, a number, true or false"),
    (MINIMAL + "[space]\n'a-b' = [1]", "space.a-b cannot name a parameter"),
    (MINIMAL + "[matrix]\n'état' = [1]", "matrix.état cannot name an axis; expected a-z, A-Z, 0-9 and _ (at most 80)"),
    (MINIMAL + "[space]\na = [1, 2]\nb = { choices = [1], when = 'c == 1' }",
     "study.toml line 5: space.b.when names c, not a parameter or axis; known are a, b"),
    (MINIMAL + "[space]\na = ['x', 'y']\nb = { choices = [1], when = \"a == 'z'\" }", "compares a with 'z', which is"),
    (MINIMAL + "[space]\na = [1]\nb = { choices = [1], when = 'a = 1' }", "space.b.when is not an expression: "),
    (MINIMAL + "[space]\na = [1]\nb = { choices = [1], when = \"a > 'x'\" }", "space.b.when cannot be evaluated for"),
    (MINIMAL + "[space]\na = { choices = [1], when = 'b == 1' }\nb = { choices = [1], when = 'a == 1' }", "space: the"),
    (MINIMAL + "[space]\na = { choices = [1], when = 'a == 1' }", "space.a.when of a names a itself"),
    (MINIMAL + "[forbid]\nx = 'lr > 1'", "forbid needs [space]: it cannot check a function"),
    (MINIMAL + "[space]\na = [1]\n[forbid]\nx = '__import__(1)'", "forbid.x is not an expression: "),
    (MINIMAL + "[space]\na = [1, 2]\n[forbid]\nx = 'a == 1'\ny = 'a == 2'", "forbid refuses every value of a, so that"),
    (MINIMAL + "[space]\na = [1, 2]\nb = [1]\n[forbid]\nx = 'a == 1'\ny = 'a == 2 and b > 1'", ""),
    (MINIMAL + "[space]\na = [1]\n[forbid]\na = 0.05", "forbid.a is 0.05, expected an expression in quotes, such as"),
    (MINIMAL + "[space]\na = [1]\n[forbid]\nx = 'a = 1'", "character 3: = is not supported, write =="),
    (MINIMAL + "[space]\na = [1]\n[forbid]\nx = 'a > 1 && a < 3'", "& is not supported, write and"),
    (MINIMAL + "[matrix]\na = [1]\n[space]\na = [1]", "space.a is also an axis of [matrix]"),
    (MINIMAL + '[metrics]\nloss = "minimize"', "metrics.loss is 'minimize', expected a table such as"),
    (MINIMAL + '[metrics]\nloss = { goal = "min" }', "metrics.loss.goal is 'min', expected one of minimize, maximize"),
    (MINIMAL + "[metrics]\nloss = {}", 'metrics name none with a goal; write loss = { goal = "minimize" }'),
    (MINIMAL + "[metrics]\nloss = { goal = 'minimize', regex = '(.)' }", "metrics.loss.regex reads the output of a"),
    (MINIMAL + "[metrics]\nn = { goal = 'minimize', constraint = '2e6' }", "metrics.n.constraint is '2e6', expected a"),
    (MINIMAL + '[search]\nsampler = "qmc"', "search.sampler is 'qmc', expected one of tpe,"),
    (MINIMAL + "[search]\nhalving = { keep = 0.5 }", "search.halving has numbers, but the pruner is median; write"),
    (MINIMAL + '[search]\npruner = "halving"\nhalving = { kep = 0.5 }', "search.halving.kep is an unknown number of t"),
    (MINIMAL + '[search]\npruner = "halving"\nhalving = { keep = 5 }', "search.halving has a wrong number: keep of th"),
    (MINIMAL + "[search]\nprune_by = 'x'", "search.prune_by is 'x', expected a metric with a goal: value"),
    (MINIMAL + "[search]\nparallel = 0", "search.parallel is 0, expected a whole number from 1 to 1,024"),
    (MINIMAL + "[search]\nwarm_start = ['old:t5']", "search.warm_start names old:t5, a trial of a database, and there"),
    (MINIMAL + "[space]\na = [1, 2]\n[search]\nwarm_start = [{ a = 3 }]", "search.warm_start gives a = 3, expected on"),
    (MINIMAL + "[space]\na = [1, 2]\n[search]\nwarm_start = [{ b = 3 }]", "search.warm_start.b is an unknown param"),
    (MINIMAL + "[space]\na = [1]\nb = [1]\n[search]\nsampler = 'grid'\nwarm_start = [{ a = 1 }]", "a = 1 without b"),
    (MINIMAL + "[cell]\nwhere = 'a == 1'", "cell is a table, expected [[cell]] with two brackets"),
    (MINIMAL + "[[cell]]\nbudget = { trials = 1 }", "study.toml line 3: [[cell]] 1 has no where, such as"),
    (MINIMAL + "[matrix]\na = [1]\n[[cell]]\nwhere = 'b == 1'", "[[cell]] 1 where names b, not a parameter or axis"),
    (MINIMAL + "[matrix]\na = [1]\n[[cell]]\nwhere = 'a == 2'", "[[cell]] 1 where chooses no cell: 'a == 2'"),
    (MINIMAL + "[matrix]\na = [1]\n[[cell]]\nwhere = 'a == 1'\nstudy = {}", "[[cell]] 1 study is an unknown table of"),
    (MINIMAL + "[matrix]\na = [1]\n[[cell]]\nwhere = 'a == 1'\n[cell.budget]\ntrails = 1", "line 8: [[cell]] 1 budget"),
    (MINIMAL + "[baseline]", "baseline has no objective, expected a function"),
    (MINIMAL + '[baseline]\nobjective = "train:gone"', "baseline.objective: "),
    (MINIMAL + '[notify]\nurls = ["ntfy://x"]', "notify.urls is secret, and this file is copied and committed; use"),
    (MINIMAL + '[notify]\non = ["done"]', "notify.on has 'done'; did you mean cell done? expected some of cell done"),
    (MINIMAL + "[space]\nx = [inf, 1.0]", "study.toml line 4: space.x has the choice inf, expected a number up to"),
    (MINIMAL + f"[space]\nx = [1{'0' * 200}]", "expected a number up to 1e+100"),
    ('[study]\ncommand = "echo"\n[metrics]\nval-loss = { goal = "minimize", regex = "l=(.)" }\nb = { regex = "b=(.)" }',
     "study.toml line 4: metrics.val-loss.regex cannot be joined with others: no group can have this name"),
    (MINIMAL + "[matrix]\nsize = ['S', 'L']\n[space]\nx = ['a']\n[forbid]\nr = \"x == 'a' and size == 'L'\"",
     "forbid refuses every value of x where size = 'L', so that no trial could be drawn"),
    (MINIMAL + "[space]\nx = [nan]", "space.x has the choice nan"),
    (MINIMAL + '[space]\n"a.b" = [inf]', "study.toml line 4: space.a.b has the choice inf"),
    (MINIMAL + 'env = { A = "a\u2028b" }\nseed = -1', "study.toml line 4: study.seed is -1"),
    (MINIMAL + 'env = { A = "a\\u0000b" }', "line 3: study.env is {'A': 'a\\x00b'}, expected a table of texts"),
    ('[study]\ncommand = "echo"\ngrace = ""', "line 3: study.grace is '', expected a time such as"),
    ('[study]\ncommand = "echo"\ngrace = "5\u017f"', "line 3: study.grace is '5\u017f', expected a time such as"),
    (MINIMAL + '[resources]\nmemory = "8\u212aB"', "line 4: resources.memory is '8\u212aB', expected"),
    (MINIMAL + '[search]\nsampler = "grid"\n[space]\nx = { low = -9e99, high = 1, step = 1e-299 }', "x has too many"),
    (MINIMAL + '[notify]\nurl = ["ntfy://x"]', "notify.url is an unknown key of [notify]; did you mean urls?"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "sentence"), FAULTS)
def test_a_fault_is_one_sentence_with_its_place(tmp_path: Path, text: str, sentence: str) -> None:
    if not sentence:
        assert cells(tmp_path, text)
        return
    with pytest.raises(BadSpec) as caught:
        cells(tmp_path, text)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


SETTINGS = [
    ("budget.trials=80", ""),
    ("study.name=other", ""),
    ("space.lr.high=0.5", ""),
    ("budget", "--set has 'budget', expected TABLE.KEY=VALUE, such as budget.trials=80"),
    ("trials=80", "--set has 'trials=80', expected TABLE.KEY=VALUE"),
    ("budget.trails=80", "--set: budget.trails is an unknown key of [budget]; did you mean trials?"),
    ("budget.trials=many", "--set: budget.trials is 'many', expected a whole number"),
    ("study.name.first=1", "--set has 'study.name.first=1', but study.name is not a table"),
]


@pytest.mark.parametrize(("setting", "sentence"), SETTINGS)
def test_a_setting_is_checked_as_the_file_is(tmp_path: Path, setting: str, sentence: str) -> None:
    if not sentence:
        assert cells(tmp_path, WHOLE, setting) != cells(tmp_path, WHOLE)
        return
    with pytest.raises(BadSpec) as caught:
        cells(tmp_path, WHOLE, setting)
    assert sentence in str(caught.value)


def test_a_number_of_thousands_of_digits_is_refused_as_any_other_wrong_value(tmp_path: Path) -> None:
    """Python does not write such a number, and a file may hold it as a hexadecimal one."""
    huge = "0x" + "f" * 9000
    lines = (
        "[space]\nx = #", "[space]\nx = [#, 1]", "[space]\nx = { low = #, high = 1 }", "[forbid]\na = #",
        "[matrix]\nsize = #", "[matrix]\nsize = [#]", "[budget]\ntrials = #", "[metrics]\nloss = #",
    )  # fmt: skip
    for line in lines:
        with pytest.raises(BadSpec, match="a value that cannot be shown"):
            cells(tmp_path, f"{MINIMAL}{line.replace('#', huge)}")


def test_a_setting_names_a_key_with_dots_in_quotes(tmp_path: Path) -> None:
    text = MINIMAL + '[space]\n"opt.lr" = { low = 0.0, high = 1.0 }\n'
    (cell,) = cells(tmp_path, text, 'space."opt.lr".high=2.0').values()
    assert cell.space == {"opt.lr": {"kind": "float", "low": 0.0, "high": 2.0, "log": False}}


def test_a_cell_with_another_pruner_takes_no_numbers_of_the_one_of_the_study(tmp_path: Path) -> None:
    text = (
        MINIMAL + "[matrix]\nsize = ['S', 'M', 'L']\n[search]\npruner = 'halving'\nhalving = { keep = 0.5 }\n"
        "[[cell]]\nwhere = \"size == 'L'\"\nsearch = { pruner = 'percentile', percentile = 50 }\n"
        "[[cell]]\nwhere = \"size == 'M'\"\nsearch = { parallel = 2 }\n"
    )
    made = cells(tmp_path, text).values()
    assert [(cell.pruner, cell.halving and cell.halving.keep) for cell in made] == [
        ("halving", 0.5), ("halving", 0.5), ("percentile", None),
    ]  # fmt: skip


def test_words_of_a_command_may_be_blank_and_expressions_have_their_own_flags(tmp_path: Path) -> None:
    text = """
    [study]
    command = ["echo", "--separator", " ", ""]
    [metrics]
    loss = { goal = "minimize", regex = '(?i)loss=(\\d+)' }
    acc = { regex = "(?x) acc = (\\\\d+)  # of it" }
    """
    (cell,) = cells(tmp_path, text).values()
    assert cell.command[1:] == ("--separator", " ", "")
    found = re.match(cell.regex, "LOSS=3 acc=5 ACC=7")
    assert found is not None and found.groupdict() == {"loss": "3", "acc": "5"}


def test_a_first_trial_lies_on_a_step_of_its_range(tmp_path: Path) -> None:
    text = (
        MINIMAL + "[space]\nx = { low = 0.0, high = 0.3, step = 0.1 }\nn = { low = 1, high = 9, step = 4 }\n[search]\n"
    )
    (cell,) = cells(tmp_path, text + "warm_start = [{ x = 0.3, n = 5 }, { x = 0.1, n = 9 }]").values()
    assert [list(each.values()) for each in cell.warm_start] == [[0.3, 5], [0.1, 9]]
    for one, steps in (("x = 0.15", "0 to 0.3 in steps of 0.1"), ("n = 4", "1 to 9 in steps of 4")):
        with pytest.raises(BadSpec, match=f"gives {one}, expected {steps}"):
            cells(tmp_path, text + f"warm_start = [{{ {one} }}]")


def test_a_file_of_the_code_may_have_any_name(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"gr\xf6\xdfe.txt")).write_text("x")
    assert whole_md5("own", tmp_path, ["."]) not in ("own", whole_md5("own", tmp_path, ["gone.py"]))


def test_no_point_of_a_grid_lies_above_its_range() -> None:
    assert grid.values_of("x", {"kind": "float", "low": 0.0, "high": 0.3, "step": 0.1}) == [0.0, 0.1, 0.2, 0.3]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"[study]\nname = '\xe4'")
    for name, sentence in {"gone.toml": "No such file", "latin.toml": "it is not UTF-8"}.items():
        with pytest.raises(BadSpec, match=sentence):
            StudyFile.read(tmp_path / name)


# -- what is written of it


DOCS = Path(__file__).parents[2] / "docs" / "study-toml.md"
DOCUMENTED = {name: known for name, known in keys.TABLES.items() if known is not None} | {
    "space": keys.PARAMETER,
    "metrics": keys.METRIC,
}


def test_the_reference_has_a_section_for_each_table_and_a_row_for_each_key() -> None:
    sections = {part.partition("]")[0].lstrip("[") for part in DOCS.read_text().split("\n## ") if part.startswith("[")}
    assert sections == set(keys.TABLES)


@pytest.mark.parametrize("table", DOCUMENTED)
def test_the_reference_has_the_keys_of_a_table_in_their_order(table: str) -> None:
    (section,) = (part for part in DOCS.read_text().split("\n## ") if part.startswith(f"[{table}]"))
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(DOCUMENTED[table])


def test_what_a_file_imports_of_the_persons_own_is_found_through_packages_and_circles(tmp_path: Path) -> None:
    for name, text in {
        "train.py": "import numpy, fts.jobs\nfrom net import blocks\nimport data.load\ndef f():\n    import late\n",
        "late.py": "from net.extra import one\n",
        "unused.py": "",
        "broken.py": "def (",
        "net/__init__.py": "from .blocks import x\n",
        "net/blocks.py": "from . import helper\nfrom ..top import y\nimport train\n",
        "net/helper.py": "import broken\n",
        "net/extra.py": "",
        "data/load.py": "import load\n",
        "data/__init__.py": "",
        "fts/__init__.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert code.imported("train.py", tmp_path) == (
        "broken.py", "data/__init__.py", "data/load.py", "late.py", "net/__init__.py", "net/blocks.py",
        "net/extra.py", "net/helper.py",
    )  # fmt: skip


def test_a_recorded_trial_gives_each_cell_what_that_cell_draws() -> None:
    """A typed parameter that is not drawn is refused, as it may be a mistake; a recorded one is left out."""
    space: warm.Space = {
        "opt": {"kind": "choice", "choices": ["adam", "sgd"]},
        "momentum": {"kind": "float", "low": 0.0, "high": 1.0, "when": "opt == 'sgd'"},
        "nesterov": {"kind": "choice", "choices": [True, False], "when": "momentum > 0.5"},
        "depth": {"kind": "int", "low": 1, "high": 9, "when": "size == 'L'"},
        "narrow": {"kind": "choice", "choices": [1, 2], "when": "depth > 3"},
    }
    sgd = {"opt": "sgd", "momentum": 0.9, "nesterov": True, "depth": 5, "narrow": 2, "gone": 1}
    cases: list[tuple[dict[str, Any], str, list[str]]] = [
        (sgd, "L", ["opt", "momentum", "nesterov", "depth", "narrow"]),
        (sgd, "S", ["opt", "momentum", "nesterov"]),  # without depth, narrow is not drawn, either
        (sgd | {"opt": "adam"}, "S", ["opt"]),
    ]
    for recorded, size, names in cases:
        found = warm.from_record(warm.AT, "old/L:t5", space, {}, {"size": size}, lambda _, given=recorded: dict(given))
        assert found == {name: recorded[name] for name in names}
    with pytest.raises(BadSpec, match="which has no parameter that the cell with size = 'S' draws; it has depth"):
        warm.from_record(warm.AT, "old/L:t5", space, {}, {"size": "S"}, lambda _: {"depth": 5})
    with pytest.raises(BadSpec, match="which has none of opt, momentum, nesterov, depth, narrow; it has gone"):
        warm.from_record(warm.AT, "old/L:t5", space, {}, {"size": "S"}, lambda _: {"gone": 5})
    with pytest.raises(BadSpec, match="gives depth, which a trial with"):
        warm.checked(warm.AT, {"opt": "adam", "depth": 5}, space, {}, {"size": "S"})
