"""What a read hands back: frozen values, never live rows.

The command line, the monitor and the supervisor see the database only through these. Times are seconds since the epoch
(UTC, float) by the database's clock; None means "no such thing".
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


MOST_STEPS = 10**9  # of a trial; a larger number in a specification was not written by fts
HUGE = 1e100  # a parameter that a search may draw, a value that a trial may have: its square is a number, too


def bounded(value: float) -> float:
    """The same value; one that no column holds is as good as infinite."""
    return value if -HUGE <= value <= HUGE or math.isnan(value) else math.copysign(math.inf, value)


def in_words(value: float) -> str:
    """0.6841; without sixty digits of a penalty."""
    return f"{value:.4f}" if abs(value) < 1e9 else f"{value:.2g}"


class JobStatus(StrEnum):
    QUEUED = "queued"  # waits for a slot, unless hold_reason says why it may not start
    RUNNING = "running"  # a worker holds its lease and token
    PAUSED = "paused"  # by a person; keeps its trials and checkpoints, waits for resume
    DONE = "done"  # all its trials have ended, and at least one is complete
    FAILED = "failed"  # ended with a cause; retry puts it back in line with the same trials
    CANCELLED = "cancelled"  # by a person; undo or retry puts it back


class Direction(StrEnum):
    """Which way a metric is better."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is better than `b`; nan is better than nothing, and anything is better than nan."""
        if math.isnan(a) or math.isnan(b):
            return math.isnan(b) and not math.isnan(a)
        return a < b if self is Direction.MINIMIZE else a > b

    def best(self, values: Iterable[float | None]) -> float | None:
        """The best of those that are numbers; None: there is none."""
        found = [value for value in values if value is not None and not math.isnan(value)]
        if not found:
            return None
        return min(found) if self is Direction.MINIMIZE else max(found)

    def key(self, value: float) -> float:
        """Sorts the best first."""
        return value if self is Direction.MINIMIZE else -value


class TrialStatus(StrEnum):
    RUNNING = "running"  # a trial process works on it (or its worker was lost a moment ago)
    INTERRUPTED = "interrupted"  # goes on under its number from its checkpoint; or failed, and put back by a retry
    COMPLETE = "complete"  # it ended by itself and has a value
    PRUNED = "pruned"  # the pruner ended it: others were better at the same epoch
    FAILED = "failed"  # it ended with a cause


class WorkerOrder(StrEnum):
    """What a worker can be asked, the weaker first: a stronger order replaces a weaker one."""

    DRAIN_JOB = "drain_job"  # leaves when its job has ended
    DRAIN_TRIAL = "drain_trial"  # leaves when its trial has ended
    STOP = "stop"  # leaves at the next step, with a checkpoint

    @property
    def strength(self) -> int:
        """Beside 0 for no order."""
        return 1 + list(WorkerOrder).index(self)


def stronger(one: WorkerOrder | None, other: WorkerOrder | None) -> WorkerOrder | None:
    """The order that counts of two; None is none."""
    return max(one, other, key=strength_of)


def strength_of(order: WorkerOrder | None) -> int:
    return 0 if order is None else order.strength


class Fault(StrEnum):
    """Whose fault an end is. Only an end of the trial's own making uses a trial up for good."""

    TRIAL = "trial"  # these parameters: an ordinary result, never run again unasked
    STUDY = "study"  # the code or the data: mended by a person, then the failed trials run again by number
    MACHINE = "machine"  # the trial is interrupted and goes on under its own number
    PERSON = "person"  # somebody asked for it


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
        """Whose fault it is; None for an end that is none's: finished, pruned, reused."""
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
USED_UP = tuple(cause for cause, fault in FAULTS.items() if fault is Fault.TRIAL)  # a retry leaves such trials alone


