"""Workers: they register, beat, and stop; the quiet ones lose their jobs, and only by their missing beats."""

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
from fts.state.transitions.jobs import put_back
from fts.state.transitions.nodes import nodes_of_worker_left
from fts.state.values import Cause, Claim, Verb, WorkerOrder, WorkerOrders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fts.state.db import Database

LEFT = {
    None: "",
    WorkerOrder.DRAIN_JOB: " after its job, as requested",
    WorkerOrder.DRAIN_TRIAL: " after its trial, as requested",
    WorkerOrder.STOP: " at a checkpoint, as requested",
}
CHUNK = 5_000  # rows a transaction: about 50 ms, far below the busy timeout of a beat
GUARDS = ("normal", "warm", "frozen", "cooling", "unknown")


def register_worker(db: Database, host: str, pid: int, pid_started: float, slots: int) -> int:
    """A worker says it is there; returns its number. Reconcile before the first claim."""
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


def beat(db: Database, worker_id: int, lease_s: float, claims: Iterable[Claim] = (), beaten: int = 0) -> WorkerOrders:
    """Extends the leases of everything this worker holds, and returns what people asked meanwhile.

    Of the `claims` it believes in, those that are no longer its own come back as `lost`. No event: a beat every few
    seconds is not a change. Raises WrongStatus if the worker was stopped, DatabaseOverwritten when the database does
    not know the beats it has `beaten` (those of the orders before): then an older copy lies in its place.
    """
    with transaction(db, urgent=True):
        known = db.one(WorkerRow.select(ALL).where(WorkerRow.id == worker_id))
        if not beaten or (known is not None and known["beats"] >= beaten):
            return _beat(db, known or get_worker(db, worker_id), lease_s, claims)
    # not under the write lock: the check reads the whole file
    raise DatabaseOverwritten(overwritten_sentence(db.path, "it holds fewer heartbeats than this worker sent"))


def _beat(db: Database, worker: Row, lease_s: float, claims: Iterable[Claim]) -> WorkerOrders:
    worker_id = worker["id"]
    if worker["status"] == "stopped":
        raise WrongStatus(f"worker {worker_id} has stopped or was taken for dead; its jobs went back in line")
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
    """The worker leaves; whatever it still holds goes back in line."""
    with transaction(db):
        worker = get_worker(db, worker_id)
        if worker["status"] == "stopped":
            return
        who = f"worker {worker_id}"
        _release_all(db, worker, Cause.DRAINED, message, who)
        changes = {"status": "stopped", "stopped_at": db.now(), "asked": None}
        WorkerRow.update(changes).where(WorkerRow.id == worker_id).execute(db)
        data = {"worker_id": worker_id, "asked": worker["asked"]}
        emit(db, Verb.WORKER_STOPPED, who, f"worker {worker_id} left{LEFT[worker['asked']]}", data=data)


def reconcile(db: Database, host: str, is_alive: Callable[[int, float], bool]) -> list[int]:
    """At a worker's start: workers of this host whose process is gone lose their jobs; returns the jobs put back.

    `is_alive(pid, pid_started)` asks the operating system; reap the children such a worker left before calling this.
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
    """Watches beats by a clock of its own, so that neither a clock that jumps nor a laptop that slept loses a worker.

    A worker counts as quiet when this observer saw no new beat for `lease_s` seconds *of its own looking*: a gap
    between two looks longer than a quarter of the lease counts as a quarter only (we were asleep ourselves).
    `me` is the worker that looks: on a full disk it cannot write its own beats, and lives all the same.
    """

    def __init__(self, lease_s: float, clock: Callable[[], float] = time.monotonic, me: int | None = None) -> None:
        self.lease_s, self.me = lease_s, me
        self._clock = clock
        self._last_look: float | None = None
        self._seen: dict[int, tuple[int, float]] = {}  # worker -> beats, seconds without a new one

    def look(self, beats: Mapping[int, int]) -> set[int]:
        """Takes worker -> beat counter as it is now; returns the workers that have been quiet for the whole lease."""
        now = self._clock()
        passed = 0.0 if self._last_look is None else min(now - self._last_look, self.lease_s / 4)
        self._last_look = now
        fresh: dict[int, tuple[int, float]] = {}
        for worker, count in beats.items():
            known = self._seen.get(worker)
            fresh[worker] = (count, known[1] + passed if known and known[0] == count else 0.0)
        self._seen = fresh
        return {worker for worker, (_, quiet_s) in fresh.items() if quiet_s >= self.lease_s and worker != self.me}


def sweep(db: Database, observer: LeaseObserver) -> list[int]:
    """Puts back the jobs of workers that went quiet; returns them. Call it often (at least every lease / 4).

    It also sends the tickets that somebody looked at in vain, such as a worker that was asked to stop.
    """
    running = db.rows(WorkerRow.select(ALL).where(WorkerRow.status == "running"))
    quiet = observer.look({worker["id"]: worker["beats"] for worker in running})
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
            return []  # it beat between our look and our lock
        alive = (JobRow.worker_id == worker["id"]) & (JobRow.status == "running") & (JobRow.lease_until >= db.now())
        if db.one(JobRow.select(JobRow.id).where(alive)):
            return []  # quiet to us, but its lease by the database's clock still runs
        return _lose(db, worker, "no heartbeat for the whole lease")


def _lose(db: Database, worker: Row, why: str, stopped: bool = False) -> list[int]:
    words = f"worker {worker['id']} on {worker['host']} was lost: {why}"
    released = _release_all(db, worker, Cause.LOST_WORKER, words, "sweep", worker["heartbeat_at"])
    changes: Row = {"status": "stopped", "stopped_at": db.now(), "asked": None} if stopped else {"status": "lost"}
    if worker["status"] != "lost" or stopped:
        WorkerRow.update(changes).where(WorkerRow.id == worker["id"]).execute(db)
        nodes_of_worker_left(db, worker["id"])
        emit(db, Verb.WORKER_LOST, "sweep", words, data={"worker_id": worker["id"], "jobs": released})
    return released


def _release_all(
    db: Database, worker: Row, cause: Cause, message: str, who: str, heard_at: float | None = None
) -> list[int]:
    held = db.rows(JobRow.select(ALL).where(JobRow.worker_id == worker["id"], SQL("status = 'running'")))
    for job in held:
        put_back(db, job, cause.value, message, who, heard_at)
    return [job["id"] for job in held]


def record_intervention(
    db: Database,
    source: Claim | int,
    verb: str,
    message: str,
    data: Mapping[str, Any] | None = None,
    trial_id: int | None = None,
) -> int:
    """What the watchdog did or saw (frozen, thawed, soft_memory, stalled ...), as an event; returns its number.

    `source` is the claim it concerns, or the worker's number. It is not fenced: what was done was done.
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
    """What heat allows: normal, warm, frozen, cooling or unknown. An event only when it changes."""
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
    """One look at the hardware: the fields of values.Sample but at and worker_id; what cannot be read stays None."""
    unknown = set(readings) - set(SampleRow._meta.fields)
    if unknown:
        raise BadRow(f"a sample has no fields {sorted(unknown)}")
    row = finite(dict(readings)) | {"worker_id": worker_id}
    with transaction(db):
        SampleRow.insert(row | {"at": db.now()}).execute(db)


def prune_samples(db: Database, older_than_s: float, keep_every_s: float = 60.0) -> int:
    """Of the samples older than that, one per `keep_every_s` seconds and worker stays. Returns how many went."""
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
