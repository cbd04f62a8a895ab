"""Builds the sections about results: winners, other seeds, baselines and predictions, the Pareto front."""

from __future__ import annotations

import shlex
from html import escape
from typing import TYPE_CHECKING, Any

from fts.jobs.report import figures, predicted
from fts.jobs.report.markup import Section, folded, left_out, table
from fts.jobs.report.sentences import Sentence, between, value
from fts.jobs.report.svg import side_by_side
from fts.jobs.status import formatting
from fts.jobs.status.trial_facts import declared_facts

if TYPE_CHECKING:
    from fts.jobs.report.data import CellReport, StudyReport
    from fts.state.values import Trial

FEW = 3  # half the number of cells for which a sentence compares the predictions
OPEN_WINNERS = 6
MOST_WINNERS = 60


def winners(study: StudyReport) -> Section | None:
    """Says how to run each winner again."""
    cells = study.with_result
    if not cells:
        return None
    parts = []
    for cell in cells[:MOST_WINNERS]:
        assert cell.best is not None, "it has a result"
        head = f"{cell.name}: {cell.metric} {value(cell.best.value)}, t{cell.best.number} of job {cell.job.id}"
        facts = " · ".join(f"{name} {text}" for name, text in declared_facts(study.declared, cell.best, "report"))
        note = f'<p class="note">{escape(facts)}</p>' if facts else ""
        parts.append(f"<h3>{escape(head)}</h3><pre>{escape(command_of(cell, cell.best))}</pre>{note}")
    note = "The best trial of each cell. `fts best CELL --python` gives the parameters as Python."
    if len(parts) > OPEN_WINNERS:
        rest = parts[OPEN_WINNERS:]
        parts = [*parts[:OPEN_WINNERS], folded(f"{len(rest)} more", "".join(rest))]
    return Section(
        "winners", "Winners", "".join(parts) + left_out(min(len(cells), MOST_WINNERS), len(cells), "winners"), note
    )


def command_of(cell: CellReport, best: Trial) -> str:
    """Returns the command with the trial's values, or the parameters as --name=value."""
    spec = cell.job.spec
    if isinstance(spec.get("command"), list):
        from fts.jobs.api.command import PLACE, CommandCell, filled  # here, not above: most studies have functions
        from fts.jobs.api.spec import BadSpec

        own = {name: "{" + name + "}" for name in ("params", "checkpoint_dir", "folder", "threads", "shrink")}
        try:
            made = CommandCell.from_json(spec)
            words = filled(made, best.params | made.axes, own | {"seed": best.seed % 2**31, "number": best.number})
            first = (
                words[0] if PLACE.search(made.command[0]) else made.command[0]
            )  # as it was typed, without its folder
            return words[-1] if made.shell else shlex.join([first, *words[1:]])
        except (BadSpec, KeyError):
            pass
    words_ = " ".join(shlex.quote(f"--{name}={one}") for name, one in best.params.items())
    return words_ or "it has no parameters"


def seeds(study: StudyReport) -> Section | None:
    cells = [cell for cell in study.with_result if cell.replicates is not None]
    if not cells:
        return None
    rows = []
    for cell in cells:
        again = cell.replicates
        assert again is not None and cell.best is not None, "chosen for it"
        ends = f"{value(again.interval.low)} to {value(again.interval.high)}" if again.interval.is_known else "—"
        each = ", ".join(value(trial.value) for trial in again.trials[:10])
        rows.append(
            [cell.name, value(cell.best.value), value(again.interval.value), ends, str(again.interval.n),
             signed(again.curse), each]
        )  # fmt: skip
    head = ["cell", "in the search", "mean of other seeds", "95 % interval", "n", "winner's curse", "each"]
    note = (
        "Each winner again with other seeds. Student's t over these runs; the value of the search is left out, because "
        "it was chosen for being good. Winner's curse: how much better it looked than the mean of the others."
    )
    return Section("seeds", "Other seeds", table(head, rows, head[1:6]), note)


def signed(number: float) -> str:
    return f"{'+' if number > 0 else ''}{value(number)}"


Scored = dict[int, dict[str, Any]]  # job id -> score, bins, name, and with a baseline: base, difference


