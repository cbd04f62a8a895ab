"""Finds which arguments a user's function takes behind its decorators, and how each of them can be passed."""

from __future__ import annotations

import ast
import inspect
import types
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.function import TRIAL
from fts.jobs.api.top_names import Definition, arguments_of, decorated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Parameters = dict[str, inspect.Parameter]
EMPTY = inspect.Parameter.empty
POSITIONAL, KEYWORD = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.KEYWORD_ONLY
EITHER = inspect.Parameter.POSITIONAL_OR_KEYWORD
VARIABLE = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
ANYTHING = {kind.name: inspect.Parameter(kind.name, kind) for kind in VARIABLE}
UNREAD = object()  # a default whose value only the function knows
MOST_LAYERS = 100  # of decorators


class BadFunction(ValueError):
    """The function cannot be found or called, or its return value is not a result."""


@dataclass(frozen=True)
class Signature:
    """The parameters of a function, and of the wrappers that its decorators have put around it."""

    parameters: Parameters  # of the function itself, with *args and **kwargs
    layers: tuple[Parameters, ...]  # of what is called, then of what that wraps; each but the last takes any arguments
    fixed: tuple[str, ...]  # parameters that cannot be the trial
    is_decorated: bool  # its decorator may give it what nothing else gives
    is_hidden: bool = False  # decorated without functools.wraps: its parameters are those of the `def` in the file
    constants: tuple[Any, ...] = ()  # in the code of the wrapper of a hidden function

    @property
    def names(self) -> list[str]:
        return [name for name, one in self.parameters.items() if one.kind not in VARIABLE]

    @property
    def takes_positions(self) -> bool:
        """Does what is called take any number of arguments by position?"""
        return has_kind(self.layers[0], VARIABLE[0])

    def takes_other(self, name: str) -> bool:
        """Does it take a value that it does not name?"""
        return has_kind(self.parameters, VARIABLE[1]) or name in self.constants  # in kwargs["size"] of a decorator

    def split(self, given: Mapping[str, Any], trial: str | None, function: str) -> tuple[list[Any], dict[str, Any]]:
        """Returns the values to pass by position and those to pass by name. Raises BadFunction where neither works.

        By name, unless a wrapper or the function itself takes them by position only. `trial`: the argument that gets
        the trial, by position if it is the first: as Optuna does, because a decorator may read it from `*args`.
        """
        names, by_name = self.names, dict(given)
        last = -1
        for n, name in enumerate(names):
            is_leading = n == 0 and (name == trial or self._is_renamed(name)) and self._has_place(0)
            if name in given and (is_leading or not self._has_name(name)):
                last = n
        first: list[Any] = []
        for n, name in enumerate(names[: last + 1]):
            one = self.parameters[name]
            if name not in given and one.default is EMPTY:
                continue  # its decorator gives it
            if not self._has_place(n):
                needed = "*args" if one.kind is POSITIONAL else "**kwargs"
                how = "position" if one.kind is POSITIONAL else "name"
                raise BadFunction(f"{function} gets {name} by {how}; its decorator needs {needed}, too")
            first.append(by_name.pop(name, one.default))
            if first[-1] is UNREAD:
                raise BadFunction(f"{function} gets {names[last]} by position; its decorator needs **kwargs, too")
        if lost := [name for name in by_name if not self._has_name(name)]:
            raise BadFunction(f"{function} gets {lost[0]} by name; its decorator needs **kwargs, too")
        return first, by_name

    def _is_renamed(self, first: str) -> bool:
        """Has a wrapper another name for the first argument?"""
        return any(place != first for layer in self.layers for place in _places(layer)[:1])

    def _has_name(self, name: str) -> bool:
        """Can this argument be passed by name, through all wrappers?"""
        own = self.parameters.get(name)
        return (own is None or own.kind is not POSITIONAL) and all(
            has_kind(layer, VARIABLE[1]) or (name in layer and layer[name].kind in (EITHER, KEYWORD))
            for layer in self.layers
        )

    def _has_place(self, n: int) -> bool:
        """Can the argument number n be passed by position, through all wrappers?"""
        name = self.names[n]
        if self.parameters[name].kind is KEYWORD:
            return False
        for layer in self.layers:
            places = _places(layer)
            if 0 < n < len(places) and places[n] != name:
                return False  # a place of the wrapper's own
            if n >= len(places) and not has_kind(layer, VARIABLE[0]):
                return False
        return True


