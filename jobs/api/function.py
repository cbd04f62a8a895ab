"""The study of a bare function: one objective, a matrix of axes, a number of trials. Its user writes no Study class.

    fts enqueue train.py:objective --trials 100 -m size=S,M,L        # study "train", three cells

The function draws its parameters itself (define-by-run), or the cell declares a space.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from dataclasses import KW_ONLY, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fts.frozen import dataclass
from fts.jobs.api.bare_cell import OBJECTIVE, BareCell
from fts.jobs.api.names import means_jobs
from fts.jobs.api.spec import BadSpec
from fts.jobs.api.study import Metric, Program, Resources, Study
from fts.raising import quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

NO_NAME = re.compile(r"[#\d.,+-]+|[\d.+-]+e[\d+-]+|-.*")  # job 3 has the name 3, and -n is an option
OWN_NAMES = ("seed", "number", "folder", "device", "threads", "shrink")  # a function may have arguments of these names
TRIAL = "trial"  # an argument of this name gets the trial
SHRINK = "shrink"  # a value of on_oom; as a key of a recipe: how often the trial was asked to use less memory
MOST_SHRINKS = 6  # divides the micro-batch by 64
VALUE = "value"  # the metric of a function that reports bare numbers


@dataclass(frozen=True)
class FunctionCell(BareCell):
    """One cell of a function's study, frozen at enqueue."""

    objective: str  # train.py:objective, relative to `folder`
    folder: str  # current directory at enqueue; trials start there
    code_md5: str  # code_md5() of the file, and of the files that `code` names
    _: KW_ONLY
    metric: str = VALUE
    python: str | None = None  # the interpreter of the trials; None: that of the worker

    no_identity: ClassVar[tuple[str, ...]] = ("env", "python")

    @property
    def file(self) -> str:
        return self.objective.rpartition(":")[0]

    @property
    def path(self) -> Path:
        """The path of the function's file."""
        return Path(self.folder) / self.file

    @property
    def function(self) -> str:
        return self.objective.rpartition(":")[2]

    @property
    def is_baseline(self) -> bool:
        """Is this the cell of a baseline trial?"""
        return self.baseline is not None and self.baseline == self.objective

    def check(self) -> None:
        if not OBJECTIVE.fullmatch(self.objective):
            raise BadSpec(
                f"objective is {quoted(self.objective)}, expected FILE.py:FUNCTION, such as train.py:objective"
            )


class FunctionStudy(Study):
    """The Study of every cell of one bare function."""

    metrics: ClassVar[tuple[Metric, ...]] = (Metric(VALUE),)
    is_bare: ClassVar[bool] = True

    def __init__(self, name: str) -> None:
        self.name = name

    def cell(self, spec: Mapping[str, Any]) -> FunctionCell:
        return FunctionCell.from_json(spec)

    def labels(self, cell: Any) -> dict[str, str | int | float]:
        return dict(cell.axes)

    def row(self, cell: Any) -> dict[str, Any]:
        return super().row(cell) | {"trials_wanted": cell.wanted}

    def title(self, cell: Any) -> str:
        return title_of(cell.axes, cell.study)

    def program(self, cell: Any) -> Program:
        """Returns a program of which one process runs one trial, so that no trial sees what an earlier one left behind.

        With `process = "reused"` one process runs many trials, all of the same cell.
        """
        program = program_of(cell, "fts.jobs.trial.function")
        program = replace(program, forks_for=str(root_of(cell.path)), reads_history=True)
        if cell.process != "reused":
            return program
        return replace(program, reused=True, leaves_in=f"{cell.study} {cell.experiment}")

    def memory_program(self, cell: Any) -> Program:
        return program_of(cell, "fts.jobs.trial.memory")

    # -- how a trial runs

    def resources(self, cell: Any) -> Resources:
        return cell.resources  # type: ignore[no-any-return]  # a BareCell

    def can_shrink(self, cell: Any) -> bool:
        return bool(cell.on_oom == SHRINK)

    def leaner(self, cell: Any, recipe: Mapping[str, Any]) -> dict[str, Any] | None:
        """Returns the recipe with one more shrink, which the trial reads by `fts.shrink(trial)` or FTS_SHRINK."""
        times = shrinks(recipe) + 1
        return {SHRINK: times} if times <= MOST_SHRINKS else None

    def batch(self, cell: Any, recipe: Mapping[str, Any]) -> str:
        return f"1/{2 ** shrinks(recipe)}"


