"""Summarises each cell of a study: score, interval, luck, and the difference to the best baseline."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fts.analysis.baselines import best_baseline
from fts.analysis.beyond_volatility import BeyondVolatility, beyond_volatility
from fts.analysis.horizon import HorizonVariance, horizon_variance
from fts.analysis.luck import NoSkillSearch, no_skill_search
from fts.analysis.reality_check import RealityCheck, reality_check
from fts.analysis.scaling import ERROR, FEWEST_SIZES, LOSS, ScalingFit, TooFewSizes, fit_scaling
from fts.analysis.scaling_interval import SeedNoise
from fts.analysis.trials_table import budget_order, ranked, trial_name
from fts.scores.dependence import LEVEL, TooFewSamples, block_length, widening
from fts.scores.intervals import RESAMPLES, Difference, Interval, Scores, compare, measure, resample
from fts.scores.metrics import auc, auc_influence, log_losses

if TYPE_CHECKING:
    from fts.analysis.study_data import BaselineRow, Importance, StudyData


SEEDS_TO_CLAIM = 2  # trainings of a winner with other seeds that are needed to claim a lead


@dataclass(frozen=True)
class CellSummary:
    """One cell of the matrix for the report; None for unknown values."""

    experiment: str
    budget: str
    horizon: int
    task: str
    tier: str
    state: str  # of its job, or "" if unknown
    trials_wanted: int | None
    n_complete: int
    n_pruned: int
    n_failed: int
    n_collapsed: int
    minutes: float  # of training, all trials
    energy_wh: float | None  # of training, processor and GPU; None: not measured
    best: dict[str, Any] | None  # the best trial's row
    predictions: pd.DataFrame | None
    auc: Interval | None
    loss: Interval | None  # without predictions low = high = value
    scores: Scores | None
    luck: NoSkillSearch | None
    baseline: BaselineRow | None  # strongest by AUC
    auc_gain: Difference | None  # best trial minus strongest baseline, paired
    loss_gain: Difference | None
    lowest: BaselineRow | None  # the baseline with the lowest loss, often another one
    lowest_gain: Difference | None  # log loss, best trial minus that one, paired
    prior_gain: Difference | None  # log loss, best trial minus class prior, paired
    reality: RealityCheck | None  # all trials against all baselines, by log loss
    beyond: BeyondVolatility | None  # best trial and all trials against the volatility forecasts
    looks: int  # trials of all cells and earlier searches of this question, of which the best may be the luckiest
    # trainings of the winning configuration with other seeds, without the winner's own, which was selected
    n_seeds: int
    seed_mean: float | None  # of their objective: the winner's value without selection
    seed_sd: float | None
    seed_scores: tuple[tuple[float, float], ...]  # (validation loss, AUC) of those trainings
    auc_noise: SeedNoise | None  # of an AUC over seeds, pooled over the winners of the group's cells
    n_ahead: int  # complete trials of the search that are better than that mean

    @property
    def name(self) -> str | None:
        return trial_name(self.experiment, self.best["number"]) if self.best else None

    @property
    def auc_gain_at_once(self) -> Interval | None:
        """`auc_gain` with the interval that holds for all compared trials; verdicts use it."""
        return None if self.auc_gain is None else self.auc_gain.interval.at_once(self.looks)

    @property
    def against_baseline(self) -> str:
        """Returns above | below | open; "" without a comparison. Above requires it of the winner's other seeds, too."""
        return self.verdict(self.auc_gain_at_once)

    @property
    def against_volatility(self) -> str:
        """Returns the same against the best volatility forecast."""
        return self.verdict(None if self.beyond is None else self.beyond.auc_at_once)

    def verdict(self, gain: Interval | None) -> str:
        """Returns the verdict on a gain in AUC whose interval holds for all compared trials."""
        if gain is None:
            return ""
        if gain.covers(0.0):
            return "open"
        if gain.value < 0:
            return "below"
        again = self.again(gain)
        return "above" if again is not None and again.low > 0 else "open"

    def again(self, gain: Interval) -> Interval | None:
        """Returns that gain for the winner's other seeds, which were not selected, with the noise of training.

        Its value is the mean over them; its width holds for the days and, by Student's t, for the seeds. None with
        fewer than SEEDS_TO_CLAIM of them.
        """
        if self.best is None or self.auc_noise is None or not self.is_trained_again:
            return None
        from scipy.stats import t  # here, not above: see Interval.at_once

        value = gain.value + float(np.mean([auc for _, auc in self.seed_scores])) - float(self.best["val_auc"])
        of_seeds = float(t.ppf((1 + LEVEL) / 2, self.auc_noise.freedom)) * self.auc_noise.sd / np.sqrt(self.n_seeds)
        low, high = (float(np.hypot(end - gain.value, of_seeds)) for end in (gain.low, gain.high))
        return Interval(value, value - low, value + high)

    @property
    def is_searched(self) -> bool:
        """Whether all wanted trials have ended."""
        return self.n_complete + self.n_pruned + self.n_failed >= (self.trials_wanted or 0)

    @property
    def is_trained_again(self) -> bool:
        """Whether the winner was trained with enough other seeds for a positive claim."""
        return self.n_seeds >= SEEDS_TO_CLAIM


