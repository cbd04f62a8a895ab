"""A function of ours in the place of one that a module of Python has, such as os.kill."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


class Wrapped:
    """Can be used like the built-in function: it can be sent to a pool's process, and a class makes no method of it."""

    def __init__(self, module: str, name: str, function: Callable[..., Any], ours: Callable[..., Any]) -> None:
        """`ours` is called instead of `function`, which is `name` of `module`."""
        functools.update_wrapper(self, function)
        self.__module__, self.__name__, self._ours = module, name, ours

    def __call__(self, *words: Any, **options: Any) -> Any:
        return self._ours(*words, **options)

    def __reduce__(self) -> str:
        return self.__name__  # pickle looks it up in the module
