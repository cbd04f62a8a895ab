"""The page's sections of tables between the matrix and the figures: each a title, a note and rows as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.analysis import assets, economic_section, regimes
from fts.analysis.beyond_volatility import BeyondVolatility, strongest_learner
from fts.analysis.interval_text import ranged, signed

if TYPE_CHECKING:
    from fts.analysis.study_data import BaselineRow, StudyData
    from fts.analysis.summarise import Group
    from fts.analysis.walked import Walked

Row = list[tuple[str, str, str]]  # of a table: value, text below it, and a count


def sections(study: StudyData, groups: tuple[Group, ...], walks: tuple[Walked, ...] = ()) -> list[dict[str, Any]]:
    """Returns the sections with rows: id, nav, title, note, and tables of (title, rows, names) for the page."""
    made = [_beyond_volatility(study, groups), assets.section(groups, walks), regimes.section(study, groups, walks)]
    made.append(economic_section.section(study, groups))
    return [section for section in made if section["tables"]]


def _beyond_volatility(study: StudyData, groups: tuple[Group, ...]) -> dict[str, Any]:
    tables = []
    for group in groups:
        rows: list[Row] = []
        for horizon in group.horizons:
            new = True
            for cell in group.cells:
                if cell.horizon == horizon and cell.beyond is not None and cell.auc is not None:
                    name = (f"{cell.budget} transformer", f"best of {cell.looks} trials", "")
                    rows.append([_horizon(horizon, new), name, *_beside(cell.beyond, cell.against_volatility)])
                    new = False
            learner = strongest_learner(of_question(study, group, horizon))
            if learner is not None:
                row, beyond = learner
                name = (row.result.name, f"input: {row.result.inputs}", f"best of {beyond.looks} baselines")
                rows.append([_horizon(horizon, new), name, *_beside(beyond, beyond.verdict)])
        if rows:
            title = " on ".join(part for part in (group.task, group.tier) if part) if len(groups) > 1 else ""
            tables.append({"title": title, "rows": [BEYOND_HEAD, *rows], "names": 2})
    return {
        "id": "volatility",
        "nav": "volatility",
        "title": "Better than a volatility forecast?",
        "note": (
            "Whether a price rises by the wanted share within some days is mostly a question of how much it moves. So "
            "each model is compared with the strongest forecast of that: ATR over close, EWMA (RiskMetrics), HAR, "
            "GARCH. They are fitted on the training days, filtered forward, and a logistic regression on the number "
            "makes the probability. Differences are paired by day; their 95 % intervals hold for all compared models "
            "(Bonferroni). Loss is compared with the forecast of the lowest loss."
        ),
        "tables": tables,
    }


BEYOND_HEAD: list[Any] = ["", "model", "AUC", "forecast", "its AUC", "AUC minus forecast", "loss minus forecast"]


def _beside(beyond: BeyondVolatility, verdict: str) -> Row:
    gain, loss = beyond.auc_gain, beyond.loss_gain
    scores = beyond.forecast.scores
    theirs = (f"{gain.second:.3f}", "", "") if scores is None else ranged(scores.auc)
    against = "" if beyond.lowest is beyond.forecast else f"to {beyond.lowest.result.name}"
    return [
        (f"{gain.first:.3f}", "", ""),
        (beyond.forecast.result.name, "", ""),
        theirs,
        (signed(beyond.auc_at_once), VERDICTS[verdict], ""),
        (signed(beyond.loss_at_once), against, "" if loss.clear else "not clear, even alone"),
    ]


VERDICTS = {"above": "clearly better", "below": "clearly worse", "open": "not clearly different"}


def _horizon(horizon: int, new: bool) -> tuple[str, str, str]:
    return (f"h{horizon}" if new else "", "", "")


def of_question(study: StudyData, group: Group, horizon: int) -> list[BaselineRow]:
    """Returns the baselines on the most common days of a group: windows of other lengths have other days."""
    ours = [row for row in study.baselines if (row.task, row.horizon, row.tier) == (group.task, horizon, group.tier)]
    cell = next((c for c in group.cells if c.horizon == horizon and c.baseline is not None), None)
    wanted = cell.baseline if cell is not None else None
    wanted = wanted or next(reversed(ours), None)
    if wanted is None:
        return []
    return [row for row in ours if row.data_md5 == wanted.data_md5 and row.dates.tobytes() == wanted.dates.tobytes()]
