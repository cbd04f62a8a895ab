"""Says when a worker that was asked to leave will be gone."""

from __future__ import annotations

from collections.abc import Mapping

from state.values import Job, JobStatus, Snapshot, Trial, TrialStatus, Worker

ORDERS = ("drain_trial", "drain_job")


def drained_at(snapshot: Snapshot, seconds_left: Mapping[int, float]) -> float | None:
    """The latest end of what the draining workers still do, seconds since the epoch; None: it cannot be said.

    `seconds_left` is the forecast of each job, for workers that finish theirs.
    """
    ends = []
    for worker in draining(snapshot):
        for job in (job for job in snapshot.jobs if job.status is JobStatus.RUNNING and job.worker_id == worker.id):
            end = _end(snapshot, worker, job, seconds_left)
            if end is None:
                return None
            ends.append(end)
    return max(ends, default=None)


def draining(snapshot: Snapshot) -> list[Worker]:
    return [worker for worker in snapshot.workers if worker.status == "running" and worker.asked in ORDERS]


def _end(snapshot: Snapshot, worker: Worker, job: Job, seconds_left: Mapping[int, float]) -> float | None:
    if worker.asked == "drain_job":
        left = seconds_left.get(job.id)
        return None if left is None else snapshot.taken_at + left
    running = (t for t in snapshot.trials if t.job_id == job.id and t.status is TrialStatus.RUNNING)
    trial = next(running, None)
    return None if trial is None else latest_end(snapshot, trial)


def latest_end(snapshot: Snapshot, trial: Trial) -> float | None:
    """When a running trial has had all its epochs, seconds since the epoch; early stopping may come before."""
    job = next((job for job in snapshot.jobs if job.id == trial.job_id), None)
    seconds = [epoch.seconds for epoch in snapshot.epochs if epoch.trial_id == trial.id and epoch.seconds > 0]
    epochs = job.spec.get("epochs") if job else None
    if not seconds or not isinstance(epochs, int):
        return None
    return snapshot.taken_at + max(0, epochs - trial.epochs) * sum(seconds) / len(seconds)
