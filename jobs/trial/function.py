"""Runs a user's function as a trial: loads it from its file, calls it with the arguments it names, sends its result.

`f(trial)` · `f(trial, dataset, size)` with axes by keyword · `f(lr, layers, seed)` with a declared space. It runs in
the main thread of its own process, in the directory where the study was enqueued. Nothing that it leaves behind
reaches another trial.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import inspect
import io
import os
import random
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.api.code import md5_now
from fts.jobs.api.function import FunctionCell, code_md5, made_in_main_block
from fts.jobs.api.goals import CONSTRAINTS
from fts.jobs.api.grid import GRID
from fts.jobs.api.objective import Stopped
from fts.jobs.api.spec import BadSpec, TrialSpec, seed_for
from fts.jobs.python import this_python
from fts.jobs.search.needs import check_packages
from fts.jobs.search.sampler import SAMPLERS
from fts.jobs.status.formatting import in_gb
from fts.jobs.trial import orphans, own_modules, pools, process
from fts.jobs.trial.arguments import bind
from fts.jobs.trial.cause import CODE_ERROR, OUT_OF_MEMORY, advice, cause_of, is_foreign, missing_path
from fts.jobs.trial.error_text import (
    how_to_import,
    is_own,
    lacking_package,
    place_of,
    print_error,
    sentence_of,
    with_place,
)
from fts.jobs.trial.folders import guard
from fts.jobs.trial.process import Commands, log_to, say
from fts.jobs.trial.result import attributes_of, constraints_of, result
from fts.jobs.trial.running import (
    BadReport,
    RunningTrial,
    peak_bytes,
)
from fts.jobs.trial.signalled import SIGNALLED_S, signalled
from fts.jobs.trial.signature import BadFunction
from fts.jobs.trial.stacks import write_stacks
from fts.jobs.trial.template import preload_optuna
from fts.raising import quoted
from fts.state.files import remove

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType


CODE_CHANGED = "code changed"  # badge: the file has changed since it was enqueued
NO_DISPLAY = ("no display name", "cannot open display", "could not connect to display", "$display")
NO_PACKAGE = "with no known parent package"  # Python's message for `from . import x` in a file outside a package
WINDOWS = "interactive framework"  # matplotlib's message for a backend that opens windows
GUARD = '`if __name__ == "__main__":`'
AT_IMPORT = "import"  # purpose of the seed while the file is imported


def main() -> int:
    """Runs a trial process for functions and returns its exit code."""
    return process.main(run, read, may_serve_another, preload_optuna)


def read(data: Any) -> TrialSpec:
    """Reads the specification of a function's trial. Raises BadSpec."""
    return TrialSpec.from_json(data, FunctionCell.from_json)


def may_serve_another(spec: TrialSpec) -> bool:
    """May this process run another trial of the cell? Not if the function has left a thread running."""
    ours = ("MainThread", "orders")
    return spec.cell.process == "reused" and all(thread.name in ours for thread in threading.enumerate())


