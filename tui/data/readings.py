"""What has been read and what has not: the last reading, a frozen one, why the latest look failed, how old all is."""

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

NEVER_S = 1e9  # older than any picture


class Readings:
    """Mutable; one per monitor. No textual here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reading: ReadResult | None = None
        self.frozen: ReadResult | None = None
        self.snapshot = Snapshot(time.time(), 0, str(path), (), (), (), (), (), (), False, None, None)
        self.journal: tuple[Event, ...] = ()  # the live one, also during a replay
        self.problem = ""
        self.problem_kind = ""
        self.since: float | None = None  # the absence the glance tells of

    def arrived(self, reading: ReadResult, live: bool) -> None:
        """A look that succeeded; `live`: not one of the past."""
        first = self.reading is None
        self.reading = reading
        self.problem = self.problem_kind = ""
        self.snapshot = reading.snapshot
        if live:
            self.journal = reading.details.events
        if first:
            self.since = self.snapshot.last_key_at

    def failed(self, message: Unreadable) -> None:
        """A look that did not; where the file is missing, its whole path says which one was looked for."""
        self.problem_kind = message.kind
        sentence = clean(message.sentence)
        if message.kind != "gone":
            sentence = sentence.replace(str(self.path), self.path.name)
        self.problem = sentence if message.kind != "busy" else f"{sentence}; reading again every 1, 2, 5 s"

    @property
    def has_answer(self) -> bool:
        """Whether anything has come of the first look."""
        return self.reading is not None or bool(self.problem_kind)

    def age_s(self, last_good: float) -> float:
        """Seconds since the last look that succeeded (at `last_good`, monotonic); infinitely many before the first."""
        if self.reading is None:
            return 0.0 if self.problem_kind == "gone" else math.inf  # where no file is there is nothing to miss
        return time.monotonic() - last_good

    def present(self, now: float) -> Snapshot:
        """The latest snapshot at this moment: a worker that falls silent writes nothing that would be read anew."""
        return replace(self.snapshot, taken_at=max(self.snapshot.taken_at, now))

    def in_trouble(self, now: float, job_id: int | None) -> int | None:
        """The job whose last lines matter now."""
        job = trouble(self.snapshot, now, job_id)
        return None if job is None else job.id

    def too_new(self) -> str | None:
        """Why this file is shown only as far as it is known."""
        return queries.newer_schema(self.snapshot)

    def distrust(self) -> str | None:
        """Why the data cannot be trusted; a missing file is an empty state, and has words of its own."""
        if self.reading is None and not self.problem:
            return f"reading {self.path} for the first time"
        gone = self.reading is None and self.problem_kind == "gone"
        return None if gone else self.problem or self.too_new()

    def missing(self, readonly: bool) -> str:
        """What stands in place of the panes before anything was read: why, and what to do."""
        if self.reading is not None:
            return ""
        if self.problem_kind != "gone":
            return self.problem or f"Reading {self.path} ..."
        create = "" if readonly else "Press e to put a study in line, or in a terminal: "
        run = "`fts init` writes an example, `fts enqueue FILE.py:FUNCTION` puts a function in line"
        return f"No state at {self.path}. {create}{run}. Looked at: --db, $FTS_DB, ./outputs."
