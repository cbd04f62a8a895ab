"""Converts a function of the running script to FILE.py:FUNCTION, which a trial process can load."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.api.function import main_blocks
from fts.jobs.objective_file import BadObjective
from fts.jobs.objective_file import inspect as inspect_file

if TYPE_CHECKING:
    from types import FrameType

EXPECTED = "a trial loads the function from its file, so it must be a `def` at the top of a .py file"
NAMED = "a trial loads it from its file by its name, so it needs one at the top of a .py file, `objective = ...`"
READS_WORDS = re.compile(r"\bsys\.argv\b|\bparse_(known_|intermixed_)?args\(")
GUARD = 'if __name__ == "__main__":'


def objective_of(function: Any, folder: Path) -> str:
    """Returns `train.py:objective`, relative to the folder if the file is in it. Raises BadObjective."""
    if isinstance(function, str):
        return function  # FILE.py:FUNCTION itself, also from a notebook
    if isinstance(function, type):
        named = function.__name__
        raise BadObjective(f"the objective is the class {named}; write `objective = {named}()` and give objective")
    if not callable(function):
        raise BadObjective(f"the objective is of type {type(function).__name__}; {EXPECTED}")
    if not inspect.isfunction(function) or function.__name__ == "<lambda>":
        return _by_its_name(function, folder)
    module = sys.modules.get(function.__module__)
    file = getattr(module, "__file__", None)
    if module is None or file is None or not Path(file).is_file():
        raise BadObjective(
            f"{function.__name__} was typed into a notebook or a prompt; {EXPECTED}: write it into one and import it"
        )
    name = next((name for name, value in vars(module).items() if value is function), None)
    if name is None or ("<locals>" in function.__qualname__ and name != function.__name__):
        found, hidden = _name_at_top(function, folder)  # of a decorator's wrapper
        if found is not None:
            return found
        guarded = f", but {hidden} under `{GUARD}`" if hidden else ""
        raise BadObjective(f"{function.__name__} is not at the top of {Path(file).name}{guarded}; {EXPECTED}")
    path = Path(file).absolute()
    if path.suffix != ".py":
        raise BadObjective(f"{function.__name__} is in {path.name}; {EXPECTED}")
    return _shown(path, name, folder)


def _shown(path: Path, name: str, folder: Path) -> str:
    shown = path.relative_to(folder) if path.is_relative_to(folder) else path
    return f"{shown}:{name}"


def _by_its_name(made: Any, folder: Path) -> str:
    """Returns FILE.py:NAME of a partial, lambda, bound method or callable instance by its name at the file's top."""
    kind = "a method" if inspect.ismethod(made) else f"of type {type(made).__name__}"
    kind = "a functools.partial" if isinstance(made, functools.partial) else kind
    kind = "a lambda" if inspect.isfunction(made) else kind
    found, hidden = _name_at_top(made, folder)
    if found is not None:
        return found
    guarded = f", called {hidden} under `{GUARD}`" if hidden else ""
    raise BadObjective(f"the objective is {kind}{guarded}; {NAMED}")


def _name_at_top(made: Any, folder: Path) -> tuple[str | None, str]:
    """Returns FILE.py:NAME of a value with a name at the top of a file, else None and a name that no trial finds."""
    hidden = ""
    of = made.func if isinstance(made, functools.partial) else made if inspect.isroutine(made) else type(made)
    own = [one for one in list(sys.modules.values()) if Path(getattr(one, "__file__", None) or "/").parent == folder]
    for module in (sys.modules.get("__main__"), sys.modules.get(getattr(of, "__module__", None) or ""), *own):
        file = getattr(module, "__file__", None) or ""
        names = [name for name, value in vars(module).items() if value is made] if module is not None else []
        for name in names if Path(file).suffix == ".py" and Path(file).is_file() else ():
            with contextlib.suppress(BadObjective):  # raised if it is under `if __name__ == "__main__":`
                found = _shown(Path(file).absolute(), name, folder)
                inspect_file(found, folder)
                return found, hidden
            hidden = name
    return None, hidden


def refuse_inside_a_trial(call: str = "optimize") -> None:
    """Raises BadObjective in a trial process, where a study would start itself again and again."""
    from fts.jobs import trial  # here: only this function needs it

    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if main is not None and Path(main).resolve().parent == Path(trial.__path__[0]).resolve():
        raise BadObjective(
            f"{call} was called inside a trial: a trial imports the file of its function, so the call belongs "
            f"under `{GUARD}`"
        )


def refuse_at_the_top(objective: str, folder: Path, call: str = "optimize") -> None:
    """Raises BadObjective if the objective's file makes this call at its top level, because trials import the file."""
    path = (folder / objective.rpartition(":")[0]).resolve()
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "<module>" and Path(frame.f_code.co_filename).resolve() == path:
            line = frame.f_lineno
            if not any(block.body[0].lineno <= line <= (block.body[-1].end_lineno or line) for block in _blocks(path)):
                raise BadObjective(
                    f"{path.name} line {line} calls {call} at its top level, and each trial would call it again; "
                    f"put the call under `{GUARD}`"
                )
        frame = frame.f_back


def words_that_no_trial_gets(objective: str, folder: Path) -> list[str]:
    """Returns the script's command-line arguments if its file reads them outside `if __name__ == "__main__":`."""
    path = folder / objective.rpartition(":")[0]
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return []
    for block in _blocks(path):
        first, last = block.lineno, block.end_lineno or block.lineno
        lines[first - 1 : last] = [""] * (last - first + 1)
    return sys.argv[1:] if READS_WORDS.search("\n".join(lines)) else []


def _blocks(path: Path) -> list[Any]:
    try:
        return list(main_blocks(path.read_bytes()))
    except OSError:
        return []
