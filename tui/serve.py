"""The monitor in a browser, through textual-serve: read-only, for users who know the address with its token.

A page of another site can open a websocket to 127.0.0.1 and send keys, and any user of this machine can connect to the
port. So the served monitor cannot write, the address contains a random token, and a request with a foreign Origin or
Host is refused before it reaches the monitor. The page loads nothing from other hosts: textual-serve's own page loads a
font from Google, which would reveal who watches. To watch from another machine: `ssh -L 8000:127.0.0.1:8000`.

Each open tab is a process, which ends with its tab and with the server, even after kill -9. Their number is limited.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import shlex
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from fts.jobs.allowed_hosts import name_of, refusal
from fts.jobs.python import python

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aiohttp import web

SESSIONS = 4  # open tabs; each is a process of about 100 MB
SESSIONS_MOST = 100
TOKEN_BYTES = 16
MESSAGE_BYTES = 1 << 16  # of one websocket message; the page sends keys, and a paste is at most a screenful
WIDTHS, HEIGHTS = (20, 1000), (5, 500)  # cells a browser window may have
LEAVE_S = 0.7  # a monitor that has not ended after this is killed; it writes nothing, so nothing is lost
REPLACE_S = 1.0  # a new tab waits this long for a tab that is closing
STUCK_S = 5.0  # a tab is closed if its monitor does not read a message in this time
RETRY_S = 3  # the refusal page reloads after this: a reload of the last tab frees its place only a moment later
OUTSIDE = re.compile(r"<(?:link|script|img)\b[^>]*\b(?:href|src)=[\"'](?:https?:)?//([^/\"'>]*)[^>]*>(?:\s*</script>)?")
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; font-src 'self'; "
    "img-src 'self' data:; connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ICON = '<link rel="icon" href="data:,"></head>'  # else the browser asks for /favicon.ico, which has no token
FOCUS = """<script>
new MutationObserver((_, observer) => {
  if (document.body.classList.contains("-first-byte")) {
    observer.disconnect();
    document.querySelector(".xterm-helper-textarea").focus();
  }
}).observe(document.body, {attributes: true});
</script></body>"""  # so that keys work before the first click
FULL = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><meta http-equiv="refresh" content="{retry}"><title>fts</title></head>
<body style="background:#0c181f;color:#eee;font-family:monospace;padding:3em">
<p>{sentence}</p><p>This page tries again every {retry} seconds.</p>
</body></html>
"""
SERVED_BY = "FTS_SERVED_BY"  # the pid of the server, for the monitor it starts


class Malformed(ValueError):
    """A websocket message that our page does not send."""


def serve(
    db_path: Path,
    port: int = 8000,
    theme: str = "dark",
    *,
    host: str = "127.0.0.1",
    sessions: int = SESSIONS,
    ready: Callable[[str], None] = print,
) -> None:
    """Serves until SIGINT, SIGTERM or SIGHUP, then ends every monitor. Calls `ready` with the address once it listens.

    Raises OSError if the port is in use.
    """
    asyncio.run(server(db_path, port, theme, host=host, sessions=sessions).serve_until_stopped(ready))


