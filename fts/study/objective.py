"""The trial process of the flagship: trains one PatchTST per specification, from its checkpoint if there is one.

    python -m fts.study.objective --facts-fd 5        (the supervisor starts it; fts.jobs.trial.process runs it)

It serves several trials one after another, because importing torch takes seconds. After a stop request it writes a
checkpoint at the next optimizer step.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.trial import process
from fts.jobs.trial.process import Commands, Throttle, await_verdict, log_to, say
from fts.study.cell import TrialSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fts.study.build import BuiltTrial

PROBED_STEPS = 2  # the first step creates the optimizer's state, the second one starts with it


def main() -> int:
    """Runs the trial process and returns its exit code."""
    return process.main(run_trial, TrialSpec.from_json)


def run_trial(
    spec: TrialSpec, orders: Commands, build: Callable[[TrialSpec], BuiltTrial] | None = None
) -> Iterator[dict[str, Any]]:
    """Yields the facts of one trial, and frees its memory afterwards.

    `build` makes the trial of the spec (default: a trial of the search, fts.study.build.build_trial).
    """
    from fts.study.build import build_trial, release_gpu  # here, not above: torch and pandas, about 3 s
    from fts.study.evidence import reset_peak

    log_to(Path(spec.log_path))
    reset_peak()
    release_gpu(spec.device)
    yield from trial_facts(spec, orders, build or build_trial)
    reset_peak()  # frees the model's pages (20 ms) while the supervisor draws the next trial
    release_gpu(spec.device)


def trial_facts(
    spec: TrialSpec, orders: Commands, build: Callable[[TrialSpec], BuiltTrial]
) -> Iterator[dict[str, Any]]:
    """Yields the facts of one trial: started, then steps, epochs and checkpoints, then its end."""
    from fts.training.results import EpochDone  # here, not above: torch

    folder = Path(spec.folder)
    trial = build(spec)
    trainer = trial.trainer
    if spec.resume and trainer.can_load(folder / "checkpoint"):
        resume(trainer, folder / "checkpoint")
    orders.training = True
    yield {"fact": "started", **trial.facts(), "resumed_step": trainer.step}
    for result in trainer.history:  # the supervisor may have died before it recorded them
        yield {"fact": "epoch", **result.to_json()}
        if spec.dry_run_rows is None:
            await_verdict(spec, orders, result.epoch)
    say(f"{spec.cell.experiment} t{spec.number} {trial.summary()}")

    pace = Throttle(spec.checkpoint_every_s)
    for taken, event in enumerate(trainer.run(), start=1):
        epoch_ended = isinstance(event, EpochDone)
        if taken == PROBED_STEPS:
            yield {"fact": "probe", **trial.probe()}
        if isinstance(event, EpochDone):
            say(epoch_line(event.result, spec.cell.steps) + (" best" if event.improved else ""))
            yield {"fact": "epoch", **event.result.to_json()}
            if event.improved and trial.keeps_best and spec.dry_run_rows is None:
                trainer.save_best(folder)  # after the fact, so that the supervisor decides on pruning meanwhile
            if not trainer.ended and spec.dry_run_rows is None:
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
            break  # no checkpoint: the result takes less time
        stopping = orders.stop_asked()
        if spec.dry_run_rows is None and (stopping or pace.checkpoint_due(epoch_ended)):
            yield {"fact": "checkpoint", **pace.timed(lambda: trainer.save(folder / "checkpoint").to_json())}
        if stopping:
            say(f"stopped at step {trainer.step}, checkpoint written")
            yield {"fact": "stopped", "step": trainer.step}
            return
    yield {"fact": "result", **trial.result(None if spec.dry_run_rows else folder)}
    say("ended")


def resume(trainer: Any, folder: Path) -> None:
    """Loads the newest valid checkpoint. Starts from the beginning if all are damaged, which gives the same numbers.

    Raises CheckpointError for a valid checkpoint of another run.
    """
    from fts.training.checkpoint import CheckpointError  # here, not above: torch

    try:
        stored = trainer.load(folder)
    except CheckpointError as nothing_sound:
        if trainer.can_load(folder):  # damaged ones have been moved aside, so this one is valid
            raise
        say(f"checkpoint: {nothing_sound}")
        return
    for warning in stored.warnings:
        say(f"checkpoint: {warning}")
    say(f"resumed at step {trainer.step} from {stored.path.name}")


def epoch_line(result: Any, epochs: int) -> str:
    """Returns the log line of an epoch: `ep 9/20 step 4120 loss .5931 auc .6803 ...`."""
    auc = "" if result.val_auc is None else f" auc {result.val_auc:.4f}"
    return (
        f"ep {result.epoch}/{epochs} step {result.step} train {result.train_loss:.4f} val {result.val_loss:.4f}{auc} "
        f"sd {result.pred_sd:.4f} lr {result.learning_rate:.1e} {result.samples_per_s:.0f} samples/s"
    )


if __name__ == "__main__":
    sys.exit(main())