class Verb(StrEnum):
    """What an event says has happened: the closed list of the transitions (a watchdog may add words of its own)."""

    ENQUEUED = "enqueued"  # a job was put in line
    CHANGED = "changed"  # it has another specification: how it runs, or all of it while no trial had begun
    EXTENDED = "extended"  # more trials are wanted of it; one that had ended is back in line
    CLAIMED = "claimed"  # a worker took the job, with a new token
    RELEASED = "released"  # back in line: drained, or its worker was lost
    PARKED = "parked"  # failed at claim after too many attempts without progress
    HELD = "held"  # it waits for a reason that it names: no trial of it would fit, or its data are missing
    UNHELD = "unheld"  # the reason is gone, or a person lets it start anyway
    FINISHED = "finished"  # the job is done
    FAILED = "failed"  # the job ended with a cause
    MOVED = "moved"  # it has another place in line
    PAUSED = "paused"  # the job is paused; a running one has written its checkpoint
    PAUSE_ASKED = "pause_asked"  # a running job will pause at its next step
    RESUMED = "resumed"  # a paused job is back in line
    CANCELLED = "cancelled"  # the job is out of the queue; its results are kept
    CANCEL_ASKED = "cancel_asked"  # a running job will be cancelled at its next step
    RETRIED = "retried"  # an ended job is back in line; its failed trials run again
    TRIAL_STARTED = "trial_started"  # the first attempt of a trial
    TRIAL_RESUMED = "trial_resumed"  # a further attempt of the same trial, from its newest checkpoint
    TRIAL_FACTS = "trial_facts"  # what its process said when it began: recipe, limits, device
    TRIAL_COMPLETE = "trial_complete"  # it ended with a value
    TRIAL_PRUNED = "trial_pruned"  # the pruner ended it
    TRIAL_FAILED = "trial_failed"  # it ended with a cause
    TRIAL_INTERRUPTED = "trial_interrupted"  # its attempt ended, the trial did not: it goes on later under its number
    NEW_BEST = "new_best"  # a trial is better than all before it in its cell
    RESUME_MISMATCH = "resume_mismatch"  # an epoch that ran again gave other numbers; the first ones stay on record
    QUEUE_PAUSED = "queue_paused"  # no new job starts
    QUEUE_RESUMED = "queue_resumed"  # jobs start again
    WORKER_STARTED = "worker_started"  # a worker runs
    WORKER_STOPPED = "worker_stopped"  # it left by itself, with nothing in flight
    WORKER_LOST = "worker_lost"  # it did not renew its lease, or its process is gone
    WORKER_BACK = "worker_back"  # declared lost, then beat again: a laptop that slept
    WORKER_ASKED = "worker_asked"  # somebody, or a signal, asked it to drain or stop, or withdrew that
    GUARD = "guard"  # heat, memory or disk: what the watchdog measured and did
    NOTED = "noted"  # a person wrote a line into the journal
    ACKNOWLEDGED = "acknowledged"  # a person marked what has ended as seen
    UNDONE = "undone"  # a person took back a change
    REDONE = "redone"  # a person took back an undo
    TICKET_QUARANTINED = "ticket_quarantined"  # a message of the queue could not be read and was put aside
    PRUNED_ROWS = "pruned_rows"  # old rows of measurements were removed
    COMPARED = "compared"  # a cell's best trial against the best baseline
    UNSEALED = "unsealed"  # a person opened the test set for a cell; cannot be undone
    TESTED = "tested"  # its one evaluation on the test set
    NODE_LOST = "node_lost"  # it is gone, or could not start a trial
    NODE_QUARANTINED = "node_quarantined"  # nothing is placed there until a person releases it
    NODE_ASKED = "node_asked"  # by a person: drain, quarantine, release
    NOT_SENT = "not_sent"  # a message to a person could not be sent
    DRIFTED = "drifted"  # a trial that was continued would draw another value than the recorded one, which stays


ROLE = "role"  # fact of a trial beside the search, with its kind:
REPLICATE, BASELINE = "replicate", "baseline"  # the winner with another seed; what the search is compared with
UNRANKED = (
    "diverged",
    "infeasible",
    REPLICATE,
    BASELINE,
)  # badges of complete trials that cannot be the best of a search


