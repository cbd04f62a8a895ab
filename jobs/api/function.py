"""The study of a bare function: one objective, a matrix of axes, a number of trials; nothing else needs to be written.

    fts enqueue train.py:objective --trials 100 -m size=S,M,L        # study "train", three cells

The function draws its parameters itself (define-by-run), or the cell declares a space.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fts.jobs.api.halving import HALVING, Halving
from fts.jobs.api.spec import NAME, BadSpec, checked_fields, md5_of
from fts.jobs.api.study import MAXIMIZE, MINIMIZE, Metric, Program, Study

if TYPE_CHECKING:
    from collections.abc import Mapping

OBJECTIVE = re.compile(r"[^:\0]{1,3000}\.py:[A-Za-z_][A-Za-z0-9_]{0,199}")  # train.py:objective, src/train.py:objective
LIKE_A_NUMBER = re.compile(r"[#\d.,+-]+|[\d.+-]+e[\d+-]+")  # a cell called 3 would be taken for job 3
LIMITS = {"trials": (1, 100_000), "seed": (0, 2**63 - 1), "steps": (1, 10**9)}
CHOICES = {
    "kind": ("cell",),
    "direction": (MINIMIZE, MAXIMIZE),
    "sampler": ("tpe", "gp", "random"),
    "pruner": ("none", "median", "halving"),
    "diverged": ("ignored", "worst"),
}
VALUE = "value"  # the metric of a function that reports bare numbers
NO_QUESTION = ("experiment", "trials", "python", "env")  # fields that do not decide the numbers of a trial


@dataclass(frozen=True)
class FunctionCell:
    """One cell of a study of a function, frozen at enqueue."""

    study: str
    experiment: str  # train_mnist_S: names its files
    objective: str  # train.py:objective, relative to `folder`
    folder: str  # where the person stood: the trial starts there
    code_md5: str  # of the file, as code_md5() has it
    trials: int
    axes: dict[str, str | int | float] = field(default_factory=dict)  # reach the function by name
    kind: str = "cell"
    metric: str = VALUE
    direction: str = MINIMIZE
    seed: int = 0
    sampler: str = "tpe"
    pruner: str = "median"  # ends a trial only where the function asks trial.should_prune()
    halving: Halving | None = None
    diverged: str = "worst"
    space: dict[str, dict[str, Any]] | None = None  # parameter -> distribution; None: the function draws
    warm_start: tuple[dict[str, Any], ...] = ()
    steps: int | None = None
    python: str | None = None  # the interpreter of the trials; None: that of the worker
    env: dict[str, str] = field(default_factory=dict)

    @property
    def halving_rule(self) -> Halving:
        return self.halving or HALVING

    @property
    def identity(self) -> str:
        return md5_of({name: value for name, value in self.to_json().items() if name not in ("python", "env")})

    @property
    def question(self) -> str:
        return md5_of({name: value for name, value in self.to_json().items() if name not in NO_QUESTION})

    @property
    def path(self) -> Path:
        """The file of the function."""
        return Path(self.folder) / self.objective.rpartition(":")[0]

    @property
    def function(self) -> str:
        return self.objective.rpartition(":")[2]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> FunctionCell:
        """Raises BadSpec with the field's name."""
        rule = data.get("halving") if isinstance(data, dict) else None
        given = {name: value for name, value in data.items() if name != "halving"} if rule is not None else data
        checked = checked_fields(cls, given, LIMITS, CHOICES)
        if rule is not None:
            checked["halving"] = Halving.from_json(rule)
        if "warm_start" in checked:
            checked["warm_start"] = tuple(checked["warm_start"])
        cell = cls(**checked)
        for name in ("study", "experiment", "metric"):
            if not NAME.fullmatch(getattr(cell, name)):
                raise BadSpec(f"{name} is {getattr(cell, name)!r}, expected letters, digits and _.- (at most 80)")
        if not OBJECTIVE.fullmatch(cell.objective):
            raise BadSpec(f"objective is {cell.objective!r:.80}, expected FILE.py:FUNCTION, such as train.py:objective")
        return cell


class FunctionStudy(Study):
    """Answers the runner for every cell of one bare function."""

    metrics: ClassVar[tuple[Metric, ...]] = (Metric(VALUE),)

    def __init__(self, name: str) -> None:
        self.name = name

    def cell(self, spec: Mapping[str, Any]) -> FunctionCell:
        return FunctionCell.from_json(spec)

    def labels(self, cell: Any) -> dict[str, str | int | float]:
        return dict(cell.axes)

    def title(self, cell: Any) -> str:
        name = "/".join(str(value) for value in cell.axes.values()) or cell.study
        first = next(iter(cell.axes), None)
        return f"{first}={name}" if first is not None and LIKE_A_NUMBER.fullmatch(name) else name

    def program(self, cell: Any) -> Program:
        """A process of its own for each trial: whatever the function leaves behind reaches no other trial."""
        words: tuple[str, ...] = ("-m", "fts.jobs.trial.process")
        if cell.python is not None:  # which need not have fts installed
            home = Path(sys.modules["fts"].__path__[0]).absolute()
            words = (str(home / "jobs" / "trial" / "elsewhere.py"), str(home))
        return Program(words, cell.python, cell.folder, cell.env)


def code_md5(code: bytes) -> str:
    """The md5 of a file without `if __name__ == "__main__":`, which no trial runs: it decides no number."""
    lines = code.splitlines(keepends=True)
    for block in reversed(main_blocks(code)):
        if not block.orelse:
            del lines[block.lineno - 1 : block.end_lineno]
    return hashlib.md5(b"".join(lines)).hexdigest()


def main_blocks(code: bytes) -> list[ast.If]:
    """Each `if __name__ == "__main__":` at the top of a file; none in what is no Python."""
    if b"__main__" not in code:
        return []
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError):
        return []
    return [node for node in body if isinstance(node, ast.If) and _asks_for_main(node.test)]


def _asks_for_main(test: ast.expr) -> bool:
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq)):
        return False
    sides = [test.left, *test.comparators]
    names = {side.id for side in sides if isinstance(side, ast.Name)}
    words = {side.value for side in sides if isinstance(side, ast.Constant)}
    return names == {"__name__"} and words == {"__main__"}
