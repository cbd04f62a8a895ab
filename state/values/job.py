"""A cell in line: what its row says, the right to work on it, what putting it in line did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.state.values.enums import Cause, Direction, JobStatus

if TYPE_CHECKING:
    from collections.abc import Sequence


MOST_STEPS = 10**9  # of a trial; a larger number in a specification was not written by fts


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
