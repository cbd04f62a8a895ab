"""Rebuilds the snapshot of a past time from today's rows and the events since.

Each event of a job holds the columns as they were before (`old`). So the job at a past time is today's job, overwritten
with the first `old` after that time. It reaches back as far as the events; where events were pruned, today's value
stays.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from peewee import SQL, fn

from fts.state import queries
from fts.state.models import ALL, AttemptRow, EpochRow, EventRow, SampleRow, TrialRow
from fts.state.pareto_front import first_of, front
from fts.state.rows import (  # fmt: skip
    finite_or_none,
    margin_of,
    old_columns,
    read_time,
    to_epoch,
    to_event,
    to_object,
    to_sample,
    to_trial,
)
from fts.state.trial_usage import id_list, parallel_seconds
from fts.state.values import (
    Cause,
    Epoch,
    Event,
    Job,
    JobStatus,
    Margin,
    Sample,
    Snapshot,
    Trial,
    TrialStatus,
    Verb,
    Worker,
    WorkerOrder,
    status_of,
    stronger,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fts.state.db import Database

WAITING = (JobStatus.QUEUED, JobStatus.PAUSED)
ENDED = (JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLED)
TRIAL_STATUS = {
    Verb.TRIAL_STARTED: TrialStatus.RUNNING,
    Verb.TRIAL_RESUMED: TrialStatus.RUNNING,
    Verb.TRIAL_INTERRUPTED: TrialStatus.INTERRUPTED,
    Verb.TRIAL_FAILED: TrialStatus.FAILED,  # of a trial that a retry has reset since
}


def rebuild(db: Database, when: float, user: str | None = None, known: queries.KnownRows | None = None) -> Snapshot:
    """Returns the snapshot of time `when`; `known` as for `queries.snapshot`.

    A job that had ended by then and has not changed since is taken from now, and its trials are not read again.
    """
    with db.read():
        now = queries.snapshot(db, user, known)
        since = [to_event(row) for row in db.rows(EventRow.select(ALL).where(EventRow.at > when).order_by(EventRow.id))]
        before = _first_old(since)
        settled = _settled(db, now.jobs, when, {*before, *(event.job_id for event in since)})
        trials, reset = _trials_at(db, when, settled)
        of_job: dict[int, list[Trial]] = {}
        for trial in trials:
            of_job.setdefault(trial.job_id, []).append(trial)
        seen_at = _seen_at(db, when)
        past = [
            job
            if job.id in settled
            else _job_at(job, when, before.get(job.id, {}), of_job.get(job.id, []), reset, seen_at.get(job.id))
            for job in now.jobs
            if job.created_at <= when
        ]
        asked = _orders_at(db, when)
        crew = [
            _worker_at(worker, when, since, asked.get(worker.id))
            for worker in queries.workers(db)
            if worker.started_at <= when
        ]
        live = [trial for trial in trials if trial.status.value in queries.LIVE_TRIAL]
        best = {(job.id, job.best_trial) for job in past}
        living = {trial.id for trial in live}
        shown = [t for t in trials if t.id in living or (t.job_id, t.number) in best]
        shown += [t for t in now.trials if t.job_id in settled]
        shown.sort(key=lambda trial: (trial.job_id, trial.number))
        paused, reason = _queue_pause_at(db, when, now, since)
        latest = EventRow.select(ALL).where(EventRow.at <= when).order_by(EventRow.id.desc())
        events = tuple(to_event(row) for row in reversed(db.rows(latest.limit(queries.EVENTS_IN_SNAPSHOT))))
        return replace(
            now,
            taken_at=when,
            jobs=tuple(sorted(past, key=_queue_order)),
            workers=tuple(sorted(crew, key=lambda worker: worker.status != "running")),
            trials=tuple(shown),
            epochs=_epochs_at(db, [trial.id for trial in live], when),
            events=events,
            older=queries.older_events(db, events),
            samples=_samples_at(db, crew, when),
            queue_paused=paused,
            queue_paused_reason=reason,
            last_key_at=_last_key_at(db, when, now.last_key_at, user),
            margins=_margins_at(db, when),
            seen=queries.seen_forecast(db, user, before=when) if user else None,
            worked={job: seconds for job, seconds in now.worked.items() if job in settled}
            | _worked_at(db, [job for job in past if job.id not in settled], trials, when),
        )


def _settled(db: Database, jobs: Iterable[Job], when: float, changed: set[int | None]) -> set[int]:
    """Returns the jobs that have not changed since `when`: they and their trials had ended, and no later event names
    them."""
    moved = {row[0] for row in db.execute_sql(MOVED_SQL, (when, when)).fetchall()}
    return {
        job.id
        for job in jobs
        if job.status in ENDED
        and job.ended_at is not None
        and max(job.ended_at, job.started_at or 0.0, job.acknowledged_at or 0.0, job.created_at) <= when
        and job.lease_until is None
        and job.id not in changed
        and job.id not in moved
    }


MOVED_SQL = "SELECT DISTINCT job_id FROM trial WHERE ended_at IS NULL OR ended_at > ? OR started_at > ?"


def _worked_at(db: Database, past: Iterable[Job], trials: Iterable[Trial], when: float) -> dict[int, float]:
    """Returns the seconds of work by job, as `queries.worked` does for now."""
    again = {job.id for job in past if job.attempt > 1 or (job.status in WAITING and job.started_at)}
    found: dict[int, float] = {}
    without_times = []
    for trial in trials:
        if trial.job_id in again:
            found[trial.job_id] = found.get(trial.job_id, 0.0) + trial.train_seconds
            without_times += [] if trial.train_seconds else [trial.id]
    for job_id, seconds in queries.in_processes(db, id_list(without_times), when).items():
        found[job_id] += seconds
    return found | parallel_seconds(db, found, when)


def _margins_at(db: Database, when: float) -> tuple[Margin, ...]:
    """Returns each cell's margin over the best baseline at `when`; the COMPARED events hold all its numbers."""
    query = EventRow.select(ALL).where(EventRow.verb == Verb.COMPARED.value, EventRow.at <= when).order_by(EventRow.id)
    found: dict[int, Margin] = {}
    for event in map(to_event, db.rows(query)):
        with contextlib.suppress(ValueError):  # an event of an older fts, or one written by hand
            margin = margin_of({**event.data, "at": event.at})
            found[margin.job_id] = margin
    return tuple(found[job] for job in sorted(found))


