"""Somebody is here: remembered at most once a minute; and the keys that came before there was anything to act on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from textual import events

from fts.jobs.actions.run import key_pressed
from fts.state.errors import StateError

if TYPE_CHECKING:
    from fts.tui.app import Monitor

AWAY_S = 1800.0  # without a key: what happened meanwhile is told
WRITE_EVERY_S = 60.0
EARLY = 100  # keys that are kept before the first read
LEAVING = ("q", "ctrl+c")  # never wait


class Presence:
    """Of the reader at one monitor."""

    def __init__(self, app: Monitor) -> None:
        self.app = app
        self.last_key = 0.0  # seconds since the epoch
        self.written = 0.0
        self.early: list[events.Key] = []

    def note(self) -> None:
        """A key was pressed."""
        now, readings = time.time(), self.app.readings
        if self.last_key and now - self.last_key > AWAY_S:
            readings.since = self.last_key
        self.last_key = now
        if self.app.readonly or abs(now - self.written) < WRITE_EVERY_S or readings.reading is None:
            return
        self.written = now
        self.app.run_worker(self._write, thread=True, name="presence", exit_on_error=False)

    def _write(self) -> None:
        try:
            key_pressed(self.app.path, self.app.user)
        except (StateError, OSError):  # a full or locked disk must not disturb someone who only looks
            self.written = 0.0

    def keeps(self, event: events.Key) -> bool:
        """Whether a key must wait for the first read: before it there are no rows to act on."""
        if self.app.readings.has_answer or event.key in LEAVING or len(self.early) >= EARLY:
            return False
        self.early.append(event)
        return True

    def catch_up(self) -> None:
        """Does what was typed before the first read, in its order, as if it were typed now."""
        early, self.early = self.early, []
        for event in early:
            self.app.post_message(events.Key(event.key, event.character))
