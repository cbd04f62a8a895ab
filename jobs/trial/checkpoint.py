"""Checkpoints of an objective: atomic, verified on load, with the previous one kept, and without pickle.

    checkpoint = fts.checkpoint(trial)
    state = checkpoint.load()                     # None at first; also restores the generators of random, numpy, torch
    checkpoint.save(lambda: {"model": model.state_dict(), "epoch": epoch})
    checkpoint.save({"epoch": epoch}, files=["model.bin"])    # then load() also sets checkpoint.files["model.bin"]

A checkpoint is a folder `checkpoint-000007` with state.json (plain values, generators, the epochs reported so far),
tensors.safetensors, arrays.npz, the folder `files` and manifest.json (bytes and md5 of each). It is written under a
temporary name, flushed to the disk, then renamed. Under plain Optuna it is written to `checkpoints` in the current
directory.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.trial.local_folder import local_folder
from fts.jobs.trial.packed import BadState, Packed, packable
from fts.jobs.trial.process import CHECKPOINT_SHARE, say
from fts.jobs.trial.running import ASKS, Report, running_of
from fts.state.files import (
    ABSENT,
    atomic_write,
    cannot_take,
    has_link,
    make_folder,
    naming,
    new_folder,
    remove,
    sweep,
    sync_folder,
    take,
)

if TYPE_CHECKING:
    from fts.jobs.trial.running import RunningTrial

FORMAT = 1
ALWAYS_S = 1e-3  # with FTS_CHECKPOINT_EVERY_S up to this, every save() writes, at any cost
KEPT = 2  # the current checkpoint and the previous one
NAME = re.compile(r"checkpoint-(\d{6,})")
FILES = "files"  # folder of a checkpoint for the files given to `save(files=...)`


class DamagedCheckpoint(ValueError):
    """A file of a checkpoint is missing or has changed."""


def checkpoint(trial: Any) -> Checkpoint:
    """Returns the checkpoints of a trial: in its folder, or under plain Optuna in `checkpoints/STUDY/trial_0004`."""
    running = running_of(trial)
    if running is None:
        return Checkpoint(local_folder(trial), trial)
    if running.checkpoints is None:
        running.checkpoints = Checkpoint(running.folder / "checkpoint", trial, running)
    return running.checkpoints


class Checkpoint:
    """Loads and saves the state of one trial."""

    def __init__(self, folder: Path, trial: Any, running: RunningTrial | None = None) -> None:
        self._folder, self._trial, self._running = folder, trial, running
        self.files: dict[str, Path] = {}  # files of the loaded checkpoint, by name
        self.generators: dict[str, Any] = {}  # states of the loaded checkpoint, for a library that reseeds them
        self._cost_s = 0.0
        self._last_save = time.monotonic()

    @property
    def dir(self) -> Path:
        """A folder for the trial's own files, which survive kill -9. It is removed together with the checkpoints."""
        make_folder(self._folder, self._folder.parent)
        return self._folder

    @property
    def due(self) -> bool:
        """Will `save` write now? Checkpoints take at most 2 % of the time, and a stop always writes one."""
        if self._running is not None and (
            self._running.stop_asked or self._running.spec.checkpoint_every_s <= ALWAYS_S
        ):
            return True
        return time.monotonic() - self._last_save >= self._cost_s / CHECKPOINT_SHARE

    def load(self) -> Any:
        """Returns the state of the newest intact checkpoint and restores its random generators. None: there is none."""
        if self._running is not None and self._running.resume_from is None:
            return None
        for path in stored(self._folder):
            try:
                found = read(path)
            except DamagedCheckpoint as damage:
                say(f"checkpoint: {path.name} is damaged ({damage}) and was skipped")
                remove(path, self._folder.parent)
                continue
            if self._usable(found):
                set_generators(found.generators)
                self.generators = found.generators
                self.files = {file.name: file for file in (path / FILES).iterdir()} if (path / FILES).is_dir() else {}
                sweep(path)  # answers of the pruner are added to a finished checkpoint
                say(f"resumed from {path.name}")
                if self._running is not None:
                    self._running.loaded = path
                return found.state
        return None

    def save(self, state: Any | Callable[[], Any], files: Sequence[str | Path] = ()) -> bool:
        """Writes a checkpoint if one is due, and returns whether it did. A callable `state` is called only then.

        `files` are files and folders that belong to it. Those in `dir` are moved into it, others are copied.
        Raises fts.Stopped after writing if the trial was asked to stop, BadState for a value that it cannot hold,
        CannotWrite if the disk is full.
        """
        if self._running is not None:
            self._running.orders.check_own()
            self._running.stop_if_terminated()
        if not self.due:
            return False
        start = time.monotonic()
        running = self._running
        reports = [asdict(report) for report in running.reports] if running else []
        judged = list(running.judged) if running else []
        draws = list(running.recorded.values()) if running else []
        content = {
            "format": FORMAT,
            "state": state() if callable(state) else state,
            "generators": generators(),
            "trial": {
                "reports": reports,
                "judged": judged,
                "draws": draws,
                "unjudged": running is not None and running.unjudged,
                "attributes": packable(self._trial.user_attrs) if running else {},
                "constraints": dict(self._trial.constraints) if running else {},
            },
        }
        path, md5, size = write(self._folder, content, [Path(one) for one in files])
        self._last_save = time.monotonic()
        self._cost_s = self._last_save - start
        if running is not None:
            epoch = running.reports[-1].step if running.reports else 0
            where = {"path": str(path), "bytes": size, "md5": md5, "seconds": self._cost_s}
            running.checkpoint({"step": epoch, "epoch": epoch, **where})
        return True

    def _usable(self, found: Stored) -> bool:
        """Reports the epochs of this checkpoint again, and asks the pruner about the last one if that is still open.

        A trial that was killed between its checkpoint and the pruner's answer must end where an undisturbed one does.
        Raises TrialPruned if that is here. Returns False if it is unknown whether the function asks the pruner here.
        """
        running = self._running
        if running is None:
            return True
        if found.asks is None:
            say(f"checkpoint: {found.path.name} was skipped: the pruner may not have judged its last epoch")
            return False
        running.restore(found.reports, found.judged, found.draws)
        values = {name: draw["value"] for name, draw in running.recorded.items()}
        self._trial.restore({report.step: report.value for report in found.reports}, values)
        self._trial.keep(found.attributes, found.constraints)
        if found.asks and running.judge():
            raise importlib.import_module("optuna").TrialPruned(f"at epoch {found.reports[-1].step}")
        return True