def _last_key_at(db: Database, when: float, last: float | None, user: str | None) -> float | None:
    """Returns when the user last pressed a key, by `when`. Keys are not recorded as events, so if the last key came
    later, this is the time of the user's last event by then."""
    if user is None or last is None or last <= when:
        return last
    query = EventRow.select(fn.MAX(EventRow.at)).where(EventRow.who == user, EventRow.at <= when)
    at = query.scalar(db)
    return None if at is None else read_time(at)


def _first_old(since: Iterable[Event]) -> dict[int, dict[str, Any]]:
    """Maps each job to its columns as they were before the first event that changed them."""
    before: dict[int, dict[str, Any]] = {}
    for event in since:
        for job_id, old in _changes_of(event):
            if job_id is not None:
                known = before.setdefault(job_id, {})
                known.update({name: value for name, value in old_columns(old).items() if name not in known})
    return before


def _changes_of(event: Event) -> list[tuple[int | None, Any]]:
    """Returns (job, its columns before) for each job that an event changed; [] for an unreadable event."""
    changes: list[tuple[int | None, Any]] = [(event.job_id, event.data.get("old"))]
    try:
        changes += [(int(change["job_id"]), change["old"]) for change in event.data.get("changes", [])]
        changes += [(int(job), {"rank": old}) for job, (old, _) in event.data.get("ranks", {}).items()]
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        return []
    return changes


