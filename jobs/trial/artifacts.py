"""Keeps predictions and artifacts in a trial's folder, with their checksums in its record.

    fts.predictions(trial, y_true, y_pred, index=dates)       # predictions.npz, replaced by a later call
    fts.artifact(trial, "model.bin")                          # artifacts/model.bin; also takes a folder

predictions.npz holds the numpy arrays y_true, y_pred and index (0, 1, 2 ... by default), never a pickle. Equal
predictions give equal bytes. Under plain Optuna both are written to `checkpoints` in the current directory.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.trial.local_folder import local_folder
from fts.jobs.trial.running import running_of
from fts.raising import quoted
from fts.state.files import atomic_write, cannot_take, take

if TYPE_CHECKING:
    from numpy.typing import NDArray

PREDICTIONS = "predictions.npz"
ARTIFACTS = "artifacts"
KINDS = "biufU"  # numpy's kinds of numbers and texts
INDEX_KINDS = KINDS + "Mm"  # and of dates
LONGEST_NAME = 80
MOST_FILES = 100  # of one trial, because its record names each
BEGINNING_OF_TIME = (1980, 1, 1, 0, 0, 0)  # of a zip file; a fixed time, so that equal arrays give equal bytes


class BadPredictions(ValueError):
    """The predictions are not numbers, or differ in length."""


class BadArtifact(ValueError):
    """The file does not exist, or its name is not allowed."""


def predictions(trial: Any, y_true: Any, y_pred: Any, index: Any = None) -> Path:
    """Keeps the trial's predictions, one per row, and returns the file. `index` labels the rows, such as with dates.

    Raises BadPredictions before anything is written.
    """
    import numpy as np  # here: a trial without predictions may run without numpy

    folder = folder_of(trial)
    truth, predicted = array_of(y_true, "y_true"), array_of(y_pred, "y_pred")
    rows = np.arange(len(truth)) if index is None else array_of(index, "index", INDEX_KINDS)
    if not len(truth) or truth.ndim > 2 or predicted.ndim > 2:
        raise BadPredictions(
            f"y_true has the shape {truth.shape}, y_pred {predicted.shape}; expected one row per prediction"
        )
    if rows.ndim != 1 or not len(truth) == len(predicted) == len(rows):
        raise BadPredictions(
            f"y_true has {len(truth)} rows, y_pred {len(predicted)}, index {len(rows)}; expected equally many"
        )
    path = folder / PREDICTIONS
    content = packed({"y_true": truth, "y_pred": predicted, "index": rows})
    atomic_write(path, content)
    record(trial, PREDICTIONS, md5_of(content), len(content), rows=len(truth))
    return path


def artifact(trial: Any, path: str | Path, name: str | None = None) -> Path:
    """Copies a file or folder into the trial's folder and returns the copy. `name` defaults to its own name.

    Raises BadArtifact before anything is written, CannotWrite if the disk is full.
    """
    folder = folder_of(trial)
    source = Path(path)
    name = source.absolute().name if name is None else name
    if not source.is_file() and not source.is_dir():
        raise BadArtifact(f"{source} is neither a file nor a folder; write it before you call fts.artifact")
    if not 0 < len(name) <= LONGEST_NAME or Path(name).name != name or name.startswith(".") or not name.isprintable():
        raise BadArtifact(
            f"the artifact's name is {quoted(name, 100)}, expected a file name of at most {LONGEST_NAME} letters"
        )
    if (wrong := cannot_take(source)) is not None:
        raise BadArtifact(f"{wrong} cannot be copied, expected a file that can be read, and no link to a folder")
    kept = folder / ARTIFACTS / name
    take(source, kept)
    md5, size = digest(kept)
    record(trial, f"{ARTIFACTS}/{name}", md5, size)
    return kept


def folder_of(trial: Any) -> Path:
    running = running_of(trial)
    if running is None:
        return local_folder(trial)
    running.orders.check_own()
    return running.folder


def record(trial: Any, name: str, md5: str, size: int, **more: int) -> None:
    running = running_of(trial)
    if running is not None:
        running.kept(name, {"md5": md5, "bytes": size, **more})


def array_of(values: Any, what: str, kinds: str = KINDS) -> NDArray[Any]:
    """Returns the values as a numpy array. Raises BadPredictions unless they are numbers or text."""
    import numpy as np

    if hasattr(values, "detach"):  # a tensor, perhaps on a GPU and with a gradient
        values = values.detach().cpu()
    try:
        found = np.asarray(values)
        if found.dtype.kind == "O" and what == "index":  # dates with a time zone, mixed names
            found = np.asarray([str(one) for one in found])
        elif found.dtype.kind == "O" and all(isinstance(one, str) for one in found.flat):
            found = found.astype(str)
    except (TypeError, ValueError) as error:
        raise BadPredictions(f"{what} is {type(values).__name__}, expected numbers: {str(error)[:200]}") from None
    if found.dtype.kind not in kinds or found.ndim == 0:
        raise BadPredictions(
            f"{what} is {type(values).__name__} of {found.dtype}, expected an array of numbers or text"
        )
    return found


def packed(arrays: dict[str, NDArray[Any]]) -> bytes:
    """Returns the bytes that numpy.savez_compressed writes, but with a fixed time."""
    from numpy.lib import format as npy

    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, array in arrays.items():
            one = io.BytesIO()
            npy.write_array(one, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", BEGINNING_OF_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, one.getvalue())
    return written.getvalue()


def digest(path: Path) -> tuple[str, int]:
    """Returns md5 and bytes of a file or folder. A folder's md5 is that of the names and md5s of all its files."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, _md5).hexdigest(), path.stat().st_size
    files = {str(file.relative_to(path)): digest(file) for file in sorted(path.rglob("*")) if file.is_file()}
    return md5_of(json.dumps(files, sort_keys=True).encode()), sum(size for _, size in files.values())


def md5_of(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)
