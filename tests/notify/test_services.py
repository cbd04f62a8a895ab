"""fts says of a message what the service did: real servers refuse it, redirect it, lose it or close the connection."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from fts.jobs.notify import send, targets
from fts.jobs.notify.notifier import Notifier
from fts.jobs.notify.send import SendResult, deliver
from fts.jobs.notify.targets import NotifySettings, Target
from fts.state import queries
from fts.state.backup import backup
from fts.state.db import Database, open_database
from fts.state.restore import restore
from tests.cli.study import finished_cell, make_study, places_of
from tests.fts_process import wait_until

Answer = Callable[[http.server.BaseHTTPRequestHandler, bytes], None]


@contextmanager
def service(answer: Answer) -> Iterator[tuple[int, list[bytes]]]:
    """A server on a port of its own, and the bodies that were posted to it."""
    posted: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["content-length"])))
            answer(self, posted[-1])

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, posted
    finally:
        server.shutdown()
        server.server_close()


def says(status: int, body: bytes = b"", **headers: str) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler, _: bytes) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def closes(handler: http.server.BaseHTTPRequestHandler, _: bytes) -> None:
    handler.close_connection = True


def test_the_cause_of_a_failure_is_what_the_service_answered_not_a_word_of_its_page_or_of_the_message() -> None:
    pytest.importorskip("apprise")
    page = b"status: 401 unauthorized, upstream: connection refused"
    text = "a failed: code error: 404, connection refused, certificate"
    cases: list[tuple[Answer, str, SendResult]] = [
        (says(500, page), "json", SendResult(False, "the answer was 500", maybe=True)),
        (says(503, page), "json", SendResult(False, "the answer was 503")),
        (closes, "json", SendResult(False, "it closed the connection without an answer", maybe=True)),
        (says(302, Location="/new"), "json", SendResult(True)),  # a webhook of one's own may answer so
        (says(307, Location="/topic"), "json", SendResult(False, "it redirects without end")),
    ]
    moved = ", a redirect without the message: add the address that it leads to"
    cases += [
        (says(status, Location="/new"), scheme, SendResult(False, f"the answer was {status}{moved}"))
        for status, scheme in ((301, "json"), (302, "ntfy"))
    ]
    for answer, scheme, expected in cases:
        with service(answer) as (port, posted):
            assert deliver(Target("x", f"{scheme}://127.0.0.1:{port}/topic"), "title", text) == expected
            assert len(posted) == (31 if "without end" in expected.why else 1)


def test_a_message_is_cut_for_a_service_that_takes_less() -> None:
    pytest.importorskip("apprise")
    hook = f"{'a' * 24}/{'b' * 64}"
    with service(says(200, b'{"success": true}')) as (port, posted):
        assert deliver(Target("x", f"rocket://{hook}@127.0.0.1:{port}/#room"), "title", "news " * 600).ok
    assert len(json.loads(posted[0])["text"]) <= 1000 and b"news news" in posted[0]


def test_recipients_that_got_a_message_do_not_get_it_again_because_of_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("apprise")
    from fts.jobs.cli import main

    def answer(handler: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
        says(403 if b'"bad"' in body else 200)(handler, body)

    monkeypatch.setenv("FTS_NOTIFY", str(tmp_path / "notify.toml"))
    monkeypatch.setenv("FTS_NOTIFY_GAP_S", "0.001")
    db = make_study(tmp_path)
    with service(answer) as (port, posted):
        targets.write(NotifySettings((Target("us", f"ntfy://127.0.0.1:{port}/good/bad"),)))
        sender = Notifier(places_of(tmp_path))
        finished_cell(db)
        for _ in range(3):
            sender.step(), time.sleep(0.01)
        assert [json.loads(body)["topic"] for body in posted].count("good") == 1
        assert not sender.mail.waits
    (event,) = queries.events(db, verbs=["not_sent"])
    assert event.message.startswith(
        "a message reached only some recipients of us (ntfy): the answer was 403; it is not"
    )
    main(["--db", str(db.path), "doctor"])
    assert "only some recipients of us get them: 1 try failed: the answer was 403" in capsys.readouterr().out
    sender.db.close()
    db.close()


def test_a_command_that_hangs_is_ended_with_its_children(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limited = tmp_path / "limited.py"
    limited.write_text("from fts.jobs.notify import send\nsend.COMMAND_LIMIT_S = 0.5\nsend.main()\n")
    python = send.python
    monkeypatch.setattr(send, "python", lambda *_: [word for word in python() if word != "-m"] + [str(limited)])
    nap = f"301.{os.getpid()}"
    outcome = deliver(Target("x", f"command: sh -c 'sleep {nap}; echo'"), "t", "b")
    assert outcome.maybe and "the command did not end within" in outcome.why

    def left() -> list[psutil.Process]:
        return [each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] == ["sleep", nap]]

    wait_until(lambda: not left(), 5)


# ---------------------------------------------------------------- weeks


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = make_study(tmp_path)
    yield opened
    opened.close()


def heard_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *more: Target) -> Path:
    """The file that a target writes its messages to."""
    monkeypatch.setenv("FTS_NOTIFY", str(tmp_path / "notify.toml"))
    monkeypatch.setenv("FTS_NOTIFY_GAP_S", "0.001")
    heard = tmp_path / "heard"
    heard.touch()
    targets.write(NotifySettings((*more, Target("desk", f"command: tee -a {heard}"))))
    return heard


def test_a_target_that_fails_for_weeks_keeps_no_message_from_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, db: Database
) -> None:
    heard = heard_by(tmp_path, monkeypatch, Target("away", "command: false"))
    sender = Notifier(places_of(tmp_path))
    for tries in (1, 1100, 10**6):  # 1024 tries took three weeks
        finished_cell(db)
        sender.step(), time.sleep(0.01)
        sender.mail.lines["away"].tries = tries
        sender._next.clear()
        sender.step()
        assert sender.mail.lines["away"].tries == tries + 1
    assert heard.read_text().count("is done: 1 of 3 trials") == 3
    sender.db.close()


@pytest.mark.parametrize("again", [False, True])
def test_after_a_restore_the_sender_tells_what_happens_in_the_restored_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """Also if the sender starts only later."""
    heard = heard_by(tmp_path, monkeypatch)
    db = make_study(tmp_path)
    copy = backup(db)
    sender = Notifier(places_of(tmp_path))
    finished_cell(db)
    db.execute_sql("UPDATE worker SET status = 'stopped'")
    sender.step(), time.sleep(0.01), sender.step()
    assert heard.read_text().count("2M/h1 is done") == 1
    db.close()
    shutil.copy(copy, tmp_path / "copy.db")
    restore(tmp_path / "copy.db", places_of(tmp_path).db)
    if again:
        sender.db.close()
    heard.write_text("")
    db = open_database(places_of(tmp_path).db)
    finished_cell(db)  # its events have the numbers of those that were told
    finished_cell(db)
    if again:
        sender = Notifier(places_of(tmp_path))
    sender.step(), time.sleep(0.01), sender.step()
    text = heard.read_text()
    assert text.count("2M/h1 is done: 1 of 3 trials") == 1 and text.count("is done: 1 of 3 trials") == 2
    sender.db.close()
    db.close()


def test_news_that_found_no_room_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, db: Database) -> None:
    from fts.jobs.notify import mailbox
    from fts.jobs.notify.mailbox import Mailbox
    from fts.jobs.notify.news import News, title_of
    from fts.jobs.status.concern import About

    monkeypatch.setattr(mailbox, "MOST_NEWS", 20)
    mail = Mailbox.of(tmp_path / "box.json", 0)
    for n in range(50):
        mail.put([News(About.DONE, f"{n} is done.", 1.0)], ["me"], 1.0)
    mail.put([News(About.FAILED, "x failed.", 1.0)], ["me"], 1.0)
    mail.save()
    line = Mailbox.of(tmp_path / "box.json", 0).lines["me"]
    assert title_of(line.news, "two\nlines", line.left_out) == "fts two lines: 50 done, 1 failed"


def test_a_file_of_addresses_that_is_open_to_others_is_an_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, db: Database
) -> None:
    from fts.jobs.devices import BadSetting
    from fts.jobs.notify.keeper import Keeper

    heard_by(tmp_path, monkeypatch)
    (tmp_path / "notify.toml").chmod(0o644)
    keeper = Keeper(db, places_of(tmp_path))
    for _ in range(3):
        with pytest.raises(BadSetting):
            keeper._look()
    (event,) = queries.events(db, verbs=["not_sent"])
    assert "chmod 600" in event.message


def test_a_record_of_messages_that_cannot_be_understood_is_no_silent_loss(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from fts.jobs.notify.mailbox import Mailbox

    (tmp_path / "box.json").write_text('{"memory": {"event": 3')
    assert Mailbox.of(tmp_path / "box.json", 7).memory.event == 7
    assert "unsent messages are lost" in caplog.text
    caplog.clear()
    assert Mailbox.of(tmp_path / "none.json", 7).memory.event == 7 and not caplog.text
