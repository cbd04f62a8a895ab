"""Says in one sentence why a file cannot be written: what was found, and what to do."""

from __future__ import annotations

import errno
import os
import pwd
import re
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


DRAFT = re.compile(r"\..*\.[0-9a-f]{12}\.part")  # the random part makes the name unique to one writer
NAME_KEPT = 100  # bytes of a file's name in its draft's name: a name of 255 bytes would make it too long


class CannotWrite(OSError):
    """A file or folder could not be written. Nothing was changed; the message says why and what to do."""

    def __init__(self, code: int | None, sentence: str) -> None:
        super().__init__(code or errno.EIO, sentence)

    def __str__(self) -> str:
        return str(self.strerror)


# A file is not there, or something else is in its place. Any other error of a read says nothing about the file: the
# process may be out of descriptors or memory, a network disk away, so nothing may be deleted or begun anew after it.
ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Adds the path to an OSError that names no file: a failed read of an open file does not."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None or isinstance(error, CannotWrite):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def cannot(error: OSError, path: Path) -> CannotWrite:
    return error if isinstance(error, CannotWrite) else CannotWrite(error.errno, reason_of(error, path))


def reason_of(error: OSError, path: Path) -> str:
    """Says in one sentence why the path cannot be written, and what to do."""
    if isinstance(error, CannotWrite):
        return str(error)
    path = _without_draft(path)
    folder = _existing(path.parent)
    return f"{shortened(path)} cannot be written: {_cause(error, path, folder)}"


def why_unreadable(error: OSError, path: Path) -> str:
    """Says why the path could not be read, and what to do; the caller has named the path."""
    if error.errno not in (errno.EACCES, errno.EPERM):
        return error.strerror or str(error)
    if (folder := closed_folder(path)) is not None:
        return f"this user may not look into {folder}; check the owner and permissions of that folder"
    return forbidden(path)


def forbidden(path: Path) -> str:
    """Says what this user may not do with a path that exists, with its mode and owner."""
    verb = next((verb for flag, verb in ((os.R_OK, "read"), (os.W_OK, "write to")) if not _may(path, flag)), "change")
    return f"this user may not {verb} it ({_mode(path)}); check its owner and permissions"


def closed_folder(path: Path) -> Path | None:
    """Returns the outermost folder on the way to a path, also through links, that this user may not look into."""
    try:
        ways = (path.absolute(), path.resolve())
    except (OSError, RuntimeError):  # the working directory was removed, or a circle of links
        return None
    return next((one for way in ways for one in reversed(way.parents) if not may_look_into(one)), None)


def may_look_into(folder: Path) -> bool:
    return _may(folder, os.X_OK)


def _may(path: Path, flag: int) -> bool:
    return os.access(path, flag, effective_ids=os.access in os.supports_effective_ids)


def _without_draft(path: Path) -> Path:
    """Returns the final path of a draft, or of a file in one: a person does not know the draft's name."""
    drafts = [part for part in (path, *path.parents) if DRAFT.fullmatch(part.name)]
    return drafts[-1].with_name(drafts[-1].name[1 : -len(".0123456789ab.part")]) if drafts else path


def _cause(error: OSError, path: Path, folder: Path) -> str:
    code = error.errno
    if code == errno.ENOSPC:
        return no_space(folder)
    if code == errno.EDQUOT:
        return f"the quota of this user on the disk of {folder} is used up ({space(folder)}): remove files there"
    if code == errno.ENAMETOOLONG:
        return _too_long(path, folder)
    if code == errno.EROFS:
        return f"the disk of {folder} is mounted read-only"
    if code in (errno.EACCES, errno.EPERM) and os.path.exists(path) and not os.access(path, os.W_OK):  # noqa: PTH110  # exists() raises
        return f"this user may not write to it ({_mode(path)})"
    if code in (errno.EACCES, errno.EPERM):
        return f"this user may not write to {folder} ({_mode(folder)})"
    if code == errno.EISDIR:
        return "it is a folder, expected a file"
    if code == errno.ELOOP:
        return "it is a link, and fts does not write through links here"
    if code == errno.EINVAL:
        return f"it is not a regular file ({error.strerror})"
    if code in (errno.ENOTDIR, errno.EEXIST):
        return f"{error.filename or folder} is a file, expected a folder"
    if code == errno.EFBIG:
        return "it would be larger than this process or this disk allows for one file (see `ulimit -f`)"
    if code == errno.EIO:
        return f"the disk of {folder} reports an input/output error: look into the system log"
    return error.strerror or str(error)


def no_space(folder: Path) -> str:
    """Says that a disk is full, or `... has 43 MB free but no free inodes`."""
    free, inodes = room(folder)
    if inodes == 0 and free:
        return f"the disk of {folder} has {size(free)} free but no free inodes: remove some files, not large ones only"
    return f"the disk of {folder} is full ({size(free)} free): free some space"


def space(folder: Path) -> str:
    free, inodes = room(folder)
    return f"the disk has {size(free)} free" + (" but no free inodes" if inodes == 0 else "")


def room(folder: Path) -> tuple[int, int | None]:
    """Returns the free bytes and inodes for this user; None inodes if the file system does not count them."""
    found = os.statvfs(_existing(folder))
    return found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None


def capacity(folder: Path) -> int:
    """Returns the size in bytes of the disk that holds this folder."""
    found = os.statvfs(_existing(folder))
    return found.f_blocks * found.f_frsize


def size(count: int) -> str:
    """Formats bytes: `812 bytes`, `43 kB`, `1.1 MB`, `44 MB`, `2.4 GB`."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}" if count < 10 * scale else f"{count / scale:.0f} {unit}"
    return f"{count} bytes"


def shortened(path: Path) -> str:
    """Returns the path with the middle of a long name replaced by dots."""
    name = path.name if len(path.name) <= NAME_KEPT else f"{path.name[:40]}...{path.name[-20:]}"
    return str(path.with_name(name)) if len(str(path.parent)) < 1000 else name


def _too_long(path: Path, folder: Path) -> str:
    longest = max(len(os.fsencode(part)) for part in path.parts)
    most = os.pathconf(folder, "PC_NAME_MAX")
    if longest > most:
        return f"its name has {longest} bytes, this file system allows {most}"
    return f"its path has {len(os.fsencode(path))} bytes, more than this system allows: use a folder nearer to /"


def _mode(folder: Path) -> str:
    found = folder.stat()
    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        owner = str(found.st_uid)
    return f"mode {stat.S_IMODE(found.st_mode):o}, owner {owner}"


def _existing(folder: Path) -> Path:
    """Returns the folder, or its nearest existing parent."""
    for each in (folder, *folder.parents):
        with suppress(OSError):
            if each.is_dir():
                return each
    return folder
