"""Builds the section about origin: job, code, sampler and machine of each cell; first what all cells share."""

from __future__ import annotations

import json
from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Any

from fts.jobs.report.markup import Section, folded, table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fts.jobs.report.data import CellReport, StudyReport

OF_SPEC = ("objective", "command", "sampler", "pruner", "seed", "code_md5", "python")
NONE = "—"
LONGEST = 80


def origin(study: StudyReport) -> Section | None:
    """Returns the section, folded; None without trials."""
    rows = [(cell, facts(cell)) for cell in study.cells if cell.trials]
    if not rows:
        return None
    names = list(dict.fromkeys(name for _, one in rows for name in one))
    columns = {name: [one.get(name, NONE) for _, one in rows] for name in names}
    shared = [name for name in names if len(rows) > 1 and len(set(columns[name])) == 1]
    own = [name for name in names if name not in shared]
    common = [[name, columns[name][0]] for name in shared if columns[name][0] != NONE]
    body = ("<h3>Equal in all cells</h3>" + table(["fact", "value"], common)) if common else ""
    lines = [[cell.name, *(one.get(name, NONE) for name in own)] for cell, one in rows]
    body += table(["cell", *own], lines)
    note = f'<p class="note">{escape("Of the trials of each search. md5: the first eight digits.")}</p>'
    return Section("origin", "Code and machines", folded("Where every number comes from", note + body))


def facts(cell: CellReport) -> dict[str, str]:
    found = {"job": str(cell.job.id)}
    if cell.best is not None:
        found |= {"best trial": f"t{cell.best.number}", "its seed": str(cell.best.seed)}
    for name in OF_SPEC:
        one = cell.job.spec.get(name)
        if one not in (None, "", [], {}):
            found[name.replace("_", " ")] = text(one)[:8] if name.endswith("_md5") else text(one)
    trials = cell.trials
    found |= {
        "host": counted(trial.host for trial in trials),
        "device": counted(trial.device for trial in trials),
        "threads": counted(trial.threads for trial in trials),
        "code commit": counted(
            f"{trial.code_commit[:8]}{' changed' if trial.code_dirty else ''}" if trial.code_commit else None
            for trial in trials
        ),
        "torch": counted(trial.torch_version for trial in trials),
        "data md5": counted((trial.data_md5 or "")[:8] or None for trial in trials),
    }
    return {name: one for name, one in found.items() if one != NONE}


def counted(values: Iterable[Any]) -> str:
    """Returns `spark`, or `spark (18), node7 (6)`: each value with its number of trials."""
    found = Counter(str(value) for value in values if value is not None)
    if len(found) < 2:
        return next(iter(found), NONE)
    return ", ".join(f"{name} ({n})" for name, n in found.most_common(6))


def text(one: Any) -> str:
    full = one if isinstance(one, str) else json.dumps(one, ensure_ascii=False)
    return full if len(full) <= LONGEST else full[: LONGEST - 1] + "…"
