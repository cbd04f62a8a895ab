"""Reads the files that trials kept (predictions, artifacts), and checks them against their recorded md5."""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.spec import trial_folder
from fts.jobs.trial.artifacts import ARTIFACTS, PREDICTIONS, digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from fts.jobs.settings import Places
    from fts.state.values import Job, Trial

DAMAGE = (  # what numpy.load raises for a damaged file
    OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
FILES = "files"  # fact of a trial: name -> {md5, bytes}


class NothingKept(LookupError):
    """The trial kept no such file, or the file is missing or changed."""


@dataclass(frozen=True)
class Predictions:
    """The predictions of a trial: one row per index."""

    y_true: NDArray[Any]
    y_pred: NDArray[Any]
    index: NDArray[Any]

    def records(self) -> Iterator[dict[str, Any]]:
        """Yields the rows; several outputs become y_pred.0, y_pred.1 ..."""
        columns = {"index": self.index} | _columns("y_true", self.y_true) | _columns("y_pred", self.y_pred)
        for row in range(len(self.index)):
            yield {name: value[row].item() if name != "index" else value[row] for name, value in columns.items()}


def files_of(trial: Trial) -> dict[str, dict[str, Any]]:
    """Maps the name of each kept file to its md5, bytes, and rows of predictions."""
    found = trial.facts.get(FILES)
    return {str(name): entry for name, entry in found.items()} if isinstance(found, dict) else {}


def read_predictions(places: Places, job: Job, trial: Trial) -> Predictions:
    """Returns a trial's predictions. Raises NothingKept if there are none, or the file is damaged or changed."""
    import numpy as np  # here, not above: most readers need no predictions

    path = kept_file(places, job, trial, PREDICTIONS)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Predictions(arrays["y_true"], arrays["y_pred"], arrays["index"])
    except DAMAGE as damage:
        raise NothingKept(f"{path} cannot be read: {damage}") from damage


def artifact_of(places: Places, job: Job, trial: Trial, name: str) -> Path:
    """Returns the path of an artifact, a file or folder. Raises NothingKept."""
    return kept_file(places, job, trial, f"{ARTIFACTS}/{name}")


def kept_file(places: Places, job: Job, trial: Trial, name: str) -> Path:
    """Returns the path of a kept file. Raises NothingKept, which says what the trial kept, or what differs."""
    files = files_of(trial)
    which = f"t{trial.number} of {job.cell}"
    if name not in files:
        raise NothingKept(f"{which} kept no {name}; it kept {', '.join(files) or 'nothing'}")
    path = trial_folder(places.outputs, job.experiment, job.id, trial.number) / name
    if not path.exists():
        raise NothingKept(f"{which} kept {name}, but {path} is gone")
    if digest(path)[0] != files[name].get("md5"):
        raise NothingKept(f"{which} kept {name}, but {path} has changed since: its md5 is not the recorded one")
    return path


def _columns(name: str, array: NDArray[Any]) -> dict[str, NDArray[Any]]:
    return {name: array} if array.ndim == 1 else {f"{name}.{n}": array[:, n] for n in range(array.shape[1])}
