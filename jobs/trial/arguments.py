"""Binds the arguments of a user's function: its trial, the values of its cell, seed, folder, device and threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.installing import installing
from fts.jobs.api.function import OWN_NAMES, FunctionCell, shrinks, trial_argument
from fts.jobs.python import this_python
from fts.jobs.search.needs import too_old
from fts.jobs.trial.signature import EMPTY, VARIABLE, BadFunction, Signature, has_kind, signature_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fts.jobs.trial.optuna_trial import OptunaTrial
    from fts.jobs.trial.running import RunningTrial

SELF = "self"
SEED_BITS = 31  # of the seed that a function gets as an argument, so that every library accepts it


def bind(
    function: Callable[..., Any], running: RunningTrial, code: bytes
) -> tuple[OptunaTrial | None, Callable[[], Any]]:
    """Returns the trial, if the function gets one, and a call with all arguments that the function names.

    `code`: of the function's file. Raises BadFunction.
    """
    cell = running.cell
    found = signature_of(function, code, cell.function)
    parameters, names = found.parameters, found.names
    values = running.params | running.axes
    known = own_values(running) | values
    if not names and cell.space is None and not cell.is_baseline and has_kind(parameters, VARIABLE[0]):
        axes = running.axes if has_kind(parameters, VARIABLE[1]) else {}
        first = make_optuna_trial(running)  # nobody knows what it takes
        return first, lambda: function(first, **axes)
    leading = parameters[names[0]] if names else None
    wants_trial = not cell.is_baseline or (leading is not None and leading.default is EMPTY)
    takes_trial = trial_name(found, known, cell) if wants_trial else None
    trial = make_optuna_trial(running) if takes_trial else None
    # a half-finished search must not change: these did not get the seed of the trial for a default of their own
    keeps_defaults = found.is_hidden and (trial is not None or cell.space is not None or not found.takes_positions)
    given: dict[str, Any] = {}
    for name in names:
        is_required = parameters[name].default is EMPTY
        if name == takes_trial:
            given[name] = trial
        elif name in (values if keeps_defaults and not is_required else known):
            given[name] = known[name]
        elif name in (cell.space or {}) and is_required:
            given[name] = None  # a parameter of another branch
        elif name == SELF == names[0] and is_required:
            owner, _, method = getattr(function, "__qualname__", "Model.run").rpartition(".")
            name = cell.function
            raise BadFunction(f"{name} is a method of {owner}; write `{name} = {owner}().{method}`")
        elif is_required and not found.is_decorated:
            raise BadFunction(f"{cell.function} needs {name}, {what_is_known(running)}")
    others = {name: value for name, value in values.items() if name not in given}
    if not takes_trial or found.is_hidden:  # beside a trial, **names gets nothing
        given |= {name: value for name, value in others.items() if found.takes_other(name)}
    if not takes_trial and not cell.is_baseline:  # which may ignore parameters and axes
        refuse_unused(cell, [name for name in others if name not in given])
    by_position, by_name = found.split(given, takes_trial, cell.function)
    return trial, lambda: function(*by_position, **by_name)


def refuse_unused(cell: FunctionCell, unused: list[str]) -> None:
    if unused:
        raise BadFunction(f"{cell.function} takes no {', '.join(unused)}; add it to its parameters")


def trial_name(found: Signature, known: Mapping[str, Any], cell: FunctionCell) -> str | None:
    """Returns the parameter that gets the trial (trial_argument). Raises BadFunction if nothing is given to it."""
    if not found.names and cell.space is None and not has_kind(found.parameters, VARIABLE[1]):
        raise BadFunction(f"{cell.function} takes no trial, and the study declares no space; write def f(trial)")
    return trial_argument(found.names, found.fixed, known, cell.space is not None)


def what_is_known(running: RunningTrial) -> str:
    axes, params = ", ".join(running.axes) or "none", ", ".join(running.params) or "none"
    return f"which is neither an axis of the cell ({axes}) nor a parameter of the space ({params})"


def own_values(running: RunningTrial) -> dict[str, Any]:
    seed = running.seed % 2**SEED_BITS
    values = (seed, running.number, running.folder, running.device, running.threads, shrinks(running.spec.recipe))
    return dict(zip(OWN_NAMES, values, strict=True))


def make_optuna_trial(running: RunningTrial) -> OptunaTrial:
    try:
        import optuna  # here: a function with a declared space needs no Optuna

        if (why := too_old(getattr(optuna, "__version__", ""), this_python())) is not None:
            raise BadFunction(why)
        from fts.jobs.trial.earlier_trials import study_of
        from fts.jobs.trial.optuna_trial import make_trial
    except ModuleNotFoundError as error:
        if error.name == "optuna":
            raise BadFunction(f"{this_python()} has no optuna: {installing('optuna')}") from error
        raise BadFunction(
            f"{this_python()} cannot import optuna, {error}; is there a file of that name beside the study's?"
        ) from error
    return make_trial(running, study_of(running.spec))
