"""On a real pseudo terminal: closed, stalled, resized; the monitor leaves nothing behind and harms nothing."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import termios
import time
from contextlib import closing

import pytest

from tests.tui.grid import Grid
from tests.tui.stories import rows
from tests.tui.terminal import Terminal


@pytest.fixture
def terminal(db_path):
    opened = Terminal(db_path, (80, 24))
    opened.wait_ready()
    yield opened
    opened.close()


def test_q_leaves_and_gives_the_terminal_back(terminal):
    terminal.key("q")
    assert terminal.gone_within(5)
    assert b"\x1b[?1049l" in terminal.screen


def test_bytes_that_cannot_be_read_as_keys_do_not_end_the_monitor(terminal):
    """Text pasted in another encoding, and sequences of terminals that Textual's parser does not know."""
    for sent in (b"\xe4\xf6\xfc", b"\xff\xfe", b"\x1b[33:65535:127;1u", b"\x1b[1:2~", b"\x1b[200~\xe9t\xe9\x1b[201~"):
        os.write(terminal.fd, sent)
        time.sleep(0.2)  # a read of its own
        assert terminal.is_alive(), (sent, terminal.screen[-300:])
    end = time.monotonic() + 30
    while b"2 Trials" not in terminal.screen:
        assert time.monotonic() < end and terminal.is_alive(), terminal.screen[-300:]
        terminal.key("2")
        time.sleep(0.2)
    terminal.key("q")
    assert terminal.gone_within(5)


@pytest.mark.parametrize("keys", ["qe", "\x03e", "q?", "q:"])
def test_keys_typed_after_q_open_nothing_that_could_fail(db_path, keys):
    with Terminal(db_path, (80, 24)) as terminal:
        terminal.wait_ready()
        terminal.key(keys)
        assert terminal.wait() == 0, terminal.screen[-300:]


def test_sigquit_gives_the_terminal_back(terminal):
    terminal.process.send_signal(signal.SIGQUIT)
    assert terminal.gone_within(5)
    assert b"\x1b[?1049l" in terminal.screen


def without_clock(text: str) -> str:
    """A minute may turn in between."""
    return re.sub(r"\b\d\d:\d\d\b", "", text)


def test_ctrl_z_gives_the_shell_its_terminal_and_fg_brings_the_whole_picture_back(db_path):
    """The shell's part is played here: it has the terminal with its echo, then continues the monitor."""
    with Terminal(db_path, (80, 24), drawn=True, starts=True) as terminal:
        terminal.wait_ready()
        before = without_clock(terminal.grid.text)
        terminal.key("\x1a")
        assert os.waitpid(terminal.pid, os.WUNTRACED)[1] == 0x137F, "stopped by SIGSTOP (19)"
        assert termios.tcgetattr(terminal.fd)[3] & termios.ECHO
        terminal.wait_for("\x1b[?1049l")
        terminal.wait_quiet(0.3)
        assert b"\x1b[?1049l" in terminal.screen[-200:]
        os.kill(terminal.pid, signal.SIGCONT)
        terminal.wait_quiet(0.6)
        assert without_clock(terminal.grid.text) == before
        terminal.key("2")
        terminal.wait_for("trials 20M/h5")
        terminal.key("q")
        assert terminal.gone_within(5)
        assert termios.tcgetattr(terminal.fd)[3] & termios.ECHO


@pytest.mark.parametrize("ignore_hangup", [False, True], ids=["hangup", "nohup"])
def test_a_terminal_that_is_closed_while_it_starts_ends_it_too(db_path, ignore_hangup):
    terminal = Terminal(db_path, (80, 24), ignore_hangup=ignore_hangup, starts=True)
    wait_silent(terminal)  # Textual is not even imported
    os.kill(terminal.pid, signal.SIGSTOP)  # so that it meets the end of its terminal there, however fast it starts
    terminal.hang_up()
    os.kill(terminal.pid, signal.SIGCONT)
    try:
        assert terminal.gone_within(15)
    finally:
        terminal.close()


@pytest.mark.parametrize("early", [True, False])
def test_ctrl_c_while_it_starts_leaves_the_terminal_as_it_was(db_path, early):
    with Terminal(db_path, (80, 24), starts=True) as terminal:
        wait_silent(terminal) if early else terminal.wait_for("20M/h5")
        terminal.key("\x03")
        assert terminal.gone_within(15)
        terminal.wait_quiet(0.3)
        assert b"Traceback" not in terminal.screen
        assert terminal.screen.count(b"\x1b[?1049l") == terminal.screen.count(b"\x1b[?1049h")