@dataclass(frozen=True)
class ScalingCurve:
    """Loss and AUC against counted parameters at one horizon, with the fits or the reason for none."""

    horizon: int
    n_params: tuple[float, ...]
    losses: tuple[float, ...]
    aucs: tuple[float, ...]
    loss_fit: ScalingFit | None
    error_fit: ScalingFit | None  # of 1 - AUC
    refusal: str | None


@dataclass(frozen=True)
class Group:
    """Comparable cells: one task on one tier."""

    task: str
    tier: str
    cells: tuple[CellSummary, ...]
    variance: HorizonVariance
    scaling: tuple[ScalingCurve, ...]
    importance: dict[str, Importance]  # by experiment; without cells with too few trials

    @property
    def horizons(self) -> tuple[int, ...]:
        return tuple(sorted({cell.horizon for cell in self.cells}))

    @property
    def budgets(self) -> tuple[str, ...]:
        return tuple(sorted({cell.budget for cell in self.cells}, key=budget_order))

    def cell(self, budget: str, horizon: int) -> CellSummary | None:
        return next((c for c in self.cells if c.budget == budget and c.horizon == horizon), None)


def summarise(study: StudyData, seed: int = 0) -> tuple[Group, ...]:
    """Returns every group of comparable cells, analysed; deterministic for a seed. 4 x 3 cells take about a minute."""
    cells = _cells(study)
    made = []
    for (task, tier), rows in cells.groupby(["task", "tier"], dropna=False, sort=True):
        trials = study.trials[study.trials["experiment"].isin(rows["experiment"])]
        summaries = [summarise_cell(study, {str(k): v for k, v in r.items()}, seed) for r in rows.to_dict("records")]
        noise = _seed_noise(summaries, 1, ())
        summaries = [replace(cell, auc_noise=noise) for cell in summaries]
        summaries.sort(key=lambda cell: (budget_order(cell.budget), cell.horizon))
        made.append(
            Group(
                task=str(task),
                tier=str(tier),
                cells=tuple(summaries),
                variance=horizon_variance(trials, seed),
                scaling=tuple(scaling_curve(summaries, h) for h in sorted({c.horizon for c in summaries})),
                importance={name: study.importance[name] for name in rows["experiment"] if name in study.importance},
            )
        )
    return tuple(made)


