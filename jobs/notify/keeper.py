"""Keeps the process that sends messages running while a worker runs and there is a target."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
from typing import TYPE_CHECKING

from fts.jobs.devices import BadSetting
from fts.jobs.notify import targets
from fts.jobs.notify.notifier import last_event, take_turn
from fts.jobs.python import python
from fts.jobs.threads import begin, repeat
from fts.state import transitions
from fts.state.errors import StateError
from fts.state.files import open_log

if TYPE_CHECKING:
    from fts.jobs.settings import Places
    from fts.state.db import Database

log = logging.getLogger("fts.worker")

LOOK_EVERY_S = 10.0
GOODBYE_S = 20.0  # time for the last messages when systemd stops the worker


class Keeper:
    """A thread of the worker that starts the notifier process; no other thread waits for it."""

    def __init__(self, db: Database, places: Places) -> None:
        self.db, self.places = db, places
        self._child: subprocess.Popen[bytes] | None = None
        self._over = threading.Event()
        self._fault = ""  # why the file of addresses cannot be used
        self._first: int | None = last_event(db)  # news begin after this event; None: after the latest at its start
        self._thread = threading.Thread(target=self._keep, name="notify", daemon=True)

    def start(self) -> None:
        begin(self._thread)

    def close(self) -> None:
        """Stops the thread; under systemd, which ends all processes of a unit, waits for the last messages."""
        self._over.set()
        if self._child is not None and os.environ.get("INVOCATION_ID"):
            try:
                self._child.wait(GOODBYE_S)
            except subprocess.TimeoutExpired:
                log.warning("some messages were not sent; the next worker sends them")

    def _keep(self) -> None:
        def look() -> float:
            self._look()
            return LOOK_EVERY_S

        repeat(look, self._over, "messages", LOOK_EVERY_S, (OSError, StateError, BadSetting))

    def _look(self) -> None:
        if self._child is not None and self._child.poll() is None:
            return
        try:
            is_needed = targets.file_of_person().exists() and bool(targets.read().targets)
        except BadSetting as error:
            if self._fault != str(error):
                transitions.not_sent(self.db, f"no message can be sent: {error}")
                self._fault = str(error)
            raise
        self._fault = ""
        if not is_needed:
            self._first = None
            return
        if (handle := take_turn(self.places)) is None:
            return  # another worker's process, or `fts notify watch`, sends the messages
        os.close(handle)
        since = last_event(self.db) if self._first is None else self._first
        out = open_log(self.places.logs / "notify.log", self.places.outputs)
        try:
            self._child = subprocess.Popen(
                python("-m", "fts.jobs.cli", "--db", str(self.places.db), "notify", "watch", "--worker", str(since)),
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, close_fds=True,
            )  # fmt: skip
        finally:
            os.close(out)
