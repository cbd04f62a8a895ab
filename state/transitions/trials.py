"""Starts, resumes and reruns trials, and records their facts, epochs and checkpoints."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from peewee import SQL, fn

from fts.state.daily_bars import DECIDE_LABELS, PATCHTST, direction_of
from fts.state.errors import BadRow, LabelClash, ResumeMismatch, TrialsChanged, WrongStatus
from fts.state.models import ALL, CheckpointRow, EpochRow, JobRow, StudyRow, TrialRow
from fts.state.rows import is_retried, to_object
from fts.state.transitions.attempts import begin_attempt
from fts.state.transitions.base import (
    MAX_JSON,
    Row,
    change_trial,
    checked_direction,
    checked_int,
    emit,
    fenced_job,
    fenced_trial,
    to_json,
    transaction,
)
from fts.state.transitions.claims import claim_name
from fts.state.transitions.reported_facts import EPOCH_FIELDS, MAX_FACTS, checked_epoch, checked_facts, with_facts
from fts.state.trial_usage import reported_seconds
from fts.state.values import Cause, Claim, Direction, Verb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fts.state.db import Database

OF_SAMPLER = "sampler"  # name of the fact in which a sampler keeps data for later trials


def start_trial(
    db: Database,
    claim: Claim,
    number: int,
    *,
    params: Mapping[str, Any],
    effective: Mapping[str, Any],
    seed: int,
    architecture: str = "",
    metric: str | None = None,
    direction: Direction | str | None = None,
    objective: str | None = None,
    effective_md5: str | None = None,
    wanted: int | None = None,
    parallel: int = 1,
    **facts: Any,
) -> int:
    """Starts trial `number` with all its parameters in one transaction; returns its id.

    `number` must be the job's next number (from 0), and with it at most `parallel` trials of the job may be running or
    interrupted. The metric (or `objective`) and its direction default to those of the job. `facts`: fields of
    `record_started` that are known already; `wanted`: the job's number of trials as the caller read it.
    Raises StaleToken, TrialsChanged, WrongStatus, BadRow.
    """
    metric = metric or objective
    if metric is not None and (not isinstance(metric, str) or len(metric) > 200 or not metric.isprintable()):
        raise BadRow(f"metric is {str(metric)[:80]!r}; expected at most 200 printable characters")
    effective_json = to_json(effective, "effective")
    row: Row = {
        "job_id": claim.job_id,
        "number": checked_int(number, "number", 0),
        "status": "running",
        "params": to_json(params, "params"),
        "effective": effective_json,
        "effective_md5": effective_md5 or hashlib.md5(effective_json.encode()).hexdigest(),
        "architecture": architecture,
        "facts": "{}",
        "seed": checked_int(seed, "seed", 0, 2**63 - 1),
        "epochs": 0,
        "train_seconds": 0.0,
        "badges": "[]",
    } | checked_facts(facts)
    with transaction(db):
        job = fenced_job(db, claim)
        row |= _goal(job, metric, direction)
        if wanted is not None and job["trials_wanted"] != wanted:
            raise TrialsChanged(f"job {job['id']} has {job['trials_wanted']} trials now, not {wanted}")
        _refuse_out_of_turn(db, claim, number, parallel)
        trial_id = db.insert(TrialRow, row | {"started_at": db.now()})
        begin_attempt(db, trial_id, claim.token, row.get("host"), row.get("pid"))
        words = f"trial {number} of {claim.job.experiment} starts" + (f": {architecture}" if architecture else "")
        data = {"number": number, "params": dict(params), "token": claim.token}
        emit(db, Verb.TRIAL_STARTED, claim_name(claim), words, job_id=claim.job_id, trial_id=trial_id, data=data)
    return trial_id


def _goal(job: Row, metric: str | None, direction: Direction | str | None) -> Row:
    """Returns the trial's metric and direction."""
    metric = metric or job["metric"]
    if direction is None:
        direction = job["direction"] if metric == job["metric"] else direction_of(metric)
    return {"objective": metric, "direction": checked_direction(direction)}


