"""The report's numbers as rows of its page, rounded, as text; tables_machine has them for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from fts.analysis.interval_text import ends, ranged, signed
from fts.analysis.tables_machine import PROVENANCE

if TYPE_CHECKING:
    from fts.analysis.study_data import BaselineRow, StudyData
    from fts.analysis.summarise import CellSummary, Group
    from fts.scores.intervals import Difference, Scores

NONE = "–"
NOT_MEASURED = "not measurable here"
SCORES = "Brier|avg. prec.|precision = recall|calibr. error"


def matrix(group: Group) -> list[dict[str, Any]]:
    """Returns rows of the page's matrix, as text."""
    return [{"budget": b, "cells": [_matrix_cell(group.cell(b, h)) for h in group.horizons]} for b in group.budgets]


def baseline_rows(study: StudyData, group: Group) -> list[list[Any]]:
    """Returns head and rows: horizon, name, then every score with its interval and count, strongest first."""
    ours = [row for row in study.baselines if (row.task, row.tier) == (group.task, group.tier)]
    ours.sort(key=lambda row: (row.horizon, -row.result.auc))
    rows: list[list[Any]] = []
    for row in ours:
        new = not rows or rows[-1][0] != row.horizon
        result = row.result
        days = f"{result.n_val} days, {result.n_pos} positive" if new else ""
        which = (f"h{row.horizon}" if new else "", days, "")
        name = (result.name, f"input: {result.inputs}; {result.seconds:.1f} s", "")
        rows.append([row.horizon, which, name, *_baseline_scores(row)])
    head: list[Any] = ["", "baseline", "AUC", "loss", *SCORES.split("|")]
    return [head, *[row[1:] for row in rows]] if rows else []


def _baseline_scores(row: BaselineRow) -> list[tuple[str, str, str]]:
    result, scores = row.result, row.scores
    if scores is None:
        values = ((result.auc, 3), (result.loss, 4), (result.brier, 4), (result.average_precision, 3))
        return [*[(f"{value:.{digits}f}", "no interval", "") for value, digits in values], *[(NONE, "", "")] * 2]
    auc, precision = ranged(scores.auc), ranged(scores.precision)
    if scores.auc.low == scores.auc.high:  # one probability for every day
        auc, precision = (f"{result.auc:.3f}", "by definition", ""), (NONE, "ranks no day", "")
    loss, brier, found = ranged(scores.log_loss, 4), ranged(scores.brier, 4), ranged(scores.average_precision)
    return [auc, loss, brier, found, precision, _calibration(scores)]


def _calibration(scores: Scores) -> tuple[str, str, str]:
    return ranged(scores.calibration_error, count=f"chance up to {scores.calibration_limit:.3f}")


def score_rows(group: Group) -> list[list[Any]]:
    """Returns head and rows of every score, with interval and counts; empty without predictions."""
    judged = [(cell, cell.scores) for cell in group.cells if cell.scores is not None]
    if not judged:
        return []
    head = f"cell|loss|loss minus baseline|{SCORES}|luck limit|deflated AUC"
    rows = [
        [
            (f"{cell.budget} h{cell.horizon}", "", ""),
            ranged(scores.log_loss, 4),
            _loss_versus(cell),
            ranged(scores.brier, 4),
            ranged(scores.average_precision),
            ranged(scores.precision, count=f"{scores.n_hit} of {scores.n_flagged} flagged"),
            _calibration(scores),
            (NONE, "", "")
            if cell.luck is None
            else (f"{cell.luck.luck_limit:.3f}", f"best of {cell.luck.n_trials}", ""),
            (NONE, "", "") if cell.luck is None else (f"{cell.luck.deflated:.3f}", cell.luck.p_told, ""),
        ]
        for cell, scores in judged
    ]
    return [head.split("|"), *rows]


def figure_table(name: str, group: Group) -> list[list[str]]:
    """Returns a small table below a figure, head first; empty for figures without one."""
    if name == "hyperparameters" and group.variance.effects:
        head = ["parameter", *[f"median h{h}" for h in group.variance.horizons]]
        head += ["eta²", "by chance", "p, corrected", "p, one vote per cell, uncorrected"]
        return [
            head,
            *[
                [
                    effect.label,
                    *[f"{effect.medians[h]:.3g}" if h in effect.medians else NONE for h in group.variance.horizons],
                    f"{effect.eta_squared:.2f}",
                    f"{effect.by_chance:.2f}",
                    f"{effect.p_holm:.3f}",
                    NONE if effect.p_cells is None else f"{effect.p_cells:.3f}",
                ]
                for effect in group.variance.effects
            ],
        ]
    if name == "cost":
        return cost_rows(group)
    if name == "scaling":
        told = [[f"h{c.horizon}", c.loss_fit.sentence if c.loss_fit else (c.refusal or NONE)] for c in group.scaling]
        return [["horizon", "L(N) = E + A N^-alpha"], *told]
    return []