def run(spec: TrialSpec, orders: Commands) -> Iterator[dict[str, Any]]:
    """Runs one trial. Yields the fact `started`, then how it ended; the facts in between are sent by RunningTrial."""
    cell: FunctionCell = spec.cell
    guard.clear()
    log = Path(spec.log_path).absolute()
    log_to(log)
    write_stacks()
    pools.watch()
    signalled.watch()
    guard.set(Path(spec.folder).absolute(), log)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # so that its output is in the log when it is killed
    running = RunningTrial(spec, orders)
    called = False
    try:
        check_sampler(cell)
        function, md5 = load(cell)
        orders.leave_if_forked()
        running.where = place_of_function(function, cell.path)
        badges = [] if md5 == cell.code_md5 else [CODE_CHANGED]
        trial, call = bind(function, running, source_of(cell))
        running.trial = trial
        seed_everything(spec.seed)
        orders.training = called = True
        yield {"fact": "started", **facts_of(running), "code_md5": md5, "badges": badges}
        say(f"{cell.experiment} t{spec.number} {cell.objective}" + "".join(f", {badge}" for badge in badges))
        if orders.stop_asked():
            raise Stopped
        returned = call()
        orders.leave_if_forked()
        orders.await_signal(signalled.until)
        if running.stopped or orders.terminated or orders.leaving:
            raise Stopped  # the function caught it, and what it returned after that is not its result
        if running.loaded is not None:
            yield retrain_last_epoch(running)
            return
        yield {"fact": "result", **result(running, trial, returned)}
        say("ended")
    except CodeChanged:
        yield {"fact": "stopped", "step": 0, "again": True, "message": f"{CODE_CHANGED}, which needs a new process"}
    except Stopped as error:
        orders.leave_if_forked(error)
        say("stopped")
        yield {"fact": "stopped", "step": len(running.reports)}
    except BaseException as error:  # noqa: BLE001  # whatever the function raises must end only its trial
        orders.leave_if_forked(error)
        if isinstance(error, NameError) and running.loaded is not None:
            yield retrain_last_epoch(running)
            return
        is_fault = (
            called
            and not orders.stop_asked()
            and isinstance(error, Exception)
            and type(error).__name__ != "TrialPruned"
        )
        now = time.monotonic() if is_fault and orphans.has_started_any() else float("-inf")
        orders.await_signal(max(signalled.until, now + SIGNALLED_S))
        ended = ended_by(error, running, called)
        with contextlib.suppress(OSError):  # the error may be a full disk
            say(ended["fact"]) if ended["fact"] != "failed" else print_error(error)
        if ended["fact"] == "pruned":
            ended[CONSTRAINTS] = constraints_of(running.trial)
        ended["user_attrs"] = attributes_of(running.trial)
        yield ended | {"peak_bytes": peak_bytes()}


def retrain_last_epoch(running: RunningTrial) -> dict[str, Any]:
    """Removes the loaded checkpoint, so that a trial killed after its last epoch trains that epoch again.

    It had nothing left to train, so its return value may be wrong, such as a loss that is still 0 or undefined.
    """
    assert running.loaded is not None, "the caller has checked"
    remove(running.loaded, running.folder)
    message = f"nothing was left to train after {running.loaded.name}, so the last epoch is trained again"
    say(message)
    return {"fact": "stopped", "step": len(running.reports), "again": True, "message": message}


def ended_by(error: BaseException, running: RunningTrial, called: bool = True) -> dict[str, Any]:
    """Returns how a trial ended when its function raised an exception. An error before the call fails every trial."""
    if type(error).__name__ == "TrialPruned" and not (running.orders.terminated or running.orders.leaving):
        return {"fact": "pruned"}
    if running.stop_asked and not isinstance(error, BadSpec):
        return {"fact": "stopped", "step": len(running.reports)}  # a stop can make a function fail; it runs again
    folder = running.cell.path.parent.absolute()
    if isinstance(error, SystemExit):
        who = running.cell.function if called else running.cell.path.name
        message = f"{who} called sys.exit({quoted(error.code, 100)}) ({place_of(error, folder)})"
        cure = "return the value of the trial instead" if called else f"keep it out of what runs at import: use {GUARD}"
        if place_of(error).startswith("argparse.py "):
            cure = "a trial has no command line: give every argument a default"
        return {"fact": "failed", "cause": CODE_ERROR, "message": f"{message}; {cure}", "lasting": not called}
    if isinstance(error, GeneratorExit):
        raise error
    cause, message = CODE_ERROR if names_no_file(error) else cause_of(error), sentence_of(error, folder)
    lacking = lacking_package(error)
    if isinstance(error, BadFunction | BadReport):
        message = with_place(message, running.where)
    if cause == OUT_OF_MEMORY and (peak := peak_bytes()):
        message = f"out of memory, its process held {in_gb(peak)}: {message}"
    if isinstance(error, ImportError) and (helps := cure_of(error, folder)) is not None:
        cause, message = CODE_ERROR, f"{message}; {helps}" if helps else message
    elif any(words in message.lower() for words in NO_DISPLAY):
        message += "; a worker has no display: draw into files, with MPLBACKEND=Agg for matplotlib"
    elif lacking is not None:
        message += f"; {how_to_import(lacking, (folder, Path.cwd()), this_python())}"
    elif isinstance(error, NameError) and (line := line_in_main_block(running.cell.path, error.name)) is not None:
        message += f"; line {line} makes {error.name} under {GUARD}, which a trial does not run: make it above"
    else:
        message += advice(error)
    lasting = lacking is not None or (not called and cause == CODE_ERROR)
    return {"fact": "failed", "cause": cause, "message": message, "lasting": lasting, "foreign": is_foreign(error)}


