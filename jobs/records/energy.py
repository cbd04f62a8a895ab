"""What a trial's training cost in watt hours, from the hardware samples of its machine; unknown stays unknown.

The power of a sample is that of processor packages and GPU, idle share and other programs included. It holds until the
next sample, and trials that train at the same time share it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.state import queries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from fts.state.db import Database
    from fts.state.values import Attempt, Epoch, Job, Sample, Trial

MOST_SAMPLES = 1_000_000  # one in 10 s and worker, and one a minute of those older than two days
LONGEST_S = 180.0  # a sample says nothing about what comes later than that
ENOUGH = 0.9  # of a trial's training must have been measured


@dataclass(frozen=True)
class Stretch:
    """Seconds since the epoch between which a machine drew so many watts."""

    start: float
    stop: float
    watts: float


def energies(db: Database, since: float = 0.0) -> dict[int, float]:
    """Watt hours by trial id, of every trial whose training was measured; empty where no sensor knows the power.

    Right of the trials that began at the time `since`, or later; what was over before is not read.
    """
    if not queries.knows_power(db):  # before reading weeks of samples, after every trial
        return {}
    measured = [sample for sample in _samples(db, since) if sample.power_w is not None]
    host_of = {worker.id: worker.host for worker in queries.workers(db, limit=100_000)}
    jobs = [job for job in queries.jobs(db) if _has_worked(job) and (job.ended_at or math.inf) >= since]
    curves = [curve for job in jobs for curve in queries.history(db, job.id)]
    worked = {id_: spans for job in jobs for id_, spans in queries.worked_on(db, job.id).items()}
    found: dict[int, float] = {}
    for host in {host_of.get(sample.worker_id) for sample in measured}:
        of_host = stretches([sample for sample in measured if host_of.get(sample.worker_id) == host])
        found |= shared_out(of_host, training(curves, host) | running(curves, worked, host))
    return found


def _has_worked(job: Job) -> bool:
    return job.started_at is not None or job.ended_at is not None


def _samples(db: Database, since: float) -> list[Sample]:
    """Those that tell the power since that time, and the latest of each worker before them."""
    first = since - LONGEST_S
    before = queries.latest_powers(db, first) if since else ()
    return [*before, *queries.samples(db, first, limit=MOST_SAMPLES)]


def total(
    known: Mapping[int, float], trials: Sequence[Trial], seconds: Mapping[int, float] | None = None
) -> float | None:
    """Watt hours of all these trials that trained; None when one of them was not measured.

    `seconds` by trial id where its epochs do not tell them.
    """
    took = {trial.id: trial.train_seconds if seconds is None else seconds.get(trial.id, 0.0) for trial in trials}
    trained = [trial.id for trial in trials if took[trial.id] > 0 and trial.reused_from is None]
    if not trained or any(trial not in known for trial in trained):
        return None
    return sum(known[trial] for trial in trained)


def stretches(samples: Sequence[Sample]) -> list[Stretch]:
    """The samples of one machine as stretches of equal power, in order; the last one is as long as the one before."""
    ordered = sorted(samples, key=lambda sample: sample.at)
    lengths = [min(LONGEST_S, after.at - one.at) for one, after in pairwise(ordered)]
    return [
        Stretch(one.at, one.at + length, one.power_w)
        for one, length in zip(ordered, [*lengths, *lengths[-1:]], strict=False)
        if one.power_w is not None and length > 0
    ]


def training(curves: Iterable[tuple[Trial, Sequence[Epoch]]], host: str | None) -> dict[int, list[tuple[float, float]]]:
    """When each trial of a machine trained: its epochs, as (start, stop)."""
    return {
        trial.id: [(epoch.at - epoch.seconds, epoch.at) for epoch in epochs]
        for trial, epochs in curves
        if epochs and trial.host == host and trial.reused_from is None
    }


def running(
    curves: Iterable[tuple[Trial, Sequence[Epoch]]], worked: Mapping[int, Sequence[Attempt]], host: str | None
) -> dict[int, list[tuple[float, float]]]:
    """When each trial of a machine ran whose epochs do not tell how long they took: its processes, as (start, stop)."""
    return {
        trial.id: [(one.began_at, one.ended_at) for one in worked.get(trial.id, ()) if one.ended_at is not None]
        for trial, epochs in curves
        if trial.host == host and trial.reused_from is None and not any(math.isfinite(one.seconds) for one in epochs)
    }


def shared_out(power: Sequence[Stretch], trained: Mapping[int, Sequence[tuple[float, float]]]) -> dict[int, float]:
    """Watt hours of each trial; those whose training was not measured nearly throughout are left out."""
    starts = [stretch.start for stretch in power]
    busy = [0.0] * len(power)  # seconds of training in each stretch, summed over trials
    for spans in trained.values():
        for k, seconds in overlaps(power, starts, spans):
            busy[k] += seconds
    found: dict[int, float] = {}
    for trial, spans in trained.items():
        joules = covered = 0.0
        for k, seconds in overlaps(power, starts, spans):
            length = power[k].stop - power[k].start
            joules += power[k].watts * seconds * min(1.0, length / busy[k])
            covered += seconds
        if covered >= ENOUGH * sum(stop - start for start, stop in spans) > 0:
            found[trial] = joules / 3600
    return found


def overlaps(
    power: Sequence[Stretch], starts: Sequence[float], spans: Iterable[tuple[float, float]]
) -> Iterator[tuple[int, float]]:
    """(stretch, seconds) of every stretch that a span touches."""
    for start, stop in spans:
        k = max(0, bisect_right(starts, start) - 1)
        while k < len(power) and power[k].start < stop:
            seconds = min(stop, power[k].stop) - max(start, power[k].start)
            if seconds > 0:
                yield k, seconds
            k += 1
