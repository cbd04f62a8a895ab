"""The walk-forward view: winners trained again before each fold, compared with the baselines of the same folds.

A winner was chosen on the days of its search's validation part. The folds go further back: results before that part
are free of that choice. Every number is a mean over folds and seeds (fts.scores.folds).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fts.analysis.beyond_volatility import is_forecast
from fts.analysis.interval_text import ends, ranged
from fts.scores.dependence import TooFewSamples
from fts.scores.folds import Luck, fold_days, measured, over_folds, over_seeds, paired

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.analysis.study_data import BaselineRow, StudyData, WalkRow
    from fts.scores.intervals import Interval

Row = list[tuple[str, str, str]]
FEWEST = 250  # days before the search's validation part; with fewer they are not evaluated separately


@dataclass(frozen=True)
class WalkComparison:
    """Walked winner minus its strongest rivals on the same days; the intervals include days and seeds."""

    rival: BaselineRow  # with the highest AUC
    rival_auc: float  # mean over folds
    auc: Interval
    lowest: BaselineRow  # with the lowest loss
    lowest_loss: float
    loss: Interval  # below zero: the winner is better
    auc_before: Interval | None  # on the days before those on which the winner was chosen


@dataclass(frozen=True)
class Walked:
    """One winner on its folds."""

    row: WalkRow
    seeds: int
    n: int
    n_pos: int
    n_before: int  # days of the whole folds before those on which the winner was chosen
    auc: Interval
    loss: Interval
    by_fold: tuple[float, ...]  # AUC, mean over the seeds
    baseline: WalkComparison | None  # with the highest AUC on these folds
    forecast: WalkComparison | None  # the volatility forecast with the highest AUC

    @property
    def has_several_seeds(self) -> bool:
        """Whether it was trained more than once: one training allows no verdict."""
        return self.seeds > 1

    @property
    def asked_folds(self) -> str:
        """Returns 4of6, as `fts replicate` accepts it."""
        return self.row.walk_task.partition("walk-forward:")[2].split(" ")[0]

    def verdict(self, beside: WalkComparison | None, looks: int) -> str:
        """Returns above | below | open, of `looks` winners; above needs it before its search's days and two seeds."""
        if beside is None or not self.has_several_seeds:
            return "open"
        if beside.auc.at_once(looks).high < 0:
            return "below"
        before = beside.auc_before
        return "above" if before is not None and before.at_once(looks).low > 0 else "open"


def walked(study: StudyData) -> tuple[Walked, ...]:
    """Returns every walked winner, by task, horizon and size; without those whose days do not allow an interval."""
    found = []
    for row in study.walks:
        rivals = [b for b in study.baselines if (b.task, b.horizon, b.tier) == (row.walk_task, row.horizon, row.tier)]
        with_days = [b for b in rivals if b.data_md5 == row.data_md5]
        try:
            found.append(_evaluated(row, with_days))
        except TooFewSamples:
            continue
    return tuple(found)


def _evaluated(row: WalkRow, rivals: Sequence[BaselineRow]) -> Walked:
    days, y, lucks = row.dates, row.y, row.lucks
    before = days < row.chosen_from if row.chosen_from is not None else np.zeros(len(days), bool)
    known = [(rival, p) for rival in rivals if (p := rival.on(days)) is not None]
    return Walked(
        row=row,
        seeds=len(row.p_SN),
        n=len(y),
        n_pos=int(y.sum()),
        n_before=sum(map(len, _whole(row, before))),
        auc=over_seeds(row.recorded, lucks["auc"])
        or measured("auc", y, row.p_SN, row.folds, row.horizon, lucks["auc"]),
        loss=measured("log_loss", y, row.p_SN, row.folds, row.horizon, lucks["log_loss"]),
        by_fold=tuple(
            float(np.mean([over_folds("auc", y[k], p[k], 1)[0] for p in row.p_SN]))
            for k in fold_days(len(y), row.folds)
        ),
        baseline=_compare_rivals(row, known, before),
        forecast=_compare_rivals(row, [one for one in known if is_forecast(one[0])], before),
    )


def _compare_rivals(
    row: WalkRow, known: Sequence[tuple[BaselineRow, np.ndarray]], before: np.ndarray
) -> WalkComparison | None:
    """Compares the winner with the rivals of the highest AUC and of the lowest loss, which may differ."""
    if not known:
        return None

    def score(metric: str, p: np.ndarray) -> float:
        return float(over_folds(metric, row.y, p, row.folds)[0])

    def minus(metric: str, p: np.ndarray) -> Interval:
        return paired(metric, row.y, row.p_SN, [p], row.folds, row.horizon, row.lucks[metric], (len(row.p_SN), 0))

    rival, p = max(known, key=lambda one: score("auc", one[1]))
    lowest, q = min(known, key=lambda one: score("log_loss", one[1]))
    ahead = _before(row, p, before, row.lucks["auc"])
    losses = score("log_loss", q), minus("log_loss", q)
    return WalkComparison(rival, score("auc", p), minus("auc", p), lowest, *losses, ahead)


