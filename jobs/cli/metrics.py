"""Implements `fts metrics`: serves metrics for Prometheus and a health check over HTTP, read-only."""

from __future__ import annotations

import click

from fts.jobs.allowed_hosts import LOOPBACK, cannot_listen
from fts.jobs.cli.app import Whole, here
from fts.jobs.cli.errors import NothingThere
from fts.jobs.cli.maintain import existing
from fts.jobs.cli.output import emit, say


@click.command()
@click.option("--port", default=8002, show_default=True, type=Whole(1024, 65535), help="port to listen on")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="address to listen on")
def metrics(port: int, host: str) -> None:
    """Serve /metrics for Prometheus and /healthz: 200, or 503 while `fts status` says ACT or BLIND.

    Read-only. Every user of this machine can read it: it shows names of cells and their best values. With --host
    0.0.0.0 other machines can connect, too.
    """
    from fts.jobs.metrics.server import serve  # here, not above: aiohttp, for this command only

    database = existing()
    if host not in LOOPBACK:
        say(f"listening on {host}: everybody who can reach this address can read the names and values of the cells")

    def ready(address: str) -> None:
        emit(address)
        say(f"serving metrics of {database}, read-only; Ctrl-C ends it")

    try:
        serve(here(), port, host, ready)
    except OSError as error:
        raise NothingThere(f"cannot listen on {host}:{port}: {cannot_listen(error)}") from None
