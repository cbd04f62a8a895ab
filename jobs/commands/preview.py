"""What an order would take on this machine, before it is given: what `fts plan --memory` says, word for word.

It runs as a process of its own: the plan needs the science, which no window should load.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from jobs.commands.doing import CommandFailed, argv_of, sentence_of
from jobs.glance import words

Cell = tuple[str, int]  # (budget, horizon)


@dataclass(frozen=True)
class CellCost:
    """One cell of the plan; bytes and seconds of its architectures."""

    trial_s: float | None  # of the middle architecture; None: none fits
    low: int  # bytes of the smallest architecture that fits (or of the smallest, if none does)
    high: int
    shapes: int
    too_large: int  # architectures that cannot run here
    waiting: int  # that need more than a slot's share


@dataclass(frozen=True)
class Preview:
    """The plan of every cell of the matrix."""

    cells: dict[Cell, CellCost]
    slots: int
    share: int  # bytes for each slot
    device: str
    source: str  # where the seconds come from


class Question:
    """One `fts plan --memory --matrix`; whoever asks may stop listening at any time."""

    def __init__(self, path: Path, epochs: int) -> None:
        words_ = ["plan", "--memory", "--matrix", "--json", "--epochs", str(epochs)]
        pipe, none = subprocess.PIPE, subprocess.DEVNULL
        self._child = subprocess.Popen(argv_of(path, words_), stdout=pipe, stderr=pipe, stdin=none, text=True)

    def answer(self) -> Preview:
        """Waits for it. Raises CommandFailed with its sentence."""
        out, err = self._child.communicate()
        if self._child.returncode != 0:
            raise CommandFailed(sentence_of("plan", err, self._child.returncode))
        return read(out)

    def stop(self) -> None:
        """Nobody listens any more."""
        if self._child.poll() is None:
            self._child.kill()


def read(out: str) -> Preview:
    """What the command printed. Raises CommandFailed when it is not what we know."""
    try:
        found = json.loads(out)["plan"]
        cells = {(str(cell["budget"]), int(cell["horizon"])): cost_of(cell) for cell in found["cells"]}
        rate = str(found["rate"]["source"])
        return Preview(cells, int(found["slots"]), int(found["limit"]), str(found["device"]), rate)
    except (KeyError, TypeError, ValueError) as error:
        raise CommandFailed(f"`fts plan --memory` answered in a form this window does not know: {error!r}") from error


def cost_of(cell: dict[str, Any]) -> CellCost:
    """As jobs.plan.CellPlan has it: a trial of the middle architecture, for as many epochs as trials usually run."""
    fitting = [shape for shape in cell["shapes"] if shape["recipe"] is not None]
    needs = [int(shape["predicted_bytes"]) for shape in fitting or cell["shapes"]] or [0]
    trial_s = float(cell["epochs"]) * median(shape["epoch_s"] or 0.0 for shape in fitting) if fitting else None
    waiting = sum(bool(shape["beyond_share"]) for shape in fitting)
    shapes = len(cell["shapes"])
    return CellCost(trial_s, min(needs), max(needs), shapes, shapes - len(fitting), waiting)


def sentences(plan: Preview, cells: Sequence[Cell], trials: int) -> list[str]:
    """Time, memory by size, and what does not fit, for the chosen cells; what the plan does not know is said."""
    if not cells:
        return ["nothing is chosen"]
    known = [(cell, plan.cells[cell]) for cell in cells if cell in plan.cells]
    seconds = [cost.trial_s * trials for _, cost in known if cost.trial_s is not None]
    unknown = len(cells) - len(seconds)
    more = f", and {words.count(unknown, 'cell')} of unknown length" if unknown else ""
    slots = words.count(plan.slots, "slot")
    said = [f"time: about {words.spell(sum(seconds) / plan.slots)} on {slots}{more}", f"  judged by {plan.source}"]
    said.append(f"memory, {words.size(plan.share)} for each slot: {_by_budget(known)}")
    for budget in dict.fromkeys(budget for (budget, _), _ in known):
        costs = [cost for (own, _), cost in known if own == budget]
        large, waiting, shapes = (max(getattr(c, name) for c in costs) for name in ("too_large", "waiting", "shapes"))
        if large:
            said.append(f"  {budget}: {large} of {shapes} architectures do not fit here")
        if waiting:
            said.append(f"  {budget}: {waiting} of {shapes} wait until the other slots leave room")
    return said


def _by_budget(known: Sequence[tuple[Cell, CellCost]]) -> str:
    spans: dict[str, tuple[int, int]] = {}
    for (budget, _), cost in known:
        low, high = spans.get(budget, (cost.low, cost.high))
        spans[budget] = min(low, cost.low), max(high, cost.high)
    return ", ".join(f"{budget} {span(*both)}" for budget, both in spans.items())


def span(low: int, high: int) -> str:
    """1.0 to 3.1 GB."""
    first, last = words.size(low), words.size(high)
    if first == last:
        return first
    unit = last.split()[-1]
    return f"{first.removesuffix(' ' + unit)} to {last}"