def _refuse_out_of_turn(db: Database, claim: Claim, number: int, parallel: int) -> None:
    _refuse_more_live_trials(db, claim, parallel)
    last = TrialRow.select(fn.MAX(TrialRow.number)).where(TrialRow.job_id == claim.job_id).scalar(db)
    expected = 0 if last is None else last + 1
    if number != expected:
        raise WrongStatus(f"the next trial of job {claim.job_id} is number {expected}, not {number}")


def _refuse_more_live_trials(db: Database, claim: Claim, parallel: int) -> None:
    # Plain SQL, unsorted: with parameters or an order, SQLite reads all trials instead of the partial index.
    live_of_job = (TrialRow.job_id == claim.job_id) & SQL("status IN ('running', 'interrupted')")
    live = db.rows(TrialRow.select(TrialRow.number, TrialRow.status).where(live_of_job))
    if len(live) >= parallel:
        first = min(live, key=lambda row: row["number"])
        raise WrongStatus(f"trial {first['number']} of job {claim.job_id} is {first['status']}: it must run first")


def resume_trial(db: Database, claim: Claim, trial_id: int, **facts: Any) -> None:
    """interrupted -> running, under the same number; `facts` as in record_started (pid, host ...)."""
    changes = checked_facts(facts) | {"status": "running", "cause": None, "message": None}
    with transaction(db):
        trial = fenced_trial(db, claim, trial_id, "interrupted")
        changes["train_seconds"] = reported_seconds(db, trial_id)
        change_trial(db, trial, **with_facts(trial, changes))
        begin_attempt(db, trial_id, claim.token, changes.get("host"), changes.get("pid"))
        words = f"trial {trial['number']} of {claim.job.experiment} continues after epoch {trial['epochs']}"
        data = {"number": trial["number"], "token": claim.token}
        emit(db, Verb.TRIAL_RESUMED, claim_name(claim), words, job_id=claim.job_id, trial_id=trial_id, data=data)


def rerun_trial(db: Database, claim: Claim, trial_id: int, parallel: int = 1, **facts: Any) -> None:
    """failed -> running, for a trial that a retry reset; with the same number, parameters and seed.

    It starts over, because its code or data were at fault: its epochs and checkpoints are deleted, its draws stay. A
    stalled trial keeps all and continues. Remove its checkpoint folder before this call: then a kill in between loses
    nothing.
    """
    with transaction(db):
        trial = fenced_trial(db, claim, trial_id, "failed")
        if not is_retried(trial):
            raise WrongStatus(f"trial {trial['number']} of job {claim.job_id} has failed, and no retry has reset it")
        _refuse_more_live_trials(db, claim, parallel)
        if starts_over(trial["cause"]):
            EpochRow.delete().where(EpochRow.trial_id == trial_id).execute(db)
            CheckpointRow.delete().where(CheckpointRow.trial_id == trial_id).execute(db)
            drawn_with = {name: fact for name, fact in to_object(trial["facts"]).items() if name == OF_SAMPLER}
            trial = trial | {"facts": to_json(drawn_with, "facts", MAX_FACTS)}
            facts = _CLEARED | {"facts": trial["facts"]} | checked_facts(facts)
        else:
            facts = checked_facts(facts) | {"train_seconds": reported_seconds(db, trial_id)}
        begin_attempt(db, trial_id, claim.token, facts.get("host"), facts.get("pid"))
        changes = with_facts(trial, facts) | {"status": "running", "cause": None, "message": None}
        change_trial(db, trial, **changes, started_at=db.now())
        words = f"trial {trial['number']} of {claim.job.experiment} runs again: it had failed ({trial['cause']})"
        data = {"number": trial["number"], "token": claim.token, "before": trial["message"]}
        emit(db, Verb.TRIAL_RESUMED, claim_name(claim), words, job_id=claim.job_id, trial_id=trial_id, data=data)


def starts_over(cause: str | None) -> bool:
    """Whether a failed trial that runs again loses its epochs: those before a stall are still valid."""
    return cause != Cause.STALLED


