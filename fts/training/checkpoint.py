"""Reads and writes checkpoints: atomic, verified on load, the previous one is kept, never a pickle.

A checkpoint is a folder `checkpoint-000007` of safetensors shards, state.json and manifest.json (bytes and md5 of each
file). It is written under another name, flushed to the disk, then renamed: a crash at any moment leaves all earlier
ones unchanged. The newest one with correct checksums is loaded.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import safetensors
from safetensors.torch import save_file

from fts.state.files import (
    ABSENT,
    CannotWrite,
    make_folder,
    new_folder,
    no_space,
    reason_of,
    refuse_links,
    remove,
    replacing,
    room,
    size,
    sync_file,
)
from fts.state.files import sweep as sweep_drafts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor

FORMAT = 1
KEPT = 2  # the current one and the one before it
SHARD_BYTES = 1 << 28  # shards are read tensor by tensor, so this bounds the page cache, not our memory
SLACK_BYTES = 1 << 20  # headers, JSON, folder entries
NAME = re.compile(r"checkpoint-[0-9]{6}")
WRITING, DELETING = ".writing-", ".deleting-"
Value = TypeVar("Value")


class DiskFull(CannotWrite):
    """Not enough free space, or no free inodes, for a checkpoint; nothing was changed."""

    def __init__(self, folder: Path, needed: int, free: int, code: int = errno.ENOSPC, why: str | None = None) -> None:
        sentence = f"a checkpoint needs {needed:,} bytes and {folder} has {free:,} free; free some space and resume"
        super().__init__(code, sentence if why is None else f"a checkpoint needs {size(needed)}; {why}")
        self.needed, self.free = needed, free


class CheckpointError(RuntimeError):
    """A folder has no checkpoint to continue from; the message says why."""


@dataclass(frozen=True)
class SavedCheckpoint:
    path: str
    bytes: int
    md5s: dict[str, str]  # file name -> md5
    step: int
    epoch: int
    seconds: float

    @property
    def md5(self) -> str:
        """One md5 over the md5s of all files."""
        return hashlib.md5(json.dumps(self.md5s, sort_keys=True).encode(), usedforsecurity=False).hexdigest()

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"md5": self.md5}


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint with verified files."""

    path: Path
    state: dict[str, Any]
    shards: tuple[str, ...]
    warnings: tuple[str, ...] = field(default=())  # newer checkpoints that were skipped, and why

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yields every tensor in its own memory, one at a time."""
        for shard in self.shards:
            with safetensors.safe_open(self.path / shard, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118  # safe_open is no dict
                    # cloned: a mapped tensor may start at any address, and sums depend on memory alignment
                    yield name, file.get_tensor(name).clone()


def write_checkpoint(
    folder: Path, tensors: Callable[[], Iterable[tuple[str, Tensor]]], state: dict[str, Any]
) -> tuple[Path, dict[str, str], int]:
    """Writes the next checkpoint into folder and returns its path, md5s and bytes. Raises DiskFull without any change.

    `tensors` is called twice: to size them before anything is written, and to write them, shard by shard, in place
    (safetensors copies nothing that is contiguous and on the CPU).
    """
    make_folder(folder, folder.parent)
    sweep(folder)
    text = json.dumps({"format": FORMAT} | state)
    needed = sum(tensor.nbytes for _, tensor in tensors()) + len(text) + SLACK_BYTES
    path = folder / f"checkpoint-{_newest_serial(folder) + 1:06d}"

    def write() -> dict[str, str]:
        with new_folder(path) as draft:
            md5s = {name: _write_shard(draft / name, shard) for name, shard in _shards(tensors())}
            md5s["state.json"] = _write_text(draft / "state.json", text)
            sizes = {name: (draft / name).stat().st_size for name in md5s}
            manifest = {name: {"md5": md5, "bytes": sizes[name]} for name, md5 in md5s.items()}
            _write_text(draft / "manifest.json", json.dumps(manifest))
        return md5s

    md5s = with_disk_space(folder, needed, write)
    for old in _stored(folder)[KEPT:]:
        _delete(old)
    return path, md5s, sum(file.stat().st_size for file in path.iterdir())


def read_checkpoint(folder: Path) -> StoredCheckpoint:
    """Returns the newest checkpoint with correct checksums. Raises CheckpointError if there is none.

    A damaged one is named in `warnings` and renamed, so that it does not count as one of the kept ones.
    """
    warnings: list[str] = []
    for path in _stored(folder):
        try:
            shards = _verify(path)
            state = json.loads((path / "state.json").read_text())
        except (ValueError, KeyError, TypeError, AttributeError, FileNotFoundError) as damage:
            warnings.append(f"{path.name} is damaged ({damage}) and was skipped")
            if not folder.is_symlink():
                path.rename(path.with_name(DELETING + path.name))
            continue
        if state.get("format") != FORMAT:
            raise CheckpointError(f"{path} has format {state.get('format')}, this version reads format {FORMAT}")
        return StoredCheckpoint(path, state, shards, tuple(warnings))
    found = "; ".join(warnings) if warnings else "it has none"
    raise CheckpointError(f"{folder} holds no checkpoint to continue from: {found}; start the trial again")


def has_checkpoint(folder: Path) -> bool:
    """Whether the folder has any checkpoint, valid or not."""
    return bool(_stored(folder))


def sweep(folder: Path) -> int:
    """Removes what an interrupted write or delete left, and returns how many. Raises CannotWrite for a link.

    The draft of a live writer stays. Names with WRITING or DELETING have no live writer: only one trial process
    writes here, and the current version does not use WRITING any more.
    """
    refuse_links(folder, folder.parent)
    left = [path for path in folder.iterdir() if path.name.startswith((WRITING, DELETING))]
    return sum(remove(path) for path in left) + sweep_drafts(folder)


def with_disk_space(folder: Path, needed: int, write: Callable[[], Value]) -> Value:
    """Calls write if `needed` bytes and an inode are free. Raises DiskFull, also if the write fills the disk."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskFull(folder, needed, free)
    if room(folder)[1] == 0:
        raise DiskFull(folder, needed, free, why=no_space(folder))
    try:
        return write()
    except (OSError, safetensors.SafetensorError) as error:
        if not is_disk_full(error):
            raise
        free, inodes = shutil.disk_usage(folder).free, room(folder)[1]
        if is_quota(error):
            why = reason_of(OSError(errno.EDQUOT, "quota"), folder / "checkpoint")
            raise DiskFull(folder, needed, free, errno.EDQUOT, why) from error
        raise DiskFull(folder, needed, free, why=no_space(folder) if inodes == 0 else None) from error