def cost_rows(group: Group) -> list[list[str]]:
    """Returns head and rows: the cost of each cell, and the sum."""
    cells = [cell for cell in group.cells if cell.minutes > 0]
    head = ["cell", "trials", "pruned", "training, h", "per trial, min", "energy, Wh", "remaining, h"]
    rows = [
        [
            f"{cell.budget} h{cell.horizon}",
            f"{_ended(cell)}{f' of {cell.trials_wanted}' if cell.trials_wanted else ''}",
            str(cell.n_pruned),
            f"{cell.minutes / 60:.2f}",
            f"{cell.minutes / _ended(cell):.1f}" if _ended(cell) else NONE,
            NOT_MEASURED if cell.energy_wh is None else f"{cell.energy_wh:.0f}",
            _to_come(cell),
        ]
        for cell in cells
    ]
    energies = [cell.energy_wh for cell in cells if cell.energy_wh is not None]
    energy = f"{sum(energies):.0f}" if cells and len(energies) == len(cells) else NOT_MEASURED
    ended, pruned = sum(map(_ended, cells)), sum(cell.n_pruned for cell in cells)
    hours = sum(cell.minutes for cell in cells) / 60
    return [head, *rows, ["all", str(ended), str(pruned), f"{hours:.2f}", "", energy, ""]] if rows else []


def _ended(cell: CellSummary) -> int:
    return cell.n_complete + cell.n_pruned + cell.n_failed


def _to_come(cell: CellSummary) -> str:
    """Estimates the remaining hours at the pace so far; `fts plan` has an interval."""
    ended, wanted = _ended(cell), cell.trials_wanted
    if not ended or wanted is None:
        return NONE
    return f"about {cell.minutes / 60 / ended * max(0, wanted - ended):.1f}" if wanted > ended else "0"


def as_rows(frame: pd.DataFrame) -> list[list[str]]:
    """Returns head and rows as text for a page; fingerprints shortened."""
    rows = [[_short(name, value) for name, value in row.items()] for row in frame.to_dict("records")]
    return [[str(name) for name in frame.columns], *rows]


def shared_and_own(frame: pd.DataFrame) -> tuple[list[tuple[str, str]], pd.DataFrame]:
    """Returns what all rows have in common, as (name, text), and the table without it, which is then narrower."""
    if len(frame) < 2:
        return [], frame
    shared = [name for name in PROVENANCE if frame[name].astype(str).nunique(dropna=False) == 1]
    told = [(name, _short(name, frame[name].iloc[0])) for name in shared]
    return [(name, text) for name, text in told if text != NONE], frame.drop(columns=shared)


def _matrix_cell(cell: CellSummary | None) -> dict[str, Any]:
    if cell is None:
        return {"auc": "", "trials": "not planned"}
    trials = f"{cell.n_complete} complete, {cell.n_pruned} pruned, {cell.n_failed} failed"
    trials += f" of {cell.trials_wanted}" if cell.trials_wanted is not None else ""
    if cell.best is None or cell.auc is None:
        return {"auc": "", "trials": f"{cell.state or 'no result yet'}: {trials}"}
    best, loss = cell.best, "no loss recorded"
    if cell.loss is not None:
        ends = f" [{cell.loss.low:.3f}, {cell.loss.high:.3f}]" if cell.loss.low < cell.loss.high else ""
        loss = f"loss {cell.loss.value:.4f}{ends}"
        loss += f"; {_less_than_prior(cell)}" if pd.notna(best["prior_loss"]) else ""
    counts = f"n {_whole(best['n_val'])} ({_whole(best['n_pos'])} positive)"
    counts += f", n effective {cell.scores.n_effective:.0f}" if cell.scores is not None else ""
    return {
        "auc": f"{cell.auc.value:.3f}",
        "interval": f"{cell.auc.low:.3f} to {cell.auc.high:.3f}",
        "versus": _versus(cell.auc_gain, cell),
        "direction": {"above": "up", "below": "down"}.get(cell.against_baseline, "flat"),
        "loss": loss,
        "counts": counts,
        "trials": trials,
        "shape": str(best["architecture"]) + _seeds(cell),
    }


def _less_than_prior(cell: CellSummary) -> str:
    """Says how the best trial's loss compares with always predicting the class prior."""
    prior = f"class prior {(cell.best or {})['prior_loss']:.4f}"
    if cell.prior_gain is None:
        return prior
    gain = cell.prior_gain.interval
    return f"{signed(gain)} vs {prior}"


def _seeds(cell: CellSummary) -> str:
    """Says the winner's objective with other seeds, without its own, which was selected."""
    if cell.seed_mean is None:
        return "; one seed"
    sd = "" if cell.seed_sd is None else f", sd {cell.seed_sd:.4f}"
    return f"; {cell.n_seeds} other seed{'s' if cell.n_seeds > 1 else ''}: mean {cell.seed_mean:.4f}{sd}"


def _versus(gain: Difference | None, cell: CellSummary) -> str:
    if gain is None or cell.baseline is None:
        return "no baseline on the same days"
    return f"{signed(gain.interval)} vs {cell.baseline.result.name}"


def _loss_versus(cell: CellSummary) -> tuple[str, str, str]:
    if cell.loss_gain is None:
        return NONE, "", ""
    return *ends(cell.loss_gain.interval), _lowest_versus(cell)


def _lowest_versus(cell: CellSummary) -> str:
    """Says how the cell compares with the baseline of the lowest loss, if that is not the best one by AUC."""
    if cell.lowest is None or cell.lowest_gain is None or cell.lowest is cell.baseline:
        return ""
    value, between = ends(cell.lowest_gain.interval)
    return f"to {cell.lowest.result.name}:\n{value}\n{between}"


def _short(name: Any, value: Any) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return NONE
    if name == "n_params":
        return f"{value:,.0f}"
    if isinstance(value, float):
        return f"{value:.4f}"
    return str(value)[:8] if str(name).endswith("_md5") or name == "code_commit" else str(value)


def _whole(value: Any) -> str:
    return NONE if pd.isna(value) else f"{value:.0f}"
