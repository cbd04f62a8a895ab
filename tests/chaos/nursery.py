"""Gives birth to workers and trial processes that have torch imported already, so that killing them costs little.

    python -Pm tests.chaos.nursery
    JSON lines: {"start": {env}, "argv": [...], "log": path} -> {"pid"} · {"poll": pid}

Importing torch and its company takes 4 s of processor time, a fork of a process that has it 10 ms. Everything a worker
does with its trial stays as it is: the trial is the worker's own child, in a session of its own, with the same pipes.
For that the worker forks a helper before it has threads; the helper forks trials twice over, and the kernel hands the
orphan to the worker, which has declared itself a subreaper. Linux only; elsewhere the harness starts ordinary ones.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fts.jobs.trial.stacks import exit_now

PR_SET_CHILD_SUBREAPER = 36
REAL_POPEN = subprocess.Popen
PRELOADED = (
    "optuna", "pandas", "pyarrow.parquet", "sklearn.metrics", "arch.bootstrap", "fts.study.build",
    "fts.study.objective", "tests.chaos.run_worker",
)  # fmt: skip
HIGH_FD = 200  # received descriptors are moved up here, out of the way of the numbers they must get


def main() -> None:
    preload()
    adopt_orphans()
    codes: dict[int, int] = {}
    for line in sys.stdin:
        command = json.loads(line)
        if "start" in command:
            answer: dict[str, Any] = {"pid": fork(partial(be_worker, command))}
        else:
            reap(codes)
            answer = {"code": codes.get(command["poll"])}
        print(json.dumps(answer), flush=True)
    os._exit(0)  # an interpreter that has torch takes seconds to say farewell, on a busy machine half a minute


def preload() -> None:
    for name in PRELOADED:
        importlib.import_module(name)
    torch = sys.modules["torch"]
    torch.set_num_threads(1)
    threads = int(next(x for x in Path("/proc/self/status").read_text().splitlines() if "Threads:" in x).split()[1])
    print(json.dumps({"ready": os.getpid(), "threads": threads}), flush=True)


def reap(codes: dict[int, int]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        codes[pid] = os.waitstatus_to_exitcode(status)


def fork(live: Callable[[], int]) -> int:
    """A child that lives its life and never comes back here."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        code = live()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:  # noqa: BLE001  # a fork must never return into the test
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        exit_now(code)


def adopt_orphans() -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def be_worker(command: dict[str, Any]) -> int:
    from tests.chaos import run_worker
    from tests.chaos.inject import faults

    os.environ.clear()
    os.environ.update(command["start"])
    os.chdir(Path(command["log"]).parent)
    log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for have, want in ((null, 0), (log, 1), (log, 2)):
        os.dup2(have, want)
    os.setsid()
    adopt_orphans()
    mine, theirs = socket.socketpair()
    helper = fork(lambda: be_helper(mine, theirs))
    theirs.close()
    mine.set_inheritable(False)

    def popen(argv: list[str], **options: Any) -> Any:
        if "fts.study.objective" not in argv:
            return REAL_POPEN(argv, **options)
        return Born(mine, argv, **options)

    subprocess.Popen = popen  # type: ignore[assignment, misc]
    faults.install("worker")
    sys.argv = ["run_worker.py", *command["argv"]]
    assert helper > 0
    return run_worker.main()


class Born:
    """What subprocess.Popen would have returned."""

    def __init__(
        self, line: socket.socket, argv: list[str], stdout: int, pass_fds: tuple[int, ...], env: Any, **_: Any
    ) -> None:
        read_end, write_end = os.pipe()
        words = {"argv": argv[3:], "env": dict(env), "facts": pass_fds[0]}
        body = json.dumps(words).encode()
        socket.send_fds(line, [len(body).to_bytes(4, "big")], [read_end, stdout, pass_fds[0]])
        line.sendall(body)
        self.pid = int.from_bytes(line.recv(8), "big")
        os.close(read_end)
        self.stdin = os.fdopen(write_end, "wb", buffering=0)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int | None:
        return self._wait(0)

    def _wait(self, flags: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, flags)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def be_helper(theirs_of_worker: socket.socket, line: socket.socket) -> int:
    theirs_of_worker.close()
    while True:
        head, fds, _, _ = socket.recv_fds(line, 4, 3)
        if not head:
            return 0  # the worker is gone
        size = int.from_bytes(head, "big")
        body = b""
        while len(body) < size:
            if not (more := line.recv(size - len(body))):
                return 0
            body += more
        words = json.loads(body)
        tell, told = os.pipe()
        middle = fork(partial(be_middle, line, words, fds, told))
        os.close(told)
        os.waitpid(middle, 0)  # from here on the worker is the trial's parent
        pid = os.read(tell, 8)
        os.close(tell)
        for fd in fds:
            os.close(fd)
        line.sendall(pid)


def be_middle(line: socket.socket, words: dict[str, Any], fds: list[int], told: int) -> int:
    pid = fork(lambda: be_trial(line, words, fds))
    os.write(told, pid.to_bytes(8, "big"))
    return 0


def be_trial(line: socket.socket, words: dict[str, Any], fds: list[int]) -> int:
    import fcntl

    from tests.chaos.inject import faults

    line.close()
    os.setsid()
    stdin, log, facts = (fcntl.fcntl(fd, fcntl.F_DUPFD, HIGH_FD) for fd in fds)
    os.closerange(3, HIGH_FD)
    for have, want in ((stdin, 0), (log, 1), (log, 2), (facts, words["facts"])):
        os.dup2(have, want)
    os.closerange(HIGH_FD, HIGH_FD + 10)
    os.environ.clear()
    os.environ.update(words["env"])
    sys.argv = ["trial", *words["argv"]]
    faults.install("trial")
    from fts.study import objective

    return objective.main()


if __name__ == "__main__":
    main()
