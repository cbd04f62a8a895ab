"""Snapshots built by hand for the pure parts: the picture of the specification, and pieces to vary it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

from fts.jobs.status.formatting import GB
from fts.state.daily_bars import DECLARATION, PATCHTST
from fts.state.values import (
    Cause,
    Direction,
    Epoch,
    Event,
    Job,
    JobStatus,
    Sample,
    Snapshot,
    StudyRecord,
    Trial,
    TrialStatus,
    Worker,
)

NOW = 1_784_794_440.0  # Thu 2026-07-23 08:14:00 UTC
HOUR = 3600.0
STUDIES = {PATCHTST: StudyRecord(PATCHTST, json.loads(DECLARATION), NOW)}


def make_job(
    id: int = 1, budget: str = "2M", horizon: int = 1, status: str = "queued", task: str = "threshold_1pct",
    tier: str = "a20", **changes: Any,
) -> Job:  # fmt: skip
    """A job as a read hands it back."""
    job = Job(
        id=id, experiment=f"phase6a_{budget}_h{horizon}_threshold_1pct", kind="cell", study="patchtst",
        cell=f"{budget}/h{horizon}", labels={"budget": budget, "horizon": horizon, "task": task, "tier": tier},
        metric="val_loss", direction=Direction.MINIMIZE, status=JobStatus(status), rank=float(id),
        hold_reason=None, asked=None,
        trials_wanted=50, trials_complete=0, trials_pruned=0, trials_failed=0, attempt=0, idle_attempts=0, token=0,
        lease_until=None, worker_id=None, cause=None, message=None, best_value=None, best_trial=None,
        spec={"objective": "val_auc", "epochs": 20}, created_at=NOW - 90 * HOUR, started_at=None, ended_at=None,
        acknowledged_at=None,
    )  # fmt: skip
    objective = changes.get("spec", job.spec).get("objective", "val_loss")
    direction = Direction.MAXIMIZE if objective == "val_auc" else Direction.MINIMIZE
    return replace(job, **{"metric": objective, "direction": direction} | changes)


def make_trial(id: int, job_id: int, number: int, status: str = "complete", **changes: Any) -> Trial:
    trial = Trial(
        id=id, job_id=job_id, number=number, status=TrialStatus(status),
        params={"learning_rate": 2.8e-4, "dropout": 0.12, "weight_decay": 1e-2, "warmup_steps": 200,
                "architecture": "d256-L8-h8-ff1024"},
        effective={}, effective_md5=f"{id:032x}", architecture="d256-L8-h8-ff1024", n_params=20_100_000,
        objective="val_auc", direction=Direction.MAXIMIZE, value=None, best_epoch=None, last_value=None,
        epochs=0, val_loss=None, val_auc=None,
        auc_low=None, auc_high=None, n_train=3000, n_val=442, n_pos=95, prior_loss=0.52, label_md5="ab" * 16,
        base_rate=0.215, data_md5="cd" * 16, code_commit="d14fcee", code_dirty=False, seed=1, torch_version="2.13.0",
        host="spark", device="cpu", threads=1, micro_batch=64, accumulation=4, recipe=None,
        predicted_bytes=2_000_000_000, peak_bytes=1_900_000_000, badges=(), reused_from=None, cause=None,
        message=None, log_path=None, started_at=NOW - HOUR, ended_at=None, train_seconds=1800.0,
    )  # fmt: skip
    if changes.get("objective") == "val_loss":
        changes = {"direction": Direction.MINIMIZE} | changes
    return replace(trial, **changes)


def make_epochs(trial_id: int, n: int, top: float, ended: float, seconds: float = 60.0) -> tuple[Epoch, ...]:
    """A curve that rises towards `top`; the last epoch was written at `ended`."""
    return tuple(
        Epoch(
            trial_id=trial_id, epoch=e, step=e * 400, train_loss=0.7 - 0.01 * e, val_loss=0.65 - 0.006 * e,
            train_auc=0.6, val_auc=top - 0.09 * math.exp(-e / 5), val_brier=0.2, pred_min=0.1, pred_max=0.8,
            pred_sd=0.1, learning_rate=2.8e-4, samples_per_s=875.0, seconds=seconds, at=ended - (n - e) * seconds,
        )
        for e in range(1, n + 1)
    )  # fmt: skip


def make_event(id: int, at: float, verb: str, job_id: int | None = None, **changes: Any) -> Event:
    event = Event(id, at, "worker 1", verb, job_id, None, verb.replace("_", " "))
    return replace(event, **changes)


def make_worker(id: int = 1, **changes: Any) -> Worker:
    worker = Worker(
        id=id, host="spark", pid=4242, pid_started=NOW - 76 * HOUR, slots=1, status="running", asked=None,
        started_at=NOW - 76 * HOUR, heartbeat_at=NOW - 2, stopped_at=None, guard="normal", guard_message=None,
    )  # fmt: skip
    return replace(worker, **changes)


def make_sample(**changes: Any) -> Sample:
    sample = Sample(
        at=NOW - 2, worker_id=1, trial_rss=40 * GB, available=36 * GB, total=128 * GB, swap_used=0,
        cpu_percent=88.0, temperature=61.0, gpu_percent=74.0, gpu_memory=None, power_w=61.0, disk_free=522 * GB,
        step_s=0.07,
    )  # fmt: skip
    return replace(sample, **changes)


def make_snapshot(**changes: Any) -> Snapshot:
    """An empty database, unless told otherwise."""
    snapshot = Snapshot(
        taken_at=NOW, schema=1, path="outputs/fts.db", jobs=(), workers=(), trials=(), epochs=(), events=(), samples=(),
        queue_paused=False, queue_paused_reason=None, last_key_at=None, studies=STUDIES,
    )  # fmt: skip
    return replace(snapshot, **changes)


def picture() -> Snapshot:
    """The frame of the specification: five cells seen, one failed, one running, the rest waiting or paused."""
    h = HOUR

    def done(id: int, budget: str, horizon: int, best: float, trial: int, start: float, end: float) -> Job:
        return make_job(
            id, budget, horizon, "done", trials_complete=40, trials_pruned=10, best_value=best, best_trial=trial,
            attempt=1, started_at=NOW - start * h, ended_at=NOW - end * h, cause=Cause.FINISHED,
            acknowledged_at=NOW - end * h if end > 10 else None,
        )  # fmt: skip

    running = make_job(
        5, "20M", 3, "running", trials_complete=15, trials_pruned=7, best_value=0.6841, best_trial=12, attempt=1,
        started_at=NOW - 3.5 * h, worker_id=1, lease_until=NOW + 50, token=1,
    )  # fmt: skip
    failed = make_job(
        6, "20M", 5, "failed", trials_complete=6, trials_failed=1, best_value=0.6215, best_trial=3, attempt=1,
        started_at=NOW - 5.5 * h, ended_at=NOW - 3.7 * h, cause=Cause.OUT_OF_MEMORY, message="asked 131 GB in t8",
    )  # fmt: skip
    jobs = (
        running,
        make_job(7, "200M", 1),
        make_job(8, "200M", 3),
        make_job(9, "200M", 5),
        make_job(10, "2B", 1, hold_reason="needs 91 GB, 20 GB allowed", acknowledged_at=NOW),
        make_job(11, "2B", 3, "paused", message="by you"),
        make_job(12, "2B", 5, "paused", message="by you"),
        done(1, "2M", 1, 0.6512, 31, 16, 14.5),
        done(2, "2M", 3, 0.6604, 12, 14.5, 13),
        done(3, "2M", 5, 0.6730, 44, 13, 9.5),
        done(4, "20M", 1, 0.6549, 8, 9.5, 5.5),
        failed,
    )
    trials = (
        make_trial(23, 5, 23, "running", epochs=9, started_at=NOW - 17 * 60, value=0.6803, best_epoch=9),
        make_trial(12, 5, 12, value=0.6841, epochs=20, best_epoch=17, val_auc=0.6841, ended_at=NOW - 1.5 * h),
        *(
            make_trial(100 + j, j, t, value=v, epochs=20, best_epoch=15, val_auc=v, ended_at=NOW - 12 * h)
            for j, t, v in ((1, 31, 0.6512), (2, 12, 0.6604), (3, 44, 0.6730), (4, 8, 0.6549), (6, 3, 0.6215))
        ),
    )
    events = (
        make_event(1, NOW - 21 * h, "enqueued", 1, who="you@spark", message="12 cells enqueued"),
        make_event(2, NOW - 13 * h, "claimed", 3),
        make_event(3, NOW - 10.5 * h, "paused", 11, who="you@spark", message="paused 2B/h3, 2B/h5", inverse={"a": 1}),
        make_event(4, NOW - 9.5 * h, "finished", 3, message="2M/h5 done, best .6730"),
        make_event(5, NOW - 9.5 * h + 5, "claimed", 4),
        make_event(6, NOW - 5.5 * h, "finished", 4, message="20M/h1 done, best .6549 (t08)"),
        make_event(7, NOW - 5.5 * h + 5, "claimed", 6),
        make_event(
            8, NOW - 5.0 * h, "guard", None, message="guard froze the worker: 88°C > 85°C", who="watchdog",
            data={"old": "normal", "new": "frozen", "worker_id": 1},
        ),
        make_event(
            9, NOW - 5.0 * h + 660, "guard", None, message="guard let go after 11 min", who="watchdog",
            data={"old": "frozen", "new": "normal", "worker_id": 1},
        ),
        make_event(10, NOW - 3.7 * h, "failed", 6, message="20M/h5 failed: out of memory, asked 131 GB"),
        make_event(11, NOW - 3.5 * h, "claimed", 5),
        *(make_event(20 + n, NOW - 3.4 * h + n * 500, "trial_complete", 5) for n in range(20)),
        make_event(
            60, NOW - 1.5 * h, "new_best", 5, message="t12 new best .6841 (+.0032)",
            data={"value": 0.6841, "before": 0.671},
        ),
        make_event(61, NOW - 12 * 60, "trial_pruned", 5, message="t22 pruned at ep 12 (.655)"),
    )  # fmt: skip
    return make_snapshot(
        jobs=jobs, workers=(make_worker(),), trials=trials, epochs=make_epochs(23, 9, 0.69, NOW - 30), events=events,
        samples=(make_sample(),), last_key_at=NOW - 10.03 * h,
    )  # fmt: skip
