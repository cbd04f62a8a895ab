"""The main loop of a trial process: reads specifications from stdin, writes facts to a pipe, until it is asked to exit.

    python -Pm fts.jobs.trial.function --facts-fd 5        (the supervisor starts it)

It opens no database. The caller's `run(spec, orders)` runs one trial and yields its facts. A stop request (a command,
SIGTERM, or end of file on stdin, which means that the supervisor died) is obeyed at the trial's next step, and ends the
process with exit code 75.
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
from fts.jobs.threads import begin
from fts.jobs.trial import orphans
from fts.jobs.trial.cause import cause_of, is_foreign
from fts.jobs.trial.error_text import print_error, sentence_of
from fts.jobs.trial.stacks import exit_now, tell_own_end
from fts.raising import quoted
from fts.state.files import naming, open_log, refuse_links, remove, sweep

JOBS = ("SLURM_JOB_ID", "PBS_JOBID")  # environment variables of batch systems
OF_PYTHON = {getattr(signal, name) for name in ("SIGPIPE", "SIGXFSZ", "SIGXFZ") if hasattr(signal, name)}  # it ignores
STEP_EVERY_S = 0.5  # between two step facts
TERMINATED_S = 10.0  # to end after SIGTERM killed the workers of the function's pool; multiprocessing waits for ever
ORPHAN_S = 120.0  # for a step and its checkpoint after the worker died, as long as a stopping worker waits
VERDICT_S = 0.25  # the longest wait for the pruner after an epoch; the answer usually takes 5 ms
TELL = "report and save in the function's own process"
CHECKPOINT_SHARE = 0.02  # of training time that checkpoints may take

Run = Callable[[Any, "Commands"], Iterator[dict[str, Any]]]  # (its TrialSpec, orders) -> facts
Read = Callable[[Any], TrialSpec]  # the JSON of a "run" command -> its TrialSpec
Another = Callable[[TrialSpec], bool]  # the trial that has ended -> may its process run another one?


def main(run: Run, read: Read, another: Another | None = None, preload: Callable[[], None] = lambda: None) -> int:
    """Parses the command line, then runs trials or serves as a template. Returns the exit code.

    `run` runs a trial, `read` reads its specification, `preload` imports into a template what its trials need; for
    `another` see serve.
    """
    parser = argparse.ArgumentParser(description="one trial process; started by the fts worker")
    parser.add_argument("--facts-fd", type=int)
    parser.add_argument("--template-fd", type=int, help="fork trial processes; see jobs/trial/template.py")
    given = parser.parse_args()
    if given.template_fd is None:
        return serve_trials(given.facts_fd, run, read, another)
    from fts.jobs.trial import template  # here: most trial processes are not a template

    return template.main(given.template_fd, lambda fd: serve_trials(fd, run, read, another), preload)


def serve_trials(fd: int, run: Run, read: Read, another: Another | None = None) -> int:
    """Sets up signals and stdin, then runs trials and writes their facts to the descriptor `fd`."""
    os.environ.setdefault("MPLBACKEND", "Agg")  # a window of matplotlib would block, or fail without a display
    reset_signals()
    orders = Commands(private_stdin(), leave)
    handlers = SignalHandlers(
        {
            signal.SIGTERM: lambda *_: orders.on_sigterm(),
            signal.SIGINT: lambda *_: None,  # the worker handles a terminal's signals. A handler and not SIG_IGN,
            signal.SIGHUP: lambda *_: None,  # because programs that the trial starts would inherit SIG_IGN
        }
    )
    handlers.handle()
    os.register_at_fork(before=handlers.before, after_in_parent=handlers.in_parent, after_in_child=handlers.in_child)
    tell_own_end(lambda fact: orders.tell(fact), handlers.is_ours)
    os.set_inheritable(fd, False)
    return serve(orders, fd, run, read, another)


def leave() -> None:
    """Ends this process and its children. Also called from other threads, while the main thread may be blocked."""
    orphans.end_children()
    exit_now(protocol.STOPPED)


def private_stdin() -> int:
    """Moves stdin to another descriptor and returns it, so that the user's code reads /dev/null instead of commands."""
    fd = os.dup(sys.stdin.fileno())
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, sys.stdin.fileno())
    os.close(null)
    return fd


def reset_signals() -> None:
    """Resets all signals to their defaults, because the worker may run under nohup or in a shell's background.

    Ignores SIGUSR1 in a batch job, where Slurm sends it to every process before a time limit. The agent or worker
    reacts by asking for a checkpoint, for which the trial may still need its pools and programs.
    """
    for number in signal.valid_signals() - OF_PYTHON:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    if any(name in os.environ for name in JOBS):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


