"""The life of a trial process: specifications in on stdin, facts out on a pipe, until it is asked to leave.

    python -Pm fts.jobs.trial.function --facts-fd 5        (the supervisor starts it)

It knows no database. How a trial is done is the caller's: `run(spec, orders)` yields the facts of one trial. A stop
request (command, SIGTERM, or end of file on stdin: the supervisor died) is obeyed at the trial's next step, and ends
the process with exit code 75.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fts.jobs.api import protocol
from fts.jobs.api.spec import TrialSpec
from fts.jobs.trial import orphans
from fts.jobs.trial.cause import cause_of
from fts.jobs.trial.error_text import print_error, sentence_of
from fts.jobs.trial.stacks import exit_now, tell_own_end
from fts.state.files import open_log, refuse_links, remove

JOBS = ("SLURM_JOB_ID", "PBS_JOBID")  # in the environment of what an engine of batch jobs runs
OF_PYTHON = {getattr(signal, name) for name in ("SIGPIPE", "SIGXFSZ", "SIGXFZ") if hasattr(signal, name)}  # it ignores
STEP_EVERY_S = 0.5  # between two step facts: a heartbeat, not a record
STRUCK_S = 10.0  # for a function to end whose pool has lost its workers to SIGTERM; multiprocessing's waits for ever
ORPHAN_S = 120.0  # for a step and its checkpoint after the worker has died, as long as a worker that stops waits
VERDICT_S = 0.25  # that a trial waits for the pruner after an epoch; the answer usually takes 5 ms
TELL = "report and save in the function's own process"
CHECKPOINT_SHARE = 0.02  # of training time that checkpoints may take

Run = Callable[[Any, "Commands"], Iterator[dict[str, Any]]]  # (its TrialSpec, orders) -> facts
Read = Callable[[Any], TrialSpec]  # the JSON of a "run" command -> its TrialSpec
Another = Callable[[TrialSpec], bool]  # the trial that has ended -> may its process run one more?


def main(run: Run, read: Read, another: Another | None = None) -> int:
    """The process's whole life: `run` does a trial, `read` reads its specification, `another` see serve."""
    parser = argparse.ArgumentParser(description="one trial process; started by the fts worker")
    parser.add_argument("--facts-fd", type=int)
    parser.add_argument("--template-fd", type=int, help="fork trial processes; see jobs/trial/template.py")
    given = parser.parse_args()
    if given.template_fd is None:
        return live(given.facts_fd, run, read, another)
    from fts.jobs.trial import template  # here: it is for one process of many

    return template.main(given.template_fd, lambda fd: live(fd, run, read, another))


def live(fd: int, run: Run, read: Read, another: Another | None = None) -> int:
    """Runs trials, and tells their facts on that descriptor."""
    os.environ.setdefault("MPLBACKEND", "Agg")  # a window of matplotlib would wait for somebody, or find no display
    inherit_nothing()
    orders = Commands(private_stdin(), leave)
    ordinary = Ordinary(
        {
            signal.SIGTERM: lambda *_: orders.strike(),
            signal.SIGINT: lambda *_: None,  # a terminal's signals are the worker's to interpret; what is ignored
            signal.SIGHUP: lambda *_: None,  # stays so in a program that the trial starts, what is handled does not
        }
    )
    ordinary.handle()
    os.register_at_fork(before=ordinary.before, after_in_parent=ordinary.in_parent, after_in_child=ordinary.in_child)
    tell_own_end(lambda fact: orders.tell(fact), ordinary.is_ours)
    os.set_inheritable(fd, False)
    return serve(orders, fd, run, read, another)


def leave() -> None:
    """Ends this process and what it started; the main thread may be at it, or may not get to it any more."""
    orphans.end_children()
    exit_now(protocol.STOPPED)


def private_stdin() -> int:
    """The descriptor that commands come on, moved out of the way of code that reads its stdin."""
    fd = os.dup(sys.stdin.fileno())
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, sys.stdin.fileno())
    os.close(null)
    return fd


