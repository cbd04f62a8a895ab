"""What every cell without a written study has: what runs is a function (function.py) or a command (command.py)."""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, MISSING, asdict, field, fields
from typing import Any, ClassVar, Self

from fts.frozen import dataclass
from fts.jobs.api.conditions import WHEN, check_conditions
from fts.jobs.api.goals import check_goals
from fts.jobs.api.grid import check_grid
from fts.jobs.api.halving import HALVING, PERCENTILE, Halving
from fts.jobs.api.lag import MOST_PARALLEL, PARALLEL
from fts.jobs.api.spec import NAME, BadSpec, Choices, Limits, checked_fields, md5_of
from fts.jobs.api.study import IDLE, LEARN, MAXIMIZE, MINIMIZE, Resources

DAY_S = 86_400.0
OBJECTIVE = re.compile(r"[^:\0]{1,3000}\.py:[A-Za-z_][A-Za-z0-9_]{0,199}")  # train.py:objective, src/train.py:objective
LIMITS: Limits = {
    "trials": (1, 100_000),
    "seed": (0, 2**63 - 1),
    "steps": (1, 10**9),
    "memory_bytes": (1, 2**50),
    "stall_s": (1.0, 365 * DAY_S),
    "trial_timeout_s": (1.0, 365 * DAY_S),
    "timeout_s": (1.0, 3650 * DAY_S),
    "gpu": (0, 1024),
    "threads": (1, 1024),
    "seeds": (1, 1000),
    "percentile": (0.0, 100.0),
    PARALLEL: (1, MOST_PARALLEL),
}
CHOICES: Choices = {
    "kind": ("cell",),
    "direction": (MINIMIZE, MAXIMIZE),
    "sampler": ("tpe", "gp", "random", "nsgaii", "cmaes", "grid"),
    "streams": ("trial", "name"),
    "pruner": ("none", "median", "percentile", "halving"),
    "diverged": ("ignored", "worst"),
    "on_oom": ("alone", "shrink", "fail", "prune"),
    "stall": (IDLE, LEARN),
    "process": ("fresh", "reused"),
}
# How a trial runs, not what it computes: no part of the question
RUNNING = (
    "memory",
    "memory_bytes",
    "on_oom",
    "stall",
    "stall_s",
    "trial_timeout_s",
    "timeout_s",
    "gpu",
    "threads",
    "process",
    "sync",
    "data",
)
MORE = ("experiment", "trials", "seeds", "baseline", "code")  # names, amounts and what is added to a search
# Left out of a specification while they have their default: it keeps the md5 it had before they existed
SOURCES = ("csv", "tensorboard", "results")  # of a command's metrics
AIMS = ("forbid", "goals", "goal_names", "constraints", "prune_by", "percentile")
LATER = (*RUNNING, PARALLEL, "seeds", "baseline", "code", *AIMS, *SOURCES)

STREAMS = "streams"
BY_TRIAL, BY_NAME = "trial", "name"  # all parameters of a trial in one go; each parameter alone

NEWER_SAMPLERS, NEWER_FIELDS = ("nsgaii", "cmaes", "grid"), ("forbid", "goals", "constraints")


