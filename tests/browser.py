"""Headless Chromium, watched through its debugging port, for tests that look at a page as a reader does."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE_S = 30.0
BINARY = 2  # web socket frames of this kind carry what the terminal shows, the others are talk


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
