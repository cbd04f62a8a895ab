"""A job's way through the queue, told by its events."""

from __future__ import annotations

from typing import Any

import pytest

from fts.state import queries, tickets, transitions
from fts.state.db import Database
from fts.state.errors import BadRow, StaleToken
from fts.state.scheduling import QueueContext, runnable_reason
from fts.state.values import Cause, JobStatus
from tests.state.helpers import LEASE_S, claimed, enqueued, epoch, line, live_trial, spec, started, verbs, worker


def test_a_job_runs_from_the_queue_to_its_end(db: Database) -> None:
    (job_id,) = enqueued(db)
    claim = claimed(db)
    trial = started(db, claim)
    transitions.record_epoch(db, claim, trial, epoch(1))
    transitions.finish_trial(db, claim, trial, "complete", Cause.FINISHED, value=0.6, best_epoch=1)
    transitions.finish_job(db, claim)
    job = queries.job(db, job_id)
    assert (job.status, job.cause, job.trials_complete, job.best_value) == (JobStatus.DONE, Cause.FINISHED, 1, 0.6)
    assert verbs(db, job_id) == ["enqueued", "claimed", "trial_started", "trial_complete", "new_best", "finished"]


def test_the_same_specification_waits_only_once(db: Database) -> None:
    (first,) = transitions.enqueue(db, [spec(1)])
    (again,) = transitions.enqueue(db, [spec(1)])
    assert (first.created, again.created, again.job_id) == (True, False, first.job_id)
    assert tickets.waiting_tickets(db) == 1


def test_a_done_specification_may_be_queued_anew(db: Database) -> None:
    enqueued(db)
    transitions.finish_job(db, claimed(db))
    (again,) = transitions.enqueue(db, [spec(1)])
    assert again.created


def test_one_bad_row_keeps_all_of_them_out(db: Database) -> None:
    with pytest.raises(BadRow, match="horizon is '0'"):
        transitions.enqueue(db, [spec(1), spec(2, horizon=0)])
    assert queries.jobs(db) == ()


@pytest.mark.parametrize(
    "name", ["../../etc", "..", ".hidden", "-rf", "a/b", "a b", "", "x" * 81, "a\x1b[2J", "[/foo]", 7]
)
def test_a_name_that_could_leave_its_folder_is_refused(db: Database, name: object) -> None:
    with pytest.raises(BadRow, match="experiment is"):
        transitions.enqueue(db, [spec(1, experiment=name)])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("spec", "{not json"),
        ("spec", [1, 2]),
        ("spec", {"x": float("nan")}),
        ("spec", {"x": "y" * 300_000}),
        ("spec", "[" * 100_000),
        ("kind", "a shell"),
        ("trials_wanted", -1),
        ("trials_wanted", "3; DROP TABLE job"),
        ("horizon", True),
        ("hold", "unknown field"),
    ],
)
def test_a_field_that_makes_no_sense_is_refused(db: Database, field: str, value: object) -> None:
    with pytest.raises(BadRow):
        transitions.enqueue(db, [spec(1, **{field: value})])


def test_jobs_are_claimed_in_the_order_of_their_rank(db: Database) -> None:
    enqueued(db, 3)
    transitions.move(db, [3], "top")
    crew = worker(db, slots=3)
    assert [claimed(db, crew).job_id for _ in range(3)] == [3, 1, 2]


def test_a_held_job_is_passed_over_until_it_is_resumed(db: Database) -> None:
    transitions.enqueue(db, [spec(1, hold_reason="needs 91 GB, 20 GB allowed")])
    crew = worker(db)
    assert transitions.claim(db, crew, LEASE_S) is None
    assert tickets.waiting_tickets(db) == 0
    transitions.resume(db, [1])
    assert tickets.waiting_tickets(db) == 1
    assert claimed(db, crew).job_id == 1


def test_nothing_is_claimed_while_the_queue_is_paused(db: Database) -> None:
    enqueued(db)
    crew = worker(db)
    transitions.pause_queue(db, "disk full")
    assert transitions.claim(db, crew, LEASE_S) is None
    transitions.resume_queue(db)
    assert claimed(db, crew).job_id == 1


@pytest.mark.parametrize("asked", ["drain_job", "drain_trial", "stop"])
def test_a_worker_that_was_asked_to_stop_gets_no_job(db: Database, asked: str) -> None:
    enqueued(db)
    crew = worker(db)
    transitions.ask_worker(db, crew, asked)
    assert transitions.claim(db, crew, LEASE_S) is None
    transitions.ask_worker(db, crew, None)
    assert transitions.claim(db, crew, LEASE_S) is not None


def test_a_drained_job_goes_back_to_its_place_and_continues(db: Database) -> None:
    enqueued(db, 2)
    claim = claimed(db)
    trial = started(db, claim)
    transitions.release_job(db, claim, Cause.DRAINED)
    assert line(db) == [1, 2]
    assert live_trial(db, 1).status == "interrupted"  # type: ignore[union-attr]
    again = claimed(db)
    assert (again.job_id, again.attempt, again.token) == (1, 2, 2)
    transitions.resume_trial(db, again, trial)
    assert queries.trial_by_id(db, trial).status == "running"
    assert queries.trial_by_id(db, trial).cause is None


