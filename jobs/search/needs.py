"""Checks before a search begins that Optuna is new enough, and that the packages of its sampler are installed."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from fts.installing import installing
from fts.jobs.api.spec import BadSpec

OLDEST_OPTUNA = 5
PACKAGES = {"gp": ("torch", "scipy"), "cmaes": ("cmaes",)}  # sampler -> packages besides Optuna


class NeedsPackage(BadSpec):
    """A package of the sampler is not installed in this interpreter."""


def check_packages(sampler: str) -> None:
    """Raises NeedsPackage with the command that installs the missing packages."""
    missing = [name for name in PACKAGES.get(sampler, ()) if find_spec(name) is None]
    if missing:
        raise NeedsPackage(
            f"the sampler {sampler} needs {' and '.join(missing)}, which {sys.prefix} has not installed; type "
            f"{installing(*missing)}, or choose another sampler"
        )


def too_old(version: str, python: str, has_pip: bool | None = None) -> str | None:
    """Returns why a function cannot get its trial from this version of Optuna, and the cure; None: it can."""
    major = version.partition(".")[0]
    if not major.isdecimal() or int(major) >= OLDEST_OPTUNA:
        return None
    cure = installing(f"optuna>={OLDEST_OPTUNA}", python=python, has_pip=has_pip)
    return f"{python} has optuna {version}, expected {OLDEST_OPTUNA} or newer: {cure}"
