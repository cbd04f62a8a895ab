"""The closed lists: statuses, directions, causes and their faults, kinds of events, orders to a worker."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class JobStatus(StrEnum):
    QUEUED = "queued"  # waits for a slot, unless hold_reason says why it may not start
    RUNNING = "running"  # a worker holds its lease and token
    PAUSED = "paused"  # by a person; keeps its trials and checkpoints, waits for resume
    DONE = "done"  # all its trials have ended, and at least one is complete
    FAILED = "failed"  # ended with a cause; retry queues it again with the same trials
    CANCELLED = "cancelled"  # by a person; undo or retry queues it again


class Direction(StrEnum):
    """Which way a metric is better."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is better than `b`; any number is better than nan."""
        if math.isnan(a) or math.isnan(b):
            return math.isnan(b) and not math.isnan(a)
        return a < b if self is Direction.MINIMIZE else a > b

    def best(self, values: Iterable[float | None]) -> float | None:
        """Returns the best of the values that are numbers, or None."""
        found = [value for value in values if value is not None and not math.isnan(value)]
        if not found:
            return None
        return min(found) if self is Direction.MINIMIZE else max(found)

    def worst(self, values: Iterable[float | None]) -> float | None:
        """Returns the worst of the values that are numbers, or None."""
        other = Direction.MAXIMIZE if self is Direction.MINIMIZE else Direction.MINIMIZE
        return other.best(values)

    def key(self, value: float) -> float:
        """Returns a sort key: the best value sorts first."""
        return value if self is Direction.MINIMIZE else -value


class TrialStatus(StrEnum):
    RUNNING = "running"  # a trial process works on it (or its worker was lost a moment ago)
    INTERRUPTED = "interrupted"  # continues under its number from its checkpoint; or failed, and a retry reset it
    COMPLETE = "complete"  # it ended by itself and has a value
    PRUNED = "pruned"  # the pruner ended it: others were better at the same epoch
    FAILED = "failed"  # it ended with a cause


class WorkerOrder(StrEnum):
    """The orders to a worker, the weakest first: a stronger order replaces a weaker one."""

    DRAIN_JOB = "drain_job"  # leaves when its job has ended
    DRAIN_TRIAL = "drain_trial"  # leaves when its trial has ended
    STOP = "stop"  # leaves at the next step, with a checkpoint

    @property
    def strength(self) -> int:
        """Returns 1 for the weakest order; 0 means no order."""
        return 1 + list(WorkerOrder).index(self)


def stronger(one: WorkerOrder | None, other: WorkerOrder | None) -> WorkerOrder | None:
    """Returns the stronger of two orders; None is no order."""
    return max(one, other, key=strength_of)


def strength_of(order: WorkerOrder | None) -> int:
    return 0 if order is None else order.strength


class Fault(StrEnum):
    """Whose fault an end is. A trial that failed by its own fault is not run again."""

    TRIAL = "trial"  # these parameters: an ordinary result, not run again by a retry
    STUDY = "study"  # the code or the data: a person repairs them, then the failed trials run again by number
    MACHINE = "machine"  # the trial is interrupted and continues under its own number
    PERSON = "person"  # a person asked for it


class Cause(StrEnum):
    """Why something ended: a closed list, so that it can be counted."""

    FINISHED = "finished"  # it ran to its end
    EARLY_STOPPED = "early stopped"  # it stopped improving
    MAX_STEPS = "step limit"  # it reached the step limit of its cell
    PRUNED = "pruned"  # the pruner ended it
    REUSED = "reused"  # an earlier trial had the identical effective configuration
    OUT_OF_MEMORY = "out of memory"  # it needed more memory than it may use, or than there is
    DIVERGED = "diverged"  # its value is nan or infinite
    STALLED = "stalled"  # it reported nothing and used no processor
    OVERHEATED = "overheated"  # the machine was too hot
    KILLED = "killed by user"  # a person cancelled it
    DRAINED = "drained"  # its worker was asked to leave
    PAUSED = "paused by user"  # a person paused it
    DATA_ERROR = "data error"  # its data are missing or wrong
    CODE_ERROR = "code error"  # the function or the command failed
    DISK = "disk"  # the disk is full or cannot be written
    LOST_WORKER = "lost worker"  # its worker vanished
    CANNOT_FIT = "cannot fit"  # no recipe fits this machine
    TIME_LIMIT = "time limit"  # it worked for as long as a trial of its cell may
    MACHINE_ERROR = "machine error"  # a library or device is missing or lost, or the process was killed from outside

    @property
    def fault(self) -> Fault | None:
        """Whose fault it is; None for an end without a fault: finished, pruned, reused."""
        return FAULTS.get(self)


