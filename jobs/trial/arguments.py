"""Binds the arguments of a user's function: its trial, the values of its cell, seed, folder, device and threads."""

from __future__ import annotations

import ast
import contextlib
import inspect
from typing import TYPE_CHECKING, Any

from fts.installing import installing
from fts.jobs.api.function import OWN_NAMES, FunctionCell, shrinks, trial_argument
from fts.jobs.api.top_names import arguments_of, defined
from fts.jobs.python import this_python
from fts.jobs.search.needs import too_old

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fts.jobs.trial.optuna_trial import OptunaTrial
    from fts.jobs.trial.running import RunningTrial

SEED_BITS = 31  # of the seed that a function gets as an argument, so that every library accepts it


class BadFunction(ValueError):
    """The function cannot be found or called, or its return value is not a result."""


def bind(function: Callable[..., Any], running: RunningTrial) -> tuple[OptunaTrial | None, Callable[[], Any]]:
    """Returns the trial, if the function gets one, and a call with all arguments that the function names.

    Raises BadFunction.
    """
    cell = running.cell
    parameters = parameters_of(function)
    names = [one for one, parameter in parameters.items() if parameter.kind not in VARIABLE]
    known = own_values(running) | running.params | running.axes
    if not names and cell.space is None and not cell.is_baseline and has_kind(parameters, VARIABLE[0]):
        return bind_hidden(function, parameters, running, known)
    leading = parameters[names[0]] if names else None
    wants_trial = not cell.is_baseline or (leading is not None and leading.default is inspect.Parameter.empty)
    takes_trial = trial_name(parameters, names, known, cell) if wants_trial else None
    trial = make_optuna_trial(running) if takes_trial else None
    given: dict[str, Any] = {}
    for name in names:
        if name == takes_trial:
            given[name] = trial
        elif name in known:
            given[name] = known[name]
        elif name in (cell.space or {}) and parameters[name].default is inspect.Parameter.empty:
            given[name] = None  # a parameter of another branch
        elif parameters[name].default is inspect.Parameter.empty and not hasattr(function, "__wrapped__"):
            raise BadFunction(f"{cell.function} needs {name}, {what_is_known(running)}")
    if not takes_trial and has_kind(parameters, VARIABLE[1]):
        given |= {name: value for name, value in (running.params | running.axes).items() if name not in given}
    elif not takes_trial and not cell.is_baseline:  # which may ignore parameters and axes
        refuse_unused(cell, [name for name in (*running.params, *running.axes) if name not in given])
    first = [given.pop(one, parameters[one].default) for one in names if parameters[one].kind is POSITIONAL]
    if names and names[0] == takes_trial and parameters[takes_trial].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
        first = [given.pop(takes_trial)]  # as Optuna does: a decorator may read it from `*args`
    return trial, lambda: function(*first, **given)


def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Returns the parameters of what is called, or, behind `*args` or `**kwargs`, those of the function it wraps."""
    with contextlib.suppress(ValueError):  # functools.lru_cache, which is no function of Python
        parameters = inspect.signature(function, follow_wrapped=False).parameters
        if not any(has_kind(parameters, kind) for kind in VARIABLE):
            return parameters
    return inspect.signature(function).parameters


def refuse_unused(cell: FunctionCell, unused: list[str]) -> None:
    if unused:
        raise BadFunction(f"{cell.function} takes no {', '.join(unused)}; add it to its parameters")


def bind_hidden(
    function: Callable[..., Any], parameters: Mapping[str, inspect.Parameter], running: RunningTrial, known: Any
) -> tuple[OptunaTrial | None, Callable[[], Any]]:
    """Binds a function that takes `*args`, as one does that a decorator has wrapped without functools.wraps.

    It gets the trial, and the axes by name if it takes them; if the `def` in the file takes no trial, only the values
    of its cell.
    """
    below = defined(ast.parse(running.cell.path.read_bytes()), running.cell.function)
    by_name = has_kind(parameters, VARIABLE[1])
    own = arguments_of(below) if below is not None and below.decorator_list else None
    if own is not None and own.names and trial_argument(own.names, own.fixed, known, False) is None:
        given = {name: known[name] for name in own.names if name in known}
        given |= {name: value for name, value in running.axes.items() if own.has_others and name not in given}
        refuse_unused(running.cell, [name for name in running.axes if name not in given])
        if not by_name and (*own.names,)[: len(given)] != (*given,):
            raise BadFunction(f"{running.cell.function} gets its values by position; its decorator needs **kwargs, too")
        return None, lambda: function(**given) if by_name else function(*given.values())
    trial = make_optuna_trial(running)
    axes = running.axes if by_name else {}
    return trial, lambda: function(trial, **axes)


POSITIONAL = inspect.Parameter.POSITIONAL_ONLY
KEYWORD = inspect.Parameter.KEYWORD_ONLY
VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def has_kind(parameters: Mapping[str, inspect.Parameter], kind: Any) -> bool:
    return any(one.kind is kind for one in parameters.values())


def trial_name(
    parameters: Mapping[str, inspect.Parameter], names: list[str], known: dict[str, Any], cell: FunctionCell
) -> str | None:
    """Returns the parameter that gets the trial (trial_argument). Raises BadFunction if nothing is given to it."""
    if not names and cell.space is None and not has_kind(parameters, VARIABLE[1]):
        raise BadFunction(f"{cell.function} takes no trial, and the study declares no space; write def f(trial)")
    fixed = [name for name in names if parameters[name].kind is KEYWORD or has_value(parameters[name].default)]
    return trial_argument(names, fixed, known, cell.space is not None)


def has_value(default: Any) -> bool:
    """Does an argument have a value of its own: a default that is neither None nor a trial, such as FixedTrial?"""
    return default is not inspect.Parameter.empty and default is not None and not hasattr(default, "suggest_float")


def what_is_known(running: RunningTrial) -> str:
    axes, params = ", ".join(running.axes) or "none", ", ".join(running.params) or "none"
    return f"which is neither an axis of the cell ({axes}) nor a parameter of the space ({params})"


def own_values(running: RunningTrial) -> dict[str, Any]:
    seed = running.seed % 2**SEED_BITS
    values = (seed, running.number, running.folder, running.device, running.threads, shrinks(running.spec.recipe))
    return dict(zip(OWN_NAMES, values, strict=True))


def make_optuna_trial(running: RunningTrial) -> OptunaTrial:
    with contextlib.suppress(ModuleNotFoundError):  # said below
        import optuna  # here: a function with a declared space needs no Optuna

        if (why := too_old(getattr(optuna, "__version__", ""), this_python())) is not None:
            raise BadFunction(why)
    from fts.jobs.trial.earlier_trials import study_of

    try:
        from fts.jobs.trial.optuna_trial import make_trial
    except ModuleNotFoundError as error:
        if error.name == "optuna":
            raise BadFunction(f"{this_python()} has no optuna: {installing('optuna')}") from error
        raise BadFunction(
            f"{this_python()} cannot import optuna, {error}; is there a file of that name beside the study's?"
        ) from error
    return make_trial(running, study_of(running.spec))
