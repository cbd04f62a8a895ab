"""The first trials of a cell (warm start): given parameters or those of recorded trials, checked against the space."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from fts.jobs.api.expression import BadExpression, Expression
from fts.jobs.api.function import FunctionCell
from fts.jobs.api.grid import GRID, most_trials
from fts.jobs.api.names import is_name
from fts.jobs.axis_words import value_of
from fts.jobs.functions import refuse_unused_start
from fts.jobs.objective_file import BadObjective
from fts.jobs.study_file.faults import At, BadStudy, unknown
from fts.raising import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fts.jobs.api.bare_cell import BareCell
    from fts.state.db import Database
    from fts.state.values import Job

Space = dict[str, dict[str, Any]]
Params = dict[str, Any]
Cell = TypeVar("Cell", bound="BareCell")
TRIAL = re.compile(r"(.+):t?(\d{1,7})")
AT = ("search", "warm_start")
OPTION = ("--warm-start",)
PLAIN = {"True": True, "False": False, "None": None}


def checked(
    at: At,
    given: Mapping[str, Any],
    space: Space,
    forbid: Mapping[str, str],
    axes: Mapping[str, Any],
    whose: str = "",
    draws_rest: bool = True,
) -> Params:
    """Returns the parameters, converted to the types of the space. Without a declared space they are unchanged.

    `draws_rest`: missing parameters will be drawn, as after Optuna's enqueue_trial; otherwise they are an error.
    `whose` names the source of the parameters in messages. Raises BadStudy.
    """
    if not given:
        raise BadStudy(at, "has an entry without parameters")
    if not space:
        return {str(name): _plain(at, name, value) for name, value in given.items()}
    unknown(at, given, space, "parameter of [space]" if at == AT else "parameter of the space")
    found = {name: _inside(at, name, value, space[name], whose) for name, value in given.items()}
    known = dict(axes) | found
    try:
        drawn = [name for name in space if _is_drawn(space[name], known)]
        open_ = [name for name in space if name not in drawn and _may_be_drawn(space, name, known)]
        broken = next((name for name, text in forbid.items() if Expression.parse(text).holds(known)), None)
    except BadExpression as error:
        raise BadStudy(at, f"cannot be checked: {error}") from None
    if (lacking := [name for name in drawn if name not in found]) and not draws_rest:
        raise BadStudy(at, f"{whose}gives {_shown(found)} without {', '.join(lacking)}, which a trial needs too")
    if extra := [name for name in found if name not in drawn and name not in open_]:
        raise BadStudy(at, f"{whose}gives {', '.join(extra)}, which a trial with {_shown(found)} does not draw")
    if broken is not None:
        raise BadStudy(at, f"{whose}gives {_shown(found)}, which forbid.{broken} does not allow")
    return {name: found[name] for name in space if name in found}


def parsed(word: str) -> Params:
    """Reads `lr=0.001,depth=3`, or a JSON object if a value has a comma or is not plain. Raises BadStudy."""
    expected = "expected NAME=VALUE,... such as lr=0.001,depth=3, or a JSON object"
    if word.lstrip().startswith("{"):
        try:
            found = json.loads(word)
        except ValueError as error:
            raise BadStudy(OPTION, f"is {quoted(word)}, {expected}: {error}") from None
        return dict(found)
    found = {}
    for part in word.split(","):
        name, equals, value = (each.strip() for each in part.partition("="))
        if not equals or not is_name(name) or not value or name in found:
            raise BadStudy(OPTION, f"is {quoted(word)}, {expected}, each name once")
        found[name] = PLAIN[value] if value in PLAIN else value_of(value)
    return found


def names_parameters(word: str) -> bool:
    """Does the word give parameters, `lr=0.001`, instead of naming a recorded trial?"""
    return "=" in word or word.lstrip().startswith("{")


def started(cells: Sequence[Cell], first: Sequence[Params], trials: int, at: At = OPTION) -> list[Cell]:
    """Returns the cells with these first trials, checked against each cell's space. Raises BadStudy."""
    if not first:
        return list(cells)
    if len(first) > trials:
        raise BadStudy(at, f"is given {len(first)} times, and a cell has {trials} trials")
    if isinstance(cells[0], FunctionCell):
        try:
            refuse_unused_start(cells[0])
        except BadObjective as error:
            raise BadStudy(at, str(error)) from None
    return [_started(cell, first, trials, at) for cell in cells]


def _started(cell: Cell, first: Sequence[Params], trials: int, at: At) -> Cell:
    is_grid = cell.sampler == GRID
    found = [checked(at, each, cell.space or {}, cell.forbid, cell.axes, draws_rest=not is_grid) for each in first]
    made: Cell = replace(cell, warm_start=tuple(found), trials=trials)
    most = most_trials(made)
    made = made if most is None else replace(made, trials=min(trials, most))
    return type(cell).from_json(made.to_json())


def from_record(
    at: At,
    word: str,
    space: Space,
    forbid: Mapping[str, str],
    axes: Mapping[str, Any],
    recorded: Callable[[str], Params] | None,
) -> Params:
    """Returns the parameters of the trial named `digits/S:t5`, without those that are not drawn in this cell."""
    if recorded is None:
        raise BadStudy(at, f"names {word}, a trial of a database, and there is none here")
    params = recorded(word)
    kept = {name: value for name, value in params.items() if name in space} if space else params
    while space and (idle := _not_drawn(at, kept, space, axes, f"{word} ")):  # without one, others may not be drawn
        kept = {name: value for name, value in kept.items() if name not in idle}
    if not kept:
        has = f"it has {', '.join(params) or 'none'}"
        if any(name in space for name in params):
            raise BadStudy(at, f"names {word}, which has no parameter that {_cell(axes)} draws; {has}")
        raise BadStudy(at, f"names {word}, which has none of {', '.join(space)}; {has}")
    return checked(at, kept, space, forbid, axes, f"{word} ")


