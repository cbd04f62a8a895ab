"""Adds up the bytes of checkpoints, and how many `fts gc` would free; used only while a disk is full."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.state.values import Trial, TrialStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LIVE = (TrialStatus.RUNNING, TrialStatus.INTERRUPTED)


@dataclass(frozen=True)
class Kept:
    """Bytes of checkpoints below the study's folder."""

    all: int
    freed: int  # the part that `fts gc` would free: checkpoints of ended trials


def kept(study: Path, trials: Iterable[Trial]) -> Kept:
    """Adds up the checkpoints of the study in a folder; `trials` must include every live trial."""
    live = {(trial.job_id, trial.number) for trial in trials if trial.status in LIVE}
    found = [(name in live, size) for name, size in _checkpoints(study / "trials")]
    return Kept(sum(size for _, size in found), sum(size for is_live, size in found if not is_live))


def _checkpoints(root: Path) -> Iterator[tuple[tuple[int, int], int]]:
    """Yields ((job id, trial number), bytes) of each trial's checkpoints; unreadable files count 0."""
    for folder in root.glob("*/trial_*/checkpoint"):
        job = folder.parent.parent.name.partition("_")[0]  # 00006_phase6a_20M_h5: spec.trial_folder
        trial = folder.parent.name.removeprefix("trial_")
        if job.isdecimal() and trial.isdecimal():
            yield (int(job), int(trial)), _bytes(folder)


def _bytes(folder: Path) -> int:
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(path) / name).lstat().st_size
            except OSError:  # removed meanwhile
                continue
    return total
