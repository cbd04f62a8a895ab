"""Puts the report together: one file that opens offline, without a script, section by section as the data allow."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from fts.jobs.records.results import watt_hours
from fts.jobs.report import figures, predicted, statistics
from fts.jobs.report.sentences import HEADINGS, Sentence, between, lead, p, sentences, value
from fts.jobs.report.style import STYLE
from fts.jobs.report.svg import side_by_side
from fts.jobs.status import formatting
from fts.jobs.status.trial_facts import declared_facts
from fts.state.values import TrialStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fts.jobs.report.data import CellReport, StudyReport
    from fts.state.values import Trial

FEW = 3  # sentences of one kind and rule that stand one by one
OPEN_CELLS = 6  # whose landscapes are drawn
MOST_WINNERS = 60


@dataclass(frozen=True)
class Section:
    """One part of the page; `body` is markup. A study may add some of its own (Study.report_sections)."""

    id: str
    title: str
    body: str
    note: str = ""


def page(study: StudyReport, more: Iterable[Section] = ()) -> str:
    """The whole page. The same data give the same bytes."""
    effects, depends = statistics.effects_of_axes(study), statistics.dependences(study)
    shares = statistics.importances(study)
    scored = predictions_of(study)
    told = sentences(study, effects, depends, shares)
    told += [*sentences_of_predictions(study, scored)]
    main = figures.main_parameters(study, shares)
    made: list[Section | None] = [
        Section("conclusions", "", conclusions(told)),
        matrix(study),
        winners(study),
        seeds(study),
        baselines(study, scored),
        pareto(study),
        each_cell(study, "history", "History", figures.history, HISTORY),
        importance(shares),
        axes(study, effects, depends),
        landscape(study, main),
        each_cell(study, "curves", "Curves", lambda cell: figures.curves(cell, study.step), CURVES),
        pruning(study),
        calibrations(scored),
        failures(study),
        cost(study),
        *more,
    ]
    sections = [section for section in made if section is not None]
    links = "".join(f'<a href="#{one.id}">{escape((one.title or one.id).lower())}</a>' for one in sections)
    body = "".join(
        f'<section id="{one.id}">{tag("h2", one.title)}{tag("p", one.note, "note")}{one.body}</section>\n'
        for one in sections
    )
    foot = " · ".join(escape(part) for part in ("fts report", study.source, study.made_at) if part)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{escape(study.name)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{escape(study.name)}</h1>
<p class="lead">{escape(lead(study))}</p>
<nav aria-label="Sections">{links}</nav>
{body}<footer>{foot}</footer>
</main>
</body>
</html>
"""


HISTORY = (
    "A dot is a complete trial, the line is the best value so far, the dashed line the baseline. Values far from all "
    "others stand at the edge. Point at a dot to see its parameters."
)
CURVES = (
    "A line is a trial, the bold one the best trial of the cell; orange ones were pruned. The best trial was chosen "
    "on these very values."
)


# ---------------------------------------------------------------- markup


def marked(sentence: str) -> str:
    """What stands between backticks is a command to type; everything is escaped."""
    parts = sentence.split("`")
    if len(parts) % 2 == 0:
        return escape(sentence)
    return "".join(f"<code>{escape(part)}</code>" if k % 2 else escape(part) for k, part in enumerate(parts))


def tag(name: str, text: str, kind: str = "") -> str:
    """An element; nothing where there is no text."""
    attribute = f' class="{kind}"' if kind else ""
    return f"<{name}{attribute}>{marked(text)}</{name}>" if text else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Iterable[str] = ()) -> str:
    """Texts; the columns in `numbers` stand to the right."""
    right = {n for n, name in enumerate(head) if name in numbers}
    kind = [' class="n"' if n in right else "" for n in range(len(head))]
    top = "".join(f"<th{kind[n]}>{escape(name)}</th>" for n, name in enumerate(head))
    lines = ["".join(f"<td{kind[n]}>{escape(text)}</td>" for n, text in enumerate(row)) for row in rows]
    return f'<div class="wide"><table><tr>{top}</tr>{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>'


def left_out(shown: int, every: int, what: str) -> str:
    return "" if shown >= every else f'<p class="note">{every - shown} more {what} are not drawn.</p>'


