"""The numbers of the earlier scripts for the same questions, to compare with a study's own numbers.

Corrected validation AUCs of phase 6A and its baselines, on SPY with other years, one seed each and no interval. So the
comparison is not a test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fts.analysis.summarise import CellSummary, Group

TASK = "threshold_1pct"
AUCS: dict[tuple[str, int], float] = {
    ("2M", 1): 0.706, ("2M", 2): 0.639, ("2M", 3): 0.618, ("2M", 5): 0.605,
    ("20M", 1): 0.715, ("20M", 2): 0.635, ("20M", 3): 0.615, ("20M", 5): 0.596,
    ("200M", 1): 0.718, ("200M", 2): 0.635, ("200M", 3): 0.622, ("200M", 5): 0.599,
}  # fmt: skip
HEAD = ["cell", "earlier AUC", "here", "95 %", "the earlier value lies"]


def beside_earlier(group: Group) -> list[list[str]]:
    """Returns head and rows for the cells that the earlier study also had; empty if there are none."""
    rows = [_row(cell, AUCS[cell.budget, cell.horizon]) for cell in group.cells if _comparable(group, cell)]
    return [HEAD, *rows] if rows else []


def _comparable(group: Group, cell: CellSummary) -> bool:
    return group.task == TASK and (cell.budget, cell.horizon) in AUCS and cell.auc is not None


def _row(cell: CellSummary, earlier: float) -> list[str]:
    auc = cell.auc
    assert auc is not None  # see _comparable
    lies = "within the interval" if auc.covers(earlier) else "above it" if earlier > auc.high else "below it"
    name, ends = f"{cell.budget} h{cell.horizon}", f"{auc.low:.3f} to {auc.high:.3f}"
    return [name, f"{earlier:.3f}", f"{auc.value:.3f}", ends, lies]
