"""Defines the progress events of a worker: one class for each thing that happens to a job or a trial."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass

if TYPE_CHECKING:
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
