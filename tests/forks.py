"""Runs `fts ...` in a fork of one process that has imported the command line: 10 ms instead of 100 to 250.

    python -P tests/forks.py FD        JSON and four descriptors on a socket: stdin, stdout, stderr, and for the answer

What a command does is as in a process of its own: arguments, environment, folder, streams, exit code, its children.
What a start itself does (sys.orig_argv, the interpreter's variables, options) is not: a study with `starts=True`
starts each command, as does any other system than Linux.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
OF_THE_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_")  # variables that only an interpreter that starts can obey
PACKAGES = ("fts.jobs.cli", "fts.jobs.worker", "fts.jobs.status", "fts.jobs.records", "fts.state.queries")
HEAVY = {"torch", "optuna", "pandas", "numpy", "textual", "sklearn", "matplotlib"}  # stay out: few commands load them
AROUND = {name: value for name, value in os.environ.items() if not name.startswith("FTS_")}
PID, CODE = struct.Struct("q"), struct.Struct("q")


# -- in a test


def can_fork(environ: Mapping[str, str]) -> bool:
    """Whether a fork of ours is the process that this environment would start."""
    known = environ.get("PYTHONPATH") in (None, str(ROOT), AROUND.get("PYTHONPATH"))
    return sys.platform == "linux" and known and _of_the_start(environ) == _of_the_start(AROUND)


def _of_the_start(environ: Mapping[str, str]) -> dict[str, str]:
    of_it = {name: value for name, value in environ.items() if name.startswith(OF_THE_START)}
    return of_it | {"PYTHONPATH": ""}


class Forked:
    """A command that runs, as subprocess.Popen shows its own."""

    def __init__(self, words: Sequence[str], cwd: Path, environ: Mapping[str, str], streams: Sequence[int]) -> None:
        """`streams` are the descriptors of stdin, stdout and stderr; the command leads a session of its own."""
        self.args = ["fts", *words]
        self.returncode: int | None = None
        self._answer, told = os.pipe()
        order = {"words": list(words), "cwd": str(cwd), "environ": dict(environ)}
        try:
            socket.send_fds(_server(), [json.dumps(order).encode()], [*streams, told])
        finally:
            os.close(told)
        (self.pid,) = PID.unpack(os.read(self._answer, PID.size))

    def poll(self) -> int | None:
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        if (code := self._look(timeout)) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._answer], [], [], timeout)[0]:
            (self.returncode,) = CODE.unpack(os.read(self._answer, CODE.size) or CODE.pack(-signal.SIGKILL))
            os.close(self._answer)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(words: Sequence[str], cwd: Path, environ: Mapping[str, str], timeout_s: float) -> tuple[int, str, str]:
    """Exit code, stdout and stderr. Raises subprocess.TimeoutExpired."""
    ends = [os.pipe(), os.pipe()]
    with Path(os.devnull).open() as null:
        try:
            process = Forked(words, cwd, environ, [null.fileno(), *(write for _, write in ends)])
        finally:
            for _, write in ends:
                os.close(write)
    said: dict[int, bytes] = {read: b"" for read, _ in ends}
    left, until = set(said), time.monotonic() + timeout_s
    try:
        while left:
            ready = select.select(list(left), [], [], max(0.0, until - time.monotonic()))[0]
            if not ready:
                process.kill()
                raise subprocess.TimeoutExpired(process.args, timeout_s, *said.values())
            for read in ready:
                more = os.read(read, 1 << 16)
                said[read] += more
                if not more:
                    left.discard(read)
    finally:
        for read, _ in ends:
            os.close(read)
    code = process.wait(max(1.0, until - time.monotonic()))
    out, err = (io.TextIOWrapper(io.BytesIO(text), encoding="utf-8").read() for text in said.values())
    return code, out, err


_SERVERS: dict[int, socket.socket] = {}  # by the process that started it


def _server() -> socket.socket:
    if os.getpid() not in _SERVERS:
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(its.fileno())],
            env=AROUND | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a fork gets its own before it says anything
            pass_fds=(its.fileno(),),
            start_new_session=True,
        )
        its.close()
        atexit.register(process.wait)
        atexit.register(mine.close)
        _SERVERS[os.getpid()] = mine
    return _SERVERS[os.getpid()]


# -- in the process that forks


def serve(fd: int) -> None:
    """Until its socket ends."""
    for package in PACKAGES:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    assert not HEAVY & set(sys.modules), sorted(HEAVY & set(sys.modules))
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for the commands
    line = socket.socket(fileno=fd)
    while True:
        order, fds, _, _ = socket.recv_fds(line, 1 << 20, 4)
        if not order:
            return
        if os.fork() == 0:
            line.close()
            wait_for(json.loads(order), fds)
        for each in fds:
            os.close(each)


def wait_for(order: dict[str, Any], fds: list[int]) -> None:
    """Forks the command, tells its pid, and how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, told = fds
    pid = os.fork()
    if pid == 0:
        os.close(told)
        become(order, streams)
    for each in streams:
        os.close(each)
    os.write(told, PID.pack(pid))
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):
        os.write(told, CODE.pack(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def become(order: dict[str, Any], streams: list[int]) -> None:
    """`python -m fts.jobs.cli WORDS`, from here to its end."""
    os.setsid()
    for fd, standard in zip(streams, range(3), strict=True):
        os.dup2(fd, standard)
        os.close(fd)
    os.chdir(order["cwd"])
    sys.path.insert(0, order["cwd"])
    os.environ.clear()
    os.environ.update(order["environ"])
    time.tzset()
    sys.argv = [str(ROOT / "jobs" / "cli" / "__main__.py"), *order["words"]]
    code = 1
    try:
        from fts.jobs.cli import main

        code = main()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:  # noqa: BLE001  # a fork must never return into the server
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
