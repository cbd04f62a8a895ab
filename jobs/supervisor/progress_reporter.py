"""Tells a terminal what happens, once it is on record."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fts.jobs.supervisor.progress_events import ProgressEvent, Tell
    from fts.state.db import Database


class Telling:
    """Now, or once what it tells of is written: a terminal may stand still, and others wait for the write lock."""

    def __init__(self, db: Database, tell: Tell) -> None:
        self.db, self._tell = db, tell
        self._untold: list[ProgressEvent] = []  # of the transaction under way

    def __call__(self, event: ProgressEvent) -> None:
        if self.db.in_transaction():
            self._untold.append(event)
        else:
            self._tell(event)

    @contextmanager
    def together(self) -> Iterator[None]:
        """One transaction of several facts."""
        self._untold.clear()
        with self.db.write():
            yield
        untold, self._untold = self._untold, []
        for event in untold:
            self._tell(event)
