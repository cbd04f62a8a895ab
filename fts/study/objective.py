"""The trial process: takes trial specs on stdin, trains, and tells facts on a pipe; knows no database.

    python -m fts.study.objective --facts-fd 5        (the supervisor, jobs/supervisor/job_runner.py, starts it)

It serves several trials one after another, because importing torch costs seconds. A stop request (command, SIGTERM,
or end of file on stdin: the supervisor died) is obeyed at the next optimizer step, with a checkpoint, and ends the
process with exit code 75.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.api import protocol
from fts.jobs.trial.cause import cause_of
from fts.state.files import open_log, refuse_links
from fts.study.cell import TrialSpec

if TYPE_CHECKING:
    from fts.study.build import BuiltTrial

STEP_EVERY_S = 0.5  # between two step facts: a heartbeat, not a record
PROBED_STEPS = 2  # the first one creates the optimizer's state, the second one has it from its beginning
VERDICT_S = 0.25  # that a trial waits for the pruner after an epoch; the answer usually takes 5 ms
CHECKPOINT_SHARE = 0.02  # of training time that checkpoints may take

Run = Callable[[TrialSpec, "Orders"], Iterator[dict[str, Any]]]


def main(run: Run | None = None) -> int:
    """The process's whole life; `run` is how it does a trial (default: train one)."""
    parser = argparse.ArgumentParser(description="one trial process; started by the fts worker")
    parser.add_argument("--facts-fd", type=int, required=True)
    fd = parser.parse_args().facts_fd
    orders = Orders(sys.stdin.fileno())
    signal.signal(signal.SIGTERM, lambda *_: orders.ask_stop())
    for ignored in (signal.SIGINT, signal.SIGHUP):  # a terminal's signals are the worker's to interpret
        signal.signal(ignored, signal.SIG_IGN)
    return serve(orders, fd, run)


def serve(orders: Orders, fd: int, run: Run | None) -> int:
    """Runs trials until told to stop (returns 75) or to quit (returns 0)."""
    _tell(fd, {"fact": "ready", "pid": os.getpid()})
    while (command := orders.next()) is not None:
        number = None
        try:
            spec = TrialSpec.from_json(command)
            number = spec.number
            refuse_linked_folder(spec)
            for fact in (run or run_trial)(spec, orders):
                if not _tell(fd, fact | {"number": number}):
                    orders.ask_stop()  # nobody listens any more: one more step, a checkpoint, and out
        except Exception as error:  # noqa: BLE001  # the outermost net: the supervisor writes it into the trial
            with contextlib.suppress(OSError):  # a full disk may be the very error
                traceback.print_exc()
            _tell(fd, {"fact": "failed", "number": number, "cause": cause_of(error), "message": sentence_of(error)})
        orders.training = False
        if orders.stop_asked():
            return protocol.STOPPED
    return protocol.STOPPED if orders.stop_asked() else 0


def run_trial(
    spec: TrialSpec, orders: Orders, build: Callable[[TrialSpec], BuiltTrial] | None = None
) -> Iterator[dict[str, Any]]:
    """One trial as facts, and a process that holds nothing of it afterwards.

    `build` makes the trial of the spec (default: one of the search, fts.study.build.build_trial).
    """
    from fts.study.build import build_trial  # here, not above: torch and pandas, about 3 s
    from fts.study.evidence import reset_peak

    log_to(Path(spec.log_path))
    reset_peak()
    yield from story(spec, orders, build or build_trial)
    reset_peak()  # 20 ms to give the model's pages back, while the supervisor draws the next trial


def story(spec: TrialSpec, orders: Orders, build: Callable[[TrialSpec], BuiltTrial]) -> Iterator[dict[str, Any]]:
    """The facts of one trial: started, then steps, epochs and checkpoints, then how it ended."""
    from fts.training.results import EpochDone  # here, not above: torch

    folder = Path(spec.folder)
    trial = build(spec)
    trainer = trial.trainer
    if spec.resume and trainer.can_load(folder / "checkpoint"):
        go_on(trainer, folder / "checkpoint")
    orders.training = True
    yield {"fact": "started", **trial.facts(), "resumed_step": trainer.step}
    for result in trainer.history:  # the supervisor may have died before it wrote them
        yield {"fact": "epoch", **result.to_json()}
        await_verdict(spec, orders, result.epoch)
    say(f"{spec.cell.experiment} t{spec.number} {trial.summary()}")

    pace = Pace(spec.checkpoint_every_s)
    for taken, event in enumerate(trainer.run(), start=1):
        epoch_ended = isinstance(event, EpochDone)
        if taken == PROBED_STEPS:
            yield {"fact": "probe", **trial.probe()}
        if isinstance(event, EpochDone):
            say(epoch_line(event.result, spec.cell.epochs) + (" best" if event.improved else ""))
            yield {"fact": "epoch", **event.result.to_json()}
            if event.improved and trial.keeps_best and spec.dry_run_rows is None:
                trainer.save_best(folder)  # after the fact: the supervisor judges meanwhile
            if not trainer.ended:
                await_verdict(spec, orders, event.result.epoch)
        elif pace.step_due():
            yield {
                "fact": "step",
                "step": event.step,
                "epoch": event.epoch,
                "loss": event.loss,
                "step_s": event.seconds,
            }
        if orders.prune_asked(spec.number):
            say("pruned")
            yield {"fact": "pruned"}
            return
        if trainer.ended:
            break  # its result takes less time than a checkpoint
        stopping = orders.stop_asked()
        if spec.dry_run_rows is None and (stopping or pace.checkpoint_due(epoch_ended)):
            yield {"fact": "checkpoint", **pace.timed(lambda: trainer.save(folder / "checkpoint").to_json())}
        if stopping:
            say(f"stopped at step {trainer.step}, checkpoint written")
            yield {"fact": "stopped", "step": trainer.step}
            return
    yield {"fact": "result", **trial.result(None if spec.dry_run_rows else folder)}
    say("ended")


