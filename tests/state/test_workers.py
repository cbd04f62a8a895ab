"""Leases are extended by beats, and only missing beats lose a job."""

from __future__ import annotations

import pytest

from fts.state import queries, tickets, transitions
from fts.state.db import Database
from fts.state.errors import BadRow, DatabaseOverwritten, StaleToken, WrongStatus
from fts.state.models import JobRow, TicketRow, WorkerRow
from fts.state.scheduling import MAX_LOST_WORKERS
from fts.state.transitions import LeaseObserver
from fts.state.transitions import workers as of_workers
from fts.state.values import Cause, JobStatus
from tests.state.helpers import LEASE_S, claimed, enqueued, epoch, started, verbs, worker


class Clock:
    """A monotonic clock the test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def expire(db: Database) -> None:
    """As after a jump of the database's clock: every lease lies in the past."""
    JobRow.update(lease_until=1.0).where(JobRow.status == "running").execute(db)


def watch(db: Database, observer: LeaseObserver, clock: Clock, seconds: float, step: float = 10.0) -> list[int]:
    released = []
    for _ in range(int(seconds / step)):
        clock.now += step
        released += transitions.sweep(db, observer)
    return released


def test_a_beat_extends_the_leases_and_brings_back_what_was_asked(db: Database) -> None:
    enqueued(db, 2)
    crew = worker(db, slots=2)
    claims = [claimed(db, crew), claimed(db, crew)]
    expire(db)
    transitions.pause(db, [2])
    transitions.ask_worker(db, crew, "drain_trial")
    orders = transitions.record_heartbeat(db, crew, LEASE_S, claims)
    assert (orders.asked, orders.jobs, orders.lost) == ("drain_trial", {2: "pause"}, ())
    assert all((job.lease_until or 0) > db.now() + LEASE_S - 5 for job in queries.jobs(db))


def test_a_quiet_worker_loses_its_job_and_its_late_writes(db: Database) -> None:
    enqueued(db)
    lost = claimed(db)
    trial = started(db, lost)
    clock = Clock()
    observer = LeaseObserver(LEASE_S, clock)
    expire(db)
    assert watch(db, observer, clock, 80) == [1]
    again = claimed(db, worker(db, pid=2))
    assert again.attempt == 2
    with pytest.raises(StaleToken):
        transitions.record_epoch(db, lost, trial, epoch())
    assert transitions.record_heartbeat(db, lost.worker_id, LEASE_S, [lost]).lost == (lost,)
    assert verbs(db, 1) == ["enqueued", "claimed", "trial_started", "trial_interrupted", "released", "claimed"]
    assert queries.job(db, 1).worker_id == again.worker_id


def test_a_clock_that_jumps_loses_nobody_who_beats(db: Database) -> None:
    enqueued(db)
    claim = claimed(db)
    clock = Clock()
    observer = LeaseObserver(LEASE_S, clock)
    for _ in range(20):
        transitions.record_heartbeat(db, claim.worker_id, LEASE_S)
        expire(db)
        assert watch(db, observer, clock, 30) == []


def test_an_observer_that_slept_itself_waits_before_it_judges(db: Database) -> None:
    enqueued(db)
    claim = claimed(db)
    clock = Clock()
    observer = LeaseObserver(LEASE_S, clock)
    transitions.sweep(db, observer)
    clock.now += 8 * 3600  # the lid was closed: everything here stood still, the worker too
    expire(db)
    assert transitions.sweep(db, observer) == []
    transitions.record_heartbeat(db, claim.worker_id, LEASE_S)
    assert watch(db, observer, clock, 50) == []


def test_a_lease_that_still_runs_by_the_databases_clock_is_left_alone(db: Database) -> None:
    enqueued(db)
    claimed(db)
    clock = Clock()
    assert watch(db, LeaseObserver(LEASE_S, clock), clock, 600) == []


def test_a_worker_that_cannot_write_its_beats_does_not_take_itself_for_lost(db: Database) -> None:
    enqueued(db)
    mine, clock = claimed(db), Clock()
    observer = LeaseObserver(LEASE_S, clock, me=mine.worker_id)
    expire(db)
    assert watch(db, observer, clock, 600) == []
    assert queries.job(db, 1).status == "running"


def test_a_worker_taken_for_lost_is_welcome_back(db: Database) -> None:
    crew = worker(db)
    clock = Clock()
    watch(db, LeaseObserver(LEASE_S, clock), clock, 80)
    assert queries.workers(db)[0].status == "lost"
    transitions.record_heartbeat(db, crew, LEASE_S)
    assert queries.workers(db)[0].status == "running"
    assert verbs(db) == ["worker_started", "worker_lost", "worker_back"]


@pytest.mark.parametrize("named", [True, False])
def test_a_worker_that_is_lost_or_has_stopped_takes_no_job(db: Database, named: bool) -> None:
    (job,) = enqueued(db)
    crew = worker(db)
    clock = Clock()
    watch(db, LeaseObserver(LEASE_S, clock), clock, 80)
    assert transitions.claim(db, crew, LEASE_S, job_id=job if named else None) is None  # no sweep would free it again
    transitions.stop_worker(db, crew)
    assert transitions.claim(db, crew, LEASE_S, job_id=job if named else None) is None
    assert transitions.claim(db, worker(db), LEASE_S, job_id=job if named else None) is not None


