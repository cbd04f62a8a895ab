"""Builds the report page: one HTML file that works offline, with the sections for which there are data."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from fts.jobs.report import cost, course, figures, matrix, origin, outcome, statistics, trials
from fts.jobs.report.markup import Section, harmless, marked, tag
from fts.jobs.report.opening import opening
from fts.jobs.report.script import SCRIPT, hash_of, trial_data
from fts.jobs.report.sentences import HEADINGS, Sentence, sentences
from fts.jobs.report.style import STYLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fts.jobs.report.data import StudyReport

__all__ = ["Section", "page"]

POLICY = (  # a browser loads nothing from elsewhere, and runs our own script and style only
    f"default-src 'none'; script-src {hash_of(SCRIPT)}; style-src {hash_of(STYLE)}; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
FEW = 3  # sentences of one kind and topic that are shown; the others are folded


def page(study: StudyReport, more: Iterable[Section] = ()) -> str:
    """Returns the whole page. The same data give the same bytes."""
    effects, depends = statistics.effects_of_axes(study), statistics.dependences(study)
    shares = statistics.importances(study)
    scored = outcome.predictions_of(study)
    found = sentences(study, effects, depends, shares)
    found += [*outcome.sentences_of_predictions(study, scored)]
    main = figures.main_parameters(study, shares)
    made: list[Section | None] = [
        Section("conclusions", "", conclusions(found)),
        matrix.matrix(study),
        trials.trials(study, main),
        outcome.winners(study),
        outcome.seeds(study),
        outcome.baselines(study, scored),
        outcome.pareto(study),
        course.history(study),
        course.importance(shares),
        course.axes(study, effects, depends),
        course.landscape(study, main),
        course.each_cell(study, "curves", "Curves", lambda cell: figures.curves(cell, study.step), course.CURVES),
        course.pruning(study),
        outcome.calibrations(scored),
        cost.failures(study),
        cost.cost(study),
        origin.origin(study),
        *more,
    ]
    sections = [section for section in made if section is not None]
    links = "".join(f'<a href="#{one.id}">{escape((one.title or one.id).lower())}</a>' for one in sections)
    body = "".join(
        f'<section id="{one.id}">{tag("h2", one.title)}{tag("p", one.note, "note")}{one.body}</section>\n'
        for one in sections
    )
    foot = " · ".join(escape(part) for part in ("fts report", study.source, study.made_at) if part)
    top = opening(study)
    return harmless(f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(study.name)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{escape(study.name)}</h1>
{top}<nav aria-label="Sections">{links}</nav>
{body}<footer>{foot}</footer>
</main>
{trial_data(study, top + body)}<script>{SCRIPT}</script>
</body>
</html>
""")


def conclusions(found: Sequence[Sentence]) -> str:
    boxes = []
    for kind, heading in HEADINGS.items():
        mine = [one for one in found if one.kind == kind]
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
