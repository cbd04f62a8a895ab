"""Reads: one consistent look, in order, fast enough to ask every second, and the views people query by hand."""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from peewee import FloatField, IntegerField, IntegrityError, Model

from fts.state import queries, replay, rows, transitions
from fts.state.db import Database, open_database
from fts.state.errors import NoSuchRow, StateError
from fts.state.models import ALL, EpochRow, EventRow, JobRow, TrialRow
from fts.state.scheduling import QueueContext, runnable_reason
from fts.state.transitions.base import get_worker
from fts.state.values import Cause, Snapshot, TrialStatus, WorkerOrder
from tests.state.helpers import LEASE_S, claimed, enqueued, epoch, spec, started, worker


def test_a_snapshot_shows_everything_in_order(db: Database) -> None:
    enqueued(db, 4)
    crew = worker(db, slots=2)
    first = claimed(db, crew)
    trial = started(db, first)
    transitions.finish_trial(db, first, trial, "complete", Cause.FINISHED, value=0.6)
    transitions.finish_job(db, first)
    second = claimed(db, crew)
    live = started(db, second)
    transitions.record_epoch(db, second, live, epoch())
    transitions.move(db, [4], "top")
    transitions.add_sample(db, crew, trial_rss=5, temperature=None)
    snapshot = queries.snapshot(db, "ada")
    assert [job.id for job in snapshot.jobs] == [2, 4, 3, 1]
    assert [(t.job_id, t.number, t.status.value) for t in snapshot.trials] == [(1, 0, "complete"), (2, 0, "running")]
    assert [e.trial_id for e in snapshot.epochs] == [live]
    assert snapshot.samples[0].trial_rss == 5
    assert [event.id for event in snapshot.events] == sorted(event.id for event in snapshot.events)
    assert snapshot.schema == 3 and snapshot.path == str(db.path)


def holding(db: Database, table: type[Model], value: float | None) -> Iterator[dict[str, Any]]:
    """A row of the table with this value in each column of numbers that takes it."""
    for name, field in table._meta.fields.items():
        if isinstance(field, FloatField | IntegerField) and not field.primary_key:
            with db.atomic() as undone, suppress(IntegrityError, OverflowError):
                table.update({name: value}).execute(db)
                yield db.rows(table.select(ALL))[0]
                undone.rollback()


