"""Defines all actions: name, key, command, when each applies, what it costs, and what it does.

Lower case keys act on the chosen jobs, upper case keys on the whole machine. Levels: L0 free, L1 reversible, L2 loses
work, L3 cannot be undone (never a key: palette or command only).
"""

from __future__ import annotations

import shlex
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
    """One thing a person can do. Call why_not, price and run; `refuses`, `costs` and `does` implement them."""

    id: str
    key: str | None  # key of the monitor; None: palette and command only
    label: str
    scope: str  # jobs: acts on chosen jobs; worker, queue, study: on no particular job
    level: str
    verb: str  # verb of the event that it writes
    cli: str  # its command; {jobs} is replaced by the job numbers, {place} and {text} by what was typed
    help: str
    refuses: Refusal
    costs: Price
    does: Callable[..., Change]
    idle: str = ""  # label while no trial runs, if different

    def label_in(self, snapshot: Snapshot) -> str:
        """Returns the label for this moment: `idle` while no trial runs, else `label`."""
        return self.idle if self.idle and not conditions.runs_a_trial(snapshot) else self.label

    @property
    def needs_jobs(self) -> bool:
        return self.scope == "jobs"

    def why_not(self, job: Job | None, snapshot: Snapshot) -> str | None:
        """Returns why the action cannot be done now ("2M/h1 is done"); None if it can."""
        if self.needs_jobs and job is None:
            return "no job is chosen"
        return self.refuses(job, snapshot)

    def applies_to(self, job: Job | None, snapshot: Snapshot) -> bool:
        return self.why_not(job, snapshot) is None

    def price(self, snapshot: Snapshot, jobs: Sequence[Job] = ()) -> str | None:
        """Returns what the action costs or causes, for the confirmation; None if that needs none."""
        return self.costs(snapshot, jobs)

    def level_for(self, jobs: Sequence[Job] = ()) -> str:
        """Returns the level for these jobs: cancelling a queued job is reversible, a running one loses work."""
        if self.level == "L2" and not any(job.status is JobStatus.RUNNING for job in jobs):
            return "L1"
        return self.level

    def asks(self, jobs: Sequence[Job] = ()) -> bool:
        """Returns whether the user must confirm: what concerns the whole machine or loses work."""
        return self.scope in ("worker", "queue") or self.level_for(jobs) in ("L2", "L3")

    def command(self, jobs: Sequence[Job | int] = (), **args: Any) -> str:
        """Returns the equivalent command line: `fts move 7 up`."""
        numbers = [str(job if isinstance(job, int) else job.id) for job in jobs]
        given = {name: shlex.quote(str(value)) for name, value in args.items() if value is not None}
        words = self.cli.format(jobs=" ".join(numbers) or "JOB", **{"place": "PLACE", "text": '"TEXT"', **given})
        about = f" --job {numbers[0]}" if self.id == "note" and numbers else ""
        if str(args.get("text", "")).startswith("-"):  # else it would be read as an option
            name = self.cli.removesuffix(" {text}")
            return f"{name}{about} -- {given['text']}"
        return f"{words}{about}"

    def run(
        self, db: Database, job_ids: Sequence[int] = (), who: str | None = None, dry_run: bool = False, **args: Any
    ) -> Change:
        """Performs the action and writes its event in one transaction; a dry run rolls that transaction back.

        Raises WrongStatus, NoSuchRow, BadRow, CannotUndo of fts.state.errors; then nothing was changed.
        """
        return self.does(db, tuple(job_ids), who, dry_run, **args)


ACTIONS: tuple[Action, ...] = (
    Action(
        "move_up", "K", "move up", "jobs", "L0", Verb.MOVED, "fts move {jobs} up",
        "Moves the job one place up in the queue.", conditions.must_wait, conditions.free, handlers.moves("up"),
    ),
    Action(
        "move_down", "J", "move down", "jobs", "L0", Verb.MOVED, "fts move {jobs} down",
        "Moves the job one place down in the queue.", conditions.must_wait, conditions.free, handlers.moves("down"),
    ),
    Action(
        "move_to", None, "move to a place", "jobs", "L0", Verb.MOVED, "fts move {jobs} {place}",
        "Moves the job to a place in the queue; 1 runs next.", conditions.must_wait, conditions.free, handlers.move_to,
    ),
    Action(
        "next", "t", "run next", "jobs", "L0", Verb.MOVED, "fts next {jobs}",
        "Moves the job to the top of the queue.", conditions.must_wait, conditions.free, handlers.moves("top"),
    ),
    Action(
        "pause", "p", "pause", "jobs", "L1", Verb.PAUSED, "fts pause {jobs}",
        "A queued job does not start. A running job writes a checkpoint and frees its memory; resume continues it.",
        conditions.pausable, conditions.price_of_pause, handlers.changes("pause"),
    ),
    Action(
        "resume", "p", "resume", "jobs", "L1", Verb.RESUMED, "fts resume {jobs}",
        "Puts a paused job back in the queue, to continue at the same step; lets a held job start anyway.",
        conditions.resumable, conditions.free, handlers.changes("resume"),
    ),
    Action(
        "cancel", "x", "cancel", "jobs", "L2", Verb.CANCELLED, "fts cancel {jobs}",
        "Takes a job out of the queue and keeps its results; undo or retry brings it back.",
        conditions.cancellable, conditions.price_of_cancel, handlers.changes("cancel"),
    ),
    Action(
        "retry", "r", "retry", "jobs", "L1", Verb.RETRIED, "fts retry {jobs}",
        "Puts an ended job back in the queue: its failed trials run again, the others are kept.",
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
        "Undoes the last change, even after a restart and even if another user made it.",
        conditions.undoable, conditions.price_of_undo, handlers.undo,
    ),
    Action(
        "redo", "U", "redo", "study", "L0", Verb.REDONE, "fts redo",
        "Redoes the last undone change.", conditions.redoable, conditions.price_of_redo, handlers.redo,
    ),
    Action(
        "ack", "a", "acknowledge", "study", "L0", Verb.ACKNOWLEDGED, "fts ack",
        "Marks everything that has ended as seen.", conditions.always, conditions.free, handlers.acknowledge,
    ),
    Action(
        "note", "m", "note", "study", "L0", Verb.NOTED, "fts note {text}",
        "Writes a note into the journal, about one job or the study.", conditions.always, conditions.free,
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
    """Returns the action. Raises KeyError for an unknown id."""
    return BY_ID[action_id]


def by_key(key: str) -> tuple[Action, ...]:
    """Returns the actions of a key; p, P and D have two, one to do and one to undo."""
    return tuple(action for action in ACTIONS if action.key == key)


def for_key(key: str, jobs: Sequence[Job], snapshot: Snapshot) -> Action | None:
    """Returns the action that a key means now: the first that applies to any chosen job, else the key's first."""
    actions = by_key(key)
    for action in actions:
        if any(action.applies_to(job, snapshot) for job in (jobs if action.needs_jobs else [None])):
            return action
    return actions[0] if actions else None
