"""Maintenance by a worker: writes a checked backup and thins old samples daily, and limits the logs of workers."""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING

from fts.jobs.status import formatting
from fts.jobs.supervisor.log_limit import LogLimit
from fts.jobs.supervisor.machine_errors import start_room
from fts.state import transitions
from fts.state.backup import backup
from fts.state.errors import StateError
from fts.state.files import room

if TYPE_CHECKING:
    from collections.abc import Callable

    from fts.jobs.settings import Places
    from fts.state.db import Database

log = logging.getLogger("fts.worker")

DAY_S = 86_400.0
LOOK_EVERY_S = 600.0  # also the wait after the start, so that workers which are killed early write no backup
LOGS = re.compile(r"(worker|notify|(agent|trial_process)_\d+)\.log")  # of weeks, unlike those of trials
FINE_SAMPLES_S = 2 * DAY_S  # of older samples one a minute is kept


class Maintenance:
    """Call `look` at any rate: it acts when something is due, and only logs errors of the database and disk."""

    def __init__(self, db: Database, places: Places, clock: Callable[[], float] = time.monotonic) -> None:
        self.db, self.places, self.clock = db, places, clock
        self._looked = clock()
        self._thinned: float | None = None  # when the samples were last thinned
        self._was_short = False  # the disk had no room for the last backup

    def look(self) -> bool:
        """Does the maintenance if it is due; returns whether a backup was written now."""
        if self.clock() - self._looked < LOOK_EVERY_S:
            return False
        self._looked = self.clock()
        self._limit_logs()
        self._thin_samples()
        return self._back_up()

    def _limit_logs(self) -> None:
        """Frees the middle of long logs: a worker writes some lines for each trial, for weeks."""
        try:
            logs = [path for path in self.places.logs.iterdir() if LOGS.fullmatch(path.name)]
        except OSError:  # there are none yet, or the folder cannot be read
            return
        for path in logs:
            if LogLimit(path).look(last=True):
                log.info("%s was too long: its first and last part are kept", path)

    def _thin_samples(self) -> None:
        """Does not depend on the backup: a person's own may be new each day, and a full disk may refuse ours."""
        if self._thinned is not None and self.clock() - self._thinned < DAY_S:
            return
        try:
            transitions.prune_samples(self.db, FINE_SAMPLES_S)
        except (StateError, OSError) as error:
            log.warning("old hardware samples could not be removed, which will be tried again: %s", error)
        else:
            self._thinned = self.clock()

    def _back_up(self) -> bool:
        try:
            ages = [time.time() - copy.stat().st_mtime for copy in self.places.backups.glob("fts-*.db")]
            if any(-LOOK_EVERY_S < age < DAY_S for age in ages):  # not from the future: a clock was set back
                return False
            if (short := self._disk_short()) is not None:
                if not self._was_short:
                    log.warning("%s", short)
                self._was_short = True
                return False
            copy = backup(self.db, self.places.backups)
            self._was_short = False
        except (StateError, OSError) as error:
            log.warning("the daily backup failed and will be tried again: %s", error)
            return False
        log.info("daily backup: %s", copy)
        return True

    def _disk_short(self) -> str | None:
        """Says why there is no room for a backup; None: there is. One that fills the disk would stop all trials."""
        outputs = self.places.outputs
        needed, free = self.places.db.stat().st_size, room(outputs)[0]
        if free - needed >= start_room(outputs):
            return None
        return (
            f"no daily backup: it takes {formatting.size(needed)} of the {formatting.size(free)} that are free, and "
            f"trials need {formatting.size(start_room(outputs))}; free space (`fts gc` says how much it can free)"
        )
