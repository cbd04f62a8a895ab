"""What a trial keeps beside its numbers: predictions and artifacts, in its folder, with their checksums in its record.

    fts.predictions(trial, y_true, y_pred, index=dates)       # predictions.npz, replaced by a later call
    fts.artifact(trial, "model.bin")                          # artifacts/model.bin; a folder, too

predictions.npz holds the arrays y_true, y_pred and index (0, 1, 2 ... where none was given) of numpy, never a pickle;
equal predictions are equal bytes. Under plain Optuna both lie in the folder `checkpoints` where the script stands.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.trial.places import local_folder
from fts.jobs.trial.running import running_of
from fts.state.files import atomic_write, cannot_take, take

if TYPE_CHECKING:
    from numpy.typing import NDArray

PREDICTIONS = "predictions.npz"
ARTIFACTS = "artifacts"
KINDS = "biufU"  # of numbers and texts, as numpy calls them
INDEX_KINDS = KINDS + "Mm"  # and of dates
LONGEST_NAME = 80
MOST_FILES = 100  # of one trial: its record names each
BEGINNING_OF_TIME = (1980, 1, 1, 0, 0, 0)  # of a zip file: equal arrays are equal bytes


class BadPredictions(ValueError):
    """They cannot be kept: no numbers, or not of one length."""


class BadArtifact(ValueError):
    """There is no such file, or its name cannot be kept."""


def predictions(trial: Any, y_true: Any, y_pred: Any, index: Any = None) -> Path:
    """Keeps what the trial predicted, row by row; `index` names the rows, such as dates. Returns the file.

    Raises BadPredictions before anything is written.
    """
    import numpy as np  # here: a trial without predictions may have no numpy

    folder = folder_of(trial)
    truth, told = array_of(y_true, "y_true"), array_of(y_pred, "y_pred")
    rows = np.arange(len(truth)) if index is None else array_of(index, "index", INDEX_KINDS)
    if not len(truth) or truth.ndim > 2 or told.ndim > 2:
        raise BadPredictions(
            f"y_true has the shape {truth.shape}, y_pred {told.shape}; expected one row per prediction"
        )
    if rows.ndim != 1 or not len(truth) == len(told) == len(rows):
        raise BadPredictions(
            f"y_true has {len(truth)} rows, y_pred {len(told)}, index {len(rows)}; expected equally many"
        )
    path = folder / PREDICTIONS
    content = packed({"y_true": truth, "y_pred": told, "index": rows})
    atomic_write(path, content)
    told_of(trial, PREDICTIONS, md5_of(content), len(content), rows=len(truth))
    return path


def artifact(trial: Any, path: str | Path, name: str | None = None) -> Path:
    """Keeps a copy of a file or folder with the trial, under its own name or another. Returns the copy.

    Raises BadArtifact before anything is written, CannotWrite for a disk that is full.
    """
    folder = folder_of(trial)
    source = Path(path)
    name = source.absolute().name if name is None else name
    if not source.is_file() and not source.is_dir():
        raise BadArtifact(f"{source} is no file and no folder; write it before fts.artifact keeps it")
    if not 0 < len(name) <= LONGEST_NAME or Path(name).name != name or name.startswith(".") or not name.isprintable():
        raise BadArtifact(
            f"the artifact's name is {name!r:.100}, expected a file name of at most {LONGEST_NAME} letters"
        )
    if (wrong := cannot_take(source)) is not None:
        raise BadArtifact(f"{wrong} cannot be copied, expected a file that can be read, and no link to a folder")
    kept = folder / ARTIFACTS / name
    take(source, kept)
    md5, size = digest(kept)
    told_of(trial, f"{ARTIFACTS}/{name}", md5, size)
    return kept


def folder_of(trial: Any) -> Path:
    running = running_of(trial)
    if running is None:
        return local_folder(trial)
    running.orders.check_own()
    return running.folder


def told_of(trial: Any, name: str, md5: str, size: int, **more: int) -> None:
    running = running_of(trial)
    if running is not None:
        running.kept(name, {"md5": md5, "bytes": size, **more})


def array_of(values: Any, what: str, kinds: str = KINDS) -> NDArray[Any]:
    """As numpy has it. Raises BadPredictions for what is neither numbers nor text."""
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
    """As numpy.savez_compressed writes it, but without the time of writing."""
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
    """The md5 of a file, or of the names and md5s of all files of a folder; and the bytes."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, _md5).hexdigest(), path.stat().st_size
    files = {str(file.relative_to(path)): digest(file) for file in sorted(path.rglob("*")) if file.is_file()}
    return md5_of(json.dumps(files, sort_keys=True).encode()), sum(size for _, size in files.values())


def md5_of(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)
