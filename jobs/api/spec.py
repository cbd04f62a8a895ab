"""The parts of every specification: checked fields, names, md5 identities, seeds; and TrialSpec, the order of a trial.

A specification that arrives as JSON (a database row, a line on stdin) is checked field by field. Unknown fields, wrong
types, names with unusual characters and numbers out of range are refused with the field's name.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.raising import quoted

if TYPE_CHECKING:
    from pathlib import Path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
MD5 = re.compile(r"[0-9a-f]{32}")

Limits = Mapping[str, tuple[float, float]]  # field -> (low, high) for numbers, both ends included
Choices = Mapping[str, tuple[str, ...]]


class BadSpec(ValueError):
    """A field of a specification is missing, unknown, of the wrong type or out of range."""


class UnusedParameter(ValueError):
    """The search suggested a parameter that the trial would not use (lesson 3)."""


TRIAL_LIMITS: Limits = {
    "number": (0, 1_000_000),
    "seed": (0, 2**63 - 1),
    "threads": (1, 1024),
    "checkpoint_every_s": (0.0, 86_400.0),
    "memory_limit": (1, 2**50),
}


@dataclass(frozen=True)
class TrialSpec:
    """The order to run one trial, which the supervisor sends to the trial process."""

    cell: Any  # a Cell
    number: int
    params: dict[str, Any]  # empty if the trial process draws them
    seed: int  # determines everything random in the trial
    threads: int
    device: str  # cpu | cuda | cuda:1 | mps
    data_root: str
    folder: str  # of its checkpoints and predictions
    log_path: str
    recipe: dict[str, Any] | None = None  # settings that lower its memory; None: without a plan
    memory_limit: int | None = None  # bytes that the plan may use
    resume: bool = False  # continue from a checkpoint if there is one
    checkpoint_every_s: float = 60.0
    draws: tuple[dict[str, Any], ...] = ()  # define-by-run: the parameters it drew before it was interrupted
    history: tuple[dict[str, Any], ...] = ()  # define-by-run: the trials recorded when it began
    known: dict[str, Any] | None = None  # {"history", "trials"}: the process already has the rest under this name

    def to_json(self) -> dict[str, Any]:
        """Returns the fields without copying them: a copy of a history of thousands of trials takes seconds."""
        return {one.name: getattr(self, one.name) for one in fields(self)} | {"cell": self.cell.to_json()}

    @classmethod
    def from_json(cls, data: Any, read_cell: Callable[[Any], Any]) -> TrialSpec:
        """Reads a trial from JSON. Raises BadSpec with the field's name."""
        if not isinstance(data, dict):
            raise BadSpec(f"a trial specification is {type(data).__name__}, expected a JSON object")
        given = {name: value for name, value in data.items() if name != "cell"}
        checked = checked_fields(cls, given, TRIAL_LIMITS, skip=("cell",))
        for name in ("draws", "history"):
            if name in checked:
                checked[name] = tuple(checked[name])
        return cls(cell=read_cell(data.get("cell")), **checked)


def config_md5(effective: Mapping[str, Any]) -> str:
    return md5_of(effective)


def md5_of(content: Any) -> str:
    """Returns the md5 of the content as JSON with sorted keys."""
    import hashlib  # here and below, not above: 3.5 MB for OpenSSL, which a monitor that only reads never needs

    return hashlib.md5(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def seed_for(study_seed: int, number: int, purpose: str) -> int:
    """Derives a 63-bit seed, the same on every machine and after every resume."""
    import hashlib

    text = f"{study_seed}/{number}/{purpose}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def trial_folder(outputs: Path, experiment: str, job_id: int, number: int) -> Path:
    return outputs / "trials" / f"{job_id:05d}_{experiment}" / f"trial_{number:04d}"


def checked_fields(
    cls: type, data: Any, limits: Limits, choices: Choices | None = None, skip: Sequence[str] = ()
) -> dict[str, Any]:
    """Returns the fields of a dataclass from JSON. Raises BadSpec for an unknown or missing field or a bad value."""
    if not isinstance(data, dict):
        raise BadSpec(f"a {cls.__name__} is {type(data).__name__}, expected a JSON object")
    known = {f.name: f for f in fields(cls) if f.name not in skip}
    if unknown := sorted(set(data) - set(known)):
        raise BadSpec(f"{cls.__name__} has unknown fields {', '.join(map(str, unknown))[:200]}")
    types = {name: _annotation(known[name].type) for name in data}
    checked = {name: _checked(name, types[name], value, limits, choices or {}) for name, value in data.items()}
    try:
        cls(**checked) if not skip else None
    except TypeError as error:
        raise BadSpec(f"{cls.__name__}: {error}") from None
    return checked


def _annotation(given: Any) -> str:
    """Returns a field's type as text, also for modules that do not import annotations from __future__."""
    return given if isinstance(given, str) else given.__name__ if isinstance(given, type) else str(given)


_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "dict": (dict,),
    "tuple": (list, tuple),
}


def _checked(name: str, annotation: str, value: Any, limits: Limits, choices: Choices) -> Any:
    if value is None and annotation.endswith("| None"):
        return None
    wanted = _TYPES[annotation.split("[")[0].split(" ")[0]]
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        raise BadSpec(f"{name} is {quoted(value)}, expected {annotation}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = limits.get(name, (-math.inf, math.inf))
        if not low <= value <= high:  # NaN fails this too
            raise BadSpec(f"{name} is {value}, expected {low:g} to {high:g}")
    if name in choices and value not in choices[name]:
        raise BadSpec(f"{name} is {quoted(value)}, expected one of {', '.join(choices[name])}")
    if isinstance(value, str) and len(value) > 4096:
        raise BadSpec(f"{name} has {len(value)} characters, expected at most 4096")
    return value
