"""Defines the progress events of a worker, one class for each, and sends them after they are in the database."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fts.state.db import Database
    from fts.state.values import Job, Trial


@dataclass(frozen=True)
class Note:
    """A sentence about the worker; with `job`, the rest of a sentence that begins with the job's name."""

    text: str
    job: Job | None = None


@dataclass(frozen=True)
class JobStarted:
    job: Job
    attempt: int


@dataclass(frozen=True)
class JobExtended:
    """A person changed the number of trials; `job` has the new one."""

    job: Job


@dataclass(frozen=True)
class JobDone:
    job: Job


@dataclass(frozen=True)
class JobLeft:
    """The worker leaves a job that is not done; `how` completes "the job is ..."."""

    job: Job
    how: str


@dataclass(frozen=True)
class TrialStarted:
    """A trial starts, or continues from a checkpoint."""

    job: Job
    trial: Trial


@dataclass(frozen=True)
class EpochReported:
    job: Job
    trial: Trial
    epoch: dict[str, Any]  # the fact as the trial process sent it


@dataclass(frozen=True)
class TrialEnded:
    job: Job
    trial: Trial


ProgressEvent = Note | JobStarted | JobExtended | JobDone | JobLeft | TrialStarted | EpochReported | TrialEnded
Tell = Callable[[ProgressEvent], None]


class ProgressReporter:
    """Forwards events; within a transaction it holds them back until the commit.

    A terminal may block, and other processes wait for the write lock meanwhile.
    """

    def __init__(self, db: Database, tell: Tell) -> None:
        self.db, self._tell = db, tell
        self._held_back: list[ProgressEvent] = []  # events of the open transaction

    def __call__(self, event: ProgressEvent) -> None:
        if self.db.in_transaction():
            self._held_back.append(event)
        else:
            self._tell(event)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Opens one transaction for several facts; sends their events after the commit."""
        self._held_back.clear()
        with self.db.write():
            yield
        held_back, self._held_back = self._held_back, []
        for event in held_back:
            self._tell(event)
