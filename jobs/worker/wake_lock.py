"""Keeps the machine from going to sleep while a worker runs; does nothing where that is not possible.

with keep_awake():
    work()
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from fts.jobs.threads import begin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

log = logging.getLogger(__name__)


@contextlib.contextmanager
def keep_awake(environ: Mapping[str, str] = os.environ) -> Iterator[str | None]:
    """Holds a sleep inhibitor for this process; yields the tool's name, or None without one or with FTS_AWAKE=0.

    The tool ends with us even after kill -9: caffeinate watches our pid, and systemd-inhibit holds its lock for a `cat`
    that reads from us. Errors of the tool are never raised.
    """
    helper, leaving = start_helper(environ), threading.Event()
    if helper is not None:
        with contextlib.suppress(OSError):  # without the thread nobody logs that the tool has ended
            begin(threading.Thread(target=watch_helper, args=(helper, leaving), name="awake", daemon=True))
    try:
        yield None if helper is None else name_of(helper)
    finally:
        leaving.set()
        if helper is not None:
            end_helper(helper)


def watch_helper(helper: subprocess.Popen[bytes], leaving: threading.Event) -> None:
    """Reaps a tool that ends early, as systemd-inhibit does in a container, and logs it."""
    code = helper.wait()
    if not leaving.is_set():
        log.info(
            "the machine may fall asleep: %s ended with code %d; FTS_AWAKE=0 goes without it", name_of(helper), code
        )


def start_helper(environ: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
    argv = helper_command(sys.platform, os.getpid())
    if argv is None or environ.get("FTS_AWAKE", "1") == "0":
        return None
    path = shutil.which(argv[0], path=environ.get("PATH"))
    if path is None:
        return None
    try:
        return subprocess.Popen(
            [path, *argv[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        log.info("the machine may fall asleep: %s does not start (%s)", argv[0], error)
        return None


def name_of(helper: subprocess.Popen[bytes]) -> str:
    assert isinstance(helper.args, list)
    return Path(helper.args[0]).name


def helper_command(platform: str, pid: int) -> list[str] | None:
    """Returns the inhibitor command of a platform. macOS: -i prevents idle sleep; closing the lid still sleeps."""
    if platform == "darwin":
        return ["caffeinate", "-i", "-w", str(pid)]
    if platform == "linux":
        return ["systemd-inhibit", "--what=sleep:idle", "--who=fts", "--why=training", "--mode=block", "cat"]
    return None


def end_helper(helper: subprocess.Popen[bytes]) -> None:
    if helper.stdin is not None:
        with contextlib.suppress(OSError):
            helper.stdin.close()
    helper.terminate()
    try:
        helper.wait(2.0)
    except subprocess.TimeoutExpired:
        helper.kill()
        helper.wait()