@dataclass(frozen=True)
class Job:
    """One cell in line, and what its trials say together."""

    id: int
    experiment: str  # phase6a_2M_h1_threshold_1pct
    kind: str  # cell, or another kind of its study
    study: str
    cell: str  # what people call it: 20M/h3, mnist/S
    labels: dict[str, Any]  # axis -> where it stands on it
    metric: str  # of an epoch, that decides
    direction: Direction
    status: JobStatus
    rank: float  # smaller runs earlier
    hold_reason: str | None  # set: may not start, in words ("needs 91 GB, 20 GB allowed")
    asked: str | None  # what a person asked of the running job: pause | cancel
    trials_wanted: int
    trials_complete: int
    trials_pruned: int
    trials_failed: int
    attempt: int  # counted at claim
    idle_attempts: int  # attempts since the last progress (a new epoch or trial end)
    token: int  # fencing token of the latest claim
    lease_until: float | None
    worker_id: int | None
    cause: Cause | None
    message: str | None
    best_value: float | None  # of the objective, over complete trials that are not flagged diverged
    best_trial: int | None  # number
    spec: dict[str, Any]
    created_at: float
    started_at: float | None
    ended_at: float | None
    acknowledged_at: float | None
    unreadable: str | None = None  # which column holds what cannot be read; it is replaced by "no such thing"
    front: tuple[int, ...] = ()  # with several goals: the trials that none beats, the best in the first goal first
    twin: int | None = None  # of an ended job: the one of the same specification that waits or runs

    @property
    def goals(self) -> dict[str, Direction]:
        """Metric -> which way it is better, the one that decides first."""
        told = self.spec.get("goals")
        given = told if isinstance(told, dict) and told.get(self.metric) == self.direction.value else {}
        named = self.spec.get("goal_names")
        order = dict.fromkeys([self.metric, *(named if isinstance(named, list) else ()), *given])
        known = {name: given[name] for name in order if given.get(name) in tuple(Direction)}
        return {name: Direction(goal) for name, goal in known.items()} or {self.metric: self.direction}

    @property
    def budget(self) -> str:
        """Its label; empty where the study has no such axis."""
        return self._text("budget")

    @property
    def horizon(self) -> int:
        """Its label, in trading days; 0 where the study has no such axis."""
        value = self.labels.get("horizon")
        return value if type(value) is int and 0 <= value <= 10**9 else 0

    @property
    def task(self) -> str:
        return self._text("task")

    @property
    def tier(self) -> str:
        return self._text("tier")

    def _text(self, axis: str) -> str:
        value = self.labels.get(axis)
        return "" if value is None else str(value)

    @property
    def trials_ended(self) -> int:
        """Trials that count towards the number wanted; failed ones that a retry will run again do not."""
        return self.trials_complete + self.trials_pruned + self.trials_failed

    @property
    def steps(self) -> int | None:
        """The most steps a trial may run, as the specification says; None: it does not, or no study can mean it."""
        for name in ("epochs", "steps"):
            said = self.spec.get(name)
            if isinstance(said, int) and not isinstance(said, bool) and 0 < said <= MOST_STEPS:
                return said
        return None

    @property
    def parallel(self) -> int:
        """How many of its trials may run at once, as the specification says."""
        said = self.spec.get("parallel")
        return said if isinstance(said, int) and not isinstance(said, bool) and 1 <= said <= 1024 else 1

    def retry_refusal(self, again: Sequence[int]) -> str | None:
        """Why `fts retry` would run nothing; None: it can. `again` numbers its failed trials that may run again.

        The one rule for the command, the monitor's key and what `fts why` recommends.
        """
        if self.status not in (JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLED):
            return f"it is {self.status}"
        if self.twin is not None:
            return f"job {self.twin} has the same specification and has not ended"
        if again or self.trials_ended < self.trials_wanted:
            return None
        if self.status is not JobStatus.DONE and self.best_trial is not None:
            return None  # all its trials have ended: it only has to be called done
        return f"nothing is left to run: {self._ended_words()}"

    def retry_words(self, again: Sequence[int]) -> str:
        """ "runs 3 trials again: t0 t1 t2, then 4 more": what a retry does."""
        missing = max(0, self.trials_wanted - self.trials_ended)
        if not again and not missing:
            return f"ends it as done: {self._ended_words()}"
        if not again:
            return f"continues it with {_trials(missing)} to run"
        named = " ".join(f"t{number}" for number in again[:10]) + (" ..." if len(again) > 10 else "")
        return f"runs {_trials(len(again))} again: {named}" + (f", then {missing} more" if missing else "")

    def _ended_words(self) -> str:
        """ "4 trials: 3 complete, 1 failed for good", where no failed trial may run again."""
        counts = (
            (self.trials_complete, "complete"),
            (self.trials_pruned, "pruned"),
            (self.trials_failed, "failed for good"),
        )
        told = ", ".join(f"{n} {how}" for n, how in counts if n)
        return _trials(self.trials_ended) + (f": {told}" if told else "")


def _trials(n: int) -> str:
    return f"{n} trial{'' if n == 1 else 's'}"


def status_of(status: str, best_trial: int | None, trials_ended: int) -> JobStatus:
    """What a job's row means: one that ended without a complete trial has failed, though an older fts wrote `done`."""
    known = JobStatus(status)
    return JobStatus.FAILED if known is JobStatus.DONE and best_trial is None and trials_ended else known


