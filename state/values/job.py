"""A job: its row, a worker's claim on it, and the result of enqueueing or changing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.state.schema_2 import PATCHTST
from fts.state.values.enums import Cause, Direction, JobStatus

if TYPE_CHECKING:
    from collections.abc import Sequence


LEFT_SLOT = "it left its slot to job"  # in the message of a job whose trial waits for a GPU or a node
PASSED = "later jobs may start before it"  # in the message of a waiting job that a worker has passed over
AND_BEFORE = "; its last message: "  # after that, if the job had a message before
SILENT = "has not said yet what its trials need"  # a study, in the message of a job that is passed over for it
NOT_RETURNED = "did not return from"  # a study, likewise: its job has left a slot while the study was asked
MOST_STEPS = 10**9  # of a trial; fts writes no larger number into a specification


def passed_message(why: str, before: str | None) -> str:
    """The message of a job that is passed over, with what its message said before."""
    return f"{why}; {PASSED}" + (f"{AND_BEFORE}{before}" if before else "")


def own_message(message: str | None) -> str | None:
    """Returns the message of a job without what a worker added when it passed the job over."""
    return message.partition(PASSED)[2].removeprefix(AND_BEFORE) or None if message and PASSED in message else message


def is_of_study(why: str) -> bool:
    """Does it say that a study does not answer?"""
    return SILENT in why or NOT_RETURNED in why


@dataclass(frozen=True)
class Job:
    """One cell in the queue, with the counts and the best of its trials."""

    id: int
    experiment: str  # phase6a_2M_h1_threshold_1pct
    kind: str  # cell, or another kind of its study
    study: str
    cell: str  # the name that people see: 20M/h3, mnist/S
    labels: dict[str, Any]  # axis -> value
    metric: str  # the epoch's metric that the search optimizes
    direction: Direction
    status: JobStatus
    rank: float  # smaller runs earlier
    hold_reason: str | None  # why it may not start ("needs 91 GB, 20 GB allowed")
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
    unreadable: str | None = None  # names the unreadable columns, which have their fallback values here
    front: tuple[int, ...] = ()  # with several goals: trial numbers of the front, the best in the first goal first
    twin: int | None = None  # of an ended job: the waiting or running job of the same specification

    @property
    def goals(self) -> dict[str, Direction]:
        """Maps each metric to optimize to its direction; the job's own metric comes first."""
        goals = self.spec.get("goals")
        given = goals if isinstance(goals, dict) and goals.get(self.metric) == self.direction.value else {}
        named = self.spec.get("goal_names")
        order = dict.fromkeys([self.metric, *(named if isinstance(named, list) else ()), *given])
        known = {name: given[name] for name in order if given.get(name) in tuple(Direction)}
        return {name: Direction(goal) for name, goal in known.items()} or {self.metric: self.direction}

    @property
    def deciding_metric(self) -> str:
        """The goal that the pruner reads; a step's number that was reported without a name is this metric."""
        named = self.spec.get("prune_by")
        return named if isinstance(named, str) and named in self.goals else self.metric

    # The axes of the study of daily bars. Another study may have axes of these names, which mean something else.

    @property
    def budget(self) -> str:
        return self._of_daily_bars("budget")

    @property
    def horizon(self) -> int:
        """In trading days; 0 in any other study."""
        value = self.labels.get("horizon")
        return value if self.study == PATCHTST and type(value) is int and 0 <= value <= 10**9 else 0

    @property
    def task(self) -> str:
        return self._of_daily_bars("task")

    @property
    def tier(self) -> str:
        return self._of_daily_bars("tier")

    def _of_daily_bars(self, axis: str) -> str:
        """Returns its label; empty if it has none or belongs to another study."""
        value = self.labels.get(axis) if self.study == PATCHTST else None
        return "" if value is None else str(value)

    @property
    def trials_ended(self) -> int:
        """Number of ended trials; failed trials that a retry has reset do not count."""
        return self.trials_complete + self.trials_pruned + self.trials_failed

    @property
    def steps(self) -> int | None:
        """The most steps that a trial may run, from the specification; None if it is missing or implausible."""
        for name in ("epochs", "steps"):
            found = self.spec.get(name)
            if isinstance(found, int) and not isinstance(found, bool) and 0 < found <= MOST_STEPS:
                return found
        return None

    @property
    def left_slot(self) -> bool:
        """Has its trial left a slot to another job, because it waits for a GPU or a node?"""
        waits = self.status is JobStatus.QUEUED and self.cause == Cause.DRAINED
        return waits and LEFT_SLOT in (self.message or "")

    @property
    def is_passed_over(self) -> bool:
        """Do later jobs start before it, because it needs more than a slot? Its message says what."""
        return self.left_slot or (self.status is JobStatus.QUEUED and PASSED in (self.message or ""))

    @property
    def waits_for_study(self) -> bool:
        """Is it passed over because its study does not answer?"""
        return self.is_passed_over and is_of_study((self.message or "").partition(PASSED)[0])

    @property
    def parallel(self) -> int:
        """How many of its trials may run at once, from the specification."""
        found = self.spec.get("parallel")
        return found if isinstance(found, int) and not isinstance(found, bool) and 1 <= found <= 1024 else 1

    def retry_refusal(self, again: Sequence[int]) -> str | None:
        """Says why `fts retry` would run nothing, or returns None. `again`: numbers of its failed trials to run again.

        The command, the monitor's key and `fts why` all use this rule.
        """
        if self.status not in (JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLED):
            return f"it is {self.status}"
        if self.twin is not None:
            return f"job {self.twin} has the same specification and has not ended"
        if again or self.trials_ended < self.trials_wanted:
            return None
        if self.status is not JobStatus.DONE and self.best_trial is not None:
            return None  # all its trials have ended: only its status must become done
        return f"nothing is left to run: {self._ended_words()}"

    def retry_words(self, again: Sequence[int]) -> str:
        """Says what a retry does: "runs 3 trials again: t0 t1 t2, then 4 more"."""
        missing = max(0, self.trials_wanted - self.trials_ended)
        if not again and not missing:
            return f"ends it as done: {self._ended_words()}"
        if not again:
            return f"continues it with {_trials(missing)} to run"
        named = " ".join(f"t{number}" for number in again[:10]) + (" ..." if len(again) > 10 else "")
        return f"runs {_trials(len(again))} again: {named}" + (f", then {missing} more" if missing else "")

    def words_of_retry(self, again: Sequence[int]) -> str:
        """Says what runs after a retry: "2 trials run again (t0 t1), then 4 more", "6 trials to run"."""
        missing = max(0, self.trials_wanted - self.trials_ended)
        if not again:
            return f"{_trials(missing)} to run" if missing else "nothing is left to run, it ends as done"
        named = " ".join(f"t{number}" for number in again[:10]) + (" ..." if len(again) > 10 else "")
        verb = "runs" if len(again) == 1 else "run"
        return f"{_trials(len(again))} {verb} again ({named})" + (f", then {missing} more" if missing else "")

    def _ended_words(self) -> str:
        """Returns "4 trials: 3 complete, 1 failed for good", for a job without failed trials to run again."""
        counts = (
            (self.trials_complete, "complete"),
            (self.trials_pruned, "pruned"),
            (self.trials_failed, "failed for good"),
        )
        parts = ", ".join(f"{n} {how}" for n, how in counts if n)
        return _trials(self.trials_ended) + (f": {parts}" if parts else "")


