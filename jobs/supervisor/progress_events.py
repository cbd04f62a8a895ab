"""What a worker tells whoever watches it: one class for each thing that happens to a job or a trial."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass

if TYPE_CHECKING:
    from fts.state.values import Job, Trial


@dataclass(frozen=True)
class Note:
    """A sentence about the worker, or what follows the name of one of its jobs."""

    text: str
    job: Job | None = None


@dataclass(frozen=True)
class JobStarted:
    job: Job
    attempt: int


@dataclass(frozen=True)
class JobExtended:
    """Somebody wants another number of trials; `job` has it."""

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
    """It runs from its beginning, or goes on from where it was."""

    job: Job
    trial: Trial


@dataclass(frozen=True)
class EpochReported:
    job: Job
    trial: Trial
    epoch: dict[str, Any]  # as the trial's process told it


@dataclass(frozen=True)
class TrialEnded:
    job: Job
    trial: Trial


ProgressEvent = Note | JobStarted | JobExtended | JobDone | JobLeft | TrialStarted | EpochReported | TrialEnded
Tell = Callable[[ProgressEvent], None]
