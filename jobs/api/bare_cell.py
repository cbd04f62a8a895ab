"""The cell of a study without a Study class: base of the cells of functions (function.py) and commands (command.py)."""

from __future__ import annotations

import json
import re
from dataclasses import KW_ONLY, MISSING, asdict, field, fields, is_dataclass
from functools import cache
from typing import Any, ClassVar, Self

from fts.frozen import dataclass
from fts.jobs.api.conditions import WHEN, check_conditions
from fts.jobs.api.goals import check_goals
from fts.jobs.api.grid import check_grid
from fts.jobs.api.halving import HALVING, PERCENTILE, Halving
from fts.jobs.api.lag import MOST_PARALLEL, PARALLEL
from fts.jobs.api.spec import NAME, BadSpec, Choices, Limits, checked_fields, md5_of
from fts.jobs.api.study import IDLE, LEARN, MAXIMIZE, MINIMIZE, Resources
from fts.raising import quoted

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
# Fields of how a trial runs. They do not change its results, so they are no part of the question
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
MORE = ("experiment", "trials", "seeds", "baseline", "code")  # names, counts and additions to a search
SOURCES = ("csv", "tensorboard", "results")  # files that a command's metrics are read from
AIMS = ("forbid", "goals", "goal_names", "constraints", "prune_by", "percentile")
# Left out of the JSON while they have their default, so that older specifications keep their md5
LATER = (*RUNNING, PARALLEL, "seeds", "baseline", "code", *AIMS, *SOURCES)

STREAMS = "streams"
BY_TRIAL, BY_NAME = "trial", "name"  # one random stream for all parameters of a trial; one for each parameter

NEWER_SAMPLERS, NEWER_FIELDS = ("nsgaii", "cmaes", "grid"), ("forbid", "goals", "constraints")


