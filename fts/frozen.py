"""Frozen dataclasses with a tenth of the import time of Python's own: their methods are compiled when first used.

Python compiles six methods for each frozen class as soon as its module is imported. `fts status` imports 57 such
classes, which took a third of its processor time, but creates values of only a few.
"""

from __future__ import annotations

import dataclasses
from dataclasses import MISSING, FrozenInstanceError, fields
from functools import lru_cache
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls: type | None = None, /, **options: bool) -> Any:
        """Same as dataclasses.dataclass; passes other options on to it."""
        if options == {"frozen": True}:
            return _frozen
        return dataclasses.dataclass(cls, **options)


def _frozen(cls: Any) -> Any:
    if any(dataclasses.is_dataclass(base) for base in cls.__mro__[1:]):
        return dataclasses.dataclass(frozen=True)(cls)
    cls.__doc__ = cls.__doc__ or cls.__name__  # else dataclasses writes the signature there, which is slow
    own = {name for name, value in vars(cls).items() if value is not None}
    dataclasses.dataclass(init=False, repr=False, eq=False)(cls)  # finds the fields, compiles no method
    for name, each in cls.__dataclass_fields__.items():
        usual = each.hash is None and "InitVar" not in str(each.type)
        assert usual, f"{cls.__name__}.{name} wants what is not written here: take it from dataclasses"
    cls.__dataclass_params__.frozen = True  # for classes that inherit from it
    for name, method in {"__init__": _first_init(cls), **METHODS}.items():
        if name not in own:
            setattr(cls, name, method)
    return cls


def _first_init(cls: Any) -> Callable[..., None]:
    def first_init(self: object, *values: object, **named: object) -> None:
        cls.__init__ = _init(cls)  # safe: two threads would write the same method
        cls.__init__(self, *values, **named)

    return first_init


def _init(cls: Any) -> Callable[..., None]:
    """Compiles the __init__ that dataclasses would have written."""
    names: dict[str, Any] = {"__set": object.__setattr__, "__missing": MISSING}
    head, keywords, body = ["self"], list[str](), list[str]()
    for each in fields(cls):
        name = value = each.name
        default = ""
        if each.default is not MISSING:
            default, names[f"default_{name}"] = f"=default_{name}", each.default
        elif each.default_factory is not MISSING:
            default, names[f"make_{name}"] = "=__missing", each.default_factory
            value = f"make_{name}() if {name} is __missing else {name}" if each.init else f"make_{name}()"
        if each.init:
            (keywords if each.kw_only else head).append(name + default)
        elif each.default_factory is MISSING:
            continue  # the class has its default
        body.append(f"__set(self, {name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    parameters = ", ".join([*head, *(["*", *keywords] if keywords else [])])
    exec(f"def __init__({parameters}):\n " + "\n ".join(body or ["pass"]), names)
    made: Callable[..., None] = names["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


@lru_cache(maxsize=512)
def _compared(cls: Any) -> Callable[[object], tuple[object, ...]]:
    """Returns a function that gives the values by which two instances are compared."""
    names = [each.name for each in fields(cls) if each.compare]
    if len(names) > 1:
        return attrgetter(*names)
    return lambda self: tuple(getattr(self, name) for name in names)


@recursive_repr()
def _repr(self: Any) -> str:
    inner = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr)
    return f"{type(self).__qualname__}({inner})"


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    compared = _compared(self.__class__)
    return compared(self) == compared(other)


def _hash(self: Any) -> int:
    return hash(_compared(self.__class__)(self))


def _setattr(_: object, name: str, __: object) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delattr(_: object, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


METHODS = {
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__setattr__": _setattr,
    "__delattr__": _delattr,
}
