"""What a worker does for the database once a day, unasked: a checked copy of it, and old samples thinned."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from fts.state import transitions
from fts.state.backup import backup
from fts.state.errors import StateError

if TYPE_CHECKING:
    from fts.jobs.settings import Places
    from fts.state.db import Database

log = logging.getLogger("fts.worker")

DAY_S = 86_400.0
LOOK_EVERY_S = 600.0  # the first look is so long after the start: a worker that is killed at once copies nothing
FINE_SAMPLES_S = 2 * DAY_S  # older samples keep one a minute


class Housekeeping:
    """Call `look` as often as you like; it acts once a day, and never stops a beat by failing."""

    def __init__(self, db: Database, places: Places, clock: Callable[[], float] = time.monotonic) -> None:
        self.db, self.places, self.clock = db, places, clock
        self._looked = clock()

    def look(self) -> bool:
        """Did it keep house now?"""
        if self.clock() - self._looked < LOOK_EVERY_S:
            return False
        self._looked = self.clock()
        ages = (time.time() - copy.stat().st_mtime for copy in self.places.backups.glob("fts-*.db"))
        if any(-LOOK_EVERY_S < age < DAY_S for age in ages):  # not one of a time before the clock was set back
            return False
        try:
            copy = backup(self.db, self.places.backups)
            transitions.prune_samples(self.db, FINE_SAMPLES_S)
        except (StateError, OSError) as error:
            log.warning("the daily backup failed and will be tried again: %s", error)
            return False
        log.info("daily backup: %s", copy)
        return True
