"""Builds the matrix: the best value of each cell as a heat map of two axes, one per combination of the other axes."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from fts.jobs.report.markup import Section, scrolled
from fts.jobs.report.sentences import value
from fts.jobs.report.style import SHADES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.jobs.report.data import CellReport, StudyReport


def matrix(study: StudyReport) -> Section | None:
    """Returns a table of two axes, or of one; one table per combination of the other axes. None for one cell."""
    wide = sorted((name for name, values in study.axes.items() if len(values) > 1), key=lambda n: -len(study.axes[n]))
    if not wide or len(study.cells) < 2:
        return None
    across = wide[1] if len(wide) > 1 else None
    names = list(study.axes)
    rows, columns_ = wide[0], across
    if across is not None and names.index(across) < names.index(rows) and len(study.axes[rows]) <= 8:
        rows, columns_ = across, rows
    rest = [name for name in wide if name not in (rows, columns_)]
    groups: dict[tuple[Any, ...], list[CellReport]] = {}
    for cell in study.cells:
        groups.setdefault(tuple(cell.job.labels.get(name) for name in rest), []).append(cell)
    made = []
    for place, cells in groups.items():
        title = ", ".join(f"{study.label(name)} {named(level)}" for name, level in zip(rest, place, strict=True))
        made.append((f"<h3>{escape(title)}</h3>" if title else "") + heat(study, cells, rows, columns_))
    note = (
        "The best value of each cell, and how many trials are complete. The stronger the colour, the better; the scale "
        "is that of the table."
    )
    return Section("matrix", "Matrix", "".join(made), note)


def heat(study: StudyReport, cells: Sequence[CellReport], rows: str, across: str | None) -> str:
    values = [cell.key(cell.best.value) for cell in cells if cell.best and cell.best.value is not None]
    low, high = min(values, default=0.0), max(values, default=0.0)
    there: dict[tuple[Any, Any], list[CellReport]] = {}
    for cell in cells:
        there.setdefault((cell.job.labels.get(rows), cell.job.labels.get(across) if across else None), []).append(cell)
    head = levels(study, cells, across) if across else [None]
    top = "".join(f'<th scope="col">{escape(named(level))}</th>' for level in head) if across else "<th></th>"
    corner = escape(study.label(rows) + (f" \\ {study.label(across)}" if across else ""))
    lines = []
    for level in levels(study, cells, rows):
        shown = [_field(there.get((level, other), []), low, high) for other in head]
        lines.append(f'<tr><th scope="row">{escape(named(level))}</th>{"".join(shown)}</tr>')
    body = f"<thead><tr><th>{corner}</th>{top}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return scrolled(f'<table class="heat">{body}</table>')


def levels(study: StudyReport, cells: Sequence[CellReport], axis: str) -> list[Any]:
    """Returns the values of an axis, and None last if one of these cells does not have it."""
    absent = [None] if any(axis not in cell.job.labels for cell in cells) else []
    return [*study.axes[axis], *absent]


def named(level: Any) -> str:
    return "—" if level is None else str(level)


def _field(cells: Sequence[CellReport], low: float, high: float) -> str:
    """Returns one field of the table: usually one cell; several, with names, if they differ in no axis (for example
    only in their data)."""
    if not cells:
        return "<td>—</td>"
    best = min((c.key(c.best.value) for c in cells if c.best and c.best.value is not None), default=None)
    content = "".join(_heat_cell(cell, cell.name if len(cells) > 1 else "") for cell in cells)
    if best is None:
        return f"<td>{content}</td>"
    good = 1.0 if high <= low else 1 - (best - low) / (high - low)
    return f'<td class="h{round(good * (len(SHADES) - 1))}">{content}</td>'


def _heat_cell(cell: CellReport, name: str) -> str:
    lines = [name] if name else []
    lines.append(f"{cell.ended} of {len(cell.trials)} complete")
    if cell.replicates is not None:
        lines.append(f"other seeds {value(cell.replicates.interval.value)}")
    best = "—" if cell.best is None or cell.best.value is None else f"<b>{value(cell.best.value)}</b>"
    return best + "".join(f'<span class="sub">{escape(line)}</span>' for line in lines)