def test_a_worker_that_was_asked_to_leave_does_not_take_a_named_job(db: Database) -> None:
    (job,) = enqueued(db)
    crew = worker(db)
    transitions.ask_worker(db, crew, "stop")
    assert transitions.claim(db, crew, LEASE_S, job_id=job) is None


def test_a_starting_worker_takes_over_from_the_dead_of_its_own_host_only(db: Database) -> None:
    enqueued(db, 3)
    for host, pid in (("lab", 1), ("lab", 2), ("elsewhere", 3)):
        claimed(db, worker(db, host=host, pid=pid))
    assert transitions.reconcile(db, "lab", lambda pid, started_at: pid == 2) == [1]
    assert [job.status for job in sorted(queries.jobs(db), key=lambda job: job.id)] == ["queued", "running", "running"]
    assert queries.job(db, 1).cause is Cause.LOST_WORKER
    with pytest.raises(WrongStatus, match="has stopped"):
        transitions.record_heartbeat(db, 1, LEASE_S)


def test_a_beat_notices_that_the_database_went_back_in_time(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    crew = worker(db)
    beats = transitions.record_heartbeat(db, crew, LEASE_S).beats
    beats = transitions.record_heartbeat(db, crew, LEASE_S, beaten=beats).beats
    assert beats == 2
    db.execute_sql("UPDATE worker SET beats = 1")  # what an older copy, written over the file, would say
    held: list[bool] = []  # the check of the file may take minutes
    monkeypatch.setattr(of_workers, "overwritten_sentence", lambda *said: held.append(db.in_transaction()) or said[1])
    with pytest.raises(DatabaseOverwritten, match="fewer heartbeats"):
        transitions.record_heartbeat(db, crew, LEASE_S, beaten=beats)
    assert held == [False]


def test_reconcile_sends_the_tickets_that_were_lost(db: Database) -> None:
    enqueued(db, 3)
    TicketRow.delete().execute(db)
    transitions.reconcile(db, "lab", lambda pid, started_at: True)
    assert tickets.waiting_tickets(db) == 3


def test_a_worker_that_leaves_puts_back_what_it_holds(db: Database) -> None:
    enqueued(db)
    claim = claimed(db)
    transitions.stop_worker(db, claim.worker_id, "Ctrl-C")
    job = queries.job(db, 1)
    assert (job.status, job.idle_attempts) == (JobStatus.QUEUED, 0)
    assert transitions.claim(db, claim.worker_id, LEASE_S) is None


def test_a_job_that_kills_every_worker_is_parked_in_the_end(db: Database) -> None:
    enqueued(db)
    for n in range(MAX_LOST_WORKERS):
        claimed(db, worker(db, pid=n + 1))
        transitions.reconcile(db, "lab", lambda pid, started_at: False)
    assert transitions.claim(db, worker(db, pid=9), LEASE_S) is None
    job = queries.job(db, 1)
    assert (job.status, job.cause) == (JobStatus.FAILED, Cause.LOST_WORKER)


def test_the_guard_makes_an_event_only_when_it_changes(db: Database) -> None:
    crew = worker(db)
    for guard in ("normal", "normal", "frozen", "normal"):
        transitions.set_guard(db, crew, guard, "91 C" if guard == "frozen" else None)
    assert verbs(db).count("guard") == 3
    with pytest.raises(BadRow, match="guard is"):
        transitions.set_guard(db, crew, "fine")


def test_an_intervention_is_told_even_by_a_worker_that_lost_its_claim(db: Database) -> None:
    enqueued(db)
    claim = claimed(db)
    transitions.release_job(db, claim, Cause.STALLED)
    transitions.record_intervention(db, claim, "frozen", "91 C", {"temperature": 91.0, "odd": float("nan")})
    event = queries.events(db, job_id=1)[-1]
    assert (event.verb, event.who, event.data["temperature"]) == ("frozen", "watchdog of worker 1", 91.0)
    assert event.data["odd"] is None


def test_what_a_sensor_cannot_read_stays_unknown(db: Database) -> None:
    crew = worker(db)
    transitions.add_sample(db, crew, trial_rss=2**31, temperature=None, cpu_percent=float("nan"))
    (sample,) = queries.samples(db, since=0)
    assert (sample.trial_rss, sample.temperature, sample.cpu_percent) == (2**31, None, None)
    with pytest.raises(BadRow, match="no fields"):
        transitions.add_sample(db, crew, heat=70)


def test_samples_can_be_thinned_on_reading_and_for_good(db: Database) -> None:
    crew = worker(db)
    for _ in range(50):
        transitions.add_sample(db, crew, cpu_percent=1.0)
    assert len(queries.samples(db, since=0)) == 50
    assert len(queries.samples(db, since=0, every_s=3600)) <= 2
    assert transitions.prune_samples(db, older_than_s=-10, keep_every_s=3600) >= 48


def test_a_worker_row_says_who_it_is(db: Database) -> None:
    crew = worker(db, pid=77, slots=2)
    (seen,) = queries.workers(db)
    assert (seen.id, seen.pid, seen.pid_started, seen.slots, seen.guard) == (crew, 77, 1.5, 2, "unknown")
    assert WorkerRow.select().count(db) == 1


def test_a_sweep_sends_the_ticket_that_a_draining_worker_ate(db: Database) -> None:
    enqueued(db, 2)
    TicketRow.delete().execute(db)
    transitions.sweep(db, LeaseObserver(LEASE_S))
    assert tickets.waiting_tickets(db) == 2
