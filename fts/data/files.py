"""Writes files that are whole or absent, and parquet whose bytes depend on nothing but its content."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


def write_parquet(frame: pd.DataFrame, path: Path) -> str:
    """Write index `Date` and the columns; returns the md5 of the file. Not atomic: write to a temporary name.

    Equal frames give equal bytes for one pyarrow release (constraints.txt pins it): no pandas metadata, one row group.
    """
    dates = frame.index.to_numpy().astype("datetime64[us]")
    table = pa.table({"Date": dates} | {str(c): frame[c].to_numpy() for c in frame.columns})
    with path.open("wb") as sink:
        pq.write_table(table, sink, compression="zstd", row_group_size=max(1, len(frame)), store_schema=False)
        sync(sink.fileno())
    return md5_of(path)


def read_columns(path: Path, before: np.datetime64 | None = None) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Dates (datetime64[D]) and columns; with `before`, later rows are dropped before anyone looks at their values."""
    table = pq.ParquetFile(path).read()
    dates = table.column("Date").to_numpy().astype("datetime64[D]")
    if before is not None:
        n = int(np.searchsorted(dates, before, side="left"))
        table, dates = table.slice(0, n), dates[:n]
    return dates, {name: table.column(name).to_numpy() for name in table.column_names if name != "Date"}


def read_dates(path: Path) -> np.ndarray:
    """The column Date alone, datetime64[D]."""
    return pq.ParquetFile(path).read(columns=["Date"]).column("Date").to_numpy().astype("datetime64[D]")


def write_text(path: Path, text: str) -> None:
    """Replace the file in one step that survives a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as sink:
        sink.write(text)
        sink.flush()
        sync(sink.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync(descriptor: int) -> None:
    """fsync, and on macOS the F_FULLFSYNC that makes the disk mean it."""
    import fcntl  # here: macOS only has the constant, and a reader of data needs neither

    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        fcntl.fcntl(descriptor, full)
    else:
        os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def md5_of(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "md5").hexdigest()
