"""Builds the sortable table of trials: the best of each cell, or all in a small study."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fts.jobs.report.data import INFEASIBLE
from fts.jobs.report.figures import key_of
from fts.jobs.report.markup import Section, SortedText, Text, table
from fts.jobs.report.sentences import value
from fts.jobs.report.svg import number, shortened
from fts.jobs.status import formatting
from fts.jobs.status.trial_facts import metrics_of
from fts.state.values import TrialStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.jobs.report.data import CellReport, StudyReport
    from fts.state.values import Trial

MOST_ROWS = 400
FEWEST = 3  # rows per cell, for any number of cells
MOST_PARAMETERS, MOST_METRICS = 8, 3
LONGEST = 40  # characters of one parameter


def trials(study: StudyReport, main: Sequence[str]) -> Section | None:
    """Returns the table: cell, trial, value, other metrics, main parameters, state and time; best first."""
    every = sum(len(cell.trials) for cell in study.cells)
    if not every:
        return None
    most = max(FEWEST, MOST_ROWS // len(study.cells))
    chosen = [
        (cell, trial) for cell in study.cells for trial in best_first(cell)[: None if every <= MOST_ROWS else most]
    ]
    chosen.sort(key=lambda pair: place(*pair))
    names = list(main[:MOST_PARAMETERS])
    metrics = others(study)
    several = len(study.cells) > 1
    rows = [row(cell, trial, names, metrics, several) for cell, trial in chosen]
    decide = list(dict.fromkeys(cell.metric for cell in study.cells))
    head = [*(["cell"] if several else []), "trial", decide[0] if len(decide) == 1 else "value", *metrics, *names]
    head += ["state", "time"]
    words = {name for name in names if not numeric(study, name)}
    shown = table(head, rows, [name for name in head if name not in {"cell", "trial", "state", *words}],
                  trials=[key_of(trial) for _, trial in chosen])  # fmt: skip
    note = "Choose a column's name to sort by it; point at a row to see the trial in the charts."
    if len(chosen) < every:
        note += (
            f" These are the best {most} of each cell; {every - len(chosen):,} others are left out: `fts trials CELL` "
            "lists them, `fts export` writes all."
        )
    if len(main) > len(names):
        note += f" Of {len(main)} parameters, the {len(names)} most important ones."
    return Section("trials", "Trials", shown, note)


def row(cell: CellReport, trial: Trial, names: Sequence[str], metrics: Sequence[str], several: bool) -> list[Text]:
    results = metrics_of(trial)
    spent = cell.worked[trial.number]
    return [
        *([cell.name] if several else []),
        f"t{trial.number}",
        measured(trial.value),
        *(measured(results.get(name)) for name in metrics),
        *(drawn(trial.params[name]) if name in trial.params else "—" for name in names),
        state_of(trial),
        SortedText(formatting.spell(spent), spent) if trial.ended_at is not None else "—",
    ]


def state_of(trial: Trial) -> str:
    if trial.status is TrialStatus.FAILED:
        return f"{trial.status}: {trial.cause or 'unknown'}"
    return INFEASIBLE if trial.status is TrialStatus.COMPLETE and INFEASIBLE in trial.badges else str(trial.status)


def measured(one: object) -> Text:
    """Formats a number, with all its digits as the sort key."""
    if isinstance(one, bool) or not isinstance(one, int | float) or not math.isfinite(one):
        return "—"
    return SortedText(value(float(one)), float(one))


def drawn(one: object) -> Text:
    """Formats a drawn value; None is one, too, unlike a parameter that the trial did not draw."""
    if isinstance(one, float) and math.isfinite(one):
        return SortedText(number(one), one)
    return shortened(str(one), LONGEST)


def numeric(study: StudyReport, name: str) -> bool:
    """Whether the parameter is a number in every trial."""
    found = [trial.params[name] for cell in study.cells for trial in cell.trials if name in trial.params]
    return all(isinstance(one, int | float) and not isinstance(one, bool) for one in found)


def best_first(cell: CellReport) -> list[Trial]:
    return sorted(cell.trials, key=lambda trial: place(cell, trial))


def place(cell: CellReport, trial: Trial) -> tuple[bool, float, int, int]:
    """Returns a sort key: complete and valid trials by their value, then the others by number."""
    known = trial.status is TrialStatus.COMPLETE and trial.is_ranked and trial.value is not None
    good = known and math.isfinite(trial.value or 0.0)
    return not good, cell.key(trial.value or 0.0) if good else 0.0, cell.job.id, trial.number


def others(study: StudyReport) -> list[str]:
    """Returns the names of further metrics besides the optimized ones."""
    decide = {cell.metric for cell in study.cells}
    found = dict.fromkeys(name for cell in study.cells for trial in cell.trials[:50] for name in metrics_of(trial))
    return [name for name in found if name not in decide][:MOST_METRICS]
