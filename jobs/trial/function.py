"""Runs a person's function as a trial: loads it from its file, calls it with what it asks for, tells what came out.

`f(trial)` · `f(trial, dataset, size)` with axes by keyword · `f(lr, layers, seed)` with a declared space. It runs in
the main thread of a process of its own, where the person stood when they enqueued it; nothing that it leaves behind
reaches another trial.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import inspect
import io
import json
import os
import random
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.installing import installing
from fts.jobs.api.code import md5_now
from fts.jobs.api.function import OWN_NAMES, FunctionCell, code_md5, shrinks
from fts.jobs.api.goals import CONSTRAINTS, OWN_CONSTRAINTS, goals_of, pruning_of
from fts.jobs.api.grid import GRID
from fts.jobs.api.objective import Stopped
from fts.jobs.api.spec import BadSpec, TrialSpec
from fts.jobs.python import this_python
from fts.jobs.search.needs import check_packages
from fts.jobs.search.sampler import SAMPLERS
from fts.jobs.status.formatting import in_gb
from fts.jobs.trial import process
from fts.jobs.trial.cause import CODE_ERROR, OUT_OF_MEMORY, advice, cause_of
from fts.jobs.trial.error_text import is_own, place_of, print_error, sentence_of, with_place
from fts.jobs.trial.folders import kept
from fts.jobs.trial.process import Commands, log_to, say
from fts.jobs.trial.running import (
    MAX_METRICS,
    BadReport,
    RunningTrial,
    deciding,
    is_finite,
    number_of,
    peak_bytes,
    python_values,
)
from fts.jobs.trial.stacks import write_stacks
from fts.state.files import CannotWrite, remove
from fts.state.values import HUGE, Direction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType

    from fts.jobs.trial.optuna_trial import OptunaTrial

CODE_CHANGED = "code changed"  # badge: the file is not the one that was enqueued
NO_DISPLAY = ("no display name", "cannot open display", "could not connect to display", "$display")
NO_PACKAGE = "with no known parent package"  # Python's words for `from . import x` in a file of no package
WINDOWS = "interactive framework"  # matplotlib's words for a backend that opens them
GUARD = '`if __name__ == "__main__":`'
LONGEST_ATTRIBUTE = 500  # characters
MOST_NAMED = 10  # attributes in one sentence
SEED_BITS = 31  # of the seed that such a function gets: every library takes it


class BadObjective(ValueError):
    """The function cannot be found or called, or what it returned is no result."""


def main() -> int:
    """The life of a trial process of functions."""
    return process.main(run, read, may_serve_another)


def read(data: Any) -> TrialSpec:
    """The specification of a trial of a function. Raises BadSpec."""
    return TrialSpec.from_json(data, FunctionCell.from_json)


def may_serve_another(spec: TrialSpec) -> bool:
    """May this process run another trial of the cell? Not with a thread that the function has left running."""
    ours = ("MainThread", "orders")
    return spec.cell.process == "reused" and all(thread.name in ours for thread in threading.enumerate())


def run(spec: TrialSpec, orders: Commands) -> Iterator[dict[str, Any]]:
    """The facts of one trial: started, then how it ended; what lies between the function tells through its trial."""
    cell: FunctionCell = spec.cell
    kept.off()
    log = Path(spec.log_path).absolute()
    log_to(log)
    write_stacks()
    kept.to(Path(spec.folder).absolute(), log)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # what it prints is in the log when it is killed
    running = RunningTrial(spec, orders)
    called = False
    try:
        check_sampler(cell)
        function, md5 = load(cell)
        orders.leave_if_forked()
        running.where = place_of_function(function, cell.path)
        badges = [] if md5 == cell.code_md5 else [CODE_CHANGED]
        trial, call = bind(function, running)
        running.trial = trial
        seed_everything(spec.seed)
        orders.training = called = True
        yield {"fact": "started", **facts_of(running), "code_md5": md5, "badges": badges}
        say(f"{cell.experiment} t{spec.number} {cell.objective}" + "".join(f", {badge}" for badge in badges))
        if orders.stop_asked():
            raise Stopped
        returned = call()
        orders.leave_if_forked()
        if running.left or orders.struck or orders.cut:
            raise Stopped  # it was caught, and what the function returned then is not its result
        if running.loaded is not None:
            yield again(running)
            return
        yield {"fact": "result", **result(running, trial, returned)}
        say("ended")
    except Stopped as error:
        orders.leave_if_forked(error)
        say("stopped")
        yield {"fact": "stopped", "step": len(running.reports)}
    except BaseException as error:  # noqa: BLE001  # whatever a person's function raises ends its trial alone
        orders.leave_if_forked(error)
        if isinstance(error, NameError) and running.loaded is not None:
            yield again(running)
            return
        ended = ended_by(error, running, called)
        with contextlib.suppress(OSError):  # a full disk may be the very error
            say(ended["fact"]) if ended["fact"] != "failed" else print_error(error)
        if ended["fact"] == "pruned":
            ended[CONSTRAINTS] = constraints_of(running.trial)
        ended["user_attrs"] = attributes_of(running.trial)
        yield ended | {"peak_bytes": peak_bytes()}


def again(running: RunningTrial) -> dict[str, Any]:
    """A trial that was killed behind its last epoch: what the function makes of an epoch that it has not trained is
    no result, such as a loss that is still 0 or not there. It trains that epoch again, from the checkpoint before.
    """
    assert running.loaded is not None, "the caller has looked"
    remove(running.loaded, running.folder)
    said = f"nothing was left to train behind {running.loaded.name}, so the last epoch is trained again"
    say(said)
    return {"fact": "stopped", "step": len(running.reports), "again": True, "message": said}


def ended_by(error: BaseException, running: RunningTrial, called: bool = True) -> dict[str, Any]:
    """How a trial ended whose function raised something; what breaks before it is called breaks every trial."""
    if type(error).__name__ == "TrialPruned" and not (running.orders.struck or running.orders.cut):
        return {"fact": "pruned"}
    if running.stop_asked and not isinstance(error, BadSpec):
        return {"fact": "stopped", "step": len(running.reports)}  # a stop may well break a function; it runs again
    folder = running.cell.path.parent.absolute()
    if isinstance(error, SystemExit):
        who = running.cell.function if called else running.cell.path.name
        message = f"{who} called sys.exit({error.code!r:.100}) ({place_of(error, folder)})"
        cure = "return the value of the trial instead" if called else f"keep it out of what runs at import: use {GUARD}"
        if place_of(error).startswith("argparse.py "):
            cure = "a trial has no command line: give every argument a default"
        return {"fact": "failed", "cause": CODE_ERROR, "message": f"{message}; {cure}", "lasting": not called}
    if isinstance(error, GeneratorExit):
        raise error
    cause, message = CODE_ERROR if names_no_file(error) else cause_of(error), sentence_of(error, folder)
    if isinstance(error, BadObjective | BadReport):
        message = with_place(message, running.where)
    if cause == OUT_OF_MEMORY and (peak := peak_bytes()):
        message = f"out of memory, its process held {in_gb(peak)}: {message}"
    if isinstance(error, ImportError) and (helps := cure_of(error, folder)) is not None:
        cause, message = CODE_ERROR, f"{message}; {helps}" if helps else message
    elif any(words in message.lower() for words in NO_DISPLAY):
        message += "; a worker has no display: draw into files, with MPLBACKEND=Agg for matplotlib"
    elif isinstance(error, ModuleNotFoundError):
        message += f"; install it for {this_python()}"
    else:
        message += advice(error)
    lasting = isinstance(error, ModuleNotFoundError) or (not called and cause == CODE_ERROR)
    foreign = not isinstance(error, CannotWrite)  # perhaps of another disk than the study's
    return {"fact": "failed", "cause": cause, "message": message, "lasting": lasting, "foreign": foreign}


def names_no_file(error: BaseException) -> bool:
    """Does the code name a file that is not there, or is in the way? Another try would find the same.

    False where a disk may be missing, whose folder is then empty, and for a program that another machine may have.
    """
    if isinstance(error, FileExistsError | IsADirectoryError | NotADirectoryError):
        return True
    if not isinstance(error, FileNotFoundError) or not isinstance(error.filename, str):
        return False
    there = Path(error.filename).absolute()
    while not os.path.lexists(there):
        there = there.parent
    return there.is_dir() and any(there.iterdir()) and not place_of(error).startswith("subprocess.py ")


def cure_of(error: ImportError, folder: Path) -> str | None:
    """What the person can change in their files; None: the import fails by what is not installed, or broken there."""
    if NO_PACKAGE in str(error):
        return f"put an __init__.py into {folder}, or import without the dot"
    if WINDOWS in str(error):
        return "a worker has no display: leave matplotlib its backend, which is Agg in a trial"
    if not error.path or not is_own(Path(error.path), folder):
        return None
    name = Path(error.path).stem
    return f"rename {name}.py, which takes the place of Python's own {name}" if name in sys.stdlib_module_names else ""


# -- the function


def check_sampler(cell: FunctionCell) -> None:
    if cell.sampler not in (*SAMPLERS, GRID):
        raise BadSpec(f"the sampler is {cell.sampler}, expected one of {', '.join((*SAMPLERS, GRID))}")
    if cell.space is None:
        check_packages(cell.sampler)


def load(cell: FunctionCell) -> tuple[Callable[..., Any], str]:
    """The function of FILE.py:FUNCTION, from where the person stood, and the md5 of the code that was run.

    Raises BadObjective, and what the file raises.
    """
    if not Path(cell.folder).is_dir():
        raise BadObjective(f"{cell.folder} is no folder; the study was enqueued there, enqueue it again")
    os.chdir(cell.folder)
    path = cell.path.absolute()
    try:
        code = path.read_bytes()
    except FileNotFoundError:
        raise BadObjective(f"{path} does not exist; restore it or enqueue the study again") from None
    if (module := LOADED.get((str(path), code))) is None:
        module = LOADED[str(path), code] = imported(path, code)
    function = getattr(module, cell.function, None)
    if function is None:
        name = module.__name__
        there = [one for one, value in vars(module).items() if inspect.isfunction(value) and value.__module__ == name]
        raise BadObjective(f"{path.name} has no {cell.function}; it has {', '.join(there)[:300] or 'no functions'}")
    if not callable(function):
        raise BadObjective(f"{cell.function} in {path.name} is {type(function).__name__}, expected a function")
    if isinstance(function, type):
        raise BadObjective(f"{cell.function} in {path.name} is a class, expected a function, or an instance of it")
    called = function if inspect.isroutine(function) else type(function).__call__
    if any(inspect.iscoroutinefunction(one) or inspect.isgeneratorfunction(one) for one in (function, called)):
        raise BadObjective(f"{cell.function} in {path.name} is async or a generator, expected a function that returns")
    return function, md5_now(code_md5(code), Path(cell.folder), cell.code)


LOADED: dict[tuple[str, bytes], ModuleType] = {}  # file and its content -> module, of the trials of this process


def imported(path: Path, code: bytes) -> ModuleType:
    """The module of a file, from these bytes. Raises what the file raises."""
    for former in [module for (file, _), module in LOADED.items() if file == str(path)]:
        sys.modules.pop(former.__name__, None)  # the file has changed
    name, root = module_name(path)
    if sys.path[:1] != [str(root)]:
        sys.path.insert(0, str(root))
    package = name.rpartition(".")[0]
    if package:
        importlib.import_module(package)
    sys.argv = [str(path)]  # as `python train.py` has it, not our own words: the file may parse them
    found = importlib.util.spec_from_file_location(name, path, loader=LoaderOf(name, str(path), code))
    assert found is not None and found.loader is not None, "it has the loader that it was given"
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # data loaders and pickles find their classes by it
    found.loader.exec_module(module)
    return module


def module_name(path: Path) -> tuple[str, Path]:
    """What a file is imported as, and the folder that must be in sys.path: `model.train` where model is a package.

    Of a link it is the folder of the file that it leads to, as Python has it.
    """
    if path.is_symlink():
        path = path.resolve()
    parts, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        parts.insert(0, folder.name)
        folder = folder.parent
    taken = parts[0] in sys.modules or parts[0] in sys.stdlib_module_names
    if len(parts) > 1 and not taken:
        return ".".join(parts), folder
    name = path.stem.replace(".", "_")  # of train.v2.py: no module of a package `train`
    if name in sys.modules or name in sys.stdlib_module_names:
        name = f"objective_{name}"  # their random.py must not take the place of Python's
    return name, path.parent


class LoaderOf(importlib.machinery.SourceFileLoader):
    """Runs the bytes whose md5 is recorded: no older bytecode, and no file that was saved meanwhile."""

    def __init__(self, name: str, path: str, code: bytes) -> None:
        super().__init__(name, path)
        self.code = code

    def get_code(self, fullname: str) -> Any:
        return self.source_to_code(self.code, self.path)


def bind(function: Callable[..., Any], running: RunningTrial) -> tuple[OptunaTrial | None, Callable[[], Any]]:
    """The call with everything the function asks for, by the names of its parameters. Raises BadObjective."""
    cell = running.cell
    parameters = inspect.signature(function).parameters
    names = [one for one, parameter in parameters.items() if parameter.kind not in VARIABLE]
    if not names and cell.space is None and not cell.is_baseline and has_kind(parameters, VARIABLE[0]):
        anything = make_optuna_trial(running)  # `*args` of a decorator that hides what it calls
        axes = running.axes if has_kind(parameters, VARIABLE[1]) else {}
        return anything, lambda: function(anything, **axes)
    known = own_values(running) | running.params | running.axes
    leading = parameters[names[0]] if names else None
    wants_trial = not cell.is_baseline or (leading is not None and leading.default is inspect.Parameter.empty)
    takes_trial = trial_name(names, known, cell) if wants_trial else None
    trial = make_optuna_trial(running) if takes_trial or (cell.space is None and wants_trial) else None
    given: dict[str, Any] = {}
    for name in names:
        if name == takes_trial:
            given[name] = trial
        elif name in known:
            given[name] = known[name]
        elif name in (cell.space or {}) and parameters[name].default is inspect.Parameter.empty:
            given[name] = None  # of another branch
        elif parameters[name].default is inspect.Parameter.empty:
            raise BadObjective(f"{cell.function} needs {name}, {what_is_known(running)}")
    takes_all = not takes_trial and not cell.is_baseline  # a baseline need not know anything of the search
    if takes_all and has_kind(parameters, VARIABLE[1]):
        given |= {name: value for name, value in (running.params | running.axes).items() if name not in given}
    elif takes_all and (unused := [name for name in (*running.params, *running.axes) if name not in given]):
        raise BadObjective(f"{cell.function} takes no {', '.join(unused)}; add it to its parameters")
    first = [given.pop(name) for name in names if parameters[name].kind is POSITIONAL and name in given]
    return trial, lambda: function(*first, **given)


POSITIONAL = inspect.Parameter.POSITIONAL_ONLY
VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def has_kind(parameters: Mapping[str, inspect.Parameter], kind: Any) -> bool:
    return any(one.kind is kind for one in parameters.values())


def trial_name(names: list[str], known: dict[str, Any], cell: FunctionCell) -> str | None:
    """The parameter that gets the trial: `trial`, or the first one where no space is declared."""
    if "trial" in names:
        return "trial"
    if cell.space is not None:
        return None
    if cell.is_baseline and names[0] in known:
        return None
    if not names or names[0] in known:
        raise BadObjective(f"{cell.function} takes no trial, and the study declares no space; write def f(trial)")
    return names[0]


def what_is_known(running: RunningTrial) -> str:
    axes, params = ", ".join(running.axes) or "none", ", ".join(running.params) or "none"
    return f"which is neither an axis of the cell ({axes}) nor a parameter of the space ({params})"


def own_values(running: RunningTrial) -> dict[str, Any]:
    seed = running.seed % 2**SEED_BITS
    values = (seed, running.number, running.folder, running.device, running.threads, shrinks(running.spec.recipe))
    return dict(zip(OWN_NAMES, values, strict=True))


def make_optuna_trial(running: RunningTrial) -> OptunaTrial:
    from fts.jobs.trial.earlier_trials import study_of  # here: a function with a declared space needs no Optuna

    try:
        from fts.jobs.trial.optuna_trial import make_trial
    except ModuleNotFoundError as error:
        if error.name == "optuna":
            raise BadObjective(f"{this_python()} has no optuna: {installing('optuna')}") from error
        raise BadObjective(
            f"{this_python()} cannot import optuna, {error}; is there a file of that name beside the study's?"
        ) from error
    return make_trial(running, study_of(running.spec))


def seed_everything(seed: int) -> None:
    """Python, numpy and torch, as far as the person's code has imported them: unseeded models repeat."""
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed % 2**32)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)


