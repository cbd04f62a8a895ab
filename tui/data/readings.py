"""Holds the last read, a frozen one, the error of the latest failed read, and the age of the data."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from fts.jobs.status.log_excerpt import trouble
from fts.jobs.status.sanitize import clean
from fts.state import queries
from fts.state.values import Event, Snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from fts.tui.data.messages import Unreadable
    from fts.tui.data.reader import ReadResult

NEVER_S = 1e9  # the age of data that was never read, where infinity cannot be used


class Readings:
    """The reads of one monitor; mutable. Does not import Textual."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reading: ReadResult | None = None
        self.frozen: ReadResult | None = None
        self.snapshot = Snapshot(time.time(), 0, str(path), (), (), (), (), (), (), False, None, None)
        self.journal: tuple[Event, ...] = ()  # the live events, also during a replay
        self.problem = ""
        self.problem_kind = ""
        self.replaced = 0  # how often the database was found to be another one
        self.since: float | None = None  # start of the absence that the header sums up

    def arrived(self, reading: ReadResult, live: bool) -> None:
        """Takes over a successful read. `live`: not a replay."""
        first = self.reading is None
        self.reading = reading
        self.problem = self.problem_kind = ""
        self.snapshot = reading.snapshot
        if live:
            self.journal = reading.details.events
        if first:
            self.since = self.snapshot.last_key_at

    def failed(self, message: Unreadable) -> None:
        """Notes a failed read. Only if the file is missing the sentence keeps its full path."""
        self.problem_kind = message.kind
        sentence = clean(message.sentence)
        if message.kind != "gone":
            sentence = sentence.replace(str(self.path), self.path.name)
        self.problem = sentence if message.kind != "busy" else f"{sentence}; reading again every 1, 2, 5 s"

    @property
    def has_answer(self) -> bool:
        """Whether the first read has succeeded or failed."""
        return self.reading is not None or bool(self.problem_kind)

    def age_s(self, last_good: float) -> float:
        """Returns the seconds since the last successful read (at `last_good`, monotonic); infinity before the first."""
        if self.reading is None:
            return 0.0 if self.problem_kind == "gone" else math.inf  # without a file no data can be old
        return time.monotonic() - last_good

    def present(self, now: float) -> Snapshot:
        """Returns the latest snapshot dated `now`: a worker that falls silent causes no new read."""
        return replace(self.snapshot, taken_at=max(self.snapshot.taken_at, now))

    def in_trouble(self, now: float, job_id: int | None) -> int | None:
        """Returns the id of the job whose last log lines should be shown now, or None."""
        job = trouble(self.snapshot, now, job_id)
        return None if job is None else job.id

    def too_new(self) -> str | None:
        """Returns a warning if the database was written by a newer fts, else None."""
        return queries.newer_schema(self.snapshot)

    def distrust(self) -> str | None:
        """Returns why the data cannot be trusted, or None. A missing file is reported by `missing` instead."""
        if self.reading is None and not self.problem:
            return f"reading {self.path} for the first time"
        gone = self.reading is None and self.problem_kind == "gone"
        return None if gone else self.problem or self.too_new()

    def missing(self, readonly: bool) -> str:
        """Returns the text that replaces the panes before the first read: what is wrong and what to do."""
        if self.reading is not None:
            return ""
        if self.problem_kind != "gone":
            return self.problem or f"Reading {self.path} ..."
        create = "" if readonly else "Press e to enqueue a study, or in a terminal: "
        run = "`fts init` writes an example, `fts enqueue FILE.py:FUNCTION` enqueues a function"
        return f"No state at {self.path}. {create}{run}. Looked at: --db, $FTS_DB, ./outputs."
