"""The browser's monitor: read-only, for who knows the address, and no process outlives its tab or its server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from fts.jobs.allowed_hosts import refusal
from fts.tui.serve import Malformed, knows, parsed, server, within, without_outside
from tests.tui.served import monitors, started

PORT = 8765
KEY = "a-token-of-the-test"
PATIENCE_S = 60.0  # the machine may be busy; nothing here measures speed but the two ends of the server


@pytest.mark.parametrize(
    ("host", "origin", "answered"),
    [
        (f"127.0.0.1:{PORT}", None, True),
        (f"localhost:{PORT}", f"http://localhost:{PORT}", True),
        (f"[::1]:{PORT}", f"http://127.0.0.1:{PORT}", True),
        (f"127.0.0.1:{PORT}", "https://evil.example", False),
        (f"127.0.0.1:{PORT}", "null", False),
        (f"127.0.0.1:{PORT}", "http://127.0.0.1:1", False),
        (f"127.0.0.1:{PORT}", f"https://127.0.0.1:{PORT}", False),
        (f"127.0.0.1:{PORT}", f"http://127.0.0.1:{PORT}.evil.example", False),
        ("evil.example", None, False),
        (f"evil.example:{PORT}", None, False),
        ("", None, False),
    ],
)
def test_who_is_answered(host, origin, answered):
    assert (refusal(host, origin, PORT) is None) is answered


@pytest.mark.parametrize(
    ("host", "origin", "answered"),
    [
        (f"192.168.1.7:{PORT}", None, True),
        (f"192.168.1.7:{PORT}", f"http://192.168.1.7:{PORT}", True),
        (f"192.168.1.7:{PORT}", f"http://192.168.1.8:{PORT}", False),  # a page of another machine
        (f"evil.example:{PORT}", None, False),  # a name that was made to point here
        (f"192.168.1.7:{PORT}", "https://evil.example", False),
    ],
)
def test_who_is_answered_on_the_network(host, origin, answered):
    assert (refusal(host, origin, PORT, "0.0.0.0") is None) is answered


def test_a_token_must_be_whole_and_first():
    assert knows(f"/{KEY}/", KEY) and knows(f"/{KEY}/ws", KEY) and knows(f"/{KEY}", KEY)
    for path in ("/", "/ws", f"/{KEY[:-1]}/", f"/{KEY}x/", f"/static/{KEY}", "/\udcff/", f"/{KEY.upper()}/"):
        assert not knows(path, KEY), path


def test_every_server_has_a_token_of_its_own(db_path):
    tokens = {server(db_path, PORT).token for _ in range(5)}
    assert len(tokens) == 5 and min(map(len, tokens)) >= 20


async def test_the_server_refuses_strangers_on_every_path_and_serves_its_own(db_path):
    from aiohttp.test_utils import TestClient, TestServer

    ours = {"Host": f"127.0.0.1:{PORT}"}
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    app = await server(db_path, PORT, token=KEY)._make_app()
    async with TestClient(TestServer(app)) as client:
        for path in ("/", "/static/js/textual.js", "/static/css/xterm.css"):
            assert (await client.get(f"/{KEY}{path}", headers=ours)).status == 200, path
        for path in ("/", "/ws", "/static/js/textual.js", "/download/x", "/wrong/", "/wrong/ws", f"/{KEY}x/"):
            stranger = await client.get(path, headers=ours | upgrade)
            assert stranger.status == 403 and "token" in await stranger.text(), path
            assert KEY not in str(stranger.headers)
        for path in ("/", "/ws", "/static/js/textual.js"):
            foreign = await client.get(f"/{KEY}{path}", headers=ours | upgrade | {"Origin": "https://evil.example"})
            assert foreign.status == 403 and "is another site" in await foreign.text(), path


async def test_the_page_fetches_nothing_from_elsewhere(db_path):
    from aiohttp.test_utils import TestClient, TestServer

    app = await server(db_path, PORT, token=KEY)._make_app()
    async with TestClient(TestServer(app)) as client:
        answer = await client.get(f"/{KEY}/", headers={"Host": f"localhost:{PORT}"})
        page = await answer.text()
    assert "textual.js" in page
    assert "googleapis" not in page
    for address in re.findall(r"(?:href|src|url)[=(]\s*[\"']([^\"']+)", page):
        assert address.startswith((f"http://localhost:{PORT}/{KEY}/", f"ws://localhost:{PORT}/{KEY}/", "#", "data:")), (
            address
        )
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert f"connect-src 'self' ws://localhost:{PORT};" in policy


def test_only_what_is_outside_is_taken_out_of_a_page():
    ours = '<link rel="stylesheet" href="http://127.0.0.1:8000/static/a.css"/><script src="/static/b.js"></script>'
    assert without_outside(ours, "127.0.0.1:8000") == ours
    for outside in (
        '<link rel="x"\n href="https://fonts.example/css?family=A" />',
        '<script src="//cdn.example/x.js"></script>',
        '<img src="http://127.0.0.1:8000.evil.example/x.png">',
        '<img src="http://127.0.0.1:8000@evil.example/x.png">',
    ):
        assert without_outside(outside, "127.0.0.1:8000") == ""


def test_what_is_served_is_readonly_and_stays_so(db_path):
    command = server(db_path, PORT).command
    assert "fts.tui.serve" in command
    assert str(db_path) in command


# what no page of ours sends: broken text, wrong shapes, wrong types, other kinds, sizes
MALFORMED = (
    "not json", "", "null", "5", '"stdin"', "[]", "{}", "[5]", "[[]]", '["stdin"]', '["stdin",5]', '["stdin",null]',
    '["stdin",["a"]]', '["stdin",{"a":1}]', '["quit"]', '["quit",{}]', '["STDIN","a"]', '["resize"]', '["resize",5]',
    '["resize",{}]', '["resize",{"width":"a","height":1}]', '["resize",{"width":null,"height":null}]',
    '["resize",{"width":NaN,"height":1}]', '["resize",{"width":true,"height":1}]', '["ping",{}]', '["ping",[[]]]',
    '["resize",{"width":Infinity,"height":1e999}]', "[" * 20000, '["stdin",' + "[" * 20000, '{"a":' * 9000,
    '["ping",' + "9" * 5000 + "]", "\x00", "[\ud7ff", '["deliver_chunk_request",{"key":"x","size":1}]',
)  # fmt: skip


@pytest.mark.parametrize("text", MALFORMED, ids=lambda text: repr(text[:30]))
def test_a_message_that_no_page_of_ours_sends_is_refused(text: str):
    with pytest.raises(Malformed):
        parsed(text)


def test_what_the_page_sends_is_read():
    assert parsed('["stdin","\\u001b[A"]') == ("stdin", "\x1b[A")
    assert parsed('["resize",{"width":120,"height":40}]') == ("resize", (120, 40))
    assert parsed('["resize",{"width":1e9,"height":-5}]') == ("resize", (1000, 5))
    assert parsed('["ping","17"]') == ("ping", "17")
    assert parsed('["focus"]') == ("focus", None)
    assert [within(text, (20, 1000), 80) for text in ("120", "", None, "x", "9" * 99, "-4")] == [
        120,
        80,
        80,
        80,
        80,
        20,
    ]


@pytest.fixture
def serving(db_path: Path) -> Iterator[Callable[..., tuple[int, str]]]:
    """Starts servers and, at the end, kills whatever a failed test has left of them."""
    processes: list[Any] = []

    def start(*words: str) -> tuple[int, str]:
        process, address = started(db_path, *words)
        processes.append(process)
        return process.pid, address

    yield start
    for process in processes:
        for left in monitors(process.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        process.kill()
        process.wait(10)


async def until(true: Callable[[], Any], within_s: float = PATIENCE_S) -> float:
    """Waits until it holds, and says how long that took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < within_s, f"not true within {within_s} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