def refuse_linked_folder(spec: TrialSpec) -> None:
    """Raises CannotWrite where a trial's files would end up outside the outputs folder, or be deleted there."""
    folder = Path(spec.folder)
    if folder.parent.parent.name == "trials":  # a dry run has a folder of its own
        for name in ("checkpoint", "model"):
            refuse_links(folder / name, folder.parents[2])


def await_verdict(spec: TrialSpec, orders: Orders, epoch: int) -> None:
    """Lets the pruner speak before the next step, which may take a second.

    The verdict follows from recorded epochs alone, and what a pruned trial tells later does not count: so the record
    is the same when nobody answers in time.
    """
    if spec.cell.pruner != "none" and spec.dry_run_rows is None:
        orders.await_verdict(spec.number, epoch, VERDICT_S)


def go_on(trainer: Any, folder: Path) -> None:
    """From the newest sound checkpoint; anew when every one is damaged: that yields the same numbers, only later.

    Raises CheckpointError for a sound one that belongs to another run.
    """
    from fts.training.checkpoint import CheckpointError  # here, not above: torch

    try:
        stored = trainer.load(folder)
    except CheckpointError as nothing_sound:
        if trainer.can_load(folder):  # what is damaged has been put aside, so this one is sound
            raise
        say(f"checkpoint: {nothing_sound}")
        return
    for warning in stored.warnings:
        say(f"checkpoint: {warning}")
    say(f"resumed at step {trainer.step} from {stored.path.name}")


class Orders:
    """What the supervisor asked for: a thread reads stdin, the trial looks between two optimizer steps."""

    def __init__(self, fd: int) -> None:
        self._stop = threading.Event()
        self._pruned: set[int] = set()
        self._runs: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._verdicts: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()  # None: look at the others
        self.training = False  # there is, or soon will be, something worth a checkpoint
        threading.Thread(target=self._read, args=(fd,), name="orders", daemon=True).start()

    def next(self) -> dict[str, Any] | None:
        """The next trial spec as JSON; None when there will be none."""
        return None if self.stop_asked() else self._runs.get()

    def stop_asked(self) -> bool:
        return self._stop.is_set()

    def prune_asked(self, number: int) -> bool:
        return number in self._pruned

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

    def ask_stop(self) -> None:
        self._stop.set()
        self._runs.put(None)
        self._verdicts.put(None)

    def _read(self, fd: int) -> None:
        with os.fdopen(fd, "rb", closefd=False) as stdin:
            for line in stdin:
                try:
                    self._obey(protocol.decode(line))
                except ValueError as error:
                    print(f"unreadable command ignored: {error}", flush=True)
        self.ask_stop()  # end of file: the supervisor died, and no orphan trains on
        if not self.training:
            os._exit(protocol.STOPPED)  # nothing has been trained: do not import, load and build for nobody

    def _obey(self, command: dict[str, Any]) -> None:
        if command.get("do") == "run":
            self._pruned.clear()  # what was pruned before was another trial, perhaps of the same number
            self._runs.put(command.get("spec") or {})
        elif command.get("do") == "prune":
            self._pruned.add(int(command["number"]))
            self._verdicts.put(None)
        elif command.get("do") == "go on":
            self._verdicts.put((int(command["number"]), int(command["epoch"])))
        elif command.get("do") == "quit":
            self._runs.put(None)
        elif command.get("do") == "stop":
            self.ask_stop()


class Pace:
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


def epoch_line(result: Any, epochs: int) -> str:
    """`ep 9/20 step 4120 loss .5931 auc .6803 ...`: one epoch in the log."""
    auc = "" if result.val_auc is None else f" auc {result.val_auc:.4f}"
    return (
        f"ep {result.epoch}/{epochs} step {result.step} train {result.train_loss:.4f} val {result.val_loss:.4f}{auc} "
        f"sd {result.pred_sd:.4f} lr {result.learning_rate:.1e} {result.samples_per_s:.0f} samples/s"
    )


def say(line: str) -> None:
    """One line in the trial's log."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _tell(fd: int, fact: dict[str, Any]) -> bool:
    """Writes one fact; False when the supervisor has gone."""
    data = protocol.encode(fact)
    try:
        while data:  # a pipe may take less than the whole line
            data = data[os.write(fd, data) :]
    except BrokenPipeError:
        return False
    return True


def log_to(path: Path) -> None:
    log = open_log(path, path.parent.parent)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)


OURS = ("fts.",)  # packages whose errors are sentences for a person


def sentence_of(error: BaseException) -> str:
    """What to tell of an error: our own classes speak for themselves, others are named with their place."""
    lines = str(error).strip().splitlines()
    if type(error).__module__.startswith(OURS) and lines:
        return lines[0][:1000]
    where = traceback.extract_tb(error.__traceback__)[-1:]
    place = f", {Path(where[0].filename).name} line {where[0].lineno}" if where else ""
    return f"{(lines or ['no message'])[0][:900]} ({type(error).__name__}{place})"


if __name__ == "__main__":
    sys.exit(main())
