"""Serves /metrics and /healthz over HTTP; reads the database at most once a second, however many requests come."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.allowed_hosts import LOOPBACK, name_of, refusal
from fts.jobs.metrics import gauges
from fts.jobs.metrics.exposition import CONTENT_TYPE, text_of
from fts.jobs.read_status import glance as look
from fts.jobs.status.concern import Word
from fts.jobs.status.sentences import sentences
from fts.state import queries
from fts.state.db import open_for_reading
from fts.state.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from fts.jobs.settings import Places
    from fts.state.db import Database

FRESH_S = 1.0
BAD = (Word.ACT, Word.BLIND)  # verdicts for which /healthz returns 503
FIRST = "fts: /metrics for Prometheus, /healthz as fts status says it\n"


@dataclass(frozen=True)
class SeenPages:
    """The content of both pages at one moment."""

    metrics: str
    health: str
    is_well: bool


class Board:
    """Caches the pages of a study. All its methods must be called from the same thread."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.db: Database | None = None
        self.known = queries.KnownRows()
        self.seen: SeenPages | None = None
        self.at = float("-inf")

    def look(self) -> SeenPages:
        """Returns the pages, at most FRESH_S old."""
        if self.seen is None or time.monotonic() - self.at >= FRESH_S:
            self.seen, self.at = self._look(), time.monotonic()
        return self.seen

    def _look(self) -> SeenPages:
        try:
            if self.db is None:
                self.db = open_for_reading(self.places.db)
            self.db.poll_version()  # reopens it if another file is at the path now
            found = look(self.db, self.places, self.known)
            text = "\n".join(sentences(found)) + "\n"
            return SeenPages(text_of(gauges.families(found)), text, found.verdict.word not in BAD)
        except (StateError, OSError) as error:
            self.close()
            return SeenPages(text_of(gauges.unreadable()), f"BLIND: {' '.join(str(error).split())}\n", False)

    def close(self) -> None:
        if self.db is not None:
            self.db.close()
            self.db = None


def serve(places: Places, port: int, host: str, ready: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM. Raises OSError when the port is taken."""
    asyncio.run(_serve(places, port, host, ready))


async def _serve(places: Places, port: int, host: str, ready: Callable[[str], None]) -> None:
    from aiohttp import web  # here, not above: for this command only

    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopped.set)
    board = Board(places)
    with ThreadPoolExecutor(1, "look") as one:  # a SQLite connection must stay in its thread

        async def seen() -> SeenPages:
            return await loop.run_in_executor(one, board.look)

        runner = web.AppRunner(_app(seen, port, host), shutdown_timeout=0.2, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, shutdown_timeout=0.2).start()
            ready(f"http://{name_of(host)}:{port}/metrics")
            await stopped.wait()
        finally:
            await runner.cleanup()
            await loop.run_in_executor(one, board.close)


def _app(seen: Callable[[], Any], port: int, host: str) -> web.Application:
    from aiohttp import web  # here, not above: as in _serve

    own = "" if host in LOOPBACK else f"{socket.getfqdn()}:{port}".lower()

    async def metrics(_: web.Request) -> web.Response:
        found = await seen()
        return web.Response(body=found.metrics.encode(errors="replace"), headers={"Content-Type": CONTENT_TYPE})

    async def health(_: web.Request) -> web.Response:
        found = await seen()
        return web.Response(text=found.health, status=200 if found.is_well else 503)

    async def first(_: web.Request) -> web.Response:
        return web.Response(text=FIRST)

    @web.middleware
    async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
        asked, origin = request.headers.get("Host", ""), request.headers.get("Origin")
        reason = refusal(asked, origin, port, host)
        if reason and not (origin is None and own and asked.lower() == own):
            return web.Response(status=403, text=reason)
        response: web.StreamResponse = await handler(request)
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    app = web.Application(middlewares=[guard], client_max_size=1024)
    app.router.add_get("/", first)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", health)
    return app
