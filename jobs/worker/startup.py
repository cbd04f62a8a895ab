"""Prepares a worker before it claims jobs: locks a free slot, and cleans up after dead workers of this machine.

Also writes the file with the pid of a detached worker.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from typing import TYPE_CHECKING

from fts.jobs.records import earlier_exports
from fts.jobs.supervisor.leftovers import end_leftovers
from fts.jobs.supervisor.process_tree import Reaped, reap_recorded, same_process
from fts.state import queries, transitions
from fts.state.files import atomic_write, refuse_links, sweep, sweep_below
from fts.state.slot_lock import SlotLock, SlotTaken, holder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fts.jobs.settings import Places
    from fts.state.db import Database

log = logging.getLogger("fts.worker")

OURS = ("hpo", "trials", "models", "report", "scripts", "logs")  # not backups: a person may be writing one now


@contextlib.contextmanager
def hold_slot(places: Places, index: int | None = None) -> Iterator[SlotLock]:
    """Locks slot `index`, or the first free one. Raises SlotTaken when it, or every slot, is taken."""
    lock = free_slot(places) if index is None else SlotLock(places.outputs, index).acquire()
    try:
        yield lock
    finally:
        lock.release()


def free_slot(places: Places) -> SlotLock:
    """Locks the first free slot; raises SlotTaken when all slots of this machine are taken."""
    count = max(1, os.cpu_count() or 1)
    for index in range(count):
        with contextlib.suppress(SlotTaken):
            return SlotLock(places.outputs, index).acquire()
    holders = {str(found) for index in range(count) if (found := holder(places.outputs, index)) is not None}
    raise SlotTaken(
        f"every slot of this machine ({count}) is taken by {', '.join(sorted(holders)) or 'others'}: `fts enqueue` "
        f"adds the cell to the queue for them; --slot {count} runs it now, but slows down all trials"
    )


def pid_file(places: Places) -> Path:
    """Returns the path of the file with the pid of the detached worker; it exists while that worker runs."""
    return places.outputs / "worker.pid"


def write_pid_file(places: Places) -> None:
    """Called by the detached worker itself: the command that starts it may be killed before the worker is ready."""
    try:
        atomic_write(pid_file(places), f"{os.getpid()}\n", durable=False)
    except OSError as error:
        log.warning("%s", error)


def remove_pid_file(places: Places, pid: int) -> None:
    """Deletes the pid file if it names this pid: a refused worker must not delete the file of the running one."""
    with contextlib.suppress(FileNotFoundError):
        if pid_file(places).read_text().strip() == str(pid):
            pid_file(places).unlink()


def clean_up_after_dead_workers(db: Database, places: Places) -> None:
    """Ends processes of dead workers of this machine, queues their jobs again, and moves earlier exports aside.

    Missing exports are written beside the trials (Worker).

    Raises CannotWrite when logs or trials is a link: files would be written and deleted outside the outputs folder.
    """
    for folder in (places.logs, places.outputs / "trials"):
        refuse_links(folder, places.outputs)
    host = socket.gethostname()
    alive = {worker.id: worker.pid for worker in queries.workers(db) if same_process(worker.pid, worker.pid_started)}
    for child in queries.running_children(db, host):
        if child.worker_id not in alive:
            became = reap_recorded(child.pid, child.pid_started)
            if became in (Reaped.STOPPED, Reaped.KILLED):
                log.info("process %d, which a lost worker left running: %s", child.pid, became)
    if count := end_leftovers(places.outputs, set(alive.values())):
        log.info("processes that trials of a lost worker had started, and that were ended: %d", count)
    transitions.reconcile(db, host, same_process)
    try:
        if (aside := earlier_exports.move_aside(db, places)) is not None:
            log.warning("exports of an earlier database moved to %s", aside)
    except OSError as error:  # a full disk: exports can be written later at any time
        log.warning("exports: %s", error)
    sweep(places.outputs)
    for mine in (places.outputs / name for name in OURS):
        if not mine.is_symlink():
            sweep_below(mine)
