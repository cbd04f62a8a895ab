"""Starts a template process (jobs/trial/template.py) and lets it fork trial processes; the supervisor's side."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from fts.jobs.supervisor.process_tree import same_process, started_at
from fts.jobs.trial.packages import stamp_of
from fts.state.files import open_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from fts.jobs.search.past_trial import PastTrial


START_S = 30.0  # time limit for an answer of the template, on a busy machine
CAN_FORK = sys.platform == "linux"  # elsewhere libraries start threads of their own, which do not survive a fork


class CannotFork(Exception):
    """The template has threads, has ended or does not read; close it, and start the process without it."""


class Template:
    """One template process; it ends when the supervisor closes it or dies."""

    def __init__(self, argv: Sequence[str], log_path: Path, env: Mapping[str, str], cwd: Path | None) -> None:
        """Starts the process and does not wait for its imports. Raises OSError."""
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        log_fd = open_log(log_path, log_path.parent.parent)
        try:
            self._popen = subprocess.Popen(
                [*argv, "--template-fd", str(its.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log_fd,
                stderr=subprocess.STDOUT,
                pass_fds=(its.fileno(),),
                start_new_session=True,
                env=dict(env),
                cwd=cwd,
            )
        except BaseException:
            mine.close()
            raise
        finally:
            its.close()
            os.close(log_fd)
        self._talk = mine
        self._unread = b""
        self._answers: list[dict[str, Any]] = []
        self._modules: list[str] | None = None  # modules that it has imported; None until it is ready
        self._packages: dict[str, list[int]] = {}  # folders of packages, with their stamps when it started
        self._codes: dict[int, int] = {}  # pid -> exit code of forked processes that have ended
        self.known = KnownTrials()
        self._over = False
        self._lock = threading.RLock()

    @property
    def is_over(self) -> bool:
        """Has it ended, or has the connection failed?"""
        self.listen(0.0)
        return self._over

    @property
    def is_outdated(self) -> bool:
        """Was a package installed, upgraded or removed since it started? Its forks would mix old and new modules, and
        would not find an editable package, whose path only a new interpreter reads."""
        self.listen(0.0)
        return any(stamp_of(folder) != stamp for folder, stamp in self._packages.items())

    def fork(self, stdin: int, facts: int, log_fd: int, root: Path) -> int:
        """Forks a trial process with these descriptors and returns its pid. Raises CannotFork.

        `root` is the user's code folder. If a module there has the same name as an imported one, forking is refused,
        because the trial would get the wrong module.
        """
        with self._lock:
            self._wait_for(lambda: self._modules is not None)
            for name in self._modules or ():
                if (root / name).is_dir() or (root / f"{name}.py").is_file():
                    raise CannotFork(f"{root} has a {name} of its own")
            try:
                self._talk.settimeout(START_S)
                socket.send_fds(self._talk, [b'{"do": "fork"}\n'], [stdin, facts, log_fd])
            except OSError as error:
                raise CannotFork(str(error)) from error
            self._wait_for(lambda: bool(self._answers))
            answer = self._answers.pop(0) if self._answers else {"refused": "it has ended or does not answer"}
            if "forked" not in answer:
                raise CannotFork(answer["refused"])
            return int(answer["forked"])

    def know(self, history: KnownTrials, cell: Mapping[str, Any], number: int) -> None:
        """Sends it the earlier trials that trial `number` may use, so that its forks have them. Raises CannotFork."""
        changed = self.known.changed(history)
        order = {"do": "know", "history": history.name, "cell": cell, "number": number}
        with self._lock:
            try:
                self._talk.settimeout(START_S)
                self._talk.sendall(json.dumps(order | {"trials": changed}).encode() + b"\n")
            except OSError as error:
                raise CannotFork(str(error)) from error

    def _wait_for(self, ready: Callable[[], bool]) -> None:
        """Reads messages until `ready`, at most START_S."""
        until = time.monotonic() + START_S
        while not ready() and not self._over and (left := until - time.monotonic()) > 0:
            self.listen(left)

    def listen(self, timeout_s: float) -> None:
        """Reads the messages that have arrived; waits up to `timeout_s` for the first."""
        with self._lock:
            if self._over:
                return
            try:
                self._talk.settimeout(timeout_s)  # 0: does not wait
                data = self._talk.recv(65536)
            except (BlockingIOError, TimeoutError):
                return
            except OSError:
                data = b""
            if not data:
                self._over = True
                return
            *lines, self._unread = (self._unread + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if "ended" in message:
                    self._codes[int(message["ended"])] = int(message["code"])
                elif "ready" in message:
                    self._modules, self._packages = message["modules"], message["packages"]
                else:
                    self._answers.append(message)

    def code_of(self, pid: int, timeout_s: float = 0.0) -> int | None:
        """Returns the exit code of a forked process; None: it has not ended, or its end is unknown."""
        if pid not in self._codes:
            self.listen(timeout_s)
        return self._codes.get(pid)

    def reap(self, pid: int) -> None:
        """Lets the template reap the process: from now on the kernel may reuse its pid."""
        self._codes.pop(pid, None)
        with self._lock, contextlib.suppress(OSError):
            self._talk.settimeout(START_S)
            self._talk.sendall(json.dumps({"do": "reap", "pid": pid}).encode() + b"\n")

    def close(self) -> None:
        """Kills the template; the processes that it forked go on."""
        with self._lock:
            self._over = True
            self._talk.close()
        self._popen.kill()
        self._popen.wait()


class KnownTrials:
    """The earlier trials that a process has received, and the name of their history."""

    def __init__(self, name: str = "", past: Iterable[PastTrial] = ()) -> None:
        self.name = name
        self.past = {one.number: one for one in past}

    def changed(self, now: KnownTrials) -> list[dict[str, Any]]:
        """Returns the trials of `now` that must still be sent, as JSON, and marks them as sent.

        A history with another name replaces the known one.
        """
        if self.name != now.name:
            self.name, self.past = now.name, {}
        known = self.past
        changed = [one for number, one in now.past.items() if known.get(number) is not one]
        known.update((one.number, one) for one in changed)
        return [one.to_json() for one in changed]

    def copy(self) -> KnownTrials:
        copied = KnownTrials(self.name)
        copied.past = dict(self.past)
        return copied


class PipeEnd:
    """The write end of a pipe, with the methods of a file that subprocess.Popen.stdin needs."""

    def __init__(self, fd: int) -> None:
        self._fd, self.closed = fd, False

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self._fd)


class Forked:
    """A process forked by a template, with the interface of subprocess.Popen."""

    def __init__(self, template: Template, pid: int, stdin: PipeEnd) -> None:
        self.template, self.pid, self.stdin = template, pid, stdin
        self.returncode: int | None = None
        self.started = started_at(pid)  # None: it has already ended

    def poll(self, timeout_s: float = 0.0) -> int | None:
        if self.returncode is None:
            code = self.template.code_of(self.pid, timeout_s)
            if code is None and self.template._over and not self._is_there():
                code = -9  # unknown: its template has died, too
            self.returncode = code
        return self.returncode

    def _is_there(self) -> bool:
        return self.started is not None and same_process(self.pid, self.started)

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired. Gives up a template that does not tell of the end within START_S."""
        until = None if timeout is None else time.monotonic() + timeout
        seen = time.monotonic()
        while (code := self.poll(0.02)) is None:
            if until is not None and time.monotonic() > until:
                raise subprocess.TimeoutExpired(["trial process"], timeout or 0.0)
            if self._is_there():
                seen = time.monotonic()
            elif time.monotonic() - seen > START_S:
                self.template._over = True  # it is stopped, or it hangs
            if self.template._over:
                time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def release(self) -> None:
        """Lets the pid be reused; call it when no more signals will be sent."""
        self.template.reap(self.pid)