def test_keys_typed_while_it_starts_are_neither_echoed_nor_lost(db_path):
    with Terminal(db_path, (80, 24), starts=True) as terminal:
        wait_silent(terminal)
        assert b"\x1b[?1049h" not in terminal.screen, "Textual has not begun"
        terminal.key("7")
        terminal.wait_for("7 Events")
        before, _ = terminal.screen.split(b"\x1b[?1049h")
        assert b"7" not in before


def wait_silent(terminal):
    """Until the terminal echoes nothing any more."""
    end = time.monotonic() + 30
    while termios.tcgetattr(terminal.fd)[3] & termios.ECHO:
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.mark.parametrize("stderr", [pytest.param("file", marks=pytest.mark.slow), "closed"])
def test_where_stderr_goes_does_not_matter_to_the_picture(db_path, tmp_path, stderr):
    where = f"os.open({str(tmp_path / 'errors.txt')!r}, os.O_WRONLY | os.O_CREAT)"
    away = f"os.dup2({where}, 2)" if stderr == "file" else "os.close(2); sys.stderr = sys.__stderr__ = None"
    code = f"import os, sys; {away}; from fts.tui.__main__ import main; sys.exit(main())"
    with Terminal(db_path, (80, 24), code=code) as terminal:
        terminal.wait_ready()
        terminal.key("q")
        assert terminal.gone_within(5)
        assert b"\x1b[?1049l" in terminal.screen
    if stderr == "file":
        assert (tmp_path / "errors.txt").read_bytes() == b""


def test_a_closed_terminal_ends_it_within_five_seconds(terminal, db_path):
    terminal.hang_up()
    assert terminal.gone_within(5)
    assert rows(db_path)["20M/h5"] == "running"


def test_a_closed_terminal_ends_it_even_when_hangups_are_ignored(db_path):
    terminal = Terminal(db_path, (80, 24), ignore_hangup=True)
    terminal.wait_ready()
    terminal.hang_up()
    assert terminal.gone_within(6)


def test_a_killed_monitor_leaves_the_database_whole(terminal, db_path):
    os.kill(terminal.pid, signal.SIGKILL)
    assert terminal.gone_within(5)
    assert rows(db_path)["20M/h5"] == "running"


def test_a_storm_of_sizes_ends_in_a_right_picture(terminal):
    for columns, lines in [(60, 15), (200, 60), (39, 6), (120, 40), (80, 24)] * 4:
        terminal.resize(columns, lines)
        time.sleep(0.02)
    terminal.resize(100, 40)
    terminal.wait_quiet()
    assert terminal.is_alive()
    terminal.key("q")
    assert terminal.gone_within(5)


def test_a_terminal_that_claims_65535_rows_or_columns_still_reads_keys(db_path):
    """From its start, and by a report of its size: one frame of that would take minutes."""
    with Terminal(db_path, (80, 65535)) as terminal:
        terminal.wait_for("20M/h5")
        terminal.wait_quiet()
        terminal.key("\x1b[48;65535;65535;0;0t")
        terminal.key("q")
        assert terminal.gone_within(20)


def test_the_terminal_says_its_size_whatever_a_shell_has_exported(db_path):
    """Else the monitor kept the size that it had at the start of the shell, and a resize painted nothing."""
    with Terminal(db_path, (120, 40), environ={"COLUMNS": "80", "LINES": "24"}, drawn=True) as terminal:
        terminal.wait_ready()
        assert max(map(len, terminal.grid.text.split("\n"))) > 110
        terminal.grid = Grid(100, 30)
        terminal.resize(100, 30)
        until_painted(terminal, 30)
        assert 90 < max(map(len, terminal.grid.text.split("\n"))) <= 100


def until_painted(terminal, lines):
    end = time.monotonic() + 60
    while not terminal.grid.text.split("\n")[lines - 1].strip():
        assert time.monotonic() < end, terminal.grid.text
        time.sleep(0.05)
    terminal.wait_quiet(0.5)


def test_a_stalled_link_does_not_let_it_grow(terminal):
    before = terminal.rss()
    terminal.stall()
    for _ in range(60):
        terminal.key("j")
        terminal.key("2")
        terminal.key("1")
        time.sleep(0.02)
    terminal.stall(False)
    terminal.wait_quiet()
    assert terminal.is_alive()
    assert terminal.rss() - before < 30 * 2**20


