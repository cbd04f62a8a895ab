"""Finds the function of an objective such as `train.py:objective` in its file, without running the file."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.bare_cell import OBJECTIVE
from fts.jobs.api.function import OWN_NAMES, TRIAL, code_md5, made_in_main_block, trial_argument
from fts.jobs.api.made_names import may_be_made, may_be_replaced
from fts.jobs.api.nearest import nearest
from fts.jobs.api.spec import BadSpec
from fts.jobs.api.top_names import A_COMMAND, HERE, arguments_of, defined, is_bound, is_value, not_callable
from fts.jobs.own_search import Tuner, other_tuner, search_at_import
from fts.state.files import expanded, why_unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*")  # pkg.train:objective
ATTRIBUTE = re.compile(r"([^:\0]{1,3000}\.py):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)")  # train.py:Model.objective
NOTEBOOK = ".ipynb"
SETTINGS = (".yaml", ".yml", ".json", ".toml", ".tml", ".ini", ".cfg")  # files that may be meant as a study


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


def inspect(objective: str, folder: Path) -> Function:
    """Parses the file and finds the function in it. Raises BadObjective."""
    if not OBJECTIVE.fullmatch(objective):
        raise BadObjective(what_instead(objective, folder))
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
    replaced = may_be_replaced(tree, name)
    if not replaced and (kind := not_callable(tree, name)) is not None:
        raise BadObjective(f"{name} of {path} is {kind.replace(HERE, file)}")
    node = None if replaced else defined(tree, name)
    if node is None:
        if not (replaced or is_bound(tree, name) or may_be_made(tree, name)):
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


def what_instead(objective: str, folder: Path) -> str:
    """Says what a text is that is not FILE.py:FUNCTION, and what to write."""
    if of_class := ATTRIBUTE.fullmatch(objective):
        return (
            f"{objective!r} names an attribute of a class; write `objective = {of_class[2]}` at the end of "
            f"{of_class[1]} and name {of_class[1]}:objective"
        )
    named = objective.partition(":")[0]
    if named.endswith(NOTEBOOK):
        return (
            f"{named} is a notebook, and a trial imports a Python file; write the function into one, as "
            "`%%writefile train.py` in the first line of its cell does, and name train.py:objective"
        )
    if objective.endswith(SETTINGS):
        return (
            f"{objective!r} is no study file, which is TOML, such as study.toml (`fts init` writes one), and "
            "no objective, expected FILE.py:FUNCTION, such as train.py:objective"
        )
    missing = MODULE.fullmatch(objective) and named.replace(".", "/") + ".py"
    return (
        f"{objective!r} is no objective, "
        + (f"there is no {missing} in {folder}; " if missing else "")
        + f"expected FILE.py:FUNCTION, such as {suggested(objective, folder)}"
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
    """Turns `pkg.train:objective` into `pkg/train.py:objective` or `src/pkg/train.py:objective`; expands `~`.

    Each path of one file in the folder becomes the same: ./train.py and that with the folder are train.py.
    """
    if objective.startswith(("~", "$")):
        objective = str(expanded(objective))
    if not MODULE.fullmatch(objective):
        path, _, function = objective.rpartition(":")
        return f"{_in_folder(path, folder)}:{function}" if path.endswith(".py") else objective
    module, _, name = objective.partition(":")
    file = module_file(module, folder)
    return objective if file is None else f"{file}:{name}"


def _in_folder(file: str, folder: Path) -> str:
    """Returns the path below the folder, or the path as it is if it leads elsewhere or through a link with `..`."""
    plain = Path(os.path.normpath(folder / file))
    if ".." in Path(file).parts:
        try:
            if not plain.samefile(folder / file):
                return file
        except OSError:
            return file
    return str(plain.relative_to(folder)) if plain.is_relative_to(folder) else file


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