def _seen_at(db: Database, when: float) -> dict[int, float]:
    """Maps jobs to the latest time by `when` at which a person acknowledged their end; a retry clears the column."""
    query = EventRow.select(ALL).where(EventRow.verb == Verb.ACKNOWLEDGED.value, EventRow.at <= when)
    found: dict[int, float] = {}
    for event in map(to_event, db.rows(query.order_by(EventRow.id))):
        jobs = event.data.get("jobs")
        found |= {job: event.at for job in jobs if isinstance(job, int)} if isinstance(jobs, list) else {}
    return found


def _job_at(
    job: Job, when: float, old: dict[str, Any], mine: list[Trial], reset: set[int], seen_at: float | None
) -> Job:
    complete = [trial for trial in mine if trial.status is TrialStatus.COMPLETE]
    pruned = sum(trial.status is TrialStatus.PRUNED for trial in mine)
    failed = sum(trial.status is TrialStatus.FAILED and trial.id not in reset for trial in mine)
    best_ones = front(job, complete)
    best = first_of(best_ones)
    ended = len(complete) + pruned + failed
    status = status_of(old.get("status", job.status), None if best is None else best.number, ended)
    cause = old.get("cause", job.cause)
    changed = "status" in old and status is not job.status
    ended_at = old.get("ended_at", job.ended_at)
    if status in ENDED:  # an earlier time was about an earlier end
        acknowledged_at = seen_at if seen_at is not None and seen_at >= (ended_at or 0.0) else None
    else:
        acknowledged_at = _if_by(job.acknowledged_at, when)
    return replace(
        job,
        status=status,
        rank=old.get("rank", job.rank),
        hold_reason=old.get("hold_reason", job.hold_reason),
        asked=old.get("asked", job.asked),
        cause=None if cause is None else Cause(cause),
        message=old.get("message", None if changed else job.message),  # not every event of an older fts has it
        worker_id=old.get("worker_id", job.worker_id),
        attempt=old.get("attempt", job.attempt),
        trials_wanted=old.get("trials_wanted", job.trials_wanted),
        idle_attempts=old.get("idle_attempts", job.idle_attempts),
        lease_until=when if status is JobStatus.RUNNING else None,
        trials_complete=len(complete),
        trials_pruned=pruned,
        trials_failed=failed,
        best_value=None if best is None else best.value,
        best_trial=None if best is None else best.number,
        front=tuple(trial.number for trial in best_ones) if len(job.goals) > 1 else (),
        started_at=_if_by(job.started_at, when),
        ended_at=ended_at,
        acknowledged_at=acknowledged_at,
    )


def _if_by(at: float | None, when: float) -> float | None:
    return at if at is not None and at <= when else None


def _queue_order(job: Job) -> tuple[int, float, int]:
    if job.status is JobStatus.RUNNING:
        return 0, job.rank, job.id
    if job.status in WAITING:
        return 1, job.rank, job.id
    return 2, job.ended_at or 0.0, job.id


def _trials_at(db: Database, when: float, settled: set[int]) -> tuple[list[Trial], set[int]]:
    """Returns the trials of the jobs that are not settled, and the ids of the failed ones that a retry had reset."""
    # a trial that runs again gets a new `started_at`
    begun = "started_at <= ? OR EXISTS (SELECT 1 FROM attempt WHERE trial_id = t1.id AND n = 1 AND began_at <= ?)"
    started = TrialRow.select(ALL).where(SQL(f"({begun})", (when, when))).order_by(TrialRow.job_id, TrialRow.number)
    if settled:
        started = started.where(TrialRow.job_id.not_in(id_list(settled)))
    found = _with_first_start(db, [to_trial(row) for row in db.rows(started)], when)
    resets = _resets(db, when)
    unended = [trial.id for trial in found if trial.ended_at is None or trial.ended_at > when]
    retried = [trial for trial in found if (trial.job_id, trial.number) in resets]
    latest = _latest_events(db, {*unended, *(trial.id for trial in retried)}, when)
    counts = _epochs_counted(db, unended, when)
    past = set(unended)
    trials = [_trial_at(trial, latest.get(trial.id), counts) if trial.id in past else trial for trial in found]
    changed = {trial: event.id for trial, event in latest.items()}
    reset = {trial.id for trial in retried if resets[trial.job_id, trial.number] > changed.get(trial.id, 0)}
    return trials, reset


