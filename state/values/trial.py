"""A trial: its row, its epochs, draws and attempts, and what a sampler gets of it."""

from __future__ import annotations

import math
from dataclasses import field
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass

if TYPE_CHECKING:
    from fts.state.values.enums import Cause, Direction, TrialStatus

HUGE = 1e100  # limit of parameters and values: their squares are still finite


def bounded(value: float) -> float:
    """Returns the value; inf with its sign beyond HUGE, which no column can hold."""
    return value if -HUGE <= value <= HUGE or math.isnan(value) else math.copysign(math.inf, value)


def in_words(value: float, digits: int = 4) -> str:
    """Formats a number for tables and sentences, with at least `digits` digits: 0.6841, 0.04271, 4.271e-5, 1.234e9."""
    size = abs(value)
    if value == 0 or 0.1 <= size < LARGE or not math.isfinite(value):
        return f"{value:.{digits}f}"
    if LITTLE <= size < 0.1:
        return f"{value:.{digits - 1 - math.floor(math.log10(size))}f}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


LITTLE, LARGE = 1e-3, 1e9  # a number between them is written without an exponent


ROLE = "role"  # fact of an extra trial outside the search; its values:
REPLICATE, BASELINE = "replicate", "baseline"  # the winner with another seed; a baseline for comparison
# badges of complete trials that cannot be the best of a search
UNRANKED = ("diverged", "infeasible", REPLICATE, BASELINE)


@dataclass(frozen=True, slots=True)  # slots: a monitor keeps ten thousand of them, at a third of the size
class Trial:
    """One trial of a job: its parameters, its course and its result."""

    id: int
    job_id: int
    number: int
    status: TrialStatus
    params: dict[str, Any]  # as suggested
    effective: dict[str, Any]  # what the trial consumed, every field
    effective_md5: str
    architecture: str  # d512-L6-h8-ff2048
    n_params: int | None  # counted
    objective: str  # the metric that the search optimizes
    direction: Direction
    value: float | None  # of that metric: the best epoch's, or the returned value
    best_epoch: int | None
    last_value: float | None
    epochs: int  # recorded so far
    val_loss: float | None  # at the best epoch
    val_auc: float | None
    auc_low: float | None  # 95 % interval
    auc_high: float | None
    n_train: int | None
    n_val: int | None
    n_pos: int | None
    prior_loss: float | None  # validation loss of the class prior
    label_md5: str | None
    base_rate: float | None
    data_md5: str | None
    code_commit: str | None
    code_dirty: bool | None
    seed: int
    torch_version: str | None
    host: str | None
    device: str | None
    threads: int | None
    micro_batch: int | None
    accumulation: int | None
    recipe: dict[str, Any] | None
    predicted_bytes: int | None
    peak_bytes: int | None
    badges: tuple[str, ...]  # collapsed, diverged, reused ...
    reused_from: int | None  # trial id
    cause: Cause | None
    message: str | None
    log_path: str | None
    started_at: float
    ended_at: float | None
    train_seconds: float  # sum of epoch seconds; without any, the time of its processes once they have ended
    pid: int | None = None  # the current or last trial process
    pid_started: float | None = None  # tells that process from a later one with the same pid
    facts: dict[str, Any] = field(default_factory=dict)  # facts without a column
    unreadable: str | None = None

    @property
    def metric(self) -> str:
        return self.objective

    @property
    def is_ranked(self) -> bool:
        """Whether it may be the best of its search once it is complete."""
        return not any(badge in UNRANKED for badge in self.badges)


@dataclass(frozen=True)
class Epoch:
    """What a trial reported at one step."""

    trial_id: int
    epoch: int  # from 1; for a function the reported step, from 0
    step: int
    train_loss: float
    val_loss: float
    train_auc: float | None
    val_auc: float | None
    val_brier: float | None
    pred_min: float
    pred_max: float
    pred_sd: float
    learning_rate: float
    samples_per_s: float
    seconds: float
    at: float
    value: float | None = None  # of the optimized metric; None: not reported, or nan
    metrics: dict[str, float] = field(default_factory=dict)  # metrics without a column
    unreadable: str | None = None

    def number(self, name: str) -> float | None:
        """Returns the metric that was reported with that name; None if it was not, or is nan."""
        found = self.metrics.get(name)
        if found is None and name in EPOCH_NUMBERS:
            found = getattr(self, name)
        return None if found is None or math.isnan(found) else float(found)


EPOCH_NUMBERS = frozenset((  # metrics with a column: those of the study of daily bars
    "train_loss", "val_loss", "train_auc", "val_auc", "val_brier", "pred_min", "pred_max", "pred_sd",
    "learning_rate", "samples_per_s", "seconds",
))  # fmt: skip


@dataclass(frozen=True)
class Draw:
    """One value that a trial drew."""

    trial_id: int
    k: int  # its place in the order of the trial's draws, from 0
    name: str
    value: Any
    distribution: dict[str, Any]


@dataclass(frozen=True)
class Attempt:
    """One process that worked on a trial."""

    trial_id: int
    n: int  # from 1
    token: int  # of its claim
    host: str | None
    pid: int | None
    began_at: float
    ended_at: float | None
    how: str | None  # how it ended: a status of the trial or a cause; None: it has not ended


@dataclass(frozen=True)
class Curve:
    """What a sampler or pruner gets of a trial."""

    number: int
    params: dict[str, Any]
    status: str
    value: float | None
    epochs: dict[int, float]  # epoch -> value, where it is finite
    diverged: bool = False
    distributions: dict[str, Any] = field(default_factory=dict)  # parameter -> distribution, of its own draws
    metrics: dict[str, float] = field(default_factory=dict)  # name -> result, in a search with several goals
    constraints: dict[str, float] = field(default_factory=dict)  # name -> violation; at most 0 if met
    kept: dict[str, Any] = field(default_factory=dict)  # what its sampler keeps for later trials
    attributes: dict[str, Any] = field(default_factory=dict)  # attributes that the trial set


@dataclass(frozen=True)
class RunningChild:
    """A recorded trial process, which a starting worker must end if it is still alive."""

    job_id: int
    trial_id: int
    number: int
    worker_id: int | None
    pid: int
    pid_started: float
