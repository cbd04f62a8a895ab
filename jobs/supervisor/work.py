"""What all parts of the supervisor share for one claim."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from fts.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from fts.jobs.api.study import Cell, Study
    from fts.jobs.settings import Places, WorkerSettings
    from fts.jobs.supervisor.backoff import Backoff
    from fts.jobs.supervisor.history import JobHistory
    from fts.jobs.supervisor.learned_memory import Peak
    from fts.jobs.supervisor.progress_events import Tell
    from fts.jobs.supervisor.slot import Slot
    from fts.jobs.supervisor.startable import StartableJobs
    from fts.jobs.watchdog.stop_request import StopReason
    from fts.state.db import Database
    from fts.state.values import Claim


@dataclass(frozen=True)
class Work:
    """What all parts of the supervisor share for one claim."""

    db: Database
    places: Places
    settings: WorkerSettings
    slot: Slot
    claim: Claim
    study: Study
    cell: Cell
    ordered: Callable[[int], StopReason | None]  # job id -> why it must stop, None: go on
    tell: Tell
    history: JobHistory
    reported_code: set[str] = field(default_factory=set)  # md5 of changed code that was already reported
    peaks: dict[int, Peak] = field(default_factory=dict)  # of the latest trials of this claim, by number
    backoff: Backoff | None = None  # None: other jobs may not use the slot during a pause
    startable: StartableJobs | None = None  # None: other jobs may not use the slot while a trial waits for a node