def _trials(n: int) -> str:
    return f"{n} trial{'' if n == 1 else 's'}"


def status_of(status: str, best_trial: int | None, trials_ended: int) -> JobStatus:
    """Returns a job's status; `failed` for a job without a complete trial for which an older fts wrote `done`."""
    known = JobStatus(status)
    return JobStatus.FAILED if known is JobStatus.DONE and best_trial is None and trials_ended else known


@dataclass(frozen=True)
class Claim:
    """A worker's right to work on a job. Every write of a worker carries it; an old claim raises StaleToken."""

    job: Job  # as it was at the claim
    token: int
    attempt: int
    worker_id: int

    @property
    def job_id(self) -> int:
        return self.job.id


@dataclass(frozen=True)
class Amount:
    """How many trials a specification asks for: those of its search, and the extra ones."""

    search: int
    seeds: int = 1  # seeds of the winner, including that of the search
    baseline: bool = False
    follows: int = 1  # seeds of the winner in a following job, including that of the search

    @property
    def extra(self) -> int:
        return self.seeds - 1 + self.baseline


@dataclass(frozen=True)
class Enqueued:
    """The result of enqueueing one cell."""

    job_id: int
    created: bool  # False: a job of the same question exists
    status: str = "queued"  # of the job, before it was extended
    extended_from: int | None = None  # its number of trials before; None: it was not extended
    had: Amount | None = None  # before the extension
    has: Amount | None = None
    held: str | None = None  # why it may not start


@dataclass(frozen=True)
class Change:
    """What a person's action did, or would do in a dry run."""

    message: str
    event_id: int | None  # the last event written; None: nothing changed, or a dry run
    job_ids: tuple[int, ...] = ()
    dry_run: bool = False
