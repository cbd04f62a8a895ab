"""The training loop: a generator of steps and epochs that can stop between any two and continue bit for bit.

Every random number is a pure function of (seed, place of use): the order of an epoch of (seed, epoch), the
dropout of a micro-batch of (seed, step, micro-batch). So a resumed run draws what an uninterrupted one would have
drawn, and the position in the data is two numbers.
"""

# shapes: B windows

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from fts.training import randomness
from fts.training.checkpoint import (
    CheckpointError,
    SavedCheckpoint,
    StoredCheckpoint,
    has_checkpoint,
    read_checkpoint,
    write_checkpoint,
    write_weights,
)
from fts.training.config import RECIPE_FIELDS, TrainConfig
from fts.training.losses import logit_gradient, loss_sum, of_pairs
from fts.training.metrics import EpochScores, auc, probabilities, score
from fts.training.optimizers import make_stepper
from fts.training.progress import Progress
from fts.training.results import COLLAPSED, DIVERGED, EpochDone, EpochResult, Outcome, StepDone
from fts.training.schedule import learning_rate
from fts.training.windows import DataError, TrainingData

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

DIVERGED_FACTOR = 10  # times the class prior's loss on validation
COLLAPSED_SD = 1e-3  # standard deviation of probabilities below which all windows get nearly the same one