def conclusions(told: Sequence[Sentence]) -> str:
    boxes = []
    for kind, heading in HEADINGS.items():
        mine = [one for one in told if one.kind == kind]
        if not mine:
            continue
        lines = []
        for about in dict.fromkeys(one.about for one in mine):
            texts = [one.text for one in mine if one.about == about]
            shown = "".join(f"<span>{marked(text)}</span> " for text in texts[:FEW])
            rest = texts[FEW:]
            if rest:
                folded = "".join(f"<p>{marked(text)}</p>" for text in rest)
                shown += f"<details><summary>{len(rest)} more</summary>{folded}</details>"
            lines.append(f'<li><span class="rule">{escape(about)}</span><div>{shown}</div></li>')
        boxes.append(f'<div class="box {kind}"><h3>{heading}</h3><ul class="told">{"".join(lines)}</ul></div>')
    return "".join(boxes)


# ---------------------------------------------------------------- sections


def matrix(study: StudyReport) -> Section | None:
    """A table of two axes, or a row of one; one table for each combination of the others."""
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
        title = ", ".join(f"{study.label(name)} {level}" for name, level in zip(rest, place, strict=True))
        made.append((f"<h3>{escape(title)}</h3>" if title else "") + heat(study, cells, rows, columns_))
    note = (
        "The best value of each cell, and how many trials are complete. The stronger the colour, the better; the scale "
        "is that of the table."
    )
    return Section("matrix", "Matrix", "".join(made), note)


def heat(study: StudyReport, cells: Sequence[CellReport], rows: str, across: str | None) -> str:
    values = [cell.key(cell.best.value) for cell in cells if cell.best and cell.best.value is not None]
    low, high = min(values, default=0.0), max(values, default=0.0)
    there: dict[tuple[Any, Any], CellReport] = {}
    for cell in cells:
        there[cell.job.labels.get(rows), cell.job.labels.get(across) if across else None] = cell
    head = study.axes[across] if across else (None,)
    top = "".join(f"<th>{escape(str(level))}</th>" for level in head) if across else "<th></th>"
    corner = escape(study.label(rows) + (f" \\ {study.label(across)}" if across else ""))
    lines = []
    for level in study.axes[rows]:
        shown = []
        for other in head:
            found = there.get((level, other))
            shown.append(_heat_cell(found, low, high))
        lines.append(f"<tr><th>{escape(str(level))}</th>{''.join(shown)}</tr>")
    return f'<div class="wide"><table class="heat"><tr><th>{corner}</th>{top}</tr>{"".join(lines)}</table></div>'


def _heat_cell(cell: CellReport | None, low: float, high: float) -> str:
    if cell is None:
        return "<td>—</td>"
    done = f"{cell.ended} of {len(cell.trials)} complete"
    if cell.best is None or cell.best.value is None:
        return f'<td>—<span class="sub">{done}</span></td>'
    good = 1.0 if high <= low else 1 - (cell.key(cell.best.value) - low) / (high - low)
    style = f"background:color-mix(in srgb, var(--blue) {8 + 42 * good:.0f}%, var(--paper))"
    again = cell.replicates
    seeds_ = "" if again is None else f'<span class="sub">other seeds {value(again.interval.value)}</span>'
    return f'<td style="{style}"><b>{value(cell.best.value)}</b><span class="sub">{done}</span>{seeds_}</td>'


def winners(study: StudyReport) -> Section | None:
    """How to run each winner again."""
    cells = study.with_result
    if not cells:
        return None
    parts = []
    for cell in cells[:MOST_WINNERS]:
        assert cell.best is not None, "it has a result"
        head = f"{cell.name}: {cell.metric} {value(cell.best.value)}, t{cell.best.number} of job {cell.job.id}"
        facts = " · ".join(f"{name} {text}" for name, text in declared_facts(study.declared, cell.best, "report"))
        told = f'<p class="note">{escape(facts)}</p>' if facts else ""
        parts.append(f"<h3>{escape(head)}</h3><pre>{escape(command_of(cell, cell.best))}</pre>{told}")
    note = "The best trial of each cell. `fts best CELL --python` gives the parameters as Python."
    if len(parts) > OPEN_CELLS:
        rest = parts[OPEN_CELLS:]
        parts = [*parts[:OPEN_CELLS], f"<details><summary>{len(rest)} more</summary>{''.join(rest)}</details>"]
    return Section(
        "winners", "Winners", "".join(parts) + left_out(min(len(cells), MOST_WINNERS), len(cells), "winners"), note
    )