def _cell(axes: Mapping[str, Any]) -> str:
    return f"the cell with {_shown(dict(axes))}" if axes else "the cell"


def _not_drawn(at: At, given: Params, space: Space, axes: Mapping[str, Any], whose: str) -> list[str]:
    """Returns the parameters whose condition does not hold, in this cell or with these values."""
    known = dict(axes) | {name: _inside(at, name, value, space[name], whose) for name, value in given.items()}
    try:
        return [n for n in given if not _is_drawn(space[n], known) and not _may_be_drawn(space, n, known)]
    except BadExpression as error:
        raise BadStudy(at, f"cannot be checked: {error}") from None


def recorded_in(db: Database) -> Callable[[str], Params]:
    """Returns a function from a trial's name (`digits/mnist/S:t5`, `digits:t5`, `7:t5` of job 7) to its parameters.

    That function raises BadStudy.
    """
    from fts.state import queries  # here: reading a file needs no database

    jobs = queries.jobs(db)

    def recorded(word: str) -> Params:
        match = TRIAL.fullmatch(word.strip())
        if match is None:
            raise BadStudy(AT, f"names {quoted(word)}, expected a trial such as STUDY/CELL:t5, or 7:t5 of job 7")
        number = int(match[2])
        named = _named(jobs, match[1])
        if not named:
            there = ", ".join(dict.fromkeys(f"{job.study}/{job.cell}" for job in jobs)) or "none"
            raise BadStudy(
                AT, f"names {quoted(word)}, and no cell is called {quoted(match[1])}; there are {there:.200}"
            )
        found = [(job, trial) for job in named for trial in queries.trials(db, job.id) if trial.number == number]
        if not found:
            raise BadStudy(AT, f"names {quoted(word)}, and {named[-1].cell} has no trial {number}")
        if len({(job.study, job.cell) for job, _ in found}) > 1:
            names = ", ".join(f"{job.study}/{job.cell}" for job, _ in found)
            raise BadStudy(
                AT, f"names {quoted(word)}, which several cells have: {names:.200}; write STUDY/CELL:t{number}"
            )
        return dict(found[-1][1].params)

    return recorded


def _named(jobs: Sequence[Job], word: str) -> list[Job]:
    """Returns the jobs with this name: by study/cell, else cell, else experiment, else study."""
    lower = word.lower()
    if word.isdecimal():
        return [job for job in jobs if job.id == int(word)]
    for name in (
        lambda job: f"{job.study}/{job.cell}",
        lambda job: job.cell,
        lambda job: job.experiment,
        lambda job: job.study,
    ):
        if found := [job for job in jobs if name(job).lower() == lower]:
            return found
    return []


def _is_drawn(distribution: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    return distribution.get("when") is None or Expression.parse(distribution["when"]).holds(known)


def _may_be_drawn(space: Space, name: str, known: Mapping[str, Any], above: tuple[str, ...] = ()) -> bool:
    """Does its condition name a parameter that is not known yet and may be drawn itself?"""
    if name in above or space[name].get("when") is None:
        return True
    unknown = [one for one in Expression.parse(space[name]["when"]).names if one in space and one not in known]
    return any(_is_drawn(space[one], known) or _may_be_drawn(space, one, known, (*above, name)) for one in unknown)


def _inside(at: At, name: str, value: Any, distribution: Mapping[str, Any], whose: str) -> Any:
    if distribution["kind"] == "choice":
        for choice in distribution["choices"]:
            if choice == value and isinstance(choice, bool) is isinstance(value, bool):
                return choice
            if isinstance(choice, str) and choice == str(value):  # True and 3 as text
                return choice
        raise BadStudy(
            at, f"{whose}gives {name} = {quoted(value, 40)}, expected one of {quoted(distribution['choices'], 200)}"
        )
    low, high = distribution["low"], distribution["high"]
    sound = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    if not sound or (distribution["kind"] == "int" and value != int(value)):
        raise BadStudy(at, f"{whose}gives {name} = {quoted(value, 40)}, expected {low:g} to {high:g}")
    if (step := distribution.get("step")) is not None and not _is_whole((value - low) / step):
        expected = f"expected {low:g} to {high:g} in steps of {step:g}"
        raise BadStudy(at, f"{whose}gives {name} = {quoted(value, 40)}, {expected}")
    return int(value) if distribution["kind"] == "int" else float(value)


def _is_whole(steps: float) -> bool:
    """Is it a whole number of steps? As near as Optuna wants it, which refuses to search on from any other value."""
    return abs(steps - round(steps)) < 1e-8


def _plain(at: At, name: Any, value: Any) -> Any:
    if value is not None and not isinstance(value, bool | int | float | str):
        raise BadStudy(at, f"gives {name} = {quoted(value, 40)}, expected text, a number, true or false")
    if isinstance(value, float) and not math.isfinite(value):  # 1e999, too
        raise BadStudy(at, f"gives {name} = {quoted(value, 40)}, expected a finite number")
    return value


def _shown(params: Params) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in params.items())[:200]