@pytest.mark.parametrize("value", [0, 1, 2**31, 2**31 + 1, 1e15, 1.04e15, 1e18, 1e19, -1, None])
def test_the_quick_reading_of_a_row_is_the_thorough_one(
    db: Database, value: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial put back by a retry was failed where a number was large, as a process's start is on some machines."""
    enqueued(db, 1)
    claim = claimed(db)
    trial = started(db, claim)
    transitions.record_epoch(db, claim, trial, epoch())
    transitions.finish_trial(db, claim, trial, "failed", Cause.CODE_ERROR)
    transitions.fail_job(db, claim, Cause.CODE_ERROR, "KeyError")
    transitions.retry(db, [1])
    for table, read in (
        (JobRow, rows.to_job), (TrialRow, rows.to_trial), (EpochRow, rows.to_epoch), (EventRow, rows.to_event),
    ):  # fmt: skip
        for row in holding(db, table, value):
            quick = repr(read(row))
            with monkeypatch.context() as patch:
                patch.setattr(rows, "_in_range", lambda *_: False)
                assert quick == repr(read(row))
    assert {found.status for found in queries.trials(db, 1)} == {TrialStatus.INTERRUPTED}


def test_a_file_of_a_newer_fts_says_so_also_in_the_past(db: Database) -> None:
    enqueued(db, 1)
    assert queries.newer_schema(queries.snapshot(db)) is None
    db.execute_sql("PRAGMA user_version = 99")
    for found in (queries.snapshot(db), replay.rebuild(db, time.time())):
        assert found.schema == 99
        said = "the file has schema 99, this fts knows up to 3: shown as far as it is known"
        assert queries.newer_schema(found) == said


def test_a_job_is_found_by_number_or_by_name(db: Database) -> None:
    enqueued(db, 2)
    assert queries.job(db, "2").id == queries.job(db, 2).id == queries.job(db, "phase6a_2M_h2_threshold_1pct").id == 2
    for ref in ("9", "nobody", "'; DROP TABLE job; --"):
        with pytest.raises(NoSuchRow, match="there is no job"):
            queries.job(db, ref)


def test_events_are_followed_from_a_number_on(db: Database) -> None:
    enqueued(db, 5)
    last = queries.events(db)[-1].id
    transitions.pause(db, [2])
    assert [event.verb for event in queries.events(db, since=last)] == ["paused"]
    assert len(queries.events(db, since=0, limit=3)) == 3
    assert [event.job_id for event in queries.events(db, limit=3, verbs=["enqueued"])] == [3, 4, 5]


def test_the_version_changes_when_somebody_else_wrote(db: Database) -> None:
    other = open_database(db.path)
    before = queries.data_version(other)
    assert queries.data_version(other) == before
    enqueued(db)
    assert queries.data_version(other) != before
    other.close()


def test_the_views_show_what_the_table_shows(db: Database) -> None:
    enqueued(db, 2)
    claim = claimed(db)
    trial = started(db, claim)
    facts = {
        "n_val": 442,
        "n_pos": 99,
        "prior_loss": 0.66,
        "label_md5": "abc",
        "base_rate": 0.22,
        "n_params": 2_000_001,
    }
    transitions.record_started(db, claim, trial, facts | {"micro_batch": 64, "accumulation": 4})
    transitions.record_epoch(db, claim, trial, epoch(seconds=90.0))
    transitions.finish_trial(
        db, claim, trial, "complete", Cause.EARLY_STOPPED,
        value=0.6, best_epoch=1, val_loss=0.6, val_auc=0.7, auc_low=0.65, auc_high=0.75, badges=["collapsed"],
    )  # fmt: skip
    (row,) = _rows(db, "v_trials")
    expected = facts | {
        "experiment": "phase6a_2M_h1_threshold_1pct", "number": 0, "status": "complete", "value": 0.6, "best_epoch": 1,
        "val_auc": 0.7, "auc_low": 0.65, "auc_high": 0.75, "architecture": "d64-L2-h4-ff128", "learning_rate": 0.001,
        "weight_decay": 0.002, "warmup_steps": 100, "dropout": 0.5, "batch": "64x4", "cause": "early stopped",
        "badges": '["collapsed"]', "minutes": 1.5,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    queue = {row["job"]: row for row in _rows(db, "v_queue")}
    assert (queue[1]["status"], queue[1]["place"], queue[1]["trials"], queue[1]["best_value"]) == (
        "running",
        None,
        "1/3",
        0.6,
    )
    assert (queue[2]["status"], queue[2]["place"], queue[2]["worker"]) == ("queued", 1, None)
    without = "status = 'done', lease_until = NULL, worker_id = NULL, best_trial = NULL, trials_failed = 1"
    db.execute_sql(f"UPDATE job SET {without} WHERE id = 1")  # as an older fts left a job whose trials all failed
    assert {row["job"]: row["status"] for row in _rows(db, "v_queue")}[1] == "failed"


def _rows(db: Database, view: str) -> list[dict[str, Any]]:
    cursor = db.execute_sql(f"SELECT * FROM {view}")
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@pytest.mark.parametrize("seed", range(6))
def test_why_and_the_claim_never_disagree(db: Database, seed: int) -> None:
    """Over random states: the claim takes the first job, by rank, that `runnable_reason` sees nothing against."""
    chance = random.Random(seed)
    enqueued(db, 6)
    crew = worker(db, slots=50)
    for _ in range(40):
        _random_change(db, chance, crew)
        snapshot = queries.snapshot(db)
        context = QueueContext(snapshot.queue_paused, snapshot.queue_paused_reason)
        free = [job for job in snapshot.jobs if runnable_reason(job, context) is None]
        expected = min(free, key=lambda job: (job.rank, job.id), default=None)
        claim = transitions.claim(db, crew, LEASE_S)
        assert (claim and claim.job_id) == (expected and expected.id)
        if claim is not None:
            assert runnable_reason(queries.job(db, claim.job_id), context)
            transitions.release_job(db, claim, chance.choice([Cause.DRAINED, Cause.OUT_OF_MEMORY, Cause.STALLED]))


def _random_change(db: Database, chance: random.Random, crew: int) -> None:
    job = [chance.randint(1, 6)]
    act = chance.choice(
        [
            lambda: transitions.pause(db, job),
            lambda: transitions.resume(db, job),
            lambda: transitions.cancel(db, job),
            lambda: transitions.retry(db, job),
            lambda: transitions.move(db, job, "top"),
            lambda: transitions.pause_queue(db, "test"),
            lambda: transitions.resume_queue(db),
            lambda: transitions.resume_queue(db),
            lambda: _hold_one(db, crew),
        ]
    )
    try:
        act()
    except StateError:
        return


def _hold_one(db: Database, crew: int) -> None:
    claim = transitions.claim(db, crew, LEASE_S)
    if claim is not None:
        transitions.hold_job(db, claim, "needs 91 GB")


def test_a_past_time_is_rebuilt_as_it_was(db: Database) -> None:
    """Snapshots taken along the way equal those rebuilt afterwards from the events."""
    seen: list[Snapshot] = []
    crew = worker(db, slots=3)
    chance = random.Random(5)

    def look() -> None:
        time.sleep(0.004)  # the database's clock counts milliseconds
        seen.append(queries.snapshot(db))
        time.sleep(0.004)

    enqueued(db, 4)
    look()
    for act in _a_day(db, crew):
        act()
        look()
    for _ in range(30):
        _random_change(db, chance, crew)
        look()
    for then in seen:
        rebuilt = replay.rebuild(db, then.taken_at)
        assert _essence(rebuilt) == _essence(then)
        assert [event.id for event in rebuilt.events] == [event.id for event in then.events]


def test_the_orders_to_workers_and_the_attempts_without_progress_of_a_past_time_are_rebuilt(db: Database) -> None:
    """Else a replay says DRAINING of no worker, and of a job with new failures that the next worker ends it."""
    seen: list[Snapshot] = []
    chance, crew = random.Random(3), [worker(db, pid=pid) for pid in range(1, 4)]
    enqueued(db, 4)

    def order() -> None:
        what = chance.choice([None, *WorkerOrder])
        transitions.ask_worker(db, chance.choice([None, *crew]), what)

    def loses_its_job() -> None:
        if (claim := transitions.claim(db, chance.choice(crew), LEASE_S)) is not None:
            transitions.release_job(db, claim, chance.choice([Cause.LOST_WORKER, Cause.DRAINED, Cause.STALLED]))

    def is_lost() -> None:
        if (one := get_worker(db, chance.choice(crew)))["status"] != "stopped":
            transitions.workers._lose(db, one, "no heartbeat", stopped=chance.random() < 0.3)

    acts = [
        order, order, order, loses_its_job, loses_its_job, loses_its_job, is_lost,
        lambda: transitions.record_request(
            db, chance.choice(list(WorkerOrder)), "SIGTERM", chance.choice(crew), chance.random() < 0.5
        ),
        lambda: transitions.record_heartbeat(db, chance.choice(crew), LEASE_S),
        lambda: transitions.stop_worker(db, chance.choice(crew)),
        lambda: crew.append(worker(db, pid=len(crew) + 1)),
        lambda: transitions.retry(db, [chance.randint(1, 4)]),
        lambda: transitions.undo(db),
        lambda: transitions.redo(db),
    ]  # fmt: skip
    for _ in range(120):
        with contextlib.suppress(StateError):
            chance.choice(acts)()
        time.sleep(0.003)  # the database's clock counts milliseconds
        seen.append(queries.snapshot(db))
        time.sleep(0.003)
    assert {one.asked for then in seen for one in then.workers} == {None, *WorkerOrder}
    for then in seen:
        rebuilt = replay.rebuild(db, then.taken_at)
        there = {one.id: (one.status, one.asked) for one in then.workers if one.status != "stopped"}
        assert {one.id: (one.status, one.asked) for one in rebuilt.workers if one.status != "stopped"} == there
        assert [(j.id, j.status, j.idle_attempts) for j in rebuilt.jobs] == [
            (j.id, j.status, j.idle_attempts) for j in then.jobs
        ]


def test_what_was_acknowledged_then_stays_so_after_a_retry_and_another_end(db: Database) -> None:
    """Else a replay asks for decisions that had been taken."""
    enqueued(db)
    crew = worker(db)
    seen: list[Snapshot] = []
    for _ in range(3):
        transitions.fail_job(db, claimed(db, crew), Cause.CODE_ERROR, "no such file")
        for act in (lambda: None, lambda: transitions.acknowledge(db, "ada"), lambda: transitions.retry(db, [1])):
            act()
            time.sleep(0.004)  # the database's clock counts milliseconds
            seen.append(queries.snapshot(db))
            time.sleep(0.004)
    for then in seen:
        (job,), (rebuilt,) = then.jobs, replay.rebuild(db, then.taken_at).jobs
        assert (rebuilt.acknowledged_at is None) == (job.acknowledged_at is None)


def _a_day(db: Database, crew: int) -> list[Any]:
    held: dict[str, Any] = {}

    def take() -> None:
        held["claim"] = claimed(db, crew)
        held["trial"] = started(db, held["claim"])

    def resume() -> None:
        held["claim"] = claimed(db, crew)
        transitions.resume_trial(db, held["claim"], held["trial"])

    def ends() -> None:
        transitions.finish_trial(db, held["claim"], held["trial"], "complete", Cause.FINISHED, value=0.61)

    def fails() -> None:
        transitions.finish_trial(db, held["claim"], held["trial"], "failed", Cause.CODE_ERROR)

    def second() -> None:
        held["trial"] = started(db, held["claim"], 1)

    def again() -> None:
        held["claim"] = claimed(db, crew)
        transitions.rerun_trial(db, held["claim"], held["trial"])

    return [
        take,
        lambda: transitions.record_epoch(db, held["claim"], held["trial"], epoch(1)),
        lambda: transitions.move(db, [4, 3], "top"),
        lambda: transitions.pause(db, [1]),
        lambda: transitions.pause_running(db, held["claim"]),
        lambda: transitions.undo(db, 2),
        lambda: transitions.redo(db),
        lambda: transitions.undo(db),
        lambda: transitions.move(db, [1], "top"),
        resume,
        lambda: transitions.record_epoch(db, held["claim"], held["trial"], epoch(2)),
        ends,
        second,
        fails,
        lambda: transitions.fail_job(db, held["claim"], Cause.CODE_ERROR, "no such file"),
        lambda: transitions.retry(db, [1]),
        lambda: transitions.undo(db),
        lambda: transitions.redo(db),
        lambda: transitions.move(db, [1], "top"),
        again,
        fails,
        lambda: transitions.pause_queue(db, "heat"),
        lambda: transitions.undo(db),
        lambda: transitions.set_guard(db, crew, "frozen", "91 C"),
        lambda: transitions.finish_job(db, held["claim"]),
        lambda: transitions.set_guard(db, crew, "normal"),
    ]


def _essence(snapshot: Snapshot) -> object:
    jobs = [
        (j.id, j.status, j.rank, j.hold_reason, j.asked, j.worker_id, j.attempt, j.cause, j.message,
         j.trials_complete, j.trials_failed, j.best_value, j.ended_at,
         None if j.status == "running" else j.idle_attempts)
        for j in snapshot.jobs
    ]  # fmt: skip
    trials = [(t.id, t.status, t.cause, t.message, t.value, t.epochs, t.ended_at) for t in snapshot.trials]
    epochs = [(e.trial_id, e.epoch) for e in snapshot.epochs]
    workers = sorted((w.id, w.status, w.guard, w.asked) for w in snapshot.workers)
    return jobs, trials, epochs, workers, snapshot.queue_paused, snapshot.queue_paused_reason


def test_a_value_that_leaves_cannot_be_changed(db: Database) -> None:
    enqueued(db)
    with pytest.raises(AttributeError):
        queries.job(db, 1).rank = 0.0  # type: ignore[misc]


def test_hostile_text_comes_back_as_it_went_in(db: Database) -> None:
    text = "\x1b]52;c;ZXZpbA==\x07[@click=app.quit]x[/] \u202e ' \" ; DROP TABLE job"
    transitions.enqueue(db, [spec(1, spec={"note": text}, hold_reason=text)])
    job = queries.job(db, 1)
    assert (job.spec["note"], job.hold_reason) == (text, text)
    assert json.loads(_rows(db, "job")[0]["spec"]) == {"note": text}


def test_the_trials_of_a_screen_are_the_trials_without_what_only_a_sampler_needs(db: Database) -> None:
    enqueued(db, 1)
    claim = claimed(db, worker(db))
    for number in range(2):
        transitions.finish_trial(db, claim, started(db, claim, number), "complete", Cause.FINISHED, value=0.6)
    whole = queries.trials(db, claim.job_id)
    assert len(whole) == 2
    light = [replace(trial, effective={}, effective_md5="", recipe=None) for trial in whole]
    assert list(queries.shown_trials(db, claim.job_id)) == light
