"""Tests a cell before it may enter the queue: one optimizer step on 64 windows, in a real trial process.

200M and 2B are too large to test on every machine: their architectures are built on the meta device, where a model has
shapes but no bytes, and their memory is calculated.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fts.jobs.api.spec import seed_for
from fts.jobs.python import python
from fts.jobs.settings import Places, best_device
from fts.jobs.status import formatting
from fts.jobs.supervisor.child import ChildError, TrialProcess
from fts.state.values import Direction
from fts.study import baseline_jobs
from fts.study.cell import CellSpec, TrialSpec
from fts.study.study import program_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fts.jobs.api.study import Program

ROWS = 64  # windows in the step
STEP_BUDGETS = ("tiny", "2M", "20M")  # budgets small enough to run a real step
PATIENCE_S = 180.0  # for one step of 20M on a slow machine, including the import of torch


@dataclass(frozen=True)
class DryRunResult:
    """What the dry run of one cell found."""

    cell: CellSpec
    problem: str | None  # why it may not enter the queue; None: it may
    found: str  # what was tested, as a sentence


def check_cells(places: Places, cells: Iterable[CellSpec]) -> Iterator[DryRunResult]:
    """Yields one result per cell. One process serves all cells of a kind, because importing torch takes seconds."""
    with tempfile.TemporaryDirectory(prefix="fts-dry-run-") as folder, contextlib.ExitStack() as stack:
        tried: dict[tuple[str, ...], _TrialProcess] = {}
        noted: set[str | None] = {None}
        for cell in cells:
            program = program_of(cell.kind, cell.cv)
            if cell.kind != "baseline" and cell.budget not in STEP_BUDGETS:
                checked = check_on_paper(cell)
            else:
                if program.words not in tried:
                    process = _TrialProcess(places, Path(folder), program)
                    tried[program.words] = stack.enter_context(contextlib.closing(process))
                checked = tried[program.words].check(cell)
            for note in () if checked.problem else notes_of(places, cell):
                if note not in noted:  # once per matrix
                    noted.add(note)
                    checked = replace(checked, found=f"{checked.found}; {note}")
            yield checked


def notes_of(places: Places, cell: CellSpec) -> Iterator[str | None]:
    """Yields notes on a cell that may enter the queue."""
    from fts.study.dataset import data_note  # here, not above: pandas

    yield data_note(places.data, cell.data_md5, cell.tier)
    if cell.kind == "cell":
        yield long_warm_up(places, cell)


def long_warm_up(places: Places, cell: CellSpec) -> str | None:
    """Returns a note if a warm-up is longer than the training: such trials never reach their peak learning rate."""
    from fts.study.estimate import windows_of_models  # here, not above: pandas

    choices = cell.space.get("warmup_steps", {}).get("choices", [])
    most = max(one.train for one in windows_of_models(str(places.data), cell))
    steps = -(-most // cell.effective_batch)
    whole = cell.epochs * steps
    total = min(whole, cell.max_steps or whole)
    if not (long := [choice for choice in choices if choice >= total]):
        return None
    limit = f"--max-steps {total}" if total < whole else f"{formatting.count(cell.epochs, 'epoch')} of {steps}"
    return (
        f"note: a trial has at most {formatting.count(total, 'step')} ({limit}), so one that draws warmup_steps "
        f"{' or '.join(map(str, long))} ends before its learning rate has reached its peak"
    )


class _TrialProcess:
    """A trial process that is replaced after a failed dry run."""

    def __init__(self, places: Places, folder: Path, program: Program) -> None:
        self.places, self.folder, self.program = places, folder, program
        self._child: TrialProcess | None = None
        self._number = 0
        self._took_s = 0.0

    def check(self, cell: CellSpec) -> DryRunResult:
        params = first_params(cell)
        self._number += 1
        spec = TrialSpec(
            cell=cell,
            number=self._number,
            params=params,
            seed=seed_for(cell.seed, 0, "train"),
            threads=1,
            device=best_device(),
            data_root=str(self.places.data),
            folder=str(self.folder / f"trial_{self._number}"),
            log_path=str(self.folder / f"trial_{self._number}.log"),
            dry_run_rows=ROWS,
        )
        try:
            problem = self._one_step(spec)
        except ChildError as error:
            self.close()
            problem = str(error)
        if problem:
            return DryRunResult(cell, problem, "one step failed")
        what = params.get("architecture") or params.get("model")
        return DryRunResult(cell, None, f"one step of {what} in {self._took_s:.1f} s")

    def _one_step(self, spec: TrialSpec) -> str | None:
        """Runs one step. Returns None if the trial process reports a result, else the problem.

        Raises ChildError if the process died or was silent: it must be replaced.
        """
        child = self._child or TrialProcess(
            python(*self.program.words), self.folder / "process.log", threads=spec.threads
        )
        self._child = child
        child.send({"do": "run", "spec": spec.to_json()})
        began = time.monotonic()
        give_up = began + PATIENCE_S
        while time.monotonic() < give_up:
            for fact in child.facts(0.1):
                if fact.get("fact") in ("ready", "started"):
                    began = time.monotonic()  # do not count the import of torch and the reading of data
                if fact.get("fact") == "result":
                    self._took_s = time.monotonic() - began
                    return None
                if fact.get("fact") == "failed":
                    return str(fact.get("message") or fact.get("cause") or "the trial process gave no reason")
            if child.poll() is not None and child.facts_ended:
                raise ChildError(f"the trial process ended with code {child.poll()}: {self._last_line(spec)}")
        raise ChildError(f"the trial process finished no step within {PATIENCE_S:.0f} s")

    def _last_line(self, spec: TrialSpec) -> str:
        for path in (Path(spec.log_path), self.folder / "process.log"):
            if path.exists() and (lines := path.read_text(errors="replace").strip().splitlines()):
                return lines[-1][:300]
        return "it wrote no log"

    def close(self) -> None:
        if self._child is not None:
            self._child.close_stdin()
            self._child.wait(5.0)
            self._child.close()
            self._child = None


def first_params(cell: CellSpec) -> dict[str, object]:
    """Returns the parameters of the cell's trial 0."""
    from fts.jobs.search.sampler import suggest  # here, not above: optuna costs 0.4 s

    if cell.kind == "baseline":
        return baseline_jobs.first_params()
    if cell.warm_start:
        return dict(cell.warm_start[0])
    return suggest(cell.space, [], cell.seed, 0, cell.sampler, Direction(cell.direction))


