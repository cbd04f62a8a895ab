"""Finds the study of a job by its name: an entry point in the group `fts.studies`, else a bare function or command."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from fts.jobs.api.study import Study

GROUP = "fts.studies"


class UnknownStudy(LookupError):
    """An entry point of that name cannot be loaded."""


@lru_cache(maxsize=64)
def study(name: str) -> Study:
    """The study that jobs store as `name`. Raises UnknownStudy where its package is broken or gone."""
    from fts.jobs.api.command import BareStudy  # here: most commands need the flagship or none

    found = installed().get(name)
    if found is None:
        return BareStudy(name)
    try:
        made: type[Study] | Study = found.load()
    except Exception as error:  # whatever a package of somebody else raises when it is imported
        raise UnknownStudy(f"the study {name!r} cannot be loaded from {found.value}: {error}") from error
    return made() if isinstance(made, type) else made


@lru_cache(maxsize=1)
def installed() -> dict[str, EntryPoint]:
    """Entry points by name; looking through all packages costs 10 to 30 ms, once a process."""
    from importlib import metadata  # here, not above: `fts status` needs no study

    return {point.name: point for point in metadata.entry_points(group=GROUP)}