def inherit_nothing() -> None:
    """Signals as a new login has them, whatever the worker was started with: nohup, or a shell's background.

    SIGUSR1 is ignored in a batch job: Slurm sends its warning before a time limit to every process of the job. It is
    for the agent or the worker, which asks for a checkpoint; pools and programs that the trial needs for it live on.
    """
    for number in signal.valid_signals() - OF_PYTHON:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    if any(name in os.environ for name in JOBS):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


class Ordinary:
    """Our handlers, and a process that the trial forks without them.

    It ends at SIGTERM: multiprocessing ends its workers so, and would wait for ever. A person's own handler stays.
    A signal that meets the new process while it still has our handlers would be lost, so the fork holds signals back.
    """

    def __init__(self, handlers: dict[signal.Signals, Callable[..., object]]) -> None:
        self.handlers = handlers
        self._of_thread = threading.local()

    def handle(self) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def is_ours(self, number: int) -> bool:
        """Is the signal's handler the one that we have set?"""
        return signal.getsignal(number) is self.handlers.get(signal.Signals(number))

    def before(self) -> None:
        self._of_thread.mask = signal.pthread_sigmask(signal.SIG_BLOCK, self.handlers)

    def in_parent(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._of_thread.mask)

    def in_child(self) -> None:
        for number in filter(self.is_ours, self.handlers):
            signal.signal(number, signal.SIG_DFL)
        self.in_parent()


def serve(orders: Commands, fd: int, run: Run, read: Read, another: Another | None = None) -> int:
    """Runs trials until told to stop (returns 75) or to quit (returns 0).

    `another` says after a trial whether the process may run one more: a person's code may leave anything in it, and
    processes, too. None: all of it is ours.
    """
    if another is not None:
        orphans.adopt()
        orders.leaves_struck = True
    told_to = Pipe(fd)
    told_to.begin()
    while (command := orders.next()) is not None:
        number: int | None = None
        spec: TrialSpec | None = None

        def tell(fact: dict[str, Any]) -> None:
            if fact["fact"] != "ends itself":
                orders.check_own()
            if not told_to.tell(fact | {"number": number}):  # noqa: B023  # of the trial that runs now
                orders.ask_stop()  # nobody listens any more: one more step, a checkpoint, and out

        orders.tell = tell
        try:
            spec = read(specification(command))
            number = spec.number
            refuse_linked_folder(spec)
            for fact in run(spec, orders):
                orders.leave_if_forked()
                tell(
                    fact | {"last": another is not None and not another(spec)}
                    if fact.get("fact") in ("result", "pruned")
                    else fact
                )
        except Exception as error:  # noqa: BLE001  # the outermost net: the supervisor writes it into the trial
            orders.leave_if_forked(error)
            with contextlib.suppress(OSError):  # a full disk may be the very error
                print_error(error)
            tell({"fact": "failed", "cause": cause_of(error), "message": sentence_of(error)})
        orders.training = False
        if another is not None:
            orphans.end_children()
        last = another is not None and (spec is None or not another(spec))
        if last or orders.stop_asked():
            break
    return protocol.STOPPED if orders.stop_asked() else 0


def specification(given: dict[str, Any]) -> Any:
    """A trial spec as JSON; a file that holds it is removed once it was read."""
    if "file" not in given or not set(given) <= {"file", "md5"}:
        return given
    path = Path(given["file"])
    text = path.read_text()
    if given.get("md5") not in (None, hashlib.md5(text.encode()).hexdigest()):
        raise OSError(errno.EIO, f"{path} is not what the worker wrote")
    remove(path)
    return json.loads(text)


def refuse_linked_folder(spec: TrialSpec) -> None:
    """Raises CannotWrite where a trial's files would end up outside the outputs folder, or be deleted there."""
    folder = Path(spec.folder)
    if folder.parent.parent.name == "trials":  # a dry run has a folder of its own
        for name in ("checkpoint", "model"):
            refuse_links(folder / name, folder.parents[2])


