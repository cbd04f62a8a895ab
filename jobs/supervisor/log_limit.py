"""Keeps a trial's output from filling the disk: frees the middle of a long log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fts.state.files import drop_middle

if TYPE_CHECKING:
    from pathlib import Path

MOST = 128 << 20  # bytes; a log up to this size stays complete
KEPT = 16 << 20  # bytes kept at each end of a longer one
LOOK_S = 1.0


class LogLimit:
    """Checks the size of one log about once a second."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._looked_at = float("-inf")
        self._reported = False

    def look(self, last: bool = False) -> bool:
        """Drops the middle of a log above MOST; True the first time. `last`: the process has ended, check now."""
        if not last and time.monotonic() - self._looked_at < LOOK_S:
            return False
        self._looked_at = time.monotonic()
        if self.taken() <= MOST or not drop_middle(self.path, KEPT):
            return False
        first, self._reported = not self._reported, True
        return first

    def taken(self) -> int:
        """Returns the bytes that the log takes on the disk."""
        try:
            return self.path.stat().st_blocks * 512
        except OSError:
            return 0
