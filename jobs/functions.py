"""Makes cells from a function in a file: reads the file without running it, and freezes one cell per combination.

cells("train.py:objective", trials=100, axes={"size": ["S", "M"]})        # two cells of the study "train"
"""

from __future__ import annotations

import ast
import itertools
import json
import re
import subprocess
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.installing import installing
from fts.jobs.api.amounts import LARGEST, check_range
from fts.jobs.api.bare_cell import OBJECTIVE
from fts.jobs.api.command import BareStudy, Cell
from fts.jobs.api.function import OWN_NAMES, TRIAL, FunctionCell, code_md5, made_in_main_block, trial_argument
from fts.jobs.api.goals import bound_of, goals_of
from fts.jobs.api.grid import most_trials
from fts.jobs.api.load import installed
from fts.jobs.api.names import is_name, means_jobs
from fts.jobs.api.nearest import hint, nearest
from fts.jobs.api.spec import NAME, BadSpec, md5_of
from fts.jobs.api.study import MAXIMIZE, MINIMIZE, Axis, Metric
from fts.jobs.api.top_names import A_COMMAND, HERE, arguments_of, defined, is_bound, is_value, not_callable
from fts.jobs.own_search import Tuner, other_tuner, search_at_import
from fts.raising import quoted
from fts.state.files import expanded, why_unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.jobs.api.bare_cell import BareCell
    from fts.state.values import Job

Value = str | int | float
MOST_CELLS = 10_000
LONGEST = 200  # characters of an axis' value
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
RANGE = re.compile(rf"\s*({NUMBER.pattern})\s*\.\.\s*({NUMBER.pattern})\s*(:\s*log\s*)?", re.ASCII)
RANGE_CALL = re.compile(r"[\w.]*(?:uniform|log|range|interval|randint|float|int)\(", re.IGNORECASE)  # of other tools
MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*")  # pkg.train:objective
ATTRIBUTE = re.compile(r"([^:\0]{1,3000}\.py):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)")  # train.py:Model.objective
OLDEST = (3, 11)  # oldest Python for a trial process
NOTEBOOK = ".ipynb"
SETTINGS = (".yaml", ".yml", ".json", ".toml", ".tml", ".ini", ".cfg")  # files that may be meant as a study
SHORT = "run"  # name of the function in a message


class BadObjective(BadSpec):
    """The named file or function does not exist or cannot be used."""


@dataclass(frozen=True)
class Function:
    """A function as its file's source shows it."""

    path: Path
    name: str
    md5: str  # code_md5() of the file
    parameters: tuple[str, ...]
    required: tuple[str, ...]  # parameters without a default
    any_name: bool  # it takes **kwargs, or its parameters are unknown
    tuner: Tuner | None = None  # another program that gives it its parameters
    fixed: tuple[str, ...] = ()  # parameters that cannot be the trial
    takes_value: bool = False  # its first parameter is a value, as the code shows, and not a trial
    is_decorated: bool = False  # its decorator may give it what nothing else gives

    def trial_argument(self, given: Iterable[str], space: Mapping[str, Any] | None) -> str | None:
        """Returns the parameter that gets the trial; None: none does. `given`: the names of the axes."""
        return trial_argument(self.parameters, self.fixed, {*given, *OWN_NAMES}, space is not None)

    def lacking(self, axes: Iterable[str], space: Mapping[str, Any] | None) -> list[str]:
        """Returns the parameters without a default that get no value."""
        trial = self.trial_argument(axes, space)
        given = {TRIAL, *OWN_NAMES, *axes, *(space or {})}
        if trial is not None and (trial == TRIAL or not self.takes_value):
            given.add(trial)  # `def objective(t)`: the first parameter is the trial, whatever its name
        return [name for name in self.required if name not in given]

    def needs_optuna(self, axes: Iterable[str], space: Mapping[str, Any] | None) -> bool:
        """Does it get a trial of Optuna, as far as its parameters are known?"""
        is_unknown = not self.parameters and self.any_name and space is None
        return is_unknown or self.trial_argument(axes, space) is not None


