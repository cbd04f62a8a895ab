"""What a cell and a trial are, as frozen values that survive JSON, and what a trial will really consume.

A spec that arrives as JSON (a database row, a line on stdin) is checked field by field: unknown fields, wrong types,
names with odd characters and numbers out of range are refused with the field's name.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from fts.jobs.api.halving import BEFORE_FREEZING, BadHalving, Halving

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
MD5 = re.compile(r"[0-9a-f]{32}")
CV = re.compile(r"walk-forward:([2-9]|1\d|20)")


class BadSpec(ValueError):
    """A field of a spec is missing, unknown, of the wrong type or out of range."""


class UnusedParameter(ValueError):
    """The search suggested a parameter that the trial would not consume (lesson 3)."""


# field -> (low, high) for numbers, both ends included
LIMITS: dict[str, tuple[float, float]] = {
    "horizon": (1, 250),
    "trials": (1, 100_000),
    "epochs": (1, 10_000),
    "patience": (0, 10_000),
    "min_delta": (0.0, 1.0),
    "effective_batch": (1, 1_000_000),
    "context": (2, 10_000),
    "patch": (1, 10_000),
    "stride": (1, 10_000),
    "focal_gamma": (0.0, 10.0),
    "grad_clip": (0.0, 1e6),
    "seed": (0, 2**63 - 1),
    "min_positives": (1, 1_000_000),
    "number": (0, 1_000_000),
    "threads": (1, 1024),
    "checkpoint_every_s": (0.0, 86_400.0),
    "max_steps": (1, 10**9),
    "dry_run_rows": (1, 1_000_000),
    "memory_limit": (1, 2**50),
}

CHOICES: dict[str, tuple[str, ...]] = {
    "kind": ("cell", "baseline", "train", "replicate"),
    "loss": ("bce", "focal"),
    "objective": ("val_loss", "val_auc"),
    "sampler": ("tpe", "gp", "random"),
    "pruner": ("none", "median", "halving"),
    "norm": ("revin", "none"),
    "precision": ("auto", "fp32", "bf16"),
    "diverged": ("ignored", "worst"),
}


NO_QUESTION = ("code_commit", "code_dirty", "diverged")  # fields of a cell that do not make it another one


@dataclass(frozen=True)
class CellSpec:
    """One cell of the matrix, frozen at enqueue: everything its trials need to know but their own parameters."""

    experiment: str  # phase6a_2M_h1_threshold_1pct
    budget: str  # tiny | 2M | 20M | 200M | 2B
    horizon: int  # trading days
    task: str  # threshold_1pct
    tier: str  # a20 | a25 | c
    dataset: str  # SPX.dataset.a25
    data_md5: str  # of the processed file
    trials: int
    epochs: int  # at most; early stopping usually ends before
    space: dict[str, dict[str, Any]]  # parameter -> distribution, as data (fts.study.space)
    kind: str = "cell"
    seed: int = 0  # study seed
    sampler: str = "tpe"
    pruner: str = "none"
    halving: Halving | None = None  # the numbers of the halving pruner; None with other pruners and in older specs
    diverged: str = "ignored"  # what a sampler learns from a trial that diverged; worst: a bad region (newer specs)
    objective: str = "val_loss"
    loss: str = "bce"
    focal_gamma: float = 2.0
    pos_weight: bool = False  # weight positives by (1 - base rate) / base rate
    patience: int = 10  # epochs without an improvement of min_delta
    min_delta: float = 0.001
    effective_batch: int = 256  # windows in one optimizer step = micro-batch x accumulation
    grad_clip: float = 1.0
    context: int = 80  # days a window sees
    patch: int = 10  # with stride 5 the grids have the published counts
    stride: int = 5
    norm: str = "revin"
    channel_independent: bool = False
    precision: str = "auto"  # of the matrix products; auto: what the memory plan chooses on this machine
    min_positives: int = 30  # fewer positives in validation are refused (lesson 1)
    max_steps: int | None = None  # stop a trial after so many optimizer steps
    split: dict[str, Any] = field(default_factory=dict)  # empty: the default of fts.data.splits
    cv: str | None = (
        None  # walk-forward:5 judges every trial on 5 folds before the test part; None: one validation part
    )
    warm_start: tuple[dict[str, Any], ...] = ()  # parameters of neighbours' best trials, tried first
    origin: dict[str, Any] = field(default_factory=dict)  # of a train or replicate: the trial it repeats (Origin)
    code_commit: str | None = None
    code_dirty: bool | None = None

    @property
    def folds(self) -> int:
        """How many folds a trial is judged on; 1 without cross-validation."""
        return int(self.cv.split(":")[1]) if self.cv else 1

    @property
    def identity(self) -> str:
        """md5 of what makes two cells the same question; the code commit is not part of it.

        Nor is what the sampler learns from diverged trials: the same cell of an older specification asks the same.
        A rule of halving counts unless it is the one that older specs mean: the same cell before and after is one.
        """
        return _md5(self._content(NO_QUESTION))

    @property
    def question(self) -> str:
        """md5 of what decides the numbers of each trial: two jobs of one question can only repeat each other.

        Neither its name nor the number of trials counts: trial 3 of a search of six is trial 3 of one of four. The
        number of epochs does count: the learning rate falls to zero over all epochs, so it changes every trial.
        """
        return _md5(self._content((*NO_QUESTION, "experiment", "trials")))

    @property
    def cold_question(self) -> str:
        """The question without the trials that were borrowed from neighbours, which change as the neighbours do."""
        return _md5(self._content((*NO_QUESTION, "experiment", "trials", "warm_start")))

    def _content(self, without: tuple[str, ...]) -> dict[str, Any]:
        content = {name: value for name, value in asdict(self).items() if name not in without}
        if self.halving in (None, BEFORE_FREEZING):
            del content["halving"]
        return content

    @property
    def halving_rule(self) -> Halving:
        """What `should_prune` goes by; a spec older than the field means the rule that was in the code then."""
        return self.halving or BEFORE_FREEZING

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> CellSpec:
        rule = data.get("halving") if isinstance(data, dict) else None
        checked = _checked_fields(cls, data if rule is None else {k: v for k, v in data.items() if k != "halving"})
        if rule is not None:
            checked["halving"] = _halving(rule, checked.get("pruner", "none"))
        if "warm_start" in checked:
            checked["warm_start"] = tuple(checked["warm_start"])
        spec = cls(**checked)
        for name in ("experiment", "budget", "task", "tier", "dataset"):
            if not NAME.fullmatch(getattr(spec, name)):
                raise BadSpec(f"{name} is {getattr(spec, name)!r}, expected letters, digits and _.- (at most 80)")
        if spec.cv is not None and not CV.fullmatch(spec.cv):
            raise BadSpec(f"cv is {spec.cv!r}, expected walk-forward:N with 2 to 20 folds, such as walk-forward:5")
        if not MD5.fullmatch(spec.data_md5):
            raise BadSpec(f"data_md5 is {spec.data_md5!r}, expected 32 hexadecimal digits")
        return spec


@dataclass(frozen=True)
class TrialSpec:
    """One trial, as the supervisor hands it to the trial process."""

    cell: CellSpec
    number: int
    params: dict[str, Any]
    seed: int  # of weights, order and dropout
    threads: int
    device: str  # cpu | cuda | cuda:1 | mps
    data_root: str
    folder: str  # checkpoint, best weights and predictions live here
    log_path: str
    recipe: dict[str, Any] | None = None  # None: the memory plan chooses (fts.training.memory)
    memory_limit: int | None = None  # bytes the plan may use
    resume: bool = False
    checkpoint_every_s: float = 60.0
    dry_run_rows: int | None = None  # one step on so many windows, nothing written
    opened_by: str | None = None  # who opened the test set for this cell, and when; None: it is sealed

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> TrialSpec:
        if not isinstance(data, dict):
            raise BadSpec(f"a trial spec is {type(data).__name__}, expected a JSON object")
        checked = _checked_fields(cls, {k: v for k, v in data.items() if k != "cell"}, skip=("cell",))
        return cls(cell=CellSpec.from_json(data.get("cell")), **checked)


def effective_config(cell: CellSpec, params: dict[str, Any]) -> dict[str, Any]:
    """Everything that decides the result of a trial but its seed; raises UnusedParameter for a leftover suggestion.

    Two trials of equal effective configuration are the same experiment (lesson 31). The recipe (micro-batch, threads)
    is left out: it changes the last digits of a result, not its meaning, and is stored beside it.
    """
    left = dict(params)
    if cell.kind == "baseline":
        return {name: str(left[name]) for name in ("model", "inputs")} | _fixed(cell, BASELINE_FIELDS)
    try:
        consumed = {
            "architecture": str(left.pop("architecture")),
            "learning_rate": float(left.pop("learning_rate")),
            "weight_decay": float(left.pop("weight_decay")),
            "warmup_steps": int(left.pop("warmup_steps")),
            "dropout": float(left.pop("dropout")),
        }
    except KeyError as missing:
        raise BadSpec(
            f"the suggestion has no {missing}; the space must offer every parameter a trial consumes"
        ) from None
    if left:
        raise UnusedParameter(f"nothing in a trial consumes {', '.join(sorted(left))}; remove it from the space")
    return consumed | _fixed(cell, TRIAL_FIELDS)


BASELINE_FIELDS = ("data_md5", "tier", "task", "horizon", "context", "split", "cv")
TRIAL_FIELDS = (
    *BASELINE_FIELDS, "epochs", "max_steps", "objective", "loss", "focal_gamma", "pos_weight", "patience", "min_delta",
    "effective_batch", "grad_clip", "patch", "stride", "norm", "channel_independent", "precision",
)  # fmt: skip


def _halving(rule: Any, pruner: str) -> Halving:
    if pruner != "halving":
        raise BadSpec(f"halving has a rule, but pruner is {pruner}; give the rule with pruner halving, or none")
    try:
        return Halving.from_json(rule)
    except BadHalving as error:
        raise BadSpec(str(error)) from None


def _fixed(cell: CellSpec, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(cell, name) for name in names}


def config_md5(effective: dict[str, Any]) -> str:
    return _md5(effective)


def seed_for(study_seed: int, number: int, purpose: str) -> int:
    """A 63-bit seed from (study seed, trial number, purpose): the same on every machine and after every resume."""
    text = f"{study_seed}/{number}/{purpose}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def trial_folder(outputs: Path, experiment: str, job_id: int, number: int) -> Path:
    return outputs / "trials" / f"{job_id:05d}_{experiment}" / f"trial_{number:04d}"


def _md5(content: Any) -> str:
    return hashlib.md5(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _checked_fields(cls: type, data: Any, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise BadSpec(f"a {cls.__name__} is {type(data).__name__}, expected a JSON object")
    known = {f.name: f for f in fields(cls) if f.name not in skip}
    if unknown := sorted(set(data) - set(known)):
        raise BadSpec(f"{cls.__name__} has unknown fields {', '.join(map(str, unknown))[:200]}")
    checked = {name: _checked(name, str(known[name].type), value) for name, value in data.items()}
    try:
        cls(**checked) if not skip else None
    except TypeError as error:
        raise BadSpec(f"{cls.__name__}: {error}") from None
    return checked


_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "dict": (dict,),
    "tuple": (list, tuple),
}


def _checked(name: str, annotation: str, value: Any) -> Any:
    if value is None and annotation.endswith("| None"):
        return None
    wanted = _TYPES[annotation.split("[")[0].split(" ")[0]]
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        raise BadSpec(f"{name} is {value!r:.80}, expected {annotation}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = LIMITS.get(name, (-math.inf, math.inf))
        if not low <= value <= high:  # NaN fails this too
            raise BadSpec(f"{name} is {value}, expected {low:g} to {high:g}")
    if name in CHOICES and value not in CHOICES[name]:
        raise BadSpec(f"{name} is {value!r:.80}, expected one of {', '.join(CHOICES[name])}")
    if isinstance(value, str) and len(value) > 4096:
        raise BadSpec(f"{name} has {len(value)} characters, expected at most 4096")
    return value
