"""Finds times in which the machine slept during a running trial.

The seconds of an epoch come from a clock that stops while the machine sleeps, the times of two epochs from the wall
clock. A difference that the journal explains (an interruption, a resume, another claim) is no gap.
"""

from __future__ import annotations

from itertools import pairwise

from fts.frozen import dataclass
from fts.state.values import Snapshot, Verb

LEAST_S = 600.0  # a shorter gap could be an evaluation, or a checkpoint on a slow disk
EXPLAINS = frozenset({
    Verb.CLAIMED, Verb.RELEASED, Verb.TRIAL_STARTED, Verb.TRIAL_RESUMED, Verb.TRIAL_INTERRUPTED, Verb.GUARD,
    Verb.WORKER_LOST, Verb.WORKER_STARTED, Verb.PAUSED, Verb.RESUMED,
})  # fmt: skip


@dataclass(frozen=True)
class Gap:
    """`seconds` without work, somewhere between `start` and `end` (seconds since the epoch)."""

    job_id: int
    trial: int  # trial number
    epoch: int  # the epoch that was written after the gap
    start: float
    end: float
    seconds: float


def gaps(snapshot: Snapshot) -> tuple[Gap, ...]:
    """Returns the gaps of the running trials, oldest first."""
    found = []
    for trial in snapshot.trials:
        if trial.status != "running":
            continue
        epochs = [epoch for epoch in snapshot.epochs if epoch.trial_id == trial.id]
        for before, after in pairwise(epochs):
            missing = after.at - before.at - after.seconds
            if missing > max(LEAST_S, 2 * after.seconds) and not _explained(snapshot, before.at, after.at):
                found.append(Gap(trial.job_id, trial.number, after.epoch, before.at, after.at, missing))
    return tuple(sorted(found, key=lambda gap: gap.start))


def _explained(snapshot: Snapshot, start: float, end: float) -> bool:
    """Returns whether the journal has an interruption in this time, or does not reach back that far."""
    events = snapshot.events
    if events and events[0].at > start and events[0].id > 1:
        return True
    return any(start <= event.at <= end and event.verb in EXPLAINS for event in events)