def test_three_attempts_without_progress_park_the_job_with_its_last_cause(db: Database) -> None:
    enqueued(db, 2)
    crew = worker(db)
    for _ in range(3):
        transitions.release_job(db, claimed(db, crew), Cause.OUT_OF_MEMORY, "asked for 40 GB")
    assert claimed(db, crew).job_id == 2
    job = queries.job(db, 1)
    assert (job.status, job.cause, job.attempt) == (JobStatus.FAILED, Cause.OUT_OF_MEMORY, 3)
    assert "3 attempts without an epoch" in (job.message or "") and "asked for 40 GB" in (job.message or "")


def test_an_epoch_counts_as_progress(db: Database) -> None:
    enqueued(db)
    for n in range(1, 6):
        claim = claimed(db)
        live = live_trial(db, 1)
        if live is None:
            trial = started(db, claim)
        else:
            trial = live.id
            transitions.resume_trial(db, claim, trial)
        transitions.record_epoch(db, claim, trial, epoch(n))
        transitions.release_job(db, claim, Cause.OUT_OF_MEMORY)
    assert queries.job(db, 1).attempt == 5


def test_being_drained_often_is_not_the_jobs_fault(db: Database) -> None:
    enqueued(db)
    for _ in range(6):
        transitions.release_job(db, claimed(db), Cause.DRAINED)
    assert queries.job(db, 1).status is JobStatus.QUEUED


@pytest.mark.parametrize(("wish", "status"), [("pause", JobStatus.PAUSED), ("cancel", JobStatus.CANCELLED)])
def test_a_wish_is_done_even_if_the_worker_only_releases_the_job(db: Database, wish: str, status: JobStatus) -> None:
    enqueued(db)
    claim = claimed(db)
    getattr(transitions, wish)(db, [1])
    transitions.release_job(db, claim, Cause.DRAINED)
    job = queries.job(db, 1)
    assert (job.status, job.asked) == (status, None)


def test_the_event_names_the_request_that_ended_the_job_not_another_one_of_the_same_moment(db: Database) -> None:
    ends: list[tuple[list[str], Any, JobStatus, str]] = [
        (["cancel"], lambda claim: transitions.release_job(db, claim, Cause.DRAINED),
         JobStatus.CANCELLED, "cancelled: killed by user"),
        (["pause"], lambda claim: transitions.release_job(db, claim, Cause.DRAINED, "asked to stop"),
         JobStatus.PAUSED, "paused: paused by user, asked to stop"),
        (["pause", "cancel"], lambda claim: transitions.pause_running(db, claim, "memory freed"),
         JobStatus.CANCELLED, "cancelled: killed by user, memory freed"),
        (["cancel"], lambda claim: transitions.release_job(db, claim, Cause.LOST_WORKER, "no heartbeat"),
         JobStatus.CANCELLED, "cancelled: killed by user, lost worker, no heartbeat"),
        ([], lambda claim: transitions.release_job(db, claim, Cause.DRAINED), JobStatus.QUEUED, "released: drained"),
    ]  # fmt: skip
    enqueued(db, len(ends))
    for asked, end, status, words in ends:
        claim = claimed(db)
        for wish in asked:
            getattr(transitions, wish)(db, [claim.job_id])
        assert end(claim) is status
        assert queries.job(db, claim.job_id).status is status
        assert queries.events(db)[-1].message == words


def test_a_failed_job_keeps_cause_message_and_the_end_of_its_log(db: Database) -> None:
    enqueued(db)
    claim = claimed(db)
    started(db, claim)
    transitions.fail_job(db, claim, Cause.CODE_ERROR, "KeyError: 'x'", log_tail="many lines\n" * 10_000)
    job = queries.job(db, 1)
    assert (job.status, job.cause, job.message) == (JobStatus.FAILED, Cause.CODE_ERROR, "KeyError: 'x'")
    event = queries.events(db, job_id=1, verbs=["failed"])[0]
    assert event.data["log_tail"].endswith("many lines\n") and len(event.data["log_tail"]) == 20_000


def test_an_ended_claim_writes_nothing_more(db: Database) -> None:
    enqueued(db)
    claim = claimed(db)
    transitions.release_job(db, claim, Cause.DRAINED)
    for write in (
        lambda: transitions.finish_job(db, claim),
        lambda: transitions.fail_job(db, claim, Cause.STALLED, "x"),
        lambda: transitions.release_job(db, claim, Cause.DRAINED),
        lambda: started(db, claim),
    ):
        with pytest.raises(StaleToken, match="is queued now"):
            write()


def test_a_claim_that_was_handed_on_is_named_with_both_tokens(db: Database) -> None:
    enqueued(db)
    old = claimed(db)
    transitions.release_job(db, old, Cause.DRAINED)
    claimed(db)
    with pytest.raises(StaleToken, match="token 1, the latest 2"):
        transitions.finish_job(db, old)


def test_a_job_that_cannot_fit_is_held_with_the_bytes(db: Database) -> None:
    enqueued(db)
    transitions.hold_job(db, claimed(db), "needs 91 GB, 20 GB allowed")
    job = queries.job(db, 1)
    assert (job.status, job.hold_reason, job.cause) == ("queued", "needs 91 GB, 20 GB allowed", Cause.CANNOT_FIT)
    reason = runnable_reason(job, QueueContext(False, None))
    assert reason is not None and reason.startswith("it is held: needs 91 GB, 20 GB allowed;")


def test_a_text_that_is_not_utf8_is_named(db: Database) -> None:
    with pytest.raises(BadRow, match=r"spec holds a name or text that is not UTF-8: .*/caf.udce9'; rename it"):
        transitions.enqueue(db, [spec(1) | {"spec": {"folder": "/home/caf\udce9"}}])