def server(
    db_path: Path,
    port: int,
    theme: str = "dark",
    *,
    host: str = "127.0.0.1",
    sessions: int = SESSIONS,
    token: str | None = None,
) -> Any:
    """Makes the textual-serve server with our checks before it. Its `address` is the URL to open."""
    from aiohttp import WSMsgType, web  # here, not above: aiohttp, for this command only
    from textual_serve.server import Server

    words = python("-m", "fts.tui.serve", "--db", str(db_path.absolute()), "--theme", theme)
    key = token or secrets.token_urlsafe(TOKEN_BYTES)

    class Guarded(Server):
        """textual-serve below a secret path; refuses foreign requests and limits the number of monitors."""

        def __init__(self) -> None:
            super().__init__(shlex.join(words), host=host, port=port, title="fts")
            self.token = key
            self.address = f"http://{name_of(host)}:{port}/{key}/"
            self.open: set[Any] = set()  # the monitors that run
            self.taken = 0  # sessions: monitors that run or are being started

        async def _make_app(self) -> web.Application:
            inner = await super()._make_app()
            app = web.Application(middlewares=[_guard(port, host, key)])
            app.router.add_get(f"/{key}", self._with_slash)
            app.add_subapp(f"/{key}", inner)
            app.on_shutdown.append(self._end_all)
            return app

        async def on_startup(self, app: web.Application) -> None:
            """Does nothing: textual-serve would print its banner."""

        async def _with_slash(self, request: web.Request) -> web.StreamResponse:
            raise web.HTTPFound(f"/{key}/")

        async def serve_until_stopped(self, ready: Callable[[str], None]) -> None:
            stopped, loop = asyncio.Event(), asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, stopped.set)
            runner = web.AppRunner(await self._make_app(), shutdown_timeout=0.2, access_log=None)
            await runner.setup()
            try:
                await web.TCPSite(runner, host, port, shutdown_timeout=0.2).start()
                ready(self.address)
                await stopped.wait()
            finally:
                await self._end_all(None)
                await runner.cleanup()

        async def handle_index(self, request: web.Request) -> web.StreamResponse:
            if self.taken >= sessions:
                page = FULL.format(sentence=_full(sessions), retry=RETRY_S)
                return web.Response(status=503, text=page, content_type="text/html")
            self.public_url = f"http://{request.host}"  # _guard has checked the host
            return await super().handle_index(request)

        async def handle_websocket(self, request: web.Request) -> web.StreamResponse:  # type: ignore[override]  # 503
            if not await self._take():
                return web.Response(status=503, text=_full(sessions))
            try:
                return await self._session(request)
            finally:
                self.taken -= 1

        async def _take(self) -> bool:
            """Takes a session; waits up to REPLACE_S for a closing tab. Returns False if all are taken."""
            give_up = time.monotonic() + REPLACE_S
            while self.taken >= sessions and time.monotonic() < give_up:
                await asyncio.sleep(0.05)
            if self.taken >= sessions:
                return False
            self.taken += 1
            return True

        async def _session(self, request: web.Request) -> web.StreamResponse:
            tab = web.WebSocketResponse(heartbeat=15, max_msg_size=MESSAGE_BYTES, timeout=0.5)
            await tab.prepare(request)
            monitor = _monitor_class()(words, tab, self.download_manager)
            self.open.add(monitor)
            try:
                await monitor.start(
                    within(request.query.get("width"), WIDTHS, 80), within(request.query.get("height"), HEIGHTS, 24)
                )
                talk = asyncio.create_task(self._talk(tab, monitor))
                await asyncio.wait({talk, monitor.task}, return_when=asyncio.FIRST_COMPLETED)
                talk.cancel()
                await asyncio.gather(talk, return_exceptions=True)
            finally:
                await asyncio.shield(monitor.stop())
                self.open.discard(monitor)
                with contextlib.suppress(Exception):  # the other end may be gone, or stuck
                    await asyncio.wait_for(tab.close(), 1.0)
            return tab

        async def _talk(self, tab: web.WebSocketResponse, monitor: Any) -> None:
            """Passes messages of the page to the monitor, until the page closes or sends a malformed one."""
            async for message in tab:
                try:
                    if message.type is not WSMsgType.TEXT:
                        raise Malformed("a message that is not text")
                    await asyncio.wait_for(monitor.obey(*parsed(message.data)), STUCK_S)
                except Malformed as fault:
                    await tab.close(code=1008, message=str(fault).encode()[:100])
                    return
                except TimeoutError:
                    return

        async def _end_all(self, _: Any) -> None:
            self.taken += SESSIONS_MOST  # refuses new tabs
            await asyncio.gather(*(monitor.stop() for monitor in list(self.open)), return_exceptions=True)

    return Guarded()


def _monitor_class() -> type[Any]:
    """Makes a subclass of textual-serve's session that starts its process without a shell and always ends it."""
    from textual_serve.app_service import AppService  # here, not above: as in server()

    class MonitorProcess(AppService):
        """The monitor process of one tab."""

        def __init__(self, words: list[str], tab: Any, downloads: Any) -> None:
            super().__init__(
                shlex.join(words),
                write_bytes=tab.send_bytes,
                write_str=tab.send_str,
                close=tab.close,
                download_manager=downloads,
            )
            self.words, self.tab = words, tab
            self.task: asyncio.Task[None]
            self._ending: asyncio.Task[None] | None = None

        async def _open_app_process(self, width: int = 80, height: int = 24) -> Any:
            environment = self._build_environment(width, height) | {SERVED_BY: str(os.getpid())}
            self._process = await asyncio.create_subprocess_exec(
                *self.words,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches only the server, which then ends the monitors
            )
            self._stdin = self._process.stdin
            return self._process

        async def start(self, width: int, height: int) -> None:
            await self._open_app_process(width, height)
            self._task = self.task = asyncio.create_task(self._shown())

        async def _shown(self) -> None:
            with contextlib.suppress(Exception):  # the tab may close while a frame is being sent
                await self.run()

        async def obey(self, kind: str, value: Any) -> None:
            """Handles one message of the page."""
            if kind == "stdin":
                await self.send_bytes(value.encode("utf-8", "replace"))
            elif kind == "resize":
                await self.set_terminal_size(*value)
            elif kind == "ping":
                await self.tab.send_json(["pong", value])
            elif kind == "blur":
                await self.blur()
            else:
                await self.focus()

        async def stop(self) -> None:
            """Ends the process and its children. Later calls wait for the first one."""
            if self._ending is None:
                self._ending = asyncio.create_task(self._end())
            await asyncio.shield(self._ending)

        async def _end(self) -> None:
            process = self._process
            if process is None:
                return
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self.send_meta({"type": "quit"}), 0.1)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), LEAVE_S)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            self.task.cancel()
            await asyncio.gather(process.wait(), self.task, return_exceptions=True)

    return MonitorProcess


