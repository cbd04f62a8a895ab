"""`fts serve` in a real browser: the page shows the frame; a request from a foreign page is refused."""

from __future__ import annotations

import asyncio
import io
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from fts.tui.render import theme
from tests.browser import CHROMIUM, PATIENCE_S, page_of
from tests.tui.served import started

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
        for kind in ("keyDown", "keyUp"):
            await page.ask("Input.dispatchKeyEvent", type=kind, key="6", text="6" * (kind == "keyDown"))
        while b"results so far" not in page.received:
            assert time.monotonic() < end, "a key that is pressed before the first click is obeyed"
            await asyncio.sleep(0.2)
            await page.value_of("1")
    if kept := os.environ.get("FTS_KEEP_SHOT"):
        Path(kept).write_bytes(shot)
    colours = theme.palette("dark")
    assert share_of(shot, colours.background) > 0.5
    assert share_of(shot, colours.done) > 0.001
    assert b"READ ONLY" in page.received
    assert any(url.endswith("textual.js") for url in page.fetched)
    ours = (address, "data:")
    assert [url for url in page.fetched if not url.startswith(ours)] == []


def test_a_foreign_page_is_refused_by_the_running_server(address):
    assert status_of(address, None) == 200
    assert status_of(address, origin_of(address)) == 200
    assert status_of(address, "https://evil.example") == 403
    assert status_of(f"{address}ws", "https://evil.example") == 403
