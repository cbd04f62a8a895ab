"""Compares horizons on the same configurations: is a configuration that is good at h1 good at h5?

Random searches with one study seed try the same configurations at every horizon (`fts enqueue --matrix --sampler
random`). Those that ended unpruned at both are pairs: their ranks are correlated (Spearman 1904), and the cost of the
other horizon's winner is read directly. Intervals are percentiles of a bootstrap over configurations (Efron 1979).
Both numbers contain the luck of a seed, which makes horizons look less alike, never more. So a poor winner
alone does not show that horizons differ: in 50 of 60 simulated studies with one truth and much luck it would have said
so. It takes parameters whose effect differs at the other horizon by more than one response surface for both explains
(surfaces: it allows one horizon to be noisier than the other).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from fts.analysis.surfaces import p_common
from fts.analysis.trials_table import budget_order, ranked

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from numpy.typing import NDArray

FEWEST = 20  # configurations shared by two horizons; with fewer the interval of a correlation is useless
RESAMPLES = 2000
LEVEL = 0.05
SEARCHED = ("learning_rate", "weight_decay", "dropout", "warmup_steps", "n_layers", "d_model")
LITTLE = 0.5  # of the way from the best to the median configuration: the other horizon's winner is still a good one


@dataclass(frozen=True)
class Shared:
    """The choice of one horizon, evaluated at another. Values with their 95 % interval (low, high)."""

    budget: str
    chosen: int  # trading days: horizon where the winner was chosen
    judged: int  # horizon where it is evaluated
    n: int  # number of configurations trained at both
    rho: float  # Spearman's rank correlation of their values
    rho_low: float
    rho_high: float
    place: int  # rank of the winner among the n where it is evaluated, 1 is best
    price: float  # its value there minus the best, in units of the objective, never below 0
    part: float  # the price as a part of the way from the best to the median configuration: 0 best, 1 median
    part_low: float
    part_high: float
    p_alike: float  # probability that parameters differ this much if both horizons have one surface; for all pairs


def shared_configurations(trials: pd.DataFrame, seed: int = 0) -> tuple[Shared, ...]:
    """Returns every budget and ordered pair of horizons with enough common configurations (of `load_trials`).

    Only complete trials count, because a pruned one has no value of a full training.
    """
    fit = ranked(trials)
    if fit.empty or "params" not in fit:
        return ()
    fit = fit.assign(_key=[json.dumps(params, sort_keys=True) for params in fit["params"]])
    fit = fit.drop_duplicates(["budget", "horizon", "_key"])
    rng = np.random.default_rng(seed)
    budgets = sorted(fit["budget"].dropna().unique(), key=budget_order)
    found = [pair for budget in budgets for pair in _of_budget(str(budget), fit[fit["budget"] == budget], rng)]
    asked = len(found) // 2  # a pair and its mirror are one test
    return tuple(replace(pair, p_alike=min(1.0, asked * pair.p_alike)) for pair in found)


def verdict(pairs: tuple[Shared, ...]) -> str | None:
    """Returns yes: every winner is surely good elsewhere; no: one is not, and not by luck; None: undecided."""
    if pairs and all(pair.part_high < LITTLE for pair in pairs):
        return "yes"
    return "no" if any(pair.part_low > LITTLE and pair.p_alike < LEVEL for pair in pairs) else None


def sentences(pairs: tuple[Shared, ...]) -> str:
    """Says what the pairs of each budget show: correlations and prices in one sentence."""
    return " ".join(
        _sentence(budget, [pair for pair in pairs if pair.budget == budget])
        for budget in dict.fromkeys(pair.budget for pair in pairs)
    )


def _sentence(budget: str, pairs: list[Shared]) -> str:
    horizons = sorted({pair.chosen for pair in pairs})
    named = ", ".join(f"h{h}" for h in horizons[:-1]) + f" and h{horizons[-1]}"
    alike = ", ".join(
        f"{p.rho:.2f} [{p.rho_low:.2f}, {p.rho_high:.2f}] between h{p.chosen} and h{p.judged}"
        for p in pairs
        if p.chosen < p.judged
    )
    text = f"The same configurations of {budget} ran at {named}. Their ranks correlate: {alike}."
    return f"{text} {_prices(pairs)} {_differences(pairs)}"


def _differences(pairs: list[Shared]) -> str:
    """Says whether parameters have the same effect at all horizons: else a poor winner may be the luck of a seed."""
    least = min(pairs, key=lambda pair: pair.p_alike)
    between = f"h{least.chosen} and h{least.judged}"
    if least.p_alike < LEVEL:
        return f"Parameters matter differently at {between} (corrected p {least.p_alike:.3f})."
    return (
        f"It is not shown that parameters matter differently (smallest corrected p {least.p_alike:.2f}, {between}): a "
        "poor rank at another horizon can be the luck of the seed."
    )


def _prices(pairs: list[Shared]) -> str:
    """Says how good the winner of one horizon is at another, in the best and the worst case; the table has the rest."""
    told = [
        f"{case} case: the best configuration of h{p.chosen} has rank {p.place} of {p.n} at h{p.judged}, {p.part:.0%} "
        f"[{p.part_low:.0%}, {p.part_high:.0%}] of the way from the best value to the median."
        for case, p in (("Best", min(pairs, key=lambda p: p.part)), ("Worst", max(pairs, key=lambda p: p.part)))
    ]
    return " ".join(told)


def _of_budget(budget: str, rows: pd.DataFrame, rng: np.random.Generator) -> Iterator[Shared]:
    """Yields the pairs of one budget. Values are losses, an AUC as its negative; one column per horizon."""
    sign = np.where(rows["objective"] == "val_auc", -1.0, 1.0)
    losses = rows.assign(_loss=sign * rows["value"].to_numpy(float)).pivot(
        index="_key", columns="horizon", values="_loss"
    )
    searched = rows.drop_duplicates("_key").set_index("_key").reindex(columns=list(SEARCHED))
    for chosen, judged in permutations(sorted(losses.columns), 2):
        both = losses[[chosen, judged]].dropna().sort_index()
        if len(both) >= FEWEST:
            there, here = both[chosen].to_numpy(float), both[judged].to_numpy(float)
            found = _pair(budget, int(chosen), int(judged), there, here, rng)
            yield replace(found, p_alike=_p_alike(there, here, searched.loc[both.index].to_numpy(float)))


def _pair(
    budget: str, chosen: int, judged: int, there: NDArray[Any], here: NDArray[Any], rng: np.random.Generator
) -> Shared:
    n = len(here)
    winner = int(there.argmin())
    drawn = rng.integers(0, n, (RESAMPLES, n))
    rhos, parts = _rhos(there[drawn], here[drawn]), _parts(there[drawn], here[drawn])
    rho_low, rho_high = np.percentile(rhos, (2.5, 97.5))
    part_low, part_high = np.percentile(parts, (2.5, 97.5))
    return Shared(
        budget=budget,
        chosen=chosen,
        judged=judged,
        n=n,
        rho=float(_rhos(there[None], here[None])[0]),
        rho_low=float(rho_low),
        rho_high=float(rho_high),
        place=int((here < here[winner]).sum()) + 1,
        price=float(here[winner] - here.min()),
        part=float(_parts(there[None], here[None])[0]),
        part_low=float(part_low),
        part_high=float(part_high),
        p_alike=1.0,
    )


def _p_alike(there: NDArray[Any], here: NDArray[Any], searched_NK: NDArray[Any]) -> float:
    """Returns `p_common` of the two horizons; 1 if no known parameter was searched, or configurations are too few."""
    known_NK = searched_NK[:, np.isfinite(searched_NK).all(axis=0)]
    scaled_NK = np.where((known_NK > 0).all(axis=0), np.log(np.maximum(known_NK, 1e-300)), known_NK)
    found = p_common((scaled_NK, scaled_NK), (there, here)) if scaled_NK.shape[1] else None
    return 1.0 if found is None else found


def _rhos(x_RN: NDArray[Any], y_RN: NDArray[Any]) -> NDArray[np.float64]:
    """Returns Spearman's correlation of each row; 0 for constant values."""
    from scipy import stats  # here, not above: 1 s of imports

    x_RN, y_RN = (stats.rankdata(rows, axis=1) - (rows.shape[1] + 1) / 2 for rows in (x_RN, y_RN))
    spread_R = np.sqrt((x_RN**2).sum(axis=1) * (y_RN**2).sum(axis=1))
    shared_R = (x_RN * y_RN).sum(axis=1)
    rho_R: NDArray[np.float64] = np.divide(shared_R, spread_R, out=np.zeros(len(x_RN)), where=spread_R > 0)
    return rho_R


def _parts(there_RN: NDArray[Any], here_RN: NDArray[Any]) -> NDArray[np.float64]:
    """Returns the other winner's price divided by the distance from best to median, each row; 0 for constant values."""
    best_R, middle_R = here_RN.min(axis=1), np.median(here_RN, axis=1)
    price_R = here_RN[np.arange(len(here_RN)), there_RN.argmin(axis=1)] - best_R
    part_R: NDArray[np.float64] = np.divide(
        price_R, middle_R - best_R, out=np.zeros(len(here_RN)), where=middle_R > best_R
    )
    return part_R