@dataclass(frozen=True)
class BareCell:
    """One cell, frozen at enqueue."""

    study: str
    experiment: str  # train_mnist_S: names its files
    _: KW_ONLY
    trials: int
    metric: str
    direction: str = MINIMIZE
    axes: dict[str, str | int | float] = field(default_factory=dict)
    kind: str = "cell"
    seed: int = 0
    sampler: str = "tpe"
    pruner: str = "median"
    percentile: float = PERCENTILE  # of the percentile pruner: so many of 100 trials go on
    halving: Halving | None = None
    diverged: str = "worst"
    space: dict[str, dict[str, Any]] | None = None  # parameter -> distribution, with "when" an expression
    warm_start: tuple[dict[str, Any], ...] = ()
    steps: int | None = None
    env: dict[str, str] = field(default_factory=dict)
    # -- the search
    forbid: dict[str, str] = field(default_factory=dict)  # name -> expression: where it holds, a trial is drawn again
    goals: dict[str, str] = field(default_factory=dict)  # metric -> goal, the first decides; empty: `metric` alone
    goal_names: tuple[str, ...] = ()  # the order of more than two goals: JSON sorts names
    constraints: dict[str, str] = field(default_factory=dict)  # metric -> "<= 2e6"
    prune_by: str | None = None  # with several goals: the metric that decides
    seeds: int = 1  # the winner runs with so many seeds
    baseline: str | None = None  # FILE.py:FUNCTION, one trial beside the search
    code: tuple[str, ...] = ()  # files and folders beside the file itself that code_md5 is of
    parallel: int = 1  # trials at once: trial n knows trials 0..n-parallel (jobs/api/lag.py)
    streams: str = BY_NAME  # what a draw is seeded by; a specification without the field keeps BY_TRIAL
    # -- how a trial runs
    memory: str | None = None  # learn, or FILE.py:FUNCTION that gives bytes of (params, cell)
    memory_bytes: int | None = None  # a promise
    on_oom: str = "alone"  # once more with the whole machine; shrink, fail, prune
    stall: str = IDLE  # when its processor is; or learn: longer without a report than usual
    stall_s: float | None = None  # without a report
    trial_timeout_s: float | None = None
    timeout_s: float | None = None  # of the whole cell
    gpu: int = 0
    threads: int | None = None  # None: a share of the machine's
    process: str = "fresh"  # reused: one process runs trial after trial, with whatever the function leaves in it
    sync: tuple[str, ...] = ()  # files and folders beside its file that are sent to a node
    data: tuple[str, ...] = ()  # likewise, however large: a node keeps them by md5

    limits: ClassVar[Limits] = LIMITS
    no_identity: ClassVar[tuple[str, ...]] = ("env",)

    def __post_init__(self) -> None:
        if len(self.goals) > 2 and not self.goal_names:
            others = (name for name in self.goals if name != self.metric)
            object.__setattr__(self, "goal_names", (self.metric, *others))

    @property
    def wanted(self) -> int:
        """All trials of the cell: those of the search and those beside it."""
        return self.trials + self.seeds - 1 + (self.baseline is not None)

    @property
    def halving_rule(self) -> Halving:
        return self.halving or HALVING

    @property
    def identity(self) -> str:
        left_out = (*self.no_identity, STREAMS)
        return md5_of({name: value for name, value in self.to_json().items() if name not in left_out})

    @property
    def question(self) -> str:
        return md5_of({name: value for name, value in self.to_json().items() if name not in self.no_question})

    @property
    def no_question(self) -> tuple[str, ...]:
        """The fields that decide no number of a trial."""
        return (*self.no_identity, *MORE, *RUNNING, STREAMS)

    def to_json(self) -> dict[str, Any]:
        every = asdict(self)
        if self.space is None or self.streams == BY_TRIAL:
            del every[STREAMS]
        return {name: value for name, value in every.items() if name not in LATER or value != default_of(self, name)}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Raises BadSpec with the field's name."""
        rule = data.get("halving") if isinstance(data, dict) else None
        given = {name: value for name, value in data.items() if name != "halving"} if rule is not None else data
        checked = checked_fields(cls, given, cls.limits, CHOICES)
        if rule is not None:
            checked["halving"] = Halving.from_json(rule)
        checked = {name: tuple(value) if isinstance(value, list) else value for name, value in checked.items()}
        if checked.get("space") is not None:
            checked.setdefault(STREAMS, BY_NAME if _is_newer(checked) else BY_TRIAL)
        cell = cls(**checked)
        for name in ("study", "experiment", "metric"):
            if not NAME.fullmatch(getattr(cell, name)):
                raise BadSpec(f"{name} is {getattr(cell, name)!r}, expected letters, digits and _.- (at most 80)")
        cell.check_memory()
        if cell.stall == LEARN and cell.stall_s is not None:
            raise BadSpec(f"stall is {LEARN}, and stall_s says {cell.stall_s:g} s; give one of them")
        if cell.baseline is not None and not OBJECTIVE.fullmatch(cell.baseline):
            raise BadSpec(f"baseline is {cell.baseline!r:.80}, expected FILE.py:FUNCTION, such as train.py:baseline")
        check_goals(cell)
        check_conditions(cell)
        check_grid(cell)
        cell.check()
        return cell

    @property
    def resources(self) -> Resources:
        """What each of its trials may take."""
        memory = self.memory_bytes if self.memory_bytes is not None else self.memory or LEARN
        limits = (self.stall_s, self.trial_timeout_s, self.timeout_s, self.gpu, self.threads)
        return Resources(memory, self.on_oom, *limits, learns_stall=self.stall == LEARN)

    def check_memory(self) -> None:
        """Raises BadSpec for memory that is said twice, or by a function of parameters that nobody knows yet."""
        if self.memory in (None, LEARN):
            return
        if self.memory_bytes is not None:
            raise BadSpec(f"memory is {self.memory!r} and {self.memory_bytes} bytes, expected one of the two")
        if not OBJECTIVE.fullmatch(self.memory or ""):
            raise BadSpec(f"memory is {self.memory!r:.80}, expected {LEARN}, a size such as 8GB, or FILE.py:FUNCTION")
        if self.space is None:
            raise BadSpec(
                f"memory is {self.memory}, a function of parameters that are known only once the trial has drawn "
                f"them; declare the space, or take {LEARN} or a size such as 8GB"
            )

    @property
    def file(self) -> str | None:
        """What code_md5 is of, relative to where the person stood; None: it names no file."""
        return None

    def check(self) -> None:
        """Raises BadSpec for fields that do not go together."""


def _is_newer(given: dict[str, Any]) -> bool:
    """Does a specification without `streams` have what came with them or after them?"""
    branches = any(isinstance(d, dict) and WHEN in d for d in given["space"].values())
    return branches or given.get("sampler") in NEWER_SAMPLERS or any(given.get(name) for name in NEWER_FIELDS)


def default_of(cell: BareCell, name: str) -> Any:
    """Of a field; None where it has none, or where such a cell has no such field."""
    given = next((one for one in fields(cell) if one.name == name), None)
    if given is None:
        return None
    default = given.default if given.default_factory is MISSING else given.default_factory()
    return None if default is MISSING else default
