"""Moves staged files of a trial to their places, all or none, also if a kill comes in between.

They lie in a folder `.arriving.X` in the trial's folder, with the list of moves. Whoever runs the trial next, on a node
or on this machine, finishes the moves first.
"""

from __future__ import annotations

import errno
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.raising import quoted
from fts.state.files import ABSENT, DRAFT, link_below, make_folder, naming, remove, sync_folder, unlock

if TYPE_CHECKING:
    from collections.abc import Sequence

DEEPEST = 12  # parts of a path
LONGEST = 255  # bytes of each part of a path
STAGING = re.compile(r"\.arriving\.[0-9a-f]{12}")
LIST = "commit.json"


class BadFile(ValueError):
    """The other side sent a file that is not allowed; the message says why."""


def finish_commit(folder: Path, root: Path) -> None:
    """Finishes the commit of a dead worker; removes staged files that were not committed."""
    try:
        found = [folder / entry.name for entry in os.scandir(folder) if STAGING.fullmatch(entry.name)]
    except ABSENT:
        return
    for staging in sorted(found):
        apply_moves(staging, root)


def apply_moves(staging: Path, root: Path, durable: bool = True) -> None:
    """Does the moves in the list of a staging folder, then removes the folder; without a list it moves nothing."""
    folder = staging.parent
    try:
        with naming(staging / LIST):
            todo = json.loads((staging / LIST).read_text())
        files: Sequence[tuple[str, str]] = [(checked_name(name), Path(str(kept)).name) for name, kept in todo["files"]]
        gone = [checked_name(name, may_be_folder=True) for name in todo["gone"]]
        empty = [checked_name(name) for name in todo.get("folders", ())]  # a list of an older version has none
    except (*ABSENT, ValueError, LookupError, TypeError):
        remove(staging, root)
        return
    folders = set[Path]()
    for name, kept in files:
        path = folder / name
        if path.parent not in folders:  # each only once: another transaction may wait for the end of the commit
            make_room(path.parent, folder, root)
            folders.add(path.parent)
        if path.is_dir() and not path.is_symlink():  # a folder has become a file
            remove(path, root)
        if (staging / kept).exists():  # otherwise it was already moved before the kill
            (staging / kept).rename(path)
    emptied = {(folder / name).parent for name in gone}
    for parent in emptied:
        unlock_way(folder, parent)
    for name in gone:
        if name.endswith("/"):
            with suppress(OSError):  # it has a file now
                if link_below(folder / name, root) is None:
                    (folder / name).rmdir()
        elif not (folder / name).is_dir():  # else it is a folder now
            remove(folder / name, root)
    for parent in sorted(emptied, reverse=True):  # the inner ones first
        while parent != folder and is_empty(parent):
            remove(parent, root)
            parent = parent.parent
        folders.add(parent)  # a removed file that returned after a power cut could take the place of its pointer
    for name in empty:
        make_room(folder / name, folder, root)
        folders.add((folder / name).parent)
    for each in sorted(folders) if durable else ():
        if each.is_dir():
            sync_folder(each)
    (staging / LIST).unlink()  # first, and not silently: with a list left, the next attempt would do the moves again
    if durable:
        sync_folder(staging)
    remove(staging, root)


def make_room(path: Path, folder: Path, root: Path) -> None:
    """Makes a folder below `folder`; removes files in its way: a file has become a folder."""
    unlock_way(folder, path.parent)
    for each in (path, *path.parents):
        if each.is_relative_to(folder) and each.is_file():
            remove(each, root)
    unlock_way(folder, path)
    make_folder(path, root)


def is_empty(folder: Path) -> bool:
    """Is it a folder without content? Or gone: a killed worker may have removed it, and not yet those above it."""
    try:
        with os.scandir(folder) as entries:
            return not any(entries)
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return False


def unlock_way(folder: Path, path: Path) -> None:
    """Unlocks each folder from `folder` to `path`: a trial on this machine may have locked them."""
    for each in reversed([one for one in (path, *path.parents) if one.is_relative_to(folder)]):
        unlock(each)


def may_exist(path: Path) -> bool:
    """Does it exist, or is the folder above it locked? A name that is too long for this file system does not."""
    try:
        return path.exists()
    except PermissionError:
        return True
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def is_unfinished(name: str) -> bool:
    """Is it a name of a file or folder that we are still writing?"""
    return DRAFT.fullmatch(name) is not None or STAGING.fullmatch(name) is not None


def checked_name(name: Any, may_be_folder: bool = False) -> str:
    """Returns the name if it is a plain relative path inside the folder. Raises BadFile."""
    if not isinstance(name, str):
        raise BadFile(f"the name of a file is {quoted(name)}, expected a relative path")
    parts = (name.removesuffix("/") if may_be_folder else name).split("/")
    if any(part in ("", ".", "..") for part in parts):
        expected = "one inside the trial's folder"
    elif not name.isprintable() or "\\" in name:
        expected = "one of printable characters without a backslash"
    elif len(parts) > DEEPEST:
        expected = f"at most {DEEPEST - 1} folders above the file"
    elif any(len(part.encode()) > LONGEST for part in parts):
        expected = f"at most {LONGEST} bytes"
    elif any(map(is_unfinished, parts)):
        expected = "none of those that fts gives to its own drafts"
    else:
        return name
    raise BadFile(f"the name of a file is {name[:200]!r}, expected {expected}")