@dataclass(frozen=True)
class BareCell:
    """One cell, frozen at enqueue. Fields without a comment are those of fts.jobs.api.study.Cell."""

    study: str
    experiment: str  # train_mnist_S: prefix of its file names
    _: KW_ONLY
    trials: int
    metric: str
    direction: str = MINIMIZE
    axes: dict[str, str | int | float] = field(default_factory=dict)
    kind: str = "cell"
    seed: int = 0
    sampler: str = "tpe"
    pruner: str = "median"
    percentile: float = PERCENTILE  # of the percentile pruner: this many of 100 trials continue
    halving: Halving | None = None
    diverged: str = "worst"
    space: dict[str, dict[str, Any]] | None = None  # parameter -> distribution; its key "when" is an expression
    warm_start: tuple[dict[str, Any], ...] = ()
    steps: int | None = None
    env: dict[str, str] = field(default_factory=dict)
    # -- the search
    forbid: dict[str, str] = field(default_factory=dict)  # name -> expression; a trial that satisfies it is drawn again
    goals: dict[str, str] = field(default_factory=dict)  # metric -> direction, main one first; empty: `metric` alone
    goal_names: tuple[str, ...] = ()  # order of the goals if there are more than two, because JSON sorts the keys
    constraints: dict[str, str] = field(default_factory=dict)  # metric -> "<= 2e6"
    prune_by: str | None = None  # with several goals: the metric that the pruner reads
    seeds: int = 1  # the best trial is repeated until it has run with this many seeds
    baseline: str | None = None  # FILE.py:FUNCTION, run as one trial in addition to the search
    code: tuple[str, ...] = ()  # files and folders that code_md5 covers in addition to the file itself
    parallel: int = 1  # trials at once: trial n knows trials 0..n-parallel (jobs/api/lag.py)
    streams: str = BY_NAME  # how draws are seeded; an older specification without the field means BY_TRIAL
    # -- how a trial runs
    memory: str | None = None  # learn, or FILE.py:FUNCTION, which returns bytes for (params, cell)
    memory_bytes: int | None = None  # declared memory of a trial
    on_oom: str = "alone"  # run again with the whole machine; or shrink, fail, prune
    stall: str = IDLE  # a trial is stuck when its processor is idle; learn: after an unusually long time without report
    stall_s: float | None = None  # a trial is stuck after this time without a report
    trial_timeout_s: float | None = None
    timeout_s: float | None = None  # of the whole cell
    gpu: int = 0
    threads: int | None = None  # None: a share of the machine's threads
    process: str = "fresh"  # reused: one process runs one trial after another and keeps what the function leaves in it
    sync: tuple[str, ...] = ()  # files and folders that are sent to a node in addition to its file
    data: tuple[str, ...] = ()  # data sets that are sent to a node, of any size; the node caches them by md5

    limits: ClassVar[Limits] = LIMITS
    no_identity: ClassVar[tuple[str, ...]] = ("env",)

    def __post_init__(self) -> None:
        if len(self.goals) > 2 and not self.goal_names:
            others = (name for name in self.goals if name != self.metric)
            object.__setattr__(self, "goal_names", (self.metric, *others))

    @property
    def wanted(self) -> int:
        """The number of all trials: those of the search, the repetitions of the best one, and the baseline."""
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
        """The fields that do not change a trial's results."""
        return (*self.no_identity, *MORE, *RUNNING, STREAMS)

    def to_json(self) -> dict[str, Any]:
        kind: Any = type(self)
        every = {name: _copied(getattr(self, name)) for name in defaults_of(kind)}
        if self.space is None or self.streams == BY_TRIAL:
            del every[STREAMS]
        return {name: value for name, value in every.items() if name not in LATER or value != default_of(self, name)}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Reads a cell from JSON. Raises BadSpec with the field's name."""
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
                raise BadSpec(f"{name} is {getattr(cell, name)!r}, expected a-z, A-Z, 0-9 and _.- (at most 80)")
        cell.check_memory()
        if cell.stall == LEARN and cell.stall_s is not None:
            raise BadSpec(f"stall is {LEARN}, and stall_s says {cell.stall_s:g} s; give one of them")
        if cell.baseline is not None and not OBJECTIVE.fullmatch(cell.baseline):
            raise BadSpec(f"baseline is {quoted(cell.baseline)}, expected FILE.py:FUNCTION, such as train.py:baseline")
        check_goals(cell)
        check_conditions(cell)
        check_grid(cell)
        cell.check()
        return cell

    @property
    def resources(self) -> Resources:
        """The limits of each trial."""
        memory = self.memory_bytes if self.memory_bytes is not None else self.memory or LEARN
        limits = (self.stall_s, self.trial_timeout_s, self.timeout_s, self.gpu, self.threads)
        return Resources(memory, self.on_oom, *limits, learns_stall=self.stall == LEARN)

    def check_memory(self) -> None:
        """Raises BadSpec if memory is declared twice, or by a function whose parameters are not known in advance."""
        if self.memory in (None, LEARN):
            return
        if self.memory_bytes is not None:
            raise BadSpec(f"memory is {self.memory!r} and {self.memory_bytes} bytes, expected one of the two")
        if not OBJECTIVE.fullmatch(self.memory or ""):
            raise BadSpec(f"memory is {quoted(self.memory)}, expected {LEARN}, a size such as 8GB, or FILE.py:FUNCTION")
        if self.space is None:
            raise BadSpec(
                f"memory is {self.memory}, a function of parameters that are known only once the trial has drawn "
                f"them; declare the space, or take {LEARN} or a size such as 8GB"
            )

    @property
    def file(self) -> str | None:
        """The file that code_md5 covers, relative to the cell's folder; None: a command without a file."""
        return None

    def check_encoding(self) -> None:
        """Raises BadSpec if a name or text, such as that of its folder, is not UTF-8: the database holds no other."""
        try:
            json.dumps(self.to_json(), ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            text = error.object[: error.end].rpartition('"')[2] + error.object[error.end :].partition('"')[0]
            raise BadSpec(f"{quoted(text, 120)} is not UTF-8: no database can hold it; rename it") from None

    def check(self) -> None:
        """Raises BadSpec for fields that contradict each other."""


def _is_newer(given: dict[str, Any]) -> bool:
    """Does a specification without `streams` use a feature that is not older than that field?"""
    branches = any(isinstance(d, dict) and WHEN in d for d in given["space"].values())
    return branches or given.get("sampler") in NEWER_SAMPLERS or any(given.get(name) for name in NEWER_FIELDS)


def default_of(cell: BareCell, name: str) -> Any:
    """Returns the default of a field; None if it has no default, or if this kind of cell has no such field."""
    kind: Any = type(cell)
    return defaults_of(kind).get(name)


@cache
def defaults_of(kind: type[Any]) -> dict[str, Any]:
    """Returns the default of each field, in order; None if it has none."""
    found = {one.name: one.default if one.default_factory is MISSING else one.default_factory() for one in fields(kind)}
    return {name: None if default is MISSING else default for name, default in found.items()}


def _copied(value: Any) -> Any:
    """Copies a field's value as dataclasses.asdict does, in a third of the time."""
    if isinstance(value, dict):
        return {name: _copied(one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return type(value)([_copied(one) for one in value])
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
