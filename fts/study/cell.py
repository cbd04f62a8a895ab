"""Cells and trials of the flagship as frozen dataclasses, and the effective configuration of a trial.

A spec that arrives as JSON (a database row, a line on stdin) is checked field by field: unknown fields, wrong types,
names with odd characters and numbers out of range are refused with the field's name.
"""

from __future__ import annotations

import re
from dataclasses import asdict, field, replace
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api import spec
from fts.jobs.api.halving import BEFORE_FREEZING, BadHalving, Halving
from fts.jobs.api.lag import MOST_PARALLEL, PARALLEL
from fts.jobs.api.spec import (
    MD5,
    NAME,
    BadSpec,
    UnusedParameter,
    checked_fields,
    md5_of,
)
from fts.model.architecture import NORMS

if TYPE_CHECKING:
    from collections.abc import Callable

TRAINS = ("cell", "train", "replicate", "walk")  # kinds of jobs whose trials train a PatchTST model
DRY_RUN_ROWS = (1, 1_000_000)
CV = re.compile(r"walk-forward:([2-9]|1\d|20)")
FOLDS = re.compile(r"([1-9]|1\d|20)of([2-9]|1\d|20)")  # such as 4of6: the last 4 of 6 equal folds
WALKED = "walk-forward:"  # prefix of the `cv` of jobs that are evaluated on these folds


# field -> (low, high) for numbers, both ends included
LIMITS: dict[str, tuple[float, float]] = {
    "horizon": (1, 250),
    "trials": (1, 100_000),
    "epochs": (1, 10_000),
    "patience": (0, 10_000),
    "min_delta": (0.0, 1.0),
    "effective_batch": (1, 1_000_000),
    "context": (2, 10_000),
    "longest": (2, 10_000),
    "patch": (1, 10_000),
    "stride": (1, 10_000),
    "focal_gamma": (0.0, 10.0),
    "grad_clip": (0.0, 1e6),
    "seed": (0, 2**63 - 1),
    "min_positives": (1, 1_000_000),
    "max_steps": (1, 10**9),
    PARALLEL: (1, MOST_PARALLEL),
    "winner_seeds": (1, 1000),
}

CHOICES: dict[str, tuple[str, ...]] = {
    "kind": ("cell", "baseline", "train", "replicate", "walk"),
    "loss": ("bce", "focal", "softauc"),
    "objective": ("val_loss", "val_auc"),
    "sampler": ("tpe", "gp", "random"),
    "pruner": ("none", "median", "halving"),
    "norm": NORMS,
    "precision": ("auto", "fp32", "bf16"),
    "diverged": ("ignored", "worst"),
}


NO_QUESTION = (  # fields that do not make it another cell
    "code_commit", "code_dirty", "diverged", "winner_seeds", "winner_folds",
)  # fmt: skip