def await_verdict(spec: TrialSpec, orders: Commands, epoch: int) -> None:
    """Lets the pruner speak before the next step, which may take a second.

    The verdict follows from recorded epochs alone, and what a pruned trial tells later does not count: so the record
    is the same when nobody answers in time.
    """
    if spec.cell.pruner != "none":
        orders.await_verdict(spec.number, epoch, VERDICT_S)


class NotTheTrial(RuntimeError):
    """A process that a person's code has forked speaks for the trial."""


class PipeClosed(RuntimeError):
    """A person's code has closed what was not its own."""


class Commands:
    """What the supervisor asked for: a thread reads stdin, the trial looks between two optimizer steps.

    `leave` ends the process when the supervisor has died and its trial comes to no step; without it the trial ends.
    """

    def __init__(self, fd: int, leave: Callable[[], object] | None = None) -> None:
        self._stop = threading.Event()
        self._pruned: set[int] = set()
        self._runs: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._verdicts: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()  # None: look at the others
        self.training = False  # there is, or soon will be, something worth a checkpoint
        self.alone = False  # the supervisor died: nobody will answer
        self.struck = False  # by a signal, which has ended what the trial had started: what it makes of that is wrong
        self.cut = False  # the supervisor sends the signal, of which a handler of the person's may make an early end
        self.tell: Callable[[dict[str, Any]], None] = lambda _: None  # one fact of the trial that runs, at once
        self.pid = os.getpid()
        self.leaves_struck = False  # nothing that the trial does once it is struck counts
        self.leave = leave
        threading.Thread(target=self._read, args=(fd, leave), name="orders", daemon=True).start()

    def next(self) -> dict[str, Any] | None:
        """The next trial spec as JSON, or its {"file": path}; None when there will be none."""
        return None if self.stop_asked() else self._runs.get()

    def stop_asked(self) -> bool:
        return self._stop.is_set()

    def prune_asked(self, number: int) -> bool:
        return number in self._pruned

    def check_own(self) -> None:
        """Raises NotTheTrial in a process that a person's code has forked: files and facts are the trial's alone."""
        if (me := os.getpid()) != self.pid:
            raise NotTheTrial(f"the trial's process is {self.pid}, this is {me}, which its code has forked; {TELL}")

    def leave_if_forked(self, error: BaseException | None = None) -> None:
        """Ends a process that a person's code has forked and that has run out of it: it is no trial.

        It ends as at os._exit: what is to be done at the end of the trial's process is not its own.
        """
        if os.getpid() == self.pid:
            return
        code = 0 if error is None else 1
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        elif error is not None:
            print_error(error)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        exit_now(code & 0xFF)

    def await_verdict(self, number: int, epoch: int, timeout_s: float) -> None:
        """Returns when the supervisor has judged this epoch, asked for anything else, or said nothing for so long."""
        until = time.monotonic() + timeout_s
        while not self.stop_asked() and not self.prune_asked(number):
            try:
                judged = self._verdicts.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return
            if judged == (number, epoch):
                return

    def verdict(self, number: int, epoch: int) -> bool | None:
        """Waits until the supervisor has judged this epoch: is the trial pruned? None: the supervisor died."""
        while not self.prune_asked(number):
            if self.alone:
                return None
            if self._verdicts.get() == (number, epoch):
                return False
        return True

    def strike(self) -> None:
        """SIGTERM, which the supervisor and every engine send to all that the trial has started, too."""
        first, self.struck = not self.struck, self.struck or orphans.has_started_any()
        self.ask_stop()
        if first and self.struck and self.leaves_struck:
            threading.Thread(target=self._leave_struck, name="orders", daemon=True).start()

    def _leave_struck(self) -> None:
        time.sleep(STRUCK_S)
        _say_if_possible(f"stopped: it has not ended within {STRUCK_S:g} s of the signal to all that it had started")
        with contextlib.suppress(OSError, PipeClosed):
            self.tell({"fact": "stopped"})
        if self.leave is not None:
            self.leave()

    def ask_stop(self) -> None:
        self._stop.set()
        self._runs.put(None)
        self._verdicts.put(None)

    def _read(self, fd: int, leave: Callable[[], object] | None) -> None:
        with os.fdopen(fd, "rb", closefd=False) as stdin:
            for line in stdin:
                try:
                    self._obey(protocol.decode(line))
                except (ValueError, LookupError, TypeError) as error:
                    _say_if_possible(f"unreadable command ignored: {error!r:.200}")
        self.alone = True
        self.ask_stop()  # end of file: the supervisor died, and no orphan trains on
        if leave is None:
            return
        if self.training:  # else nothing has been trained: do not import, load and build for nobody
            time.sleep(ORPHAN_S)
            _say_if_possible(f"the worker is gone, and no step has ended for {ORPHAN_S:g} s: left")
        leave()

    def _obey(self, command: dict[str, Any]) -> None:
        if command.get("do") == "run":
            self._pruned.clear()  # what was pruned before was another trial, perhaps of the same number
            by_file: dict[str, Any] = {name: command[name] for name in ("file", "md5") if name in command}
            self._runs.put(by_file if "file" in by_file else command.get("spec") or {})
        elif command.get("do") == "prune":
            self._pruned.add(int(command["number"]))
            self._verdicts.put(None)
        elif command.get("do") == "go on":
            self._verdicts.put((int(command["number"]), int(command["epoch"])))
        elif command.get("do") == "quit":
            self._runs.put(None)
        elif command.get("do") == "stop":
            self.ask_stop()
        elif command.get("do") == "leave":
            self.cut = True
            self.ask_stop()