def title_of(axes: Mapping[str, Any], study: str) -> str:
    """Returns the name of a cell that people see and type; with its first axis if it looks like a job or option."""
    name = "/".join(str(value) for value in axes.values()) or study
    first = next(iter(axes), None)
    return f"{first}={name}" if first is not None and (NO_NAME.fullmatch(name) or means_jobs(name)) else name


def trial_argument(names: Sequence[str], fixed: Collection[str], given: Collection[str], has_space: bool) -> str | None:
    """Returns the argument that gets the trial: `trial`, else the first one, whatever its name; None: no argument.

    `fixed`: arguments that cannot be the trial, because they are keyword-only or have a default other than None.
    `given`: names that the cell gives.
    """
    if TRIAL in names:
        return TRIAL
    if has_space or not names or names[0] in given or names[0] in fixed:
        return None
    return names[0]


def shrinks(recipe: Mapping[str, Any] | None) -> int:
    """Returns how often the trial ran out of memory and was asked to use less."""
    found = (recipe or {}).get(SHRINK, 0)
    return found if isinstance(found, int) and found > 0 else 0


def program_of(cell: Any, module: str) -> Program:
    """Returns a program that runs a module of fts in the cell's interpreter, which need not have fts installed."""
    python = getattr(cell, "python", None)
    if python is None:
        return Program(("-m", module), None, cell.folder, cell.env, sync=cell.sync, data=cell.data)
    home = Path(sys.modules["fts"].__path__[0]).absolute()
    words = (str(home / "jobs" / "trial" / "other_python.py"), str(home), module)
    return Program(words, python, cell.folder, cell.env, sync=cell.sync, data=cell.data)


def root_of(path: Path) -> Path:
    """Returns the first folder of sys.path when the file is imported: the one above the file's packages."""
    folder = path.parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        folder = folder.parent
    return folder


def code_md5(code: bytes) -> str:
    """Returns the md5 of a file without its `if __name__ == "__main__":` block, which no trial runs."""
    lines = code.splitlines(keepends=True)
    for block in reversed(main_blocks(code)):
        if not block.orelse:
            del lines[block.lineno - 1 : block.end_lineno]
    return hashlib.md5(b"".join(lines)).hexdigest()


def main_blocks(code: bytes) -> list[ast.If]:
    """Returns each top-level `if __name__ == "__main__":` block; empty if the file is not valid Python."""
    if b"__main__" not in code:
        return []
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError):
        return []
    return [node for node in body if isinstance(node, ast.If) and _compares_name_with_main(node.test)]


def made_in_main_block(code: bytes, name: str) -> int | None:
    """Returns the line of a main block that gives this name a value, which a trial does not run; None: none does."""
    for block in main_blocks(code):
        for node in ast.walk(block):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name:
                return node.lineno
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
                return node.lineno
            names = node.names if isinstance(node, ast.Import | ast.ImportFrom) else []
            if any((one.asname or one.name.partition(".")[0]) == name for one in names):
                return int(node.lineno)  # type: ignore[attr-defined]  # it is an import
    return None


def only_as_main(test: ast.expr) -> bool:
    """Is the condition false when the file is imported? Also `__name__ == "__main__" and len(sys.argv) > 1`."""
    parts = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]
    return any(map(_compares_name_with_main, parts))


def _compares_name_with_main(test: ast.expr) -> bool:
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq)):
        return False
    sides = [test.left, *test.comparators]
    names = {side.id for side in sides if isinstance(side, ast.Name)}
    words = {side.value for side in sides if isinstance(side, ast.Constant)}
    return names == {"__name__"} and words == {"__main__"}
