import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from fts.jobs.worker import wake_lock
from fts.jobs.worker.wake_lock import helper_command, keep_awake


def inhibitor(folder: Path, script: str) -> dict[str, str]:
    """An environment in which this platform's inhibitor is a small script of ours."""
    command = helper_command(sys.platform, 1)
    assert command is not None
    tool = folder / command[0]
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o700)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def ends(pid: int, patience_s: float = 20.0) -> bool:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.01)
    return False


def test_an_inhibitor_runs_while_the_worker_does(tmp_path: Path) -> None:
    note = tmp_path / "note"
    with keep_awake(inhibitor(tmp_path, f"echo $$ > {note}.new; mv {note}.new {note}; exec cat")) as tool:
        assert tool == helper_command(sys.platform, 1)[0]  # type: ignore[index]
        deadline = time.monotonic() + 20
        while not note.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        pid = int(note.read_text())
        assert psutil.pid_exists(pid)
    assert ends(pid)


@pytest.mark.parametrize("script", ["exit 1", "exec sh -c 'kill -9 $$'"])
def test_an_inhibitor_that_fails_is_told_collected_and_no_failure_of_ours(
    tmp_path: Path, script: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "fts.jobs.worker.wake_lock")
    before = set(psutil.Process().children())
    with keep_awake(inhibitor(tmp_path, script)):
        deadline = time.monotonic() + 20
        while "may fall asleep" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)
        assert set(psutil.Process().children()) <= before, "it is left as a zombie"
    assert "the machine may fall asleep: " in caplog.text and "ended with code" in caplog.text


def test_a_machine_without_an_inhibitor_trains_all_the_same(tmp_path: Path) -> None:
    with keep_awake({"PATH": str(tmp_path)}) as tool:
        assert tool is None


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    with keep_awake(inhibitor(tmp_path, "exec cat") | {"FTS_AWAKE": "0"}) as tool:
        assert tool is None


def test_a_file_that_is_no_program_is_no_failure_of_ours(tmp_path: Path) -> None:
    environ = inhibitor(tmp_path, "")
    (tmp_path / helper_command(sys.platform, 1)[0]).write_bytes(b"\x7fELF nothing")  # type: ignore[index]
    with keep_awake(environ) as tool:
        assert tool is None


@pytest.mark.skipif(sys.platform == "darwin", reason="caffeinate watches the pid itself")
def test_the_inhibitor_ends_with_a_worker_that_was_killed(tmp_path: Path) -> None:
    environ = inhibitor(tmp_path, f"echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; exec cat")
    body = (
        f"import time\nfrom fts.jobs.worker.wake_lock import keep_awake\nwith keep_awake({environ!r}): time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", body]) as worker:
        deadline = time.monotonic() + 20
        while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        worker.kill()
    assert ends(int((tmp_path / "pid").read_text()))


def test_each_platform_has_its_command_or_none() -> None:
    assert wake_lock.helper_command("darwin", 42) == ["caffeinate", "-i", "-w", "42"]
    assert wake_lock.helper_command("linux", 42)[0] == "systemd-inhibit"  # type: ignore[index]
    assert wake_lock.helper_command("win32", 42) is None