# -- what is told of it


def place_of_function(function: Callable[..., Any], path: Path) -> str:
    """`train.py line 3`: where it is defined; of what is no function the file alone."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return path.name if code is None else f"{Path(code.co_filename).name} line {code.co_firstlineno}"


def facts_of(running: RunningTrial) -> dict[str, Any]:
    torch = sys.modules.get("torch")
    return {
        "device": running.device,
        "threads": running.threads,
        "host": socket.gethostname(),
        "python": sys.version.split()[0],
        "torch_version": getattr(torch, "__version__", None),
        "axes": running.axes,
        "resumed": running.resume_from is not None,
        **({"recipe": running.spec.recipe} if running.spec.recipe else {}),
    }


def result(running: RunningTrial, trial: OptunaTrial | None, returned: Any) -> dict[str, Any]:
    """Value, metrics and reason. Raises BadObjective or BadReport for what is no result."""
    cell = running.cell
    metrics: dict[str, float] = {}
    goals = tuple(goals_of(cell))
    if returned is None:
        if not running.reports:
            raise BadObjective(f"{cell.function} returned None and reported nothing; return a number or call report")
        last = running.reports[-1]
        metrics = last.metrics
        value = deciding(metrics, cell.metric) if metrics and len(goals) > 1 else last.value
    elif isinstance(returned, dict):
        metrics = running.numbers(returned, cell.metric, *(goals if len(goals) > 1 else ()))
        value = deciding(metrics, cell.metric)
    elif isinstance(returned, list | tuple) and len(returned) != len(goals):
        raise BadObjective(wrong_number(cell, len(returned), goals))
    elif len(goals) > 1 and not (cell.is_baseline and not isinstance(returned, list | tuple)):
        if not isinstance(returned, list | tuple):
            raise BadObjective(wrong_number(cell, 1, goals))
        told = zip(goals, returned, strict=True)
        metrics = {name: number_of(one, f"{name}, which {cell.function} returned,") for name, one in told}
        value = metrics[cell.metric]
    else:
        one = returned[0] if isinstance(returned, list | tuple) else returned
        value = number_of(one, f"what {cell.function} returned")
    sound = is_finite(value)
    best = best_report(running)
    return {
        "value": value if sound else None,
        "reason": "finished" if sound else "diverged",
        "message": None if sound else diverged(cell.function, value, running.where),
        "metrics": metrics,
        "epochs": len(running.reports),
        "best_epoch": best,
        "last_value": running.reports[-1].value if running.reports else None,
        "peak_bytes": peak_bytes(),
        "where": running.where,
        "user_attrs": attributes_of(trial),
        CONSTRAINTS: constraints_of(trial),
    }


def diverged(function: str, value: float, where: str) -> str:
    return with_place(f"{function} returned {value}, expected a finite number, at most {HUGE:g}", where)


def wrong_number(cell: FunctionCell, returned: int, goals: tuple[str, ...]) -> str:
    """What to say of a number of values that is not that of the goals."""
    values = "1 value" if returned == 1 else f"{returned} values"
    if len(goals) == 1:
        cure = "declare each goal with --goal NAME=minimize"
        return f"{cell.function} returned {values}, expected one number; for several goals {cure}"
    return f"{cell.function} returned {values}, expected {len(goals)}, one for each goal: {', '.join(goals)}"


def best_report(running: RunningTrial) -> int | None:
    scored = [report for report in running.reports if is_finite(report.value)]
    key = Direction(pruning_of(running.cell)[1]).key
    return min(scored, key=lambda report: key(report.value)).step if scored else None


def constraints_of(trial: OptunaTrial | None) -> dict[str, float]:
    """What trial.set_constraint was told, and what stands in the user attribute of Optuna's `constraints_func`."""
    if trial is None:
        return {}
    found = {str(name): float(value) for name, value in trial.constraints.items()}
    for name in OWN_CONSTRAINTS:
        given = python_values(trial.user_attrs.get(name))
        listed = given if isinstance(given, list) else [given]
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in listed):
            found |= {str(n): number_of(value, name) for n, value in enumerate(listed)}
    return dict(list(found.items())[:MAX_METRICS])