def _before(row: WalkRow, p: np.ndarray, before: np.ndarray, luck: Luck | None) -> Interval | None:
    """Returns the gain on the whole folds before the days of the choice; with fewer folds the seed's luck is larger."""
    whole = _whole(row, before)
    if sum(map(len, whole)) < FEWEST:
        return None
    n, folds = sum(map(len, whole)), len(whole)
    y, mine = row.y[:n], [each[:n] for each in row.p_SN]
    if luck is not None:
        luck = Luck(luck.sd * float(np.sqrt(row.folds / folds)), luck.freedom)
    try:
        return paired("auc", y, mine, [p[:n]], folds, row.horizon, luck, (len(mine), 0))
    except TooFewSamples:
        return None


def _whole(row: WalkRow, before: np.ndarray) -> list[np.ndarray]:
    return [k for k in fold_days(len(row.y), row.folds) if before[k].all()]


HEAD: list[Any] = ["", "winner", "AUC", "loss", "AUC − baseline", "before the search",
                   "loss − baseline", "AUC − volatility"]  # fmt: skip
NOTE = (
    "Each winner was trained again on the days before each fold and predicted the fold; no fold decides when to stop. "
    "The baselines were fitted on the same folds. AUC is the mean over folds and seeds, with each fold's below it; the "
    "95 % intervals include the luck of the days (in blocks) and of the seed (Student's t, pooled over the winners; "
    "with one seed each, only that of the days). A winner and its epochs were chosen on the validation days of its "
    "search, which are among these days; the column before the search has only the whole folds before them. Baselines "
    "were chosen on the days shown, by AUC for AUC and by loss for loss, so their luck counts against the winner. The "
    "default window, norm and inputs were themselves decided by walk-forward on the S&P 500 and the Nasdaq, 2007 to "
    "2016: on those days no lead is free of this choice."
)


def section(found: Sequence[Walked]) -> dict[str, Any]:
    """Returns a section for fts.analysis.sections, the first of the page."""
    tables: list[dict[str, Any]] = []
    for key in dict.fromkeys((w.row.task, w.row.tier) for w in found):
        rows: list[Row] = []
        mine = sorted((w for w in found if (w.row.task, w.row.tier) == key), key=lambda w: w.row.horizon)
        for n, one in enumerate(mine):
            rows.append(_row(one, new=not n or mine[n - 1].row.horizon != one.row.horizon))
        title = " on ".join(part for part in key if part)
        tables.append({"title": f"{title}: {_span(mine[0])}", "rows": [HEAD, *rows], "names": 2})
    return {"id": "walk-forward", "nav": "walk-forward", "title": "Walk-forward", "note": NOTE, "tables": tables}


def _span(one: Walked) -> str:
    first, last = (str(day)[:10] for day in (one.row.dates[0], one.row.dates[-1]))
    return f"{one.n} days in {one.row.folds} folds, {first} to {last}"


def _row(one: Walked, new: bool) -> Row:
    row, beside, forecast = one.row, one.baseline, one.forecast
    seeds = (
        f"{one.seeds} of {row.wanted} seeds" if one.seeds < row.wanted else f"{one.seeds} seed{'s' * (one.seeds > 1)}"
    )
    by_fold = " ".join(f"{auc:.3f}".lstrip("0") for auc in one.by_fold)
    return [
        (f"h{row.horizon}" if new else "", f"{one.n_pos} rises" if new else "", ""),
        (row.budget, seeds, ""),
        ranged(one.auc, count=by_fold),
        ranged(one.loss, 4),
        _minus(None if beside is None else beside.auc, _of(beside)),
        _minus(None if beside is None else beside.auc_before, f"{one.n_before} days"),
        _minus(
            None if beside is None else beside.loss,
            "" if beside is None else f"{beside.lowest.result.name}: {beside.lowest_loss:.4f}",
        ),
        _minus(None if forecast is None else forecast.auc, _of(forecast)),
    ]


def _of(beside: WalkComparison | None) -> str:
    return "" if beside is None else f"{beside.rival.result.name}: {beside.rival_auc:.3f}"


def _minus(gain: Interval | None, rival: str) -> tuple[str, str, str]:
    return ("–", "", "") if gain is None else (*ends(gain), rival)