@contextlib.asynccontextmanager
async def tab(address: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A browser's tab: page, websocket, and the first frame received."""
    async with aiohttp.ClientSession() as session:
        async with session.get(address) as page:
            assert page.status == 200
        socket = await session.ws_connect(f"{address}ws?width=100&height=30", max_msg_size=0, autoclose=False)
        try:
            await first_frame(socket)
            yield socket
        finally:
            await socket.close()


async def first_frame(socket: aiohttp.ClientWebSocketResponse) -> None:
    shown = b""
    while b"20M" not in shown:
        message = await socket.receive(timeout=PATIENCE_S)
        assert message.type is aiohttp.WSMsgType.BINARY, message
        shown += message.data


async def test_malformed_messages_leave_no_process_behind_and_the_server_goes_on(serving):
    pid, address = serving("--sessions", "3")
    hostile: tuple[Any, ...] = ("not json", '["stdin",5]', "x" * (2 << 20), b"\x00\xff" * 100, "[" * 20000, '["quit"]')

    async def one(message: Any) -> None:
        async with tab(address) as socket:
            with contextlib.suppress(ConnectionError):
                await (socket.send_bytes(message) if isinstance(message, bytes) else socket.send_str(message))
                async for answer in socket:  # until the server has closed it
                    assert answer.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT)
            assert socket.close_code in (1008, 1009, 1006)

    for three in (hostile[:3], hostile[3:]):
        await asyncio.gather(*map(one, three))
        await until(lambda: not monitors(pid))
    async with tab(address) as socket:
        await socket.send_str(json.dumps(["stdin", "7"]))  # the events
        await socket.receive(timeout=PATIENCE_S)
        assert len(monitors(pid)) == 1, "one process a tab"
    await until(lambda: not monitors(pid))


