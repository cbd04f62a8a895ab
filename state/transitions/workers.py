"""Registers and stops workers, records heartbeats, and releases the jobs of workers without heartbeats."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from peewee import SQL

from fts.state.damage import overwritten_sentence
from fts.state.errors import BadRow, DatabaseOverwritten, WrongStatus
from fts.state.models import ALL, JobRow, SampleRow, WorkerRow
from fts.state.ticket_rows import missing_tickets, runnable_jobs, waiting_tickets
from fts.state.transitions.base import VERB, Row, checked_int, emit, finite, get_flag, get_worker, short, transaction
from fts.state.transitions.claims import claim_name
from fts.state.transitions.jobs import release_running
from fts.state.transitions.nodes import forget_nodes_of_worker
from fts.state.values import Cause, Claim, Verb, WorkerOrder, WorkerOrders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fts.state.db import Database

STOPPED_WORDS = {
    None: "",
    WorkerOrder.DRAIN_JOB: " after its job, as requested",
    WorkerOrder.DRAIN_TRIAL: " after its trial, as requested",
    WorkerOrder.STOP: " at a checkpoint, as requested",
}
CHUNK = 5_000  # rows per transaction: about 50 ms, far below the busy timeout of a heartbeat
GUARDS = ("normal", "warm", "frozen", "cooling", "unknown")


def register_worker(db: Database, host: str, pid: int, pid_started: float, slots: int) -> int:
    """Registers a worker; returns its id. Call `reconcile` before its first claim."""
    with transaction(db):
        now = db.now()
        row = {
            "host": str(short(host, 200)),
            "pid": checked_int(pid, "pid", 1),
            "pid_started": float(pid_started),
            "slots": checked_int(slots, "slots", 1, 1000),
            "status": "running",
            "started_at": now,
            "heartbeat_at": now,
            "beats": 0,
            "guard": "unknown",
        }
        worker_id = int(WorkerRow.insert(row).execute(db))
        words = f"worker {worker_id} starts on {row['host']} with {slots} slot{'s' if slots > 1 else ''}, pid {pid}"
        emit(db, Verb.WORKER_STARTED, f"worker {worker_id}", words, data={"worker_id": worker_id, "pid": pid})
    return worker_id


def record_heartbeat(
    db: Database, worker_id: int, lease_s: float, claims: Iterable[Claim] = (), beaten: int = 0
) -> WorkerOrders:
    """Records a heartbeat: extends the leases of the worker's jobs, and returns the requests of people.

    Those of the worker's `claims` that it no longer holds are returned as `lost`. Writes no event: a heartbeat every
    few seconds is not a change. Raises WrongStatus if the worker was stopped, DatabaseOverwritten if the database has
    fewer heartbeats than `beaten`, the count of the last answer: then an older copy has replaced it.
    """
    with transaction(db, urgent=True):
        known = db.one(WorkerRow.select(ALL).where(WorkerRow.id == worker_id))
        if not beaten or (known is not None and known["beats"] >= beaten):
            return _record_heartbeat(db, known or get_worker(db, worker_id), lease_s, claims)
    # not under the write lock: the check reads the whole file
    raise DatabaseOverwritten(overwritten_sentence(db.path, "it holds fewer heartbeats than this worker sent"))


def _record_heartbeat(db: Database, worker: Row, lease_s: float, claims: Iterable[Claim]) -> WorkerOrders:
    worker_id = worker["id"]
    if worker["status"] == "stopped":
        raise WrongStatus(f"worker {worker_id} has stopped or was marked dead; its jobs are queued again")
    now = db.now()
    changes: Row = {"heartbeat_at": now, "beats": worker["beats"] + 1, "status": "running"}
    WorkerRow.update(changes).where(WorkerRow.id == worker_id).execute(db)
    if worker["status"] == "lost":
        words = f"worker {worker_id} was marked lost, but sends heartbeats again"
        emit(db, Verb.WORKER_BACK, f"worker {worker_id}", words, data={"worker_id": worker_id})
    mine = (JobRow.worker_id == worker_id) & (JobRow.status == "running")
    JobRow.update(lease_until=now + lease_s).where(mine).execute(db)
    held = {row["id"]: row for row in db.rows(JobRow.select(JobRow.id, JobRow.token, JobRow.asked).where(mine))}
    lost = tuple(c for c in claims if c.job_id not in held or held[c.job_id]["token"] != c.token)
    asked = {number: row["asked"] for number, row in held.items() if row["asked"] is not None}
    return WorkerOrders(worker["asked"] and WorkerOrder(worker["asked"]), asked, lost, changes["beats"])


def stop_worker(db: Database, worker_id: int, message: str = "stopped") -> None:
    """Marks the worker as stopped and releases the jobs that it still holds."""
    with transaction(db):
        worker = get_worker(db, worker_id)
        if worker["status"] == "stopped":
            return
        who = f"worker {worker_id}"
        _release_all(db, worker, Cause.DRAINED, message, who)
        changes = {"status": "stopped", "stopped_at": db.now(), "asked": None}
        WorkerRow.update(changes).where(WorkerRow.id == worker_id).execute(db)
        data = {"worker_id": worker_id, "asked": worker["asked"], "old": worker["status"]}
        emit(db, Verb.WORKER_STOPPED, who, f"worker {worker_id} left{STOPPED_WORDS[worker['asked']]}", data=data)


def reconcile(db: Database, host: str, is_alive: Callable[[int, float], bool]) -> list[int]:
    """Releases the jobs of this host's dead workers, at a worker's start; returns the ids of the released jobs.

    `is_alive(pid, pid_started)` asks the operating system. End the trial processes that dead workers left before this
    call.
    """
    candidates = WorkerRow.select(ALL).where(WorkerRow.host == host, WorkerRow.status.in_(["running", "lost"]))
    gone = [worker for worker in db.rows(candidates) if not is_alive(worker["pid"], worker["pid_started"])]
    released: list[int] = []
    with transaction(db):
        for seen in gone:
            worker = get_worker(db, seen["id"])
            if worker["status"] != "stopped":
                released += _lose(db, worker, "its process is gone", stopped=True)
        missing_tickets(db)
    return released


class LeaseObserver:
    """Observes heartbeats with a monotonic clock, so that neither a clock change nor a sleeping laptop loses a worker.

    A worker counts as quiet after `lease_s` seconds of observation without a new heartbeat. A gap between two
    observations counts as at most a quarter of the lease, because this process may have been asleep itself.
    `me` is the observing worker, which never counts as quiet: on a full disk it cannot write its own heartbeats.
    """

    def __init__(self, lease_s: float, clock: Callable[[], float] = time.monotonic, me: int | None = None) -> None:
        self.lease_s, self.me = lease_s, me
        self._clock = clock
        self._last_time: float | None = None
        self._seen: dict[int, tuple[int, float]] = {}  # worker -> beats, seconds without a new one

    def observe(self, beats: Mapping[int, int]) -> set[int]:
        """Takes each worker's current count of heartbeats; returns the workers that were quiet for the whole lease."""
        now = self._clock()
        passed = 0.0 if self._last_time is None else min(now - self._last_time, self.lease_s / 4)
        self._last_time = now
        fresh: dict[int, tuple[int, float]] = {}
        for worker, count in beats.items():
            known = self._seen.get(worker)
            fresh[worker] = (count, known[1] + passed if known and known[0] == count else 0.0)
        self._seen = fresh
        return {worker for worker, (_, quiet_s) in fresh.items() if quiet_s >= self.lease_s and worker != self.me}