def summarise_cell(study: StudyData, row: dict[str, Any], seed: int = 0) -> CellSummary:
    """Summarises one cell; row as in CELL_COLUMNS."""
    experiment, horizon = str(row["experiment"]), int(row["horizon"])
    trials = study.trials[study.trials["experiment"] == experiment]
    search = trials[trials["kind"] == "cell"]
    status = search["status"].value_counts()
    fit = ranked(search)
    best = {str(k): v for k, v in fit.iloc[0].items()} if len(fit) else None
    predictions = study.predictions.get(trial_name(experiment, best["number"])) if best else None
    rivals = _rivals(study, row, best, predictions)
    baseline, lowest = _strongest(rivals), _strongest(rivals, by="loss")
    prior = next((rival for rival in rivals if rival.result.name == "class prior"), None)
    again = _replicates(study.trials, best)
    seeds = [float(value) for value in again["value"]]
    n_looks = int(status.get("complete", 0) + status.get("pruned", 0))
    looks = max(1, study.looked.get((str(row["task"]), str(row["tier"])), n_looks))
    return CellSummary(
        experiment=experiment,
        budget=str(row["budget"]),
        horizon=horizon,
        task=str(row["task"]),
        tier=str(row["tier"]),
        state=str(row["status"]) if pd.notna(row["status"]) else "",
        trials_wanted=int(row["trials_wanted"]) if pd.notna(row["trials_wanted"]) else None,
        n_complete=int(status.get("complete", 0)),
        n_pruned=int(status.get("pruned", 0)),
        n_failed=int(status.get("failed", 0)),
        n_collapsed=sum("collapsed" in badges for badges in search["badges"]),
        minutes=float(trials["minutes"].sum()),
        energy_wh=_energy(trials),
        best=best,
        predictions=predictions,
        baseline=baseline,
        lowest=lowest,
        n_seeds=len(seeds),
        seed_mean=float(np.mean(seeds)) if seeds else None,
        seed_sd=float(np.std(seeds, ddof=1)) if len(seeds) > 1 else None,
        seed_scores=tuple(zip(again["val_loss"].astype(float), again["val_auc"].astype(float), strict=True)),
        **_all_trials(study, fit, predictions, rivals, horizon, looks, seed),
        looks=looks,
        auc_noise=None,  # set by `summarise`, which knows the other cells
        n_ahead=_ahead(fit, seeds),
        **_judged(best, predictions, (baseline, lowest, prior), horizon, max(1, n_looks), seed),
    )


def _ahead(fit: pd.DataFrame, seeds: list[float]) -> int:
    if not seeds:
        return 0
    sign = -1.0 if fit["objective"].iloc[0] == "val_auc" else 1.0
    return int((sign * fit["value"] < sign * float(np.mean(seeds))).sum())


def scaling_curve(cells: list[CellSummary], horizon: int) -> ScalingCurve:
    """Returns every size at one horizon, on common days, with the spread over seeds of all cells of the group.

    A size's value is the mean over its winner's replicates if every size has at least two, else the best trial's own:
    mixed, a size with a selected value would look better than one without.
    """
    row = [c for c in cells if c.horizon == horizon and c.best is not None and c.auc and c.loss]
    row = sorted((c for c in row if _positive(c)), key=lambda c: c.best["n_params"])  # type: ignore[index]  # see _positive
    sizes = tuple(float(c.best["n_params"]) for c in row if c.best)
    losses = tuple(c.loss.value for c in row if c.loss)
    aucs = tuple(c.auc.value for c in row if c.auc)
    if len(set(sizes)) < FEWEST_SIZES:
        many = f"{len(set(sizes))} size{'' if len(set(sizes)) == 1 else 's'}"
        refusal = f"h{horizon}: {many} so far; a slope needs at least {FEWEST_SIZES}"
        return ScalingCurve(horizon, sizes, losses, aucs, None, None, refusal)
    again = [np.array(c.seed_scores).reshape(-1, 2) for c in row]
    replicated = all(len(scores) > 1 for scores in again)
    if replicated:
        losses, aucs = (tuple(float(scores[:, k].mean()) for scores in again) for k in (0, 1))
    trainings = tuple(float(len(scores)) if replicated else 1.0 for scores in again)
    try:
        draws = _paired_draws(row, horizon)
        fits = [
            fit_scaling(sizes, values, of_days, _seed_noise(cells, column, trainings) if draws else None, wider, what)
            for column, (values, what) in enumerate(((losses, LOSS), ([1 - a for a in aucs], ERROR)))
            for of_days, wider in [draws[column] if draws else (None, 1.0)]
        ]
    except (TooFewSizes, ValueError) as error:
        return ScalingCurve(horizon, sizes, losses, aucs, None, None, f"h{horizon}: {error}")
    return ScalingCurve(horizon, sizes, losses, aucs, fits[0], fits[1], None)


