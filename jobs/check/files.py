"""Which files of a folder changed while a trial ran: what it writes where the person stands, other trials overwrite."""

from __future__ import annotations

import os
import sys
from pathlib import Path

MOST = 20_000  # files that are looked at
PASSED_OVER = {".git", ".venv", "venv", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


def snapshot(folder: Path, outputs: Path) -> dict[str, tuple[int, int]]:
    """Size and time of each file below the folder, without environments, caches and the outputs of fts."""
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
    """Which file it is; None: it is closed."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def changes(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> list[str]:
    """New or changed files, in the order of their names."""
    if len(before) >= MOST or len(after) >= MOST:
        return []
    return sorted(name for name, found in after.items() if before.get(name) != found)
