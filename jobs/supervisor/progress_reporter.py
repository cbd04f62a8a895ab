"""Sends progress events to the terminal after they are in the database."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fts.jobs.supervisor.progress_events import ProgressEvent, Tell
    from fts.state.db import Database


class ProgressReporter:
    """Forwards events; within a transaction it holds them back until the commit.

    A terminal may block, and other processes wait for the write lock meanwhile.
    """

    def __init__(self, db: Database, tell: Tell) -> None:
        self.db, self._tell = db, tell
        self._held_back: list[ProgressEvent] = []  # events of the open transaction

    def __call__(self, event: ProgressEvent) -> None:
        if self.db.in_transaction():
            self._held_back.append(event)
        else:
            self._tell(event)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Opens one transaction for several facts; sends their events after the commit."""
        self._held_back.clear()
        with self.db.write():
            yield
        held_back, self._held_back = self._held_back, []
        for event in held_back:
            self._tell(event)
