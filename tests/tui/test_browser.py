"""`fts serve` in a real browser: the page shows the frame; a request from a foreign page is refused."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fts.tui.render import theme
from tests.tui.served import started

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE_S = 30.0
BINARY = 2  # web socket frames of this kind carry what the terminal shows, the others are talk

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")]


@pytest.fixture
def address(db_path: Path) -> Iterator[str]:
    """The address of `fts serve` in a process of its own."""
    server, address = started(db_path)
    try:
        yield address
    finally:
        server.terminate()
        server.wait(10)


@asynccontextmanager
async def page_of(address: str, folder: Path) -> AsyncIterator[Page]:
    """The address opened in headless Chromium, watched through its debugging port."""
    command = [
        str(CHROMIUM), "--headless", "--disable-gpu", "--no-sandbox", "--disable-dev-shm-usage", "--no-first-run",
        "--remote-debugging-port=0", f"--user-data-dir={folder}", "--window-size=1280,900", "about:blank",
    ]  # fmt: skip
    home = os.environ | {"HOME": str(folder)}
    browser = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=home, start_new_session=True
    )
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(await debugger(session, folder), max_msg_size=0) as wire,
        ):
            page = Page(wire)
            await page.ask("Network.enable")
            await page.ask("Page.enable")
            await page.ask("Page.navigate", url=address)
            yield page
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait(10)


async def debugger(session: aiohttp.ClientSession, folder: Path) -> str:
    """The address at which the first tab answers."""
    found = folder / "DevToolsActivePort"
    end = time.monotonic() + PATIENCE_S
    while not (found.exists() and found.read_text()):
        assert time.monotonic() < end, "the browser does not start"
        await asyncio.sleep(0.1)
    port = found.read_text().split()[0]
    async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
        tabs = await answer.json()
    return str(next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"))


class Page:
    """One tab: what its web socket received, and answers to what is asked of it."""

    def __init__(self, wire: aiohttp.ClientWebSocketResponse) -> None:
        self.wire, self.count = wire, 0
        self.received = b""
        self.fetched: set[str] = set()  # every address the page has asked for

    async def ask(self, method: str, **values: Any) -> dict[str, Any]:
        """One command of the debugging protocol, and its result."""
        self.count += 1
        mine = self.count
        await self.wire.send_json({"id": mine, "method": method, "params": values})
        while True:
            message = await self.wire.receive_json(timeout=PATIENCE_S)
            if message.get("method") == "Network.requestWillBeSent":
                self.fetched.add(message["params"]["request"]["url"])
            if message.get("method") == "Network.webSocketFrameReceived":
                frame = message["params"]["response"]
                if frame["opcode"] == BINARY:
                    self.received += base64.b64decode(frame["payloadData"])
            if message.get("id") == mine:
                return dict(message["result"])

    async def value_of(self, expression: str) -> Any:
        answer = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    async def shot(self) -> bytes:
        """The page as PNG."""
        return base64.b64decode((await self.ask("Page.captureScreenshot"))["data"])


def origin_of(address: str) -> str:
    return "/".join(address.split("/")[:3])


def status_of(address: str, origin: str | None) -> int:
    request = urllib.request.Request(address, headers={"Origin": origin} if origin else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def share_of(png: bytes, colour: str) -> float:
    """The part of a picture's pixels that have exactly this colour."""
    from matplotlib import image  # here, not above: half a second

    pixels = (image.imread(io.BytesIO(png), format="png")[..., :3] * 255).round().astype(int)
    wanted = [int(colour[n : n + 2], 16) for n in (1, 3, 5)]
    return float((pixels == wanted).all(axis=-1).mean())


async def test_the_page_shows_the_frame(address, tmp_path):
    async with page_of(address, tmp_path / "profile") as page:
        end = time.monotonic() + PATIENCE_S
        while b"20M/h5" not in page.received or not await page.value_of("document.body.matches('.-first-byte')"):
            assert time.monotonic() < end, f"no frame after {PATIENCE_S} s, {len(page.received)} bytes received"
            await asyncio.sleep(0.2)
            await page.value_of("1")
        await asyncio.sleep(1.0)  # the page fades the terminal in
        shot = await page.shot()
    if kept := os.environ.get("FTS_KEEP_SHOT"):
        Path(kept).write_bytes(shot)
    colours = theme.palette("dark")
    assert share_of(shot, colours.background) > 0.5
    assert share_of(shot, colours.done) > 0.001
    assert b"READ ONLY" in page.received
    assert any(url.endswith("textual.js") for url in page.fetched)
    ours = (f"{origin_of(address)}/", "data:")  # without the token of the address: the browser asks for an icon
    assert [url for url in page.fetched if not url.startswith(ours)] == []


def test_a_foreign_page_is_refused_by_the_running_server(address):
    assert status_of(address, None) == 200
    assert status_of(address, origin_of(address)) == 200
    assert status_of(address, "https://evil.example") == 403
    assert status_of(f"{address}ws", "https://evil.example") == 403
