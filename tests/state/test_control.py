"""What people ask of the queue, and the way back."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest

from fts.jobs.actions import conditions
from fts.state import queries, replay, tickets, transitions
from fts.state.db import Database, open_database
from fts.state.errors import BadRow, CannotUndo, NoSuchRow, WrongStatus
from fts.state.models import EventRow, JobRow
from fts.state.values import Cause, Claim, Fault, JobStatus, Snapshot, TrialStatus, Verb, WorkerOrder
from tests.state.helpers import LEASE_S, claimed, dump, enqueued, epoch, line, spec, started, verbs, worker


def status(db: Database, job_id: int) -> str:
    return queries.job(db, job_id).status.value


@pytest.mark.parametrize(
    ("move", "expected"),
    [
        ({"job_ids": [4], "to": "top"}, [4, 1, 2, 3, 5]),
        ({"job_ids": [2], "to": "bottom"}, [1, 3, 4, 5, 2]),
        ({"job_ids": [3], "to": "up"}, [1, 3, 2, 4, 5]),
        ({"job_ids": [3], "to": "down"}, [1, 2, 4, 3, 5]),
        ({"job_ids": [3, 4], "to": "up"}, [1, 3, 4, 2, 5]),
        ({"job_ids": [1, 2], "to": "up"}, [1, 2, 3, 4, 5]),
        ({"job_ids": [4, 5], "to": "down"}, [1, 2, 3, 4, 5]),
        ({"job_ids": [1, 5], "to": "top"}, [1, 5, 2, 3, 4]),
        ({"job_ids": [5, 1], "place": 2}, [2, 1, 5, 3, 4]),
        ({"job_ids": [1], "place": 99}, [2, 3, 4, 5, 1]),
        ({"job_ids": [5], "before": 2}, [1, 5, 2, 3, 4]),
    ],
)
def test_a_job_moves_in_line_and_back(db: Database, move: dict[str, Any], expected: list[int]) -> None:
    enqueued(db, 5)
    moved = transitions.move(db, **move)
    assert line(db) == expected
    if moved.event_id is not None:
        transitions.undo(db)
    assert line(db) == [1, 2, 3, 4, 5]


def test_a_place_in_line_can_be_halved_for_ever(db: Database) -> None:
    enqueued(db, 3)
    for _ in range(120):  # more often than a float has bits
        first, second, third = line(db)
        transitions.move(db, [third], before=second)
        assert line(db) == [first, third, second]
    ranks = [job.rank for job in queries.jobs(db)]
    assert len(set(ranks)) == 3


def test_only_waiting_jobs_have_a_place(db: Database) -> None:
    enqueued(db, 2)
    claimed(db)
    with pytest.raises(WrongStatus, match="job 1 is running"):
        transitions.move(db, [1], "top")
    with pytest.raises(NoSuchRow, match="no job 9"):
        transitions.move(db, [9], "top")


@pytest.mark.parametrize("action", ["pause", "cancel", "retry", "resume"])
def test_every_action_can_be_tried_dry(db: Database, action: str) -> None:
    enqueued(db, 2)
    if action == "retry":
        transitions.cancel(db, [1, 2])
    if action == "resume":
        transitions.pause(db, [1, 2])
    before = dump(db)
    change = getattr(transitions, action)(db, [1, 2], dry_run=True)
    assert dump(db) == before
    assert change.dry_run and change.event_id is None
    done = getattr(transitions, action)(db, [1, 2])
    assert done.message == change.message


@pytest.mark.parametrize(
    "action",
    [
        lambda db, dry: transitions.move(db, [2], "top", dry_run=dry),
        lambda db, dry: transitions.pause_queue(db, "heat", dry_run=dry),
        lambda db, dry: transitions.ask_worker(db, None, "stop", dry_run=dry),
        lambda db, dry: transitions.undo(db, dry_run=dry)[0],
        lambda db, dry: transitions.acknowledge(db, "ada", dry_run=dry),
    ],
)
def test_a_dry_run_writes_nothing_and_says_the_same(db: Database, action: Any) -> None:
    enqueued(db, 2)
    worker(db)
    before = dump(db)
    said = action(db, True).message
    assert dump(db) == before
    assert action(db, False).message == said


def test_several_jobs_change_together_or_not_at_all(db: Database) -> None:
    enqueued(db, 3)
    transitions.finish_job(db, claimed(db))
    with pytest.raises(WrongStatus, match="job 1 is done and cannot be paused"):
        transitions.pause(db, [2, 1, 3])
    assert line(db) == [2, 3] and status(db, 2) == "queued"
    transitions.pause(db, [2, 3])
    transitions.undo(db)
    assert (status(db, 2), status(db, 3)) == ("queued", "queued")


def test_a_running_job_is_paused_by_its_worker_and_undo_puts_it_back_in_line(db: Database) -> None:
    enqueued(db)
    claim = claimed(db)
    started(db, claim)
    transitions.pause(db, [1])
    assert transitions.record_heartbeat(db, claim.worker_id, LEASE_S).jobs == {1: "pause"}
    transitions.pause_running(db, claim)
    assert (status(db, 1), queries.job(db, 1).cause) == ("paused", Cause.PAUSED)
    transitions.undo(db)
    assert status(db, 1) == "queued"
    assert tickets.waiting_tickets(db) == 2


@pytest.mark.parametrize("wish", ["pause", "cancel"])
def test_a_wish_withdrawn_while_the_trial_stops_puts_the_job_back_in_line(db: Database, wish: str) -> None:
    enqueued(db)
    claim = claimed(db)
    started(db, claim)
    getattr(transitions, wish)(db, [1])
    transitions.undo(db)  # the worker has heard the wish already
    (transitions.pause_running if wish == "pause" else transitions.cancel_running)(db, claim)
    assert (status(db, 1), queries.job(db, 1).cause) == ("queued", Cause.DRAINED)
    assert claimed(db).job_id == 1


def test_a_paused_job_tells_who_asked_for_it(db: Database) -> None:
    enqueued(db)
    claim = claimed(db)
    transitions.pause(db, [1], who="ada@lab")
    transitions.pause_running(db, claim)
    paused = queries.events(db, job_id=1, verbs=[Verb.PAUSED], limit=1)[0]
    assert (paused.who, paused.data["asked_by"]) == (f"worker {claim.worker_id}", "ada@lab")


def test_a_wish_can_be_withdrawn_before_it_is_done(db: Database) -> None:
    enqueued(db)
    claimed(db)
    transitions.cancel(db, [1])
    transitions.undo(db)
    assert queries.job(db, 1).asked is None


def test_pruned_trials_are_not_called_missing(db: Database) -> None:
    enqueued(db)
    claim = claimed(db)
    transitions.finish_trial(db, claim, started(db, claim, 0), "pruned", "pruned")
    assert "2 of 3 trials will be missing" in transitions.cancel(db, [1]).message
    transitions.cancel_running(db, claim)
    assert "retried: 2 trials to run; 1 trial kept" in transitions.retry(db, [1]).message
    assert "cancelled; 1 trial kept" in transitions.cancel(db, [1]).message


def test_cancelling_a_running_job_says_what_is_lost(db: Database) -> None:
    enqueued(db)
    claim = claimed(db)
    assert "3 of 3 trials will be missing" in transitions.cancel(db, [1]).message
    transitions.cancel_running(db, claim)
    assert status(db, 1) == "cancelled"
    transitions.retry(db, [1])
    assert claimed(db, claim.worker_id).attempt == 2


def test_a_job_that_waits_keeps_no_words_of_what_it_was_before(db: Database) -> None:
    enqueued(db)
    claim = claimed(db)
    transitions.release_job(db, claim, Cause.LOST_WORKER, "no heartbeat")
    transitions.pause(db, [1])
    job = queries.job(db, 1)
    assert (job.cause, job.message) == (Cause.PAUSED, None)
    transitions.undo(db)
    job = queries.job(db, 1)
    assert (job.cause, job.message) == (Cause.LOST_WORKER, "no heartbeat"), "undo brings them back"
    transitions.pause(db, [1])
    transitions.cancel(db, [1])
    job = queries.job(db, 1)
    assert (job.status, job.cause, job.message) == (JobStatus.CANCELLED, Cause.KILLED, None)


def test_retry_keeps_the_trials_and_forgives_the_attempts(db: Database) -> None:
    enqueued(db)
    claim = claimed(db)
    started(db, claim)
    transitions.fail_job(db, claim, Cause.OUT_OF_MEMORY, "40 GB")
    transitions.retry(db, [1])
    job = queries.job(db, 1)
    assert (job.status, job.cause, job.ended_at, job.idle_attempts) == (JobStatus.QUEUED, None, None, 0)
    assert len(queries.trials(db, 1)) == 1


def test_retry_is_refused_while_the_same_specification_waits(db: Database) -> None:
    enqueued(db)
    transitions.cancel(db, [1])
    transitions.enqueue(db, [spec(1)])
    with pytest.raises(WrongStatus, match="job 2 has the same specification and has not ended"):
        transitions.retry(db, [1])
    assert status(db, 1) == "cancelled"


def test_undo_and_redo_walk_the_same_way_back_and_forth(db: Database) -> None:
    enqueued(db, 3)
    seen = [_shape(db)]
    for act in (
        lambda: transitions.move(db, [3], "top"),
        lambda: transitions.pause(db, [1, 2]),
        lambda: transitions.pause_queue(db, "heat"),
        lambda: transitions.cancel(db, [2]),
        lambda: transitions.resume_queue(db),
    ):
        act()
        seen.append(_shape(db))
    for expected in reversed(seen[:-1]):
        transitions.undo(db)
        assert _shape(db) == expected
    for expected in seen[1:]:
        transitions.redo(db)
        assert _shape(db) == expected
    transitions.undo(db, 5)
    assert _shape(db) == seen[0]


def _shape(db: Database) -> object:
    snapshot = queries.snapshot(db)
    jobs = sorted((job.id, job.status.value, job.rank, job.cause) for job in snapshot.jobs)
    return jobs, snapshot.queue_paused, snapshot.queue_paused_reason


def test_undo_of_an_enqueue_takes_back_the_whole_matrix(db: Database) -> None:
    enqueued(db, 12)
    (change,) = transitions.undo(db)
    assert "and 7 more" in change.message
    assert line(db) == []
    transitions.redo(db)
    assert len(line(db)) == 12


def test_a_change_of_hundreds_of_jobs_is_taken_back_and_forth(db: Database) -> None:
    jobs = enqueued(db, 240)  # more than an event of one job has room for
    seen = [_shape(db)]
    for act in (lambda: transitions.move(db, jobs[1:], "top"), lambda: transitions.cancel(db, jobs)):
        act()
        seen.append(_shape(db))
    for expected in (seen[1], seen[0]):
        transitions.undo(db)
        assert _shape(db) == expected
    for expected in seen[1:]:
        transitions.redo(db)
        assert _shape(db) == expected


def test_undo_is_refused_once_the_job_has_started(db: Database) -> None:
    enqueued(db)
    claimed(db)
    with pytest.raises(CannotUndo, match="job 1 has started since and is running now, not queued"):
        transitions.undo(db)


def test_undo_of_a_retry_is_refused_after_a_start_even_if_it_waits_again(db: Database) -> None:
    enqueued(db)
    transitions.cancel(db, [1])
    transitions.retry(db, [1])
    transitions.release_job(db, claimed(db), Cause.DRAINED)
    with pytest.raises(CannotUndo, match="has started since"):
        transitions.undo(db)


def test_the_length_of_the_journal_changes_nothing_about_undo_and_redo(db: Database) -> None:
    def go_on() -> Snapshot:
        with db.write():
            for n in range(queries.EVENTS_IN_SNAPSHOT + 5):
                transitions.note(db, f"note {n}")
        return queries.snapshot(db)

    snapshot = go_on()
    assert snapshot.events[0].id > 1
    assert "nothing to undo" in str(conditions.undoable(None, snapshot))
    assert "nothing to redo" in str(conditions.redoable(None, snapshot))
    transitions.pause(db, enqueued(db))
    assert conditions.undoable(None, go_on()) is None
    transitions.undo(db)
    assert conditions.redoable(None, go_on()) is None


def test_an_undone_change_after_the_last_undo_leaves_nothing_to_redo(db: Database) -> None:
    """Pause, undo; pause another one, undo, redo: the first pause is not offered, because its redo is refused."""
    for job in enqueued(db, 2):
        transitions.pause(db, [job])
        transitions.undo(db)
    assert conditions.redoable(None, queries.snapshot(db)) is None
    transitions.redo(db)
    assert "something else was changed" in str(conditions.redoable(None, queries.snapshot(db)))
    with pytest.raises(CannotUndo, match="something else was changed since"):
        transitions.redo(db)


def test_redo_is_refused_after_another_change(db: Database) -> None:
    enqueued(db, 2)
    transitions.pause(db, [1])
    transitions.undo(db)
    transitions.pause(db, [2])
    with pytest.raises(CannotUndo, match=r"nothing to redo|something else was changed since"):
        transitions.redo(db)


def test_an_import_hides_no_earlier_change_from_undo_and_none_from_redo(db: Database) -> None:
    enqueued(db)
    transitions.pause(db, [1])
    transitions.undo(db)
    ended = transitions.RecordedTrial(TrialStatus.COMPLETE, 0.5, (), {}, 1.0, 2.0, Cause.FINISHED)
    transitions.import_history(db, spec(9, trials_wanted=2), [ended] * 2, "old.db")
    transitions.redo(db)
    shown = conditions.latest_undoable(queries.snapshot(db))
    assert shown is not None and shown.verb == Verb.REDONE, "the monitor names the same change"
    for message in ("paused -> queued", "queued -> cancelled"):
        assert message in transitions.undo(db)[0].message
    shown = conditions.latest_undoable(queries.snapshot(db))
    with pytest.raises(CannotUndo, match="there is nothing to undo"):
        transitions.undo(db)
    assert shown is None and status(db, 2) == "done"


def test_undo_works_from_another_process(db: Database) -> None:
    enqueued(db)
    transitions.pause(db, [1])
    other = open_database(db.path)
    assert "job 1: paused -> queued" in transitions.undo(other, who="eve@home")[0].message
    other.close()
    assert status(db, 1) == "queued"
    assert queries.events(db)[-1].who == "eve@home"


def test_there_is_an_end_to_undoing(db: Database) -> None:
    with pytest.raises(CannotUndo, match="nothing to undo"):
        transitions.undo(db)
    with pytest.raises(CannotUndo, match="nothing to redo"):
        transitions.redo(db)


@pytest.mark.parametrize(
    "inverse",
    [
        '{"jobs": [{"id": 1, "expect": {}, "set": {"status": "running"}}]}',
        '{"jobs": [{"id": 1, "expect": {}, "set": {"spec": "{}"}}]}',
        '{"jobs": [{"id": 1, "expect": {}, "set": {"token": 99}}]}',
        '{"jobs": [{"id": 99, "expect": {}, "set": {"rank": 1}}]}',
        '{"jobs": [{"id": 1e999, "expect": {}, "set": {"rank": 1}}]}',
        f'{{"jobs": [{{"id": {10**30}, "expect": {{}}, "set": {{"rank": 1}}}}]}}',
        '{"jobs": [{"id": 1, "expect": {}, "set": {"rank": "first"}}]}',
        '{"jobs": [{"id": 1, "expect": {}, "set": {"status": "done"}}]}',
        '{"jobs": [{"id": 1}]}',
        '{"jobs": 7}',
        '{"jobs": [{"id": 1, "expect": {"nothing": 1}, "set": {}}]}',
        '{"flags": [{"name": "last_key:ada", "expect": null, "set": {"value": "1", "reason": null}}]}',
        '{"workers": [{"id": 5, "expect": {"asked": null}, "set": {"asked": "stop"}}]}',
        '{"tables": ["job"]}',
        "[1]",
        "{}",
    ],
)
def test_a_hostile_way_back_does_nothing(db: Database, inverse: str) -> None:
    enqueued(db)
    EventRow.insert(at=1.0, who="x", verb="moved", message="m", data="{}", inverse=inverse).execute(db)
    before = dump(db)
    with pytest.raises(CannotUndo) as refused:
        transitions.undo(db)
    assert "same specification" not in str(refused.value), "that is not the reason"
    assert dump(db) == before


def test_undo_gives_back_a_job_whose_time_was_up_before_all_its_trials_had_run(db: Database) -> None:
    rule = transitions.SameQuestion(of=lambda spec: "the same", md5=lambda spec: f"md5 of {spec['trials']}")
    transitions.enqueue(db, [spec(1, trials_wanted=5, spec={"trials": 5})], rule=rule)
    claim = claimed(db)
    transitions.finish_trial(db, claim, started(db, claim), "complete", "finished", value=0.5)
    transitions.finish_trial(db, claim, started(db, claim, 1), "failed", Cause.CODE_ERROR)
    transitions.finish_job(db, claim, "time is up: 1h")
    rows = "SELECT * FROM job", "SELECT * FROM trial"
    before = [db.execute_sql(sql).fetchall() for sql in rows]
    for change in (
        lambda: transitions.retry(db, [1]),
        lambda: transitions.enqueue(db, [spec(1, trials_wanted=9, spec={"trials": 9})], rule=rule),
    ):
        change()
        assert status(db, 1) == "queued"
        transitions.undo(db)
        assert [db.execute_sql(sql).fetchall() for sql in rows] == before


def test_undo_of_a_move_leaves_the_end_of_a_job_that_was_cancelled_since(db: Database) -> None:
    enqueued(db, 2)
    transitions.move(db, [2], "top")
    db.execute_sql("UPDATE job SET status = 'cancelled', ended_at = 7.0 WHERE id = 2")
    transitions.undo(db)
    assert (queries.job(db, 2).ended_at, queries.job(db, 2).rank) == (7.0, 2.0)


def test_asking_a_worker_is_told_and_can_be_taken_back(db: Database) -> None:
    first, second = worker(db), worker(db, pid=2)
    assert transitions.ask_worker(db, None, "drain_trial").message == ("workers 1, 2 asked to stop after this trial")
    transitions.ask_worker(db, first, "stop")
    transitions.undo(db)
    assert [w.asked for w in queries.workers(db)] == ["drain_trial", "drain_trial"]
    transitions.undo(db)
    assert [w.asked for w in queries.workers(db)] == [None, None]
    transitions.stop_worker(db, second)
    with pytest.raises(WrongStatus, match="worker 2 is stopped"):
        transitions.ask_worker(db, second, "stop")


def test_a_worker_that_has_died_cannot_be_asked(db: Database) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead = worker(db, host=os.uname().nodename, pid=ended.pid)
    with pytest.raises(NoSuchRow, match="the process of worker 1 has died"):
        transitions.ask_worker(db, None, "drain_trial")
    with pytest.raises(WrongStatus, match=f"its process {ended.pid} has died"):
        transitions.ask_worker(db, dead, "stop")
    worker(db)
    assert transitions.ask_worker(db, None, "drain_trial").message == "worker 2 asked to stop after this trial"


@pytest.mark.parametrize("how", ["left", "died"])
def test_undo_of_an_order_to_a_worker_that_has_left_says_so_and_does_not_block_the_undo_before_it(
    db: Database, how: str
) -> None:
    """It was refused for ever, and with it every undo of what was changed before."""
    enqueued(db)
    ended = subprocess.Popen(["sleep", "60"])
    first, second = worker(db, host=os.uname().nodename, pid=ended.pid), worker(db, pid=2)
    transitions.pause(db, [1])
    transitions.ask_worker(db, None, "drain_trial")
    if how == "left":
        transitions.stop_worker(db, first)
    ended.kill()
    ended.wait()
    left = "worker 1 has left, so nothing is withdrawn, `fts worker` starts another"
    assert transitions.undo(db, dry_run=True)[0].message.endswith(
        f": {left}; worker 2: the request to stop was withdrawn"
    )
    assert transitions.undo(db)[0].message.endswith(f": {left}; worker 2: the request to stop was withdrawn")
    assert [one.asked for one in queries.workers(db) if one.id == second] == [None]
    assert "worker 1 has left, so nothing is asked of it; worker 2: drain_trial" in transitions.redo(db)[0].message
    transitions.stop_worker(db, second)
    assert left in transitions.undo(db)[0].message
    assert transitions.undo(db)[0].message.endswith("job 1: paused -> queued")


def test_asking_the_same_again_is_no_change(db: Database) -> None:
    enqueued(db)
    transitions.pause(db, [1])
    before = len(verbs(db))
    assert transitions.pause(db, [1]).message.startswith("nothing to do")
    assert len(verbs(db)) == before


def test_a_note_is_kept_with_its_job(db: Database) -> None:
    enqueued(db)
    transitions.note(db, "looks odd \x1b[31m[/foo]", job_id=1, who="ada@lab")
    event = queries.events(db, job_id=1)[-1]
    assert (event.verb, event.message) == ("noted", "looks odd \x1b[31m[/foo]")


def test_acknowledging_remembers_who_looked_when(db: Database) -> None:
    enqueued(db)
    transitions.finish_job(db, claimed(db))
    assert queries.snapshot(db, "ada").last_key_at is None
    transitions.acknowledge(db, "ada")
    snapshot = queries.snapshot(db, "ada")
    assert snapshot.last_key_at is not None and snapshot.jobs[0].acknowledged_at is not None
    assert queries.snapshot(db, "eve").last_key_at is None
    assert transitions.acknowledge(db, "ada").message == "nothing to acknowledge"


def test_a_forecast_of_thousands_of_jobs_is_acknowledged(db: Database) -> None:
    trials = {str(job): 50 for job in range(10_000, 15_000)}
    transitions.acknowledge(db, "ada", forecast=FORECAST | {"jobs": [*map(int, trials)], "trials": trials})
    seen = queries.seen_forecast(db, "ada")
    assert seen is not None and len(seen.jobs) == len(seen.trials) == 5000


def test_nothing_named_is_an_error_not_everything(db: Database) -> None:
    with pytest.raises(BadRow, match="no job was named"):
        transitions.cancel(db, [])


@pytest.mark.parametrize("to", ["top", "bottom", "up", "down"])
def test_a_move_by_one_reads_only_its_neighbours_and_still_lands_right(db: Database, to: str) -> None:
    transitions.enqueue(db, [spec(n) for n in range(1, 41)])
    transitions.pause(db, [19, 22])
    expected = line(db)
    i = expected.index(20)
    expected.remove(20)
    expected.insert({"top": 0, "bottom": 39, "up": i - 1, "down": i + 1}[to], 20)
    change = transitions.move(db, [20], to)
    assert line(db) == expected
    assert change.message == f"job 20 moved to place {expected.index(20) + 1}"


FORECAST = {"taken_at": 10.0, "finish_at": 99.0, "jobs": [1], "paces": {"2M": 3.5}, "slots": 1}


def test_an_acknowledgement_keeps_what_its_user_was_told_about_the_end(db: Database) -> None:
    enqueued(db)
    transitions.acknowledge(db, "ada", forecast=FORECAST)
    seen = queries.snapshot(db, "ada").seen
    assert seen is not None and (seen.finish_at, seen.jobs, seen.paces) == (99.0, (1,), {"2M": 3.5})
    assert queries.snapshot(db, "eve").seen is None
    transitions.acknowledge(db, "ada", [1])  # one job: nothing was said about the end
    transitions.acknowledge(db, "ada", forecast=FORECAST | {"finish_at": 120.0})
    latest = queries.snapshot(db, "ada").seen
    assert latest is not None and latest.finish_at == 120.0


def test_a_past_moment_shows_the_forecast_that_was_acknowledged_then(db: Database) -> None:
    enqueued(db)
    clock = db.now() - 1000
    db.now = lambda: clock  # type: ignore[method-assign]
    transitions.acknowledge(db, "ada", forecast=FORECAST)
    clock += 500
    transitions.acknowledge(db, "ada", forecast=FORECAST | {"finish_at": 120.0})
    seen = replay.rebuild(db, clock - 100, "ada").seen
    assert seen is not None and seen.finish_at == 99.0
    assert replay.rebuild(db, clock - 600, "ada").seen is None


@pytest.mark.parametrize("odd", [{}, {"finish_at": "soon"}, {"jobs": 7}, {"paces": [1]}, {"jobs": ["x"]}])
def test_a_forecast_that_cannot_be_read_is_none(db: Database, odd: dict[str, Any]) -> None:
    enqueued(db)
    transitions.acknowledge(db, "ada", forecast=(FORECAST | odd) if odd else {"x": 1})
    assert queries.snapshot(db, "ada").seen is None


def test_what_a_file_asks_is_an_event_and_weakens_no_stronger_order(db: Database) -> None:
    first, second = worker(db), worker(db, pid=2)
    transitions.ask_worker(db, second, "stop")
    transitions.record_request(db, WorkerOrder.DRAIN_JOB, "the file outputs/logs/STOP_HPO")
    assert {w.id: w.asked for w in queries.workers(db)} == {first: "drain_job", second: "stop"}
    event = queries.events(db)[-1]
    assert (event.verb, event.who) == (Verb.WORKER_ASKED, "the file outputs/logs/STOP_HPO")
    assert event.message == "workers 1, 2 asked to stop after this job by the file outputs/logs/STOP_HPO"
    transitions.undo(db)
    assert {w.id: w.asked for w in queries.workers(db)} == {first: None, second: "stop"}


def test_what_was_asked_twice_is_told_twice_and_a_signal_cannot_be_undone(db: Database) -> None:
    first = worker(db)
    for _ in range(2):
        transitions.record_request(db, WorkerOrder.STOP, "SIGTERM to process 1", first, can_withdraw=False)
    assert [event.inverse for event in queries.events(db) if event.verb == Verb.WORKER_ASKED] == [None, None]
    with pytest.raises(CannotUndo):
        transitions.undo(db)
    transitions.stop_worker(db, first)
    left = queries.events(db)[-1]
    assert (left.verb, left.message, left.data["asked"]) == (
        Verb.WORKER_STOPPED, "worker 1 left at a checkpoint, as requested", "stop",
    )  # fmt: skip
    with pytest.raises(WrongStatus):
        transitions.record_request(db, WorkerOrder.STOP, "SIGTERM to process 1", first)


def test_a_worker_that_was_not_asked_just_left(db: Database) -> None:
    transitions.stop_worker(db, worker(db))
    assert queries.events(db)[-1].message == "worker 1 left"


def _ends(db: Database, claim: Claim, *causes: Cause) -> None:
    statuses = {Cause.FINISHED: "complete", Cause.PRUNED: "pruned"}
    for number, cause in enumerate(causes):
        value = 0.5 if cause is Cause.FINISHED else None
        status_ = statuses.get(cause, "failed")
        transitions.finish_trial(db, claim, started(db, claim, number), status_, cause, value=value, message="why")


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause.fault is not None])
def test_a_done_job_runs_its_failed_trials_again_unless_they_are_used_up(db: Database, cause: Cause) -> None:
    enqueued(db)
    claim = claimed(db)
    _ends(db, claim, Cause.FINISHED, cause, cause)
    assert transitions.finish_job(db, claim) is JobStatus.DONE
    before = dump(db)
    again = queries.snapshot(db).again.get(1, ())
    if cause.fault is Fault.TRIAL:
        assert again == ()
        with pytest.raises(WrongStatus, match="nothing is left to run: 3 trials: 1 complete, 2 failed for good"):
            transitions.retry(db, [1])
        assert dump(db) == before
        return
    assert again == (1, 2)
    assert "retried: 2 trials run again (t1 t2); 1 trial kept" in transitions.retry(db, [1]).message
    job = queries.job(db, 1)
    assert (job.status, job.trials_complete, job.trials_failed) == (JobStatus.QUEUED, 1, 0)
    assert [str(trial.status) for trial in queries.trials(db, 1)] == ["complete", "interrupted", "interrupted"]
    transitions.undo(db)
    job = queries.job(db, 1)
    assert (job.status, job.trials_failed, [t.status for t in queries.trials(db, 1)][1:]) == ("done", 2, ["failed"] * 2)
    assert queries.snapshot(db).again == {1: (1, 2)}


def test_a_trial_that_runs_again_forgets_its_old_try_unless_it_stalled(db: Database) -> None:
    enqueued(db)
    claim = claimed(db)
    for number, cause in enumerate((Cause.CODE_ERROR, Cause.STALLED)):
        trial = started(db, claim, number)
        transitions.record_epoch(db, claim, trial, epoch(1))
        checkpoint = {"step": 10, "epoch": 1, "path": "x", "bytes": 1, "md5": "m", "seconds": 0.1}
        transitions.record_checkpoint(db, claim, trial, **checkpoint)
        transitions.finish_trial(db, claim, trial, "failed", cause)
    transitions.fail_job(db, claim, Cause.CODE_ERROR, "KeyError")
    transitions.retry(db, [1])
    claim = claimed(db, claim.worker_id)
    assert queries.retried_trials(db, 1) == (0, 1)
    code, stalled = queries.trials(db, 1)
    transitions.rerun_trial(db, claim, code.id)
    with pytest.raises(WrongStatus, match="it must run first"):
        transitions.rerun_trial(db, claim, stalled.id)
    transitions.record_epoch(db, claim, code.id, epoch(1, val_loss=0.1))  # no mismatch with what the old code said
    transitions.finish_trial(db, claim, code.id, "complete", "finished", value=0.1)
    transitions.rerun_trial(db, claim, stalled.id)
    told = [len(queries.epochs(db, trial.id)) for trial in queries.trials(db, 1)]
    assert told == [1, 1] and len(queries.checkpoints(db, stalled.id)) == 1 and not queries.checkpoints(db, code.id)
    with pytest.raises(WrongStatus, match="is complete, expected failed"):
        transitions.rerun_trial(db, claim, code.id)


def test_undo_of_a_retry_is_refused_when_its_trials_have_run(db: Database) -> None:
    enqueued(db)
    claim = claimed(db)
    _ends(db, claim, Cause.CODE_ERROR)
    transitions.fail_job(db, claim, Cause.CODE_ERROR, "KeyError")
    transitions.retry(db, [1])
    claim = claimed(db, claim.worker_id)
    transitions.rerun_trial(db, claim, queries.trial(db, 1, 0).id)
    transitions.release_job(db, claim, Cause.DRAINED)
    with pytest.raises(CannotUndo, match="has started since"):
        transitions.undo(db)


def test_a_job_that_ends_without_a_complete_trial_has_failed(db: Database) -> None:
    enqueued(db)
    claim = claimed(db)
    _ends(db, claim, Cause.DIVERGED, Cause.PRUNED, Cause.DIVERGED)
    assert transitions.finish_job(db, claim) is JobStatus.FAILED
    job = queries.job(db, 1)
    assert (job.status, job.cause) == (JobStatus.FAILED, Cause.DIVERGED)
    assert job.message == "3 trials: 2 diverged, 1 pruned; none is complete"


def test_what_an_older_fts_called_done_without_a_result_is_shown_as_failed(db: Database) -> None:
    enqueued(db, 2)
    claim = claimed(db)
    _ends(db, claim, Cause.CODE_ERROR, Cause.CODE_ERROR, Cause.CODE_ERROR)
    transitions.finish_job(db, claim)
    JobRow.update(status="done", cause="finished", message="all trials have ended").where(JobRow.id == 1).execute(db)
    job = queries.job(db, 1)
    assert (job.status, job.cause, job.message) == (JobStatus.FAILED, None, "it ended without a complete trial")
    assert queries.jobs(db, ["done"]) == () and [j.id for j in queries.jobs(db, ["failed"])] == [1]
    assert "3 trials run again (t0 t1 t2)" in transitions.retry(db, [1]).message
    transitions.undo(db)
    assert db.one(JobRow.select(JobRow.status).where(JobRow.id == 1)) == {"status": "done"}


def test_a_move_that_changes_no_order_writes_no_event_and_no_undo_step(db: Database) -> None:
    _, job = enqueued(db, 2)
    transitions.cancel(db, [1])  # so the only job that waits has another rank than the first one would get
    before = dump(db)
    for to in ("up", "down", "top", "bottom"):
        change = transitions.move(db, [job], to)
        assert (change.message, change.event_id) == (f"nothing to do: job {job} is already at that place", None)
    assert dump(db) == before