def sweep(db: Database, observer: LeaseObserver) -> list[int]:
    """Releases the jobs of quiet workers; returns their ids. Call it at least every quarter of the lease.

    Also sends missing tickets, such as those taken by a worker that was asked to stop.
    """
    running = db.rows(WorkerRow.select(ALL).where(WorkerRow.status == "running"))
    quiet = observer.observe({worker["id"]: worker["beats"] for worker in running})
    released: list[int] = []
    for worker in running:
        if worker["id"] in quiet:
            released += _lose_if_still_quiet(db, worker)
    if runnable_jobs(db) > waiting_tickets(db) and get_flag(db, "queue_paused") is None:
        missing_tickets(db)
    return released


def _lose_if_still_quiet(db: Database, seen: Row) -> list[int]:
    with transaction(db):
        worker = get_worker(db, seen["id"])
        if worker["status"] != "running" or worker["beats"] != seen["beats"]:
            return []  # it sent a heartbeat after our read
        alive = (JobRow.worker_id == worker["id"]) & (JobRow.status == "running") & (JobRow.lease_until >= db.now())
        if db.one(JobRow.select(JobRow.id).where(alive)):
            return []  # no heartbeat seen, but by the database's clock its lease has not expired
        return _lose(db, worker, "no heartbeat for the whole lease")


