"""Says which workers were asked to leave, by whom, and when they will be gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.status import formatting
from fts.jobs.status.conditions import step_seconds
from fts.state.values import Event, Job, JobStatus, Snapshot, Trial, TrialStatus, Verb, Worker

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAVES = {
    "drain_job": "stops after its job",
    "drain_trial": "stops after its trial",
    "stop": "stops at its next step, with a checkpoint",
}


def draining(snapshot: Snapshot) -> list[Worker]:
    """The workers that still run and were asked to leave, however they were asked."""
    return [w for w in snapshot.workers if w.status == "running" and not w.gone and w.asked in LEAVES]


def header(snapshot: Snapshot, seconds_left: Mapping[int, float], now: float) -> str:
    """`DRAINING 08:41`; `DRAINING 1 of 2` while another worker stays; empty: no worker was asked to leave."""
    crew = draining(snapshot)
    if not crew:
        return ""
    stay = sum(worker.status == "running" and not worker.gone and worker not in crew for worker in snapshot.workers)
    part = f" {len(crew)} of {len(crew) + stay}" if stay else ""
    if all(worker.asked == "stop" for worker in crew):
        return f"DRAINING{part} now"
    end = drained_at(snapshot, seconds_left)
    return f"DRAINING{part}" + ("" if end is None else f" {formatting.when(end, now)}")


def sentence(snapshot: Snapshot, worker: Worker, now: float) -> str:
    """`worker 2 stops after its trial, asked by you@spark at 08:14`."""
    told = f"worker {worker.id} {LEAVES.get(worker.asked or '', 'stays')}"
    event = asked_by(snapshot, worker)
    return told if event is None else f"{told}, asked by {event.who} at {formatting.when(event.at, now)}"


def asked_by(snapshot: Snapshot, worker: Worker) -> Event | None:
    """The event that tells who asked a worker for what it is asked now; None where the journal begins later."""
    for event in reversed(snapshot.events):
        if event.verb == Verb.WORKER_ASKED and event.data.get("asked") == worker.asked:
            asked = event.data.get("workers")
            if isinstance(asked, list) and worker.id in asked:
                return event
    return None


def left_as_asked(snapshot: Snapshot, worker: Worker) -> bool:
    """Whether a worker that has stopped was asked to."""
    told = (e for e in reversed(snapshot.events) if e.verb == Verb.WORKER_STOPPED and e.who == f"worker {worker.id}")
    event = next(told, None)
    return worker.asked is not None or (event is not None and event.data.get("asked") is not None)


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


def _end(snapshot: Snapshot, worker: Worker, job: Job, seconds_left: Mapping[int, float]) -> float | None:
    if worker.asked == "stop":
        return snapshot.taken_at
    if worker.asked == "drain_job":
        left = seconds_left.get(job.id)
        return None if left is None else snapshot.taken_at + left
    running = (t for t in snapshot.trials if t.job_id == job.id and t.status is TrialStatus.RUNNING)
    trial = next(running, None)
    return None if trial is None else latest_end(snapshot, trial)


def latest_end(snapshot: Snapshot, trial: Trial) -> float | None:
    """When a running trial has had all its epochs, seconds since the epoch; early stopping may come before."""
    job = next((job for job in snapshot.jobs if job.id == trial.job_id), None)
    seconds = step_seconds(trial, [epoch for epoch in snapshot.epochs if epoch.trial_id == trial.id])
    if not seconds or job is None or job.steps is None:
        return None
    return snapshot.taken_at + max(0, job.steps - trial.epochs) * sum(seconds) / len(seconds)