def parsed(text: str) -> tuple[str, Any]:
    """Parses a message of our page. Returns (kind, value). Raises Malformed."""
    try:
        envelope = json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed("a message that is not JSON") from None
    kind, value = envelope[0] if isinstance(envelope, list) and envelope else None, _second(envelope)
    if kind in ("blur", "focus"):
        return kind, None
    if kind == "stdin" and isinstance(value, str):
        return kind, value
    if kind == "ping" and isinstance(value, str | int | float) and len(str(value)) < 100:
        return kind, value
    if kind == "resize" and isinstance(value, dict):
        return kind, (within(value.get("width"), WIDTHS), within(value.get("height"), HEIGHTS))
    raise Malformed("a message of an unknown kind")


def _second(envelope: Any) -> Any:
    return envelope[1] if isinstance(envelope, list) and len(envelope) > 1 else None


def within(value: Any, limits: tuple[int, int], default: int | None = None) -> int:
    """Parses a whole number and clamps it to the limits. Returns the default for anything else, or raises Malformed."""
    try:
        if isinstance(value, bool) or len(str(value)) > 20:
            raise ValueError
        return min(max(int(value), limits[0]), limits[1])
    except (TypeError, ValueError, OverflowError):
        if default is None:
            raise Malformed("a size that is not a number") from None
        return default


def _full(sessions: int) -> str:
    tabs = "1 tab shows" if sessions == 1 else f"{sessions} tabs show"
    return f"{tabs} the monitor already; close one, or start `fts serve --sessions {sessions + 1}`."


def _guard(port: int, host: str, token: str) -> Any:
    from aiohttp import web  # here, not above: as in server()

    @web.middleware
    async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
        if reason := refusal(request.headers.get("Host", ""), request.headers.get("Origin"), port, host):
            return web.Response(status=403, text=reason)
        if not knows(request.path, token):
            return web.Response(status=403, text="the address needs the token that `fts serve` has printed")
        response: web.StreamResponse = await handler(request)
        if response.prepared:
            return response
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-store"
        if isinstance(response, web.Response) and response.content_type == "text/html":
            page = without_outside(response.text or "", request.host)
            response.text = page.replace("</head>", ICON).replace("</body>", FOCUS)
            response.headers["Content-Security-Policy"] = POLICY.format(host=request.headers["Host"])
        return response

    return guard


def knows(path: str, token: str) -> bool:
    """Returns whether the first part of a path is the token; compares in constant time."""
    first = path.lstrip("/").partition("/")[0]
    return secrets.compare_digest(first.encode("utf-8", "replace"), token.encode())


def without_outside(page: str, host: str) -> str:
    """Removes the tags that load from other hosts than `host`; the Content-Security-Policy forbids any that remain."""
    return OUTSIDE.sub(lambda found: found[0] if found[1] == host else "", page)


def leave_with(server: int) -> None:
    """Ends this process and its children when the server has ended, at most 0.25 s later, even after kill -9."""
    while os.getppid() == server:
        time.sleep(0.25)
    if os.getpgrp() == os.getpid():  # as the server starts it
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(0)


def _served() -> int:
    """Runs the monitor of one browser tab, always read-only."""
    if parent := os.environ.pop(SERVED_BY, ""):
        threading.Thread(target=leave_with, args=(int(parent),), name="server", daemon=True).start()
    from fts.tui.__main__ import (  # here, not above: the thread that watches the server must start first
        arguments,
        run,
        with_settings,
    )
    from fts.tui.settings import BadSettings, MonitorSettings, file, read

    try:
        chosen = read(file())
    except BadSettings:  # `fts serve` refuses a bad file, so it was changed since; watching works without it
        chosen = MonitorSettings()
    given = with_settings(arguments(), chosen)
    given.readonly, given.locked = True, True
    return run(given)


if __name__ == "__main__":
    sys.exit(_served())
