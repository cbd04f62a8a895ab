"""Collects what `fts status` and the first lines of every screen show: verdict, forecast, what happened meanwhile."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.status import drain, formatting
from fts.jobs.status.absence import Away, Timeline, away, timeline
from fts.jobs.status.concern import Word
from fts.jobs.status.conditions import is_live
from fts.jobs.status.forecast import Forecast, forecast, slip
from fts.jobs.status.log_excerpt import is_lost
from fts.jobs.status.surface import Surface, command
from fts.jobs.status.verdict import STALE_S, Verdict, judge, seen_at
from fts.state.values import Event, Job, JobStatus, Snapshot

if TYPE_CHECKING:  # only a full disk needs it
    from collections.abc import Callable, Mapping, Sequence

    from fts.jobs.status.disk_usage import Kept


@dataclass(frozen=True)
class Glance:
    """The status at one moment."""

    snapshot: Snapshot
    now: float  # the moment that is shown; for old data the time of the last good read
    title: str  # spark · patchtst-a20
    verdict: Verdict
    forecast: Forecast
    away: Away | None
    events: tuple[Event, ...]  # events since the user left
    read_age_s: float  # infinite: nothing was read yet
    mode: str = ""  # REPLAY 03:12, READ ONLY, QUEUE PAUSED ...: shown next to the age
    locked_by: str | None = None  # process whose lock keeps a silent worker from writing
    every_s: float = 1.0  # interval of reads of the database
    checked: bool = True  # the latest read succeeded, and the open file is the one at the path
    drain: str = ""  # DRAINING 08:41: shown next to the age, too
    surface: Surface = Surface.MONITOR  # where the text is shown

    @property
    def fresh(self) -> str:
        """The age of the data: `live 1 s`, or `stale 40 s`."""
        if self.mode.startswith("REPLAY"):
            return self.mode
        if math.isinf(self.read_age_s):
            return "not read"
        if self.is_missing:
            return "no database"
        return f"stale {max(self.read_age_s, 1.0):.0f} s" if self.is_stale else f"live {self.every_s:.0f} s"

    @property
    def is_missing(self) -> bool:
        """Whether there is no database file."""
        return not self.snapshot.schema and not math.isinf(self.read_age_s)

    @property
    def is_stale(self) -> bool:
        """Whether the data may have changed since: it is old, or the latest read failed."""
        return not self.mode.startswith("REPLAY") and (not self.checked or self.read_age_s >= STALE_S)

    @property
    def is_blind(self) -> bool:
        """Whether the data is too old to make any promise from it."""
        return self.verdict.word is Word.BLIND and self.is_stale

    @property
    def clock(self) -> float:
        """The present time in seconds since the epoch."""
        return self.now + self.read_age_s if self.is_stale and not math.isinf(self.read_age_s) else self.now

    def lost(self, job: Job) -> str:
        """Returns `worker silent, free in 15s` for a running job without a live worker; empty if it is not lost."""
        if job.status is not JobStatus.RUNNING or self.locked_by or not is_lost(job, self.snapshot, self.now):
            return ""
        how = self._how_lost(job)
        if how == DIED:  # a worker of its machine, which is this one, takes the job at once
            return f"{how}, free here now"
        if job.lease_until is None or job.lease_until <= self.now:
            return how
        if self.is_blind:  # no countdown on old data
            return f"{how}, free at {formatting.seconds_clock(job.lease_until)}"
        return f"{how}, free in {formatting.left(job.lease_until - self.now)}"

    def seconds_left(self, job: Job) -> float | None:
        """Returns the seconds until the job ends; None if unknown, if it will not run, or if it is lost."""
        return None if self.lost(job) else self.forecast.seconds_left.get(job.id)

    def _how_lost(self, job: Job) -> str:
        worker = next((worker for worker in self.snapshot.workers if worker.id == job.worker_id), None)
        return "worker lost" if worker is None else DIED if worker.gone else "worker silent"

    @property
    def has_worker(self) -> bool:
        """Whether a worker is alive; if not, forecasts assume that one starts now."""
        return any(is_live(worker, self.now) for worker in self.snapshot.workers)

    @property
    def will_go_on(self) -> bool:
        """Whether live workers will do all that is left; if they leave before, forecasts assume that one continues."""
        return drain.will_go_on(self.snapshot, self.now)


def look(
    snapshot: Snapshot,
    now: float,
    *,
    since: float | None = None,
    title: str = "",
    read_age_s: float = 0.0,
    problem: str | None = None,
    events: Sequence[Event] | None = None,
    counted: tuple[float, Mapping[str, int]] | None = None,
    mode: str = "",
    kept: Kept | None = None,
    locked_by: str | None = None,
    every_s: float = 1.0,
    checked: bool = True,
    surface: Surface = Surface.MONITOR,
    foresee: Callable[[Snapshot, float], Forecast] = forecast,
) -> Glance:
    """Returns the status at `now`. The absence begins at `since` (default: the user's last key press).

    `events` are the events of the absence. `counted` is a time, and how many events of each kind there are since then.
    `kept` is the size of the checkpoints, if the disk is full (disk_usage);
    `locked_by` names the process that keeps a silent worker from writing (fts.state.holder). `foresee` computes the
    forecast; a caller that runs each second may pass a cached one.
    """
    began = snapshot.last_key_at if since is None else since
    present, now = now, seen_at(now, read_age_s)
    journal = tuple(snapshot.events if events is None else events)
    verdict = judge(
        snapshot, present, read_age_s=read_age_s, problem=problem, kept=kept, locked_by=locked_by, surface=surface
    )
    counts = counted[1] if counted is not None and counted[0] == began else None
    absence = away(snapshot, now, began, journal, counts)
    eta = foresee(snapshot, now)
    mode = mode or ("QUEUE PAUSED" if snapshot.queue_paused else "")
    leaving = drain.header(snapshot, eta.seconds_left, now)
    return Glance(
        snapshot, now, title, verdict, eta, absence, journal, read_age_s, mode, locked_by, every_s, checked,
        leaving, surface,
    )  # fmt: skip


def as_dict(glance: Glance) -> dict[str, Any]:
    """Converts the status to the JSON of `fts status --json`."""
    away_, eta = glance.away, glance.forecast
    return {
        "verdict": str(glance.verdict.word),
        "reason": glance.verdict.reason,
        "key": glance.verdict.key,
        "decisions": [
            {
                "verdict": str(c.word),
                "reason": c.reason,
                "key": c.key,
                "command": None if c.key is None else command(c.key, c.job_id),
                "job": c.job_id,
            }
            for c in glance.verdict.concerns
        ],
        "mode": glance.mode,
        "draining": [
            {"worker": worker.id, "asked": worker.asked, "by": None if asked is None else asked.who}
            for worker in drain.draining(glance.snapshot)
            for asked in (drain.asked_by(glance.snapshot, worker),)
        ],
        "finish": {
            "at": eta.finish_at,
            "low": eta.low,
            "high": eta.high,
            "held": eta.held,
            "judged": eta.judged,
            "has_worker": glance.has_worker,
            "will_go_on": glance.will_go_on,
            "queue_paused": glance.snapshot.queue_paused,
        },
        "acknowledged": _acknowledged(glance),
        "away": None
        if away_ is None
        else {
            "since": away_.since,
            "seconds": away_.seconds,
            "done": away_.done,
            "trials": away_.trials,
            "trials_failed": away_.trials_failed,
            "failed": away_.failed,
            "lost": away_.lost,
            "guard_pauses": away_.guard_pauses,
            "guard_seconds": away_.guard_seconds,
            "best_before": away_.best_before,
            "best_after": away_.best_after,
            "best_cell": away_.best_cell,
            "joined": away_.joined,
            "night": timeline_of(glance, 60).cells,
        },
        "read_age_s": glance.read_age_s,
    }


def _acknowledged(glance: Glance) -> dict[str, Any] | None:
    """Returns the finish that the user last acknowledged, and the slip of the same work since."""
    then = glance.snapshot.seen
    if then is None:
        return None
    found = slip(glance.snapshot, glance.now)
    return {"at": then.taken_at, "finish_at": then.finish_at, "slipped": None if found is None else found.part}


LEAST_STRIP_S = 60.0
DIED = "worker died"


def _recent(glance: Glance) -> float:
    """Returns the later of 10 hours ago and the study's begin (its first event, else its first job)."""
    begun = min((job.created_at for job in glance.snapshot.jobs), default=0.0)
    if glance.events and glance.events[0].id == 1:
        begun = glance.events[0].at
    return min(max(glance.now - 10 * formatting.HOUR, begun), glance.now - LEAST_STRIP_S)


def timeline_start(glance: Glance) -> float:
    """Returns when the timeline begins: when the user left, else `_recent`."""
    return glance.away.since if glance.away else _recent(glance)


def timeline_of(glance: Glance, cells: int) -> Timeline:
    """Returns the timeline from `timeline_start` until now."""
    return timeline(glance.snapshot, timeline_start(glance), glance.now, max(cells, 2), glance.events)
