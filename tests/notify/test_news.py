"""What a person is sent: each thing once, in the words of `fts status`, and never a word of an address."""

from __future__ import annotations

import errno
import json
import stat
import time
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fts.jobs.devices import BadSetting
from fts.jobs.notify import news, targets
from fts.jobs.notify.mailbox import ABSENT_S, Mailbox
from fts.jobs.notify.news import Memory, News
from fts.jobs.notify.notifier import Notifier
from fts.jobs.notify.targets import NotifySettings, Quiet, Target
from fts.jobs.status import summary
from fts.jobs.status.concern import About
from fts.jobs.status.sentences import cell_sentence
from fts.jobs.status.surface import Surface
from fts.state import queries, transitions
from fts.state.db import Database
from fts.state.values import Event, Snapshot
from tests.cli.study import claim, failed_cell, finished_cell, make_study, places_of
from tests.jobs.test_glance_slip import seen_by, study
from tests.tui.values import GB, NOW, make_event, make_sample, make_worker

SECRET = "tgram://123456:AbC-SeCrEt/chat"


# ---------------------------------------------------------------- the file of addresses


@settings(max_examples=25, deadline=None)
@given(st.text(min_size=1).filter(lambda text: "\x00" not in text))
def test_any_address_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("notify") / "fts" / "notify.toml"
    address = f"ntfy://{text}".encode("utf-8", "replace").decode()
    targets.add(address, "me", path)
    targets.write(NotifySettings(targets.read(path).targets, Quiet.read("22:00-7:00"), frozenset({About.LOST})), path)
    found = targets.read(path)
    assert found.target("me") == Target("me", address) and str(found.quiet) == "22:00-07:00"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        (f'[targets]\nme = "{SECRET}"', 0o644, "so that others can read the addresses in it: chmod 600"),
        (f'[targets]\nme = "{SECRET}', 0o600, "is no TOML"),
        (f'[targets]\n"{SECRET}" = "{SECRET}"', 0o600, "the name"),
        (f'me = "{SECRET}"', 0o600, "has 'me', expected quiet, urgent and [targets]"),
        ('quiet = "22:00"', 0o600, "expected a time such as 22:00-07:00"),
        ('urgent = ["lost"]', 0o600, "'lost' is no kind of message"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence_without_an_address(
    tmp_path: Path, text: str, mode: int, said: str
) -> None:
    path = tmp_path / "notify.toml"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(BadSetting) as refused:
        targets.read(path)
    assert said in str(refused.value)
    assert "SeCrEt" not in str(refused.value) or said == "the name"  # there the secret stands where a name belongs


def test_an_address_is_in_no_repr() -> None:
    assert "SeCrEt" not in repr(NotifySettings((Target("me", SECRET),)))


@pytest.mark.parametrize(
    ("hours", "clock", "ends"),
    [
        ("22:00-07:00", "23:30", "07:00"),
        ("22:00-07:00", "06:59", "07:00"),
        ("22:00-07:00", "07:00", None),
        ("22:00-07:00", "12:00", None),
        ("12:00-13:30", "12:00", "13:30"),
        ("12:00-13:30", "13:30", None),
    ],
)
def test_quiet_hours_have_an_end(hours: str, clock: str, ends: str | None) -> None:
    hour, minute = map(int, clock.split(":"))
    until = Quiet.read(hours).until(datetime(2026, 3, 11, hour, minute).timestamp())
    assert (None if until is None else f"{datetime.fromtimestamp(until):%H:%M}") == ends


# ---------------------------------------------------------------- from a database to news


@pytest.fixture
def db(tmp_path: Path):  # type: ignore[no-untyped-def]  # a generator
    opened = make_study(tmp_path)
    yield opened
    opened.close()


def told(db: Database, memory: Memory, hold_s: float = 0.0) -> list[News]:
    events = queries.events(db, since=memory.event, limit=1000)
    return news.collect(memory, glance(db), events, hold_s)


def glance(db: Database, now: float | None = None) -> summary.Glance:
    snapshot = queries.snapshot(db)
    return summary.look(snapshot, now or snapshot.taken_at, title="bank", surface=Surface.COMMAND_LINE)


def test_a_done_and_a_failed_cell_are_news_once_in_the_words_of_status(db: Database) -> None:
    memory = Memory(queries.events(db)[-1].id)
    finished_cell(db)
    failed_cell(db, "its data are gone")
    db.execute_sql("UPDATE worker SET status = 'stopped'")
    found = {one.about: one.text for one in told(db, memory)}
    assert found.keys() == {About.DONE, About.FAILED}
    seen = glance(db)
    assert found[About.DONE] == cell_sentence(seen, next(job for job in seen.snapshot.jobs if job.status == "done"))
    assert found[About.FAILED].rstrip(".") in {one.reason.rstrip(".") for one in seen.verdict.concerns}
    assert "`fts retry" in found[About.FAILED] or "`fts logs" in found[About.FAILED]
    assert told(db, memory) == []


def test_the_last_cell_leaves_the_queue_idle_and_says_so_once(db: Database) -> None:
    memory = Memory(queries.events(db)[-1].id)
    told(db, memory)
    for _ in range(4):
        finished_cell(db)
    assert [one.about for one in told(db, memory)] == [About.DONE] * 4 + [About.IDLE]
    assert told(db, memory) == []


def test_a_study_chooses_its_messages(db: Database) -> None:
    study = queries.jobs(db)[0].study
    transitions.declare_study(db, study, {"notify": ["failed"]})
    memory = Memory(queries.events(db)[-1].id)
    finished_cell(db)
    failed_cell(db)
    assert [one.about for one in told(db, memory)] == [About.FAILED]


def test_a_silent_worker_is_news_when_it_has_been_silent_for_a_while(db: Database) -> None:
    claim(db)
    memory = Memory(queries.events(db)[-1].id)
    later = time.time() + 20
    assert news.collect(memory, glance(db, later), (), 30.0) == []
    assert news.collect(memory, glance(db, later + 29), (), 30.0) == []
    (found,) = news.collect(memory, glance(db, later + 31), (), 30.0)
    assert found.about is About.LOST and "silent" in found.text
    assert news.collect(memory, glance(db, later + 60), (), 30.0) == []


def test_a_loss_that_was_news_is_none_again_when_a_worker_writes_it_down(db: Database) -> None:
    claimed = claim(db)
    memory = Memory(queries.events(db)[-1].id)
    for later in (100, 200):
        news.collect(memory, glance(db, time.time() + later), (), 30.0)
    transitions.reconcile(db, "elsewhere", lambda pid, started: False)
    assert queries.events(db, verbs=["worker_lost"]), claimed
    assert [one for one in told(db, memory) if one.about is About.LOST] == []


def test_a_condition_that_goes_away_in_time_is_no_news(db: Database) -> None:
    claim(db)
    memory = Memory(queries.events(db)[-1].id)
    now = time.time()
    assert news.collect(memory, glance(db, now + 20), (), 30.0) == []  # silent
    assert news.collect(memory, glance(db, now), (), 30.0) == []  # it has beaten
    assert news.collect(memory, glance(db, now + 51), (), 30.0) == []


HOT = make_worker(guard="frozen", guard_message="91 °C > 85")
SENT = (About.DISK, About.GUARD, About.SLIP)


def frozen(seconds_ago: float) -> Event:
    return make_event(1, NOW - seconds_ago, "guard", data={"new": "frozen", "worker_id": 1})


@pytest.mark.parametrize(
    ("about", "snapshot"),
    [
        (About.DISK, study(samples=(make_sample(disk_free=GB // 2),))),
        (About.DISK, study(queue_paused=True, queue_paused_reason="disk: 3 MiB left")),
        (About.GUARD, study(workers=(HOT,), events=(frozen(31 * 60),))),
        (About.SLIP, study(trial_s=144.0, seen=seen_by(study(trial_s=72.0)))),
    ],
    ids=["little space", "paused by the disk", "a pause of heat", "the finish"],
)
def test_a_condition_that_lasts_is_news_once_in_the_words_of_status(about: About, snapshot: Snapshot) -> None:
    memory = Memory(0)

    def at(seconds: float) -> list[News]:
        glance = summary.look(snapshot, NOW + seconds, title="bank", surface=Surface.COMMAND_LINE)
        return [one for one in news.collect(memory, glance, (), 30.0) if one.about in SENT]

    assert at(0) == at(20) == []
    (found,) = at(31)
    words = summary.look(snapshot, NOW + 31, title="bank", surface=Surface.COMMAND_LINE).verdict.concerns
    assert (found.about, found.text.rstrip(".")) in [(one.about, one.reason.rstrip(".")) for one in words]
    assert found.about is about and at(60) == []


def test_a_short_pause_of_heat_needs_nobody() -> None:
    snapshot = study(workers=(HOT,), events=(frozen(60),))
    glance = summary.look(snapshot, NOW, title="bank", surface=Surface.COMMAND_LINE)
    assert news.collect(Memory(0), glance, (), 0.0) == []


# ---------------------------------------------------------------- what survives a kill


def test_what_was_being_sent_is_sent_again_and_the_message_says_so(tmp_path: Path, db: Database) -> None:
    path = tmp_path / "notify.json"
    mail = Mailbox.of(path, 7)
    mail.put([News(About.DONE, "a is done.", 1.0), News(About.DONE, "b is done.", 2.0)], ["me", "you"], 2.0)
    mail.lines["me"].sending = 2
    mail.save()
    again = Mailbox.of(path, 0)
    assert again.memory.event == 7
    assert [line.maybe for line in again.lines.values()] == [True, False]
    assert [one.text for one in again.lines["me"].news] == ["a is done.", "b is done."]
    body = news.body_of(again.lines["me"].news, glance(db), 2.0, again=True)
    assert body.startswith("This message may have reached you before.\n")


def test_messages_that_cannot_be_read_now_are_not_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mail = Mailbox.of(tmp_path / "notify.json", 7)
    mail.put([News(About.DONE, "a is done.", 1.0)], ["me"], 1.0)
    mail.save()

    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as trouble:
        trouble.setattr(Path, "read_text", fails)
        with pytest.raises(OSError, match=r"Too many open files: .*notify\.json"):
            Mailbox.of(tmp_path / "notify.json", 9)
    assert Mailbox.of(tmp_path / "notify.json", 9).memory.event == 7


def test_a_target_that_was_removed_has_no_line_and_a_new_one_begins_empty(tmp_path: Path) -> None:
    mail = Mailbox.of(tmp_path / "notify.json", 0)
    mail.put([News(About.DONE, "a is done.", 1.0)], ["me"], 1.0)
    mail.put([News(About.DONE, "b is done.", 1.0)], ["you"], 2.0)
    mail.save()
    mail = Mailbox.of(tmp_path / "notify.json", 0)

    def lines() -> dict[str, list[str]]:
        return {name: [one.text for one in line.news] for name, line in mail.lines.items()}

    assert lines() == {"me": ["a is done.", "b is done."], "you": ["b is done."]}  # the file may be half edited
    mail.put([], ["you"], 2.0 + ABSENT_S)
    assert lines() == {"you": ["b is done."]}


def test_a_target_that_gets_nothing_is_shown_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, db: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    from fts.jobs.cli import main

    monkeypatch.setenv("FTS_NOTIFY", str(tmp_path / "notify.toml"))
    monkeypatch.setenv("FTS_NOTIFY_GAP_S", "0.001")
    monkeypatch.chdir(tmp_path)
    targets.write(NotifySettings((Target("desk", "command: true"), Target("wall", "command: false"))))
    sender = Notifier(places_of(tmp_path), 0)
    where = ["--db", str(places_of(tmp_path).db)]
    main([*where, "doctor"])
    assert "not known whether messages reach desk, wall: none was sent yet" in capsys.readouterr().out
    finished_cell(db)
    sender.step()
    time.sleep(0.01)
    sender.step()
    sender.db.close()
    assert main([*where, "notify", "list", "--json"]) == 0
    desk, wall = json.loads(capsys.readouterr().out)["notify"]["targets"]
    assert desk["last_sent"] and not desk["failed_tries"] and wall["last_sent"] is None and wall["failed_tries"]
    assert main([*where, "notify", "list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert "the command ended with 1" in listed[-1] and "—" in listed[-1] and "failed" not in listed[-2], listed
    main([*where, "doctor"])
    said = capsys.readouterr().out
    assert "sent to desk" in said and "wall gets none: " in said and "sent to desk, wall" not in said


def test_a_file_of_addresses_that_is_half_edited_when_the_worker_ends_is_waited_for_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, db: Database
) -> None:
    monkeypatch.setenv("FTS_NOTIFY", str(file := tmp_path / "notify.toml"))
    targets.write(NotifySettings((Target("desk", "command: true"),)))
    sender = Notifier(places_of(tmp_path), 0)
    file.write_text("[desk\n")
    assert not sender.step(), "no worker lives, and the news of its end is not sent yet"
    sender._worked_at -= 3700.0
    assert sender.step()
    sender.db.close()


@pytest.mark.parametrize(("address", "is_known"), [("nfty://SeCrEt", False), ("ntfy://SeCrEt", True)])
def test_an_address_that_no_service_takes_is_not_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str, is_known: bool
) -> None:
    pytest.importorskip("apprise")
    from fts.jobs.cli import main

    monkeypatch.setenv("FTS_NOTIFY", str(tmp_path / "notify.toml"))
    assert main(["notify", "add", address]) == (0 if is_known else 2)
    assert len(targets.read().targets) == is_known
    said = capsys.readouterr().err
    assert "SeCrEt" not in said and (is_known or "did you mean ntfy?" in said)


def test_a_file_of_an_earlier_version_still_reads(tmp_path: Path) -> None:
    path = tmp_path / "notify.json"
    memory = {"event": 1, "busy": False, "told": {}, "lost": []}
    line = {"news": [], "sending": 0, "maybe": False, "tries": 0, "last_at": 5.0}
    path.write_text(json.dumps({"memory": memory, "targets": {"me": line, "you": line | {"tries": 2}}}))
    assert [each.sent_at for each in Mailbox.of(path, 0).lines.values()] == [5.0, 0.0]


def test_several_news_are_one_message_of_twelve_lines_at_most(db: Database) -> None:
    many = [News(About.DONE, f"cell {n} is done.", 1.0) for n in range(30)] + [News(About.FAILED, "x failed.", 1.0)]
    assert news.title_of(many, "bank") == "fts bank: 30 done, 1 failed"
    body = news.body_of(many, glance(db), 2.0, again=False).splitlines()
    assert body[0] == "19 earlier: `fts events` lists them." and len(body) < 18
    assert body[-2].startswith(f"{glance(db).verdict.word}: ")


# ---------------------------------------------------------------- when it is sent


def test_in_quiet_hours_only_what_is_urgent_is_sent_and_the_rest_at_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, db: Database
) -> None:
    monkeypatch.setenv("FTS_NOTIFY", str(tmp_path / "notify.toml"))
    monkeypatch.setenv("FTS_NOTIFY_GAP_S", "0.001")
    desk = Target("desk", f"command: tee -a {tmp_path / 'heard'}")
    now = datetime.now()
    quiet = Quiet((now.hour, now.minute), ((now.hour + 23) % 24, now.minute))
    targets.write(NotifySettings((desk,), quiet, frozenset({About.FAILED})))
    sender = Notifier(places_of(tmp_path))

    def heard() -> str:
        sender.step()
        time.sleep(0.01)
        sender.step()
        return (tmp_path / "heard").read_text() if (tmp_path / "heard").exists() else ""

    finished_cell(db)
    assert heard() == ""
    failed_cell(db)
    first = heard()
    assert "is done: 1 of 3 trials" in first and "failed: code error" in first
    finished_cell(db)
    assert heard() == first
    targets.write(NotifySettings((desk,)))
    assert heard().removeprefix(first).count("is done: 1 of 3 trials") == 1
    sender.db.close()


@pytest.mark.parametrize("trouble", ["missing", "empty", "half", "open to others"])
def test_unsent_news_wait_while_the_file_of_addresses_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, db: Database, trouble: str
) -> None:
    path, heard = tmp_path / "notify.toml", tmp_path / "heard"
    monkeypatch.setenv("FTS_NOTIFY", str(path))
    monkeypatch.setenv("FTS_NOTIFY_GAP_S", "0.001")
    refuses = Target("desk", "command: false")
    targets.write(NotifySettings((refuses,)))
    sender = Notifier(places_of(tmp_path))
    finished_cell(db)
    sender.step(), time.sleep(0.01), sender.step()
    assert sender.mail.lines["desk"].tries  # what is unsent now, and what happens meanwhile, must not be lost
    match trouble:
        case "missing":
            path.unlink()
        case "empty":
            path.write_text("")
        case "half":
            path.write_text('[targets]\ndesk = "comm')
        case _:
            path.chmod(0o644)
    failed_cell(db)
    for _ in range(3):
        assert not sender.step(), "the sender leaves although news wait"
    sender.db.close()
    again = Notifier(places_of(tmp_path))  # also when the process is replaced meanwhile
    assert not again.step()
    targets.write(NotifySettings((Target("desk", f"command: tee -a {heard}"),)))
    again.step(), time.sleep(0.01), again.step()
    again.db.close()
    text = heard.read_text()
    assert text.count("is done: 1 of 3 trials") == 1 and "failed: code error" in text


# ---------------------------------------------------------------- the command


def test_the_command_line_adds_lists_and_removes_without_showing_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fts.jobs.cli import main

    monkeypatch.setenv("FTS_NOTIFY", str(tmp_path / "notify.toml"))
    monkeypatch.chdir(tmp_path)
    assert main(["notify", "add", SECRET]) == 0 and main(["notify", "add", SECRET]) == 0
    assert main(["notify", "quiet", "22:00-07:00", "--but", "worker lost"]) == 0
    assert main(["notify", "list"]) == 0 and main(["notify", "list", "--json"]) == 0
    assert main(["notify", "remove", "tgram-3"]) == 6 and main(["notify", "add", "SeCrEt no address"]) == 2
    assert main(["notify", "quiet", "25:00-7"]) == 2 and main(["notify", "remove", "tgram-2"]) == 0
    said = capsys.readouterr()
    assert "SeCrEt" not in said.out + said.err, said
    assert "did you mean tgram-2?" in said.err
    assert [each.name for each in targets.read().targets] == ["tgram"]
    for words, sentence in (
        (["--command", "echo {title} >> SeCrEt"], "the command has '>>', which only a shell understands"),
        (["command:echo SeCrEt | cat"], "the command has '|', which only a shell understands"),
        (["SeCrEt@example.com"], "the address has no service in front; expected such as ntfy://topic or mailto://"),
    ):
        assert main(["notify", "add", *words]) == 2
        told = capsys.readouterr().err
        assert sentence in told and "SeCrEt" not in told
    for command, missing in (("no-such-program {title}", "no-such-program"), ("sh -c 'cat > /dev/null'", None)):
        assert main(["notify", "add", "--command", command, "--name", "desk"]) == 0
        told = capsys.readouterr().err
        assert ("there is no program 'no-such-program' here now" in told) == (missing is not None), told
        assert main(["notify", "remove", "desk"]) == 0