def _with_first_start(db: Database, trials: list[Trial], when: float) -> list[Trial]:
    """Returns the trials; one that has started again since `when` gets its first start."""
    again = [trial.id for trial in trials if trial.started_at > when]
    first = AttemptRow.select(AttemptRow.trial_id, AttemptRow.began_at).where(AttemptRow.n == 1)
    began = dict(first.where(AttemptRow.trial_id.in_(id_list(again))).tuples().execute(db)) if again else {}
    return [replace(t, started_at=began[t.id]) if t.id in began else t for t in trials]


def _resets(db: Database, when: float) -> dict[tuple[int, int], int]:
    """Maps (job, trial number) to the event of the retry that had reset the failed trial; an undo takes it back."""
    retries = EventRow.select(EventRow.id, EventRow.inverse).where(
        EventRow.at <= when,
        EventRow.verb.in_([Verb.RETRIED, Verb.UNDONE, Verb.REDONE]),
        EventRow.inverse.contains('"trials":['),
    )
    found: dict[tuple[int, int], int] = {}
    for row in db.rows(retries.order_by(EventRow.id)):
        with contextlib.suppress(KeyError, OverflowError, TypeError, ValueError):  # an undo step written by hand
            for entry in to_object(row["inverse"])["trials"]:  # the end times that an undo gives back
                key = int(entry["job"]), int(entry["number"])
                if entry["ended_at"] is None:
                    found.pop(key, None)
                else:
                    found[key] = row["id"]
    return found


def _trial_at(trial: Trial, latest: Event | None, counts: dict[int, tuple[int, float]]) -> Trial:
    """Returns a trial that had not ended, by its latest event of then; without one it was running."""
    status = TrialStatus.RUNNING if latest is None else TRIAL_STATUS[Verb(latest.verb)]
    data = {} if latest is None or status is TrialStatus.RUNNING else latest.data
    cause, message = data.get("cause"), data.get("message")
    epochs, seconds = counts.get(trial.id, (0, 0.0))
    scores: dict[str, Any] = dict.fromkeys(
        ("value", "best_epoch", "last_value", "val_loss", "val_auc", "auc_low", "auc_high")
    )
    return replace(
        trial,
        **scores,
        status=status,
        epochs=epochs,
        train_seconds=seconds,
        badges=(),
        cause=Cause(cause) if cause in set(Cause) else None,
        message=message if isinstance(message, str) else None,
        ended_at=None,
    )


def _latest_events(db: Database, trial_ids: Iterable[int], when: float) -> dict[int, Event]:
    """Maps each of these trials to the latest event by `when` that changed its status."""
    changes = EventRow.select(ALL).where(
        EventRow.at <= when, EventRow.trial_id.in_(id_list(trial_ids)), EventRow.verb.in_(list(TRIAL_STATUS))
    )
    return {row["trial_id"]: to_event(row) for row in db.rows(changes.order_by(EventRow.id))}


def _epochs_counted(db: Database, trial_ids: list[int], when: float) -> dict[int, tuple[int, float]]:
    query = EpochRow.select(EpochRow.trial_id, fn.COUNT(EpochRow.epoch).alias("n"), fn.SUM(EpochRow.seconds).alias("s"))
    query = query.where(EpochRow.trial_id.in_(id_list(trial_ids)), EpochRow.at <= when).group_by(EpochRow.trial_id)
    return {row["trial_id"]: (row["n"], finite_or_none(row["s"]) or 0.0) for row in db.rows(query)}


def _epochs_at(db: Database, trial_ids: list[int], when: float) -> tuple[Epoch, ...]:
    query = EpochRow.select(ALL).where(EpochRow.trial_id.in_(id_list(trial_ids)), EpochRow.at <= when)
    return tuple(to_epoch(row) for row in db.rows(query.order_by(EpochRow.trial_id, EpochRow.epoch)))