# -- on disk


@dataclass(frozen=True)
class Stored:
    """The content of a checkpoint with correct checksums."""

    path: Path
    state: Any
    generators: dict[str, Any]
    reports: list[Report]
    judged: list[int]
    draws: list[dict[str, Any]]
    attributes: dict[str, Any]  # set by trial.set_user_attr
    constraints: dict[str, float]  # set by trial.set_constraint
    asks: bool | None  # does the function still ask the pruner about the last epoch? None: unknown


def stored(folder: Path) -> list[Path]:
    """Returns the checkpoints in a folder, newest first."""
    try:
        found = [path for path in folder.iterdir() if NAME.fullmatch(path.name)]
    except ABSENT:
        return []
    return sorted(found, key=serial, reverse=True)


def serial(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def write(folder: Path, content: dict[str, Any], files: Sequence[Path] = ()) -> tuple[Path, str, int]:
    """Writes the next checkpoint and returns its path, one md5 of all files, and its bytes.

    Raises BadState or CannotWrite.
    """
    check_files(files)
    packed = Packed()
    text = json.dumps(packed.pack(content, "state"))
    make_folder(folder, folder.parent)
    sweep(folder)
    kept = stored(folder)
    path = folder / f"checkpoint-{(serial(kept[0]) if kept else 0) + 1:06d}"
    with new_folder(path, folder.parent) as draft:
        atomic_write(draft / "state.json", text)
        packed.write(draft)
        moved = [file for file in files if file.absolute().parent == folder.absolute() and not has_link(file)]
        for file in [*(file for file in files if file not in moved), *moved]:  # a copy may be of a file that is moved
            take(file, draft / FILES / file.name, move=file in moved)
        if files:
            sync_folder(draft / FILES)
        names = {str(file.relative_to(draft)): file for file in files_of(draft)}
        manifest = {name: {"md5": file_md5(file), "bytes": file.stat().st_size} for name, file in names.items()}
        atomic_write(draft / "manifest.json", json.dumps(manifest))
    for old in kept[KEPT - 1 :]:
        remove(old, folder.parent)
    md5 = hashlib.md5(json.dumps(manifest, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
    return path, md5, sum(file.stat().st_size for file in files_of(path))


def read(path: Path) -> Stored:
    """Reads a checkpoint. Raises DamagedCheckpoint with what differs, BadState if another version wrote it.

    Raises OSError if it cannot be read now: it may be intact, so it must not be removed.
    """
    try:
        with naming(path):
            return _read(path)
    except (BadState, DamagedCheckpoint):
        raise
    except (*ABSENT, ValueError, KeyError, TypeError, AttributeError) as damage:
        raise DamagedCheckpoint(f"{type(damage).__name__}: {damage}") from damage


def _read(path: Path) -> Stored:
    manifest = json.loads((path / "manifest.json").read_text())
    for name, entry in manifest.items():
        inside = not Path(name).is_absolute() and ".." not in Path(name).parts
        if not inside or file_md5(path / name) != entry["md5"]:
            raise DamagedCheckpoint(f"{name} does not match its md5")
    raw = json.loads((path / "state.json").read_text())
    if raw["format"] != FORMAT:
        raise BadState(f"{path} has format {raw['format']}, this version reads format {FORMAT}")
    content = Packed.read(path).unpack(raw)
    reports = [Report(**report) for report in content["trial"]["reports"]]
    judged = list(content["trial"]["judged"])
    asks: bool | None = False
    if content["trial"]["unjudged"]:
        asks = json.loads((path / ASKS).read_text()) if (path / ASKS).exists() else None
    draws = list(content["trial"].get("draws", ()))
    trial = {"attributes": {}, "constraints": {}} | content["trial"]  # an older fts wrote neither
    return Stored(
        path,
        content["state"],
        content["generators"],
        reports,
        judged,
        draws,
        trial["attributes"],
        trial["constraints"],
        asks,
    )


def files_of(folder: Path) -> list[Path]:
    """Returns all files of a checkpoint, without temporary ones."""
    inside = [file for file in (folder / FILES).rglob("*") if file.is_file()]
    return sorted([file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")] + inside)


def check_files(files: Sequence[Path]) -> None:
    """Raises BadState unless each path is a file or folder, and for two of the same name."""
    for file in files:
        if not file.is_file() and not file.is_dir():
            raise BadState(f"{file} is neither a file nor a folder, so no checkpoint can keep it")
        if (wrong := cannot_take(file)) is not None:
            raise BadState(f"{wrong} cannot be copied, expected a file that can be read, and no link to a folder")
        if sum(other.name == file.name for other in files) > 1:
            raise BadState(f"two files for one checkpoint are called {file.name}; give them different names")


def file_md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


# -- random generators


def generators() -> dict[str, Any]:
    """Returns the states of all random generators in use."""
    states: dict[str, Any] = {"random": random.getstate()}
    if numpy := sys.modules.get("numpy"):
        state = numpy.random.get_state(legacy=False)
        is_usual = state["bit_generator"] == "MT19937"  # others: after numpy.random.set_bit_generator
        states["numpy"] = tuple(numpy.random.get_state()) if is_usual else state
    if torch := sys.modules.get("torch"):
        states["torch"] = torch.get_rng_state()
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            states["cuda"] = list(torch.cuda.get_rng_state_all())
        if torch.backends.mps.is_available():
            states["mps"] = torch.mps.get_rng_state()
    return states


def set_generators(states: dict[str, Any]) -> None:
    random.setstate(states["random"])
    if "numpy" in states:
        numpy = importlib.import_module("numpy")
        if isinstance(states["numpy"], dict):  # of numpy.random.set_bit_generator
            numpy.random.set_bit_generator(getattr(numpy.random, states["numpy"]["bit_generator"])())
        numpy.random.set_state(states["numpy"])
    if "torch" not in states:
        return
    torch = importlib.import_module("torch")
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available() and torch.cuda.device_count() == len(states["cuda"]):
        torch.cuda.set_rng_state_all(states["cuda"])
    if "mps" in states and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"])