FAULTS: dict[Cause, Fault] = {
    Cause.DIVERGED: Fault.TRIAL,
    Cause.TIME_LIMIT: Fault.TRIAL,
    Cause.CODE_ERROR: Fault.STUDY,
    Cause.DATA_ERROR: Fault.STUDY,
    Cause.STALLED: Fault.STUDY,
    Cause.OUT_OF_MEMORY: Fault.MACHINE,
    Cause.OVERHEATED: Fault.MACHINE,
    Cause.DISK: Fault.MACHINE,
    Cause.LOST_WORKER: Fault.MACHINE,
    Cause.CANNOT_FIT: Fault.MACHINE,
    Cause.MACHINE_ERROR: Fault.MACHINE,
    Cause.KILLED: Fault.PERSON,
    Cause.DRAINED: Fault.PERSON,
    Cause.PAUSED: Fault.PERSON,
}
USED_UP = tuple(cause for cause, fault in FAULTS.items() if fault is Fault.TRIAL)  # a retry does not run such trials


class Verb(StrEnum):
    """The kinds of events that transitions write (a watchdog may add kinds of its own)."""

    ENQUEUED = "enqueued"  # a job was added to the queue
    CHANGED = "changed"  # its specification changed: how it runs, or all of it while no trial had begun
    EXTENDED = "extended"  # it has more trials; if it had ended, it is queued again
    CLAIMED = "claimed"  # a worker took the job, with a new token
    PASSED_OVER = "passed_over"  # later jobs start before it: it needs more than a slot, or its study does not answer
    RELEASED = "released"  # queued again: its worker was drained or lost
    PARKED = "parked"  # failed at claim after too many attempts without progress
    HELD = "held"  # it may not start, and says why: no trial of it would fit, or its data are missing
    UNHELD = "unheld"  # the reason is gone, or a person lets it start anyway
    FINISHED = "finished"  # the job is done
    FAILED = "failed"  # the job ended with a cause
    MOVED = "moved"  # it has another place in the queue
    PAUSED = "paused"  # the job is paused; a running one has written its checkpoint
    PAUSE_ASKED = "pause_asked"  # a running job will pause at its next step
    RESUMED = "resumed"  # a paused job is queued again
    CANCELLED = "cancelled"  # the job is out of the queue; its results are kept
    CANCEL_ASKED = "cancel_asked"  # a running job will be cancelled at its next step
    RETRIED = "retried"  # an ended job is queued again; its failed trials run again
    TRIAL_STARTED = "trial_started"  # the first attempt of a trial
    TRIAL_RESUMED = "trial_resumed"  # a further attempt of the same trial, from its newest checkpoint
    TRIAL_FACTS = "trial_facts"  # what its process reported at its start: recipe, limits, device
    TRIAL_COMPLETE = "trial_complete"  # it ended with a value
    TRIAL_PRUNED = "trial_pruned"  # the pruner ended it
    TRIAL_FAILED = "trial_failed"  # it ended with a cause
    TRIAL_INTERRUPTED = "trial_interrupted"  # its attempt ended, the trial did not: it continues later, same number
    NEW_BEST = "new_best"  # a trial is better than all before it in its cell
    RESUME_MISMATCH = "resume_mismatch"  # an epoch that ran again gave other numbers; the first ones stay on record
    QUEUE_PAUSED = "queue_paused"  # no new job starts
    QUEUE_RESUMED = "queue_resumed"  # jobs start again
    WORKER_STARTED = "worker_started"  # a worker runs
    WORKER_STOPPED = "worker_stopped"  # it stopped properly, without running trials
    WORKER_LOST = "worker_lost"  # it did not renew its lease, or its process is gone
    WORKER_BACK = "worker_back"  # it was marked lost, then sent heartbeats again: a laptop that slept
    WORKER_ASKED = "worker_asked"  # a person or a signal asked it to drain or stop, or withdrew the request
    GUARD = "guard"  # heat, memory or disk: what the watchdog measured and did
    NOTED = "noted"  # a person added a note
    ACKNOWLEDGED = "acknowledged"  # a person marked what has ended as seen
    UNDONE = "undone"  # a person took back a change
    REDONE = "redone"  # a person took back an undo
    PRUNED_ROWS = "pruned_rows"  # old measurements were removed
    COMPARED = "compared"  # a cell's best trial against the best baseline
    UNSEALED = "unsealed"  # a person opened the test set for a cell; cannot be undone
    TESTED = "tested"  # its one evaluation on the test set
    NODE_LOST = "node_lost"  # the node is gone, or could not start a trial
    NODE_QUARANTINED = "node_quarantined"  # no trial starts there until a person releases it
    NODE_ASKED = "node_asked"  # by a person: drain, quarantine, release
    NOT_SENT = "not_sent"  # a message to a person could not be sent
    DRIFTED = "drifted"  # a continued trial would draw another value than the recorded one, which stays


class NodeState(StrEnum):
    """The state of a node."""

    UP = "up"  # trials may start there
    DRAINING = "draining"  # by a person: it ends its trials and starts no further one
    SILENT = "silent"  # its messages are overdue; its lease has not ended yet
    LOST = "lost"  # its channel ended, or it was silent for a whole lease; the worker tries it again
    QUARANTINED = "quarantined"  # it failed too often, or runs other code: no trial starts there until its release