def _samples_at(db: Database, crew: list[Worker], when: float) -> tuple[Sample, ...]:
    found = []
    for worker in crew:
        query = SampleRow.select(ALL).where(SampleRow.worker_id == worker.id, SampleRow.at <= when)
        row = db.one(query.order_by(SampleRow.at.desc()))
        if worker.status == "running" and row is not None:
            found.append(to_sample(row))
    return tuple(found)


def _worker_at(worker: Worker, when: float, since: Iterable[Event], asked: WorkerOrder | None) -> Worker:
    status, guard = worker.status, worker.guard
    stopped_at = _if_by(worker.stopped_at, when)
    for event in reversed(list(since)):  # newest first, so that the oldest event after `when` decides
        if event.data.get("worker_id") != worker.id:
            continue
        if event.verb in (Verb.WORKER_LOST, Verb.WORKER_STOPPED):
            status = "lost" if event.data.get("old") == "lost" else "running"
        elif event.verb == Verb.WORKER_BACK:
            status = "lost"
        elif event.verb == Verb.GUARD:
            guard = str(event.data.get("old", guard))
    beat_at, asked = min(worker.heartbeat_at, when), None if status == "stopped" else asked
    return replace(worker, status=status, guard=guard, stopped_at=stopped_at, heartbeat_at=beat_at, asked=asked)


def _orders_at(db: Database, when: float) -> dict[int, WorkerOrder | None]:
    """Maps workers to the order that each had at `when`; one that had left had none."""
    query = EventRow.select(EventRow.verb, EventRow.data, EventRow.inverse).where(
        EventRow.at <= when,
        (EventRow.verb == Verb.WORKER_ASKED)
        | EventRow.verb.in_([Verb.UNDONE, Verb.REDONE]) & EventRow.inverse.contains('"workers":['),
    )
    found: dict[int, WorkerOrder | None] = {}
    for row in db.rows(query.order_by(EventRow.id)):
        with contextlib.suppress(KeyError, OverflowError, TypeError, ValueError):  # an event written by hand
            if row["inverse"] is not None:
                entries = to_object(row["inverse"])["workers"]
                found |= {int(entry["id"]): _order(entry["expect"]["asked"]) for entry in entries}
            else:  # a signal: a stronger order stays
                data = to_object(row["data"])
                found |= {int(one): stronger(_order(data["asked"]), found.get(int(one))) for one in data["workers"]}
    return found


def _order(text: str | None) -> WorkerOrder | None:
    return None if text is None else WorkerOrder(text)


def _queue_pause_at(db: Database, when: float, now: Snapshot, since: Iterable[Event]) -> tuple[bool, str | None]:
    """Returns whether the queue was paused, and why, from the flag's first change after `when`; else today's value."""
    for event in since:
        if event.verb == Verb.QUEUE_PAUSED:
            return False, None
        if event.verb == Verb.QUEUE_RESUMED:
            return True, _reason(event.data)
        if (was_paused := _was_paused(event.data)) is not None:
            return was_paused, _latest_pause_reason(db, when) if was_paused else None
    return now.queue_paused, now.queue_paused_reason


def _was_paused(data: dict[str, Any]) -> bool | None:
    """Returns whether the flag was set before this event; None if the event did not change it or is unreadable."""
    try:
        return data["flags"][0]["expect"] is not None
    except (IndexError, KeyError, TypeError):
        return None


def _reason(data: dict[str, Any]) -> str | None:
    return None if data.get("reason") is None else str(data["reason"])


def _latest_pause_reason(db: Database, when: float) -> str | None:
    query = EventRow.select(EventRow.data).where(EventRow.at <= when, EventRow.verb == Verb.QUEUE_PAUSED)
    row = db.one(query.order_by(EventRow.id.desc()))
    return None if row is None else _reason(to_object(row["data"]))
