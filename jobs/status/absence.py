"""Counts what happened since the user last pressed a key, and draws that time as a strip of one character per slice."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.status import event_groups, naming
from fts.jobs.status.conditions import is_live
from fts.jobs.status.declared import metric_word
from fts.jobs.status.gaps import gaps
from fts.state.values import Event, Job, JobStatus, Snapshot, Verb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Away:
    """What happened while the user was away, in numbers."""

    since: float  # seconds since the epoch
    seconds: float
    done: int  # cells
    trials: int
    failed: int  # cells
    lost: int  # claims lost with their worker
    guard_pauses: int
    guard_seconds: float
    guard_reason: str | None
    best_before: float | None
    best_after: float | None
    best_cell: str | None
    metric: str  # label of the metric of best_before and best_after; `front` if all jobs have several goals
    joined: int = 0  # trials that joined a Pareto front
    trials_failed: int = 0  # how many of `trials` failed


@dataclass(frozen=True)
class Timeline:
    """The strip: `cells` has one character per slice, `labels` the cell names that start in a slice."""

    start: float
    end: float
    cells: str
    labels: tuple[tuple[int, str], ...]


TRAINING, IDLE, GUARD, FAILED, RESTART, NOW = "█", "·", "‖", "✗", "↻", "►"


def away(
    snapshot: Snapshot,
    now: float,
    since: float | None,
    events: Sequence[Event] | None = None,
    counts: Mapping[str, int] | None = None,
) -> Away | None:
    """Returns what happened between `since` and `now`; None if the user was never here before.

    `events` are those of that time, by default the snapshot's 200 latest. `counts` has how many there are of each
    kind, if `events` may not reach back that far.
    """
    if since is None:
        return None
    journal = snapshot.events if events is None else events
    fresh = [event for event in journal if event.at > since]
    pauses, paused_s, reason = _guard(fresh, now)
    before, after, best_job = _best(fresh)
    counts = Counter(event.verb for event in fresh) if counts is None else counts
    cell = None if best_job is None else naming.names_of(snapshot.jobs).get(best_job)
    return Away(
        since=since,
        seconds=now - since,
        done=sum(counts.get(verb, 0) for verb in event_groups.FINISHED),
        trials=sum(counts.get(verb, 0) for verb in event_groups.TRIAL_ENDED),
        failed=sum(counts.get(verb, 0) for verb in event_groups.FAILED),
        lost=sum(counts.get(verb, 0) for verb in event_groups.WORKER_LOST),
        guard_pauses=pauses,
        guard_seconds=paused_s,
        guard_reason=reason,
        best_before=before,
        best_after=after,
        best_cell=cell,
        metric=_metric(snapshot, best_job),
        trials_failed=counts.get(Verb.TRIAL_FAILED, 0),
        joined=sum(event.verb in event_groups.NEW_BEST and "front" in event.data for event in fresh),
    )


def timeline(
    snapshot: Snapshot, start: float, now: float, cells: int, events: Sequence[Event] | None = None
) -> Timeline:
    """Divides [start, now] into `cells` slices and shows the worst that happened in each; the last slice is NOW.

    A slice is TRAINING if any job ran in it. Running times come from the journal, or from the jobs' own times if the
    journal begins later.
    """
    journal = [event for event in (snapshot.events if events is None else events) if start < event.at <= now]
    slice_s = max((now - start) / max(cells - 1, 1), 1e-9)
    marks = [IDLE] * cells
    for began, ended in _running_spells(snapshot, journal, start, now):
        for n in range(_slice(began, start, slice_s, cells), _slice(ended, start, slice_s, cells) + 1):
            marks[n] = TRAINING
    for gap in gaps(snapshot):
        for n in range(_slice(gap.start, start, slice_s, cells) + 1, _slice(gap.end, start, slice_s, cells)):
            marks[n] = IDLE
    for began, ended in _guard_spells(journal, now):
        for n in range(_slice(began, start, slice_s, cells), _slice(ended, start, slice_s, cells) + 1):
            marks[n] = GUARD
    restarts = event_groups.WORKER_LOST | event_groups.TRIAL_RESTARTED
    for event in journal:
        sign = RESTART if event.verb in restarts else FAILED if event.verb in event_groups.FAILED else None
        if sign:
            marks[_slice(event.at, start, slice_s, cells)] = sign
    marks[-1] = NOW
    return Timeline(start, now, "".join(marks), tuple(_labels(snapshot.jobs, journal, start, slice_s, cells)))


def _slice(at: float, start: float, slice_s: float, cells: int) -> int:
    return min(max(int((at - start) / slice_s), 0), cells - 1)


def _running_spells(
    snapshot: Snapshot, journal: Sequence[Event], start: float, now: float
) -> list[tuple[float, float]]:
    spells = []
    stops = event_groups.FINISHED | event_groups.FAILED | event_groups.RELEASED
    told: dict[int | None, list[Event]] = {}
    for event in journal:
        if event.verb in event_groups.CLAIMED or event.verb in stops:
            told.setdefault(event.job_id, []).append(event)
    for job in snapshot.jobs:
        if job.id not in told and job.status is not JobStatus.RUNNING:
            continue
        own = told.get(job.id, [])
        began = start if _ran_at(job, own, start) else None
        for event in own:
            if event.verb in event_groups.CLAIMED:
                began = event.at
            elif began is not None:
                spells.append((began, event.at))
                began = None
        if began is not None and job.status is JobStatus.RUNNING:
            ended = _last_sign(job, snapshot, now)
            spells += [(began, ended)] if ended > began else []
    return spells


def _last_sign(job: Job, snapshot: Snapshot, now: float) -> float:
    """Returns until when a running job surely ran: the last heartbeat of its worker if that is silent, else now."""
    worker = next((worker for worker in snapshot.workers if worker.id == job.worker_id), None)
    return now if worker is None or is_live(worker, now) else min(worker.heartbeat_at, now)


def _ran_at(job: Job, own: Sequence[Event], start: float) -> bool:
    """Returns whether the job was already running at `start`."""
    if job.started_at is None or job.started_at > start:
        return False
    if own:
        return own[0].verb not in event_groups.CLAIMED
    return job.status is JobStatus.RUNNING


def _guard_spells(journal: Sequence[Event], now: float) -> list[tuple[float, float]]:
    """Returns the times in which the guard of any worker paused it; pauses of several at once are one."""
    spells: list[tuple[float, float]] = []
    paused: set[object] = set()  # workers; an event of an older journal names none
    began = now
    for event in journal:
        worker = event.data.get("worker_id")
        if event_groups.is_guard_on(event):
            began = began if paused else event.at
            paused.add(worker)
        elif worker in paused and (event_groups.is_guard_off(event) or event.verb in event_groups.WORKER_GONE):
            paused.remove(worker)
            if not paused:
                spells.append((began, event.at))
    if paused:
        spells.append((began, now))
    return spells


def _guard(fresh: Sequence[Event], now: float) -> tuple[int, float, str | None]:
    spells = _guard_spells(fresh, now)
    reason = next((event.message for event in reversed(fresh) if event_groups.is_guard_on(event)), None)
    return len(spells), sum(ended - began for began, ended in spells), reason


def _labels(
    jobs: Sequence[Job], journal: Sequence[Event], start: float, slice_s: float, cells: int
) -> list[tuple[int, str]]:
    names = naming.names_of(jobs)
    return [
        (_slice(event.at, start, slice_s, cells), names[event.job_id])
        for event in journal
        if event.verb in event_groups.CLAIMED and event.job_id in names
    ]


def _metric(snapshot: Snapshot, job_id: int | None) -> str:
    """Returns the metric label of the job that improved, else that of the first job with one goal."""
    improved = next((job for job in snapshot.jobs if job.id == job_id), None)
    job = improved or next((job for job in snapshot.jobs if len(job.goals) < 2), None)
    if job is None:
        return "front" if snapshot.jobs else "best"
    return metric_word(snapshot, job)


def _best(fresh: Sequence[Event]) -> tuple[float | None, float | None, int | None]:
    """Returns (best before, best after, job id) of the job that improved last; three times None if none did."""
    found = [e for e in fresh if e.verb in event_groups.NEW_BEST and "front" not in e.data]  # jobs with one goal
    gains = [event for event in found if isinstance(event.data.get("value"), int | float)]
    if not gains:
        return None, None, None
    last = gains[-1]
    first = next(event for event in gains if event.job_id == last.job_id)
    before = first.data.get("before")
    return (
        float(before) if isinstance(before, int | float) else None,
        float(last.data["value"]),
        last.job_id,
    )
