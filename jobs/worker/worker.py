"""The worker: locks its slots, cleans up after dead workers, then runs one job per slot until it has to leave.

Start-up order: lock the slots, end the trial processes of dead workers, reconcile the rows, only then claim. huey's
consumer runs one thread per slot; a ticket means only "look at the queue". Each trial runs in its own process.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import queue
import socket
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fts.jobs.api.protocol import STOPPED
from fts.jobs.devices import index_of
from fts.jobs.executors.choose import executor_of
from fts.jobs.notify.keeper import Keeper
from fts.jobs.records import exports
from fts.jobs.records.pending_exports import AGAIN_S, PendingExports
from fts.jobs.search.whole_imports import half_imported
from fts.jobs.sensors import detect
from fts.jobs.status.explain import why
from fts.jobs.supervisor.backoff import Backoff
from fts.jobs.supervisor.job_runner import JobRunner
from fts.jobs.supervisor.machine_errors import DISK_FAILS
from fts.jobs.supervisor.orders import Orders
from fts.jobs.supervisor.process_tree import started_at
from fts.jobs.supervisor.progress_events import JobLeft, JobStarted, Note
from fts.jobs.supervisor.startable import StartableJobs
from fts.jobs.supervisor.study_calls import NotReturned
from fts.jobs.supervisor.upgrade_check import OWN_CODE
from fts.jobs.threads import begin, repeat
from fts.jobs.worker import last_exports, last_resort, messages
from fts.jobs.worker.console import Console
from fts.jobs.worker.consumer import SlotConsumer
from fts.jobs.worker.disk_wait import DiskWait, is_of_disk
from fts.jobs.worker.emergency import Emergency, is_foreseen
from fts.jobs.worker.heartbeat import Heartbeat
from fts.jobs.worker.maintenance import Maintenance
from fts.jobs.worker.reserve import DiskReserve
from fts.jobs.worker.shared_jobs import SharedJobs
from fts.jobs.worker.signals import listening
from fts.jobs.worker.slot_watch import SlotWatch
from fts.jobs.worker.startup import clean_up_after_dead_workers, hold_slot, write_pid_file
from fts.jobs.worker.wake_lock import keep_awake
from fts.state import queries, tickets, transitions
from fts.state.backup import backup
from fts.state.db import open_database
from fts.state.errors import DatabaseCorrupt, DatabaseGone, NoSuchRow, StaleToken, StateError, WrongStatus
from fts.state.files import shell_path
from fts.state.slot_lock import SlotLock
from fts.state.values import JobStatus, WorkerOrder

if TYPE_CHECKING:
    from fts.jobs.settings import Places, WorkerSettings
    from fts.jobs.supervisor.slot import Slot
    from fts.state.db import Database
    from fts.state.values import Claim

log = logging.getLogger("fts.worker")


UNUSED_S = 60.0  # after this time an idle slot ends its processes
UPDATE = "an update of fts"  # the `who` of the order to leave
GOODBYE_S = 30.0  # how long a locked database may delay the exit of a worker


def work(places: Places, settings: WorkerSettings, progress: Console | None = None) -> int:
    """Runs a worker until it has to leave; returns the exit code.

    0: left with nothing in flight; 75: the same, but because the files of fts were replaced or a package could not be
    imported completely: start it again.

    Raises SlotTaken when another worker holds one of these slots of this study on this machine, StateError for the
    database.
    """
    progress = progress or Console()
    with contextlib.ExitStack() as stack:
        locks = [stack.enter_context(SlotLock(places.outputs, index)) for index in range(settings.slots)]
        db = open_database(places.db, busy_timeout_s=settings.busy_s, patience_s=math.inf)
        clean_up_after_dead_workers(db, places)
        db.commit_together()
        orders = listening(settings.detached)
        if settings.detached:
            write_pid_file(places)
        worker = Worker(db, places, settings, progress, orders)
        stack.callback(worker.close)
        for lock in locks:
            lock.name(worker.id)
        stack.enter_context(keep_awake())
        progress.tell(Note(worker.introduction()))
        worker.run()
        if message := worker.farewell():
            progress.tell(Note(message))
    worker.raise_database_error()
    return worker.exit_code()


def must_be_replaced() -> str | None:
    """Returns why this process cannot go on and a new one can; None: it can go on."""
    return OWN_CODE.replaced() or half_imported()


def run_job(
    places: Places,
    settings: WorkerSettings,
    job_id: int,
    progress: Console | None = None,
    held: SlotLock | None = None,
) -> int:
    """Runs one job in the foreground, without the queue: same supervisor, same records. Returns the exit code.

    `held`: a slot that the caller holds and releases; None: takes the first free one.

    0: done; 1: it ended in another way or was stopped at a checkpoint. Raises SlotTaken when every slot of the machine
    is taken, StateError for the database.
    """
    progress = progress or Console()
    with contextlib.ExitStack() as stack:
        held = held or stack.enter_context(hold_slot(places))
        db = open_database(places.db, busy_timeout_s=settings.busy_s, patience_s=math.inf)
        clean_up_after_dead_workers(db, places)
        db.commit_together()
        worker = Worker(db, places, replace(settings, slots=1), progress, listening())
        stack.callback(worker.close)
        held.name(worker.id)
        stack.enter_context(keep_awake())
        worker.run_one(job_id)
    worker.raise_database_error()
    return 0 if queries.job(db, job_id).status == "done" else 1


class Worker:
    """One worker process: slots, heartbeat, and huey's consumer."""

    def __init__(
        self, db: Database, places: Places, settings: WorkerSettings, progress: Console, orders: Orders | None = None
    ) -> None:
        self.db, self.places, self.settings, self.progress = db, places, settings, progress
        self.orders = orders or Orders()
        OWN_CODE.remember()
        self.reserve = DiskReserve(places.ballast)
        self.reserve.fill()
        pid = os.getpid()
        started = started_at(pid) or time.time()
        self._began, self._first_event = time.monotonic(), messages.last_event(db)
        self.id = transitions.register_worker(db, socket.gethostname(), pid, started, settings.slots)
        pause_s = settings.outage_pause_s
        self.backoff = Backoff()
        self.startable = StartableJobs(db, settings, self.orders.takes_work)
        self.emergency = Emergency(db, self.reserve, self.orders, self.id, progress.tell, pause_s, self.backoff)
        self.disk_wait = DiskWait(db, places.outputs, self.id, progress.tell, pause_s)
        self._free: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        self._idle_lock = threading.Lock()  # held while a thread takes an idle slot without running a job in it
        self._claiming = threading.Lock()  # one slot claims at a time, so that others can join its job
        self._shared = SharedJobs()
        self._extra_threads: list[threading.Thread] = []  # threads started by call_slot
        self.sensors = detect.from_env(disk=places.outputs, gpu=index_of(settings.device))
        self.executor = executor_of(places, settings, db, self.sensors)
        self.executor.worker_id = self.id
        self.slots = self.executor.slots
        for slot in self.slots:
            self._free.put(slot)
        self.slot_watch = SlotWatch(self.orders, settings.stuck_s, settings.stop_grace_s, self._report_slot)
        self.heartbeat = Heartbeat(self)
        self.owed = PendingExports(db, places)
        self._housekeeping = threading.Thread(target=self._keep_house, name="housekeeping", daemon=True)
        self._has_caught_up = threading.Event()  # no export of an earlier worker is missing, or it could not be written
        self.messages = Keeper(db, places)
        self._used_at: dict[int, float] = {}  # slot -> monotonic
        self._idle_since: float | None = None
        self._first_beats: dict[int, tuple[float, float]] = {}  # another worker -> its heartbeat, and when it was seen
        self._waits_for: set[int] = set()  # workers that have been named: this one waits for the end of their leases
        self._worked = False  # it has run a job and has not yet printed that nothing is left to run
        self._lost_database: StateError | None = None
        self._runs_queue = False  # True: it runs the queue; False: one job in the foreground
        self.is_closing = threading.Event()  # no slot runs any more

    def introduction(self) -> str:
        """Returns the line that a worker prints when it starts."""
        paused = queries.flag(self.db, "queue_paused") is not None
        return messages.introduction(self.id, self.settings, self.places, queries.jobs(self.db), paused)

    def farewell(self) -> str:
        """Returns the line that a worker prints when it leaves; empty if the database cannot be read."""
        try:
            return messages.farewell(self.db, self.id, self._first_event, time.monotonic() - self._began)
        except StateError:
            return ""

    def run(self) -> None:
        huey = tickets.make_huey(self.db, self.queue_unreadable)
        look = self.look

        @huey.task(name=tickets.LOOK)  # type: ignore[untyped-decorator]  # the same
        def look_at_the_queue() -> None:
            look()

        consumer = SlotConsumer(huey, self)
        self.heartbeat.start()
        last_resort.watch(self)
        begin(self._housekeeping)
        self.messages.start()
        self._runs_queue = True
        consumer.run()
        for thread in self._extra_threads:
            thread.join()

    def run_one(self, job_id: int) -> None:
        """Runs one job, whatever its rank; Ctrl-C stops it at a checkpoint."""
        self.heartbeat.start()
        last_resort.watch(self)
        begin(self._housekeeping)
        settings = self.settings
        claim = transitions.claim(self.db, self.id, settings.lease_s, settings.max_idle_attempts, job_id)
        if claim is None:
            raise WrongStatus("; ".join(why(queries.job(self.db, job_id), queries.snapshot(self.db))))
        slot = self._free.get()
        with self.slot_watch.working(slot.index):
            self._run_claim(slot, claim)

    def close(self) -> None:
        """Ends the executor and records that this worker has stopped; its supervisors have released their jobs."""
        self.is_closing.set()
        self.heartbeat.over.set()
        if self._housekeeping.is_alive():
            last_exports.wait(self._is_caught_up, self._must_hurry, self.progress.tell)
        self.executor.close()
        self.sensors.close()
        last_exports.write(self.owed, self._must_hurry, self.settings.stop_grace_s, self.progress.tell)
        self.db.patience_s = GOODBYE_S
        with contextlib.suppress(StateError):
            self.heartbeat.record_signal(GOODBYE_S)
        with contextlib.suppress(StateError):  # a full disk: the next worker's reconcile will find that we are gone
            transitions.stop_worker(self.db, self.id)
        self.messages.close()
        self.db.close_shared()
        self.progress.close()

    def _is_caught_up(self, seconds: float) -> bool:
        return self._has_caught_up.wait(seconds) or not self._housekeeping.is_alive()

    def exit_code(self) -> int:
        """Returns 0, or 75 if another process must replace this one; 1 if it ran one job in the foreground."""
        if not self._runs_queue or self._lost_database is not None:
            return 1
        return 0 if must_be_replaced() is None else STOPPED

    def stop_without_database(self, error: StateError) -> None:
        """Stops this worker at a checkpoint: the database is damaged, removed, replaced, or has marked us as dead.

        Nothing that is trained from now on could be recorded.
        """
        if self._lost_database is None:
            self._lost_database = error
            log.error("%s; this worker stops", error)
            self.owed.is_over = isinstance(error, DatabaseGone)  # a study that was moved away must not begin again here
            self.orders.signal(WorkerOrder.STOP)

    def check_own_code(self) -> bool:
        """Must another process take over? Then this worker starts no more trials and leaves."""
        found = must_be_replaced()
        if found is not None and self.orders.takes_work():
            log.error("%s: this worker starts no further trial; start it again", found)
            self.orders.signal(WorkerOrder.DRAIN_TRIAL, UPDATE)
        return found is not None

    def queue_unreadable(self, error: StateError) -> None:
        """Handles a failed read of the queue: leaves if the database is damaged, else logs it and tries again."""
        if isinstance(error, DatabaseCorrupt):
            self.stop_without_database(error)
        else:
            log.warning("cannot read the queue: %s", error)

    def raise_database_error(self) -> None:
        """Raises the database error that made this worker leave, if any.

        The open connection to a deleted file still has its whole content, which is saved as a backup. A file that was
        moved with its folder still exists.
        """
        if isinstance(self._lost_database, DatabaseGone):
            if (place := self.db.moved_to()) is not None:
                if place.parent == self.places.db.parent.resolve():  # as a restore leaves it
                    raise DatabaseGone(
                        f"{self._lost_database}; what this worker recorded is in {place}: `fts restore "
                        f"{shell_path(place)}` puts it back"
                    )
                raise DatabaseGone(
                    f"{self.places.outputs} was moved to {place.parent} while this worker ran; nothing recorded is "
                    "lost: start `fts worker` there"
                )
            saved = backup(self.db, self.places.backups, keep=None)
            raise DatabaseGone(
                f"{self._lost_database}; a copy of its content is saved: `fts restore {shell_path(saved)}` puts it back"
            )
        if self._lost_database is not None:
            raise self._lost_database

    def look(self) -> None:
        """Runs jobs in one slot until none is left for it or the worker has to leave."""
        self._work_in(self._free.get())

    def call_slot(self) -> None:
        """Starts a thread in an idle slot, if there is one, for a job that has another trial to run."""
        with self._idle_lock:
            try:
                slot = self._free.get_nowait()
            except queue.Empty:
                return
            self._extra_threads = [thread for thread in self._extra_threads if thread.is_alive()]
            thread = threading.Thread(target=self._work_in, args=(slot,), name=f"slot {slot.index}", daemon=True)
            try:
                self._extra_threads.append(begin(thread))
            except OSError as error:  # the job continues without this slot, and asks again with its next trial
                self._free.put(slot)
                log.warning("slot %d stays idle: %s", slot.index, error)

    def _work_in(self, slot: Slot) -> None:
        """Joins running jobs that have a trial for the slot, else claims the next job."""
        try:
            with self.slot_watch.working(slot.index):
                self._run_jobs(slot)
        finally:
            self._used_at[slot.index] = time.monotonic()
            self._free.put(slot)

    def _run_jobs(self, slot: Slot) -> None:
        while not self.check_own_code() and self.orders.takes_work():
            self.reserve.fill()
            claims = self._shared.claims
            if self._shared.join(slot, self._only_waits):
                continue
            with self._claiming:
                if self._shared.claims != claims:  # another slot has claimed meanwhile: try to join its job
                    continue
                claim = self._claim(slot)
                if claim is not None:
                    self._shared.claimed(claim)
            if claim is not None:
                self._run_claim(slot, claim)
            elif not (slot.is_selective and self._shared.join(slot)):  # also one that can only wait for its GPU or node
                return

    def _only_waits(self, runner: JobRunner, slot: Slot) -> bool:
        """Could a trial of this running job only wait in the slot, while a queued job can begin?"""
        if not slot.is_selective:  # without GPUs and nodes this costs nothing
            return False
        excluded = self.backoff.excluded(self.db, self.settings.outage_pause_s)
        return self.startable.other(slot, runner.job.id, runner.want, excluded) is not None

    def _claim(self, slot: Slot) -> Claim | None:
        try:
            settings = self.settings
            excluded = self.backoff.excluded(self.db, settings.outage_pause_s)
            passed = self.startable.ahead(slot, excluded)
            excluded |= passed.keys()
            found = transitions.claim(self.db, self.id, settings.lease_s, settings.max_idle_attempts, excluded=excluded)
            if found is not None:
                self.startable.claimed(slot, found.job_id)
            self.startable.tell(passed, self.id)
            return found
        except DISK_FAILS as error:
            self.emergency.pause_queue(error)
            return None
        except DatabaseCorrupt as error:
            self.stop_without_database(error)
            return None

    def _run_claim(self, slot: Slot, claim: Claim) -> None:
        job = claim.job
        self.orders.starts(claim)
        self.progress.tell(JobStarted(job, claim.attempt))
        try:
            supervisor = JobRunner(
                self.db, self.places, self.settings, slot, claim, self.orders.for_job, self.progress.tell, self.owed,
                self.call_slot, backoff=self.backoff if self._runs_queue else None,
                startable=self.startable if self._runs_queue else None,
            )  # fmt: skip
            supervisor.prepare()
            self._shared.runs(claim, supervisor)
            supervisor.run()
        except StaleToken as refused:
            slot.close()
            self.progress.tell(JobLeft(job, f"no longer this worker's: {refused}"))
        except NotReturned as left:
            self._leave_study(slot, claim, left)
        except Exception as error:  # the only catch-all: after any error no job may stay `running` without a worker
            if not is_foreseen(error):
                log.exception("job %d (%s) is released after an unexpected error", job.id, job.experiment)
            try:
                slot.close()
            finally:
                if (lost := self._lost_by(error)) is not None:
                    self.stop_without_database(lost)  # the job is in the restored database, for the next worker
                else:
                    self.emergency.release_job(claim, error)
        finally:
            self._shared.ends(claim)
            self.orders.ends(job.id)
            self.startable.ended(slot)

    def _lost_by(self, error: Exception) -> DatabaseCorrupt | None:
        """Returns the database's error if it is damaged, or contradicts a slot because an older copy replaced it."""
        if isinstance(error, DatabaseCorrupt):
            return error
        if isinstance(error, NoSuchRow | WrongStatus):
            try:
                self.heartbeat.beat()
            except DatabaseCorrupt as overwritten:
                return overwritten
            except StateError:  # the next beat handles it
                return None
        return None

    def _leave_study(self, slot: Slot, claim: Claim, left: NotReturned) -> None:
        """Releases the job of a study that has not returned; other jobs pass it until it has."""
        job = claim.job
        log.error("job %d (%s): %s\n%s", job.id, job.experiment, left, left.stack)
        slot.close()
        self.startable.declared.leaves(job.id, job.study, str(left), left.thread)
        self.emergency.release_job(claim, left)

    def release_unused(self) -> None:
        """Ends the processes of slots that were idle for UNUSED_S, so that a waiting worker uses little memory."""
        for _ in self.slots:
            with self._idle_lock:
                try:
                    slot = self._free.get_nowait()
                except queue.Empty:
                    return
                try:
                    if slot.holds_processes and time.monotonic() - self._used_at.get(slot.index, 0.0) > UNUSED_S:
                        slot.release()
                finally:
                    self._free.put(slot)

    def _report_slot(self, verb: str, message: str, data: dict[str, Any]) -> None:
        """Records and prints that a slot is stuck, or works again."""
        transitions.record_intervention(self.db, self.id, verb, message, data)
        self.progress.tell(Note(message))

    def _keep_house(self) -> None:
        """Writes exports that failed or are late, and the daily backup, which takes a minute for a large database.

        In its own thread, because neither the heartbeat nor the first trial must wait for a disk.
        """
        self._catch_up()
        maintenance = Maintenance(self.db, self.places)

        def keep_house() -> float:
            if self.owed:
                self.owed.write(now=False)
            maintenance.look()
            return AGAIN_S

        if not self.heartbeat.over.wait(AGAIN_S):
            repeat(keep_house, self.heartbeat.over, "exports or the daily backup", AGAIN_S)

    def _catch_up(self) -> None:
        """Writes the exports that earlier workers did not, all of them if a person has removed the folder."""
        try:
            exports.catch_up(self.db, self.places, lambda: not (self.heartbeat.over.is_set() and self._must_hurry()))
        except Exception as error:  # exports can be written later at any time, and this thread has more to do
            log.warning("exports: %s", error, exc_info=not isinstance(error, OSError | StateError))
        finally:
            self._has_caught_up.set()

    def _must_hurry(self) -> bool:
        """Was this worker asked to leave, or does it leave because of an error?"""
        return self.orders.order is not None

    # -- leaving

    def leaves(self) -> bool:
        """Should this process end now?"""
        if self.orders.order is not None:
            return self.orders.busy == 0
        if self.orders.busy:
            self._idle_since, self._worked = None, True
            return False
        if not (self.settings.until_empty or self._worked):
            return False  # it has already printed that nothing is left to run
        if self._has_work():
            self._idle_since = None
            return False
        self._idle_since = self._idle_since or time.monotonic()
        idle = time.monotonic() - self._idle_since > 2 * self.settings.poll_s
        if idle and not self.settings.until_empty:
            self._worked = False
            self.progress.tell(Note("nothing to run now: the worker waits for jobs; Ctrl-C ends it"))
        return idle and self.settings.until_empty

    def _has_work(self) -> bool:
        flag = queries.flag(self.db, "queue_paused")
        if flag is not None and not is_of_disk(flag):
            return False
        return tickets.runnable_jobs(self.db) > 0 or self._may_inherit_job()

    def _may_inherit_job(self) -> bool:
        """Does another worker hold a job without a heartbeat since we first looked?

        If it is alive, it writes a heartbeat within seconds; if it is dead, it loses the job with its lease. So a
        container that is recreated under another host name continues the job in which it was killed. In the copy of a
        running study the copied worker is a living process of this machine that writes no heartbeat here.
        """
        held = {job.worker_id: job for job in queries.jobs(self.db, (JobStatus.RUNNING,))}
        here, now = socket.gethostname(), time.monotonic()
        for worker in queries.workers(self.db):
            if worker.status != "running" or worker.id not in held:
                continue
            beat, since = self._first_beats.setdefault(worker.id, (worker.heartbeat_at, now))
            if beat != worker.heartbeat_at:
                continue
            quiet_s = 2 * self.settings.beat_s if worker.host == here else 0.0  # most workers of this machine live
            if now - since >= quiet_s and worker.id not in self._waits_for:
                self._waits_for.add(worker.id)
                self.progress.tell(Note(messages.waits_for(worker), held[worker.id]))
            return True
        return False
