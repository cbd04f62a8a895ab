"""Finds the database's path, and says whether a database is there."""

from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path
from urllib.parse import urlsplit

from fts.state import errors
from fts.state.damage import empty_sentence, newest_backup, or_restore, restore_sentence
from fts.state.files import expanded, shell_path

BEGIN = "`fts enqueue` begins one (`fts` alone says how)"
DEFAULT_PATH = Path("outputs/fts.db")
MOST_FOLDERS = 200  # subfolders searched for a study


def database_path(path: Path | str | None = None) -> Path:
    """Returns the argument, else $FTS_DB, else outputs/fts.db. Raises StateError if the text means no file to SQLite
    or other tools: an address, a database in memory, a folder."""
    text = str(path or os.environ.get("FTS_DB") or DEFAULT_PATH)
    if text.startswith(FOUR_SLASHES):  # an absolute path, to SQLAlchemy too
        text = "/" + text.removeprefix(FOUR_SLASHES).lstrip("/")
    if (wrong := _no_path(text)) is not None:
        raise errors.StateError(f"the database {wrong}")
    return expanded(text)


FOUR_SLASHES = "sqlite:////"
NEEDS = f"give the path of a file, such as {DEFAULT_PATH}"


def _no_path(text: str) -> str | None:
    """Returns the text, and why it is no path of a database file; None: it is one."""
    kind, colon, rest = text.partition(":")
    if "://" in text and kind not in ("sqlite", "file"):
        shown = text.split("@")[-1] if "@" in text else text  # never print a password
        return f"{shown} is of kind {urlsplit(text).scheme!r}, but fts supports only SQLite files: {NEEDS}"
    if kind in ("sqlite", "file") and colon and not os.path.lexists(text):
        plain = rest.lstrip("/").partition("?")[0] or str(DEFAULT_PATH)
        path = plain if not rest.startswith("/") else f"{plain} (in this folder) or /{plain}"
        return f"{text} is an address, and fts takes a path: {path}"
    if text == ":memory:" and not os.path.lexists(text):
        return f"{text} would be in memory, where no other process could read it: {NEEDS}"
    if not text.strip():
        return f"{text!r} is blank: {NEEDS}"
    if text.endswith("/") and not expanded(text).is_dir():
        file = text.rstrip("/")
        return f"{text} ends with a slash, as folders do: give the path of a file, {file} or {text}{DEFAULT_PATH.name}"
    return None


def require_study(path: Path) -> None:
    """Raises NoDatabase if there is nothing to read or change, NotOurDatabase if the path is not a file."""
    refuse_other_than_file(path)
    if not path.exists():
        raise errors.NoDatabase(no_study(path, f"{BEGIN}, --db names another"))
    if not has_study(path):
        raise errors.NoDatabase(empty_sentence(path))


def no_study(path: Path, cure: str) -> str:
    """Says that the path has no study, and names the nearest one in a folder above or below, else the cure.

    Raises NotOurDatabase or DatabaseFailed if none can be there.
    """
    refuse_other_than_file(path)
    other = nearest_study(Path.cwd()) if path == DEFAULT_PATH or path == Path.cwd() / DEFAULT_PATH else None
    if other is None:
        newest = newest_backup(path)
        back = f"; `fts restore {shell_path(newest)}` brings back the newest backup" if newest else ""
        return f"there is no study at {path}{back}; {cure}"
    return f"there is no study at {path}, but there is one in {other}: `cd {shell_path(other)}`"


def nearest_study(folder: Path) -> Path | None:
    """Returns the nearest parent folder with a study, else the first subfolder with one, as a relative path."""
    for steps, above in enumerate(folder.parents, 1):
        if _has(above):
            return Path(*[".."] * steps)
    try:
        below = sorted(entry.name for entry in itertools.islice(os.scandir(folder), MOST_FOLDERS) if entry.is_dir())
    except OSError:
        return None
    return next((Path(name) for name in below if _has(folder / name)), None)


def _has(folder: Path) -> bool:
    try:
        return has_study(folder / DEFAULT_PATH)
    except OSError:
        return False


def has_study(path: Path) -> bool:
    """Whether a database is there. An empty file does not count: a failed copy leaves one, and it holds no data.

    Raises OSError if it cannot know, as in a folder that this user may not read.
    """
    try:
        return path.stat().st_size > 0
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return False
        raise


def refuse_other_than_file(path: Path) -> None:
    """Raises NotOurDatabase for a folder, a broken link, or anything else but a file: SQLite would name no cause. Also
    if it would lie in something else than a folder: no study could begin there.

    Raises DatabaseFailed if this user may not see whether a file is there: "no study here" would be a guess.
    """
    try:
        path.lstat()
    except PermissionError:
        raise errors.DatabaseFailed(
            f"this user may not look into {path.parent}; check the owner and permissions of that folder"
        ) from None
    except OSError:
        if wrong := not_a_folder(path):
            raise errors.NotOurDatabase(wrong) from None
        return
    if path.is_dir():
        inside = next((path / file for file in (DEFAULT_PATH.name, DEFAULT_PATH) if (path / file).is_file()), None)
        cure = restore_sentence(path) if newest_backup(path) else f"give the path of a file, {path / DEFAULT_PATH.name}"
        cure = f"name the one in it, {shell_path(inside)}" if inside is not None else cure
        raise errors.NotOurDatabase(f"{path} is a folder, and the database is a file; {cure}")
    if path.is_symlink() and not path.exists():
        why = f"{path} is a link that leads to no file ({path.readlink()}): mount its disk, or remove the link"
        raise errors.NotOurDatabase(f"{why}{or_restore(path)}")
    if path.exists() and not path.is_file():
        raise errors.NotOurDatabase(f"{path} is a device or a pipe, and the database is a file; choose another path")


def not_a_folder(path: Path) -> str | None:
    """Says which folder of a path is none, but something else; None: all that are there are folders."""
    lowest = next((folder for folder in path.parents if os.path.lexists(folder)), None)
    if lowest is None or lowest.is_dir():
        return None
    if lowest.is_symlink() and not lowest.exists():
        cure = "mount its disk, make that folder, or remove the link"
        return f"{lowest} is a link to {lowest.readlink()}, which is no folder: {cure}"
    return f"{lowest} is not a folder, and the database lies in one; choose another path"
