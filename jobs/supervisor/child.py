"""Starts a trial process in its own session, exchanges JSON lines with it, and ends it with all its descendants.

Commands go to its stdin, facts come from a separate pipe, and what it prints goes to its log file. When the supervisor
dies, end of file on stdin makes the child exit. PR_SET_PDEATHSIG is not used: it also fires when the *thread* that
started the child ends.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import logging
import os
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections import deque
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from fts.jobs.api.protocol import MAX_LINE
from fts.jobs.executors.base import Exit
from fts.jobs.python import python
from fts.jobs.supervisor.leftovers import mark
from fts.jobs.supervisor.process_tree import fast_descendants, signal_tree, started_at
from fts.jobs.supervisor.template import CAN_FORK, CannotFork, Forked, KnownTrials, PipeEnd, Template
from fts.jobs.trial.death import count_oom_kills
from fts.jobs.trial.stacks import WHERE
from fts.state.files import open_log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from fts.jobs.api.study import Program

log = logging.getLogger("fts.worker")

CHUNK = 1 << 16  # bytes; the capacity of a pipe
CHUNKS_PER_CALL = 64  # so that a flood of facts does not block the supervisor
LOOK_S = 0.02  # between two looks at a process that is to end
ENDING_S = 0.002  # the same, after the end of its facts: it ends now
ASK_S = 0.5  # how long a full pipe may delay the stop command; then a signal is sent
PATIENCE = 0.75  # fraction of the grace after which SIGTERM follows the stop command; it may break worker pools
STACKS_S = 0.5  # time to write the stacks before the kill; it takes a few milliseconds
NOT_RESIDENT = 3 << 29  # bytes: a trial's data segment is 1.1 GB larger than its resident memory (stacks, arenas)
ENDED_KEPT = 100  # ended processes that are remembered at most: each takes 800 bytes
OOM_SCORE = 500  # of 1000: the kernel kills the trial before the worker and the user's editor


class ChildError(RuntimeError):
    """The child process could not be started, or a command could not be sent to it."""


class ChildGone(ChildError):
    """The child has closed its stdin: it has ended or is ending."""


class ChildNotReading(ChildError):
    """The child lives but does not read its stdin: it is frozen, or in a long operation."""


class TrialProcess:
    """One trial process in its own session.

    `argv` gets `--facts-fd N` appended. `threads` sets the size of the OpenMP and BLAS pools, which wait passively.
    With `relays` SIGTERM goes to the child alone, which stops what it started; otherwise to its whole tree.
    The log is opened for appending and is readable by its owner only. Raises OSError when `argv[0]` cannot be started.
    With a `template` the process is forked from it instead; raises CannotFork.
    One thread calls facts, wait, stop and close; any thread may call poll, send, freeze, thaw, ask_to_stop and kill.
    """

    node: str | None = None  # None: this machine
    fingerprint: str | None = None  # not needed for this machine
    reads_files = True
    log_start: int | None = None  # size of its log in bytes when it was started
    writes_stacks = False  # it runs a function: the signal WHERE makes the process write its stacks and end

    def __init__(
        self,
        argv: Sequence[str],
        log_path: Path,
        *,
        threads: int = 1,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        relays: bool = False,
        template: Template | None = None,
        root: Path | None = None,
    ) -> None:
        self._lock = threading.RLock()  # the heat guard and the supervisor may both signal it
        self._send_lock = threading.Lock()
        self._unsent = b""
        self._partial = bytearray()
        self._seal: str | None = None  # the secret that each fact carries; the fact "ready" names it
        self._skipping = False  # inside a line that was longer than MAX_LINE
        self._facts: deque[dict[str, Any]] = deque()
        self._facts_fd, child_end = os.pipe()
        self._seen: set[psutil.Process] = set()  # processes of its tree that we have seen; the ended ones are dropped
        self._swept = False  # it has ended, and what it left is killed
        self.frozen = False
        self.asked_to_stop = False
        self.log_path = log_path
        self.relays = relays
        self.known = KnownTrials() if template is None else template.known.copy()  # the earlier trials that it knows
        self.was_ready = False  # it has sent "ready"
        try:
            log_fd = open_log(log_path, log_path.parent.parent)
            self.log_start = os.fstat(log_fd).st_size
            try:
                self._popen: subprocess.Popen[bytes] | Forked
                if template is not None and root is not None:
                    self._popen = forked(template, child_end, log_fd, root)
                else:
                    self._popen = subprocess.Popen(
                        [*argv, "--facts-fd", str(child_end)],
                        stdin=subprocess.PIPE,
                        stdout=log_fd,
                        stderr=subprocess.STDOUT,
                        pass_fds=(child_end,),
                        start_new_session=True,
                        env=environment(threads, env) | mark(log_path.parent.parent),
                        cwd=cwd,
                    )
            finally:
                os.close(log_fd)
        except BaseException:
            os.close(self._facts_fd)
            raise
        finally:
            os.close(child_end)
        self.pid = self._popen.pid
        os.set_blocking(self._facts_fd, False)
        assert self._popen.stdin is not None, "it is a pipe"
        self._stdin = self._popen.stdin
        os.set_blocking(self._stdin.fileno(), False)
        self.started = started_at(self.pid) or time.time()  # pid and start time identify the process
        offer_to_oom_killer(self.pid)

    def __enter__(self) -> TrialProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # -- talk

    def send(self, message: dict[str, Any], timeout_s: float = 5.0) -> None:
        """Writes one JSON line to the child's stdin.

        Raises ChildGone when its stdin is closed, ChildNotReading when the pipe stayed full for `timeout_s`. The next
        call then sends the rest of the line first, so that the child never sees half a command.
        """
        with self._send_lock:
            self._unsent += json.dumps(message, separators=(",", ":")).encode() + b"\n"
            deadline = time.monotonic() + timeout_s
            while self._unsent:
                self._write_some(max(0.0, deadline - time.monotonic()))

    def _write_some(self, timeout_s: float) -> None:
        if self._stdin.closed:
            raise ChildGone(f"process {self.pid} cannot receive commands: its stdin is closed")
        if not wait_for(self._stdin.fileno(), select.POLLOUT, timeout_s):
            raise ChildNotReading(f"process {self.pid} left {len(self._unsent)} bytes of commands unread")
        try:
            written = os.write(self._stdin.fileno(), self._unsent[:CHUNK])
        except BlockingIOError:
            return
        except BrokenPipeError as error:
            self._unsent = b""
            raise ChildGone(f"process {self.pid} has closed its stdin: it has ended or is ending") from error
        self._unsent = self._unsent[written:]

    def close_stdin(self) -> None:
        """Sends end of file: the child writes a checkpoint and exits. Thaws it first: a frozen child reads nothing."""
        self.asked_to_stop = True
        with self._send_lock:
            self._stdin.close()
        self.thaw()

    def facts(self, timeout_s: float = 0.0) -> list[dict[str, Any]]:
        """Returns all facts that have arrived, oldest first; waits up to `timeout_s` for the first one.

        A line that is not a JSON object, or longer than MAX_LINE, becomes {"fact": "garbage", "reason", "line"}.
        """
        deadline = time.monotonic() + timeout_s
        while not self._facts:
            self._pump(max(0.0, deadline - time.monotonic()))
            if self._facts_fd < 0 or time.monotonic() >= deadline:  # otherwise only part of a line arrived
                break
        arrived = list(self._facts)
        self._facts.clear()
        return arrived

    @property
    def facts_ended(self) -> bool:
        """Has the child closed its end of the pipe, and has every fact been returned?"""
        return self._facts_fd < 0 and not self._facts

    def _pump(self, timeout_s: float) -> None:
        if self._facts_fd < 0:
            time.sleep(min(timeout_s, 0.05))  # nothing more can arrive; the caller's loop must not spin
            return
        if not wait_for(self._facts_fd, select.POLLIN, timeout_s):
            return
        for _ in range(CHUNKS_PER_CALL):
            try:
                chunk = os.read(self._facts_fd, CHUNK)
            except BlockingIOError:
                return
            if not chunk:
                self._end_of_facts()
                return
            self._split(chunk)

    def _split(self, chunk: bytes) -> None:
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            self._partial += line
            if not self._skipping:
                self._take_line()
            self._partial.clear()
            self._skipping = False
        if self._skipping:
            return
        self._partial += rest
        if len(self._partial) > MAX_LINE:
            self._take_line()
            self._partial.clear()
            self._skipping = True

    def _take_line(self) -> None:
        if len(self._partial) > MAX_LINE:
            self._facts.append(garbage(bytes(self._partial), f"line longer than {MAX_LINE} bytes"))
        elif self._partial.strip():
            self._facts.append(self._sealed(bytes(self._partial)))

    def _sealed(self, line: bytes) -> dict[str, Any]:
        """Parses a line; returns a garbage fact if the process uses a seal and the line does not carry it."""
        fact = parse_fact(line)
        seal = fact.pop("seal", None)
        if self._seal is None and fact.get("fact") == "ready":
            self._seal = seal
        if self._seal is None or seal == self._seal or fact.get("fact") == "garbage":
            return fact
        return garbage(line, "its code has written it, not the trial's process")

    def _end_of_facts(self) -> None:
        if self._partial:
            self._facts.append(garbage(bytes(self._partial), "the process ended before it finished this line"))
        os.close(self._facts_fd)
        self._facts_fd = -1

    # -- life

    def poll(self) -> int | None:
        """Returns the exit code (negative: the signal), None while it lives. Kills what an ended child left behind."""
        with self._lock:
            code = self._popen.poll()
            if code is not None and not self._swept:
                self._swept = True
                self._sweep()
            return code

    def wait(self, timeout_s: float) -> int | None:
        """Waits for its end and keeps reading facts, so that a full pipe never blocks its last ones."""
        deadline = time.monotonic() + timeout_s
        while (code := self.poll()) is None and (left := deadline - time.monotonic()) > 0:
            self._pump(min(left, LOOK_S if self._facts_fd >= 0 else ENDING_S))
        return code

    def exit(self) -> Exit | None:
        """Returns how it ended; None while it lives."""
        code = self.poll()
        return None if code is None else Exit(code)

    def oom_kills(self) -> int:
        """Returns how many processes the kernel's OOM killer has ended so far, where this process runs."""
        return count_oom_kills()

    def tree(self) -> list[psutil.Process]:
        """Returns the living processes of its tree: the child and all its descendants."""
        with self._lock:
            tree = [] if self.poll() is not None else fast_descendants(self.pid)
            self._seen.update(tree)
            if len(self._seen) > 2 * len(tree) + ENDED_KEPT:  # a trial may start thousands of short-lived processes
                self._seen = {process for process in self._seen if process.is_running()}
            return tree

    def freeze(self) -> bool:
        """Sends SIGSTOP to the whole tree. False: it has ended, or it is stopping and must write its checkpoint."""
        return not self.asked_to_stop and self._signal_tree(signal.SIGSTOP)

    def thaw(self) -> bool:
        """Sends SIGCONT to the whole tree; False when it has ended."""
        return self._signal_tree(signal.SIGCONT)

    def ask_to_stop(self) -> bool:
        """Thaws the tree and sends the stop command; False when it has ended.

        A signal would end the pools and data loaders that the trial needs until its next checkpoint. SIGTERM is sent
        only if the command cannot be sent.
        """
        self.asked_to_stop = True
        if not self.thaw():
            return False
        try:
            self.send({"do": "stop"}, ASK_S)
        except ChildError:
            return self.terminate()
        return True

    @property
    def has_unread_command(self) -> bool:
        """Is there an unread command in its stdin?"""
        waiting = array.array("i", [0])
        with self._send_lock, contextlib.suppress(OSError):
            if not self._stdin.closed:
                fcntl.ioctl(self._stdin.fileno(), termios.FIONREAD, waiting)
        return bool(waiting[0] or self._unsent)

    def terminate(self) -> bool:
        """Sends SIGTERM to a child that does not obey the stop command; False when it has ended."""
        self.asked_to_stop = True
        with contextlib.suppress(ChildError):  # as a command too: the user's code may handle the signal itself
            self.send({"do": "leave"}, ASK_S)
        if not self.relays:
            return self.thaw() and self._signal_tree(signal.SIGTERM)
        with self._lock:
            if not self.thaw():
                return False
            self._popen.send_signal(signal.SIGTERM)
            return True

    def stop(self, grace_s: float) -> int:
        """Sends the stop command, then SIGTERM, within `grace_s`; then SIGKILL. Returns the exit code."""
        self.ask_to_stop()
        if self.wait(PATIENCE * grace_s) is None:
            self.terminate()
        code = self.wait((1 - PATIENCE) * grace_s)
        return self.kill() if code is None else code

    def kill(self) -> int:
        """Kills and reaps the whole tree; returns the exit code. A function first writes its stacks."""
        with self._lock:
            if self.poll() is None:
                self._let_write_stacks()
                self._signal_tree(signal.SIGKILL)
        code = self._popen.wait()  # without the lock: a hanging disk delays its end, and the heartbeat needs the tree
        self.poll()
        return code

    def _let_write_stacks(self) -> None:
        if not self.writes_stacks or self.frozen:
            return
        self.tree()  # now: after its end we could not find its descendants
        until = time.monotonic() + STACKS_S
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, WHERE)
        while self.poll() is None and time.monotonic() < until:
            time.sleep(0.002)

    def close(self) -> None:
        """Kills what still lives and closes every file descriptor."""
        self.kill()
        self.close_stdin()
        with contextlib.suppress(OSError):
            if self._facts_fd >= 0:
                os.close(self._facts_fd)
        self._facts_fd = -1

    def _signal_tree(self, number: signal.Signals) -> bool:
        with self._lock:
            if self.poll() is not None:
                return False
            self._seen |= signal_tree(self.pid, number)
            if number in (signal.SIGSTOP, signal.SIGCONT):
                self.frozen = number == signal.SIGSTOP
            return True

    def _sweep(self) -> None:
        """Kills what the ended child left: its process group (its id is not reused while it has members), and every
        descendant that was ever seen."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS returns EPERM for a group of zombies
            os.killpg(self.pid, signal.SIGKILL)
        for process in self._seen:
            with contextlib.suppress(psutil.Error):
                process.kill()  # psutil compares the start time first
        self._seen.clear()
        if isinstance(self._popen, Forked):
            self._popen.release()


class Starter:
    """Starts the trial processes of one slot: by a fork of the template of its latest program, else a new interpreter.

    Their output outside of trials goes to `log_path`.
    """

    def __init__(self, log_path: Path) -> None:
        self.log_path = log_path
        self._template: Template | None = None
        self._template_of: tuple[Program, int] | None = None
        self._never_forked: Program | None = None  # its template has refused to fork

    @property
    def has_template(self) -> bool:
        return self._template is not None

    @property
    def is_outdated(self) -> bool:
        """Has a package changed since the template started? Then its processes have old modules, too."""
        return self._template is not None and self._template.is_outdated

    def start(
        self, program: Program, threads: int, before_fork: Callable[[Template], None] = lambda _: None
    ) -> TrialProcess:
        """Starts a trial process; calls `before_fork` with the template before it forks. Raises OSError."""
        # no RLIMIT_AS: torch reserves far more address space than it uses; limit_data counts only writable memory
        start = partial(
            TrialProcess,
            python(*program.words, interpreter=program.python),
            self.log_path,
            threads=threads,
            env=dict(program.env),
            cwd=None if program.folder is None else Path(program.folder),
            relays=program.relays,
        )
        self.prepare(program, threads)
        if self._template is None or program.forks_for is None:
            return start()
        try:
            before_fork(self._template)
            return start(template=self._template, root=Path(program.forks_for))
        except CannotFork as refused:
            log.info("%s: trial processes are started, not forked", refused)
            self._never_forked = program
            self.close()
            return start()

    def prepare(self, program: Program, threads: int) -> None:
        """Starts the template process, which imports modules while the first trial is drawn. Raises OSError."""
        wanted = (replace(program, leaves_in=None), threads)  # leaves_in concerns trials, not the template
        known = self._template is not None and wanted == self._template_of and not self._template.is_over
        if known and not self.is_outdated:
            return
        self.close()
        gone = program.folder is not None and not Path(program.folder).is_dir()
        if not CAN_FORK or program.forks_for is None or program == self._never_forked or gone:
            return
        self._template = Template(
            python(*program.words, interpreter=program.python),
            self.log_path,
            environment(threads, program.env) | mark(self.log_path.parent.parent),
            None if program.folder is None else Path(program.folder),
        )
        self._template_of = wanted

    def close(self) -> None:
        if self._template is not None:
            self._template.close()
        self._template = self._template_of = None


def forked(template: Template, facts: int, log_fd: int, root: Path) -> Forked:
    """Forks a trial process from a template. Raises CannotFork."""
    read_end, write_end = os.pipe()
    try:
        pid = template.fork(read_end, facts, log_fd, root)
    except BaseException:
        os.close(write_end)
        raise
    finally:
        os.close(read_end)
    return Forked(template, pid, PipeEnd(write_end))


def environment(threads: int, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Returns the environment of a trial process."""
    return {**os.environ, **thread_environment(threads), **(more or {})}