async def test_a_tab_that_vanishes_at_any_moment_takes_its_monitor_along(serving):
    pid, address = serving()
    for wait_s in (0.0, 0.1, 0.3, 0.6):
        async with aiohttp.ClientSession() as session:
            socket = await session.ws_connect(f"{address}ws")
            await asyncio.sleep(wait_s)
            assert socket._response.connection is not None
            assert socket._response.connection.transport is not None
            socket._response.connection.transport.abort()  # no closing handshake: the browser was killed
        await until(lambda: not monitors(pid))


async def test_sessions_are_limited_and_a_closed_tab_makes_room(serving):
    pid, address = serving("--sessions", "1")
    async with aiohttp.ClientSession() as session:
        async with tab(address):
            async with session.get(address) as page:
                assert page.status == 503
                assert "1 tab shows the monitor already" in await page.text()
            with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
                await session.ws_connect(f"{address}ws")
            assert len(monitors(pid)) == 1
        await until(lambda: not monitors(pid))
        status = 503
        while status == 503:  # the server notices a moment later that the process has ended
            async with session.get(address) as page:
                status = page.status
        async with tab(address):
            pass


async def test_a_reload_finds_the_place_of_the_page_it_replaces(serving):
    pid, address = serving("--sessions", "1")
    async with aiohttp.ClientSession() as session, tab(address) as socket:
        old = monitors(pid)
        leaving = asyncio.create_task(socket.close())  # a browser closes the old one while it opens the new one
        new = await session.ws_connect(f"{address}ws")
        await first_frame(new)
        await leaving
        assert monitors(pid) != old and len(monitors(pid)) == 1
        await new.close()


@pytest.mark.parametrize("how", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
async def test_the_server_ends_with_every_monitor_within_two_seconds(serving, how: signal.Signals):
    pid, address = serving()
    async with tab(address), aiohttp.ClientSession() as session:
        await session.ws_connect(f"{address}ws")  # one that never answers and is still starting
        await until(lambda: len(monitors(pid)) == 2)
        left = [psutil.Process(pid), *monitors(pid)]
        os.kill(pid, how)
        took = await until(lambda: not any(map(alive, left)))
    assert took < 2.0 + busy()


async def test_monitors_end_by_themselves_after_a_kill_of_the_server(serving):
    pid, address = serving()
    async with tab(address), aiohttp.ClientSession() as session:
        await session.ws_connect(f"{address}ws")
        await until(lambda: len(monitors(pid)) == 2)
        left = monitors(pid)
        os.kill(pid, signal.SIGKILL)
        took = await until(lambda: not any(map(alive, left)))
    assert took < 2.0 + busy()


def alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def busy() -> float:
    """Seconds more that a machine with more work than processors may take."""
    return 2.0 * os.getloadavg()[0] / (os.cpu_count() or 1)
