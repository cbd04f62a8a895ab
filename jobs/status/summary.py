"""The first look of every screen and the whole of `fts status`: do I have to act, when is it done, what happened?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.status import drain, formatting
from fts.jobs.status.absence import Away, Timeline, away, night
from fts.jobs.status.concern import Word
from fts.jobs.status.conditions import is_live
from fts.jobs.status.forecast import Forecast, forecast, slip
from fts.jobs.status.log_excerpt import is_lost
from fts.jobs.status.surface import Surface, command
from fts.jobs.status.verdict import STALE_S, Verdict, judge, seen_at
from fts.state.values import Event, Job, JobStatus, Snapshot

if TYPE_CHECKING:  # only a full disk needs it
    from collections.abc import Callable, Sequence

    from fts.jobs.status.disk_usage import Kept


@dataclass(frozen=True)
class Glance:
    """Everything the first lines say, at one moment."""

    snapshot: Snapshot
    now: float  # the moment that is shown: with old data that of the last good read
    title: str  # spark · patchtst-a20
    verdict: Verdict
    forecast: Forecast
    away: Away | None
    events: tuple[Event, ...]  # of the absence
    read_age_s: float  # infinite: nothing was read yet
    mode: str = ""  # REPLAY 03:12, READ ONLY, QUEUE PAUSED ...: shown beside the freshness
    locked_by: str | None = None  # who keeps a silent worker from writing
    every_s: float = 1.0  # how often the database is looked at
    checked: bool = True  # the latest look succeeded, and what is open is what lies at the path
    drain: str = ""  # DRAINING 08:41: shown beside the freshness, too
    surface: Surface = Surface.MONITOR  # where it is read

    @property
    def fresh(self) -> str:
        """`live 1 s`, or `stale 40 s`."""
        if self.mode.startswith("REPLAY"):
            return self.mode
        if math.isinf(self.read_age_s):
            return "not read"
        if self.is_missing:
            return "no database"
        return f"stale {max(self.read_age_s, 1.0):.0f} s" if self.is_stale else f"live {self.every_s:.0f} s"

    @property
    def is_missing(self) -> bool:
        """Whether there is no file to read: nothing is live, and nobody was away from it."""
        return not self.snapshot.schema and not math.isinf(self.read_age_s)

    @property
    def is_stale(self) -> bool:
        """Whether what is shown may have changed meanwhile; a look that failed proves nothing, however recent."""
        return not self.mode.startswith("REPLAY") and (not self.checked or self.read_age_s >= STALE_S)

    @property
    def is_blind(self) -> bool:
        """What is shown may be over: nothing is promised from it."""
        return self.verdict.word is Word.BLIND and self.is_stale

    @property
    def clock(self) -> float:
        """The reader's present, in seconds since the epoch."""
        return self.now + self.read_age_s if self.is_stale and not math.isinf(self.read_age_s) else self.now

    def lost(self, job: Job) -> str:
        """`worker silent, free in 15s` of a running job whose worker is silent; empty: it is not lost."""
        if job.status is not JobStatus.RUNNING or self.locked_by or not is_lost(job, self.snapshot, self.now):
            return ""
        how = self._how_lost(job)
        if job.lease_until is None or job.lease_until <= self.now:
            return how
        if self.is_blind:  # nothing counts down on old data
            return f"{how}, free at {formatting.seconds_clock(job.lease_until)}"
        return f"{how}, free in {formatting.left(job.lease_until - self.now)}"

    def seconds_left(self, job: Job) -> float | None:
        """Until the job ends; None: unknown, not going to run, or lost, because nobody works on it."""
        return None if self.lost(job) else self.forecast.seconds_left.get(job.id)

    def _how_lost(self, job: Job) -> str:
        worker = next((worker for worker in self.snapshot.workers if worker.id == job.worker_id), None)
        return "worker lost" if worker is None else "worker died" if worker.gone else "worker silent"

    @property
    def has_worker(self) -> bool:
        """Somebody works; else every time of an end is one for a worker started now."""
        return any(is_live(worker, self.now) for worker in self.snapshot.workers)


def look(
    snapshot: Snapshot,
    now: float,
    *,
    since: float | None = None,
    title: str = "",
    read_age_s: float = 0.0,
    problem: str | None = None,
    events: Sequence[Event] | None = None,
    mode: str = "",
    kept: Kept | None = None,
    locked_by: str | None = None,
    every_s: float = 1.0,
    checked: bool = True,
    surface: Surface = Surface.MONITOR,
    foresee: Callable[[Snapshot, float], Forecast] = forecast,
) -> Glance:
    """The glance at `now`; `since` (default: the user's last key press) begins the absence, `events` covers it.

    `kept` is what the checkpoints weigh, where the disk is full (disk_usage); `locked_by` names who keeps a silent
    worker from writing (fts.state.holder). `checked`: the latest look, one every `every_s`, proved what is shown.
    `surface` is where the sentences are read; `foresee` gives the forecast, which whoever looks each second may keep.
    """
    began = snapshot.last_key_at if since is None else since
    present, now = now, seen_at(now, read_age_s)
    journal = tuple(snapshot.events if events is None else events)
    verdict = judge(
        snapshot, present, read_age_s=read_age_s, problem=problem, kept=kept, locked_by=locked_by, surface=surface
    )
    absence = away(snapshot, now, began, journal)
    eta = foresee(snapshot, now)
    mode = mode or ("QUEUE PAUSED" if snapshot.queue_paused else "")
    leaving = drain.header(snapshot, eta.seconds_left, now)
    return Glance(
        snapshot, now, title, verdict, eta, absence, journal, read_age_s, mode, locked_by, every_s, checked,
        leaving, surface,
    )  # fmt: skip


def as_dict(glance: Glance) -> dict[str, Any]:
    """The same facts for `fts status --json`."""
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
            "night": night_of(glance, 60).cells,
        },
        "read_age_s": glance.read_age_s,
    }


def _acknowledged(glance: Glance) -> dict[str, Any] | None:
    """The finish this person was told when they last acknowledged, and how far the same work has slipped since."""
    then = glance.snapshot.seen
    if then is None:
        return None
    found = slip(glance.snapshot, glance.now)
    return {"at": then.taken_at, "finish_at": then.finish_at, "slipped": None if found is None else found.part}


LEAST_STRIP_S = 60.0


def _recent(glance: Glance) -> float:
    """Ten hours ago, or when the study began, if that is later: with its first event, else with its first job."""
    begun = min((job.created_at for job in glance.snapshot.jobs), default=0.0)
    if glance.events and glance.events[0].id == 1:
        begun = glance.events[0].at
    return min(max(glance.now - 10 * formatting.HOUR, begun), glance.now - LEAST_STRIP_S)


def night_start(glance: Glance) -> float:
    """Where the strip begins: with the absence; when nobody was away 10 hours ago, or with the study's first event."""
    return glance.away.since if glance.away else _recent(glance)


def night_of(glance: Glance, cells: int) -> Timeline:
    """The strip from there until now."""
    return night(glance.snapshot, night_start(glance), glance.now, max(cells, 2), glance.events)
