"""The browser's monitor: this machine's own page only, read-only, whatever the arguments say."""

from __future__ import annotations

import re

import pytest

from tui.serve import refusal, server, without_outside

PORT = 8765


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
        ("evil.example", None, False),
        (f"evil.example:{PORT}", None, False),
        ("", None, False),
    ],
)
def test_who_is_answered(host, origin, answered):
    assert (refusal(host, origin, PORT) is None) is answered


async def test_the_server_refuses_a_foreign_page_and_serves_its_own(db_path):
    from aiohttp.test_utils import TestClient, TestServer

    app = await server(db_path, PORT)._make_app()
    async with TestClient(TestServer(app)) as client:
        own = await client.get("/", headers={"Host": f"127.0.0.1:{PORT}"})
        assert own.status == 200
        foreign = await client.get("/", headers={"Host": f"127.0.0.1:{PORT}", "Origin": "https://evil.example"})
        assert foreign.status == 403
        assert "foreign page" in await foreign.text()
        socket = await client.get(
            "/ws",
            headers={
                "Host": f"127.0.0.1:{PORT}", "Origin": "https://evil.example", "Connection": "Upgrade",
                "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            },
        )  # fmt: skip
        assert socket.status == 403


async def test_the_page_fetches_nothing_from_elsewhere(db_path):
    from aiohttp.test_utils import TestClient, TestServer

    app = await server(db_path, PORT)._make_app()
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/", headers={"Host": f"127.0.0.1:{PORT}"})
        page = await answer.text()
    assert "textual.js" in page
    assert "googleapis" not in page
    for address in re.findall(r"(?:href|src|url)[=(]\s*[\"']([^\"']+)", page):
        assert address.startswith((f"http://127.0.0.1:{PORT}/", f"ws://127.0.0.1:{PORT}/", "/", "#")), address
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert f"connect-src 'self' ws://127.0.0.1:{PORT};" in policy


def test_only_what_is_outside_is_taken_out_of_a_page():
    ours = '<link rel="stylesheet" href="http://127.0.0.1:8000/static/a.css"/><script src="/static/b.js"></script>'
    assert without_outside(ours) == ours
    assert without_outside('<link rel="x"\n href="https://fonts.example/css?family=A" />') == ""
    assert without_outside('<script src="//cdn.example/x.js"></script>') == ""


def test_what_is_served_is_readonly_and_stays_so(db_path):
    command = server(db_path, PORT).command
    assert "tui.serve" in command
    assert str(db_path) in command
