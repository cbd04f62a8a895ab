"""Which files of a folder changed while a trial ran: what it writes where the person stands, other trials overwrite."""

from __future__ import annotations

import os
from pathlib import Path

MOST = 20_000  # files that are looked at
PASSED_OVER = {".git", ".venv", "venv", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


def snapshot(folder: Path, outputs: Path) -> dict[str, tuple[int, int]]:
    """Size and time of each file below the folder, without environments, caches and the outputs of fts."""
    found: dict[str, tuple[int, int]] = {}
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
            found[str((here / name).relative_to(folder))] = status.st_size, status.st_mtime_ns
    return found


def changes(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> list[str]:
    """New or changed files, in the order of their names."""
    if len(before) >= MOST or len(after) >= MOST:
        return []
    return sorted(name for name, found in after.items() if before.get(name) != found)