def predictions_of(study: StudyReport) -> Scored:
    """Scores the predictions of best trials and baselines, where they were kept."""
    found: Scored = {}
    for cell in study.with_result:
        assert cell.best is not None, "it has a result"
        folder = study.folder_of.get((cell.job.id, cell.best.number))
        mine = predicted.read(folder) if folder is not None else None
        if mine is None:
            continue
        one: dict[str, Any] = {"score": predicted.score(mine), "bins": predicted.calibration(mine), "name": cell.name}
        if cell.baseline is not None:
            folder = study.folder_of.get((cell.job.id, cell.baseline.number))
            theirs = predicted.read(folder) if folder is not None else None
            if theirs is not None:
                one |= {"base": predicted.score(theirs), "difference": predicted.difference(mine, theirs)}
        found[cell.job.id] = one
    return found


def sentences_of_predictions(study: StudyReport, scored: Scored) -> list[Sentence]:
    found = []
    for cell in study.with_result[: 2 * FEW]:
        difference = scored.get(cell.job.id, {}).get("difference")
        if difference is None:
            continue
        interval = difference.interval
        better = interval.high < 0 if difference.loss else interval.low > 0
        worse = interval.low > 0 if difference.loss else interval.high < 0
        how = "better than" if better else "worse than" if worse else "not shown to differ from"
        found.append(
            Sentence(
                "found",
                "against baseline",
                f"{cell.name}: by its predictions the best trial is {how} the baseline; difference in "
                f"{difference.name} {between(interval)}, row by row.",
            )
        )
    return found


def baselines(study: StudyReport, scored: Scored) -> Section | None:
    cells = [cell for cell in study.with_result if cell.baseline is not None or cell.job.id in scored]
    if not cells:
        return None
    rows = []
    for cell in cells:
        one = scored.get(cell.job.id, {})
        score, difference = one.get("score"), one.get("difference")
        base = None if cell.baseline is None else cell.baseline.value
        best = cell.best.value if cell.best is not None else None
        gain = "—" if base is None or best is None else signed(cell.key(base) - cell.key(best))
        rows.append(
            [cell.name, value(best), value(base), gain,
             "—" if score is None else f"{score.name} {between(score.interval)}",
             "—" if difference is None else between(difference.interval)]
        )  # fmt: skip
    head = ["cell", "best", "baseline", "better by", "score of the predictions", "minus the baseline, row by row"]
    used = [n for n in range(len(head)) if n == 0 or any(row[n] != "—" for row in rows)]
    note = (
        "Values as the trials returned them; they have no interval. Scores are computed here from what the trials "
        "predicted; their intervals take rows as independent, so they are too narrow where rows depend on each other."
    )
    shown = table([head[n] for n in used], [[row[n] for n in used] for row in rows], head[1:4])
    fold = folded(f"Values of {formatting.count(len(rows), 'cell')}", shown)
    return Section("baseline", "Baseline and predictions", fold, note)


def pareto(study: StudyReport) -> Section | None:
    parts = []
    for cell in study.cells:
        svg, trials = figures.pareto(cell)
        if svg is None:
            continue
        goals = list(cell.goals)
        rows = [
            [f"t{trial.number}", *(value(one) for one in figures.values_of(cell, trial) or ()),
             formatting.cut(shlex.join(f"{k}={v}" for k, v in trial.params.items()), 120)]
            for trial in trials
        ]  # fmt: skip
        parts.append(side_by_side([svg]) + table(["trial", *goals, "parameters"], rows, ["trial", *goals]))
    note = "Marked: the trials that no other one beats in every goal. You choose which of them is best."
    return Section("front", "Pareto front", "".join(parts), note) if parts else None


def calibrations(scored: Scored) -> Section | None:
    drawn = [svg for one in scored.values() if (svg := figures.calibration(one["name"], one["bins"])) is not None]
    if not drawn:
        return None
    note = (
        "On the dashed line, a forecast of 30 % comes true in 30 of 100 cases. Ten bins of equally many rows, Wilson's "
        "95 % intervals."
    )
    return Section("calibration", "Calibration", side_by_side(drawn[: figures.MOST_CHARTS]), note)