def command_of(cell: CellReport, best: Trial) -> str:
    """The command with its values, or the parameters as words."""
    spec = cell.job.spec
    if isinstance(spec.get("command"), list):
        from fts.jobs.api.command import CommandCell, filled  # here: most studies have functions
        from fts.jobs.api.spec import BadSpec

        own = {name: "{" + name + "}" for name in ("params", "checkpoint_dir", "folder", "threads", "shrink")}
        try:
            made = CommandCell.from_json(spec)
            words = filled(made, best.params | made.axes, own | {"seed": best.seed % 2**31, "number": best.number})
            return words[-1] if made.shell else shlex.join([made.command[0], *words[1:]])
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


Scored = dict[int, dict[str, Any]]  # job -> score, score of the baseline, difference, bins


def predictions_of(study: StudyReport) -> Scored:
    """Of the best trials and baselines that kept predictions."""
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
    told = []
    for cell in study.with_result[: 2 * FEW]:
        difference = scored.get(cell.job.id, {}).get("difference")
        if difference is None:
            continue
        interval = difference.interval
        better = interval.high < 0 if difference.loss else interval.low > 0
        worse = interval.low > 0 if difference.loss else interval.high < 0
        how = "better than" if better else "worse than" if worse else "not shown to differ from"
        told.append(
            Sentence(
                "found",
                "against baseline",
                f"{cell.name}: by its predictions the best trial is {how} the baseline; difference in "
                f"{difference.name} {between(interval)}, row by row.",
            )
        )
    return told


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
    return Section("baseline", "Baseline and predictions", shown, note)


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
    note = "Marked: the trials that no other one beats in every goal. Which of them is best is yours to say."
    return Section("front", "Pareto front", "".join(parts), note) if parts else None


def each_cell(
    study: StudyReport, name: str, title: str, draw: Callable[[CellReport], str | None], note: str
) -> Section | None:
    drawn = [svg for cell in study.cells if (svg := draw(cell)) is not None]
    if not drawn:
        return None
    shown = drawn[: figures.MOST_CHARTS]
    return Section(name, title, side_by_side(shown) + left_out(len(shown), len(drawn), "cells"), note)


def importance(shares: Sequence[statistics.CellImportance]) -> Section | None:
    svg = figures.importances(shares)
    if svg is None:
        return None
    several = f"mean over {len(shares)} cells, a dot for each" if len(shares) > 1 else f"n = {shares[0].shares[0].n}"
    note = (
        f"Share of the variance of the trials' ranks that goes with each parameter alone ({several}). The row `chance` "
        "is what the luckiest parameter reaches in 5 % of searches with shuffled values: a pale bar explains no more. "
        "An association within what the sampler tried, not a cause; interactions are not seen."
    )
    return Section("importance", "Importance", f'<div class="scroll">{svg}</div>', note)


def axes(
    study: StudyReport, effects: Sequence[statistics.AxisTest], depends: Sequence[statistics.AxisTest]
) -> Section | None:
    if not effects and not depends:
        return None
    parts = []
    if effects:
        rows = [[study.label(one.axis), ranks_of(one), str(one.blocks), p_of(one)] for one in effects]
        parts.append("<h3>Does the best value depend on it?</h3>")
        parts.append(table(["axis", "mean rank of its values (1 is best)", "groups", "p"], rows, ["groups", "p"]))
    if depends:
        rows = [[study.label(one.axis), one.what, lies_of(one), str(one.blocks), p_of(one)] for one in depends]
        parts.append("<h3>Does the best configuration depend on it?</h3>")
        parts.append(table(["axis", "parameter", "where the best fifth lies", "groups", "p"], rows, ["groups", "p"]))
    note = (
        "Compared are groups of cells that differ in one axis alone. p: how often levels dealt out at random within "
        "the groups lie at least as far apart, with Holm's correction over the parameters of an axis. A whole cell "
        "counts as one observation, because trials of one search depend on each other. `too few cells`: so few groups "
        "give no p below 0.05. Numbers lie between 0 (the smallest tried) and 1, by rank."
    )
    return Section("axes", "Axes", "".join(parts), note)


def p_of(one: statistics.AxisTest) -> str:
    return p(one.p_holm) if one.can_tell else f"too few cells (p ≥ {min(1.0, one.smallest * one.tests):.2g})"


def ranks_of(one: statistics.AxisTest) -> str:
    return ", ".join(f"{level} {at[0]:.1f}" for level, at in sorted(one.levels.items(), key=lambda pair: pair[1])[:12])