def is_quota(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.EDQUOT
    return any(word in str(error) for word in ("quota exceeded", "Disk quota", f"os error {errno.EDQUOT}"))


def is_disk_full(error: BaseException) -> bool:
    """Whether an error means a full disk; safetensors reports OS errors as text."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return is_quota(error) or any(word in str(error) for word in ("No space left", f"os error {errno.ENOSPC}"))


def write_weights(path: Path, weights: dict[str, Tensor], facts: dict[str, Any]) -> str:
    """Writes one file of weights with facts as JSON in its header; returns its md5.

    Raises DiskFull; an earlier file of that name then stays unchanged.
    """
    make_folder(path.parent)
    needed = sum(tensor.nbytes for tensor in weights.values()) + SLACK_BYTES
    dense = {name: tensor.detach().contiguous() for name, tensor in weights.items()}
    header = {"fts": json.dumps(facts)}

    def write() -> str:
        with replacing(path) as draft:
            save_file(dense, draft, header)
            draft.chmod(0o600)
        return file_md5(path)

    return with_disk_space(path.parent, needed, write)


def read_weights(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Returns facts and weights of write_weights. Raises CheckpointError for another kind of file."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("fts")
            weights = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  # no dict
    except safetensors.SafetensorError as damage:
        raise CheckpointError(f"{path} is not a complete safetensors file ({f'{damage}':.200})") from damage
    if header is None:
        raise CheckpointError(f"{path} does not say which model its weights belong to; expected a file of save_best")
    try:
        return json.loads(header), weights
    except (ValueError, RecursionError) as damage:
        raise CheckpointError(f"{path} has a damaged header ({damage})") from damage


def file_md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _shards(tensors: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    shard: dict[str, Tensor] = {}
    number = size = 0
    for name, tensor in tensors:
        if shard and size + tensor.nbytes > SHARD_BYTES:
            number += 1
            yield f"tensors-{number:05d}.safetensors", shard
            shard, size = {}, 0
        shard[name] = tensor
        size += tensor.nbytes
    if shard:
        yield f"tensors-{number + 1:05d}.safetensors", shard


def _write_shard(path: Path, shard: dict[str, Tensor]) -> str:
    save_file({name: tensor.detach().contiguous() for name, tensor in shard.items()}, path)
    path.chmod(0o600)
    sync_file(path)
    return file_md5(path)


def _write_text(path: Path, text: str) -> str:
    """Writes a file of a draft folder, which is renamed as a whole later, and returns its md5."""
    with path.open("w") as file:
        file.write(text)
    path.chmod(0o600)
    sync_file(path)
    return file_md5(path)


def _verify(path: Path) -> tuple[str, ...]:
    """Returns the names of the shards. Raises ValueError with the first file that differs from the manifest."""
    manifest = json.loads((path / "manifest.json").read_text())
    for name, entry in manifest.items():
        if Path(name).name != name:
            raise ValueError(f"the manifest names a file outside the folder: {name!r}")
        file = path / name
        if (size := file.stat().st_size) != entry["bytes"]:
            raise ValueError(f"{name} has {size} bytes, the manifest says {entry['bytes']}")
        if file_md5(file) != entry["md5"]:
            raise ValueError(f"{name} does not match its md5")
    if "state.json" not in manifest:
        raise ValueError("the manifest lists no state.json")
    return tuple(sorted(name for name in manifest if name.endswith(".safetensors")))


def _stored(folder: Path) -> list[Path]:
    """Returns the checkpoints, newest first."""
    try:  # not glob, which takes a folder that cannot be read now for an empty one (from Python 3.13)
        return sorted((path for path in folder.iterdir() if NAME.fullmatch(path.name)), reverse=True)
    except ABSENT:
        return []


def _newest_serial(folder: Path) -> int:
    return max((int(path.name.split("-")[1]) for path in _stored(folder)), default=0)


def _delete(path: Path) -> None:
    """Renames, then deletes: a half-deleted checkpoint must not look like a damaged one."""
    hidden = path.with_name(DELETING + path.name)
    path.rename(hidden)
    remove(hidden)