def line_in_main_block(path: Path, name: str | None) -> int | None:
    try:
        return None if name is None else made_in_main_block(path.read_bytes(), name)
    except OSError:
        return None


def names_no_file(error: BaseException) -> bool:
    """Did the code name a file that does not exist, or one that is in the way? A retry would fail in the same way.

    False if a disk may not be mounted (its folder is then empty), and for a program that another machine may have.
    """
    if isinstance(error, FileExistsError | IsADirectoryError | NotADirectoryError):
        return True
    if (missing := missing_path(error)) is None:
        return False
    there = Path(missing).absolute()
    while not os.path.lexists(there):
        there = there.parent
    return there.is_dir() and any(there.iterdir()) and not place_of(error).startswith("subprocess.py ")


def cure_of(error: ImportError, folder: Path) -> str | None:
    """Returns what the user can change in their files; None: a package is missing or broken."""
    if NO_PACKAGE in str(error):
        return f"put an __init__.py into {folder}, or import without the dot"
    if WINDOWS in str(error):
        return "a worker has no display: leave matplotlib its backend, which is Agg in a trial"
    if not error.path or not is_own(Path(error.path), folder):
        return None
    name = Path(error.path).stem
    return f"rename {name}.py, which takes the place of Python's own {name}" if name in sys.stdlib_module_names else ""


# -- the function


class CodeChanged(Exception):
    """This process has run other code of the study, of which its modules keep parts."""


def check_sampler(cell: FunctionCell) -> None:
    if cell.sampler not in (*SAMPLERS, GRID):
        raise BadSpec(f"the sampler is {cell.sampler}, expected one of {', '.join((*SAMPLERS, GRID))}")
    if cell.space is None:
        check_packages(cell.sampler)


def load(cell: FunctionCell) -> tuple[Callable[..., Any], str]:
    """Loads the cell's FILE.py:FUNCTION. Returns the function and the md5 of the code that was run.

    Raises BadFunction, CodeChanged, and anything that the file raises.
    """
    if not Path(cell.folder).is_dir():
        raise BadFunction(f"{cell.folder} is not a folder; the study was enqueued there, enqueue it again")
    os.chdir(cell.folder)
    path = cell.path.absolute()
    try:
        code = path.read_bytes()
    except FileNotFoundError:
        raise BadFunction(f"{path} does not exist; restore it or enqueue the study again") from None
    modules: dict[Path, bytes] = {}
    md5 = md5_now(code_md5(code), Path(cell.folder), cell.code, modules)
    before, module = LOADED.get(path, (md5, None))
    if before != md5:
        raise CodeChanged
    if module is None:
        if cell.space is None or b"numpy" in code:  # without a space Optuna will import it anyway
            with contextlib.suppress(ImportError):
                importlib.import_module("numpy")
        seed_everything(seed_for(cell.seed, 0, AT_IMPORT))  # so that data drawn at import are the same in every trial
        own_modules.run_these(modules)
        with searching_refused(path):
            module = imported(path, code)
        LOADED[path] = md5, module
    function = getattr(module, cell.function, None)
    if function is None:
        name = module.__name__
        there = [one for one, value in vars(module).items() if inspect.isfunction(value) and value.__module__ == name]
        raise BadFunction(f"{path.name} has no {cell.function}; it has {', '.join(there)[:300] or 'no functions'}")
    if not callable(function):
        raise BadFunction(f"{cell.function} in {path.name} is {type(function).__name__}, expected a function")
    if isinstance(function, type) and not makes_its_own(function):
        raise BadFunction(f"{cell.function} in {path.name} is a class, expected a function, or an instance of it")
    called = function if inspect.isroutine(function) else type(function).__call__
    if any(inspect.iscoroutinefunction(one) or inspect.isgeneratorfunction(one) for one in (function, called)):
        raise BadFunction(f"{cell.function} in {path.name} is async or a generator, expected a function that returns")
    return function, md5


