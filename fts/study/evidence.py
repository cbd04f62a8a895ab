"""Records a trial's evidence besides its score: fingerprints of its data, its predictions, its peak memory.

Imports no torch: the baselines use it too.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import platform
import socket
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.state.files import replacing
from fts.study.cell_data import CellData, few, load

if TYPE_CHECKING:
    import numpy as np

    from fts.study.cell import CellSpec


def data_facts(data: CellData) -> dict[str, Any]:
    """Returns facts about the trial's data and process, for its record (lessons 1, 2)."""
    return {
        "n_train": data.n_train,
        "n_val": data.n_val,
        "n_pos": data.n_pos,
        "prior_loss": data.prior_loss,
        "label_md5": data.label.md5,
        "base_rate": data.label.base_rate,
        "data_md5": data.data_md5,
        "python_version": platform.python_version(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }


KEPT_AT_MOST = 800 << 20  # bytes of a process between two trials; 500 MB are libraries and data


@lru_cache(maxsize=4)
def _load(
    root: str, md5: str, tier: str, task: str, horizon: int, context: int, span: int, split: str, least: int
) -> CellData:
    parts = json.loads(split)
    return load(Path(root), md5, task, horizon, context, split=parts, min_positives=least, tier=tier, span=span)


def cell_data(root: str, cell: CellSpec, rows: int | None = None) -> CellData:
    """Loads the cell's data without the test period. `rows`: only this many windows, for a dry run."""
    split = json.dumps(cell.split, sort_keys=True)
    days = cell.context, cell.span
    data = _load(root, cell.data_md5, cell.tier, cell.task, cell.horizon, *days, split, cell.min_positives)
    if rows is None:
        return data
    import arch.bootstrap  # noqa: F401  # imported before the timed step, which would include its 2 s

    train, val = (few(ends, data.y_T, rows) for ends in (data.train_ends, data.val_ends))
    return replace(data, train_ends=train, val_ends=val)


def write_predictions(path: Path, data: CellData, p: np.ndarray) -> None:
    """Writes date, label and probability of every validation window (lesson 23), atomically."""
    import pandas as pd  # here, not above: the trial has already loaded it with its data

    y = data.y_T[data.val_ends]
    frame = pd.DataFrame({"date": data.dates[data.val_ends], "y": y.astype("int8"), "p": p})
    with replacing(path) as draft:
        frame.to_parquet(draft, index=False)


def peak_bytes() -> int | None:
    """Returns the largest resident size since `reset_peak` (Linux), or since the process started (elsewhere)."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource  # here: the module does not exist everywhere

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak() -> None:
    """Frees memory of earlier trials of this process and resets the peak (Linux only)."""
    release_pages()
    if (resident_bytes() or 0) > KEPT_AT_MOST:  # a reference cycle still holds a model: collecting costs 0.1 s
        gc.collect()
        release_pages()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def release_pages() -> None:
    """Returns free heap pages of the C library to the system; glibc only."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def resident_bytes() -> int | None:
    """Returns the resident bytes of this process now; None if /proc does not exist."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