@dataclass(frozen=True, slots=True)  # slots: a monitor keeps ten thousand of them, each a third of the size
class Trial:
    """One try of a cell: its parameters, how it went and what came of it."""

    id: int
    job_id: int
    number: int
    status: TrialStatus
    params: dict[str, Any]  # as suggested
    effective: dict[str, Any]  # what the trial consumed, every field
    effective_md5: str
    architecture: str  # d512-L6-h8-ff2048
    n_params: int | None  # counted
    objective: str  # the metric that decides
    direction: Direction
    value: float | None  # of that metric: the best epoch's, or what the trial returned
    best_epoch: int | None
    last_value: float | None
    epochs: int  # recorded so far
    val_loss: float | None  # at the best epoch
    val_auc: float | None
    auc_low: float | None  # 95 % interval
    auc_high: float | None
    n_train: int | None
    n_val: int | None
    n_pos: int | None
    prior_loss: float | None  # validation loss of the class prior
    label_md5: str | None
    base_rate: float | None
    data_md5: str | None
    code_commit: str | None
    code_dirty: bool | None
    seed: int
    torch_version: str | None
    host: str | None
    device: str | None
    threads: int | None
    micro_batch: int | None
    accumulation: int | None
    recipe: dict[str, Any] | None
    predicted_bytes: int | None
    peak_bytes: int | None
    badges: tuple[str, ...]  # collapsed, diverged, reused ...
    reused_from: int | None  # trial id
    cause: Cause | None
    message: str | None
    log_path: str | None
    started_at: float
    ended_at: float | None
    train_seconds: float  # sum of epoch seconds
    pid: int | None = None  # of the trial process that works on it, or last did
    pid_started: float | None = None  # a pid alone may have been given to somebody else
    facts: dict[str, Any] = field(default_factory=dict)  # those that have no column of their own
    unreadable: str | None = None

    @property
    def metric(self) -> str:
        return self.objective

    @property
    def is_ranked(self) -> bool:
        """May it be the best of its search, once it is complete?"""
        return not any(badge in UNRANKED for badge in self.badges)


@dataclass(frozen=True)
class Epoch:
    """What a trial reported at one step."""

    trial_id: int
    epoch: int  # from 1; of a function the step it reported, from 0
    step: int
    train_loss: float
    val_loss: float
    train_auc: float | None
    val_auc: float | None
    val_brier: float | None
    pred_min: float
    pred_max: float
    pred_sd: float
    learning_rate: float
    samples_per_s: float
    seconds: float
    at: float
    value: float | None = None  # of the metric that decides; None: it was not told, or was nan
    metrics: dict[str, float] = field(default_factory=dict)  # those that have no column of their own
    unreadable: str | None = None

    def number(self, name: str) -> float | None:
        """The metric of that name; None: it was not told, or is nan."""
        found = self.metrics.get(name)
        if found is None and name in EPOCH_NUMBERS:
            found = getattr(self, name)
        return None if found is None or math.isnan(found) else float(found)


EPOCH_NUMBERS = frozenset((
    "value", "step", "train_loss", "val_loss", "train_auc", "val_auc", "val_brier", "pred_min", "pred_max", "pred_sd",
    "learning_rate", "samples_per_s", "seconds",
))  # fmt: skip


@dataclass(frozen=True)
class Draw:
    """One value that a trial drew, in the order in which it drew them."""

    trial_id: int
    k: int  # from 0
    name: str
    value: Any
    distribution: dict[str, Any]


@dataclass(frozen=True)
class Attempt:
    """One process that worked on a trial."""

    trial_id: int
    n: int  # from 1
    token: int  # of the claim it worked under
    host: str | None
    pid: int | None
    began_at: float
    ended_at: float | None
    how: str | None  # it ended: a status of the trial or a cause; None: it has not ended


@dataclass(frozen=True)
class StudyRecord:
    """A study that has jobs here, and what it declares: axes, metrics, facts, the word for a step."""

    name: str
    declaration: dict[str, Any]
    created_at: float


@dataclass(frozen=True)
class Curve:
    """What a sampler or pruner knows of a trial."""

    number: int
    params: dict[str, Any]
    status: str
    value: float | None
    epochs: dict[int, float]  # epoch -> objective, where it is finite
    diverged: bool = False
    distributions: dict[str, Any] = field(default_factory=dict)  # parameter -> distribution, of what it drew itself
    metrics: dict[str, float] = field(default_factory=dict)  # its result by name, of a search with several goals
    constraints: dict[str, float] = field(default_factory=dict)  # name -> violation, at most 0 where it is met
    kept: dict[str, Any] = field(default_factory=dict)  # what its sampler kept for later trials
    attributes: dict[str, Any] = field(default_factory=dict)  # what it set as attributes of its own


