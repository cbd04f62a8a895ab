"""Calls a user's function that returns the memory of a trial in bytes: `memory = "train.py:memory"`, f(params, cell).

    python -Pm fts.jobs.trial.memory --answer-fd 5 < {"cell": {...}, "params": {...}}

It runs in the interpreter of the trials, because only that one may have what the file imports.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

from fts.jobs.api.function import FunctionCell
from fts.jobs.trial.error_text import sentence_of
from fts.jobs.trial.function import load
from fts.jobs.trial.signature import BadFunction
from fts.raising import quoted


def main() -> int:
    parser = argparse.ArgumentParser(description="the bytes a trial takes; started by the fts worker")
    parser.add_argument("--answer-fd", type=int, required=True)
    fd = parser.parse_args().answer_fd
    os.set_inheritable(fd, False)
    request = json.load(sys.stdin)
    folder = Path(request["folder"])
    try:
        answer: dict[str, Any] = {"bytes": call(request)}
    except BaseException as error:  # noqa: BLE001  # whatever the user's file raises, including SystemExit
        answer = {"error": sentence_of(error, folder)}
    os.write(fd, json.dumps(answer).encode())
    return 0


def call(request: dict[str, Any]) -> int:
    """Returns the bytes. Raises BadFunction if they are not a number from 1, and anything that the function raises."""
    named = FunctionCell("memory", "memory", request["memory"], request["folder"], "", trials=1)
    function, _ = load(named)
    returned = function(dict(request["params"]), dict(request["cell"]))
    try:
        found = float(returned)
    except (TypeError, ValueError):
        found = math.nan
    if not 1 <= found <= 2**50:
        raise BadFunction(f"{request['memory']} returned {quoted(returned)}, expected a number of bytes from 1")
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