_CLEARED: Row = {
    "epochs": 0, "train_seconds": 0.0, "badges": "[]", "facts": "{}",
} | dict.fromkeys((
    "value", "best_epoch", "last_value", "val_loss", "val_auc", "auc_low", "auc_high", "reused_from", "device",
    "threads", "micro_batch", "accumulation", "recipe", "predicted_bytes", "peak_bytes",
))  # fmt: skip


def record_started(
    db: Database, claim: Claim, trial_id: int, facts: Mapping[str, Any], details: Mapping[str, Any] | None = None
) -> None:
    """Records what the trial process found at its start: counted parameters, data and label fingerprints, machine.

    `details` go into the event only: they are about this attempt, for example its memory limits. Facts without a
    column go into the trial's `facts`.

    Raises LabelClash and writes nothing if a cell of another task or horizon (the study's `label_axes`) trains on the
    same data with the same labels: this is how 600 trials of h3 and h5 once all learned h1 (DOMAIN 2).
    """
    changes = checked_facts(facts)
    with transaction(db):
        trial = fenced_trial(db, claim, trial_id)
        _refuse_equal_labels(db, claim, changes.get("label_md5"), changes.get("data_md5"))
        change_trial(db, trial, **with_facts(trial, changes))
        _note_process(db, claim, trial_id, changes)
        words = f"trial {trial['number']}: " + ", ".join(
            f"{name} {changes[name]}"
            for name in ("n_params", "n_val", "n_pos", "device")
            if changes.get(name) is not None
        )
        shown = {name: value for name, value in changes.items() if name not in ("recipe", "facts")}
        shown |= dict(details or {})
        if "facts" in changes:
            shown["facts"] = to_object(changes["facts"])
        who, limit = claim_name(claim), MAX_JSON + MAX_FACTS
        emit(db, Verb.TRIAL_FACTS, who, words, job_id=claim.job_id, trial_id=trial_id, data=shown, limit=limit)


def _refuse_equal_labels(db: Database, claim: Claim, label_md5: str | None, data_md5: str | None) -> None:
    if label_md5 is None:
        return
    job = claim.job
    axes = _axes_of_labels(db, job.study)
    mine = {axis: job.labels.get(axis) for axis in axes}
    alike = (
        JobRow.select(JobRow.experiment, JobRow.labels)
        .join(TrialRow, on=(JobRow.id == TrialRow.job_id))
        .where(
            TrialRow.label_md5 == label_md5,
            TrialRow.data_md5 == data_md5,
            JobRow.study == job.study,
            JobRow.id != job.id,
        )
        .distinct()
    )
    for row in db.rows(alike) if axes else ():
        other = to_object(row["labels"])
        if any(other.get(axis) != value for axis, value in mine.items()):
            raise LabelClash(
                f"{job.experiment} ({_standing(mine)}) has exactly the labels of "
                f"{row['experiment']} ({_standing({axis: other.get(axis) for axis in axes})}): "
                "one of the two trains on the wrong labels"
            )


def _axes_of_labels(db: Database, study: str) -> tuple[str, ...]:
    """Returns the axes that decide what is predicted, from the study's `label_axes`.

    Without `label_axes` nothing is compared: size S and size M of one data set have the same labels.
    """
    row = db.one(StudyRow.select(StudyRow.declaration).where(StudyRow.name == study))
    declared = to_object(row["declaration"]).get("label_axes") if row is not None else None
    if isinstance(declared, list):
        return tuple(str(axis) for axis in declared)
    return DECIDE_LABELS if study == PATCHTST else ()


def _standing(labels: Mapping[str, Any]) -> str:
    return ", ".join(f"{axis} {value}" for axis, value in sorted(labels.items(), reverse=True))


def _note_process(db: Database, claim: Claim, trial_id: int, changes: Row) -> None:
    """Records in the attempt which process works on the trial."""
    if changes.get("pid") is not None or changes.get("host") is not None:
        begin_attempt(db, trial_id, claim.token, changes.get("host"), changes.get("pid"))


