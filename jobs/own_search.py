"""Finds what a script sets for its own search with Optuna (direction, trials, sampler ...), without running the script.

A trial calls only the objective. So a search that maximizes in the script would minimize here, if nobody noticed.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.function import FunctionCell, only_as_main
from fts.jobs.api.goals import OWN_CONSTRAINTS
from fts.jobs.api.spec import BadSpec
from fts.jobs.api.study import MAXIMIZE, MINIMIZE
from fts.jobs.api.top_names import defined, value_of_name
from fts.jobs.check.causes import BLOCKS, dotted, reached, tree_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from fts.jobs.api.bare_cell import BareCell

OF_OPTUNA = {  # a class of Optuna -> our name of the sampler or pruner
    "TPESampler": "tpe", "RandomSampler": "random", "GPSampler": "gp", "NSGAIISampler": "nsgaii",
    "CmaEsSampler": "cmaes", "GridSampler": "grid", "BruteForceSampler": "grid", "MedianPruner": "median",
    "PercentilePruner": "percentile", "SuccessiveHalvingPruner": "halving", "HyperbandPruner": "halving",
    "NopPruner": "none",
}  # fmt: skip
CONSTRAINTS = "constraints_func"
SAME_HERE = ("seed", CONSTRAINTS)  # arguments of a sampler that have an own sentence, or none
OPTIMIZE = "optimize"
TUNERS = {
    "wandb.agent": "W&B", "tune.Tuner": "Ray Tune", "tune.run": "Ray Tune", "Tuner": "Ray Tune",
    "ray.tune.Tuner": "Ray Tune", "ray.tune.run": "Ray Tune",
}  # fmt: skip
WORD = re.compile(r"[^\W\d][^,]*(?<!\s)")  # a text that --warm-start reads as it is
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


@dataclass(frozen=True)
class Made:
    """A sampler or pruner that the script makes."""

    name: str  # of its class
    arguments: tuple[str, ...]
    line: int

    @property
    def own(self) -> str | None:
        return OF_OPTUNA.get(self.name)


@dataclass(frozen=True)
class OwnSearch:
    """The script's own search for one objective. None and empty values: not said, or known only when it runs."""

    line: int
    directions: tuple[str, ...]
    trials: int | None
    timeout_s: float | None
    parallel: int | None
    sampler: Made | None
    pruner: Made | None
    first: tuple[dict[str, Any], ...]  # of enqueue_trial
    callbacks: bool
    sets_constraints: bool  # the objective itself
    returned: tuple[str, ...]  # names of the values that the objective returns


def own_search(tree: ast.Module, function: str) -> OwnSearch | None:
    """Returns the search for this function; None: the file has none, or it is not clear which."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    created = [call for call in calls if _is_study(call) and _last(call.func) == "create_study"]
    runs = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == OPTIMIZE]
    runs = [run for run in runs if _receiver(run) in created or _name(run)]
    mine = [run for run in runs if _mentions(run, function)] or (runs if len(runs) == 1 else [])
    name = next((_name(run) for run in mine if _name(run)), None)
    if mine and name is None:
        created = [one for one in created if any(one is _receiver(run) for run in mine)]
    elif mine:
        created = [value for value in _assigned(tree, name) if value in created]
    if len(created) != 1:
        return None
    given = {word.arg: word.value for word in created[0].keywords if word.arg}
    options = {word.arg: word.value for word in mine[0].keywords if word.arg} if len(mine) == 1 else {}
    if len(mine) == 1 and len(mine[0].args) > 1:
        options["n_trials"] = mine[0].args[1]
    trials, timeout, parallel = (_number(tree, options.get(one)) for one in ("n_trials", "timeout", "n_jobs"))
    return OwnSearch(
        created[0].lineno,
        _directions(created[0]),
        None if trials is None else int(trials),
        timeout,
        None if parallel is None else int(parallel),
        _made(tree, given.get("sampler")),
        _made(tree, given.get("pruner")),
        tuple(_first(calls, name)) if name else (),
        any(word.arg == "callbacks" and not _is_empty(word.value) for run in mine for word in run.keywords),
        any(isinstance(node, ast.Attribute) and node.attr == "set_constraint" for node in ast.walk(tree))
        or any(isinstance(node, ast.Constant) and node.value in OWN_CONSTRAINTS for node in ast.walk(tree)),
        _returned(tree, function),
    )


def refuse_other_direction(cell: FunctionCell, typed: Container[str]) -> None:
    """Raises BadSpec if the script's own search has another direction or more goals, and no option names them."""
    if "direction" in typed or "goals" in typed:
        return
    own = of_cell(cell)
    if own is None or not own.directions or own.directions == (cell.direction,):
        return
    where = f"{cell.path.name} line {own.line}"
    if len(own.directions) == 1:
        there = own.directions[0]
        raise BadSpec(
            f"{where} makes a study that {there}s; add --direction {there}, as there, or --direction {cell.direction} "
            "if you mean that"
        )
    names = own.returned if len(own.returned) == len(own.directions) else ()
    names = names or tuple(f"values_{n}" for n in range(len(own.directions)))
    goals = " ".join(f"--goal {name}={one}" for name, one in zip(names, own.directions, strict=True))
    raise BadSpec(f"{where} makes a study with {len(own.directions)} goals; add {goals}")


