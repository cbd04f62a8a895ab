"""Implements `fts hardware`: the machine's samples over time, and what the watchdog concluded from them."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import click

from fts.jobs.api.amounts import read_time
from fts.jobs.cli.app import AS_JSON
from fts.jobs.cli.output import emit_json, emit_table, say, warn_unreadable
from fts.jobs.cli.show import reading
from fts.jobs.status import formatting
from fts.jobs.status.conditions import is_live
from fts.state import queries
from fts.state.rows import unreadable_in
from fts.state.values import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fts.state.values import Worker

ROWS = 60  # most rows of the table, for any time span
MOST = 100_000  # samples read for the table: eleven days of one worker; more are thinned evenly
MOST_JSON = 1_000_000  # samples of --json


@click.command()
@click.option(
    "--since", default="1h", show_default=True, metavar="TIME", help="start of the time span: 10h (ago), 2d, or a date"
)
@AS_JSON
def hardware(since: str, as_json: bool) -> None:
    """Show memory, temperature, use and disk over time; a value without a sensor is a dash, never a zero.

    With many samples each row is the mean of several; --json has every sample. A column without values is left out.
    """
    start = read_time(since)
    with reading() as db:
        now = db.now()
        if as_json and (there := queries.count_samples(db, start)) > MOST_JSON:
            raise click.UsageError(
                f"these are {there:,} samples, more than the {MOST_JSON:,} of --json; give a later --since, or read "
                "them with `fts db query`"
            )
        samples = queries.samples(db, start, limit=MOST_JSON if as_json else MOST)
        workers = [worker for worker in queries.workers(db) if worker.status == "running"]
    warn_unreadable(unreadable_in({"sample": samples, "worker": workers}))
    if as_json:
        return emit_json("samples", samples, now)
    for worker in workers:
        say(f"worker {worker.id} on {worker.host}: {guard_of(worker, now)}")
    if not samples:
        return say(f"no worker has measured anything since {formatting.when(start, now)}; `fts worker` starts one")
    rows_ = reduced(samples, ROWS)
    say(
        f"{formatting.count(len(samples), 'sample')} from {formatting.when(samples[0].at, now)} to "
        f"{formatting.when(samples[-1].at, now)}, in {formatting.count(len(rows_), 'row')}"
        + (": each shows the mean of its n samples" if len(rows_) < len(samples) else "")
    )
    close = len(rows_) > 1 and min(b.at - a.at for (a, _), (b, _) in pairwise(rows_)) < formatting.MINUTE
    rows = [
        (
            _time(s.at, now, close),
            n,
            s.worker_id,
            *(read(s) for read in MEASURED.values()),
        )
        for s, n in rows_
    ]
    unknown = [name for n, name in enumerate(MEASURED, 3) if all(row[n] is None for row in rows)]
    known = [n for n, name in enumerate(COLUMNS) if name not in unknown]
    columns = [COLUMNS[n] for n in known]
    emit_table(columns, [[row[n] for n in known] for row in rows], right=columns[1:])
    if unknown:
        say(f"not measured here: {', '.join(unknown)}")
    return None


def guard_of(worker: Worker, now: float) -> str:
    """Returns `guard ok`; of a worker without a heartbeat its guard is not known, whatever it said last."""
    if not is_live(worker, now):
        return f"guard not known, no heartbeat since {formatting.to_the_second(worker.heartbeat_at, now)}"
    return f"guard {worker.guard}" + (f": {worker.guard_message}" if worker.guard_message else "")


MEASURED: dict[str, Callable[[Sample], str | None]] = {
    "in trials": lambda s: _bytes(s.trial_rss),
    "free memory": lambda s: _bytes(s.available),
    "swap": lambda s: _bytes(s.swap_used),
    "cpu %": lambda s: _number(s.cpu_percent),
    "°C": lambda s: _number(s.temperature),
    "gpu %": lambda s: _number(s.gpu_percent),
    "gpu memory": lambda s: _bytes(s.gpu_memory),
    "W": lambda s: _number(s.power_w),
    "disk free": lambda s: _bytes(s.disk_free),
    "step s": lambda s: _number(s.step_s, 3),
}
COLUMNS = ("from", "n", "worker", *MEASURED)


def reduced(samples: Sequence[Sample], rows: int) -> list[tuple[Sample, int]]:
    """Returns about `rows` means of consecutive samples of one worker, each with its number of samples.

    Slices hold equal numbers of samples, not equal times, so a longer `--since` never shows fewer rows than a shorter
    one that has the same samples.
    """
    if len(samples) <= rows:
        return [(sample, 1) for sample in samples]
    size = -(-len(samples) // rows)
    found: list[tuple[Sample, int]] = []
    for worker in dict.fromkeys(sample.worker_id for sample in samples):
        own = [sample for sample in samples if sample.worker_id == worker]
        found += [(_mean(own[n : n + size]), len(own[n : n + size])) for n in range(0, len(own), size)]
    return sorted(found, key=lambda row: row[0].at)


def _mean(samples: Sequence[Sample]) -> Sample:
    """Returns a sample with the first one's time and the mean of the known values of each quantity."""
    values: dict[str, float | None] = {}
    for field in fields(Sample):
        if field.name in ("at", "worker_id"):
            continue
        known = [value for sample in samples if (value := getattr(sample, field.name)) is not None]
        values[field.name] = sum(known) / len(known) if known else None
    return replace(samples[0], **values)  # type: ignore[arg-type]  # a mean of bytes need not be whole


def _time(at: float, now: float, seconds: bool) -> str:
    """Formats a time to the minute, or with `seconds` to the second."""
    told = formatting.when(at, now)
    return told.replace(formatting.clock(at), formatting.seconds_clock(at)) if seconds else told


def _bytes(count: int | None) -> str | None:
    return None if count is None else formatting.size(count)


def _number(value: float | None, digits: int = 0) -> str | None:
    return None if value is None else f"{value:.{digits}f}"
