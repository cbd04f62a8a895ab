"""The registry: what each action is called, which key and command it has, when it applies, what it costs, what it does.

Lower case keys act on the chosen jobs, upper case keys on the whole machine. Levels: L0 free, L1 reversible, L2 loses
work, L3 cannot be undone (never a key: palette or command only).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.actions import conditions, handlers
from fts.state.values import Change, Job, JobStatus, Snapshot, Verb, WorkerOrder

if TYPE_CHECKING:
    from fts.state.db import Database

SCOPES = ("jobs", "worker", "queue", "study")
LEVELS = ("L0", "L1", "L2", "L3")

Refusal = Callable[[Job | None, Snapshot], "str | None"]
Price = Callable[[Snapshot, Sequence[Job]], "str | None"]


@dataclass(frozen=True)
class Action:
    """One thing a person can do.

    `refuses`, `costs` and `does` are the parts behind why_not, price and run; ask those.
    """

    id: str
    key: str | None  # of the monitor; None: palette and command only
    label: str
    scope: str  # jobs: the chosen ones; worker, queue, study: no job is chosen
    level: str
    verb: str  # of the event it leaves
    cli: str  # its command; {jobs} stands for the chosen numbers
    help: str
    refuses: Refusal
    costs: Price
    does: Callable[..., Change]
    idle: str = ""  # its label while no trial runs, if that is another one

    def label_in(self, snapshot: Snapshot) -> str:
        """What it is called now: where no trial runs, none can be waited for."""
        return self.idle if self.idle and not conditions.runs_a_trial(snapshot) else self.label

    @property
    def needs_jobs(self) -> bool:
        return self.scope == "jobs"

    def why_not(self, job: Job | None, snapshot: Snapshot) -> str | None:
        """Why it cannot be done now, in words ("2M/h1 is done"); None: it can."""
        if self.needs_jobs and job is None:
            return "no job is chosen"
        return self.refuses(job, snapshot)

    def applies_to(self, job: Job | None, snapshot: Snapshot) -> bool:
        return self.why_not(job, snapshot) is None

    def price(self, snapshot: Snapshot, jobs: Sequence[Job] = ()) -> str | None:
        """What it costs or causes, in words, for the question before it; None: nothing worth asking about."""
        return self.costs(snapshot, jobs)

    def level_for(self, jobs: Sequence[Job] = ()) -> str:
        """The level for these jobs: taking a waiting job out of line is reversible, a running one loses work."""
        if self.level == "L2" and not any(job.status is JobStatus.RUNNING for job in jobs):
            return "L1"
        return self.level

    def asks(self, jobs: Sequence[Job] = ()) -> bool:
        """Should a person be asked first? Whatever concerns the whole machine or loses work."""
        return self.scope in ("worker", "queue") or self.level_for(jobs) in ("L2", "L3")

    def command(self, jobs: Sequence[Job | int] = (), **args: Any) -> str:
        """The command line that does the same: `fts move 7 up`."""
        numbers = " ".join(str(job if isinstance(job, int) else job.id) for job in jobs)
        known = {"place": "PLACE", "text": "TEXT", **{k: v for k, v in args.items() if v is not None}}
        return " ".join(self.cli.format(jobs=numbers or "JOB", **known).split())

    def run(
        self, db: Database, job_ids: Sequence[int] = (), who: str | None = None, dry_run: bool = False, **args: Any
    ) -> Change:
        """Does it, in one transaction with its event (a dry run: does it and takes it back).

        Raises WrongStatus, NoSuchRow, BadRow, CannotUndo of fts.state.errors; then nothing was changed.
        """
        return self.does(db, tuple(job_ids), who, dry_run, **args)


ACTIONS: tuple[Action, ...] = (
    Action(
        "move_up", "K", "move up", "jobs", "L0", Verb.MOVED, "fts move {jobs} up",
        "Moves the job one place earlier in line.", conditions.must_wait, conditions.free, handlers.moves("up"),
    ),
    Action(
        "move_down", "J", "move down", "jobs", "L0", Verb.MOVED, "fts move {jobs} down",
        "Moves the job one place later in line.", conditions.must_wait, conditions.free, handlers.moves("down"),
    ),
    Action(
        "move_to", None, "move to a place", "jobs", "L0", Verb.MOVED, "fts move {jobs} {place}",
        "Moves the job to a place in line; 1 runs next.", conditions.must_wait, conditions.free, handlers.move_to,
    ),
    Action(
        "next", "t", "run next", "jobs", "L0", Verb.MOVED, "fts next {jobs}",
        "Moves the job to the head of the line.", conditions.must_wait, conditions.free, handlers.moves("top"),
    ),
    Action(
        "pause", "p", "pause", "jobs", "L1", Verb.PAUSED, "fts pause {jobs}",
        "A waiting job is held back. A running job writes a checkpoint and frees its memory; resume continues it.",
        conditions.pausable, conditions.price_of_pause, handlers.changes("pause"),
    ),
    Action(
        "resume", "p", "resume", "jobs", "L1", Verb.RESUMED, "fts resume {jobs}",
        "Puts a paused job back in line, to continue at the same step; lets a held job start anyway.",
        conditions.resumable, conditions.free, handlers.changes("resume"),
    ),
    Action(
        "cancel", "x", "cancel", "jobs", "L2", Verb.CANCELLED, "fts cancel {jobs}",
        "Takes a job out of the queue and keeps its results; undo or retry brings it back.",
        conditions.cancellable, conditions.price_of_cancel, handlers.changes("cancel"),
    ),
    Action(
        "retry", "r", "retry", "jobs", "L1", Verb.RETRIED, "fts retry {jobs}",
        "Puts an ended job back in line: its failed trials run again, the others are kept.",
        conditions.retryable, conditions.price_of_retry, handlers.changes("retry"),
    ),
    Action(
        "pause_queue", "P", "pause the queue", "queue", "L1", Verb.QUEUE_PAUSED, "fts pause --queue",
        "Starts no new job; running jobs continue.", conditions.queue_runs, conditions.price_of_pause_queue,
        handlers.pause_queue,
    ),
    Action(
        "resume_queue", "P", "resume the queue", "queue", "L1", Verb.QUEUE_RESUMED, "fts resume --queue",
        "Lets jobs start again.", conditions.queue_paused, conditions.price_of_resume_queue, handlers.resume_queue,
    ),
    Action(
        "drain", "D", "drain after this trial", "worker", "L1", Verb.WORKER_ASKED, "fts drain",
        "The worker finishes its trial, then stops; the queue is unchanged.",
        conditions.can_ask(WorkerOrder.DRAIN_TRIAL), conditions.price_of_drain, handlers.asks(WorkerOrder.DRAIN_TRIAL),
        idle="drain the worker",
    ),
    Action(
        "undrain", "D", "withdraw the drain", "worker", "L1", Verb.WORKER_ASKED, "fts drain --withdraw",
        "Withdraws the request to stop; the worker takes jobs again.",
        conditions.asked_to_leave, conditions.price_of_undrain, handlers.asks(None),
    ),
    Action(
        "drain_job", None, "drain after this job", "worker", "L1", Verb.WORKER_ASKED, "fts drain --after job",
        "The worker finishes its job with all its trials, then stops.",
        conditions.can_ask(WorkerOrder.DRAIN_JOB), conditions.price_of_drain_job, handlers.asks(WorkerOrder.DRAIN_JOB),
        idle="drain the worker",
    ),
    Action(
        "stop", None, "stop now", "worker", "L3", Verb.WORKER_ASKED, "fts stop",
        "The worker writes a checkpoint at its next step and stops; the trial continues from it later.",
        conditions.can_ask(WorkerOrder.STOP), conditions.price_of_stop, handlers.asks(WorkerOrder.STOP),
    ),
    Action(
        "start_worker", "W", "start a worker", "worker", "L1", Verb.WORKER_STARTED, "fts worker --detach",
        "Starts a worker on this machine that keeps running after you log out.",
        conditions.no_worker, conditions.price_of_worker, handlers.start_worker,
    ),
    Action(
        "undo", "u", "undo", "study", "L0", Verb.UNDONE, "fts undo",
        "Takes back the last change, even after a restart and even if another user made it.",
        conditions.undoable, conditions.price_of_undo, handlers.undo,
    ),
    Action(
        "redo", "U", "redo", "study", "L0", Verb.REDONE, "fts redo",
        "Takes back the last undo.", conditions.redoable, conditions.price_of_redo, handlers.redo,
    ),
    Action(
        "ack", "a", "acknowledge", "study", "L0", Verb.ACKNOWLEDGED, "fts ack {jobs}",
        "Marks what has ended until now as seen.", conditions.always, conditions.free, handlers.acknowledge,
    ),
    Action(
        "note", "m", "note", "study", "L0", Verb.NOTED, 'fts note "{text}"',
        "Writes a line into the journal, about one job or the study.", conditions.always, conditions.free,
        handlers.note,
    ),
    Action(
        "unseal", None, "open the test set", "jobs", "L3", Verb.UNSEALED, "fts unseal {jobs}",
        "Opens a cell's test set for its best trial: once, and it cannot be undone.",
        conditions.can_unseal, conditions.price_of_unseal, handlers.unseal,
    ),
    Action(
        "enqueue", "e", "enqueue", "study", "L1", Verb.ENQUEUED, "fts enqueue",
        "Opens a form: choose a study, tick its cells, enqueue them.",
        conditions.always, conditions.free, handlers.enqueue,
    ),
)  # fmt: skip

BY_ID: dict[str, Action] = {action.id: action for action in ACTIONS}


def by_id(action_id: str) -> Action:
    """Raises KeyError for an action that does not exist."""
    return BY_ID[action_id]


def by_key(key: str) -> tuple[Action, ...]:
    """The actions of a key: p, P and D have one for each direction."""
    return tuple(action for action in ACTIONS if action.key == key)


def for_key(key: str, jobs: Sequence[Job], snapshot: Snapshot) -> Action | None:
    """The action a key means now: of several the first that applies to any chosen job, else the first of them."""
    actions = by_key(key)
    for action in actions:
        if any(action.applies_to(job, snapshot) for job in (jobs if action.needs_jobs else [None])):
            return action
    return actions[0] if actions else None
