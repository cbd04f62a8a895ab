"""The frozen input of a painter: the last read, the cursor, and the display settings."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.status import naming
from fts.jobs.status.log_excerpt import LastLines, departed, trouble
from fts.jobs.status.memoize import Once
from fts.state.values import Attempt, Epoch, Event, Job, Opening, Sample, Snapshot, Trial, TrialStatus
from fts.tui.data.trial_store import by_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fts.jobs.status.disk_usage import Kept
    from fts.jobs.status.summary import Glance

SCREENS = ("Queue", "Trials", "Curves", "Hardware", "Logs", "Results", "Events")
QUEUE, TRIALS, CURVES, HARDWARE, LOGS, RESULTS, EVENTS = range(7)
SPARE = 10  # trials that may be newer than the last read of the curves


@dataclass(frozen=True)
class Details:
    """What screens show in addition to the snapshot; most of it of the selected cell only."""

    job_id: int | None = None
    trials: Sequence[Trial] = ()  # of the selected job, by number; a TrialStore if there are many
    curves: Mapping[int, tuple[Epoch, ...]] = field(default_factory=dict)  # of those trials, by trial id
    best_curves: Mapping[int, tuple[Epoch, ...]] = field(default_factory=dict)  # best trial of each job, by job id
    samples: tuple[Sample, ...] = ()  # of the last 24 h, one per three minutes, oldest first
    peaks: tuple[Sample, ...] = ()  # those and, of each three minutes, the hottest and the one with the least memory
    events: tuple[Event, ...] = ()  # the journal, newest last
    counted: tuple[float, Mapping[str, int]] | None = None  # a time, and how many events of each kind came since then
    log: tuple[str, ...] = ()  # the end of the trial's log file
    log_lines: int = 0  # number of lines read of it so far, including those no longer kept
    log_path: str = ""
    log_problem: str = ""
    last: LastLines | None = None  # of the job in trouble: its worker died, or it failed and is selected
    openings: tuple[Opening, ...] = ()  # of test sets, the earliest first
    limits: Mapping[int, tuple[int, int]] = field(default_factory=dict)  # memory limits by trial id: bytes (soft, hard)
    kept: Kept | None = None  # size of the checkpoints, while the disk is low
    # By trial id, of trials with several attempts: (seconds of ended ones, start of the running one).
    worked: Mapping[int, tuple[float, float | None]] = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()  # of the selected trial, on Trials
    trial_lines: tuple[str, ...] = ()  # the end of the selected trial's log, on Trials, if it did not end well


def _with_steps(trials: Sequence[Trial]) -> Trial | None:
    """Returns the latest trial with steps. Cached by `_latest`: there may be ten thousand without any."""
    return next((trial for trial in reversed(trials) if trial.epochs), None)


_latest: Once[Trial | None] = Once()


def jobs_by_id(snapshot: Snapshot) -> dict[int, Job]:
    """Returns the jobs by id, in the order of the snapshot."""
    return _jobs((snapshot.jobs,), None, lambda: {job.id: job for job in snapshot.jobs})


_jobs: Once[dict[int, Job]] = Once()


@dataclass(frozen=True)
class Hint:
    """One hint of the key bar."""

    key: str
    label: str
    id: str  # of bindings.KEYS or of an action


@dataclass(frozen=True)
class View:
    """What one screen shows at one moment."""

    glance: Glance
    details: Details = Details()
    screen: int = QUEUE
    job_id: int | None = None
    trial_id: int | None = None
    event_id: int | None = None
    marks: frozenset[int] = frozenset()  # visible marked rows of the table, including the range of `v`
    hidden_marks: int = 0  # marked rows that a filter or a fold hides; actions skip them
    focus: str = ""  # name of the focused pane
    filter: str = ""
    sort: str = ""  # column
    reverse: bool = False
    scroll: int = 0  # logs: lines above the end
    search: str = ""
    level: str = ""  # logs: "", warning, error
    follow: bool = True
    chart_zoom: int = 0  # halvings of the chart's window
    chart_shift: int = 0  # steps back in time
    log_y: bool = False
    overlay: bool = True  # draw best, median and middle half
    metric: str = ""  # of the curves; "": the study's objective
    folded: frozenset[str] = frozenset()  # studies that the queue shows as one row
    hints: tuple[Hint, ...] = ()
    help_key: str = "?"
    toast: str = ""
    toast_role: str = ""
    readonly: bool = False
    problem: str = ""  # why the latest read failed
    pending: str = ""  # "asked 08:14:02": a change that has not ended yet
    missing: str = ""  # what to do if there is no database
    body: Snapshot | None = None  # the frozen snapshot of the panes, while the header stays live

    @property
    def snapshot(self) -> Snapshot:
        return self.body or self.glance.snapshot

    @property
    def now(self) -> float:
        return self.glance.now

    @property
    def job(self) -> Job | None:
        """The selected job."""
        return jobs_by_id(self.snapshot).get(self.job_id or 0)

    @property
    def name(self) -> str:
        """The name of the selected cell, with the job's number if several jobs are of this cell."""
        return naming.names_of(self.snapshot.jobs)[self.job.id] if self.job is not None else "no cell"

    @property
    def trial(self) -> Trial | None:
        """The selected trial, else the running one of the selected job, else its latest with steps."""
        trials = self.trials
        chosen = by_id(trials, self.trial_id)
        return chosen or self.live_trial or _latest((trials,), None, lambda: _with_steps(trials))

    @property
    def last(self) -> LastLines | None:
        """The last log lines of the job in trouble, else of a worker that stopped while cells wait; None if neither."""
        job, found = trouble(self.snapshot, self.now, self.job_id), self.details.last
        if found is None or (job is not None and found.job_id not in (None, job.id)):
            return None
        if found.job_id is None:
            return found if departed(self.snapshot, self.now) is not None else None
        return found if job is not None else None

    @property
    def trials(self) -> Sequence[Trial]:
        """The trials of the selected job; only those of the snapshot until all have been read."""
        if self.details.job_id == self.job_id and self.details.trials:
            return self.details.trials
        return tuple(t for t in self.snapshot.trials if t.job_id == self.job_id)

    @property
    def compared_trials(self) -> list[Trial]:
        """The trials whose curves were read: all, or the latest if there are many."""
        curves = self.details.curves
        return [t for t in self.trials[-len(curves) - SPARE :] if t.id in curves]

    @property
    def live_trial(self) -> Trial | None:
        """The running (or interrupted) trial of the selected job."""
        live = (TrialStatus.RUNNING, TrialStatus.INTERRUPTED)
        return next((t for t in self.snapshot.trials if t.job_id == self.job_id and t.status in live), None)

    def deciding_metric(self, trial: Trial) -> str:
        """Returns the metric that the pruner of a trial's job reads."""
        return trial.metric if self.job is None else self.job.deciding_metric

    def epochs(self, trial_id: int) -> tuple[Epoch, ...]:
        """Returns the curve of a trial, as far as it was read."""
        own = tuple(e for e in self.snapshot.epochs if e.trial_id == trial_id)
        return own or self.details.curves.get(trial_id, ())
