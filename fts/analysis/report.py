"""Writes the report: one page that works offline, its figures, and every table as CSV and JSON.

    write_report(StudyData(trials, epochs, baselines, predictions, cells), "outputs/report")

Works on nothing, on half a matrix and on all of it, and says first what can be concluded and what is missing.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fts.analysis import tables_machine, tables_page
from fts.analysis.answers import answers
from fts.analysis.figures import draw_all, write_figure
from fts.analysis.findings import MANY, Conclusion, findings, missing
from fts.analysis.page import render
from fts.analysis.previous_study import earlier_rows
from fts.analysis.sections import sections
from fts.analysis.summarise import Group, summarise
from fts.analysis.walked import Walked, section, walked
from fts.state.files import atomic_write, make_folder

if TYPE_CHECKING:
    from fts.analysis.study_data import StudyData

KINDS = (
    ("error", "Repair these errors first: until then the numbers below are not reliable"),
    ("cannot", "What these data cannot show"),
    ("can", "What these data show"),
    ("caution", "Read with caution"),
)
FEW = 2  # up to this many sentences of one rule are shown separately
CAPTIONS = {
    "results": (
        "Results",
        "Dot and line: AUC of the best trial and its 95 % interval. Band: the strongest cheap baseline and its "
        "interval. Below the dot: the difference of the two, paired by day, with its interval. Upright tick: the "
        "luck limit; 95 % of equally long searches without skill end below it.",
    ),
    "learning_curves": (
        "Learning curves",
        "The best trial of each cell. Ring: the best epoch, which counts. Dotted line: the loss of always predicting "
        "the class prior. The training loss is measured with dropout, so it can lie above the validation loss.",
    ),
    "scaling": (
        "Scaling",
        "A mark is the best trial of each size, or, if every size was trained with two other seeds, the mean over "
        "them. Upright line: the interval of the best trial, which does not include the luck of its search. Solid "
        "line: a power law that fits better than a constant. Dashed line: a power law that does not.",
    ),
    "calibration": (
        "Calibration",
        "On the diagonal, a forecast of 30 % comes true in 30 of 100 cases. Each dot is a tenth of the days; its area "
        "is the number of days. Lines are 95 % intervals (Wilson). Neighbouring days share a part of their future, so "
        "the intervals are as wide as for fewer, independent days.",
    ),
    "hyperparameters": (
        "Horizon variance: where the best trials lie",
        "Coloured: the best fifth of each cell. Grey: all its trials. Bar: median. Pruned trials rank behind trials "
        "that trained longer. Eta squared is the share of the spread that lies between horizons. p is the probability "
        "of at least this share if horizons were assigned at random.",
    ),
    "importance": (
        "Parameter importance",
        "The share of the variance of the trials' ranks that goes with a parameter, as the monitor shows it. Dashed "
        "line: what the luckiest parameter reaches in 5 % of searches with shuffled values; a bar below it is pale. "
        "Pruned trials rank behind those that trained longer, so what speeds up the first epochs looks important.",
    ),
    "depth_width": (
        "Depth against width",
        "Each trial by its shape, pruned trials included. Stronger colour: better within its cell. Outline: the best "
        "trial of each horizon.",
    ),
    "cost": (
        "Cost",
        "Training time of all trials of a cell. Energy: processor packages and GPU during training, divided among the "
        "trials that ran at the same time. Without a sensor there is no number; fts does not estimate energy.",
    ),
}


def write_report(study: StudyData, folder: Path | str, seed: int = 0) -> Path:
    """Writes index.html, figures/*.svg and *.png, and the CSV and JSON files into `folder`; returns the page's path.

    Same study and seed give the same page byte for byte. A full 4 x 3 matrix takes about a minute; nothing is drawn
    that the data do not support.
    """
    folder = Path(folder)
    make_folder(folder)
    groups, walks = summarise(study, seed), walked(study)
    found = findings(study, groups)
    frames = tables_machine.all_tables(study, groups, found)
    files = [name for table, frame in frames.items() for name in _write_twin(folder, table, frame)]
    drawn = [_drawn(study, group, folder, k, len(groups)) for k, group in enumerate(groups, start=1)]
    files += [f"figures/{figure['file']}.{kind}" for shown in drawn for figure in shown for kind in ("svg", "png")]
    shared, told = tables_page.shared_and_own(tables_machine.provenance(groups))
    content = {
        "title": study.title,
        "lead": _lead(study, groups),
        "answers": [asdict(answer) | {"tone": answer.tone} for answer in answers(groups, found, walks)],
        "kinds": KINDS,
        "findings": {kind: _condensed([f for f in found if f.kind == kind]) for kind, _ in KINDS},
        "missing": missing(study, groups),
        "groups": [_shown(study, group, figures) for group, figures in zip(groups, drawn, strict=True)],
        "walked": section(walks) if walks else None,
        "sections": sections(study, groups, walks),
        "shared": shared,
        "provenance": tables_page.as_rows(told),
        "files": files,
        "footer": " · ".join(part for part in ("fts report", study.source, study.made_at) if part),
    }
    atomic_write(folder / "summary.json", _json(_summary(study, groups, found, walks)))
    page = folder / "index.html"
    atomic_write(page, render(content))
    return page


def _condensed(found: list[Conclusion]) -> list[dict[str, Any]]:
    """Returns one line per rule: its sentences if there are few, else a count with the sentences folded."""
    lines: list[dict[str, Any]] = []
    for rule in dict.fromkeys(finding.rule for finding in found):
        sentences = [finding.sentence for finding in found if finding.rule == rule]
        if len(sentences) > FEW:
            lines.append({"rule": rule, "sentence": f"{len(sentences)} {MANY.get(rule, 'cases')}.", "each": sentences})
        else:
            lines += [{"rule": rule, "sentence": sentence, "each": []} for sentence in sentences]
    return lines


def _shown(study: StudyData, group: Group, figures: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": " on ".join(part for part in (group.task, group.tier) if part),
        "horizons": group.horizons,
        "matrix": tables_page.matrix(group),
        "baselines": tables_page.baseline_rows(study, group),
        "scores": tables_page.score_rows(group),
        "earlier": earlier_rows(group),
        "figures": figures,
    }


def _drawn(study: StudyData, group: Group, folder: Path, number: int, n_groups: int) -> list[dict[str, Any]]:
    """Writes each figure of a group and returns its texts for the page."""
    shown = []
    for name, figure in draw_all(study, group).items():
        file = name if n_groups == 1 else f"{name}_{number}"
        title, caption = CAPTIONS[name]
        shown.append(
            {
                "id": file.replace("_", "-"),
                "file": file,
                "nav": title.split(":")[0].lower() + ("" if n_groups == 1 else f" {number}"),
                "title": title if n_groups == 1 else f"{title}: {group.task} on {group.tier}",
                "caption": caption,
                "svg": write_figure(figure, folder / "figures", file),
                "table": tables_page.figure_table(name, group),
            }
        )
    return shown


def _lead(study: StudyData, groups: tuple[Group, ...]) -> str:
    cells = [cell for group in groups for cell in group.cells]
    if not cells:
        return "Nothing has been run yet."
    done = sum(cell.best is not None for cell in cells)
    trials = study.trials[study.trials["kind"] == "cell"]
    counts = trials["status"].value_counts()
    text = ", ".join(
        f"{counts[s]} {s}" for s in ("complete", "pruned", "failed", "running", "interrupted") if s in counts
    )
    minutes = sum(cell.minutes for cell in cells)
    spent = f"{minutes / 60:.1f} hours" if minutes >= 60 else f"{minutes:.0f} min"
    opened = len(study.test_openings)
    sealed = f"was opened {opened} time{'s' if opened > 1 else ''}, see below" if opened else "is sealed"
    return (
        f"{done} of {len(cells)} cells have results, from {len(trials)} trials ({text}) and {spent} of training. "
        f"All scores of cells come from validation data; the test set {sealed}."
    )


def _summary(
    study: StudyData, groups: tuple[Group, ...], found: tuple[Conclusion, ...], walks: tuple[Walked, ...]
) -> dict[str, Any]:
    return {
        "title": study.title,
        "answers": [asdict(answer) for answer in answers(groups, found, walks)],
        "findings": [asdict(finding) for finding in found],
        "missing": list(missing(study, groups)),
        "horizon_variance": [{"task": group.task, "tier": group.tier, **asdict(group.variance)} for group in groups],
        "scaling": [
            {"task": group.task, "tier": group.tier, **asdict(curve)} for group in groups for curve in group.scaling
        ],
    }


def _write_twin(folder: Path, name: str, frame: pd.DataFrame) -> list[str]:
    atomic_write(folder / f"{name}.csv", tables_machine.safe_for_spreadsheets(frame).to_csv(index=False))
    atomic_write(
        folder / f"{name}.json", _json([{str(k): v for k, v in row.items()} for row in frame.to_dict("records")])
    )
    return [f"{name}.csv", f"{name}.json"]


def _json(content: Any) -> str:
    """Returns JSON with every digit of a number; null for values that are missing or not finite."""
    return json.dumps(_plain(content), indent=2, allow_nan=False) + "\n"


def _plain(content: Any) -> Any:
    if isinstance(content, dict):
        return {str(name): _plain(value) for name, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_plain(value) for value in content]
    if isinstance(content, np.generic):
        content = content.item()
    if content is None or content is pd.NA or content is pd.NaT:
        return None
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    return content if isinstance(content, (bool, int, str)) else str(content)