class SignalHandlers:
    """Sets our signal handlers, and removes them again in a process that the trial forks.

    So SIGTERM ends such a process: multiprocessing ends its workers that way, and would else wait for ever. A handler
    of the user's own stays. Signals are blocked during a fork, because one that reached the new process while it still
    had our handlers would be lost.
    """

    def __init__(self, handlers: dict[signal.Signals, Callable[..., object]]) -> None:
        self.handlers = handlers
        self._of_thread = threading.local()

    def handle(self) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def is_ours(self, number: int) -> bool:
        """Is our handler still set for this signal?"""
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
    """Runs trials until a stop (returns 75) or quit command (returns 0).

    `another` returns after a trial whether the process may run one more, because the user's code may leave state and
    processes behind. None: the process runs only code of fts.
    """
    if another is not None:
        orphans.adopt()
        orders.exits_when_terminated = True
    pipe = Pipe(fd)
    pipe.begin()
    while (command := orders.next()) is not None:
        number: int | None = None
        spec: TrialSpec | None = None

        def tell(fact: dict[str, Any]) -> None:
            if fact["fact"] != "ends itself":
                orders.check_own()
            if not pipe.tell(fact | {"number": number}):  # noqa: B023  # of the trial that runs now
                orders.ask_stop()  # the supervisor is gone: one more step and a checkpoint, then exit

        orders.tell = tell
        try:
            spec = read(specification(command))
            number = spec.number
            refuse_linked_folder(spec)
            sweep_drafts(Path(spec.folder))
            for fact in run(spec, orders):
                orders.leave_if_forked()
                tell(
                    fact | {"last": another is not None and not another(spec)}
                    if fact.get("fact") in ("result", "pruned")
                    else fact
                )
        except Exception as error:  # noqa: BLE001  # the outermost handler: the supervisor records it in the trial
            orders.leave_if_forked(error)
            with contextlib.suppress(OSError):  # the error may be a full disk
                print_error(error)
            foreign = is_foreign(error)
            tell({"fact": "failed", "cause": cause_of(error), "message": sentence_of(error), "foreign": foreign})
        orders.training = False
        if another is not None:
            orphans.end_children()
            orphans.forget_servers()
        last = another is not None and (spec is None or not another(spec))
        if last or orders.stop_asked():
            break
    return protocol.STOPPED if orders.stop_asked() else 0


def specification(given: dict[str, Any]) -> Any:
    """Returns the trial specification as JSON. If it comes as a file, the file is removed after it was read."""
    if "file" not in given or not set(given) <= {"file", "md5"}:
        return given
    path = Path(given["file"])
    with naming(path):
        text = path.read_text()
    if given.get("md5") not in (None, hashlib.md5(text.encode()).hexdigest()):
        raise OSError(errno.EIO, f"{path} is not what the worker wrote")
    remove(path)
    return json.loads(text)


def refuse_linked_folder(spec: TrialSpec) -> None:
    """Raises CannotWrite if a link would make the trial write or delete files outside the outputs folder."""
    folder = Path(spec.folder)
    if folder.parent.parent.name == "trials":  # not so in a dry run
        for name in ("checkpoint", "model"):
            refuse_links(folder / name, folder.parents[2])


def sweep_drafts(folder: Path) -> None:
    """Removes what an attempt that was killed was writing; `fts.checkpoint` does the same in its own folder."""
    for one in (folder, folder / "artifacts"):
        sweep(one)


def await_verdict(spec: TrialSpec, orders: Commands, epoch: int) -> None:
    """Waits briefly for the pruner's answer before the next step, which may take a second.

    The answer depends only on recorded epochs, and later facts of a pruned trial do not count. So the record is the
    same when no answer arrives in time.
    """
    if spec.cell.pruner != "none":
        orders.await_verdict(spec.number, epoch, VERDICT_S)


class NotTheTrial(RuntimeError):
    """A process that the user's code has forked used the trial."""


class PipeClosed(RuntimeError):
    """The user's code has closed the descriptor for facts."""


