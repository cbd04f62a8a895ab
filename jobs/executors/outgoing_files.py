"""Sends the changed files of a folder over a connection, as one consistent set.

Changed files are opened before the first is read, so a file that the trial replaces meanwhile (by renaming, as it
should) does no harm. If a checkpoint was written to while it was read, or one of very many files was replaced before it
was opened, the receiver drops the whole set.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fts.frozen import dataclass
from fts.jobs.executors.frames import MOST_BODY, FrameKind
from fts.jobs.executors.incoming_files import MOST_BYTES, MOST_FILES
from fts.jobs.supervisor import shared_checkpoints
from fts.jobs.supervisor.staged_files import DEEPEST, LONGEST, BadFile, checked_name, is_unfinished
from fts.state.files import ABSENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from fts.jobs.executors.frames import Writer

AT_ONCE = 256  # files that are open at the same time: many systems allow 1024 descriptors per process
LOOKS = 5  # scans of a folder that keeps changing
AGAIN_S = 5.0  # after this time a checkpoint that keeps changing is not sent again: a stop has a deadline
OF_CHECKPOINTS = "checkpoint/"
PART = 1 << 18  # bytes of a file in one frame: on a slow link an order waits for one frame at most
LEAST_AWAY = 1 << 20  # bytes; smaller files are always sent
ARTIFACTS, PREDICTIONS = "artifacts/", "predictions.npz"
LEFT_OUT = (*ABSENT, PermissionError)  # of a file: the trial has just removed or locked it
NO_LONGER = (errno.ELOOP, errno.ENXIO)  # of an open: a link or a socket took the file's place
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NOT_SENT = ("specification.json",)  # used on this machine only


@dataclass(frozen=True)
class State:
    """Inode, size, time and executable bit of one file; equal for an unchanged file."""

    inode: int
    size: int
    changed_ns: int
    runs: bool

    @classmethod
    def of(cls, status: os.stat_result) -> State:
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, bool(status.st_mode & stat.S_IXUSR))


EMPTY = State(0, 0, 0, False)  # of an empty folder


class OutgoingFiles:
    """Tracks which files of a folder the other side has, and sends the others."""

    def __init__(self, folder: Path, store: CheckpointStore | None = None) -> None:
        self.folder, self.store = folder, store
        self.sent: dict[str, State] = {}
        self.lags = False  # a checkpoint kept changing during the last call: the other side has an older one
        self.is_torn = False  # likewise, and the other side has dropped what it got during the last call
        self.links_left: list[str] = []  # links among the checkpoints that the last scan left out

    def mark_all_sent(self) -> None:
        """Notes that the other side has all current files, because it has sent them."""
        self.sent = self._scan()

    def send(self, writer: Writer, meta: dict[str, str], again: bool = False) -> int:
        """Sends the changed files as one set; returns the bytes. `meta` goes into every frame.

        If a checkpoint changed meanwhile the set is marked as incomplete, and the next call sends it again. With
        `again` this call does, up to LOOKS times and for AGAIN_S; then it sends the other files without the checkpoint.
        Any other file, such as a log that grows all the time, is sent as it was read, and again at the next call.
        Raises BadFile, before anything is sent, for files that the other side would refuse.
        """
        total, until = 0, time.monotonic() + AGAIN_S
        self.lags = self.is_torn = False
        for look in range(LOOKS + again):
            now = self._still()
            now |= {name: state for name, state in self.sent.items() if name not in now and self._is_locked(name)}
            if self.lags or look == LOOKS:
                self.lags = True
                now = {name: state for name, state in now.items() if not name.startswith(OF_CHECKPOINTS)}
                now |= {name: state for name, state in self.sent.items() if name.startswith(OF_CHECKPOINTS)}
            changed = {name: state for name, state in now.items() if self.sent.get(name) != state}
            gone = sorted(set(self.sent) - set(now))
            if not changed and not gone:
                return total
            away = () if self.store is None else self.store.chosen(changed)
            travels = {name: state for name, state in now.items() if not self.may_stay(name, state)}
            refuse_too_much(changed, away)
            refuse_too_much({name: state for name, state in travels.items() if not is_kept(name)})
            with OpenedFiles(self.folder, sorted(name for name in changed if not name.endswith("/"))) as files:
                if files.missing and (
                    look < LOOKS - 1 or any(name.startswith(OF_CHECKPOINTS) for name in files.missing)
                ):
                    continue
                for name in sorted(name for name in changed if name.endswith("/")):
                    send_folder(writer, name, meta)
                whole = True
                for name, fd in files.each():
                    keep = self.store.keep if self.store is not None and name in away else send_file
                    size, same = keep(writer, name, fd, meta)
                    total += size
                    whole &= same and (state_of(fd) == changed[name] or not name.startswith(OF_CHECKPOINTS))
            whole &= not any(name.startswith(OF_CHECKPOINTS) for name in files.missing)
            writer.send(FrameKind.FILES, {**meta, "gone": gone if whole else [], "whole": whole})
            if whole:
                before = {name: self.sent[name] for name in files.missing if name in self.sent}
                self.sent = {name: state for name, state in now.items() if name not in files.missing} | before
            if whole or not again:
                self.is_torn = not whole
                return total
            self.lags = time.monotonic() > until
        return total  # the next call sends them

    def _is_locked(self, name: str) -> bool:
        """Is a file that the scan has not found there, but may not be read by this user? Then it was not removed."""
        try:
            path = followed(self.folder / name, self.folder) or self.folder / name
            if not stat.S_ISREG(path.lstat().st_mode):
                return False
        except PermissionError:
            return True
        except OSError:
            return False
        above = [folder for folder in path.parents if folder.is_relative_to(self.folder)]
        return not all(os.access(each, os.R_OK) for each in (path, *above))  # else it was just written

    def _scan(self) -> dict[str, State]:
        self.links_left = []
        found = scan(self.folder, self.links_left)
        return {name: state for name, state in found.items() if not name.endswith(shared_checkpoints.SUFFIX)}

    def may_stay(self, name: str, state: State) -> bool:
        large = name.startswith(OF_CHECKPOINTS) and state.size >= LEAST_AWAY
        return self.store is not None and large and has_room_for_pointer(name)

    def _still(self) -> dict[str, State]:
        """Scans until two scans in a row are equal, at most LOOKS times; returns the last."""
        before = self._scan()
        for _ in range(LOOKS):
            now = self._scan()
            if now == before:
                break
            before = now
        return before


class OpenedFiles:
    """Files of a folder; the first AT_ONCE of them are opened before the first is read."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder, self.names = folder, names
        self.missing: set[str] = set()  # were just replaced by something else, or removed
        self._opened: dict[str, int] = {}

    def __enter__(self) -> Self:
        try:
            for name in self.names[:AT_ONCE]:
                self._open(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _open(self, name: str) -> None:
        if (fd := open_inside(self.folder, name)) is None:
            self.missing.add(name)
        else:
            self._opened[name] = fd

    def each(self) -> Iterator[tuple[str, int]]:
        """Yields (name, descriptor) of each file that is still there; closes it afterwards."""
        for at, name in enumerate(self.names):
            if at >= AT_ONCE:
                self._open(name)
            if name in self._opened:
                yield name, self._opened[name]
                os.close(self._opened.pop(name))

    def __exit__(self, *_: object) -> None:
        while self._opened:
            os.close(self._opened.popitem()[1])


class CheckpointStore:
    """Stores the large checkpoints of one attempt on a shared file system instead of sending them."""

    def __init__(self, folder: Path, root: Path, beyond: int, alive: Callable[[], None]) -> None:
        self.folder, self.root, self.beyond, self.alive = folder, root, beyond, alive
        self._number = 0

    def chosen(self, changed: Mapping[str, State]) -> Iterable[str]:
        """Returns the large checkpoint files of a set, if its checkpoints exceed `beyond` bytes in total."""
        of_checkpoints = {name: state.size for name, state in changed.items() if name.startswith(OF_CHECKPOINTS)}
        if sum(of_checkpoints.values()) <= self.beyond:
            return ()
        return {name for name, size in of_checkpoints.items() if size >= LEAST_AWAY and has_room_for_pointer(name)}

    def keep(self, writer: Writer, name: str, fd: int, meta: dict[str, str]) -> tuple[int, bool]:
        """Stores a file, then sends a pointer to it; returns (bytes, not truncated). Raises CannotKeep."""
        size = os.fstat(fd).st_size
        stored, md5 = shared_checkpoints.keep(fd, self.folder / str(self._number), self.root, self.alive)
        pointer = {"name": name, "size": stored, "md5": md5, "stays": self._number}
        writer.send(FrameKind.FILE, {**meta, **pointer})
        self._number += 1
        return stored, stored == size


def is_kept(name: str) -> bool:
    """Is it a file that a trial keeps but does not need to resume?"""
    return name == PREDICTIONS or name.startswith(ARTIFACTS)


def has_room_for_pointer(name: str) -> bool:
    """Can the name of the pointer be that long?"""
    return len(name.rpartition("/")[2].encode() + shared_checkpoints.SUFFIX.encode()) <= LONGEST


def scan(folder: Path, links_left: list[str] | None = None) -> dict[str, State]:
    """Returns all regular files by relative name, without drafts and what this user may not read.

    A link to a file inside the folder counts as a copy of that file, other links are left out. The name of a folder
    of which nothing else is returned ends with a slash. Raises OSError if a folder cannot be read now: its files would
    look as if the trial had removed them. Adds to `links_left` the links of checkpoints that are left out although they
    lead somewhere.
    """
    found: dict[str, State] = {}

    def look(path: str, prefix: str) -> None:
        before = len(found)
        if prefix.count("/") > DEEPEST:  # its name will be refused
            found[prefix] = EMPTY
            return
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except PermissionError:
            entries = []
        except ABSENT:
            return
        for entry in entries:
            if is_unfinished(entry.name) or (not prefix and entry.name in NOT_SENT):
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    look(entry.path, f"{prefix}{entry.name}/")
                elif entry.is_file(follow_symlinks=False) or followed(Path(entry.path), folder) is not None:
                    status = entry.stat()
                    if os.access(entry.path, os.R_OK):
                        found[f"{prefix}{entry.name}"] = State.of(status)
                elif links_left is not None and is_link_of_checkpoint(entry, prefix):
                    links_left.append(f"{prefix}{entry.name}")
            except LEFT_OUT:
                continue
        if prefix and len(found) == before:
            found[prefix] = EMPTY

    look(str(folder), "")
    return found


def is_link_of_checkpoint(entry: os.DirEntry[str], prefix: str) -> bool:
    """Is it a link in the folder of checkpoints, or that folder, and leads somewhere?"""
    if not entry.is_symlink() or not f"{prefix}{entry.name}/".startswith(OF_CHECKPOINTS):
        return False
    return os.path.exists(entry.path)  # noqa: PTH110  # Path.exists raises for a name that is too long


def followed(path: Path, folder: Path) -> Path | None:
    """Returns the file inside the folder to which a link leads; None for any other path."""
    try:
        if not path.is_symlink():
            return None
        real = Path(os.path.realpath(path))  # Path.resolve raises for a circle of links
        return real if real.is_relative_to(os.path.realpath(folder)) and real.is_file() else None
    except LEFT_OUT:
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # such as a lock that is a link to a sentence
            return None
        raise


def open_inside(folder: Path, name: str) -> int | None:
    """Opens a file of the folder, also through a link to a file inside it; None: it is something else now.

    Goes from folder to folder: a link that took the place of one of them since the scan could lead anywhere.
    """
    target = followed(folder / name, folder)
    parts = name.split("/") if target is None else target.relative_to(os.path.realpath(folder)).parts
    try:
        at = os.open(folder, FOLDER & ~os.O_NOFOLLOW)
        try:
            for part in parts[:-1]:
                inner = os.open(part, FOLDER, dir_fd=at)
                os.close(at)
                at = inner
            return open_plain(parts[-1], at)
        finally:
            os.close(at)
    except OSError as error:
        if is_gone(error):
            return None
        raise


def refuse_too_much(files: Mapping[str, State], away: Iterable[str] = ()) -> None:
    """Raises BadFile if the files are too many or too large, or a name is not allowed. `away`: only pointers travel."""
    for name in files:
        checked_name(name, may_be_folder=True)
    size = sum(state.size for name, state in files.items() if name not in away)
    if len(files) > MOST_FILES or size > MOST_BYTES:
        tops = Counter(name.partition("/")[0] for name in files if "/" in name.rstrip("/"))
        most, count = max(tops.items(), key=lambda one: one[1], default=("", 0))
        where = f", {count:,} of them in {most[:LONGEST]}" if 2 * count > len(files) else ""
        raise BadFile(
            f"the trial has {len(files):,} files with {size:,} bytes{where}, and at most {MOST_FILES:,} with "
            f"{MOST_BYTES:,} can travel from or to a node; write fewer, such as one archive, or write those that "
            "nobody needs outside the trial's folder"
        )


def is_gone(error: OSError) -> bool:
    """Does the error of an open say that the trial has just removed, locked or replaced the file?"""
    return isinstance(error, LEFT_OUT) or error.errno in NO_LONGER


def state_of(fd: int) -> State:
    return State.of(os.fstat(fd))


def open_plain(path: Path | str, at: int | None = None) -> int | None:
    """Opens a regular file, relative to the folder `at` if that is given; None: it is something else now."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # else the open of a pipe would wait
    try:
        fd = os.open(path, flags, dir_fd=at)
    except OSError as error:
        if is_gone(error):
            return None
        raise
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None


def send_file(
    writer: Writer, name: str, fd: int, meta: dict[str, str], looks: Callable[[], None] = lambda: None
) -> tuple[int, bool]:
    """Sends a file in parts; calls `looks` for each. Returns (size, whether it had that many bytes)."""
    size, runs = os.fstat(fd).st_size, bool(os.fstat(fd).st_mode & stat.S_IXUSR)
    md5 = hashlib.md5(usedforsecurity=False)
    at = 0
    while True:
        body = os.pread(fd, min(PART, size - at), at) if at < size else b""
        short = at < size and not body  # it was truncated: send zeros for the rest, and the set counts as incomplete
        if short:
            body = bytes(min(PART, size - at))
        md5.update(body)
        at += len(body)
        last = {"md5": md5.hexdigest(), "runs": runs} if at >= size else {}
        writer.send(FrameKind.FILE, {**meta, "name": name, "size": size, **last}, body)
        looks()
        if at >= size:
            return size, not short


def send_folder(writer: Writer, name: str, meta: dict[str, str]) -> None:
    """Sends the name of an empty folder."""
    writer.send(FrameKind.FILE, {**meta, "name": name.removesuffix("/"), "folder": True})


def send_bytes(writer: Writer, name: str, content: bytes, meta: dict[str, Any]) -> None:
    """Sends a file from memory, in parts."""
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    for at in range(0, len(content) or 1, MOST_BODY):
        last = {"md5": md5} if at + MOST_BODY >= len(content) else {}
        writer.send(FrameKind.FILE, {**meta, "name": name, "size": len(content), **last}, content[at : at + MOST_BODY])
