"""Computes how long a trial took; tables show and sort by the same number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.state.values import Job, Trial, TrialStatus

if TYPE_CHECKING:
    from fts.tui.data.view import View


def seconds_of(view: View, job: Job | None, trial: Trial) -> float:
    """Returns the seconds that a trial took: its training time if reported, else the time of its processes, else from
    start to end."""
    at_once = job is not None and job.kind == "baseline"  # it is fitted at once, without epochs
    unreported = not trial.train_seconds and (trial.epochs > 0 or trial.value is not None)
    if unreported and (known := view.details.worked.get(trial.id)) is not None:
        seconds, began = known
        return seconds + (max(seen_until(view, job) - began, 0.0) if began is not None else 0.0)
    if trial.ended_at is not None and (at_once or unreported):
        return trial.ended_at - trial.started_at
    running = unreported and trial.status is TrialStatus.RUNNING
    return max(seen_until(view, job) - trial.started_at, 0.0) if running else trial.train_seconds


def seen_until(view: View, job: Job | None) -> float:
    """Returns until when a running job is known to have run: now, or the last heartbeat of a silent or dead worker."""
    if job is None or not view.glance.lost(job):
        return view.now
    worker = next((worker for worker in view.snapshot.workers if worker.id == job.worker_id), None)
    return view.now if worker is None else min(worker.heartbeat_at, view.now)