class Throttle:
    """When to tell a step and when to write a checkpoint, so that checkpoints stay below 2 % of training."""

    def __init__(self, every_s: float) -> None:
        self.every_s = every_s
        self._cost_s = 0.0
        self._last_checkpoint = self._last_step = time.monotonic()

    def step_due(self) -> bool:
        if time.monotonic() - self._last_step < STEP_EVERY_S:
            return False
        self._last_step = time.monotonic()
        return True

    def checkpoint_due(self, epoch_ended: bool) -> bool:
        waited = time.monotonic() - self._last_checkpoint
        affordable = waited >= self._cost_s / CHECKPOINT_SHARE
        return affordable and (epoch_ended or waited >= self.every_s)

    def timed(self, save: Any) -> dict[str, Any]:
        start = time.monotonic()
        saved: dict[str, Any] = save()
        self._last_checkpoint = time.monotonic()
        self._cost_s = self._last_checkpoint - start
        return saved


def say(line: str) -> None:
    """One line in the trial's log, in one write: what the trial has started writes there, too."""
    print(f"{time.strftime('%H:%M:%S')} {line}\n", end="", flush=True)


def _say_if_possible(line: str) -> None:
    """On a full disk the thread that hears the worker must live on."""
    with contextlib.suppress(OSError):
        say(line)


class Pipe:
    """Where facts go. Each carries a seal, as a person's code may write into any descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd, self.seal = fd, os.urandom(8).hex()
        self._is = os.fstat(fd)

    def begin(self) -> None:
        self.tell({"fact": "ready", "pid": os.getpid()})

    def tell(self, fact: dict[str, Any]) -> bool:
        """Writes one fact; False when the supervisor has gone. Raises PipeClosed."""
        data = protocol.encode(fact | {"seal": self.seal})
        try:
            if not os.path.samestat(os.fstat(self.fd), self._is):  # a file of the person's has its number now
                raise OSError(errno.EBADF, "another file")
            while data:  # a pipe may take less than the whole line
                data = data[os.write(self.fd, data) :]
        except BrokenPipeError:
            return False
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            raise PipeClosed(
                "the code has closed the descriptor on which this process tells what it does; close only what it has "
                "opened"
            ) from None
        return True


def log_to(path: Path) -> None:
    log = open_log(path, path.parent.parent)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