def attributes_of(trial: OptunaTrial | None) -> dict[str, Any]:
    """What the function kept with set_user_attr, as far as it is plain and short: a fact is one line."""
    given = dict(trial.user_attrs) if trial is not None else {}
    told = {name: plain(value) for name, value in list(given.items())[:MAX_METRICS] if is_plain(name)}
    kept = {name: value for name, value in told.items() if is_plain(value)}
    if left := [f"{name!r:.80}" for name in given if name not in kept]:
        expected = f"plain values of at most {LONGEST_ATTRIBUTE} characters"
        say(f"not on record, of the attributes of the trial: {', '.join(left[:MOST_NAMED])}; expected {expected}")
    return kept


def plain(value: Any) -> Any:
    """As a record can have it, if it can; what cannot be read stays what it is."""
    with contextlib.suppress(TypeError, ValueError, RuntimeError):  # RecursionError, and torch's of a tensor, too
        return python_values(value)
    return value


def is_plain(value: Any) -> bool:
    """Can a record have it? JSON makes lists of tuples, and text of keys, as a storage of Optuna does."""
    try:
        single = value is None or isinstance(value, bool | int | float | str)
        text = str(value) if single else json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
        return len(text) <= LONGEST_ATTRIBUTE
    except (TypeError, ValueError, RecursionError):  # the name of a file that is not UTF-8, too
        return False


if __name__ == "__main__":
    from fts.jobs.trial.function import main as life  # the module, not this copy of it under another name

    sys.exit(life())
