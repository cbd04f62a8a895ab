"""Sends progress events to the terminal after they are in the database."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fts.jobs.supervisor.progress_events import ProgressEvent, Tell
    from fts.state.db import Database


class Telling:
    """Forwards events; within a transaction it holds them back until the commit.

    A terminal may block, and other processes wait for the write lock meanwhile.
    """

    def __init__(self, db: Database, tell: Tell) -> None:
        self.db, self._tell = db, tell
        self._untold: list[ProgressEvent] = []  # events of the open transaction

    def __call__(self, event: ProgressEvent) -> None:
        if self.db.in_transaction():
            self._untold.append(event)
        else:
            self._tell(event)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Opens one transaction for several facts; sends their events after the commit."""
        self._untold.clear()
        with self.db.write():
            yield
        untold, self._untold = self._untold, []
        for event in untold:
            self._tell(event)