def lies_of(one: statistics.AxisTest) -> str:
    if not one.choices:
        return ", ".join(f"{level} {at[0]:.2f}" for level, at in list(one.levels.items())[:12])
    shares = {
        level: ", ".join(f"{name} {share:.0%}" for name, share in zip(one.choices[:5], at, strict=False))
        for level, at in list(one.levels.items())[:8]
    }
    return "; ".join(f"{level}: {text}" for level, text in shares.items())


def landscape(study: StudyReport, main: Sequence[str]) -> Section | None:
    """Parallel coordinates, contours and slices of the first cells."""
    cells = [cell for cell in study.cells if len(cell.complete) >= figures.ENOUGH]
    parts = []
    for k, cell in enumerate(cells[:OPEN_CELLS]):
        mine = [name for name in main if any(name in trial.params for trial in cell.complete)]
        drawn = []
        if (ways := figures.parallel(cell, mine[: figures.MOST_PARAMETERS])) is not None:
            drawn.append(f'<div class="scroll">{ways}</div>')
        charts = []
        if len(mine) > 1 and (area := figures.contour(cell, mine[0], mine[1])) is not None:
            charts.append(area)
        charts += [svg for name in mine[: figures.MOST_PARAMETERS] if (svg := figures.slices(cell, name)) is not None]
        drawn.append(side_by_side(charts) if charts else "")
        if any(drawn):
            first = " open" if k == 0 else ""
            parts.append(f"<details{first}><summary>{escape(cell.name)}</summary>{''.join(drawn)}</details>")
    if not parts:
        return None
    note = (
        "Lines: each trial through its parameters, the most important first; the stronger, the better, and a line "
        "below an axis did not draw that parameter. Area: ranks of the trials, weighted by distance, of the two most "
        "important parameters; between the trials it is a guess. Slices: a parameter against the value. Orange: the "
        "best."
    )
    return Section("parameters", "Parameters", "".join(parts) + left_out(len(parts), len(cells), "cells"), note)


def pruning(study: StudyReport) -> Section | None:
    audits = [one for one in map(statistics.audit, study.cells) if one is not None]
    if not audits:
        return None
    rows = [
        [one.cell.name, f"{one.pruned} of {one.ended}", f"{one.saved:.0%}", str(one.step),
         f"{one.agreement:.2f}" if math.isfinite(one.agreement) else "—", str(one.n)]
        for one in audits
    ]  # fmt: skip
    head = ["cell", "pruned", "saved", f"middle {study.step}", "agreement", "n"]
    note = (
        f"Saved: the share of all {study.step}s, if pruned trials had run as long as the middle complete one. "
        f"Agreement: rank correlation (Spearman) of the values at the middle {study.step} of pruning and at the end, "
        "over n complete trials, which survived: for the pruned ones it may be lower. Below 0.5, early values tell "
        "little."
    )
    return Section("pruning", "Pruning", table(head, rows, head[1:]), note)


def calibrations(scored: Scored) -> Section | None:
    drawn = [svg for one in scored.values() if (svg := figures.calibration(one["name"], one["bins"])) is not None]
    if not drawn:
        return None
    note = (
        "On the dashed line, a forecast of 30 % comes true in 30 of 100 cases. Ten bins of equally many rows, Wilson's "
        "95 % intervals."
    )
    return Section("calibration", "Calibration", side_by_side(drawn[: figures.MOST_CHARTS]), note)


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
        per = cell.seconds / len(cell.trials) if cell.trials else 0.0
        row = [cell.name, str(len(cell.trials)), f"{cell.seconds / 3600:.2f}", formatting.spell(per)]
        row.append("—" if not peak else f"{peak / 1e9:.2f}")
        rows.append([*row, *(["—" if cell.energy_wh is None else watt_hours(cell.energy_wh)] if energy else [])])
    head = ["cell", "trials", "hours", "a trial", "peak memory, GB", *(["Wh"] if energy else [])]
    known = [cell.energy_wh for cell in study.cells if cell.energy_wh is not None]
    hours = math.fsum(cell.seconds for cell in study.cells) / 3600
    whole = watt_hours(math.fsum(known)) if len(known) == len(study.cells) else "—"
    count = str(sum(len(cell.trials) for cell in study.cells))
    rows.append(["all", count, f"{hours:.2f}", "", "", *([whole] if energy else [])])
    note = "Trials are those of the searches; hours include replicates and baselines. " + (
        "Energy: processor packages and GPU, divided among trials that ran at the same time."
        if energy
        else "No sensor measured the power, so there is no energy."
    )
    return Section("cost", "Hours and energy", table(head, rows, head[1:]), note)
