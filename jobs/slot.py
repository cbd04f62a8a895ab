"""One place where a trial can run: its trial process, kept while it is healthy, and the memory it may use."""

from __future__ import annotations

import logging
import sys
from typing import Any

import psutil

from jobs.attempt import End
from jobs.process import ChildProcess
from jobs.settings import TRIAL_MODULE, Places, WorkerSettings

log = logging.getLogger("fts.worker")

SHARE = 0.85  # of the available memory that trials may plan with
RECYCLE_AT = 1.5  # times the memory the process held after its first trial: something grew that should not
QUIT_GRACE_S = 10.0


class Slot:
    """Starts the trial process when one is needed and replaces it when it has become doubtful."""

    def __init__(self, index: int, places: Places, settings: WorkerSettings) -> None:
        self.index, self.places, self.settings = index, places, settings
        self._child: ChildProcess | None = None
        self._first_rss: int | None = None

    def child(self) -> ChildProcess:
        """The living trial process; started when there is none."""
        if self._child is not None and self._child.poll() is None:
            return self._child
        self.close()
        # no address-space limit: torch reserves far more than it uses; the watchdog watches what is resident
        self._child = ChildProcess(
            [sys.executable, *TRIAL_MODULE],
            self.places.logs / f"trial_process_{self.index}.log",
            threads=self.settings.threads,
        )
        self._first_rss = None
        return self._child

    def memory_limit(self) -> int:
        """Bytes one trial of this slot may plan with, the same for every slot."""
        if self.settings.memory_limit is not None:
            return self.settings.memory_limit
        held = self._rss() if self._child is not None else 0
        return int(SHARE * (psutil.virtual_memory().available + held) / self.settings.slots)

    def watch(self, child: ChildProcess, claim: Any, trial: Any) -> Watch:
        return Watch()

    def after(self, end: End) -> None:
        """Keep the process for the next trial only if it ended this one in good order and has not grown."""
        if end.how not in ("result", "pruned"):
            self.close()
            return
        rss = self._rss()
        if self._first_rss is None:
            self._first_rss = rss
        elif rss > RECYCLE_AT * self._first_rss:
            log.info("the trial process grew from %.0f to %.0f MB and is replaced", self._first_rss / 1e6, rss / 1e6)
            self.close()

    def close(self) -> None:
        if self._child is None:
            return
        if self._child.poll() is None:
            self._child.close_stdin()
            self._child.wait(QUIT_GRACE_S)
        self._child.close()
        self._child = None

    def _rss(self) -> int:
        return sum(resident(process) for process in self._child.tree()) if self._child is not None else 0


def resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


class Watch:
    def saw(self, fact: dict[str, Any]) -> None: ...
    def wish(self) -> None: ...
    def close(self) -> None: ...
