"""Stamps of the folders of installed packages, to notice that a package was installed, upgraded or removed."""

from __future__ import annotations

import site
import sys
from pathlib import Path


def stamps() -> dict[str, list[int]]:
    """Returns the folders of this interpreter's packages, also those that do not exist yet, each with its stamp.

    pip and the like add, rename or remove something in such a folder whenever they change a package.
    """
    users = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    named = [folder for folder in sys.path if Path(folder).name in ("site-packages", "dist-packages")]
    return {folder: stamp_of(folder) for folder in (*site.getsitepackages(), *users, *named)}


def stamp_of(folder: str) -> list[int]:
    """Returns what changes when something in the folder is added, renamed or removed; empty if there is no folder."""
    try:
        found = Path(folder).stat()
    except OSError:
        return []
    return [found.st_dev, found.st_ino, found.st_mtime_ns]
