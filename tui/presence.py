"""Records the time of the user's last key at most once a minute, and holds keys that come before the first read."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from textual import events

from fts.jobs.actions.run import key_pressed
from fts.jobs.threads import begin
from fts.state.errors import StateError

if TYPE_CHECKING:
    from fts.tui.app import Monitor

AWAY_S = 1800.0  # after so long without a key the header sums up the absence
WRITE_EVERY_S = 60.0
FINISH_S = 0.05
EARLY = 100  # keys held before the first read at most
LEAVING = ("q", "ctrl+c")  # never held


class Presence:
    """The presence of the user at one monitor."""

    def __init__(self, app: Monitor) -> None:
        self.app = app
        self.last_key = 0.0  # seconds since the epoch
        self.written = 0.0  # when last_key was written, seconds since the epoch
        self._writing: threading.Thread | None = None
        self.early: list[events.Key] = []  # keys that came before the first read

    def note(self) -> None:
        """Notes that a key was pressed."""
        now, readings = time.time(), self.app.readings
        if self.last_key and now - self.last_key > AWAY_S:
            readings.since = self.last_key
        self.last_key = now
        if self.app.readonly or abs(now - self.written) < WRITE_EVERY_S or readings.reading is None:
            return
        self.written = now
        self._writing = threading.Thread(target=self._write, name="presence", daemon=True)  # a lock must not delay `q`
        with contextlib.suppress(OSError):
            begin(self._writing)

    def _write(self) -> None:
        try:
            key_pressed(self.app.path, self.app.user)
        except (StateError, OSError):  # a full disk or a lock must not disturb a user who only reads
            self.written = 0.0

    def finish(self) -> None:
        """Waits a moment for the write of the last key; while another process holds the lock it is dropped."""
        if self._writing is not None and self._writing.is_alive():
            self._writing.join(FINISH_S)

    def keeps(self, event: events.Key) -> bool:
        """Holds a key that came before the first read, when there are no rows to act on. Returns whether it did."""
        if self.app.readings.has_answer or event.key in LEAVING or len(self.early) >= EARLY:
            return False
        self.early.append(event)
        return True

    def catch_up(self) -> None:
        """Sends the keys that were held before the first read, in order."""
        early, self.early = self.early, []
        for event in early:
            self.app.post_message(events.Key(event.key, event.character))
