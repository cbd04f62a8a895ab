"""The thread that reads the database: waits for a request, reads if anything has changed, posts the result."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from fts.state import errors
from fts.tui.data.messages import Arrived, Unreadable, in_words
from fts.tui.data.reader import Reader, ReadRequest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from textual.message import Message

STOP_S = 0.15
BACKOFF_S = (1.0, 2.0, 5.0)  # between tries while the database cannot be read


class Poller(threading.Thread):
    """Reads on request. Requests made during a read become one. Between reads it holds no transaction and no lock."""

    def __init__(self, path: Path, post: Callable[[Message], object], request: ReadRequest) -> None:
        super().__init__(name="poller", daemon=True)
        self.request = request
        self.last_good = 0.0  # monotonic seconds of the last read that succeeded, changed or not
        self.want = threading.Event()
        self._reader = Reader(path)
        self._post = post
        self._over = threading.Event()
        self._failures = 0
        self._retry_at = 0.0

    def ask(self, request: ReadRequest | None = None, now: bool = False) -> None:
        """Requests a read. `now`: also while it is backing off."""
        if request is not None:
            self.request = request
        if now:
            self._retry_at = 0.0
        self.want.set()

    def stop(self) -> None:
        """Ends the thread; waits a moment until its connection is closed, which a lock of another process may delay."""
        self._over.set()
        self.want.set()
        if self.is_alive():
            self.join(STOP_S)

    def run(self) -> None:
        while not self._over.is_set():
            self.want.wait()
            self.want.clear()
            if not self._over.is_set() and time.monotonic() >= self._retry_at:
                self._read()
        self._reader.close()

    def _read(self) -> None:
        try:
            reading = self._reader.read(self.request)
        except errors.StateError as error:
            self._failed(kind_of(error), str(error))
        except OSError as error:
            self._failed("failed", in_words(error))
        except Exception as error:  # noqa: BLE001  # if this thread ended, the screen would show old data as live
            self._failed("failed", f"the database cannot be read: {error or type(error).__name__}")
        else:
            self._failures = 0
            self.last_good = time.monotonic()
            if reading is not None:
                self._post(Arrived(reading))

    def _failed(self, kind: str, sentence: str) -> None:
        wait = BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        self._failures += 1
        self._retry_at = time.monotonic() + wait
        self._post(Unreadable(kind, sentence))


def kind_of(error: errors.StateError) -> str:
    """Returns the kind of an error for Unreadable: busy, gone, schema, corrupt or failed."""
    kinds: dict[type[errors.StateError], str] = {
        errors.DatabaseBusy: "busy",
        errors.NoDatabase: "gone",
        errors.SchemaTooNew: "schema",
        errors.SchemaTooOld: "schema",
        errors.DatabaseCorrupt: "corrupt",
        errors.NotOurDatabase: "corrupt",
    }
    return kinds.get(type(error), "failed")
