"""What a start loads: modules by name, not seconds. What only a key needs is loaded by that key."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import termios
import time

import pytest

from tests.tui.terminal import Terminal

LATER = (
    "fts.tui.command_palette", "fts.tui.screens.dialogs", "fts.tui.screens.help", "fts.tui.screens.enqueue",
    "fts.tui.screens.trials", "fts.tui.screens.curves", "fts.tui.screens.logs", "fts.tui.screens.events",
    "fts.tui.data.form_memory", "fts.tui.data.form_process", "fts.tui.data.form_runs", "fts.tui.legend",
    "fts.tui.pictures", "fts.tui.serve", "textual_serve", "optuna", "numpy", "torch", "huey", "click", "psutil",
    "pynvml", "resvg_py", "importlib.metadata",
)  # fmt: skip


def loaded(code: str) -> set[str]:
    """The modules of a fresh process after some code."""
    return set(told(f"{code}; import sys; print(*sys.modules)").split())


def told(code: str) -> str:
    """What a fresh process prints."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_a_start_loads_nothing_that_only_a_key_needs():
    found = loaded("import fts.tui.__main__, fts.tui.app, fts.state.db, fts.tui.screens.queue")
    assert "fts.tui.screens.queue" in found
    assert not found.intersection(LATER)


def test_help_waits_neither_for_the_database_nor_for_the_screens():
    found = loaded("import fts.tui.__main__")
    assert not {"peewee", "fts.tui.app", "fts.tui.screens.base"} & found


def test_a_monitor_does_without_openssl_and_leaves_it_to_others():
    assert not {"ssl", "_ssl", "_hashlib"} & loaded("import fts.tui.__main__, fts.tui.app, fts.state.db")
    found = loaded("import fts.tui.__main__, ssl, hashlib; assert ssl.OPENSSL_VERSION and hashlib.md5().hexdigest()")
    assert "_ssl" in found


@pytest.mark.skipif(sys.platform != "linux", reason="the heaps of glibc")
def test_all_threads_of_the_monitor_allocate_from_one_heap():
    code = """
import re, threading
from fts.tui.__main__ import use_one_heap
use_one_heap()
kept = []
for _ in range(3):
    thread = threading.Thread(target=lambda: kept.append([bytes(5000) for _ in range(200)]))
    thread.start()
    thread.join()
heaps = [int(line.split("-")[0], 16) for line in open("/proc/self/maps") if re.search(r" rw-p .* 0 *$", line)]
print(sum(start % 2**26 == 0 for start in heaps))
"""
    assert told(code).strip() == "0"
    assert told(code.replace("use_one_heap()", "")).strip() != "0", "else it shows nothing"


SIGNALLED = """
import os, sys
class Signals:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Signals())
from fts.tui.__main__ import main
sys.exit(main())
"""


def test_a_signal_while_it_starts_leaves_no_traceback_and_a_terminal_as_it_was(db_path):
    """At an import before the terminal is set, between that and the first drawing, and while it mounts its widgets."""
    for module, number, code in (
        ("fts.tui.render.theme", signal.SIGINT, -signal.SIGINT),
        ("fts.tui.app", signal.SIGTERM, 130),
        ("fts.tui.app", signal.SIGHUP, 130),
        ("fts.tui.app", signal.SIGQUIT, 130),
        ("fts.tui.app", signal.SIGUSR1, 130),
        ("fts.tui.screens.queue", signal.SIGTERM, None),  # imported before or after Textual runs
    ):
        terminal = Terminal(db_path, code=SIGNALLED.format(module=module, number=int(number)))
        before = termios.tcgetattr(terminal.fd)
        _, status = os.waitpid(terminal.pid, 0)
        found = os.waitstatus_to_exitcode(status)
        assert found in ((0, 130) if code is None else (code,)), (module, number, terminal.screen)
        assert termios.tcgetattr(terminal.fd)[3] == before[3], "the shell has its echo"
        terminal.reading = False
        assert b"Traceback" not in terminal.screen and b"a fault in fts" not in terminal.screen


STUCK = """
import sys, threading, time
from fts.tui import terminal
terminal.GRACE_S = 0.1
{stuck}
from fts.tui.__main__ import main
sys.exit(main())
"""
AT_IMPORT = """
class Waits:  # for ever, and takes the interruption for an error of its own
    def find_spec(self, name, *_):
        while name == "fts.tui.app":
            try:
                print("stuck" if sys.stdin.isatty() else "")
                time.sleep(999)
            except BaseException:
                pass
sys.meta_path.insert(0, Waits())
"""
WHEN_DRAWN = """
from fts.tui import app
def waits(*_):
    print("stuck", file=sys.__stderr__, flush=True)
    time.sleep(999)
app.Monitor.on_mount = waits
"""


@pytest.mark.parametrize(("stuck", "number"), [(AT_IMPORT, signal.SIGTERM), (WHEN_DRAWN, signal.SIGQUIT)])
def test_a_monitor_that_is_stuck_ends_at_a_signal_and_leaves_the_terminal_as_it_was(db_path, stuck, number):
    terminal = Terminal(db_path, code=STUCK.format(stuck=stuck))
    before = termios.tcgetattr(terminal.fd)
    terminal.wait_for("stuck")
    assert not termios.tcgetattr(terminal.fd)[3] & termios.ECHO, "the monitor has taken the echo"
    os.kill(terminal.pid, number)
    assert terminal.gone_within(30)
    assert termios.tcgetattr(terminal.fd)[3] == before[3], "the shell has its echo"
    for taken, given in (b"1049h", b"1049l"), (b"1000h", b"1000l"), (b"2004h", b"2004l"), (b"25l", b"25h"):
        assert terminal.screen.rfind(b"\x1b[?" + taken) <= terminal.screen.rfind(b"\x1b[?" + given), taken
    terminal.close()


WORKS_ON = """
from pathlib import Path
from fts.tui import app
terminal.LEAVE_S = {leave_s}
def works(self):
    self.run_worker(lambda: [time.sleep(0.01) for n in range(10**5) if not Path({file!r}).exists()], thread=True)
app.Monitor.on_mount = works
"""


def test_a_monitor_of_which_a_thread_works_on_gives_the_echo_back_and_ends(db_path, tmp_path):
    for leave_s in (3600, 0.1):
        stuck = WORKS_ON.format(leave_s=leave_s, file=str(tmp_path / "over"))
        with Terminal(db_path, code=STUCK.format(stuck=stuck)) as terminal:
            terminal.wait_for("\x1b[?2004h")
            terminal.key("q")
            terminal.wait_for("\x1b[?1049l") if leave_s > 1 else None
            end = time.monotonic() + 30
            while not termios.tcgetattr(terminal.fd)[3] & termios.ECHO:
                assert time.monotonic() < end, "the shell has its echo"
                time.sleep(0.01)
            if leave_s > 1:
                assert terminal.is_alive(), "the thread works on"
                (tmp_path / "over").touch()
            assert terminal.gone_within(30)
            (tmp_path / "over").unlink(missing_ok=True)