def cells(
    objective: str,
    folder: Path,
    trials: int,
    axes: Mapping[str, Sequence[Value]] | None = None,
    study: str | None = None,
    **fields: Any,
) -> list[FunctionCell]:
    """Returns one cell per combination of the axes' values. Raises BadObjective or BadSpec."""
    objective = to_file_path(objective, folder)
    found = inspect(objective, folder)
    axes = checked_axes(axes or {})
    check_baseline(fields.get("baseline"), folder, list(axes))
    name = checked_name(study or clean(found.path.stem))
    space = fields.get("space")
    if fields.get("python") is not None:
        check_interpreter(fields["python"], folder, needs_optuna=found.needs_optuna(axes, space))
    check_parameters(found, list(axes), space)
    made = []
    for values in combinations(axes):
        labels = dict(zip(axes, values, strict=True))
        made.append(frozen(found, objective, folder, study=name, trials=trials, axes=labels, **fields))
    return with_unique_names(made)


def check_baseline(baseline: str | None, folder: Path, axes: Sequence[str]) -> None:
    """Raises BadObjective if the function cannot be read, or if a required parameter gets no value."""
    if baseline is None:
        return
    found = inspect(to_file_path(baseline, folder), folder)
    known = {TRIAL, *OWN_NAMES, *axes}
    missing = [name for name in found.required if name not in known and name != found.parameters[0]]
    if missing and not found.is_decorated:
        raise BadObjective(
            f"the baseline {found.name} of {found.path.name} needs {', '.join(missing)}, which nothing gives: "
            f"it gets a trial, and by name the axes, {', '.join(OWN_NAMES)}"
        )


def frozen(
    found: Function, objective: str, folder: Path, *, study: str, axes: Mapping[str, Value], **fields: Any
) -> FunctionCell:
    """Returns one cell of the function. Raises BadSpec."""
    name = experiment_name(study, tuple(axes.values()))
    fields = {"code_md5": found.md5} | fields
    cell = FunctionCell(study, name, objective, str(folder), axes=dict(axes), **fields)
    return FunctionCell.from_json(cell.to_json())


def checked_name(name: str) -> str:
    """Returns the name. Raises BadSpec if it is not allowed for a study of functions or commands."""
    if not NAME.fullmatch(name):
        raise BadSpec(
            f"the study's name is {name!r}, expected a-z, A-Z, 0-9 and _.- (at most 80); give one with --name"
        )
    if name in installed():
        raise BadSpec(f"{name!r} is the name of an installed study; give this one another with --name")
    return name


def refuse_name_of_jobs(study: str, jobs: Iterable[Job] = ()) -> None:
    """Raises BadSpec for a new study whose name commands would take for jobs. An earlier one can go on: study:7."""
    if means_jobs(study) and all(job.study != study for job in jobs):
        meant = "every job" if study.lower() == "all" else "jobs by their numbers"
        raise BadSpec(f"the study's name is {study!r}, which means {meant} in a command; give another one with --name")


def combinations(axes: Mapping[str, Sequence[Value]]) -> list[tuple[Value, ...]]:
    """Returns the values of every cell, in the order of the axes. Raises BadSpec if there are too many."""
    found = list(itertools.islice(itertools.product(*axes.values()), MOST_CELLS + 1))
    if len(found) > MOST_CELLS:
        raise BadSpec(f"the axes have more than {MOST_CELLS} combinations; give fewer values")
    return found


