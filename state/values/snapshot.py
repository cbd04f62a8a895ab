"""The snapshot of everything that is shown, and its parts: events, margins, forecasts, studies."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import field
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass

if TYPE_CHECKING:
    from fts.state.values.job import Job
    from fts.state.values.machine import Node, Sample, Worker
    from fts.state.values.trial import Epoch, Trial


@dataclass(frozen=True)
class StudyRecord:
    """A study with jobs, and its declaration: axes, metrics, facts, the name of a step."""

    name: str
    declaration: dict[str, Any]
    created_at: float


@dataclass(frozen=True)
class Event:
    """A recorded change: who, what and when."""

    id: int
    at: float
    who: str  # user@host, worker 3, watchdog
    verb: str  # enqueued, claimed, paused, new_best ... (fts.state.transitions lists them)
    job_id: int | None
    trial_id: int | None
    message: str
    data: dict[str, Any] = field(default_factory=dict)
    inverse: dict[str, Any] | None = None  # the undo step; None: cannot be undone
    undone_by: int | None = None
    unreadable: str | None = None


@dataclass(frozen=True)
class UnreadableRow:
    """A row that holds what no fts writes; its readable part is shown."""

    table: str
    name: str  # job 1, trial 12, epoch 3 of trial 12
    why: str  # ended_at is 1e308
    cure: str | None = None  # SQL that repairs it without loss

    def __str__(self) -> str:
        return f"{self.name}: unreadable, {self.why}"


@dataclass(frozen=True)
class Snapshot:
    """Everything that the monitor and `fts status` show, read in one transaction."""

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
    margins: tuple[Margin, ...] = ()  # of each cell that was compared with a baseline, by job
    seen: SeenForecast | None = None  # the forecast that this user saw when they last acknowledged everything
    worked: dict[int, float] = field(default_factory=dict)  # seconds of work on interrupted jobs, by id
    unreadable: tuple[UnreadableRow, ...] = ()  # among the rows above; `fts doctor` checks all rows
    again: dict[int, tuple[int, ...]] = field(default_factory=dict)  # ended job -> failed trials a retry would run
    studies: dict[str, StudyRecord] = field(default_factory=dict)  # by name
    nodes: tuple[Node, ...] = ()  # by name
    # events before `events` of a few kinds, and what undo and redo would revert: fast trials fill `events` in a minute
    older: tuple[Event, ...] = ()
    user: str | None = None  # who looks: a change of somebody else is not undone without a question

    @property
    def journal(self) -> tuple[Event, ...]:
        """The events from which to judge: those of `older`, then all of `events`."""
        return (*self.older, *self.events)

    def margin(self, job_id: int) -> Margin | None:
        """Returns the cell's margin over the best baseline; None while it is unknown."""
        return next((margin for margin in self.margins if margin.job_id == job_id), None)


@dataclass(frozen=True)
class SeenForecast:
    """The forecast of the finish that a person saw and acknowledged."""

    taken_at: float
    finish_at: float
    jobs: tuple[int, ...]  # in the forecast: jobs enqueued later do not count as a slip of the finish
    paces: dict[str, float] = field(default_factory=dict)  # seconds per trial of each size, as estimated then
    slots: int = 1
    trials: dict[int, int] = field(default_factory=dict)  # trials per job: those added later do not count as a slip


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
    """The opening of a cell's test set: by whom, when, and the scores of its one evaluation (None: not yet)."""

    experiment: str
    job_id: int
    trial: int  # the winner: no other model of this cell is evaluated
    who: str
    at: float
    scores: dict[str, Any] | None
    tested_at: float | None = None

    @property
    def figures(self) -> dict[str, Any]:
        """The scores that are numbers, and the rival's name; nan for any other name, so that no page fails."""
        found = self.scores or {}
        known = {k: v for k, v in found.items() if type(v) in (int, float) or (k == "rival" and type(v) is str)}
        return defaultdict(lambda: math.nan, known)
