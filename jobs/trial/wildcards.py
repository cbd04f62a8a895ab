"""Finds the files that match a path with wildcards. Unlike `glob`, it reports a folder that cannot be read."""

from __future__ import annotations

import errno
import os
import re
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)  # nothing is there


def matching(pattern: str, refused: Callable[[PermissionError], None]) -> list[Path]:
    """Returns the files in natural order, version_9 before version_10; `**` matches folders at any depth.

    Calls `refused` for each file or folder that this user may not look at. Raises OSError if a disk fails.
    """
    parts = [part for part in pattern.split("/") if part]
    if parts and parts[-1] == "**":
        parts.append("*")
    found = set(_below("/" if pattern.startswith("/") else ".", parts, refused))
    return [Path(name) for name in sorted(found, key=_natural)]


def _below(folder: str, parts: list[str], refused: Callable[[PermissionError], None]) -> Iterator[str]:
    part, rest = parts[0], parts[1:]
    if part == "**":
        yield from _below(folder, rest, refused)
        inside = [entry for entry in _entries(folder, "*", refused) if _is_folder(entry)]
        for entry in inside:
            yield from _below(entry.path, parts, refused)
    elif has_magic(part):
        for entry in _entries(folder, part, refused):
            if not rest:
                yield entry.path
            elif _is_folder(entry):
                yield from _below(entry.path, rest, refused)
    elif rest:
        yield from _below(os.path.join(folder, part), rest, refused)  # noqa: PTH118  # a Path costs as much as the look
    elif _is_there(path := os.path.join(folder, part), refused):  # noqa: PTH118
        yield path


def _entries(folder: str, pattern: str, refused: Callable[[PermissionError], None]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [
                entry
                for entry in entries
                if fnmatchcase(entry.name, pattern) and (entry.name[0] != "." or pattern[0] == ".")
            ]
    except OSError as error:
        _judge(error, folder, refused)
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # if it is a folder, the look into it says so
        return True


def _is_there(path: str, refused: Callable[[PermissionError], None]) -> bool:
    try:
        os.lstat(path)
    except OSError as error:
        _judge(error, os.path.dirname(path), refused)  # noqa: PTH120
        return False
    return True


def _judge(error: OSError, path: str, refused: Callable[[PermissionError], None]) -> None:
    """Passes a refusal on, ignores that nothing is there, and raises any other error."""
    if isinstance(error, PermissionError):
        refused(PermissionError(error.errno, error.strerror, path))
    elif error.errno not in ABSENT:
        raise OSError(error.errno, error.strerror, path) from error


def _natural(name: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name)]
