"""The heartbeat of a worker: extends its leases, reads its orders, samples the machine, releases lost jobs."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING

from fts.jobs.supervisor.progress_events import Note
from fts.jobs.threads import begin
from fts.state import queries, tickets, transitions
from fts.state.errors import DatabaseCorrupt, DatabaseGone, NoSuchRow, StateError, WrongStatus
from fts.state.values import WorkerOrder

if TYPE_CHECKING:
    from fts.jobs.worker.worker import Worker

log = logging.getLogger("fts.worker")

SAMPLE_EVERY_S = 10.0
SAMPLED = (
    "available", "total", "swap_used", "cpu_percent", "temperature", "gpu_percent", "gpu_memory", "power_w",
    "disk_free",
)  # fmt: skip


class Heartbeat:
    """A thread that works independently of the slots."""

    def __init__(self, worker: Worker) -> None:
        self.worker, self.db, self.orders, self.settings = worker, worker.db, worker.orders, worker.settings
        self.over = threading.Event()
        self._beats = 0
        self._recording = threading.Lock()  # of a signal's order
        self._stop_file_obeyed = False
        self._thread = threading.Thread(target=self.run, name="beat", daemon=True)

    def start(self) -> None:
        begin(self._thread)

    def run(self) -> None:
        """Runs until `over` is set; an unexpected error stops the worker at a checkpoint."""
        try:
            self._run_until_over()
        except BaseException:
            log.exception("without its beat this worker would lose its jobs: it stops at a checkpoint")
            self.orders.signal(WorkerOrder.STOP)
            raise

    def _run_until_over(self) -> None:
        version, beaten = None, float("-inf")
        swept = time.monotonic()
        sampled = float("-inf")
        observer = transitions.LeaseObserver(self.settings.lease_s, me=self.worker.id)
        while not self.over.wait(self.settings.poll_s):
            try:
                if warning := self.db.check_still_there():
                    self.worker.progress.tell(Note(warning))
                    transitions.record_intervention(self.db, self.worker.id, "warned", warning)
                now_version = queries.data_version(self.db)
                due = time.monotonic() - beaten >= self.settings.beat_s
                self._obey_stop_file()
                self.worker.check_own_code()
                self.record_signal()
                if due or now_version != version:
                    beaten = time.monotonic() if due else beaten
                    self._beat_or_read(due)
                    version = now_version
                if time.monotonic() - sampled >= SAMPLE_EVERY_S:
                    sampled = time.monotonic()
                    self._sample()
                if time.monotonic() - swept >= self.settings.lease_s / 6:
                    swept = time.monotonic()
                    transitions.sweep(self.db, observer)
                    tickets.missing_tickets(self.db)
                answered = self.worker.startable.declared.any_answered()
                if answered:
                    self.worker.startable.tell({}, self.worker.id)
                if self.worker.backoff.any_ended() or answered:
                    tickets.missing_tickets(self.db)
                self.worker.disk_wait.look()
                self.worker.release_unused()
                self.worker.slot_watch.look()
            except (DatabaseGone, DatabaseCorrupt) as error:
                self.worker.stop_without_database(error)
            except (WrongStatus, NoSuchRow) as error:  # others took us for dead: our claims are lost, no new ones
                if not self.over.is_set():
                    self.worker.stop_without_database(error)
            except (StateError, OSError) as error:  # busy, full, no permission: the lease survives several missed beats
                log.warning("heartbeat not written: %s", error)

    def _beat_or_read(self, write: bool) -> None:
        if write:
            self.beat()
        else:
            self._read_orders()

    def beat(self) -> None:
        """Records a heartbeat and takes the orders. Raises DatabaseOverwritten if an older copy is in its place."""
        reply = transitions.record_heartbeat(
            self.db, self.worker.id, self.settings.lease_s, self.orders.claims, self._beats
        )
        self._beats = reply.beats
        self.orders.from_database(reply.asked, reply.jobs)
        self.orders.lost({claim.job_id for claim in reply.lost})

    def _obey_stop_file(self) -> None:
        """Obeys the stop file: every worker of the study leaves after its job, as after `fts drain --after job`."""
        file = self.worker.places.stop_file
        try:
            found = file.exists()
        except OSError:  # its folder cannot be read now, which must not cost the lease
            return
        if self._stop_file_obeyed or not found:
            return
        who = f"the file {file.relative_to(self.worker.places.outputs.parent)}"
        try:
            transitions.record_request(self.db, WorkerOrder.DRAIN_JOB, who)
        except StateError as error:  # a full disk: obey now, record it when writing works again
            log.warning("%s: %s", who, error)
            self.orders.signal(WorkerOrder.DRAIN_JOB, who)
        try:
            file.unlink(missing_ok=True)
        except OSError as error:  # it is a folder, or its folder is read-only: obey once only
            self._stop_file_obeyed = True
            log.warning("%s cannot be removed: %s", file, error.strerror)
        self.worker.progress.tell(Note(f"{file.name} found: the workers stop after their jobs"))

    def record_signal(self, wait_s: float = -1) -> None:
        """Records the order of a signal once, with an event, so that every screen shows DRAINING.

        The beat and a worker that leaves may call this at the same time. `wait_s`: how long one waits for the other,
        which may be waiting for the database's lock; -1: for as long as that takes.
        """
        if not self._recording.acquire(timeout=wait_s):
            return
        try:
            if (asked := self.orders.unrecorded) is not None:
                order, who = asked
                with contextlib.suppress(WrongStatus, NoSuchRow):  # others took us for dead: the next beat handles that
                    transitions.record_request(self.db, order, who, self.worker.id, can_withdraw=False)
                    self.orders.recorded(order)
        finally:
            self._recording.release()

    def _sample(self) -> None:
        """Records one reading of the hardware; values that cannot be read stay unknown."""
        now = self.worker.sensors.read()
        steps = [step_s for slot in self.worker.slots if (step_s := slot.step_s()) is not None]
        transitions.add_sample(
            self.db,
            self.worker.id,
            trial_rss=sum(slot.rss() for slot in self.worker.slots),
            step_s=steps[0] if steps else None,
            **{name: getattr(now, name) for name in SAMPLED},
        )

    def _read_orders(self) -> None:
        mine = {job.id: job for job in queries.jobs(self.db, ["running"]) if job.worker_id == self.worker.id}
        me = next((worker for worker in queries.workers(self.db) if worker.id == self.worker.id), None)
        if me is None:
            return  # the next beat handles that
        self.orders.from_database(me.asked, {job.id: job.asked for job in mine.values() if job.asked})