def signature_of(function: Callable[..., Any], code: bytes, name: str) -> Signature:
    """Returns the signature of a function behind its decorators. `name`: of the function in its file, `code`.

    Raises BadFunction.
    """
    try:
        called = list(_wrappers(function))
    except (ValueError, TypeError):  # a function of C, such as max
        raise BadFunction(
            f"{name} does not tell which arguments it takes; write a def f(trial) that calls it"
        ) from None
    layers = tuple(parameters for _, parameters in called)
    last, parameters = called[-1]
    takes_any = any(has_kind(parameters, kind) for kind in VARIABLE)
    if takes_any:
        parameters = dict(inspect.signature(last).parameters)  # of the function that a partial binds
    fixed = [name for name, one in parameters.items() if one.kind is KEYWORD or has_value(one.default)]
    below = decorated(ast.parse(code), name) if takes_any else None
    is_decorated = hasattr(function, "__wrapped__")
    if below is None or set(arguments_of(below).names) <= {*parameters}:
        return Signature(parameters, layers, tuple(fixed), is_decorated)
    whole = _joined(parameters, parameters_in(below))
    constants = getattr(getattr(last, "__code__", None), "co_consts", ())
    fixed += [name for name in arguments_of(below).fixed if name not in parameters]
    return Signature(whole, layers, tuple(fixed), is_decorated=True, is_hidden=True, constants=constants)


def _joined(wrapper: Parameters, own: Parameters) -> Parameters:
    """Returns the parameters of a hidden function with those that its wrapper names, in the order of the wrapper.

    The first of a wrapper is the first of the function under another name, or the trial, from which it may draw that.
    """
    places, first = _places(wrapper), next(iter(own))
    found = {}
    if places[:1] == [TRIAL]:
        found[TRIAL] = wrapper[TRIAL]
        own.pop(TRIAL if TRIAL in own else first)
    elif places:
        found[first] = own[first]
    found |= {name: wrapper[name] for name in places[1:]}
    found |= {name: one for name, one in own.items() if name not in found}
    return found | {name: one for name, one in wrapper.items() if one.kind is KEYWORD}


def _places(parameters: Parameters) -> list[str]:
    """Returns the names of the parameters that can be passed by position."""
    return [name for name, one in parameters.items() if one.kind in (POSITIONAL, EITHER)]


def _wrappers(function: Callable[..., Any]) -> Iterator[tuple[Callable[..., Any], Parameters]]:
    """Yields what is called, then what functools.wraps says that it wraps, as long as a wrapper takes any arguments."""
    if not hasattr(function, "__wrapped__") and inspect.isfunction(type(function).__call__):
        function = types.MethodType(type(function).__call__, function)  # an instance
    for _ in range(MOST_LAYERS):
        below = getattr(function, "__wrapped__", None)
        try:
            parameters = dict(inspect.signature(function, follow_wrapped=False).parameters)
        except ValueError:
            if below is None:
                raise
            parameters = ANYTHING  # functools.lru_cache, which is no function of Python
        yield function, parameters
        if below is None or not any(has_kind(parameters, kind) for kind in VARIABLE):
            return
        function = types.MethodType(below, function.__self__) if inspect.ismethod(function) else below


def parameters_in(node: Definition) -> Parameters:
    """Returns the parameters of a `def` that was read."""
    given = node.args
    of_place = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(of_place) - len(given.defaults)) + [*given.defaults]
    kinds = [POSITIONAL] * len(given.posonlyargs) + [EITHER] * len(given.args)
    each: list[tuple[Any, ...]] = [*zip(of_place, kinds, defaults, strict=True), (given.vararg, VARIABLE[0], None)]
    each += [(one, KEYWORD, default) for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    each.append((given.kwarg, VARIABLE[1], None))
    found = [(one.arg, kind, _value(default)) for one, kind, default in each if one is not None]
    return {name: inspect.Parameter(name, kind, default=value) for name, kind, value in found}


def _value(default: ast.expr | None) -> Any:
    if default is None:
        return EMPTY
    try:
        return ast.literal_eval(default)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return UNREAD


def has_kind(parameters: Mapping[str, inspect.Parameter], kind: Any) -> bool:
    return any(one.kind is kind for one in parameters.values())


def has_value(default: Any) -> bool:
    """Does an argument have a value of its own: a default that is neither None nor a trial, such as FixedTrial?"""
    return default is not EMPTY and default is not None and not hasattr(default, "suggest_float")