@dataclass(frozen=True)
class Event:
    """Who changed what, and when."""

    id: int
    at: float
    who: str  # user@host, worker 3, watchdog
    verb: str  # enqueued, claimed, paused, new_best ... (fts.state.transitions lists them)
    job_id: int | None
    trial_id: int | None
    message: str
    data: dict[str, Any] = field(default_factory=dict)
    inverse: dict[str, Any] | None = None  # how to undo it; None: cannot be undone
    undone_by: int | None = None
    unreadable: str | None = None


@dataclass(frozen=True)
class Worker:
    """A process that runs trials, as it said at its last heartbeat."""

    id: int
    host: str
    pid: int
    pid_started: float
    slots: int
    status: str  # running | stopped | lost
    asked: WorkerOrder | None
    started_at: float
    heartbeat_at: float
    stopped_at: float | None
    guard: str  # normal | warm | frozen | cooling | unknown
    guard_message: str | None
    gone: bool = False  # no such process is on this machine any more (fts.state.liveness); never stored
    unreadable: str | None = None


@dataclass(frozen=True)
class Sample:
    """What a worker measured of its machine at one moment."""

    at: float
    worker_id: int
    trial_rss: int | None  # bytes, the trial tree
    available: int | None
    total: int | None
    swap_used: int | None
    cpu_percent: float | None
    temperature: float | None  # Celsius; None: unknown, never "normal"
    gpu_percent: float | None
    gpu_memory: int | None
    power_w: float | None
    disk_free: int | None
    step_s: float | None  # seconds of the latest optimizer step
    unreadable: str | None = None


class NodeState(StrEnum):
    """What a node of another machine can be asked for."""

    UP = "up"  # trials may begin there
    DRAINING = "draining"  # a person asked it to end with the trials that it has
    SILENT = "silent"  # nothing heard for longer than it should be; its lease still runs
    LOST = "lost"  # its channel ended, or it was silent for a lease; it is asked again
    QUARANTINED = "quarantined"  # it failed too often, or runs other code: nothing is placed there until it is released


@dataclass(frozen=True)
class Node:
    """A machine that runs trials for a worker of another one."""

    id: str  # the name that the worker calls it by
    state: NodeState
    at: float  # when this was written
    host: str = ""
    executor: str = ""  # command, ssh
    worker_id: int | None = None
    fingerprint: str = ""  # md5 of what decides the last bits: processor, GPUs, torch, python, fts
    hardware: str = ""  # the same, for a person
    slots: int = 1
    gpus: tuple[str, ...] = ()
    memory: int | None = None  # bytes
    reason: str | None = None  # of its state
    heard_at: float | None = None
    losses: int = 0  # in a row, without a trial that ended there in between
    failures: int = 0  # launches that failed, in a row
    trials: tuple[str, ...] = ()  # in its slots now
    vitals: dict[str, float | int | None] = field(default_factory=dict)  # the latest reading
    past: tuple[tuple[float, float | None, float | None, float | None], ...] = ()  # at, memory in use 0..1, °C, GPU %

    @property
    def busy(self) -> int:
        return len(self.trials)

    @property
    def takes(self) -> bool:
        """May a trial begin there?"""
        return self.state not in (NodeState.DRAINING, NodeState.QUARANTINED)


@dataclass(frozen=True)
class UnreadableRow:
    """A row that holds what no fts writes: shown as far as it can be read."""

    table: str
    name: str  # job 1, trial 12, epoch 3 of trial 12
    why: str  # ended_at is 1e308
    cure: str | None = None  # SQL that mends it and loses nothing

    def __str__(self) -> str:
        return f"{self.name}: unreadable, {self.why}"