def test_it_says_what_it_needs_without_a_terminal(db_path, capfd):
    from fts.tui.__main__ import main

    assert main(["--db", str(db_path)]) == 2
    assert "fts status" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "valid"), [("2h", True), ("03:12", True), ("2026-11-20 22:00", True), ("yesterday-ish", False)]
)
def test_moments(text, valid):
    import argparse

    from fts.tui.__main__ import moment

    if valid:
        assert moment(text) <= time.time()
    else:
        with pytest.raises(argparse.ArgumentTypeError, match="is not a time"):
            moment(text)


def test_what_the_grid_shows_does_not_depend_on_how_the_bytes_arrive():
    sent = "\x1b[2J\x1b[1;1H\x1b[38;2;1;2;3mabc 漢 \x1b[0m\x1b]0;title\x07\x1b(Bend\x1b[3;4Hx".encode()
    shown = set()
    for cut in range(len(sent) + 1):
        grid = Grid(30, 5)
        grid.feed(sent[:cut])
        grid.feed(sent[cut:])
        shown.add(grid.text)
    assert shown == {"abc 漢  end\n\n   x\n\n"}


START = "import sys\nimport fts.tui.__main__ as monitor\n"
RUN = "\nsys.exit(monitor.main(sys.argv[1:]))\n"
RAISES = "def fails(self, *_): raise {}\n"
NO_MEMORY = "fts: this machine or container has not enough free memory for that"
NO_THREAD = """import threading
real = threading.Thread.start
def start(self):
    if self.name == 'textual-input': raise RuntimeError("can't start new thread")
    real(self)
threading.Thread.start = start
"""
KEYS_FAIL = """from textual.drivers import linux_driver
class Parser:
    def __init__(self, *_): pass
    def tick(self): return ()
    def feed(self, text): raise MemoryError
linux_driver.XTermParser = Parser
"""
FAULTS = {
    "Textual is missing": ("sys.modules['textual.app'] = None", "", "is not completely installed: "),
    "no memory at the start": (RAISES.format("MemoryError") + "Monitor.on_mount = fails", "", NO_MEMORY),
    "no memory later": (RAISES.format("MemoryError") + "Monitor.tick = fails", "", NO_MEMORY),
    "no memory in a frame": (RAISES.format("MemoryError") + "Monitor.view = fails", "", NO_MEMORY),
    "no memory for keys": (KEYS_FAIL, "j", NO_MEMORY),
    "no memory while it leaves": (RAISES.format("MemoryError") + "Monitor._close_all = fails", "q", NO_MEMORY),
    "no thread for keys": (NO_THREAD, "", "fts: no thread can be started: "),
    "a module is missing": ("sys.modules['fts.tui.screens.help'] = None", "?", "is not completely installed: "),
    "an error without words": (RAISES.format("TimeoutError") + "Monitor.tick = fails", "", "TimeoutError (details"),
    "an error of the database": (
        "from fts.state.errors import DatabaseGone\n"
        + RAISES.format("DatabaseGone('it is gone')")
        + "Monitor.tick = fails",
        "",
        "fts: it is gone",
    ),
    "a fault": (
        RAISES.format("ValueError('odd\\nnews')") + "Monitor.tick = fails",
        "",
        "ValueError: odd news (details",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_error_that_ends_it_is_one_sentence_on_the_shells_own_screen(db_path, tmp_path, fault):
    code, key, said = FAULTS[fault]
    if "Monitor." in code:
        code = f"from fts.tui.app import Monitor\n{code}"
    with Terminal(db_path, (80, 24), code=START + code + RUN, environ={"XDG_STATE_HOME": str(tmp_path)}) as terminal:
        if key:
            terminal.wait_ready()
            terminal.key(key)
        assert terminal.gone_within(10)
        sent = terminal.screen.decode(errors="replace")
        behind = re.sub(r"\x1b\[[?<>0-9;]*[a-zA-Z]", "", sent.rpartition("\x1b[?1049l")[2]).strip()
        assert behind.startswith("fts: ") and said in behind and behind.count("\n") == 0, behind
        assert "Traceback" not in sent
        for mode in ("1049", "1003", "2004"):  # screen, mouse, paste
            assert sent.rfind(f"\x1b[?{mode}h") <= sent.rfind(f"\x1b[?{mode}l"), mode
        assert sent.rfind("\x1b[?25l") <= sent.rfind("\x1b[?25h"), "the cursor is hidden"
        assert termios.tcgetattr(terminal.fd)[3] & termios.ECHO


def test_q_leaves_at_once_also_while_another_process_holds_the_lock(terminal, db_path):
    with closing(sqlite3.connect(db_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        terminal.key("j")  # the time of this key waits to be written
        terminal.wait_quiet(0.3)
        began = time.monotonic()
        terminal.key("q")
        while b"\x1b[?1049l" not in terminal.screen and time.monotonic() < began + 5:
            time.sleep(0.005)
        screen_s = time.monotonic() - began
        assert terminal.gone_within(5)
        assert screen_s < 0.5 and time.monotonic() - began < 1.2, "measured 0.03 and 0.1 s; more on a busy machine"


def test_a_change_that_waits_for_the_lock_is_not_dropped_by_q(terminal, db_path):
    with closing(sqlite3.connect(db_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for key in "jjp":
            terminal.key(key)
            time.sleep(0.6)
        terminal.key("t")  # and a second one, which must not be made first
        time.sleep(0.6)
        began = time.monotonic()
        terminal.key("q")
        while terminal.is_alive():
            assert time.monotonic() - began < 60, "the shell waits for the lock of another process; measured 0.4 s"
            time.sleep(0.02)
        time.sleep(0.2)  # what it wrote last is still to be read
        assert b"fts: the database is locked: a process in the background makes the last change" in terminal.screen
        time.sleep(1.0)
        other.execute("COMMIT")
    assert b"nothing was written" not in terminal.screen
    with closing(sqlite3.connect(db_path)) as after:
        end = time.monotonic() + 30
        while (made := [verb for (verb,) in after.execute("SELECT verb FROM event ORDER BY id")][-2:]) != [
            "paused", "moved",
        ]:  # fmt: skip
            assert time.monotonic() < end, made
            time.sleep(0.1)


def test_a_change_that_waits_for_the_lock_is_made_also_if_the_terminal_closes(terminal, db_path):
    """The kernel sends SIGHUP together with SIGCONT."""
    with closing(sqlite3.connect(db_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for key in "jjp":
            terminal.key(key)
            time.sleep(0.6)
        terminal.process.send_signal(signal.SIGHUP)
        terminal.process.send_signal(signal.SIGCONT)
        terminal.hang_up()
        while terminal.is_alive():
            time.sleep(0.02)
        other.execute("COMMIT")
    with closing(sqlite3.connect(db_path)) as after:
        end = time.monotonic() + 30
        while after.execute("SELECT verb FROM event ORDER BY id DESC").fetchone() != ("paused",):
            assert time.monotonic() < end, "the change was dropped"
            time.sleep(0.1)


def test_fg_after_sigstop_brings_the_whole_picture_back(db_path):
    with Terminal(db_path, (80, 24), drawn=True, starts=True) as terminal:
        terminal.wait_ready()
        before = without_clock(terminal.grid.text)
        os.kill(terminal.pid, signal.SIGSTOP)
        assert os.waitpid(terminal.pid, os.WUNTRACED)[1] == 0x137F, "stopped by SIGSTOP (19)"
        terminal.grid.feed(b"\x1b[2J")  # the shell has written over it
        os.kill(terminal.pid, signal.SIGCONT)
        end = time.monotonic() + 30
        while without_clock(terminal.grid.text) != before:
            assert time.monotonic() < end, terminal.grid.text
            time.sleep(0.05)
        terminal.key("q")
        assert terminal.gone_within(5)


def test_a_monitor_that_was_stopped_and_continued_by_signals_goes_on(terminal):
    for _ in range(2):
        terminal.process.send_signal(signal.SIGSTOP)
        terminal.process.send_signal(signal.SIGCONT)
        time.sleep(0.3)
    terminal.key("7")
    terminal.wait_for("events (")
    terminal.key("q")
    assert terminal.gone_within(5)


def test_a_late_change_that_fails_is_reported_and_the_undo_after_it_undoes_nothing(db_path):
    from fts.tui.late_changes import LateChange, make

    with closing(sqlite3.connect(db_path)) as db:
        before = db.execute("SELECT count(*) FROM event").fetchone()
    undo = LateChange("undo", (), {"only": 0}, "u: undo")
    for args in ({}, {"no such word": 1}):  # refused; an error that nobody has foreseen
        told = make(db_path, "you@spark", [LateChange("resume", (1,), args, "p: 2M/h1"), undo])
        assert told[0].startswith("p: 2M/h1: ") and told[1].startswith("u: undo: nothing was undone")
    with closing(sqlite3.connect(db_path)) as db:
        assert db.execute("SELECT count(*) FROM event").fetchone() == before
