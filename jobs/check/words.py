"""Helpers of `fts check`: reads folder, seed and deciding metrics of a cell; formats durations, ranges and extents."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.api.command import CommandCell
from fts.jobs.api.function import FunctionCell
from fts.jobs.objective_file import BadObjective, inspect
from fts.jobs.status import formatting
from fts.jobs.supervisor.attempt import Ended
from fts.jobs.trial.command import ATTEMPTS, REPORT
from fts.jobs.trial.reports import CompleteLines, Reports, Window

if TYPE_CHECKING:
    from fts.jobs.api.bare_cell import BareCell
    from fts.jobs.api.spec import TrialSpec
    from fts.jobs.check.rehearsal import SeenTrial


def first_step_of_last_attempt(cell: CommandCell, spec: TrialSpec) -> int | None:
    """Returns the step of the first report that a command made after it was continued; None if there is none."""
    folder = Path(spec.folder)
    reads_log = cell.regex is not None or cell.stdout
    path = Path(spec.log_path) if reads_log else folder / REPORT
    try:
        kept = json.loads((folder / ATTEMPTS).read_text())["log" if reads_log else "report"]
        windows = [Window(*pair) for pair in kept]
        windows[-1].end = windows[-1].end or path.stat().st_size
        reports = Reports(cell, lambda _: None)
        for attempt, line in CompleteLines(path, windows).new(ended=True):
            reports.take(attempt, line)
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return next((report.step for report in reports.epochs if report.attempt == len(windows) - 1), None)


def folder_of(cell: BareCell) -> Path:
    """Returns the folder in which the study was enqueued."""
    assert isinstance(cell, FunctionCell | CommandCell), "there is no other kind"
    return Path(cell.folder)


def deciding(cell: BareCell) -> set[str]:
    """Returns the metrics that the search uses."""
    return {cell.metric, *cell.goals, *cell.constraints, *filter(None, [cell.prune_by])}


def whole_trial_s(cell: BareCell, seen: SeenTrial) -> float | None:
    """Returns the seconds of a whole trial; None if its number of reports is unknown, as after it pruned itself."""
    if seen.ended and seen.end.how is not Ended.PRUNED:
        return seen.took_s
    if cell.steps is None or seen.first_report_s is None:
        return None
    per_step = seen.step_s if seen.step_s is not None else seen.first_report_s
    return seen.first_report_s + per_step * (cell.steps - 1)


def seed_words(cell: BareCell) -> str:
    """Returns the expression from which the code gets the trial's seed."""
    if isinstance(cell, FunctionCell):
        try:
            asks = "seed" in inspect(cell.objective, Path(cell.folder)).parameters
        except BadObjective:
            asks = False
        return "seed" if asks else 'fts.seed(trial, "data")'
    return "FTS_SEED"


def takes_seed(cell: CommandCell) -> bool:
    """Returns whether the command has a {seed} or its script reads FTS_SEED."""
    if any("{seed}" in word for word in cell.command):
        return True
    try:
        return cell.script is not None and "FTS_SEED" in (Path(cell.folder) / cell.script).read_text(errors="replace")
    except OSError:
        return False


def extent(first: SeenTrial, compared: float) -> str:
    """Names what was compared: `all 12 reports and the value are`, or, if only reports were, `the first 3 reports are`.

    `compared`: see differences.compared.
    """
    count = len(first.reports) if compared == math.inf else int(compared)
    if compared < math.inf:
        return f"the first {formatting.count(count, 'report')} {'is' if count == 1 else 'are'}"
    reports = "" if not count else "its report" if count == 1 else f"all {count} reports"
    parts = [part for part in (reports, "the value" if first.value is not None else "the end") if part]
    return f"{' and '.join(parts)} {'are' if count else 'is'}"


def seconds(amount: float) -> str:
    """Formats a duration: less than 1 ms, 0.02 s, 1.3 s, 22 s, 3 min."""
    if amount < 0.001:
        return "less than 1 ms"
    return f"{amount:.2g} s" if amount < 10 else formatting.spell(amount)


def span(distribution: dict[str, Any]) -> str:
    """Formats a distribution: 1e-5..0.1 (log), or its choices."""
    if distribution.get("kind") == "choice":
        choices = [formatting.number(choice) for choice in distribution["choices"]]
        return "(" + ", ".join(choices[:6]) + (", ..." if len(choices) > 6 else "") + ")"
    low, high = (formatting.number(distribution[end]) for end in ("low", "high"))
    return f"{low}..{high}" + (" (log)" if distribution.get("log") else "")
