"""A template process: imports what every trial of a function or command needs, and forks one process for each trial.

    python -Pm fts.jobs.trial.function --template-fd 5        (the supervisor starts it; Linux)

It never imports the user's code, so a fork is as fresh as a new interpreter, and starts in milliseconds, as long as no
package was installed, upgraded or removed: the supervisor then starts another template (packages.py). On its socket
{"do": "know", "history", "cell", "number", "trials"} sends the trials before trial `number`. {"do": "fork"} with the
descriptors of stdin, facts and log is answered by {"forked": pid}, and by {"ended": pid, "code": n} when that process
has ended. It stays a zombie, so that no other process gets its pid, until {"do": "reap", "pid"}. A fork of a process
with threads could hang, so a template with threads answers {"refused": why}. At end of file the template exits.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from fts.jobs.trial import earlier_trials
from fts.jobs.trial.packages import stamps
from fts.jobs.trial.stacks import exit_now

if TYPE_CHECKING:
    from collections.abc import Callable

FDS = 3  # stdin, facts, log
KEPT_BYTES = 8_000_000  # a draw after 10,000 trials allocates and frees 640 kB ten times
MODULES = (
    "fts.jobs.trial.function",
    "fts.jobs.trial.public",
    "fts.jobs.trial.checkpoint",
    "fts.jobs.trial.optuna_trial",
)


def main(fd: int, life: Callable[[int], int], preload: Callable[[], None]) -> int:
    """Serves until its socket closes. `preload` imports what the trials need; `life` runs a trial process, with the
    descriptor for facts as its argument."""
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1):  # it ends when the socket closes
        signal.signal(ignored, signal.SIG_IGN)
    wake_read, wake_write = os.pipe()
    for end in (wake_read, wake_write):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    found = stamps()  # before the first import: what is installed meanwhile is a change, too
    preload()
    template = TemplateLoop(socket.socket(fileno=fd), wake_read, wake_write, found)
    facts_fd = template.serve()
    return 0 if facts_fd is None else leave(life(facts_fd))


def preload_optuna() -> None:
    """Imports what a function and its draws need, and uses it once. Does nothing in an interpreter without Optuna."""
    with contextlib.suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in MODULES:
            importlib.import_module(name)
        from fts.jobs.search.pure_sampler import PureSampler

        optuna, numpy = sys.modules["optuna"], sys.modules["numpy"]
        numpy.empty(KEPT_BYTES, dtype="b")  # once freed, malloc keeps this memory for the arrays of a draw in each fork
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(sampler=PureSampler())
        study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=11)


def leave(code: int) -> NoReturn:
    """Ends the process as the interpreter does, but without destroying its modules."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are not daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    exit_now(code)


class TemplateLoop:
    """The loop of the template. In a fork it returns, and the fork continues as a trial process."""

    def __init__(
        self, talk: socket.socket, wake_read: int, wake_write: int, packages: dict[str, list[int]] | None = None
    ) -> None:
        """`packages`: folders of installed packages, with their stamps when this process started."""
        self.talk, self.wake_read, self.wake_write, self.packages = talk, wake_read, wake_write, packages or {}
        self.children: set[int] = set()  # pids whose end has not been sent

    def serve(self) -> int | None:
        """Returns None in the template, when it ends, and the descriptor for facts in a fork."""
        unread, fds = b"", list[int]()
        self.tell({"ready": os.getpid(), "modules": loaded_of_others(), "packages": self.packages})
        with selectors.DefaultSelector() as ready:
            ready.register(self.talk, selectors.EVENT_READ)
            ready.register(self.wake_read, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    if key.fileobj is not self.talk:
                        with contextlib.suppress(BlockingIOError):
                            os.read(self.wake_read, 1024)
                        self.look_for_ended()
                        continue
                    try:
                        data, more, _, _ = socket.recv_fds(self.talk, 65536, FDS)
                    except ConnectionResetError:  # the supervisor was killed before it had read everything
                        return None
                    fds += more
                    if not data:
                        return None
                    *lines, unread = (unread + data).split(b"\n")
                    for line in lines:
                        order = json.loads(line)
                        if order["do"] == "reap":
                            self.reap(int(order["pid"]))
                        elif order["do"] == "know":
                            earlier_trials.prepare(order)
                        elif self.fork(fds):
                            return fds[1]
                        else:
                            fds = []

    def fork(self, fds: list[int]) -> bool:
        """Forks a trial process. Returns True in the new process."""
        why = None
        if (count := threads()) > 1 and not threads_end_at_fork():
            why = f"{count} threads run in it"
        try:
            pid = os.fork() if why is None else -1
        except OSError as error:
            why, pid = str(error), -1
        if pid == 0:
            self.become(fds)
            return True
        for fd in fds:
            os.close(fd)
        if pid < 0:
            self.tell({"refused": why})
        else:
            self.children.add(pid)
            self.tell({"forked": pid})
        return False

    def become(self, fds: list[int]) -> None:
        """Gives a new fork its own session, descriptors and signals. Each trial seeds its random generators."""
        os.setsid()
        importlib.invalidate_caches()  # a folder or zip file of PYTHONPATH that was missing when the template started
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        for fd in (self.wake_read, self.wake_write):
            os.close(fd)
        self.talk.close()
        stdin, _, log = fds
        for fd, standard in ((stdin, 0), (log, 1), (log, 2)):
            os.dup2(fd, standard)
        os.close(stdin)
        os.close(log)

    def look_for_ended(self) -> None:
        for pid in sorted(self.children):
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is not None:
                self.children.discard(pid)
                code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
                self.tell({"ended": pid, "code": code})

    def reap(self, pid: int) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)

    def tell(self, fact: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # serve() will find the socket closed
            self.talk.sendall(json.dumps(fact).encode() + b"\n")


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def threads_end_at_fork() -> bool:
    """Do all other threads end before each fork and start again after it? Those of OpenBLAS do."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return threads() == 1


def loaded_of_others() -> list[str]:
    """Returns the loaded top-level modules that belong neither to fts nor to Python."""
    tops = {name.partition(".")[0] for name in sys.modules}
    return sorted(tops - {"fts", "__main__", "__mp_main__"} - set(sys.stdlib_module_names))
