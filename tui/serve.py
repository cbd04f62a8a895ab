"""The monitor in a browser, through textual-serve: this machine only, read-only, and only for pages of its own.

A page of another site may open a websocket to 127.0.0.1 and press keys; so the served monitor cannot write, and a
request with a foreign Origin or Host is refused before it reaches it. The page itself may load nothing from elsewhere:
textual-serve's own asks a font of Google, which would tell them who watches. To watch from another machine:
`ssh -L 8000:127.0.0.1:8000`.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiohttp import web

LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
OUTSIDE = re.compile(
    r"<(link|script|img)\b[^>]*\b(?:href|src)=[\"'](?:https?:)?//(?!127\.0\.0\.1\b)[^>]*>(?:\s*</script>)?"
)
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; font-src 'self'; "
    "img-src 'self' data:; connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def serve(db_path: Path, port: int = 8000, theme: str = "dark") -> None:
    """Serves until it is interrupted."""
    server(db_path, port, theme).serve()


def server(db_path: Path, port: int, theme: str = "dark") -> Any:
    """The textual-serve server with the guard in front of it."""
    from textual_serve.server import Server  # here, not above: aiohttp, for this command only

    words = [sys.executable, "-m", "tui.serve", "--db", str(db_path.absolute()), "--theme", theme]

    class Guarded(Server):
        """textual-serve with requests from foreign pages refused."""

        async def _make_app(self) -> web.Application:
            app = await super()._make_app()
            app.middlewares.append(_guard(port))
            return app

    return Guarded(shlex.join(words), host="127.0.0.1", port=port, title="fts", public_url=f"http://127.0.0.1:{port}")


def _guard(port: int) -> Any:
    from aiohttp import web  # here, not above: as in server()

    @web.middleware
    async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
        if reason := refusal(request.headers.get("Host", ""), request.headers.get("Origin"), port):
            return web.Response(status=403, text=reason)
        response: web.StreamResponse = await handler(request)
        if isinstance(response, web.Response) and response.content_type == "text/html":
            response.text = without_outside(response.text or "")
            response.headers["Content-Security-Policy"] = POLICY.format(host=request.headers["Host"])
            response.headers["Referrer-Policy"] = "no-referrer"
        return response

    return guard


def without_outside(page: str) -> str:
    """The page without what it would fetch from other machines; the policy beside it forbids what is left."""
    return OUTSIDE.sub("", page)


def refusal(host: str, origin: str | None, port: int) -> str | None:
    """Why a request is not answered; None: it comes from this machine's own page."""
    ours = {f"{name}:{port}" for name in LOOPBACK}
    if host.lower() not in ours:
        return f"host {host!r} is not this machine: use http://127.0.0.1:{port} (or ssh -L {port}:127.0.0.1:{port})"
    if origin is not None and origin.lower() not in {f"http://{name}" for name in ours}:
        return f"origin {origin!r} is a foreign page: refused"
    return None


def _served() -> int:
    """What the server runs for each browser: the monitor, read-only, whatever its arguments say."""
    from tui.__main__ import arguments, run

    given = arguments()
    given.readonly, given.locked = True, True
    return run(given)


if __name__ == "__main__":
    sys.exit(_served())
