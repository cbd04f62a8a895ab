"""The result of a function's trial: what the function returned or last reported, with constraints and attributes."""

from __future__ import annotations

import contextlib
import json
import math
from typing import TYPE_CHECKING, Any

from fts.jobs.api.goals import CONSTRAINTS, OWN_CONSTRAINTS, goals_of, pruning_of
from fts.jobs.trial.error_text import with_place
from fts.jobs.trial.process import say
from fts.jobs.trial.running import (
    MAX_METRICS,
    BadReport,
    RunningTrial,
    is_finite,
    main_value,
    number_of,
    peak_bytes,
    python_values,
)
from fts.jobs.trial.signature import BadFunction
from fts.raising import quoted
from fts.state.values import HUGE, Direction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fts.jobs.api.function import FunctionCell
    from fts.jobs.trial.optuna_trial import OptunaTrial

LONGEST_ATTRIBUTE = 500  # characters
MOST_LEVELS = 20  # of lists and dicts in an attribute; a record has at most twice as many
MOST_NAMED = 10  # attributes in one message


def result(running: RunningTrial, trial: OptunaTrial | None, returned: Any) -> dict[str, Any]:
    """Returns the fact `result` for a return value. Raises BadFunction or BadReport if it is not a result."""
    cell = running.cell
    metrics: dict[str, float] = {}
    given: Mapping[str, Any] = {}  # as the function returned them
    goals = tuple(goals_of(cell))
    if returned is None:
        if not running.reports:
            raise BadFunction(f"{cell.function} returned None and reported nothing; return a number or call report")
        last = running.reports[-1]
        metrics = last.metrics
        several_of = metrics or {pruning_of(cell)[0]: last.value}  # a bare number is the metric that the pruner reads
        value = main_value(several_of, cell.metric) if len(goals) > 1 else last.value
    elif isinstance(returned, dict):
        metrics = running.numbers(returned, cell.metric, *(goals if len(goals) > 1 else ()))
        value, given = main_value(metrics, cell.metric), returned
    elif isinstance(returned, list | tuple) and len(returned) != len(goals):
        raise BadFunction(wrong_number(cell, len(returned), goals))
    elif len(goals) > 1 and not (cell.is_baseline and not isinstance(returned, list | tuple)):
        if not isinstance(returned, list | tuple):
            raise BadFunction(wrong_number(cell, 1, goals))
        given = dict(zip(goals, returned, strict=True))
        metrics = {name: number_of(one, f"{name}, which {cell.function} returned,") for name, one in given.items()}
        value = metrics[cell.metric]
    else:
        one = returned[0] if isinstance(returned, list | tuple) else returned
        value, given = number_of(one, f"what {cell.function} returned"), {cell.metric: one}
    sound = is_finite(value)
    several = len(goals) > 1 and not cell.is_baseline
    numbers = {name: metrics.get(name, value) for name in goals} if several else {cell.metric: value}
    odd = [name for name, number in numbers.items() if not is_finite(number)]
    best = best_report(running)
    return {
        "value": value if sound else None,
        "reason": "finished" if sound else "diverged",
        "message": diverged(running, odd[0], given.get(odd[0], value), several) if odd else None,
        "metrics": metrics,
        "epochs": len(running.reports),
        "best_epoch": best,
        "last_value": last_value(running),
        "peak_bytes": peak_bytes(),
        "where": running.where,
        "user_attrs": attributes_of(trial),
        CONSTRAINTS: constraints_of(trial),
    }


def diverged(running: RunningTrial, name: str, value: Any, several: bool) -> str:
    found = f"{name} = {float(value):g}" if several else f"{float(value):g}"
    message = f"{running.cell.function} returned {found}, expected a finite number, at most {HUGE:g}"
    return with_place(message, running.where)


def wrong_number(cell: FunctionCell, returned: int, goals: tuple[str, ...]) -> str:
    """Returns the error message for a wrong number of returned values."""
    values = "1 value" if returned == 1 else f"{returned} values"
    if len(goals) == 1:
        cure = "declare each goal with --goal NAME=minimize"
        return f"{cell.function} returned {values}, expected one number; for several goals {cure}"
    return f"{cell.function} returned {values}, expected {len(goals)}, one for each goal: {', '.join(goals)}"


def last_value(running: RunningTrial) -> float | None:
    """Returns what was last reported of the first goal, which may not be the metric that the pruner reads."""
    if not running.reports:
        return None
    last, metric = running.reports[-1], running.cell.metric
    return last.value if pruning_of(running.cell)[0] == metric else last.metrics.get(metric)


def best_report(running: RunningTrial) -> int | None:
    scored = [report for report in running.reports if is_finite(report.value)]
    key = Direction(pruning_of(running.cell)[1]).key
    return min(scored, key=lambda report: key(report.value)).step if scored else None


def constraints_of(trial: OptunaTrial | None) -> dict[str, float]:
    """Returns the constraints given to trial.set_constraint, and those in the attributes that Optuna's examples use.

    Infinite ones become HUGE, because a fact cannot express them. Raises BadReport for NaN.
    """
    if trial is None:
        return {}
    found = {str(name): float(value) for name, value in trial.constraints.items()}
    for name in OWN_CONSTRAINTS:
        given = python_values(trial.user_attrs.get(name))
        listed = given if isinstance(given, list) else [given]
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in listed):
            found |= {str(n): number_of(value, name) for n, value in enumerate(listed)}
    if odd := [name for name, value in found.items() if math.isnan(value)]:
        raise BadReport(f"the constraint {', '.join(odd)[:80]} is nan, expected a number")
    return {name: max(-HUGE, min(value, HUGE)) for name, value in list(found.items())[:MAX_METRICS]}


def attributes_of(trial: OptunaTrial | None) -> dict[str, Any]:
    """Returns the user attributes that are plain and short enough to be recorded, because a fact is one line."""
    given = dict(trial.user_attrs) if trial is not None else {}
    found = {name: plain(value) for name, value in list(given.items())[:MAX_METRICS] if is_plain(name)}
    recorded = {name: value for name, value in found.items() if is_plain(value)}
    if left := [quoted(name) for name in given if name not in recorded]:
        expected = f"plain values of at most {LONGEST_ATTRIBUTE} characters and {MOST_LEVELS} levels"
        say(f"attributes of the trial that are not recorded: {', '.join(left[:MOST_NAMED])}; expected {expected}")
    return recorded


def plain(value: Any) -> Any:
    """Converts a value for the record if possible, else returns it unchanged."""
    with contextlib.suppress(TypeError, ValueError, RuntimeError):  # RuntimeError: recursion, or a torch tensor
        return python_values(value)
    return value


def is_plain(value: Any) -> bool:
    """Can the value be recorded? JSON turns tuples into lists and keys into text, as Optuna's storages do."""
    try:
        single = value is None or isinstance(value, bool | int | float | str)
        text = str(value) if single else json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
        return len(text) <= LONGEST_ATTRIBUTE and levels_of(value) <= MOST_LEVELS
    except (TypeError, ValueError, RecursionError):  # ValueError: also a file name that is not UTF-8
        return False


def levels_of(value: Any) -> int:
    """Returns how deep lists and dicts are nested."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else None
    return 0 if inner is None else 1 + max(map(levels_of, inner), default=0)
