"""Computes the Prometheus metrics of a study from the status that `fts status` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts import __version__
from fts.jobs.metrics.exposition import Family
from fts.jobs.status import naming
from fts.jobs.status.concern import Word
from fts.jobs.status.conditions import is_live
from fts.state.values import Job, JobStatus, NodeState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.jobs.status.summary import Glance


def unreadable() -> list[Family]:
    """Returns the metrics for a database that cannot be read."""
    up = _up()
    up.add(0)
    return [_info(), up]


def families(glance: Glance) -> list[Family]:
    up = _up()
    up.add(1)
    return [_info(), up, *_study(glance), *_cells(glance), *_trials(glance), *_workers(glance), *_nodes(glance)]


def _info() -> Family:
    info = Family("fts_info", "Version of fts.")
    info.add(1, version=__version__)
    return info


def _up() -> Family:
    return Family("fts_up", "1: the database can be read.")


def _study(glance: Glance) -> list[Family]:
    snapshot = glance.snapshot
    verdict = Family("fts_verdict", "1 for the verdict of fts status.")
    decisions = Family("fts_decisions", "Decisions that a person must take.")
    jobs = Family("fts_jobs", "Jobs by state.")
    paused = Family("fts_queue_paused", "1: no new job starts.")
    finish = Family(
        "fts_finish_timestamp_seconds",
        "When the queue will be done, with the 80 % interval; absent while it is paused or no worker stays.",
    )
    bad = Family("fts_unreadable_rows", "Rows that cannot be read; fts doctor says what to do.")
    for word in Word:
        verdict.add(word is glance.verdict.word, word=word)
    decisions.add(glance.verdict.decisions)
    for status in JobStatus:
        jobs.add(sum(job.status is status for job in snapshot.jobs), state=status)
    paused.add(snapshot.queue_paused)
    eta = glance.forecast
    goes_on = _moves(glance, snapshot.jobs) and glance.will_go_on
    for bound, at in (("low", eta.low), ("middle", eta.finish_at), ("high", eta.high)):
        finish.add(at if goes_on else None, bound=bound)
    bad.add(len(snapshot.unreadable))
    return [verdict, decisions, jobs, paused, finish, bad]


def _moves(glance: Glance, jobs: Sequence[Job]) -> bool:
    """Returns whether the work of these jobs goes on now; without that, its end moves with the clock."""
    waits = glance.snapshot.queue_paused and any(job.status is JobStatus.QUEUED for job in jobs)
    return glance.has_worker and not waits


def _cells(glance: Glance) -> list[Family]:
    names = naming.names_of(glance.snapshot.jobs)
    trials = Family("fts_cell_trials", "Ended trials of a cell by state.")
    wanted = Family("fts_cell_trials_wanted", "Number of trials that a cell will have.")
    best = Family("fts_cell_best_value", "Best value of a cell so far; the label direction says which way is better.")
    left = Family("fts_cell_seconds_left", "Seconds until the cell is done; absent while nothing works on it.")
    for job in glance.snapshot.jobs:
        of_cell = _of(job, names[job.id])
        trials.add(job.trials_complete, **of_cell, state="complete")
        trials.add(job.trials_pruned, **of_cell, state="pruned")
        trials.add(job.trials_failed, **of_cell, state="failed")
        wanted.add(job.trials_wanted, **of_cell)
        best.add(job.best_value, **of_cell, metric=job.metric, direction=job.direction)
        left.add(glance.seconds_left(job) if _moves(glance, [job]) else None, **of_cell)
    return [trials, wanted, best, left]


def _of(job: Job, name: str) -> dict[str, object]:
    return {"study": job.study, "cell": name, "job": job.id}


def _trials(glance: Glance) -> list[Family]:
    names = naming.names_of(glance.snapshot.jobs)
    jobs = {job.id: job for job in glance.snapshot.jobs}
    began = Family("fts_trial_start_timestamp_seconds", "When a trial that has not ended began.")
    steps = Family("fts_trial_steps", "Reports of a trial that has not ended.")
    value = Family("fts_trial_value", "Latest value of the deciding metric of a trial that has not ended.")
    at = Family("fts_trial_report_timestamp_seconds", "When a trial that has not ended reported last.")
    for trial in glance.snapshot.trials:
        if trial.ended_at is not None or trial.job_id not in jobs:
            continue
        job = jobs[trial.job_id]
        labels = {**_of(job, names[job.id]), "trial": trial.number}
        began.add(trial.started_at, **labels)
        steps.add(trial.epochs, **labels)
        told = [epoch for epoch in glance.snapshot.epochs if epoch.trial_id == trial.id]
        if told:
            value.add(told[-1].value, **labels, metric=job.deciding_metric)
            at.add(told[-1].at, **labels)
    return [began, steps, value, at]


VITALS = (  # (field of a sample, name, help)
    ("trial_rss", "trial_memory_bytes", "Memory of the trials of a worker."),
    ("available", "memory_available_bytes", "Memory that is available on the machine of a worker."),
    ("total", "memory_bytes", "Memory of the machine of a worker."),
    ("swap_used", "swap_used_bytes", "Swap in use."),
    ("cpu_percent", "cpu_percent", "Use of the processor in percent."),
    ("temperature", "temperature_celsius", "Temperature of the hottest sensor."),
    ("gpu_percent", "gpu_percent", "Use of the GPU in percent."),
    ("gpu_memory", "gpu_memory_bytes", "GPU memory in use."),
    ("power_w", "power_watts", "Power in watts."),
    ("disk_free", "disk_free_bytes", "Free space on the disk of the outputs."),
    ("step_s", "step_seconds", "Seconds of the latest step of a trial."),
)


def _workers(glance: Glance) -> list[Family]:
    alive = Family("fts_worker_up", "1: the worker is alive.")
    beat = Family("fts_worker_heartbeat_timestamp_seconds", "Time of a worker's last heartbeat.")
    slots = Family("fts_worker_slots", "Trials that a worker runs at once.")
    guard = Family("fts_worker_guard", "1 for the state of the heat and memory guard of a live worker.")
    vitals = {field: Family(f"fts_worker_{name}", said) for field, name, said in VITALS}
    now = glance.now  # a dead worker's last sample tells nothing of its machine now
    samples = {sample.worker_id: sample for sample in glance.snapshot.samples}
    for worker in glance.snapshot.workers:
        if worker.status != "running":
            continue
        labels = {"worker": worker.id, "host": worker.host}
        alive.add(is_live(worker, now), **labels)
        beat.add(worker.heartbeat_at, **labels)
        slots.add(worker.slots, **labels)
        if not is_live(worker, now):
            continue
        guard.add(1, **labels, state=worker.guard)
        for field, family in vitals.items():
            family.add(getattr(samples[worker.id], field) if worker.id in samples else None, **labels)
    return [alive, beat, slots, guard, *vitals.values()]


def _nodes(glance: Glance) -> list[Family]:
    states = Family("fts_node_state", "1 for the state of a node, a machine that runs trials for a worker.")
    busy = Family("fts_node_trials", "Trials that run on a node.")
    slots = Family("fts_node_slots", "Trials that may run on a node at once.")
    for node in glance.snapshot.nodes:
        for state in NodeState:
            states.add(node.state is state, node=node.id, state=state)
        busy.add(node.busy, node=node.id)
        slots.add(node.slots, node=node.id)
    return [states, busy, slots]