@dataclass(frozen=True)
class CellSpec:
    """One cell of the matrix, frozen at enqueue: everything its trials need except their own parameters."""

    experiment: str  # phase6a_2M_h1_threshold_1pct
    budget: str  # tiny | 2M | 20M | 200M | 2B
    horizon: int  # trading days
    task: str  # threshold_1pct
    tier: str  # a20 | a25 | c | r20 | a39
    dataset: str  # SPX.dataset.a25
    data_md5: str  # of the processed file
    trials: int
    epochs: int  # maximum; early stopping usually ends a trial sooner
    space: dict[str, dict[str, Any]]  # parameter -> distribution (fts.study.space)
    kind: str = "cell"
    seed: int = 0  # study seed
    sampler: str = "tpe"
    pruner: str = "none"
    halving: Halving | None = None  # the numbers of the halving pruner; None with other pruners and in older specs
    diverged: str = "ignored"  # how a sampler treats a diverged trial; worst: as a bad region (newer specs)
    objective: str = "val_loss"
    loss: str = "bce"
    focal_gamma: float = 2.0
    pos_weight: bool = False  # weight positives by (1 - base rate) / base rate
    patience: int = 10  # number of epochs without an improvement of min_delta
    min_delta: float = 0.001
    effective_batch: int = 256  # number of windows per optimizer step = micro-batch x accumulation
    grad_clip: float = 1.0
    context: int = 80  # number of days in a window
    patch: int = 10  # with stride 5 the grids have the published counts
    stride: int = 5
    longest: int | None = None  # a window must have this many days before its end, in all parts; None: `context`
    norm: str = "revin"
    channel_independent: bool = False
    precision: str = "auto"  # of the matrix products; auto: chosen by the memory plan on this machine
    min_positives: int = 30  # a cell with fewer positives in validation is refused (lesson 1)
    max_steps: int | None = None  # end a trial after this many optimizer steps
    split: dict[str, Any] = field(default_factory=dict)  # empty: the default of fts.data.splits
    cv: str | None = None  # walk-forward:5 evaluates every trial on 5 folds before the test part; None: on one part
    warm_start: tuple[dict[str, Any], ...] = ()  # parameters of the best trials of neighbouring cells, tried first
    origin: dict[str, Any] = field(default_factory=dict)  # for kinds train and replicate: the trial to repeat (Origin)
    parallel: int = 1  # trials at once: trial n knows trials 0..n-parallel (jobs/api/lag.py)
    winner_seeds: int = 1  # seeds of the winner: after the search a job with the other seeds is enqueued
    winner_folds: str | None = None  # 4of6: the winner is also trained again for each of the last 4 of 6 folds
    code_commit: str | None = None
    code_dirty: bool | None = None

    @property
    def metric(self) -> str:
        return self.objective

    @property
    def direction(self) -> str:
        return "maximize" if self.objective == "val_auc" else "minimize"

    @property
    def steps(self) -> int:
        """Returns the number of reports of a trial: its epochs, or in a walk its folds."""
        return self.folds if self.kind == "walk" else self.epochs

    @property
    def span(self) -> int:
        """Returns the days before the end of a window that lie inside its part; cells of one span use the same days."""
        return self.longest or self.context

    @property
    def folds(self) -> int:
        """Returns the number of folds a trial is evaluated on; 1 without cross-validation."""
        return self.evaluated_folds[0] if self.cv else 1

    @property
    def evaluated_folds(self) -> tuple[int, int]:
        """Returns (4, 6) for walk-forward:4of6, (5, 5) for walk-forward:5."""
        return evaluated_folds(str(self.cv))

    @property
    def is_walked(self) -> bool:
        """Whether its score is the mean over folds that each have their own model (fts.scores.folds)."""
        return self.cv is not None and "of" in self.cv.removeprefix(WALKED)

    @property
    def identity(self) -> str:
        """md5 of what makes two cells equal; without the code commit.

        How the sampler treats diverged trials is also left out: the same cell of an older specification is equal.
        A halving rule counts unless it is the rule that older specs imply, so that a cell keeps its identity.
        """
        return md5_of(self._content(NO_QUESTION))

    @property
    def question(self) -> str:
        """md5 of what decides the numbers of each trial: two jobs of one question can only repeat each other.

        Neither its name nor the number of trials counts: trial 3 of a search of six is trial 3 of one of four. The
        number of epochs does count: the learning rate falls to zero over all epochs, so it changes every trial.
        """
        return md5_of(self._content((*NO_QUESTION, "experiment", "trials")))

    @property
    def cold_question(self) -> str:
        """The question without the trials from neighbouring cells, which change when those cells do."""
        return md5_of(self._content((*NO_QUESTION, "experiment", "trials", "warm_start")))

    def _content(self, without: tuple[str, ...]) -> dict[str, Any]:
        content = {name: value for name, value in self.to_json().items() if name not in without}
        if self.halving in (None, BEFORE_FREEZING):
            del content["halving"]
        return content

    @property
    def halving_rule(self) -> Halving:
        """Returns the rule for `should_prune`; a spec older than the field means the rule that was in the code then."""
        return self.halving or BEFORE_FREEZING

    def to_json(self) -> dict[str, Any]:
        every = asdict(self)
        if self.parallel == 1:  # keeps the md5 of specifications from before this field
            del every[PARALLEL]
        if self.longest is None:  # likewise
            del every["longest"]
        if self.winner_seeds == 1:  # likewise
            del every["winner_seeds"]
        if self.winner_folds is None:  # likewise
            del every["winner_folds"]
        return every

    @classmethod
    def from_json(cls, data: Any) -> CellSpec:
        rule = data.get("halving") if isinstance(data, dict) else None
        given = data if rule is None else {k: v for k, v in data.items() if k != "halving"}
        checked = checked_fields(cls, given, LIMITS, CHOICES)
        if rule is not None:
            checked["halving"] = _halving(rule, checked.get("pruner", "none"))
        if "warm_start" in checked:
            checked["warm_start"] = tuple(checked["warm_start"])
        made = cls(**checked)
        for name in ("experiment", "budget", "task", "tier", "dataset"):
            if not NAME.fullmatch(getattr(made, name)):
                raise BadSpec(f"{name} is {getattr(made, name)!r}, expected letters, digits and _.- (at most 80)")
        if made.longest is not None and made.longest < made.context:
            raise BadSpec(f"longest is {made.longest} days, expected at least the {made.context} days of a window")
        if made.loss == "softauc" and made.objective != "val_auc":
            raise BadSpec(f"objective is {made.objective}, but loss softauc has no probabilities; expected val_auc")
        if made.loss == "softauc" and made.pos_weight:
            raise BadSpec("pos_weight is given, but each pair of loss softauc has one rise; leave it out")
        folds = made.cv.removeprefix(WALKED) if made.kind == "walk" and made.cv else made.winner_folds
        if folds is not None and not _are_folds(folds):
            raise BadSpec(f"folds is {folds!r}, expected KofN, the last K of N stretches of days, such as 4of6")
        if made.cv is not None and not CV.fullmatch(made.cv) and not _is_walk(made):
            raise BadSpec(f"cv is {made.cv!r}, expected walk-forward:N with 2 to 20 folds, such as walk-forward:5")
        if not MD5.fullmatch(made.data_md5):
            raise BadSpec(f"data_md5 is {made.data_md5!r}, expected 32 hexadecimal digits")
        return made