def not_taken_over(cells: Sequence[BareCell], typed: Container[str] | None) -> list[str]:
    """Returns sentences about what works in the script's own search and not in the cells.

    `typed` are the options of the command line; None: the study is written down elsewhere, and only a direction that
    differs is worth a sentence.
    """
    cell = cells[0]
    if not isinstance(cell, FunctionCell):
        return []
    return list(_globals(cell)) + _of_search(cell, typed)


def _globals(cell: FunctionCell) -> Iterator[str]:
    """Yields a sentence if the objective changes a global, such as the best value so far, for the next trial."""
    tree = tree_of(cell.path)
    at_import = _called_at_import(tree)
    found = [node for node in reached(tree, cell.function) if isinstance(node, ast.Global) and node not in at_import]
    if found and cell.process == "fresh":
        yield (
            f"{cell.path.name} line {found[0].lineno} changes the global {found[0].names[0]}; no later trial sees "
            "that, because each has its own process: trial.study has the earlier trials"
        )


def _called_at_import(tree: ast.Module) -> list[ast.AST]:
    """Returns the nodes of the functions that the top level calls: each trial runs them anew."""
    functions = ast.Module([one for one in tree.body if isinstance(one, BLOCKS)], [])
    calls = [node.func for node in _run_at_import(tree) if isinstance(node, ast.Call)]
    return [node for call in calls if isinstance(call, ast.Name) for node in reached(functions, call.id)]


def _of_search(cell: FunctionCell, typed: Container[str] | None) -> list[str]:
    own = of_cell(cell)
    if own is None:
        return []
    where = f"{cell.path.name} line {own.line}"
    if typed is None:
        differs = len(own.directions) == 1 and not cell.goals and own.directions[0] != cell.direction
        return [
            f"{where} makes a study that {own.directions[0]}s, and this one {cell.direction}s {cell.metric}"
        ] * differs
    found = []
    if options := list(_options(cell, own, typed)):
        found.append(
            f"{where} makes a study with other settings, and fts does not read them; here they are " + " ".join(options)
        )
    if own.sampler and CONSTRAINTS in own.sampler.arguments and not (own.sets_constraints or cell.constraints):
        found.append(
            f"{cell.path.name} line {own.sampler.line}: {CONSTRAINTS} is not called here; call "
            f'trial.set_constraint("NAME", VALUE) in {cell.function}: a value above 0 violates it'
        )
    if others := list(_without_option(cell, own)):
        found.append(f"{where} makes a study with settings that have no counterpart here: {', '.join(others)}")
    return found


def of_cell(cell: FunctionCell) -> OwnSearch | None:
    return own_search(tree_of(cell.path), cell.function)