def inspect(objective: str, folder: Path) -> Function:
    """Parses the file and finds the function in it. Raises BadObjective."""
    if not OBJECTIVE.fullmatch(objective):
        of_class = ATTRIBUTE.fullmatch(objective)
        if of_class:
            raise BadObjective(
                f"{objective!r} names an attribute of a class; write `objective = {of_class[2]}` at the end of "
                f"{of_class[1]} and name {of_class[1]}:objective"
            )
        named = objective.partition(":")[0]
        if named.endswith(NOTEBOOK):
            raise BadObjective(
                f"{named} is a notebook, and a trial imports a Python file; write the function into one, as "
                "`%%writefile train.py` in the first line of its cell does, and name train.py:objective"
            )
        if objective.endswith(SETTINGS):
            raise BadObjective(
                f"{objective!r} is no study file, which is TOML, such as study.toml (`fts init` writes one), and "
                "no objective, expected FILE.py:FUNCTION, such as train.py:objective"
            )
        missing = MODULE.fullmatch(objective) and named.replace(".", "/") + ".py"
        raise BadObjective(
            f"{objective!r} is no objective, "
            + (f"there is no {missing} in {folder}; " if missing else "")
            + f"expected FILE.py:FUNCTION, such as {suggested(objective, folder)}"
        )
    file, _, name = objective.rpartition(":")
    path = folder / file
    try:
        code = path.read_bytes()
    except OSError as error:
        instead = "" if path.exists() else near_file(file, name, folder)
        raise BadObjective(f"{path} cannot be read: {why_unreadable(error, path)}{instead}") from None
    try:
        tree = ast.parse(code, str(path))
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        raise BadObjective(
            f"{path} is no Python file: {getattr(error, 'msg', error)}" + (f", line {line}" if line else "")
        ) from None
    if (at := search_at_import(code)) is not None:
        raise BadObjective(
            f"{path.name} line {at} runs a whole search when the file is imported, which each trial does; put "
            '`if __name__ == "__main__":` above it, and indent it'
        )
    if (kind := not_callable(tree, name)) is not None:
        raise BadObjective(f"{name} of {path} is {kind.replace(HERE, file)}")
    node = defined(tree, name)
    if node is None:
        if not is_bound(tree, name):
            raise BadObjective(f"{path} has no function {name!r}; {where_instead(code, tree, name, file)}")
        return Function(path, name, code_md5(code), (), (), any_name=True, tuner=other_tuner(tree, name))
    given = arguments_of(node)
    decorated = bool(node.decorator_list)
    unknown = not given.names and (given.has_list or decorated)
    as_value = bool(given.names) and not decorated and is_value(node, given.names[0])
    takes_all, tuner = given.has_others or unknown, other_tuner(tree, name)
    return Function(
        path, name, code_md5(code), given.names, given.required, takes_all, tuner, given.fixed, as_value, decorated
    )