def thread_environment(threads: int) -> dict[str, str]:
    """Returns variables that give numerical libraries `threads` threads, which sleep while they wait.

    With OpenMP's default (spinning), another busy process made a 2-thread trial 3-9x slower.
    """
    pools = ("OMP", "MKL", "OPENBLAS", "NUMEXPR")
    return {f"{name}_NUM_THREADS": str(threads) for name in pools} | {
        "VECLIB_MAXIMUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "0",
        "KMP_BLOCKTIME": "0",  # the LLVM runtime in macOS wheels
    }


def offer_to_oom_killer(pid: int) -> bool:
    """Raises a child's oom_score_adj (Linux; this needs no rights), so that the OOM killer chooses it first."""
    try:
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(OOM_SCORE))
    except OSError:
        return False
    return True


def limit_data(pid: int, limit: int | None) -> bool:
    """Sets RLIMIT_DATA (Linux), so that an oversized allocation raises MemoryError in the trial instead of waking the
    OOM killer. None: no limit. Only the soft limit is set, so that the next trial may get a higher one."""
    if sys.platform != "linux":
        return False
    import resource  # here: the module does not exist everywhere, and prlimit only on Linux

    soft = resource.RLIM_INFINITY if limit is None else limit
    try:
        resource.prlimit(pid, resource.RLIMIT_DATA, (soft, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        return False
    return True


def wait_for(fd: int, event: int, timeout_s: float) -> bool:
    """Did the descriptor become ready (or broken) within `timeout_s`? Uses poll: select fails above descriptor 1023."""
    poller = select.poll()
    poller.register(fd, event)
    return bool(poller.poll(timeout_s * 1000))


def parse_fact(line: bytes) -> dict[str, Any]:
    try:
        fact = json.loads(line)
    except (ValueError, RecursionError) as error:
        return garbage(line, f"not JSON: {error}")
    return fact if isinstance(fact, dict) else garbage(line, "not a JSON object")


def garbage(line: bytes, reason: str) -> dict[str, Any]:
    return {"fact": "garbage", "reason": reason[:200], "line": line[:200].decode(errors="replace")}
