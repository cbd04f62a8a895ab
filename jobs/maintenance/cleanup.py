"""Finds and deletes files that are no longer needed.

An ended trial keeps its best weights and predictions, but not its checkpoints. Files of interrupted writes are deleted,
too, but never in the folder of a trial that runs or will continue.
"""

from __future__ import annotations

import re
import stat
import time
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.api.spec import trial_folder
from fts.jobs.supervisor import shared_checkpoints
from fts.state.files import DRAFT, below, is_abandoned, link_below, remove
from fts.state.pareto_front import front
from fts.state.values import Job, Trial, TrialStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from fts.jobs.settings import Places
    from fts.state.db import Database

ENDED = (TrialStatus.COMPLETE, TrialStatus.PRUNED, TrialStatus.FAILED)
CHECKPOINTS, BEST_WEIGHTS = "checkpoint", "best.safetensors"
DRAFTS = (".writing-*", ".deleting-*", ".*.part")  # left by an interrupted write
# names of our drafts (older versions used a process id); a download in progress has another name
OF_OURS = re.compile(r"\..*\.([0-9]+|[0-9a-f]{12})\.part")
# left by a backup that was killed; each as large as the database
HALF_COPIES = tuple(f"{dot}fts-*.part{end}" for dot in ("", ".") for end in ("", "-journal", "-wal", "-shm"))
OLD_S = 3600.0  # a younger draft may be a write in progress


@dataclass(frozen=True)
class Freed:
    """One file or folder that may be deleted, and why."""

    path: Path
    bytes: int
    why: str


def collect(db: Database, places: Places, only_best: bool = False) -> list[Freed]:
    """Returns what may be deleted; with `only_best` also the weights of ended trials that are not their cell's best."""
    from fts.state import queries  # here, not above: peewee

    found: list[Freed] = []
    with db.read():  # one transaction, so that no trial starts between reading jobs and trials
        jobs = [(job, queries.trials(db, job.id)) for job in queries.jobs(db)]
    for job, trials in jobs:
        found += _of_job(places, job, trials, only_best)
    busy = {folder_of(places, job, t) for job, trials in jobs for t in trials if not _has_ended(t)}
    found += _drafts(places.outputs / "trials", busy)
    found += _drafts(places.exports, busy)
    found += _drafts(places.backups, busy, HALF_COPIES)
    return unique(found)


def free(found: Iterable[Freed], places: Places) -> tuple[int, list[Path]]:
    """Deletes the items, but nothing outside of outputs; returns the freed bytes and the paths it could not delete."""
    freed, left = 0, []
    root = places.outputs.resolve()
    for item in found:
        if link_below(item.path, places.outputs) is not None or not item.path.resolve().is_relative_to(root):
            continue
        shared_checkpoints.forget(item.path)
        if remove(item.path):
            freed += item.bytes
        else:
            left.append(item.path)
    return freed, left


def orphans(db: Database, places: Places) -> list[Path]:
    """Returns trial folders that belong to no job of this database; `fts doctor` shows them, a person deletes them."""
    from fts.state import queries

    root = places.outputs / "trials"
    known = {folder_of(places, job, None).parent.name for job in queries.jobs(db)}
    if not root.is_dir():
        return []
    return [path for path in sorted(root.iterdir()) if path.is_dir() and path.name not in known]  # no .DS_Store


def folder_of(places: Places, job: Job, trial: Trial | None) -> Path:
    return trial_folder(places.outputs, job.experiment, job.id, trial.number if trial else 0)


def _of_job(places: Places, job: Job, trials: Iterable[Trial], only_best: bool) -> Iterator[Freed]:
    listed = list(trials)
    best = {trial.number for trial in front(job, listed)}  # with several goals all that no other trial beats
    for trial in listed:
        if not _has_ended(trial):
            continue
        folder = folder_of(places, job, trial)
        checkpoints, weights = folder / CHECKPOINTS, folder / BEST_WEIGHTS
        has_checkpoints = checkpoints.is_dir()
        has_weights = only_best and trial.number not in best and weights.is_file()
        if not (has_checkpoints or has_weights) or link_below(checkpoints, places.outputs) is not None:
            continue
        if has_checkpoints:
            yield Freed(
                checkpoints,
                size_of(checkpoints) + shared_checkpoints.bytes_of(checkpoints),
                f"checkpoints of a trial that is {trial.status}",
            )
        if has_weights:
            yield Freed(weights, size_of(weights), "weights of a trial that is not the best of its cell")


def _has_ended(trial: Trial) -> bool:
    """Returns whether the trial has surely ended: an unreadable row may belong to a trial that will continue."""
    return trial.status in ENDED and trial.unreadable is None


def _drafts(root: Path, busy: set[Path], patterns: Iterable[str] = DRAFTS) -> Iterator[Freed]:
    if not root.is_dir() or root.is_symlink():
        return
    for path in below(root):
        matching = {pattern for pattern in patterns if fnmatchcase(path.name, pattern)}
        ours = matching - {DRAFTS[-1]} or (matching and OF_OURS.fullmatch(path.name))
        if not ours or any(path.is_relative_to(folder) for folder in busy):
            continue
        if _is_old(path) and (not DRAFT.fullmatch(path.name) or is_abandoned(path)):
            yield Freed(path, size_of(path), "left by an interrupted write")


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > OLD_S
    except FileNotFoundError:  # its writer has finished meanwhile
        return False


def size_of(path: Path) -> int:
    """Returns the bytes of a file or of everything below a folder; links count 0."""
    total = 0
    for each in (path, *(() if path.is_symlink() else below(path))):
        with suppress(OSError):  # it has just been removed
            found = each.lstat()
            total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total


def unique(found: Iterable[Freed]) -> list[Freed]:
    """Drops items inside of other items."""
    kept: list[Freed] = []
    for item in sorted(found, key=lambda item: item.path):  # what is inside an item follows it at once
        if not kept or not item.path.is_relative_to(kept[-1].path):
            kept.append(item)
    return kept
