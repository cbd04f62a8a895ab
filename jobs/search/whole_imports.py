"""Imports a large package completely or not at all, so that the next import in this process begins anew.

When an import fails half-way (no memory, no free file descriptor, a disk error), Python forgets the module that failed
and keeps the finished ones, which still refer to it. Every later import of Optuna then fails with an error of its own,
such as `module 'optuna.pruners' has no attribute ...`, and a worker would fail job after job with it. A package with
extension modules, such as numpy, cannot be imported anew: a process with half of it must be replaced (`half_imported`).
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_one_by_one = threading.RLock()  # another thread would import the rest before it is forgotten
_lost: set[str] = set()  # packages that this process cannot import any more


@contextmanager
def whole_imports() -> Iterator[None]:
    """Runs imports; if one fails, forgets every new module of a package that is not complete."""
    with _one_by_one:
        before = set(sys.modules)
        try:
            yield
        except BaseException:
            left = without_package(set(sys.modules) - before)
            _lost.update(package_of(name) for name in left if is_extension(name))
            for name in left:
                if package_of(name) not in _lost:  # an extension module that is forgotten may crash Python at its end
                    sys.modules.pop(name, None)
            raise


def half_imported() -> str | None:
    """Returns a sentence if a package in this process can no longer be imported, else None."""
    return f"{', '.join(sorted(_lost))} could not be imported completely" if _lost else None


def without_package(new: Iterable[str]) -> list[str]:
    """Returns the modules with a package that Python has forgotten, for example optuna.storages without optuna."""
    return [name for name in new if any(parent not in sys.modules for parent in parents(name))]


def package_of(name: str) -> str:
    return name.partition(".")[0]


def parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def is_extension(name: str) -> bool:
    found = getattr(sys.modules.get(name), "__file__", None)
    return isinstance(found, str) and not found.endswith((".py", ".pyc"))
