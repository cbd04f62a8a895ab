"""A fork is the process that would have been started: words, folder, variables, streams, limits, exit code, signals."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forks

SHOWS = [sys.executable, "-Pm", "tests.shows_itself"]


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_a_fork_is_the_process_that_would_have_been_started(tmp_path: Path) -> None:
    environ = {**os.environ, "MINE": "yes", "TZ": "Asia/Tokyo"}
    found = []
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (500, before[1]))
    umask = os.umask(0o027)
    try:
        for really in (False, True):
            with forks.off(really):
                code, out, err = forks.run([*SHOWS, "a", "b"], tmp_path, environ, 60.0)
            found.append((code, json.loads(out), err))
    finally:
        os.umask(umask)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    forked, started = found
    assert forked[0] == started[0] == 3 and forked[2] == started[2] == "to stderr\n"
    assert forked[1].pop("is_fork") and not started[1].pop("is_fork")
    assert forked[1] == started[1]


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_a_fork_can_be_waited_for_and_killed_by_its_pid() -> None:
    process = forks.popen([*SHOWS, "waits"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=None)
    assert isinstance(process, forks.Forked) and process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(60) == process.poll() == -signal.SIGKILL


def test_what_only_a_start_can_obey_is_started(tmp_path: Path) -> None:
    assert forks.can_fork(os.environ) == (sys.platform == "linux")
    assert not forks.can_fork({**os.environ, "PYTHONHASHSEED": "7"})
    (tmp_path / "torch.py").touch()
    assert not forks.can_fork({**os.environ, "PYTHONPATH": str(tmp_path)})