@dataclass(frozen=True)
class TrialSpec(spec.TrialSpec):
    """One trial of the flagship, with the fields that only its trial process reads."""

    cell: CellSpec
    dry_run_rows: int | None = None  # one step on this many windows, without writing
    opened_by: str | None = None  # who opened the test set for this cell, and when; None: it is sealed

    @classmethod
    def from_json(cls, data: Any, read_cell: Callable[[Any], Any] | None = None) -> TrialSpec:
        trial = super().from_json(data, read_cell or CellSpec.from_json)
        assert isinstance(trial, cls)
        low, high = DRY_RUN_ROWS
        if trial.dry_run_rows is not None and not low <= trial.dry_run_rows <= high:
            raise BadSpec(f"dry_run_rows is {trial.dry_run_rows}, expected {low:g} to {high:g}")
        return trial


WINDOW = ("context", "norm")  # fields of a cell that a search may draw per trial


def settled(cell: CellSpec, params: dict[str, Any]) -> CellSpec:
    """Returns the cell with the window and norm that this trial drew, on the same days."""
    drawn = {name: params[name] for name in WINDOW if name in params}
    return replace(cell, longest=cell.span, **drawn) if drawn else cell


def as_trained(spec: TrialSpec) -> TrialSpec:
    """Returns the spec with its cell as this trial sees it. Raises UnusedParameter for an unused parameter."""
    effective_config(spec.cell, spec.params)
    return replace(spec, cell=settled(spec.cell, spec.params))


def effective_config(cell: CellSpec, params: dict[str, Any]) -> dict[str, Any]:
    """Returns everything except the seed that decides the result of a trial. Raises UnusedParameter.

    Two trials of equal effective configuration are the same experiment (lesson 31). The recipe (micro-batch, threads)
    is left out: it changes the last digits of a result, not its meaning, and is stored separately.
    """
    left = dict(params)
    if cell.kind == "baseline":
        named = {name: str(left[name]) for name in ("model", "inputs", "version") if name in left}
        return named | _fixed(cell, BASELINE_FIELDS)
    try:
        consumed = {
            "architecture": str(left.pop("architecture")),
            "learning_rate": float(left.pop("learning_rate")),
            "weight_decay": float(left.pop("weight_decay")),
            "warmup_steps": int(left.pop("warmup_steps")),
            "dropout": float(left.pop("dropout")),
        }
        drawn = {name: left.pop(name) for name in WINDOW if name in left}
    except KeyError as missing:
        raise BadSpec(
            f"the suggestion has no {missing}; the space must offer every parameter a trial consumes"
        ) from None
    if left:
        raise UnusedParameter(f"nothing in a trial consumes {', '.join(sorted(left))}; remove it from the space")
    return consumed | _fixed(settled(cell, drawn), TRIAL_FIELDS)


BASELINE_FIELDS = ("data_md5", "tier", "task", "horizon", "context", "split", "cv")
TRIAL_FIELDS = (
    *BASELINE_FIELDS, "epochs", "max_steps", "objective", "loss", "focal_gamma", "pos_weight", "patience", "min_delta",
    "effective_batch", "grad_clip", "patch", "stride", "norm", "channel_independent", "precision",
)  # fmt: skip


def evaluated_folds(cv: str) -> tuple[int, int]:
    """Returns (4, 6) for walk-forward:4of6, (5, 5) for walk-forward:5."""
    judged, _, of = cv.split(":")[1].partition("of")
    return int(judged), int(of or judged)


def _is_walk(cell: CellSpec) -> bool:
    return cell.kind in ("walk", "baseline") and _are_folds(str(cell.cv).removeprefix(WALKED))


def _are_folds(text: str) -> bool:
    found = FOLDS.fullmatch(text)
    return found is not None and int(found[1]) <= int(found[2])


def _halving(rule: Any, pruner: str) -> Halving:
    if pruner != "halving":
        raise BadSpec(f"halving has a rule, but pruner is {pruner}; give the rule with pruner halving, or none")
    try:
        return Halving.from_json(rule)
    except BadHalving as error:
        raise BadSpec(str(error)) from None


def _fixed(cell: CellSpec, names: tuple[str, ...]) -> dict[str, Any]:
    """Returns the fields that decide a result, and the span of days if it differs from the window."""
    days = {} if cell.span == cell.context else {"longest": cell.span}
    return {name: getattr(cell, name) for name in names} | days
