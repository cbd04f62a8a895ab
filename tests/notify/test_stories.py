"""Messages of real workers to a real mail server, a real HTTP endpoint and a real command, kill -9 in the middle."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import psutil
import pytest

from fts.jobs.notify.targets import NotifySettings, Target, write
from tests.fts_process import Study, wait_until

TRAIN = """
import os, time

def objective(trial, part="a"):
    value = trial.suggest_float("x", 0, 1)
    while part == "b" and not os.path.exists("go"):
        time.sleep(0.05)
    return value
"""
TELL = """
import json, os, sys, time
with open("heard.jsonl", "a") as file:
    print(json.dumps({"title": os.environ["FTS_TITLE"], "body": sys.stdin.read()}), file=file, flush=True)
while os.path.exists("hang"):
    time.sleep(0.05)
"""


class Bank(Study):
    """A study of two cells; the second waits for the file `go`."""

    def __init__(self, folder: Path, *targets: Target) -> None:
        self.addresses = folder / "addresses" / "notify.toml"
        super().__init__(folder / "bank", FTS_NOTIFY=str(self.addresses), FTS_NOTIFY_GAP_S="1", FTS_NOTIFY_HOLD_S="2")
        (self.folder / "train.py").write_text(TRAIN)
        (self.folder / "tell.py").write_text(TELL)
        write(NotifySettings(targets), self.addresses)
        self.ok("enqueue", "train.py:objective", "--trials", "1", "-m", "part=a,b")

    def tell_by_command(self) -> None:
        import sys

        write(NotifySettings((Target("desk", f"command: {sys.executable} tell.py"),)), self.addresses)

    @property
    def heard(self) -> list[dict[str, str]]:
        path = self.folder / "heard.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def go(self) -> None:
        (self.folder / "go").touch()

    def senders(self) -> list[psutil.Process]:
        """The processes that send messages of this study."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if "notify" in words and "watch" in words and str(self.outputs / "fts.db") in words:
                found.append(process)
        return found

    def everything_kept(self) -> bytes:
        """All bytes below outputs."""
        return b"".join(path.read_bytes() for path in self.outputs.rglob("*") if path.is_file())


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Bank]:
    made = Bank(tmp_path)
    yield made
    for process in made.senders():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def test_a_worker_sends_what_ended_and_a_killed_one_is_reported_once(bank: Bank) -> None:
    bank.tell_by_command()
    worker = bank.start("worker", "--slots", "1")
    wait_until(lambda: any("a is done: 1 of 1 trial" in each["body"] for each in bank.heard))
    wait_until(lambda: bank.one("SELECT count(*) FROM trial WHERE status = 'running'") == 1)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    (lost,) = wait_until(lambda: [each for each in bank.heard if "worker 1 died" in each["body"]])
    assert "`fts worker` starts one" in lost["body"] and "ACT" not in lost["title"], lost
    wait_until(lambda: not bank.senders())  # all is said
    bank.go()
    bank.ok("worker", "--until-empty", "--slots", "1")
    (done,) = wait_until(lambda: [each for each in bank.heard if "b is done: 1 of 1 trial" in each["body"]])
    assert "finished" in done["body"] or any("finished" in each["body"] for each in bank.heard)
    wait_until(lambda: not bank.senders())
    every = "\n".join(each["body"] for each in bank.heard)
    assert every.count("worker 1 died") == 1 and every.count("a is done:") == 1 and "worker 1 of" not in every, every
    assert "reached you before" not in every