def _lose(db: Database, worker: Row, why: str, stopped: bool = False) -> list[int]:
    words = f"worker {worker['id']} on {worker['host']} was lost: {why}"
    released = _release_all(db, worker, Cause.LOST_WORKER, words, "sweep", worker["heartbeat_at"])
    changes: Row = {"status": "stopped", "stopped_at": db.now(), "asked": None} if stopped else {"status": "lost"}
    if worker["status"] != "lost" or stopped:
        WorkerRow.update(changes).where(WorkerRow.id == worker["id"]).execute(db)
        forget_nodes_of_worker(db, worker["id"])
        data = {"worker_id": worker["id"], "jobs": released, "old": worker["status"]}
        emit(db, Verb.WORKER_LOST, "sweep", words, data=data)
    return released


def _release_all(
    db: Database, worker: Row, cause: Cause, message: str, who: str, beat_at: float | None = None
) -> list[int]:
    held = db.rows(JobRow.select(ALL).where(JobRow.worker_id == worker["id"], SQL("status = 'running'")))
    for job in held:
        release_running(db, job, cause.value, message, who, beat_at)
    return [job["id"] for job in held]


def record_intervention(
    db: Database,
    source: Claim | int,
    verb: str,
    message: str,
    data: Mapping[str, Any] | None = None,
    trial_id: int | None = None,
) -> int:
    """Writes an event about what the watchdog did or saw (frozen, thawed, soft_memory, stalled ...); returns its id.

    `source` is the claim or the worker's id. The claim is not checked: the action has happened already.
    """
    if not VERB.fullmatch(verb):
        raise BadRow(f"verb is {verb[:80]!r}; expected 1 to 40 of a-z and _")
    job_id = source.job_id if isinstance(source, Claim) else None
    worker_id = source.worker_id if isinstance(source, Claim) else source
    who = f"watchdog of {claim_name(source) if isinstance(source, Claim) else f'worker {source}'}"
    details = {"worker_id": worker_id} | dict(data or {})
    with transaction(db):
        return emit(db, verb, who, str(short(message)), job_id=job_id, trial_id=trial_id, data=details)


def set_guard(db: Database, worker_id: int, guard: str, message: str | None = None) -> None:
    """Records the worker's heat state: normal, warm, frozen, cooling or unknown. Writes an event if it changes."""
    if guard not in GUARDS:
        raise BadRow(f"guard is {guard[:80]!r}; expected one of {', '.join(GUARDS)}")
    with transaction(db):
        worker = get_worker(db, worker_id)
        changes = {"guard": guard, "guard_message": short(message)}
        WorkerRow.update(changes).where(WorkerRow.id == worker_id).execute(db)
        if worker["guard"] != guard:
            words = f"worker {worker_id}: {worker['guard']} -> {guard}" + (f", {message}" if message else "")
            data = {"worker_id": worker_id, "old": worker["guard"], "new": guard}
            emit(db, Verb.GUARD, f"watchdog of worker {worker_id}", words, data=data)


def add_sample(db: Database, worker_id: int, **readings: float | int | None) -> None:
    """Records a hardware sample: the fields of values.Sample but at and worker_id; None for what cannot be read."""
    unknown = set(readings) - set(SampleRow._meta.fields)
    if unknown:
        raise BadRow(f"a sample has no fields {sorted(unknown)}")
    row = finite(dict(readings)) | {"worker_id": worker_id}
    with transaction(db):
        SampleRow.insert(row | {"at": db.now()}).execute(db)


def prune_samples(db: Database, older_than_s: float, keep_every_s: float = 60.0) -> int:
    """Thins out samples older than `older_than_s` to one per `keep_every_s` and worker; returns how many it deleted."""
    cutoff = db.now() - older_than_s
    sql = (
        "DELETE FROM sample WHERE id IN (SELECT id FROM sample WHERE at < ? AND id NOT IN ("
        "SELECT MIN(id) FROM sample WHERE at < ? GROUP BY worker_id, CAST(at / ? AS INTEGER)) LIMIT ?)"
    )
    gone = 0
    while True:
        with transaction(db):
            count = int(db.execute_sql(sql, (cutoff, cutoff, keep_every_s, CHUNK)).rowcount)
        gone += count
        if count < CHUNK:
            break
    if gone:
        words, data = f"{gone} old hardware samples removed", {"rows": gone, "what": "hardware samples"}
        with transaction(db):
            emit(db, Verb.PRUNED_ROWS, "retention", words, data=data)
    return gone
