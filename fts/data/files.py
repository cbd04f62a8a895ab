"""Writes the files of the data folder atomically, and parquet files whose bytes depend only on their content."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fts.state.files import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

SHARED = 0o666  # minus the umask: bars are not secret, and colleagues may share one data folder


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    """Returns index `Date` and the columns as a parquet file.

    Equal frames give equal bytes for one pyarrow release (constraints.txt pins it): no pandas metadata, one row group.
    """
    dates = frame.index.to_numpy().astype("datetime64[us]")
    table = pa.table({"Date": dates} | {str(c): frame[c].to_numpy() for c in frame.columns})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=max(1, len(frame)), store_schema=False)
    return sink.getvalue()


def read_columns(path: Path, before: np.datetime64 | None = None) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns dates (datetime64[D]) and columns; with `before`, later rows are dropped first."""
    table = pq.ParquetFile(path).read()
    dates = table.column("Date").to_numpy().astype("datetime64[D]")
    if before is not None:
        n = int(np.searchsorted(dates, before, side="left"))
        table, dates = table.slice(0, n), dates[:n]
    return dates, {name: table.column(name).to_numpy() for name in table.column_names if name != "Date"}


def read_dates(path: Path) -> np.ndarray:
    """Returns only the column Date, datetime64[D]."""
    dates: np.ndarray = pq.ParquetFile(path).read(columns=["Date"]).column("Date").to_numpy()
    return dates.astype("datetime64[D]")


def write_text(path: Path, text: str) -> None:
    """Replaces a file of the data folder atomically and durably."""
    atomic_write(path, text, mode=SHARED)


def md5_of(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "md5").hexdigest()