def _seed_noise(cells: list[CellSummary], column: int, trainings: tuple[float, ...]) -> SeedNoise | None:
    """Pools the spread over seeds over the winners of all cells; None if no winner was trained with two other seeds."""
    again = [np.array(cell.seed_scores)[:, column] for cell in cells if len(cell.seed_scores) > 1]
    freedom = sum(len(scores) - 1 for scores in again)
    if not freedom:
        return None
    squares = sum(float(((scores - scores.mean()) ** 2).sum()) for scores in again)
    return SeedNoise(float(np.sqrt(squares / freedom)), freedom, trainings)


def _cells(study: StudyData) -> pd.DataFrame:
    """Returns planned cells, and those that only occur in trials."""
    columns = list(study.cells.columns)
    known = study.trials[study.trials["kind"] == "cell"].drop_duplicates("experiment")
    extra = known[~known["experiment"].isin(study.cells["experiment"])]
    extra = extra.reindex(columns=columns).assign(trials_wanted=None, status=None)
    cells = pd.concat([study.cells.astype(object), extra.astype(object)], ignore_index=True)
    cells = cells.drop_duplicates("experiment", keep="last")
    return cells[pd.to_numeric(cells["horizon"], errors="coerce").notna()].fillna(
        {"task": "", "tier": "", "budget": "?"}
    )


def _judged(
    best: dict[str, Any] | None,
    predictions: pd.DataFrame | None,
    baselines: tuple[BaselineRow | None, BaselineRow | None, BaselineRow | None],
    horizon: int,
    n_looks: int,
    seed: int,
) -> dict[str, Any]:
    """Returns the interval fields of a CellSummary: from predictions if there are any, else from the trial's record.

    The interval of the AUC is always the recorded one, which `fts results` and the exports show, too.
    baselines: the best one by AUC, the one with the lowest loss, the class prior.
    """
    names = ("auc", "loss", "scores", "luck", "auc_gain", "loss_gain", "lowest_gain", "prior_gain")
    judged: dict[str, Any] = dict.fromkeys(names)
    if best is None:
        return judged
    judged["auc"] = _recorded(best["val_auc"], best["auc_low"], best["auc_high"])
    judged["loss"] = _recorded(best["val_loss"], best["val_loss"], best["val_loss"])
    if predictions is None:
        return judged
    y, p = predictions["y"].to_numpy(float), predictions["p"].to_numpy(float)
    try:
        scores = measure(y, p, horizon, seed)
    except TooFewSamples:
        return judged
    scores = replace(scores, auc=scores.auc.recorded(best["auc_low"], best["auc_high"]))
    judged |= {"scores": scores, "auc": scores.auc, "loss": scores.log_loss}
    judged["luck"] = no_skill_search(y, p, n_looks, horizon, seed)
    baseline, lowest, prior = baselines
    gains = (("auc_gain", baseline), ("loss_gain", baseline), ("lowest_gain", lowest), ("prior_gain", prior))
    for name, rival in gains:
        if rival is not None and (theirs := rival.on(predictions["date"].to_numpy())) is not None:
            with suppress(TooFewSamples):  # its blocks are longer, so fewer resamples may have both classes
                judged[name] = compare(y, p, theirs, horizon, "auc" if name == "auc_gain" else "log_loss", seed)
    return judged


def _rivals(
    study: StudyData, row: dict[str, Any], best: dict[str, Any] | None, predictions: pd.DataFrame | None
) -> list[BaselineRow]:
    """Returns the baselines of this cell's question and, once it has a trial, on the same data and days.

    Days differ if a task has cells with several contexts or splits: an AUC on other days is not comparable.
    """
    same = [
        b for b in study.baselines if (b.task, b.horizon, b.tier) == (row["task"], int(row["horizon"]), row["tier"])
    ]
    if best is not None and isinstance(best.get("data_md5"), str):
        same = [b for b in same if b.data_md5 == best["data_md5"]]
    if predictions is None:
        return same
    days = predictions["date"].to_numpy().astype("datetime64[D]")
    return [b for b in same if np.array_equal(b.dates, days)] or same