def search_at_import(code: bytes) -> int | None:
    """Returns the line of a search that runs whenever the file is imported, so in each trial; None: there is none."""
    tree = ast.parse(code)
    for node in _run_at_import(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == OPTIMIZE:
            name = _name(node)
            if any(map(_is_study, [_receiver(node)] if name is None else _assigned(tree, name))):
                return node.lineno
    return None


def _is_study(node: ast.expr) -> bool:
    """Is it a call that returns a study of Optuna? One of fts has its own sentence."""
    return (
        isinstance(node, ast.Call)
        and _last(node.func) in ("create_study", "load_study")
        and dotted(node.func) != "fts.create_study"
    )


@dataclass(frozen=True)
class Tuner:
    """Another program that runs the function and gives it its parameters."""

    name: str
    line: int


def other_tuner(tree: ast.Module, function: str) -> Tuner | None:
    """Returns the call that gives this function to W&B or Ray Tune; None: there is none."""
    for node in ast.walk(tree):
        name = TUNERS.get(dotted(node.func)) if isinstance(node, ast.Call) else None
        if name is not None and isinstance(node, ast.Call):
            given = [*node.args, *(word.value for word in node.keywords if word.arg in ("function", "trainable"))]
            if any(isinstance(one, ast.Name) and one.id == function for arg in given for one in ast.walk(arg)):
                return Tuner(name, node.lineno)
    return None


def _run_at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """Yields what importing the file runs. Not by recursion: a sum of a thousand texts is a thousand nodes deep."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, SCOPES):
            continue
        yield node
        below = node.orelse if isinstance(node, ast.If) and only_as_main(node.test) else ast.iter_child_nodes(node)
        waiting += reversed(list(below))


# -- what differs


def _options(cell: FunctionCell, own: OwnSearch, typed: Container[str]) -> Iterator[str]:
    if own.trials not in (None, cell.trials) and "trials" not in typed:
        yield f"--trials {own.trials}"
    if own.timeout_s is not None and cell.timeout_s is None:
        yield f"--timeout {own.timeout_s:g}s"
    if own.parallel is not None and own.parallel > 1 and "parallel" not in typed:
        yield f"--parallel {own.parallel}"
    for what, made, here in (("sampler", own.sampler, cell.sampler), ("pruner", own.pruner, cell.pruner)):
        if made and made.own not in (None, "grid", here) and what not in typed:
            yield f"--{what} {made.own}"
    if own.first and not cell.warm_start:
        for one in own.first:
            yield f"--warm-start {shlex.quote(_typed(one))}"


def _typed(params: dict[str, Any]) -> str:
    """Returns parameters as --warm-start reads them back: NAME=VALUE,..., or JSON for a text that is no plain word."""
    texts = [value for value in params.values() if isinstance(value, str)]
    if all(WORD.fullmatch(text) and text not in ("True", "False", "None") for text in texts):
        return ",".join(f"{name}={value}" for name, value in params.items())
    return json.dumps(params, ensure_ascii=False)


def _without_option(cell: FunctionCell, own: OwnSearch) -> Iterator[str]:
    if own.callbacks:
        yield "callbacks"
    for made in (own.sampler, own.pruner):
        if made is None:
            continue
        if made.own is None or (made.own == "grid" and cell.space is None):
            yield made.name
        elif other := [one for one in made.arguments if one not in SAME_HERE]:
            yield f"{' and '.join(other)} of {made.name}"


# -- reading the file


def _receiver(call: ast.Call) -> ast.expr:
    assert isinstance(call.func, ast.Attribute), "the caller has checked"
    return call.func.value


def _name(run: ast.Call) -> str | None:
    of = _receiver(run)
    return of.id if isinstance(of, ast.Name) else None


def _last(node: ast.expr) -> str:
    return dotted(node).rpartition(".")[2]


def _mentions(run: ast.Call, function: str) -> bool:
    given = [*run.args[:1], *(word.value for word in run.keywords if word.arg == "func")]
    return any(isinstance(node, ast.Name) and node.id == function for one in given for node in ast.walk(one))


def _assigned(tree: ast.Module, name: str | None) -> list[ast.expr]:
    """Returns every value that is assigned to the name, anywhere in the file."""
    plain = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    found = [node.value for node in plain if any(isinstance(t, ast.Name) and t.id == name for t in node.targets)]
    typed = [node for node in ast.walk(tree) if isinstance(node, ast.AnnAssign) and node.value is not None]
    return found + [
        node.value
        for node in typed
        if isinstance(node.target, ast.Name) and node.target.id == name and node.value is not None
    ]


def _directions(created: ast.Call) -> tuple[str, ...]:
    if any(word.arg is None for word in created.keywords):  # create_study(**options)
        return ()
    given = {word.arg: word.value for word in created.keywords}
    several, one = given.get("directions"), given.get("direction")
    listed = several.elts if isinstance(several, ast.List | ast.Tuple) else [one] if one is not None else []
    if several is None and one is None:
        return (MINIMIZE,)
    words = [node.value if isinstance(node, ast.Constant) else _last(node).lower() for node in listed]
    known = all(word in (MINIMIZE, MAXIMIZE) for word in words)
    return tuple(str(word) for word in words) if known else ()


def _number(tree: ast.Module, node: ast.expr | None) -> float | None:
    if isinstance(node, ast.Name):
        node = value_of_name(tree, node.id)
    try:
        value = ast.literal_eval(node) if node is not None else None
    except (ValueError, TypeError):
        return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _made(tree: ast.Module, node: ast.expr | None) -> Made | None:
    if isinstance(node, ast.Name):
        values = _assigned(tree, node.id)
        node = values[0] if len(values) == 1 else None
    if not isinstance(node, ast.Call) or not _last(node.func):
        return None
    arguments = tuple(word.arg for word in node.keywords if word.arg)
    return Made(_last(node.func), arguments, node.lineno)


def _first(calls: Sequence[ast.Call], name: str) -> Iterator[dict[str, Any]]:
    for call in calls:
        if isinstance(call.func, ast.Attribute) and call.func.attr == "enqueue_trial" and _name(call) == name:
            given = [*call.args[:1], *(word.value for word in call.keywords if word.arg == "params")]
            try:
                params = ast.literal_eval(given[0]) if given else None
            except (ValueError, TypeError):
                params = None
            if isinstance(params, dict) and params:
                yield params


def _is_empty(node: ast.expr) -> bool:
    return (isinstance(node, ast.List | ast.Tuple) and not node.elts) or (
        isinstance(node, ast.Constant) and node.value is None
    )


def _returned(tree: ast.Module, function: str) -> tuple[str, ...]:
    node = defined(tree, function)
    last = [one for one in ast.walk(node) if isinstance(one, ast.Return)][-1:] if node is not None else []
    values = last[0].value.elts if last and isinstance(last[0].value, ast.Tuple) else []
    names = [one.id for one in values if isinstance(one, ast.Name)]
    return tuple(names) if names and len(set(names)) == len(values) else ()