class Trainer:
    """Trains one model on one data set; iterate over run(), and call save() and save_best() between two events.

    model(x_BCT, dropout_seed, checkpoint_layers) must return logits [B] and draw its dropout only from dropout_seed
    (None: no dropout). The caller sets the number of threads.
    """

    def __init__(
        self, model: nn.Module, data: TrainingData, config: TrainConfig, prior_loss: float | None = None
    ) -> None:
        self.config = config
        self.model = model.to(config.device)
        self.data = data.to(config.device)
        self.prior_loss = data.prior_loss if prior_loss is None else prior_loss
        self.progress = Progress()
        self.val_predictions: NDArray[np.float32] | None = None  # probabilities of the best epoch, as val_ends
        self.stepper = make_stepper(self.model, config)
        n_train = len(data.train_ends)
        self.steps_per_epoch = math.ceil(n_train / config.effective_batch)
        self.total_steps = self.steps_per_epoch * config.max_epochs  # of the schedule; max_steps may end earlier
        self._train_logits = torch.zeros(n_train)  # of the current epoch, in its order
        self._y_val = self.data.y_T[self.data.val_ends].cpu().numpy()
        if config.objective == "val_auc" and len(np.unique(self._y_val)) < 2:
            raise DataError("validation labels are all the same: val_auc does not exist, use val_loss or other dates")

    @property
    def step(self) -> int:
        """Number of optimizer steps taken."""
        return self.progress.step

    @property
    def epoch(self) -> int:
        """The current epoch, from 1."""
        return self.progress.epoch

    @property
    def history(self) -> tuple[EpochResult, ...]:
        """Every finished epoch, also those before a resume."""
        return tuple(self.progress.history)

    @property
    def ended(self) -> bool:
        """Whether the run has ended."""
        return self.progress.reason is not None

    def run(self) -> Iterator[StepDone | EpochDone]:
        """Yields StepDone after each optimizer step and EpochDone after each epoch, until the run has ended.

        May stop between any two events; another run(), of this trainer or of one that has loaded its checkpoint,
        continues from there.
        """
        progress = self.progress
        while progress.reason is None:
            order = self._order(progress.epoch)
            while not self._epoch_complete() and progress.reason is None:
                yield self._take_step(order)
            if progress.reason is None:
                yield self._end_epoch(order)

    def outcome(self) -> Outcome:
        """Returns how the run ended (reason "running" if it has not)."""
        progress = self.progress
        badges = []
        if progress.best_epoch is not None and progress.history[progress.best_epoch - 1].pred_sd < COLLAPSED_SD:
            badges.append(COLLAPSED)
        if progress.reason == DIVERGED:
            badges.append(DIVERGED)
        return Outcome(
            progress.best_value,
            progress.best_epoch,
            self._objective(progress.history[-1]) if progress.history else None,
            len(progress.history),
            progress.reason or "running",
            tuple(badges),
            progress.trouble,
        )

    def save(self, folder: Path) -> SavedCheckpoint:
        """Writes everything that a new process needs to continue bit for bit. Raises DiskFull without any change."""
        start = time.perf_counter()
        path, md5s, size = write_checkpoint(Path(folder), self._tensors, self._state())
        return SavedCheckpoint(
            str(path), size, md5s, self.progress.step, self.progress.epoch, time.perf_counter() - start
        )

    @staticmethod
    def can_load(folder: Path) -> bool:
        """Whether there is a checkpoint; the folder may be empty if its first write was interrupted."""
        return has_checkpoint(Path(folder))

    def load(self, folder: Path, any_threads: bool = False) -> StoredCheckpoint:
        """Continues from the newest valid checkpoint in folder; its `warnings` name skipped ones.

        Raises CheckpointError if there is none, or if it belongs to another model, data set or configuration, or was
        written with another number of threads (sums then differ in the last bits; any_threads accepts that).
        """
        stored = read_checkpoint(Path(folder))
        self._refuse_foreign(stored.state, any_threads)
        self._restore(stored)
        return stored

    def save_best(self, folder: Path) -> SavedCheckpoint:
        """Writes the current weights to best.safetensors, with the model's configuration in its header.

        Call it right after an EpochDone that improved, before the next save().
        """
        start = time.perf_counter()
        path = Path(folder) / "best.safetensors"
        best = self.progress.history[-1] if self.progress.history else None
        facts = {"model": self._model_config(), "train": self.config.to_json(), "result": best and best.to_json()}
        md5 = write_weights(path, dict(self.model.named_parameters()), facts)
        seconds = time.perf_counter() - start
        epoch = best.epoch if best else 0
        return SavedCheckpoint(str(path), path.stat().st_size, {path.name: md5}, self.progress.step, epoch, seconds)

    # -- one optimizer step ------------------------------------------------------------------------------------------

    def _take_step(self, order: Tensor) -> StepDone:
        start = time.perf_counter()
        config, progress = self.config, self.progress
        first = progress.step_in_epoch * config.effective_batch
        ends_B = order[first : first + config.effective_batch]
        self.stepper.set_rate(self._rate(progress.step + 1))
        loss = self._accumulate(ends_B, progress.step + 1, self._train_logits[first : first + len(ends_B)])
        self.stepper.step()
        progress.step += 1
        progress.step_in_epoch += 1
        progress.loss_sum += loss * len(ends_B)
        if not math.isfinite(loss):
            progress.reason = DIVERGED
            progress.trouble = f"loss is {loss:.4g} {self._place()}"
        seconds = time.perf_counter() - start
        progress.train_seconds += seconds
        return StepDone(progress.step, progress.epoch, loss, seconds)

    def _accumulate(self, ends_B: Tensor, step: int, logits_B: Tensor) -> float:
        """Computes the gradient of the batch's mean loss, micro-batch by micro-batch, and returns that loss.

        Each micro-batch's sum is divided by the windows of the whole batch, so a short last one has the right weight.
        """
        if of_pairs(self.config) and len(ends_B) > self.config.micro_batch:
            return self._accumulate_pairs(ends_B, step, logits_B)
        losses = []
        for index, part_B in enumerate(ends_B.split(self.config.micro_batch)):
            x_BCT, y_B = self.data.batch(part_B)
            z_B = self._forward(x_BCT, randomness.dropout_seed(self.config.seed, step, index))
            loss = loss_sum(z_B, y_B, self.config) / len(ends_B)
            loss.backward()
            losses.append(loss.detach())
            at = index * self.config.micro_batch
            logits_B[at : at + len(part_B)] = z_B.detach()
        return math.fsum(float(loss) for loss in losses)

    def _accumulate_pairs(self, ends_B: Tensor, step: int, logits_B: Tensor) -> float:
        """Does the same for a loss of pairs: all logits first, then each micro-batch with its part of the gradient.

        Dropout is a function of the step and the micro-batch, so both passes drop the same activations.
        """
        parts = ends_B.split(self.config.micro_batch)
        seeds = [randomness.dropout_seed(self.config.seed, step, index) for index in range(len(parts))]
        with torch.no_grad():
            z_B = torch.cat([self._forward(self.data.batch(p)[0], s) for p, s in zip(parts, seeds, strict=True)])
        logits_B[:] = z_B
        loss, gradient_B = logit_gradient(z_B, self.data.y_T[ends_B], self.config)
        for part_B, seed, gradient_b in zip(parts, seeds, gradient_B.split(self.config.micro_batch), strict=True):
            self._forward(self.data.batch(part_B)[0], seed).backward(gradient_b)
        return float(loss)

    def _forward(self, x_BCT: Tensor, dropout_seed: int | None) -> Tensor:
        with torch.autocast(self.data.y_T.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            logits: Tensor = self.model(x_BCT, dropout_seed, self.config.checkpoint_layers)
            return logits.float()

    def _rate(self, step: int) -> float:
        return learning_rate(step, self.config.learning_rate, self.config.warmup_steps, self.total_steps)

    def _order(self, epoch: int) -> Tensor:
        """Returns the ends of the training windows in this epoch's order."""
        n = len(self.data.train_ends)
        shuffled = randomness.permutation(n, self.config.seed, epoch)
        return self.data.train_ends[shuffled.to(self.data.train_ends.device)]

    def _epoch_complete(self) -> bool:
        return self.progress.step_in_epoch >= self.steps_per_epoch or self.progress.step == self.config.max_steps

    # -- the end of an epoch -----------------------------------------------------------------------------------------

    def _end_epoch(self, order: Tensor) -> EpochDone:
        start = time.perf_counter()
        progress = self.progress
        logits = self.validation_logits()
        scores = score(logits, self._y_val)
        n = min(progress.step_in_epoch * self.config.effective_batch, len(order))
        result = EpochResult(
            epoch=progress.epoch,
            step=progress.step,
            train_loss=progress.loss_sum / n,
            val_loss=scores.loss,
            train_auc=auc(self._train_logits[:n].numpy(), self.data.y_T[order[:n]].cpu().numpy()),
            val_auc=scores.auc,
            val_brier=scores.brier,
            pred_min=scores.low,
            pred_max=scores.high,
            pred_sd=scores.spread,
            learning_rate=self._rate(progress.step),
            samples_per_s=n / progress.train_seconds,
            seconds=progress.train_seconds + time.perf_counter() - start,
        )
        diverged = self._has_diverged(scores)
        improved = progress.end_epoch(result, None if diverged else self._objective(result), self.config)
        if diverged:
            progress.reason = DIVERGED
            limit = f", more than {DIVERGED_FACTOR} times that of the class prior ({self.prior_loss:.3g})"
            too_much = limit if math.isfinite(scores.loss) else ""
            progress.trouble = f"validation loss is {scores.loss:.4g} {self._place(result.epoch)}{too_much}"
        if improved:
            self.val_predictions = probabilities(logits)
        return EpochDone(result, improved)

    @torch.inference_mode()
    def validation_logits(self) -> NDArray[np.float32]:
        """Returns logits of the current weights, in the order of val_ends."""
        parts = self.data.val_ends.split(self.config.micro_batch)
        logits_B = torch.cat([self._forward(self.data.batch(part_B)[0], None) for part_B in parts])
        return logits_B.cpu().numpy()

    def _has_diverged(self, scores: EpochScores) -> bool:
        if of_pairs(self.config):  # the level of its logits is arbitrary, so their cross-entropy means nothing
            return not math.isfinite(scores.loss)
        return not math.isfinite(scores.loss) or scores.loss > DIVERGED_FACTOR * self.prior_loss

    def _place(self, epoch: int | None = None) -> str:
        """Says "at epoch 2, step 31, learning rate 4.2e+02"."""
        step = self.progress.step
        return f"at epoch {epoch or self.progress.epoch}, step {step}, learning rate {self._rate(step):.1e}"

    def _objective(self, result: EpochResult) -> float | None:
        return result.val_auc if self.config.objective == "val_auc" else result.val_loss

    # -- what a checkpoint holds -------------------------------------------------------------------------------------

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self.model.named_parameters():
            yield f"model/{name}", parameter
        for name, tensor in self.stepper.state():
            yield f"optimizer/{name}", tensor
        n = min(self.progress.step_in_epoch * self.config.effective_batch, len(self._train_logits))
        yield "progress/train_logits", self._train_logits[:n]
        if self.val_predictions is not None:
            yield "progress/val_predictions", torch.from_numpy(self.val_predictions)
        for name, tensor in randomness.torch_states():
            yield f"random/{name}", tensor

    def _state(self) -> dict[str, Any]:
        return {
            "config": self.config.to_json(),
            "model": self._model_config(),
            "shapes": self._shapes(),
            "data_md5": self.data.md5,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "progress": self.progress.to_json(),
            "random": randomness.python_states(),
        }

    def _model_config(self) -> dict[str, Any] | None:
        config = getattr(self.model, "config", None)
        return None if config is None else config.fields()

    def _shapes(self) -> dict[str, list[int]]:
        return {name: list(parameter.shape) for name, parameter in self.model.named_parameters()}

    def _refuse_foreign(self, state: dict[str, Any], any_threads: bool) -> None:
        mine, theirs = self.config.to_json(), state["config"]
        different = [
            f"{name} {theirs.get(name)} there, {mine[name]} here"
            for name in mine
            if name not in RECIPE_FIELDS and theirs.get(name) != mine[name]
        ]
        if state["shapes"] != self._shapes() or state["model"] != self._model_config():
            different.append("another model")
        if state["data_md5"] != self.data.md5:
            different.append("other data")
        if different:
            raise CheckpointError(f"the checkpoint belongs to another run: {'; '.join(different)}")
        threads = torch.get_num_threads()
        if state["threads"] != threads and not any_threads and self.config.device == "cpu":
            raise CheckpointError(
                f"the checkpoint was written with {state['threads']} threads and this process uses {threads}, which "
                f"changes the last bits of every sum; call torch.set_num_threads({state['threads']}), "
                "or load with any_threads=True"
            )

    def _restore(self, stored: StoredCheckpoint) -> None:
        parameters = dict(self.model.named_parameters())
        self.val_predictions = None
        for name, tensor in stored.tensors():
            part, name = name.split("/", 1)
            if part == "model":
                with torch.no_grad():
                    parameters[name].copy_(tensor)
            elif part == "optimizer":
                self.stepper.restore(name, tensor.to(self.config.device))
            elif name == "train_logits":
                self._train_logits[: len(tensor)] = tensor
            elif name == "val_predictions":
                self.val_predictions = tensor.numpy()
            elif part == "random":
                randomness.restore_torch(name, tensor)
        randomness.restore_python(stored.state["random"])
        self.progress = Progress.from_json(stored.state["progress"])