def _all_trials(
    study: StudyData,
    fit: pd.DataFrame,
    predictions: pd.DataFrame | None,
    rivals: list[BaselineRow],
    horizon: int,
    looks: int,
    seed: int,
) -> dict[str, Any]:
    """Returns `reality` and `beyond`, over trials and baselines with predictions on the best trial's days."""
    if predictions is None:
        return {"reality": None, "beyond": None}
    days, y = predictions["date"].to_numpy(), predictions["y"].to_numpy(float)
    experiments = zip(fit["experiment"], fit["number"], strict=True)
    names = [trial_name(str(experiment), float(number)) for experiment, number in experiments]
    tables = [study.predictions[name] for name in names if name in study.predictions]
    same = [table["p"].to_numpy(float) for table in tables if np.array_equal(table["date"].to_numpy(), days)]
    losses_NM = np.stack([log_losses(y, p) for p in same], axis=1)
    named = [(f"{rival.result.name} ({rival.result.inputs})", rival.on(days)) for rival in rivals]
    others = {name: log_losses(y, theirs) for name, theirs in named if theirs is not None}
    best = predictions["p"].to_numpy(float)
    return {
        "reality": reality_check(losses_NM, others, horizon, seed),
        "beyond": beyond_volatility(y, best, days, rivals, horizon, looks, seed, losses_NM),
    }


def _strongest(rivals: list[BaselineRow], by: str = "auc") -> BaselineRow | None:
    if not rivals:
        return None
    strongest = best_baseline([rival.result for rival in rivals], by)
    return next(rival for rival in rivals if rival.result is strongest)


def _paired_draws(cells: list[CellSummary], horizon: int, seed: int = 0) -> list[tuple[np.ndarray, float]] | None:
    """Returns losses and 1 - AUC of all sizes on the same resampled days, each (R, P), with the factor by which its
    spread is too small; None if the sizes do not share their days.
    """
    frames = [c.predictions for c in cells]
    if any(frame is None for frame in frames):
        return None
    days = [frame["date"].to_numpy() for frame in frames if frame is not None]
    if any(not np.array_equal(days[0], other) for other in days[1:]):
        return None
    pairs = [(f["y"].to_numpy(float), f["p"].to_numpy(float)) for f in frames if f is not None]
    losses = np.stack([log_losses(y, p) for y, p in pairs])
    apart = losses[0] - losses[-1], auc_influence(*pairs[0]) - auc_influence(*pairs[-1])
    blocks = [block_length(series, horizon) for series in apart]
    weights = resample(losses.shape[1], max(blocks), seed, RESAMPLES)
    drawn = weights @ losses.T / losses.shape[1], np.stack([1 - auc(y, p, weights) for y, p in pairs], axis=1)
    return [(draws, widening(series, max(blocks))) for draws, series in zip(drawn, apart, strict=True)]


def _replicates(trials: pd.DataFrame, best: dict[str, Any] | None) -> pd.DataFrame:
    """Returns the winner's other trainings: other seeds, each once, the same effective configuration."""
    again = trials[(trials["kind"] == "replicate") & (trials["status"] == "complete")].dropna(
        subset=["value", "val_auc"]
    )
    same = again["effective_md5"] == (best["effective_md5"] if best is not None else None)
    found: pd.DataFrame = again[same].drop_duplicates("seed")
    return found


def _energy(trials: pd.DataFrame) -> float | None:
    """Returns watt hours of all trials; None unless every trial was measured, because a partial sum would mislead."""
    reused = trials["badges"].map(lambda badges: "reused" in badges).astype(bool)
    trained = trials[(trials["minutes"] > 0) & ~reused]
    return float(trained["energy_wh"].sum()) if len(trained) and trained["energy_wh"].notna().all() else None


def _recorded(value: Any, low: Any, high: Any) -> Interval | None:
    if value is None or pd.isna(value):
        return None
    return Interval(float(value), *(float(value if pd.isna(end) else end) for end in (low, high)))


def _positive(cell: CellSummary) -> bool:
    return bool(cell.best and pd.notna(cell.best["n_params"]) and cell.best["n_params"] > 0)
