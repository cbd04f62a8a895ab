"""What a painter is given: the last read, where the cursor stands, and how the reader wants to see it."""

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
SPARE = 10  # trials newer than the last read of the curves


@dataclass(frozen=True)
class Details:
    """What screens show beyond the snapshot, read for the selected cell only."""

    job_id: int | None = None
    trials: Sequence[Trial] = ()  # of the selected job, by number; a shelf where they are many
    curves: Mapping[int, tuple[Epoch, ...]] = field(default_factory=dict)  # of those trials, by trial id
    best_curves: Mapping[int, tuple[Epoch, ...]] = field(default_factory=dict)  # best trial of each job, by job id
    samples: tuple[Sample, ...] = ()  # of the last 24 h, oldest first
    events: tuple[Event, ...] = ()  # the journal, newest last
    log: tuple[str, ...] = ()  # the end of the trial's log file
    log_lines: int = 0  # read of it so far, also those that are no longer kept
    log_path: str = ""
    log_problem: str = ""
    last: LastLines | None = None  # of the job in trouble: its worker died, or it failed and is selected
    openings: tuple[Opening, ...] = ()  # of test sets, the earliest first
    limits: Mapping[int, tuple[int, int]] = field(default_factory=dict)  # of live trials, by id: bytes (soft, hard)
    kept: Kept | None = None  # what checkpoints weigh, while a disk is full
    worked: Mapping[int, tuple[float, float | None]] = field(
        default_factory=dict
    )  # of trials of several attempts, by id
    attempts: tuple[Attempt, ...] = ()  # of the selected trial, on Trials
    trial_lines: tuple[str, ...] = ()  # the end of the selected trial's log, on Trials, if it did not end well


def _with_steps(trials: Sequence[Trial]) -> Trial | None:
    """The latest that has any; of ten thousand without any, looked for once."""
    return next((trial for trial in reversed(trials) if trial.epochs), None)


_latest: Once[Trial | None] = Once()


def jobs_by_id(snapshot: Snapshot) -> dict[int, Job]:
    """Job id -> job, in the order of the snapshot."""
    return _jobs((snapshot.jobs,), None, lambda: {job.id: job for job in snapshot.jobs})


_jobs: Once[dict[int, Job]] = Once()


@dataclass(frozen=True)
class Hint:
    """One key of the bar."""

    key: str
    label: str
    id: str  # of bindings.KEYS or of an action


@dataclass(frozen=True)
class View:
    """One look at one screen."""

    glance: Glance
    details: Details = Details()
    screen: int = QUEUE
    job_id: int | None = None
    trial_id: int | None = None
    event_id: int | None = None
    marks: frozenset[int] = frozenset()  # of the table on screen, those in sight; the range from `v` is among them
    hidden_marks: int = 0  # rows that are marked and not in sight: nothing is done to them
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
    overlay: bool = True  # best and median beside the running trial
    metric: str = ""  # that curves show; "": the one that decides
    folded: frozenset[str] = frozenset()  # studies of which the queue shows one row
    hints: tuple[Hint, ...] = ()
    help_key: str = "?"
    toast: str = ""
    toast_role: str = ""
    readonly: bool = False
    problem: str = ""  # why the latest read failed
    pending: str = ""  # "asked 08:14:02": a change the journal has not confirmed yet
    missing: str = ""  # there is no database: what to do
    body: Snapshot | None = None  # frozen: what the panes show while the first lines stay live

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
        """The selected cell; with the job's number where another job is of the same one."""
        return naming.names_of(self.snapshot.jobs)[self.job.id] if self.job is not None else "no cell"

    @property
    def trial(self) -> Trial | None:
        """The selected trial, else the running one of the selected job, else its best, else its latest."""
        trials = self.trials
        chosen = by_id(trials, self.trial_id)
        return chosen or self.live_trial or _latest((trials,), None, lambda: _with_steps(trials))

    @property
    def last(self) -> LastLines | None:
        """The last lines of the job in trouble, while it is; else of the worker that has left cells waiting."""
        job, found = trouble(self.snapshot, self.now, self.job_id), self.details.last
        if found is None or (job is not None and found.job_id not in (None, job.id)):
            return None
        if found.job_id is None:
            return found if departed(self.snapshot, self.now) is not None else None
        return found if job is not None else None

    @property
    def trials(self) -> Sequence[Trial]:
        """Of the selected job: all of them once they are read, the snapshot's until then."""
        if self.details.job_id == self.job_id and self.details.trials:
            return self.details.trials
        return tuple(t for t in self.snapshot.trials if t.job_id == self.job_id)

    @property
    def raced(self) -> list[Trial]:
        """Those of them whose curves were read: all, or the latest where they are many."""
        curves = self.details.curves
        return [t for t in self.trials[-len(curves) - SPARE :] if t.id in curves]

    @property
    def live_trial(self) -> Trial | None:
        """The running (or interrupted) trial of the selected job."""
        live = (TrialStatus.RUNNING, TrialStatus.INTERRUPTED)
        return next((t for t in self.snapshot.trials if t.job_id == self.job_id and t.status in live), None)

    def epochs(self, trial_id: int) -> tuple[Epoch, ...]:
        """The curve of a trial, as far as it was read."""
        own = tuple(e for e in self.snapshot.epochs if e.trial_id == trial_id)
        return own or self.details.curves.get(trial_id, ())
