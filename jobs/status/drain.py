"""Says which workers were asked to stop, by whom, and when they will have stopped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fts.jobs.status import formatting
from fts.jobs.status.conditions import is_live, runnable, running, running_trials, step_seconds
from fts.state.values import Event, Job, JobStatus, Snapshot, Trial, Verb, Worker, WorkerOrder

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAVES = {
    WorkerOrder.DRAIN_JOB: "stops after its job",
    WorkerOrder.DRAIN_TRIAL: "stops after its trial",
    WorkerOrder.STOP: "stops at its next step, with a checkpoint",
}


def draining(snapshot: Snapshot) -> list[Worker]:
    """Returns the running workers that were asked to stop, by drain or stop."""
    return [w for w in snapshot.workers if w.status == "running" and not w.gone and w.asked in LEAVES]


def will_go_on(snapshot: Snapshot, now: float) -> bool:
    """Returns whether live workers will do all the work that is left, instead of leaving some of it behind."""
    live = [worker for worker in snapshot.workers if is_live(worker, now)]
    if any(worker.asked not in LEAVES for worker in live):
        return True
    if not live or runnable(snapshot):
        return False
    if all(worker.asked == WorkerOrder.DRAIN_JOB for worker in live):
        return True
    left = ((job.trials_wanted - job.trials_ended, len(running_trials(snapshot, job))) for job in running(snapshot))
    return all(trials <= begun for trials, begun in left) and all(w.asked != WorkerOrder.STOP for w in live)


def header(snapshot: Snapshot, seconds_left: Mapping[int, float], now: float) -> str:
    """Returns `DRAINING 08:41`, or `DRAINING 1 of 2 08:41` if other workers stay; empty if none was asked to stop."""
    crew = draining(snapshot)
    if not crew:
        return ""
    stay = sum(worker.status == "running" and not worker.gone and worker not in crew for worker in snapshot.workers)
    part = f" {len(crew)} of {len(crew) + stay}" if stay else ""
    if all(worker.asked == WorkerOrder.STOP for worker in crew):
        return f"DRAINING{part} now"
    end = drained_at(snapshot, seconds_left)
    return f"DRAINING{part}" + ("" if end is None else f" {formatting.when(end, now)}")


def sentence(snapshot: Snapshot, worker: Worker, now: float) -> str:
    """Returns `worker 2 stops after its trial, asked by you@spark at 08:14`."""
    text = f"worker {worker.id} {'stays' if worker.asked is None else LEAVES[worker.asked]}"
    event = asked_by(snapshot, worker)
    return text if event is None else f"{text}, asked by {event.who} at {formatting.when(event.at, now)}"


def asked_by(snapshot: Snapshot, worker: Worker) -> Event | None:
    """Returns the event of the worker's current request to stop; None if the journal begins later."""
    return None if worker.asked is None else _asked(snapshot, worker.id, worker.asked)


def _asked(snapshot: Snapshot, worker_id: int, order: str) -> Event | None:
    for event in reversed(snapshot.journal):
        if event.verb == Verb.WORKER_ASKED and event.data.get("asked") == order:
            asked = event.data.get("workers")
            if isinstance(asked, list) and worker_id in asked:
                return event
    return None


def how_it_left(snapshot: Snapshot, worker: Worker) -> str:
    """Says why a worker stopped: drained, stopped by Ctrl-C, by SIGTERM, by you@spark; or only `stopped`."""
    told = (e for e in reversed(snapshot.journal) if e.verb == Verb.WORKER_STOPPED and e.who == f"worker {worker.id}")
    event = next(told, None)
    order = worker.asked or (event.data.get("asked") if event is not None else None)
    if order is None:
        return "stopped"
    if order != WorkerOrder.STOP:
        return "drained"
    wish = _asked(snapshot, worker.id, WorkerOrder.STOP)
    if wish is None:
        return "stopped as requested"
    signal = SIGNAL.fullmatch(wish.who)
    return f"stopped by {wish.who if signal is None else SIGNALS.get(signal[1], signal[1])}"


SIGNAL = re.compile(r"(SIG[A-Z0-9]+) to process \d+")  # as the worker records a signal
SIGNALS = {"SIGINT": "Ctrl-C", "SIGHUP": "the end of its terminal"}  # other signals keep their names


def drained_at(snapshot: Snapshot, seconds_left: Mapping[int, float]) -> float | None:
    """Returns when the last draining worker will stop, in seconds since the epoch; None if unknown.

    `seconds_left` is the forecast by job id, for workers that finish their job first.
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
    if worker.asked == WorkerOrder.STOP:
        return snapshot.taken_at
    if worker.asked == WorkerOrder.DRAIN_JOB:
        left = seconds_left.get(job.id)
        return None if left is None else snapshot.taken_at + left
    ends = [latest_end(snapshot, trial) for trial in running_trials(snapshot, job)]
    known = [end for end in ends if end is not None]
    return max(known) if known and len(known) == len(ends) else None


def latest_end(snapshot: Snapshot, trial: Trial) -> float | None:
    """Returns when a running trial will have run all its epochs, in seconds since the epoch; it may stop earlier."""
    job = next((job for job in snapshot.jobs if job.id == trial.job_id), None)
    seconds = step_seconds(trial, [epoch for epoch in snapshot.epochs if epoch.trial_id == trial.id])
    if not seconds or job is None or job.steps is None:
        return None
    usual = sorted(seconds)[len(seconds) // 2]  # median: one may include an interruption
    return snapshot.taken_at + max(0, job.steps - trial.epochs) * usual