def makes_its_own(of: type) -> bool:
    """May a call of the class return something else than an instance, such as a number?"""
    of_kind = [kind for kind in inspect.getmro(type(of)) if kind not in (type, object)]
    return any("__new__" in vars(base) for base in of.__mro__[:-1]) or any("__call__" in vars(one) for one in of_kind)


@contextlib.contextmanager
def searching_refused(path: Path) -> Iterator[None]:
    """Raises BadFunction where the file runs a search of Optuna at import: it would run in every trial."""
    study = getattr(sys.modules.get("optuna"), "Study", None)
    if study is None:  # a function with a declared space; its file has not imported Optuna yet
        yield
        return

    def refuse(*_: Any, **__: Any) -> None:
        raise BadFunction(
            f"{path.name} runs a whole search when it is imported, which each trial does; put {GUARD} above it"
        )

    before = study.optimize
    study.optimize = refuse
    try:
        yield
    finally:
        study.optimize = before


LOADED: dict[Path, tuple[str, ModuleType]] = {}  # file -> (md5 of the study's code, module) in this process


def source_of(cell: FunctionCell) -> bytes:
    """Returns the content of the cell's file that was run: the file may have changed since."""
    _, module = LOADED[cell.path.absolute()]
    loader = module.__spec__ and module.__spec__.loader
    assert isinstance(loader, LoaderOf), "imported() has made the module"
    return loader.code


def imported(path: Path, code: bytes) -> ModuleType:
    """Imports a file with the content `code` and returns its module. Raises anything that the file raises."""
    name, root = module_name(path)
    if sys.path[:1] != [str(root)]:
        sys.path.insert(0, str(root))
    package = name.rpartition(".")[0]
    if package:
        importlib.import_module(package)
    sys.argv = [str(path)]  # as in `python train.py`: the file may parse it
    found = importlib.util.spec_from_file_location(name, path, loader=LoaderOf(name, str(path), code))
    assert found is not None and found.loader is not None, "the loader was passed in"
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # data loaders and pickles look up classes there
    found.loader.exec_module(module)
    return module


def module_name(path: Path) -> tuple[str, Path]:
    """Returns the module name of a file (`model.train` if model is a package) and the folder for sys.path.

    Follows a symbolic link, as Python does.
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
    name = path.stem.replace(".", "_")  # train.v2.py is not a module of a package `train`
    if name in sys.modules or name in sys.stdlib_module_names:
        name = f"objective_{name}"  # a user's random.py must not replace Python's
    return name, path.parent


class LoaderOf(importlib.machinery.SourceFileLoader):
    """Runs exactly the given source, never older bytecode or a newer file, because its md5 is recorded."""

    def __init__(self, name: str, path: str, code: bytes) -> None:
        super().__init__(name, path)
        self.code = code

    def get_code(self, fullname: str) -> Any:
        return self.source_to_code(self.code, self.path)


def seed_everything(seed: int) -> None:
    """Seeds Python, numpy and torch if they are imported, so that models without a seed are repeatable."""
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed % 2**32)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)


# -- the facts of a trial


def place_of_function(function: Callable[..., Any], path: Path) -> str:
    """Returns where the function is defined, `train.py line 3`; for other callables only the file."""
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


if __name__ == "__main__":
    from fts.jobs.trial.function import main as main_of_module  # not of this copy, which is named __main__

    sys.exit(main_of_module())