@dataclass(frozen=True)
class Snapshot:
    """One consistent look at everything the monitor and `fts status` show, read in one transaction."""

    taken_at: float
    schema: int
    path: str
    jobs: tuple[Job, ...]  # running, then by rank, then ended ones in the order they ended
    workers: tuple[Worker, ...]  # live first
    trials: tuple[Trial, ...]  # running and interrupted ones, and each job's best
    epochs: tuple[Epoch, ...]  # of the running trials
    events: tuple[Event, ...]  # the latest 200, newest last
    samples: tuple[Sample, ...]  # the latest one of each live worker
    queue_paused: bool
    queue_paused_reason: str | None
    last_key_at: float | None  # when this user last pressed a key in a monitor, or acknowledged
    margins: tuple[Margin, ...] = ()  # of each cell that could be compared with a baseline, by job
    seen: SeenForecast | None = None  # what this user was told when they last acknowledged everything
    worked: dict[int, float] = field(default_factory=dict)  # seconds of training of jobs that were interrupted, by id
    unreadable: tuple[UnreadableRow, ...] = ()  # of the rows above; `fts doctor` looks through all of them
    again: dict[int, tuple[int, ...]] = field(default_factory=dict)  # ended job -> failed trials a retry would run
    studies: dict[str, StudyRecord] = field(default_factory=dict)  # by name
    nodes: tuple[Node, ...] = ()  # of other machines, by name

    def margin(self, job_id: int) -> Margin | None:
        """How far a cell is ahead of the best baseline; None while it cannot be said."""
        return next((margin for margin in self.margins if margin.job_id == job_id), None)


@dataclass(frozen=True)
class SeenForecast:
    """When the work was expected to be done, as a person saw it and acknowledged it."""

    taken_at: float
    finish_at: float
    jobs: tuple[int, ...]  # that the forecast was of: what is put in line later is no slip
    paces: dict[str, float] = field(default_factory=dict)  # seconds per trial of each size, as judged then
    slots: int = 1


@dataclass(frozen=True)
class Margin:
    """A cell's best trial minus the best baseline (by AUC) of the same question, on the same validation windows."""

    job_id: int  # the cell's
    trial: int  # number of its best trial
    rival: str  # random forest (window)
    rival_job: int
    rival_trial: int
    n: int  # validation windows
    auc: float  # difference; above 0: the cell ranks better
    auc_low: float  # 95 %, paired
    auc_high: float
    loss: float  # difference in log loss, nats; below 0: the cell is better
    loss_low: float
    loss_high: float
    at: float


@dataclass(frozen=True)
class Opening:
    """The test set of a cell was opened, by whom and when, and what its one evaluation said (None: not yet)."""

    experiment: str
    job_id: int
    trial: int  # the winner it was opened for: no other model of this cell is evaluated
    who: str
    at: float
    scores: dict[str, Any] | None
    tested_at: float | None = None

    @property
    def figures(self) -> dict[str, Any]:
        """The scores that are numbers, and the rival's name; nan for any other, so that an odd row stops no page."""
        found = self.scores or {}
        known = {k: v for k, v in found.items() if type(v) in (int, float) or (k == "rival" and type(v) is str)}
        return defaultdict(lambda: math.nan, known)


@dataclass(frozen=True)
class Claim:
    """The right to work on a job. Every write of a worker shows it; an old one is refused with StaleToken."""

    job: Job  # as it was at the claim
    token: int
    attempt: int
    worker_id: int

    @property
    def job_id(self) -> int:
        return self.job.id


@dataclass(frozen=True)
class WorkerOrders:
    """The answer to a beat: what people asked meanwhile, and which claims are gone."""

    asked: WorkerOrder | None
    jobs: dict[int, str]  # job id -> pause | cancel
    lost: tuple[Claim, ...]  # of the claims shown at the beat: stop their trials, write nothing more
    beats: int = 0  # of this worker so far: a database that knows fewer is an older copy


@dataclass(frozen=True)
class Amount:
    """What a specification asks for: trials of its search, and those beside it."""

    search: int
    seeds: int = 1  # with which the winner runs, that of the search included
    baseline: bool = False
    follows: int = 1  # seeds of the winner in a job of its own that follows, that of the search included

    @property
    def beside(self) -> int:
        return self.seeds - 1 + self.baseline


@dataclass(frozen=True)
class Enqueued:
    """What became of one cell that was put in line."""

    job_id: int
    created: bool  # False: there is a job of the same question
    status: str = "queued"  # of the job, before it was extended
    extended_from: int | None = None  # trials it had before; None: it was not extended
    had: Amount | None = None  # before it was extended
    has: Amount | None = None
    held: str | None = None  # why it may not start


@dataclass(frozen=True)
class Change:
    """What a person's action did, or would do (dry run)."""

    message: str
    event_id: int | None  # of the last event written; None: nothing changed, or a dry run
    job_ids: tuple[int, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True)
class RunningChild:
    """A trial process the database believes in: what a starting worker must reap if it is still alive."""

    job_id: int
    trial_id: int
    number: int
    worker_id: int | None
    pid: int
    pid_started: float
