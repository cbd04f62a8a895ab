"""Finds a job's study by name: an entry point in the group `fts.studies`, else the study of functions and commands."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from fts.jobs.api.study import Study

GROUP = "fts.studies"


class UnknownStudy(LookupError):
    """The entry point with this name cannot be loaded."""


@lru_cache(maxsize=64)
def study(name: str) -> Study:
    """Returns the study that jobs store as `name`. Raises UnknownStudy if its package cannot be imported."""
    from fts.jobs.api.command import BareStudy  # here: most commands of fts do not need it

    found = installed().get(name)
    if found is None:
        return BareStudy(name)
    try:
        made: type[Study] | Study = found.load()
    except Exception as error:  # importing another package can raise anything
        raise UnknownStudy(f"the study {name!r} cannot be loaded from {found.value}: {error}") from error
    return made() if isinstance(made, type) else made


@lru_cache(maxsize=1)
def installed() -> dict[str, EntryPoint]:
    """Returns the entry points by name. The search through all packages takes 10 to 30 ms, once per process."""
    from importlib import metadata  # here: `fts status` needs no study

    return {point.name: point for point in metadata.entry_points(group=GROUP)}


@lru_cache(maxsize=1)
def loadable() -> dict[str, Study]:
    """Returns the installed studies by name, without those that cannot be loaded: they must not stop the others."""
    found = {}
    for name in sorted(installed()):
        with suppress(UnknownStudy):
            found[name] = study(name)
    return found
