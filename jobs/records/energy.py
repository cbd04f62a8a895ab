"""Computes a trial's energy in watt hours from the hardware samples of its machine; unknown power gives no number.

A sample's power is that of the processor packages and the GPU, with the idle share and other programs. It counts until
the next sample, and trials that train at the same time share it.
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

MOST_SAMPLES = 1_000_000  # one per 10 s and worker, and one per minute for those older than two days
LONGEST_S = 180.0  # a sample counts for at most this long
ENOUGH = 0.9  # share of a trial's training that must have been measured


@dataclass(frozen=True)
class Stretch:
    """A span of constant power of one machine; start and stop in seconds since 1970."""

    start: float
    stop: float
    watts: float


def energies(db: Database, since: float = 0.0) -> dict[int, float]:
    """Returns watt hours by trial id, for each trial with a measured training; {} if no sensor measures power.

    Correct for trials that began at `since` or later; does not read jobs that ended before.
    """
    if not queries.knows_power(db):  # before reading weeks of samples, after every trial
        return {}
    measured = [sample for sample in _samples(db, since) if sample.power_w is not None]
    host_of = {worker.id: worker.host for worker in queries.workers(db, limit=100_000)}
    jobs = [job for job in queries.jobs(db) if _has_worked(job) and (job.ended_at or math.inf) >= since]
    curves = [curve for job in jobs for curve in queries.history(db, job.id)]
    worked = {id_: spans for job in jobs for id_, spans in queries.attempts_by_trial(db, job.id).items()}
    found: dict[int, float] = {}
    for host in {host_of.get(sample.worker_id) for sample in measured}:
        of_host = stretches([sample for sample in measured if host_of.get(sample.worker_id) == host])
        found |= share_out(of_host, training(curves, host) | running(curves, worked, host))
    return found


def _has_worked(job: Job) -> bool:
    return job.started_at is not None or job.ended_at is not None


def _samples(db: Database, since: float) -> list[Sample]:
    """Returns the samples since that time, and each worker's latest sample with watts before them."""
    first = since - LONGEST_S
    before = queries.latest_powers(db, first) if since else ()
    return [*before, *queries.samples(db, first, limit=MOST_SAMPLES)]


def total(
    known: Mapping[int, float], trials: Sequence[Trial], seconds: Mapping[int, float] | None = None
) -> float | None:
    """Returns the watt hours of all of these trials that trained; None if one of them was not measured.

    `seconds`: training time by trial id; default: the trials' `train_seconds`.
    """
    took = {trial.id: trial.train_seconds if seconds is None else seconds.get(trial.id, 0.0) for trial in trials}
    trained = [trial.id for trial in trials if took[trial.id] > 0 and trial.reused_from is None]
    if not trained or any(trial not in known for trial in trained):
        return None
    return sum(known[trial] for trial in trained)


def stretches(samples: Sequence[Sample]) -> list[Stretch]:
    """Converts one machine's samples to spans of constant power, in order; the last is as long as the one before."""
    ordered = sorted(samples, key=lambda sample: sample.at)
    lengths = [min(LONGEST_S, after.at - one.at) for one, after in pairwise(ordered)]
    return [
        Stretch(one.at, one.at + length, one.power_w)
        for one, length in zip(ordered, [*lengths, *lengths[-1:]], strict=False)
        if one.power_w is not None and length > 0
    ]


def training(curves: Iterable[tuple[Trial, Sequence[Epoch]]], host: str | None) -> dict[int, list[tuple[float, float]]]:
    """Returns the (start, stop) of each epoch, by trial id, for the trials of one machine."""
    return {
        trial.id: [(epoch.at - epoch.seconds, epoch.at) for epoch in epochs]
        for trial, epochs in curves
        if epochs and trial.host == host and trial.reused_from is None
    }


def running(
    curves: Iterable[tuple[Trial, Sequence[Epoch]]], worked: Mapping[int, Sequence[Attempt]], host: str | None
) -> dict[int, list[tuple[float, float]]]:
    """Returns the (start, stop) of each process, by trial id, for one machine's trials without epoch times."""
    return {
        trial.id: [(one.began_at, one.ended_at) for one in worked.get(trial.id, ()) if one.ended_at is not None]
        for trial, epochs in curves
        if trial.host == host and trial.reused_from is None and not any(math.isfinite(one.seconds) for one in epochs)
    }


def share_out(power: Sequence[Stretch], trained: Mapping[int, Sequence[tuple[float, float]]]) -> dict[int, float]:
    """Returns watt hours by trial id; omits trials with less than ENOUGH of their training measured."""
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
    """Yields (index of the stretch, seconds) for each overlap of a stretch with a span."""
    for start, stop in spans:
        k = max(0, bisect_right(starts, start) - 1)
        while k < len(power) and power[k].start < stop:
            seconds = min(stop, power[k].stop) - max(start, power[k].start)
            if seconds > 0:
                yield k, seconds
            k += 1