def record_progress(db: Database, claim: Claim, trial_id: int, facts: Mapping[str, Any]) -> None:
    """Records facts that change while a trial runs (micro_batch, peak_bytes, pid ...). Writes no event."""
    changes = checked_facts(facts)
    with transaction(db):
        trial = fenced_trial(db, claim, trial_id)
        change_trial(db, trial, **with_facts(trial, changes))
        _note_process(db, claim, trial_id, changes)


def record_epoch(db: Database, claim: Claim, trial_id: int, epoch: Mapping[str, Any]) -> None:
    """Records one epoch's result, which counts as progress of the job.

    `epoch` has either all columns of values.Epoch but trial_id and at, from epoch 1 without a gap; its `value` is then
    the column of the trial's metric. Or, for any study: `epoch` (a step, from 0, in any order), `value` and `metrics`
    (name -> number), and any known columns.

    The same result again changes nothing (a trial resumed from an earlier checkpoint repeats epochs). Another result
    for a recorded epoch writes an event `resume_mismatch`, keeps the first, and raises ResumeMismatch.
    """
    general = not set(EPOCH_FIELDS) <= set(epoch)
    row = checked_epoch(epoch, general)
    with transaction(db):
        trial = fenced_trial(db, claim, trial_id)
        if "value" not in row:
            row["value"] = row.get(trial["objective"])
        stored = db.one(EpochRow.select(ALL).where(EpochRow.trial_id == trial_id, EpochRow.epoch == row["epoch"]))
        different = [] if stored is None else _differences(stored, row)
        if stored is None:
            _add_epoch(db, trial, row, in_order=not general)
        elif different:
            words = f"epoch {row['epoch']} of trial {trial['number']} differs from its first result: {different[0]}"
            data = {"epoch": row["epoch"], "differences": different}
            who = claim_name(claim)
            emit(db, Verb.RESUME_MISMATCH, who, words, job_id=claim.job_id, trial_id=trial_id, data=data)
    if different:
        raise ResumeMismatch(words)


def _add_epoch(db: Database, trial: Row, row: Row, in_order: bool) -> None:
    if in_order and row["epoch"] != trial["epochs"] + 1:
        raise WrongStatus(
            f"trial {trial['number']} has {trial['epochs']} epochs recorded, "
            f"so epoch {trial['epochs'] + 1} comes next, not {row['epoch']}"
        )
    EpochRow.insert(row | {"trial_id": trial["id"], "at": db.now()}).execute(db)
    change_trial(db, trial, epochs=trial["epochs"] + 1, train_seconds=trial["train_seconds"] + (row["seconds"] or 0.0))
    JobRow.update(idle_attempts=0).where(JobRow.id == trial["job_id"], JobRow.idle_attempts > 0).execute(db)


def _differences(stored: Row, row: Row) -> list[str]:
    return [
        f"{name} was {stored[name]!r}, now {row[name]!r}"
        for name in (*EPOCH_FIELDS, "value", "metrics")
        if name not in ("seconds", "samples_per_s") and stored[name] != row[name]
    ]


def record_checkpoint(
    db: Database, claim: Claim, trial_id: int, *, step: int, epoch: int, path: str, bytes: int, md5: str, seconds: float
) -> int:
    """Records a checkpoint that is flushed to `path`; returns the row's id. Writes no event: the row is the record.

    A checkpoint at a later step than all before counts as progress: an epoch of the largest models takes hours.
    """
    row = {"step": step, "epoch": epoch, "path": str(path), "bytes": bytes, "md5": md5, "seconds": seconds}
    with transaction(db):
        fenced_trial(db, claim, trial_id)
        last = CheckpointRow.select(fn.MAX(CheckpointRow.step)).where(CheckpointRow.trial_id == trial_id).scalar(db)
        if last is None or step > last:
            JobRow.update(idle_attempts=0).where(JobRow.id == claim.job_id, JobRow.idle_attempts > 0).execute(db)
        return int(CheckpointRow.insert(row | {"trial_id": trial_id, "at": db.now()}).execute(db))
