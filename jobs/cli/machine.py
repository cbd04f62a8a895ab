"""`fts hardware`: what the workers measured of the machine, and what the guard made of it."""

from __future__ import annotations

import click

from jobs.cli.look import AS_JSON, reading
from jobs.cli.output import emit_json, emit_table, name_unreadable, say
from jobs.cli.since import since_of
from jobs.glance import words
from state import queries
from state.rows import unreadable_in

ROWS = 60  # of the table, whatever the span


@click.command()
@click.option("--since", default="1h", show_default=True, metavar="TIME", help="10h, 2d, or a date")
@AS_JSON
def hardware(since: str, as_json: bool) -> None:
    """Memory, heat, use and disk over time; what no sensor tells is a dash, never a zero."""
    start = since_of(since)
    with reading() as db:
        now = db.now()
        samples = queries.samples(db, start, every_s=0.0 if as_json else max(1.0, (now - start) / ROWS))
        crew = [worker for worker in queries.workers(db) if worker.status == "running"]
    name_unreadable(unreadable_in({"sample": samples, "worker": crew}))
    if as_json:
        return emit_json("samples", samples, now)
    for worker in crew:
        said = f": {worker.guard_message}" if worker.guard_message else ""
        say(f"worker {worker.id} on {worker.host}: guard {worker.guard}{said}")
    if not samples:
        return say(f"no worker has measured anything since {since}; `fts worker` starts one")
    columns = (
        "when",
        "worker",
        "trial",
        "available",
        "swap",
        "cpu %",
        "°C",
        "gpu %",
        "gpu memory",
        "W",
        "disk",
        "step s",
    )
    rows = [
        (
            words.when(s.at, now),
            s.worker_id,
            _bytes(s.trial_rss),
            _bytes(s.available),
            _bytes(s.swap_used),
            _number(s.cpu_percent),
            _number(s.temperature),
            _number(s.gpu_percent),
            _bytes(s.gpu_memory),
            _number(s.power_w),
            _bytes(s.disk_free),
            _number(s.step_s, 3),
        )
        for s in samples
    ]
    return emit_table(columns, rows, right=columns[1:])


def _bytes(count: int | None) -> str | None:
    return None if count is None else words.size(count)


def _number(value: float | None, digits: int = 0) -> str | None:
    return None if value is None else f"{value:.{digits}f}"
