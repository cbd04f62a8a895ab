"""Calls a user's function that returns the space of each cell, in the study's interpreter, which need not have fts.

other/python -P fts/jobs/trial/space_of.py HOME FILE.py:FUNCTION      (cells in, spaces out, as JSON)
"""

import importlib.util
import inspect
import json
import os
import sys
from pathlib import Path
from typing import Any


def lend(home: Path) -> None:
    """Makes `import fts` work in the user's file."""
    found = importlib.util.spec_from_file_location("other_python", home / "jobs" / "trial" / "other_python.py")
    assert found is not None and found.loader is not None, "it is in the folder of this file"
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    module.lend(home)


def loaded(objective: str) -> Any:
    """Imports the file of FILE.py:FUNCTION as a trial does, and returns the function."""
    from fts.jobs.trial.function import module_name  # here: it can be found only now

    file, _, name = objective.rpartition(":")
    path = Path(file).absolute()
    module, root = module_name(path)
    sys.path.insert(0, str(root))
    found = importlib.util.spec_from_file_location(module, path)
    assert found is not None and found.loader is not None, "its name ends in .py"
    made = importlib.util.module_from_spec(found)
    sys.modules[module] = made
    found.loader.exec_module(made)
    function = getattr(made, name, None)
    if not callable(function):
        raise LookupError(f"{path.name} has no function {name}")
    return function


def call(function: Any, cell: dict[str, Any]) -> Any:
    """Calls the function with axes as keyword arguments if its parameters are axes, else with the cell as a dict."""
    parameters = inspect.signature(function).parameters
    if not parameters:
        return function()
    by_name = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()) or all(
        name in cell or one.default is not inspect.Parameter.empty for name, one in parameters.items()
    )
    if not by_name:
        return function(cell)
    takes_all = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    return function(**{name: value for name, value in cell.items() if takes_all or name in parameters})


def main(objective: str) -> None:
    answer, output = os.dup(1), sys.stdout
    os.dup2(2, 1)  # the output of the user's file is not the answer
    sys.stdout = sys.stderr
    cells = json.load(sys.stdin)
    try:
        function = loaded(objective)
        text = json.dumps({"spaces": [call(function, cell) for cell in cells]})
    except Exception as error:  # noqa: BLE001  # whatever the user's file raises
        frames, trace = [], error.__traceback__
        while trace is not None:
            frames.append((Path(trace.tb_frame.f_code.co_filename), trace.tb_lineno))
            trace = trace.tb_next
        own = [f"{path.name} line {line}" for path, line in frames if path.is_relative_to(Path.cwd())]
        text = json.dumps({"fault": f"{error} ({', '.join([type(error).__name__, *own[-1:]])})"})
    os.dup2(answer, 1)
    print(text, file=output, flush=True)


if __name__ == "__main__":
    lend(Path(sys.argv[1]))
    main(sys.argv[2])
