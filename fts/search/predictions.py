"""Reads the predictions a trial left, without pandas: a worker that lives for weeks compares cells with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

COLUMNS = ("date", "y", "p")


class BadPredictions(ValueError):
    """A predictions file is not what a trial writes."""


@dataclass(frozen=True)
class Predictions:
    """One probability for each validation window, in time order; N windows."""

    dates: NDArray[np.datetime64]  # N, milliseconds; sorted, unique
    y: NDArray[np.float64]  # N, 0 or 1
    p: NDArray[np.float64]  # N, in [0, 1]

    def __len__(self) -> int:
        return len(self.dates)


def read_predictions(path: Path | str) -> Predictions:
    """A trial's predictions.parquet; raises FileNotFoundError, and BadPredictions for another kind of file."""
    import pyarrow  # here, not above: 30 MB that a reader of the types need not pay
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        if lacking := [column for column in COLUMNS if column not in file.schema_arrow.names]:
            raise BadPredictions(f"{path} lacks the columns {', '.join(lacking)}; expected date, y and p")
        table = file.read(columns=list(COLUMNS), use_threads=False)
    # by way of Python numbers: pyarrow's to_numpy brings in pandas
    dates = table["date"].cast(pyarrow.timestamp("ms")).cast(pyarrow.int64()).to_pylist()
    y, p = (table[name].cast(pyarrow.float64()).to_pylist() for name in ("y", "p"))
    whole = len(set(dates)) == len(dates) and not any(None in column for column in (dates, y, p))
    if not whole or not all(0 <= one <= 1 for one in p):  # NaN fails this too
        raise BadPredictions(
            f"{path} has doubled days, gaps, or probabilities outside 0..1; the trial must be run again"
        )
    order = np.argsort(np.array(dates, dtype=np.int64), kind="stable")
    return Predictions(
        np.array(dates, dtype="datetime64[ms]")[order], np.array(y, dtype=np.float64)[order], np.array(p)[order]
    )
