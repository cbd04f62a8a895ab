"""How long a trial took, one rule for what a table shows and what it sorts by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.state.values import Job, Trial, TrialStatus

if TYPE_CHECKING:
    from fts.tui.data.view import View


def seconds_of(view: View, job: Job | None, trial: Trial) -> float:
    """What it took: its training; of one that does not tell, the time of its processes; else its whole time."""
    at_once = job is not None and job.kind == "baseline"  # it is fitted at once, without epochs
    untold = not trial.train_seconds and (trial.epochs > 0 or trial.value is not None)
    if untold and (known := view.details.worked.get(trial.id)) is not None:
        seconds, began = known
        return seconds + (max(seen_until(view, job) - began, 0.0) if began is not None else 0.0)
    if trial.ended_at is not None and (at_once or untold):
        return trial.ended_at - trial.started_at
    running = untold and trial.status is TrialStatus.RUNNING
    return max(seen_until(view, job) - trial.started_at, 0.0) if running else trial.train_seconds


def seen_until(view: View, job: Job | None) -> float:
    """Until when a running job is known to have run: now, or the last heartbeat of a worker that is silent or dead."""
    if job is None or not view.glance.lost(job):
        return view.now
    worker = next((worker for worker in view.snapshot.workers if worker.id == job.worker_id), None)
    return view.now if worker is None else min(worker.heartbeat_at, view.now)
