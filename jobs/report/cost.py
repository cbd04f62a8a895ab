"""Builds the sections about the cost of the trials: failures by cause, hours, memory and energy."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from fts.jobs.records.results import watt_hours
from fts.jobs.report.markup import Section, SortedText, Text, table
from fts.jobs.status import formatting
from fts.state.values import TrialStatus

if TYPE_CHECKING:
    from fts.jobs.report.data import StudyReport


def failures(study: StudyReport) -> Section | None:
    failed = [(cell, t) for cell in study.cells for t in cell.trials if t.status is TrialStatus.FAILED]
    if not failed:
        return None
    rows = []
    for cause, n in Counter(str(trial.cause or "unknown") for _, trial in failed).most_common():
        mine = [(cell, trial) for cell, trial in failed if str(trial.cause or "unknown") == cause]
        cell, trial = mine[-1]
        where = f"{cell.name} t{trial.number}"
        cells = len({one.job.id for one, _ in mine})
        rows.append([cause, str(n), str(cells), where, formatting.cut(trial.message or "—", 300)])
    return Section(
        "failures", "Failures", table(["cause", "trials", "cells", "latest", "message"], rows, ["trials", "cells"])
    )


def cost(study: StudyReport) -> Section | None:
    if not any(cell.seconds for cell in study.cells):
        return None
    energy = any(cell.energy_wh is not None for cell in study.cells)
    rows = []
    for cell in study.cells:
        peak = max((trial.peak_bytes or 0 for trial in cell.trials), default=0)
        of_search = [trial for trial in cell.trials if trial.ended_at is not None and trial.reused_from is None]
        per = math.fsum(cell.worked.get(trial.number, 0.0) for trial in of_search) / max(len(of_search), 1)
        hours = SortedText(f"{cell.seconds / 3600:.2f}", cell.seconds)
        row: list[Text] = [
            cell.name,
            str(len(cell.trials)),
            hours,
            SortedText(formatting.spell(per) if of_search else "—", per),
        ]
        row.append("—" if not peak else f"{peak / 1e9:.2f}")
        rows.append([*row, *(["—" if cell.energy_wh is None else watt_hours(cell.energy_wh)] if energy else [])])
    head = ["cell", "trials", "hours", "a trial", "peak memory, GB", *(["Wh"] if energy else [])]
    known = [cell.energy_wh for cell in study.cells if cell.energy_wh is not None]
    whole_hours = math.fsum(cell.seconds for cell in study.cells) / 3600
    whole = watt_hours(math.fsum(known)) if len(known) == len(study.cells) else "—"
    count = str(sum(len(cell.trials) for cell in study.cells))
    last = ["all", count, f"{whole_hours:.2f}", "", "", *([whole] if energy else [])]
    note = "Trials, and the time of one, are those of the searches; hours include replicates and baselines. " + (
        "Energy: processor packages and GPU, divided among trials that ran at the same time."
        if energy
        else "No sensor measured the power, so there is no energy."
    )
    return Section("cost", "Hours and energy", table(head, rows, head[1:], last), note)