def where_instead(code: bytes, tree: ast.Module, name: str, file: str) -> str:
    """Says where a name is that is not at the top level of the file, and what to do."""
    if (line := made_in_main_block(code, name)) is not None:
        return f'line {line} makes it under `if __name__ == "__main__":`, which a trial does not run; make it above'
    for outer in tree.body:
        inner = [node for node in ast.walk(outer) if isinstance(node, ast.FunctionDef) and node.name == name]
        if inner and isinstance(outer, ast.FunctionDef | ast.ClassDef):
            return f"line {inner[0].lineno} defines it inside {outer.name}; move it to the top level"
    called = {
        node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    if {"ask", "tell"} <= called:
        return (
            "write what it does between study.ask() and study.tell() as `def objective(trial)` that returns the value"
        )
    if not functions:
        return f"it has none; to run all of it in each trial, enqueue it as a command: {A_COMMAND.replace(HERE, file)}"
    return f"it has {', '.join(functions)}"


def to_file_path(objective: str, folder: Path) -> str:
    """Turns `pkg.train:objective` into `pkg/train.py:objective` or `src/pkg/train.py:objective`; expands `~`."""
    if objective.startswith(("~", "$")):
        return str(expanded(objective))
    if not MODULE.fullmatch(objective):
        return objective
    module, _, name = objective.partition(":")
    file = module_file(module, folder)
    return objective if file is None else f"{file}:{name}"


def module_file(module: str, folder: Path) -> str | None:
    """Returns the file of a module, below the folder or its `src`; None: it does not exist."""
    path = module.replace(".", "/")
    return next(
        (one for one in (f"{path}.py", f"{path}/__init__.py", f"src/{path}.py") if (folder / one).is_file()), None
    )


def suggested(word: str, folder: Path) -> str:
    """Suggests an existing objective to a person who has named only its file, or named both in another way."""
    named, _, function = word.replace("::", ":").partition(":")
    module, _, last = named.rpartition(".")
    tried = [(named, function), (f"{named}.py", function), (module_file(named, folder), function)]
    tried += [] if function else [(module_file(module, folder), last)]
    try:
        file, function = next(
            (file, of) for file, of in tried if file and file.endswith(".py") and (folder / file).is_file()
        )
        tree = ast.parse((folder / file).read_bytes())
    except (StopIteration, OSError, SyntaxError, ValueError):
        return "train.py:objective"
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    name = next((each for each in (function, "objective", *names) if each in names), None)
    return "train.py:objective" if name is None else f"{file}:{name}"


def near_file(file: str, name: str, folder: Path) -> str:
    """Returns `; did you mean train.py:objective?` for a mistyped file, or for one that is in `src`."""
    path = Path(file)
    in_src = Path("src") / path
    if not path.is_absolute() and (folder / in_src).is_file():
        return f"; did you mean {in_src}:{name}?"
    try:
        there = [each.name for each in (folder / path.parent).iterdir() if each.suffix == ".py"]
    except OSError:
        return ""
    near = nearest(path.name, there)
    return "" if near is None else f"; did you mean {path.with_name(near)}:{name}?"


def check_interpreter(python: str, folder: Path, needs_optuna: bool) -> None:
    """Raises BadObjective if the interpreter is no Python, is too old, or has no optuna where that is needed."""
    ask = (
        "import importlib.util as u, sys; print(*sys.version_info[:2], *map(bool, map(u.find_spec, ['optuna', 'pip'])))"
    )
    try:
        done = subprocess.run([python, "-c", ask], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        major, minor, has_optuna, has_pip = done.stdout.split()[-4:]  # a wrapper may print something before
        version = int(major), int(minor)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        why = f": {error}" if isinstance(error, OSError | subprocess.TimeoutExpired) else ""
        raise BadObjective(
            f"{python} does not answer as Python does{why}; expected one such as .venv/bin/python"
        ) from None
    if version < OLDEST:
        raise BadObjective(f"{python} is Python {major}.{minor}, expected {OLDEST[0]}.{OLDEST[1]} or newer")
    if needs_optuna and has_optuna != "True":
        cure = installing("optuna", python=python, has_pip=has_pip == "True")
        raise BadObjective(f"{python} has no optuna, which gives the function its trial: {cure}")


def check_parameters(found: Function, axes: Sequence[str], space: Mapping[str, Any] | None) -> None:
    """Raises BadObjective if a parameter would get no value, or if an axis would be passed to nothing."""
    if found.tuner is not None and space is None and TRIAL not in found.parameters:
        raise BadObjective(
            f"{found.path.name} line {found.tuner.line} runs {found.name} with {found.tuner.name}, which gives it its "
            f"parameters; write `def {SHORT}(trial): return {found.name}"
            "({'lr': trial.suggest_float('lr', 1e-5, 1e-1, log=True)})`, with all of them, and name "
            f"{found.path.name}:{SHORT}"
        )
    if not found.parameters and found.any_name:
        return
    if not found.parameters:
        raise BadObjective(f"{found.name} of {found.path.name} takes no trial; write `def {found.name}(trial)`")
    if TRIAL in found.parameters and (clash := [name for name in [*axes, *(space or {})] if name == TRIAL]):
        raise BadObjective(
            f"{found.name} of {found.path.name} gets the trial as {clash[0]}, so no axis or parameter can have that "
            "name; choose another"
        )
    trial = found.trial_argument(axes, space)
    if trial not in (None, TRIAL, *found.required) and found.takes_value:
        raise BadObjective(
            f"{found.name} of {found.path.name} would get a trial as its first argument {trial}, which is None by "
            f"default; name it {TRIAL} if that is meant, else make another argument the first"
        )
    if (missing := found.lacking(axes, space)) and not found.is_decorated:
        raise BadObjective(
            f"{found.name} of {found.path.name} needs {', '.join(missing)}, which nothing gives: expected an axis "
            f"(-m {missing[0]}=A,B), a parameter (--space {missing[0]}=LOW:HIGH), or the name of a function that "
            f"gives it: `{with_all(found, missing, space)}`"
        )
    if not found.any_name and (unused := [name for name in [*axes, *(space or {})] if name not in found.parameters]):
        if trial is not None:
            return  # it can read them from the trial: trial.params, fts.cell(trial)
        near = hint(unused[0], found.parameters)
        raise BadObjective(
            f"{found.name} of {found.path.name} takes no {', '.join(unused)}; {near}it takes "
            f"{', '.join(found.parameters)}"
        )


def refuse_unused_start(cell: FunctionCell) -> None:
    """Raises BadObjective for parameters of first trials if the function draws none."""
    found = inspect(cell.objective, Path(cell.folder))
    if cell.space is None and not found.needs_optuna(cell.axes, None):
        raise BadObjective(
            f"gives parameters of a first trial, and {found.name} of {found.path.name} draws none; write them as axes "
            "of the cells, such as -m lr=0.1,0.01"
        )


def with_all(found: Function, missing: Sequence[str], space: Mapping[str, Any] | None) -> str:
    """Returns a function that calls this one with what is missing; a function that wants a dict gets the parameters."""
    if space and missing == list(found.parameters[:1]):
        pairs = ", ".join(f"{name!r}: {name}" for name in space)
        return f"def {SHORT}({', '.join(space)}): return {found.name}({{{pairs}}})"
    return f"def {SHORT}(trial): return {found.name}({', '.join(dict.fromkeys([found.parameters[0], *missing]))})"


def experiment_name(study: str, values: Sequence[Value]) -> str:
    """Returns the name for the files of a cell, such as train_mnist_S."""
    return "_".join([study, *(clean(str(value)) for value in values)])[:80]


def with_unique_names(made: list[Cell], every: Iterable[str] | None = None) -> list[Cell]:
    """Makes the cells' names unique: appends the md5 of the labels to a name that occurs twice.

    `every`: the names of all cells of the study, if these are some of them.
    """
    made = [limit_to_grid(cell) for cell in made]
    counts = Counter((cell.experiment for cell in made) if every is None else every)
    return [
        cell
        if counts[cell.experiment] == 1
        else replace(cell, experiment=f"{cell.experiment[:71]}_{cell.question[:8]}")
        for cell in made
    ]


def limit_to_grid(cell: Cell) -> Cell:
    """Limits the trials of a grid search to the number of grid points. Raises BadSpec for an empty grid."""
    most = most_trials(cell)
    if most == 0:
        raise BadSpec(f"the grid of {cell.experiment} has no point: forbid leaves nothing")
    return cell if most is None or most >= cell.trials else replace(cell, trials=most)


def parse_goal(text: str) -> tuple[str, str]:
    """Parses `loss=minimize`. Raises BadSpec."""
    name, equals, goal = text.partition("=")
    if not equals or not NAME.fullmatch(name.strip()) or goal.strip() not in (MINIMIZE, MAXIMIZE):
        raise BadSpec(
            f"{quoted(text)} is no goal, expected NAME={MINIMIZE} or NAME={MAXIMIZE}, such as loss={MINIMIZE}"
        )
    return name.strip(), goal.strip()


def parse_constraint(text: str) -> tuple[str, str]:
    """Parses `n_params <= 2e6` into metric and bound. Raises BadSpec."""
    found = re.fullmatch(r"\s*([^<>=\s]+)\s*([<>]=.*)", text)
    if found is None or not NAME.fullmatch(found[1]):
        raise BadSpec(f"{quoted(text)} is no constraint, expected NAME<=NUMBER or NAME>=NUMBER, such as n_params<=2e6")
    bound_of(found[1], found[2])
    return found[1], found[2].strip()


def clean(text: str) -> str:
    """Replaces everything except letters, digits and _.- by "-"."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "x"


def parse_axis(text: str) -> tuple[str, list[Value]]:
    """Parses `size=S,M,L` into a name and its values; numbers become numbers. Raises BadSpec."""
    name, equals, listed = text.partition("=")
    name = in_code(name.strip())
    words = [word.strip() for word in listed.split(",")]
    if not equals or not is_name(name) or not all(words):
        raise BadSpec(f"{text!r} is no axis, expected NAME=A,B,C, such as size=S,M,L")
    if any(is_open(word) for word in words) and not is_open(listed):
        found = f"{text!r} has a comma inside brackets, but a comma always ends a value"
        if RANGE_CALL.match(listed.strip()):
            raise BadSpec(f"{found}; a range is LOW:HIGH or LOW:HIGH:log of --space, or LOW..HIGH:log in a command")
        raise BadSpec(f"{found}; write NAME=A,B instead")
    values = [value_of(word) for word in words]
    check_values(name, values)
    if len(set(values)) < len(values):  # 1 equals 1.0
        raise BadSpec(f"{text!r} names a value twice")
    return name, values


def checked_axes(axes: Any) -> dict[str, list[Value]]:
    """Returns the axes, which may come from a script: name -> values. Raises BadSpec."""
    if not isinstance(axes, Mapping):
        raise BadSpec(f"the axes are {quoted(axes)}, expected a dict such as {{'size': ['S', 'M']}}")
    found: dict[str, list[Value]] = {}
    for name, given in axes.items():
        if not is_name(name):
            raise BadSpec(f"an axis is called {quoted(name)}, expected a name such as size")
        if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
            raise BadSpec(f"the axis {name} is {quoted(given)}, expected a list of values, such as ['S', 'M']")
        values = [one.item() if getattr(one, "shape", None) == () else one for one in given]  # numbers of numpy
        check_values(name, values)
        if not values:
            raise BadSpec(f"the axis {name} has no values, expected some, such as ['S', 'M']")
        if len(set(values)) < len(values):
            raise BadSpec(f"the axis {name} names a value twice: {quoted(values)}")
        found[in_code(name)] = values
    return found


def check_values(name: str, values: Iterable[Any]) -> None:
    for value in values:
        if not isinstance(value, str | int | float) or (not isinstance(value, str) and not abs(value) < LARGEST):
            raise BadSpec(f"{name} is {quoted(value)}, expected text or a number up to {LARGEST:g}")
        if isinstance(value, str) and not (
            value.isprintable() and 0 < len(value) <= LONGEST and value == value.strip()
        ):
            raise BadSpec(f"{name} is {quoted(value)}, expected 1 to {LONGEST} printable characters")


def in_code(name: str) -> str:
    """Returns a name as Python reads it in code, where some characters stand for others: µ (micro) for μ (mu)."""
    return unicodedata.normalize("NFKC", name)


def is_open(text: str) -> bool:
    """Returns whether a bracket in the text has no partner."""
    return any(text.count(opening) != text.count(closing) for opening, closing in ("()", "[]", "{}"))


def value_of(word: str) -> Value:
    """Returns 5, 0.1 or 1e-3 as a number, any other word unchanged."""
    if not NUMBER.fullmatch(word):
        return word
    whole = re.fullmatch(r"[+-]?\d{1,400}", word)  # Python refuses to read thousands of digits; as a float they are inf
    return int(word) if whole else float(word)


def parse_parameter(text: str) -> tuple[str, dict[str, Any]]:
    """Parses `lr=1e-5:1e-1:log`, `layers=1:4` (whole numbers stay whole) or `opt=adam,sgd`. Raises BadSpec.

    1..4 is the same as 1:4, as commands write it.
    """
    name, equals, listed = text.partition("=")
    name = in_code(name.strip())
    if ends := RANGE.fullmatch(listed):
        listed = f"{ends[1]}:{ends[2]}" + (":log" if ends[3] else "")
    expected = "expected NAME=A,B or NAME=LOW:HIGH, with :log behind it for a log scale"
    if not equals or not is_name(name):
        raise BadSpec(f"{text!r} is no parameter, {expected}")
    if ":" not in listed:
        _, values = parse_axis(text)
        return name, {"kind": "choice", "choices": values}
    parts = listed.split(":")
    log = len(parts) == 3 and parts[2].strip() == "log"
    given = [value_of(part.strip()) for part in parts[:2]]
    numbers = [number for number in given if not isinstance(number, str)]
    if len(parts) not in (2, 3) or (len(parts) == 3 and not log) or len(numbers) < 2:
        raise BadSpec(f"{text!r} is no parameter, {expected}")
    whole = all(isinstance(n, int) for n in numbers)
    low, high = numbers if whole else map(float, numbers)
    try:
        check_range(low, high, log)
    except BadSpec as error:
        raise BadSpec(f"{text!r} {error}") from None
    ends_of = {"low": low, "high": high}
    return name, {"kind": "int" if whole else "float", **ends_of, "log": log}


def declaration(cells: Sequence[BareCell], before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns the study's declaration with the axes, values and goals of these cells added."""
    known = dict(before or {})
    axes = {axis["name"]: list(axis.get("values", ())) for axis in _listed(known, "axes")}
    for cell in cells:
        for name, value in cell.axes.items():
            values = axes.setdefault(name, [])
            if value not in values:
                values.append(value)
    metrics = {metric["name"]: metric for metric in _listed(known, "metrics")}
    for cell in cells:
        for name, goal in goals_of(cell).items():
            metrics[name] = asdict(Metric(name)) | metrics.get(name, {}) | {"goal": goal}
    declared = BareStudy(cells[0].study).declaration() | known
    listed = [asdict(Axis(name, values=tuple(values))) for name, values in axes.items()]
    return declared | {"axes": listed, "metrics": list(metrics.values())}


def _listed(declaration: Mapping[str, Any], what: str) -> list[dict[str, Any]]:
    found = declaration.get(what)
    every = found if isinstance(found, list) else []
    return [one for one in every if isinstance(one, dict) and isinstance(one.get("name"), str)]


def changed_fields(cell: BareCell, spec: Mapping[str, Any]) -> list[str]:
    """Returns the names of the fields in which an earlier job's specification differs from the cell's question."""
    mine = json.loads(json.dumps(cell.to_json()))  # turns tuples into lists
    decides = [name for name in {**mine, **spec} if name not in cell.no_question]
    return [name for name in decides if md5_of(mine.get(name)) != md5_of(spec.get(name))]  # 1 is not 1.0 or True
