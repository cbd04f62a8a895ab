"""The folder of a trial's files under plain Optuna."""

from __future__ import annotations

import atexit
import re
import tempfile
from pathlib import Path
from typing import Any

from fts.state.files import remove

LOCAL = "checkpoints"  # in the current directory
_in_memory: dict[tuple[str, int], Path] = {}  # temporary folders of studies that exist only in this process


def local_folder(trial: Any) -> Path:
    """Returns the folder of a trial under plain Optuna. A retried trial gets that of the trial it repeats."""
    study = str(trial.study.study_name)
    if study.startswith("no-name-"):
        if (study, trial.number) not in _in_memory:
            folder = Path(tempfile.mkdtemp(prefix="fts-"))
            atexit.register(remove, folder)
            _in_memory[study, trial.number] = folder
        return _in_memory[study, trial.number]
    number = trial.storage.get_trial_system_attrs(trial._trial_id).get("failed_trial", trial.number)
    return Path(LOCAL).absolute() / re.sub(r"[^A-Za-z0-9_.-]", "_", study) / f"trial_{number:04d}"
