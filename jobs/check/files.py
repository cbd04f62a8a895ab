"""Finds files that a trial changed in the user's folder, because parallel trials would overwrite them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

MOST = 20_000  # most files that are compared
PASSED_OVER = {".git", ".venv", "venv", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


def snapshot(folder: Path, outputs: Path) -> dict[str, tuple[int, int]]:
    """Returns size and mtime of each file below the folder, without environments, caches and fts outputs."""
    found: dict[str, tuple[int, int]] = {}
    ours = {identity(stream.fileno()) for stream in (sys.__stdout__, sys.__stderr__) if stream is not None}
    for where, folders, names in os.walk(folder):
        here = Path(where)
        folders[:] = [name for name in folders if name not in PASSED_OVER and here / name != outputs]
        for name in names:
            if len(found) >= MOST:
                return found
            try:
                status = (here / name).lstat()
            except OSError:
                continue
            if (status.st_dev, status.st_ino) in ours:  # `fts check study.toml > found.txt`
                continue
            found[str((here / name).relative_to(folder))] = status.st_size, status.st_mtime_ns
    return found


def identity(descriptor: int) -> tuple[int, int] | None:
    """Returns (device, inode) of an open descriptor; None if it is closed."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def changes(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> list[str] | None:
    """Returns new and changed files, sorted by name; None if a snapshot was incomplete, so that they are unknown."""
    if len(before) >= MOST or len(after) >= MOST:
        return None
    return sorted(name for name, found in after.items() if before.get(name) != found)
