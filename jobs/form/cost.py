"""Estimates the time, memory and disk of cells before they are enqueued, from earlier trials of the study.

The time comes from fts.jobs.status.forecast, so `fts status` shows the same once the cells are enqueued.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.command import BareStudy
from fts.jobs.api.spec import trial_folder
from fts.jobs.api.study import LEARN
from fts.jobs.devices import gpus_in_words
from fts.jobs.form import cell_state
from fts.jobs.status import forecast, formatting
from fts.state.files import below, room
from fts.state.location import has_study
from fts.state.values import Direction, Job, JobStatus, Snapshot

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from fts.jobs.api.bare_cell import BareCell
    from fts.jobs.api.form import CellNow
    from fts.jobs.settings import Places
    from fts.state.db import Database
    from fts.state.values import Trial

RECENT = 20  # latest jobs to read trials of, and latest trials to measure folders of
LEAST_KEPT = 1e6  # bytes; less is reported as "next to nothing"
MOST_FILES = 2000  # files measured at most
BUSY_S = 2.0  # a read waits so long for a lock
SHARE_OF_MEMORY = 0.85  # share of the machine's memory that trials may use


@dataclass(frozen=True)
class Order:
    """A cell to enqueue, and how many trials that adds."""

    cell: BareCell
    more: int
    job: Job | None = None  # the job that is extended; None: a new one


@dataclass(frozen=True)
class KnownCosts:
    """What is known about one study and this machine; read once for several estimates."""

    snapshot: Snapshot | None  # None: there is no database
    trials: tuple[Trial, ...]  # of the study's latest jobs
    slots: int
    worker: bool  # whether `slots` are those of running workers; else those a worker would have
    memory: int | None  # bytes of this machine
    free: int  # free bytes on the disk
    kept: float | None  # mean bytes in a trial's folder after its end

    @property
    def jobs(self) -> Sequence[Job]:
        return () if self.snapshot is None else self.snapshot.jobs


@dataclass(frozen=True)
class Hours:
    """Estimated seconds of some cells together."""

    seconds: float
    low: float  # 80 % interval
    high: float
    unknown: int  # cells without an estimate, not included in `seconds`
    trials: int


def known(db: Database | None, places: Places, study: str) -> KnownCosts:
    """Reads what is known about a study, which may have no jobs yet, and this machine."""
    from fts.jobs.sensors import detect  # here: psutil
    from fts.jobs.settings import worker_settings
    from fts.state import queries

    snapshot = None if db is None else queries.snapshot(db)
    trials: list[Trial] = []
    if db is not None and snapshot is not None:
        own = [job for job in snapshot.jobs if job.study == study and job.attempt][-RECENT:]
        trials = [trial for job in own for trial in queries.readable_trials(db, job.id)]
    running = [] if snapshot is None else [worker for worker in snapshot.workers if worker.status == "running"]
    slots = forecast.slots_of(snapshot) if snapshot is not None and running else worker_settings(planning=True).slots
    sensors = detect.from_env(Path())
    try:
        memory = sensors.read().total
    finally:
        sensors.close()
    kept = _kept(places, trials, {} if snapshot is None else {job.id: job.experiment for job in snapshot.jobs})
    return KnownCosts(snapshot, tuple(trials), slots, bool(running), memory, room(places.outputs)[0], kept)


def _kept(places: Places, trials: Sequence[Trial], names: Mapping[int, str]) -> float | None:
    """Returns the mean bytes in the folders of the latest ended trials; None if there are none."""
    sizes: list[int] = []
    files = 0
    for trial in [trial for trial in trials if trial.ended_at is not None][-RECENT:]:
        total = 0
        for path in below(trial_folder(places.outputs, names[trial.job_id], trial.job_id, trial.number)):
            files += 1
            with suppress(OSError):  # removed meanwhile
                total += path.lstat().st_size
            if files > MOST_FILES:
                return sum(sizes) / len(sizes) if sizes else None
        sizes.append(total)
    return sum(sizes) / len(sizes) if sizes else None


def orders_of(cells: Sequence[BareCell], now: Sequence[CellNow], jobs: Sequence[Job]) -> list[Order]:
    """Returns an order for each cell. `now`: the state of each cell, in the same order."""
    by_id = {job.id: job for job in jobs}
    return [
        Order(cell, each.more, None if each.job is None else by_id.get(each.job))
        for cell, each in zip(cells, now, strict=True)
    ]


def of_file(places: Places, cells: Sequence[BareCell], *, again: bool) -> tuple[KnownCosts, list[Order]]:
    """Reads what is needed to estimate the cost of these cells of a study file."""
    with reading(places) as db:
        found = known(db, places, cells[0].study)
        return found, orders_of(cells, cell_state.of_file(db, cells, found.jobs, again), found.jobs)


def of_words(
    places: Places, cells: Sequence[BareCell], *, again: bool, typed: Collection[str]
) -> tuple[KnownCosts, list[Order]]:
    """Reads the same for the cells of a command line."""
    with reading(places) as db:
        found = known(db, places, cells[0].study)
        return found, orders_of(cells, cell_state.of_words(cells, found.jobs, again, typed), found.jobs)


@contextmanager
def reading(places: Places) -> Iterator[Database | None]:
    """Opens the database for reading; None if there is none yet."""
    from fts.state.db import open_for_reading  # here: peewee

    if not has_study(places.db):
        yield None
        return
    db = open_for_reading(places.db, busy_timeout_s=BUSY_S)
    try:
        yield db
    finally:
        db.close()


def hours(known: KnownCosts, orders: Sequence[Order]) -> Hours:
    """Estimates the time to run all orders on the slots, as the forecast of the queue does it."""
    now = time.time()
    worked = {} if known.snapshot is None else known.snapshot.worked
    free = [0.0] * max(known.slots, 1)
    spread: dict[str, float] = {}
    paces: dict[tuple[Any, ...], Any] = {}
    unknown = trials = 0
    for order in orders:
        job = order.job or as_job(order.cell)
        own = None if order.job is None else forecast.own_pace(order.job, now, worked)
        key = (forecast.pool_of(job), forecast.epochs_of(job), forecast.is_pruned(job))
        if own is None and key not in paces:
            paces[key] = forecast.pace_of(key[0], known.jobs, now, worked, *key[1:])
        pace = own or paces[key]
        trials += order.more
        if pace is None:
            unknown += 1
            continue
        seconds = order.more * pace.seconds
        forecast.placed(free, job.parallel, seconds)
        shared = key[0] if own is None else f"job {job.id}"
        spread[shared] = spread.get(shared, 0.0) + seconds * pace.sd_log / len(free)
    total = max(free)
    sd_log = math.sqrt(sum(sd * sd for sd in spread.values())) / total if total else 0.0
    low, high = total * math.exp(-forecast.Z80 * sd_log), total * math.exp(forecast.Z80 * sd_log)
    return Hours(total, low, high, unknown, trials)


def as_job(cell: BareCell) -> Job:
    """Returns the job that the cell would become, with the fields that the forecast reads."""
    row = BareStudy(cell.study).row(cell)
    blank: dict[str, Any] = {one.name: None for one in fields(Job)}
    counts = dict.fromkeys(
        ("trials_complete", "trials_pruned", "trials_failed", "attempt", "idle_attempts", "token"), 0
    )
    given = {name: value for name, value in row.items() if name in blank}
    more = {"id": 0, "status": JobStatus.QUEUED, "direction": Direction(cell.direction), "rank": 0.0, "front": ()}
    return Job(**blank | counts | given | more)


def sentences(known: KnownCosts, orders: Sequence[Order]) -> list[str]:
    """Returns a sentence each about time, memory and disk; none if no trials are added."""
    adding = [order for order in orders if order.more]
    if not adding:
        return []
    return [time_of(known, adding), memory_of(known, [order.cell for order in adding]), disk_of(known, adding)]


def time_of(known: KnownCosts, orders: Sequence[Order]) -> str:
    """Returns `time: about 40 min (80 %: 30 to 50 min) with 2 slots; from 12 trials of train that ended here`."""
    found = hours(known, orders)
    cells, slots = formatting.count(found.unknown, "cell"), formatting.count(known.slots, "slot")
    study = orders[0].cell.study
    if found.unknown == len(orders):
        return f"time: unknown: no trial of {study} has run yet; `fts check` runs one"
    within = f"80 %: {formatting.spell_range(found.low, found.high)}"
    about = f"{formatting.about(found.seconds)} ({within})"
    also = f", and {cells} of unknown duration" if found.unknown else ""
    beside = f" with {slots}{' of the running worker' if known.worker else ''}"
    return f"time: {about}{beside}{also}; {basis(known, study)}"


def basis(known: KnownCosts, study: str) -> str:
    """Returns on which trials the estimated time is based, and how many of them were pruned."""
    own = [job for job in known.jobs if job.study == study and job.kind == "cell"]
    ended = sum(map(formatting.trials_ended, own))
    pruned = sum(job.trials_pruned for job in own)
    text = f"from {formatting.count(ended, 'trial')} of {study} that ended here"
    return f"{text}, {pruned} of them pruned" if pruned else text


def memory_of(known: KnownCosts, cells: Iterable[BareCell]) -> str:
    """Returns a sentence about the memory of the trials that run at once, compared with this machine."""
    machine = f"of {formatting.size(known.memory)}" if known.memory else "of an unknown amount"
    cells = list(cells)
    if (of_gpu := _gpu_memory_of(cells)) is not None:
        return of_gpu
    found = {(cell.memory_bytes, cell.memory) for cell in cells}
    declared = max((size for size, _ in found if size), default=None)
    by_function = next((name for _, name in found if name not in (None, LEARN)), None)
    at_once = known.slots
    if declared is not None:
        text = f"memory: {formatting.size(declared)} for each trial, as declared"
        return text + _at_once(known, declared, at_once, machine)
    if by_function is not None:
        return f"memory: {by_function} sets it for each trial; this machine has {machine.removeprefix('of ')}"
    peaks = [trial.peak_bytes for trial in known.trials if trial.peak_bytes]
    if not peaks:
        here = machine.removeprefix("of ")
        return f"memory: unknown: no trial has run yet; the first runs alone and shows it ({here} here)"
    text = f"memory: {formatting.size(max(peaks))} in the largest of {formatting.count(len(peaks), 'trial')}"
    return text + _at_once(known, max(peaks), at_once, machine)


def _gpu_memory_of(cells: Sequence[BareCell]) -> str | None:
    """Returns a sentence about memory declared together with GPUs, which is that of each GPU; None: none is."""
    with_gpu = [cell for cell in cells if cell.gpu and (cell.memory_bytes or cell.memory not in (None, LEARN))]
    if not with_gpu:
        return None
    from fts.jobs.sensors.gpus import list_gpus  # here: psutil

    declared = max((cell.memory_bytes for cell in with_gpu if cell.memory_bytes), default=None)
    if declared is None:
        amount = f"memory: {next(cell.memory for cell in with_gpu)} sets that of each GPU"
    else:
        amount = f"memory: {formatting.size(declared)} of each GPU of a trial, as declared"
    return f"{amount}; this machine has {gpus_in_words(list_gpus())}"


def _at_once(known: KnownCosts, size: int, slots: int, machine: str) -> str:
    if known.memory and size > SHARE_OF_MEMORY * known.memory:
        return f"; it does not fit this machine ({machine.removeprefix('of ')})"
    if slots == 1:
        return f", {machine}"
    too_much = bool(known.memory and slots * size > SHARE_OF_MEMORY * known.memory)
    return f"; {slots} at once {formatting.size(slots * size)} {machine}" + (", so some wait" if too_much else "")


def disk_of(known: KnownCosts, orders: Sequence[Order]) -> str:
    free = formatting.size(known.free)
    if known.kept is None:
        return f"disk: {free} free; what a trial keeps is unknown: none has ended yet"
    total = known.kept * sum(order.more for order in orders)
    if total < LEAST_KEPT:
        return f"disk: {free} free; the trials so far keep next to nothing"
    text = f"disk: about {formatting.size(int(total))} for these trials, {free} free"
    return text + ("; they will not fit" if total > known.free else "")


def as_dict(known: KnownCosts, orders: Sequence[Order]) -> Mapping[str, Any]:
    """Returns the estimates for --json."""
    adding = [order for order in orders if order.more]
    found = hours(known, adding)
    seconds = None if found.unknown or not adding else found.seconds
    return {
        "trials": found.trials,
        "seconds": seconds,
        "low": None if seconds is None else found.low,
        "high": None if seconds is None else found.high,
        "slots": known.slots,
        "told": sentences(known, orders),
    }