def check_on_paper(cell: CellSpec) -> DryRunResult:
    """Checks every architecture of a large cell without allocating it: counted size, formula and budget must agree."""
    import torch  # here, not above: seconds, and only the large budgets need it

    from fts.model.budgets import count_parameters, fits
    from fts.model.patchtst import PatchTST
    from fts.study.recipe import model_config

    n_features = features_of(cell)
    names = [str(name) for name in cell.space["architecture"]["choices"]]
    smallest: tuple[int, str] | None = None
    for name in names:
        config = model_config(cell, name, n_features)
        formula = count_parameters(config)
        if not fits(cell.budget, formula):
            return DryRunResult(
                cell, f"{name} has {formula:,} parameters, which does not fit the budget {cell.budget}", "counted"
            )
        smallest = min(smallest or (formula, name), (formula, name))
    assert smallest is not None, "a space without architectures does not pass space_for"
    config = model_config(cell, smallest[1], n_features)
    with torch.device("meta"):
        counted = sum(parameter.numel() for parameter in PatchTST(config).parameters())
    if counted != smallest[0]:
        return DryRunResult(
            cell, f"{smallest[1]} has {counted:,} parameters, the formula says {smallest[0]:,}", "counted"
        )
    return DryRunResult(cell, None, f"{len(names)} architectures counted, the smallest {smallest[1]} has {counted:,}")


def features_of(cell: CellSpec) -> int:
    """Returns the number of features per day in the cell's tier."""
    from fts.features.tiers import TIERS  # here, not above: TA-Lib and pandas

    return len(TIERS[cell.tier])