def test_a_sender_that_is_killed_while_it_sends_loses_no_end_of_a_cell(bank: Bank) -> None:
    bank.go()
    bank.ok("worker", "--until-empty", "--slots", "1")
    bank.tell_by_command()
    (bank.folder / "hang").touch()
    sender = bank.start("notify", "watch", "--worker", "0")
    wait_until(lambda: bank.heard)
    sender.kill()
    sender.wait()
    (bank.folder / "hang").unlink()
    assert bank.fts("notify", "watch", "--worker", "0").code == 0
    first, second = bank.heard
    assert second["body"].startswith("This message may have reached you before.\n")
    assert all(f"{cell} is done: 1 of 1 trial" in each["body"] for cell in "ab" for each in (first, second))
    assert bank.fts("notify", "watch", "--worker", "0").code == 0 and len(bank.heard) == 2


@pytest.mark.slow
def test_a_second_sender_of_the_same_study_leaves(bank: Bank) -> None:
    bank.tell_by_command()
    first = bank.start("notify", "watch")
    wait_until(
        lambda: (bank.outputs / "notify.lock").exists() and "sending news of" in (bank.folder / "said.txt").read_text()
    )
    assert bank.fts("notify", "watch", "--worker", "0").code == 0 and bank.heard == []
    first.send_signal(signal.SIGINT)
    assert first.wait(30) == 0


class Endpoint(http.server.ThreadingHTTPServer):
    """Keeps what is posted; refuses with 503 while `down`."""

    down = False

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(503 if endpoint.down else 200)
                self.end_headers()
                if not endpoint.down:
                    endpoint.posted.append(body)

            def log_message(self, *_: Any) -> None: ...

        super().__init__(("127.0.0.1", 0), Handler)

    def __enter__(self) -> Endpoint:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


def test_an_endpoint_that_refuses_is_an_event_and_gets_the_message_when_it_is_back(bank: Bank) -> None:
    pytest.importorskip("apprise")
    bank.go()
    bank.ok("worker", "--until-empty", "--slots", "1")
    with Endpoint() as endpoint:
        endpoint.down = True
        address = f"json://user:SeCrEt@127.0.0.1:{endpoint.server_port}/SeCrEt-topic"
        write(NotifySettings((Target("web", address),)), bank.addresses)
        said = bank.fts("notify", "test")
        assert (said.code, said.out) == (1, "web (json): not sent: the answer was 503\n")
        sender = bank.start("notify", "watch", "--worker", "0")
        sentence = "no message could be sent to web (json): the answer was 503; fts tries again"
        wait_until(lambda: bank.query(f"SELECT 1 FROM event WHERE verb = 'not_sent' AND message = '{sentence}'"))
        endpoint.down = False
        assert sender.wait(60) == 0
        (message,) = endpoint.posted
    assert message["title"] == "fts bank: 2 done" and "a is done: 1 of 1 trial" in message["message"]
    assert bank.one("SELECT count(*) FROM event WHERE verb = 'not_sent'") == 1
    assert b"SeCrEt" not in bank.everything_kept() and "SeCrEt" not in (bank.folder / "said.txt").read_text()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_a_mail_arrives_with_what_status_says(bank: Bank) -> None:
    pytest.importorskip("apprise")
    controller = pytest.importorskip("aiosmtpd.controller")

    class Inbox:
        def __init__(self) -> None:
            self.mails: list[Any] = []

        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802  # its name
            self.mails.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=default)))
            return "250 kept"

    server = controller.Controller(inbox := Inbox(), hostname="127.0.0.1", port=free_port())
    server.start()
    try:
        address = f"mailto://127.0.0.1:{server.port}?from=fts@example.org&to=me@example.org&mode=insecure"
        write(NotifySettings((Target("mail", address),)), bank.addresses)
        said = bank.fts("notify", "test")
    finally:
        server.stop()
    assert (said.code, said.out) == (0, "mail (mailto): sent\n"), said
    ((to, mail),) = inbox.mails
    text = mail.get_body(("plain",)).get_content()
    assert to == ["me@example.org"] and mail["subject"] == "fts bank: a test"
    assert bank.json("status")["status"]["reason"] in text
    assert time.time() - bank.addresses.stat().st_mtime < 600 and b"example.org" not in bank.everything_kept()
