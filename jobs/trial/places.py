"""Where the files of a trial lie under plain Optuna."""

from __future__ import annotations

import atexit
import re
import tempfile
from pathlib import Path
from typing import Any

from fts.state.files import remove

LOCAL = "checkpoints"  # under plain Optuna, where the script stands
_in_memory: dict[tuple[str, int], Path] = {}  # of studies that no later process can know


def local_folder(trial: Any) -> Path:
    """Of a trial under plain Optuna; a retried one finds the checkpoints of the trial that it repeats."""
    study = str(trial.study.study_name)
    if study.startswith("no-name-"):
        if (study, trial.number) not in _in_memory:
            folder = Path(tempfile.mkdtemp(prefix="fts-"))
            atexit.register(remove, folder)
            _in_memory[study, trial.number] = folder
        return _in_memory[study, trial.number]
    number = trial.storage.get_trial_system_attrs(trial._trial_id).get("failed_trial", trial.number)
    return Path(LOCAL).absolute() / re.sub(r"[^A-Za-z0-9_.-]", "_", study) / f"trial_{number:04d}"