class Commands:
    """Commands of the supervisor. A thread reads them from stdin; the trial checks for them between two steps.

    `leave` ends the process if the supervisor has died and the trial reaches no step. None: only the trial ends.
    """

    def __init__(self, fd: int, leave: Callable[[], object] | None = None) -> None:
        self._stop = False  # no Event: a second signal in the middle of its set() would wait for its lock for ever
        self._pruned: set[int] = set()
        self._runs: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._verdicts: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()  # None: wake the waiting code
        self.training = False  # there is, or will soon be, something to checkpoint
        self.supervisor_died = False  # no command and no answer will come
        self.terminated = False  # SIGTERM also ended the trial's children, so its results from now on are wrong
        self.leaving = False  # SIGTERM follows; a handler of the user's own may end the epoch early
        self.tell: Callable[[dict[str, Any]], None] = lambda _: None  # sends one fact of the running trial
        self.pid = os.getpid()
        self.exits_when_terminated = False  # end the process TERMINATED_S after such a SIGTERM
        self.leave = leave
        begin(threading.Thread(target=self._read, args=(fd, leave), name="orders", daemon=True))

    def next(self) -> dict[str, Any] | None:
        """Waits for the next trial specification as JSON, or its {"file": path}; None: there will be none."""
        return None if self.stop_asked() else self._runs.get()

    def stop_asked(self) -> bool:
        return self._stop

    def await_signal(self, until: float) -> None:
        """Waits for a SIGTERM that also ends the trial's children, at most until a monotonic time."""
        while not self.terminated and time.monotonic() < until:
            time.sleep(0.01)

    def prune_asked(self, number: int) -> bool:
        return number in self._pruned

    def check_own(self) -> None:
        """Raises NotTheTrial in a process that the user's code has forked: it must not write files or facts."""
        if (me := os.getpid()) != self.pid:
            raise NotTheTrial(f"the trial's process is {self.pid}, this is {me}, which its code has forked; {TELL}")

    def leave_if_forked(self, error: BaseException | None = None) -> None:
        """Ends a process that the user's code has forked and that returned from that code into ours.

        Ends it by os._exit, because exit handlers are for the trial's process only.
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
        """Waits until the supervisor has judged this epoch, requested something else, or the timeout has passed."""
        until = time.monotonic() + timeout_s
        while not self.stop_asked() and not self.prune_asked(number):
            try:
                judged = self._verdicts.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return
            if judged == (number, epoch):
                return

    def verdict(self, number: int, epoch: int) -> bool | None:
        """Waits until the supervisor has judged this epoch, and returns whether to prune. None: the supervisor died."""
        while not self.prune_asked(number):
            if self.supervisor_died:
                return None
            if self._verdicts.get() == (number, epoch):
                return False
        return True

    def on_sigterm(self) -> None:
        """Requests a stop. Supervisor and batch systems send SIGTERM also to the trial's children."""
        first, self.terminated = not self.terminated, self.terminated or orphans.has_started_any()
        self.ask_stop()
        if first and self.terminated and self.exits_when_terminated:
            threading.Thread(target=self._exit_terminated, name="orders", daemon=True).start()

    def _exit_terminated(self) -> None:
        time.sleep(TERMINATED_S)
        _say_if_possible(f"stopped: it has not ended within {TERMINATED_S:g} s of SIGTERM to it and its children")
        with contextlib.suppress(OSError, PipeClosed):
            self.tell({"fact": "stopped"})
        if self.leave is not None:
            self.leave()

    def ask_stop(self) -> None:
        self._stop = True
        self._runs.put(None)
        self._verdicts.put(None)

    def _read(self, fd: int, leave: Callable[[], object] | None) -> None:
        with os.fdopen(fd, "rb", closefd=False) as stdin:
            for line in stdin:
                try:
                    self._obey(protocol.decode(line))
                except (ValueError, LookupError, TypeError) as error:
                    _say_if_possible(f"unreadable command ignored: {quoted(error, 200)}")
        self.supervisor_died = True
        self.ask_stop()  # end of file: the supervisor died, so stop training
        if leave is None:
            return
        if self.training:  # else nothing has been trained that could be saved
            time.sleep(ORPHAN_S)
            _say_if_possible(f"the worker is gone, and no step has ended for {ORPHAN_S:g} s: left")
        leave()

    def _obey(self, command: dict[str, Any]) -> None:
        if command.get("do") == "run":
            self._pruned.clear()  # of an earlier trial, perhaps with the same number
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
            self.leaving = True
            self.ask_stop()


class Throttle:
    """Limits how often steps are sent and checkpoints are written: checkpoints take at most 2 % of training time."""

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
    """Writes one line to the trial's log, in one write, because the trial's children write there, too."""
    with naming(Path("the trial's log")):
        print(f"{time.strftime('%H:%M:%S')} {line}\n", end="", flush=True)


def _say_if_possible(line: str) -> None:
    """Writes one line to the log. Ignores a full disk, because the thread that reads commands must survive it."""
    with contextlib.suppress(OSError):
        say(line)


class Pipe:
    """The pipe for facts. Each fact has a seal, because the user's code may write to any descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd, self.seal = fd, os.urandom(8).hex()
        self._is = os.fstat(fd)

    def begin(self) -> None:
        self.tell({"fact": "ready", "pid": os.getpid()})

    def tell(self, fact: dict[str, Any]) -> bool:
        """Writes one fact. Returns False if the supervisor is gone. Raises PipeClosed."""
        data = protocol.encode(fact | {"seal": self.seal})
        try:
            if not os.path.samestat(os.fstat(self.fd), self._is):  # the user's code has reused the number
                raise OSError(errno.EBADF, "another file")
            while data:  # a pipe may take less than the whole line
                data = data[os.write(self.fd, data) :]
        except BrokenPipeError:
            return False
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            raise PipeClosed(
                "the code has closed the descriptor on which this process sends its facts; close only descriptors "
                "that the code has opened"
            ) from None
        return True


def log_to(path: Path) -> None:
    log = open_log(path, path.parent.parent)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
