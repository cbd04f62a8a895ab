"""Compares horizons on the very same configurations: does what is good at h1 stay good at h5?

Random searches with one study seed try the same configurations at every horizon (`fts enqueue --matrix --sampler
random`). Those that ended unpruned at both are pairs: their ranks are correlated (Spearman 1904), and the price of the
other horizon's winner is read off directly. Intervals are percentiles of a bootstrap over configurations (Efron 1979).
The luck of a seed is in both numbers: it makes horizons look less alike than they are, never more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fts.analysis.data import budget_order, ranked

FEWEST = 20  # configurations that two horizons share; the interval of a correlation of fewer says nothing
RESAMPLES = 2000
LITTLE = 0.5  # of the way from the best to the middle configuration: the other horizon's winner is still a good one


@dataclass(frozen=True)
class Shared:
    """What was chosen at one horizon, judged at another. Values with their 95 % interval (low, high)."""

    budget: str
    chosen: int  # trading days: where the winner was chosen
    judged: int  # and where it is judged
    n: int  # configurations trained at both
    rho: float  # Spearman's rank correlation of their values
    rho_low: float
    rho_high: float
    place: int  # of the winner among the n where it is judged, 1 is best
    price: float  # its value there beyond the best, in units of the objective, never below 0
    part: float  # the price as a part of the way from the best to the middle configuration: 0 free, 1 as good as any
    part_low: float
    part_high: float


def shared_configurations(trials: pd.DataFrame, seed: int = 0) -> tuple[Shared, ...]:
    """Every budget and ordered pair of horizons with enough configurations in common. trials: as from `load_trials`.

    Only complete trials count: where one was pruned its value is not that of a whole training.
    """
    fit = ranked(trials)
    if fit.empty or "params" not in fit:
        return ()
    fit = fit.assign(_key=[json.dumps(params, sort_keys=True) for params in fit["params"]])
    fit = fit.drop_duplicates(["budget", "horizon", "_key"])
    rng = np.random.default_rng(seed)
    budgets = sorted(fit["budget"].dropna().unique(), key=budget_order)
    return tuple(found for budget in budgets for found in _of_budget(str(budget), fit[fit["budget"] == budget], rng))


def verdict(pairs: tuple[Shared, ...]) -> str | None:
    """yes: every winner is surely still good elsewhere; no: one surely is not; None: these pairs do not decide."""
    if pairs and all(pair.part_high < LITTLE for pair in pairs):
        return "yes"
    return "no" if any(pair.part_low > LITTLE for pair in pairs) else None


def sentences(pairs: tuple[Shared, ...]) -> str:
    """What the pairs of each budget say, the correlations and the prices of all of them in one sentence."""
    return " ".join(
        _sentence(budget, [pair for pair in pairs if pair.budget == budget])
        for budget in dict.fromkeys(pair.budget for pair in pairs)
    )


def _sentence(budget: str, pairs: list[Shared]) -> str:
    horizons = sorted({pair.chosen for pair in pairs})
    named = ", ".join(f"h{h}" for h in horizons[:-1]) + f" and h{horizons[-1]}"
    alike = ", ".join(
        f"{p.rho:.2f} [{p.rho_low:.2f}, {p.rho_high:.2f}] h{p.chosen} with h{p.judged}"
        for p in pairs
        if p.chosen < p.judged
    )
    return f"The same configurations of {budget} at {named}: ranks correlate by {alike}; {_prices(pairs)}."


def _prices(pairs: list[Shared]) -> str:
    """What the winner of one horizon is worth at another, in the best and the worst case; the rest is in the table."""
    told = [
        f"in the {case} case that of h{p.chosen} is number {p.place} of {p.n} at h{p.judged}, {p.part:.0%} "
        f"[{p.part_low:.0%}, {p.part_high:.0%}] of the way from the best to the middle one"
        for case, p in (("best", min(pairs, key=lambda p: p.part)), ("worst", max(pairs, key=lambda p: p.part)))
    ]
    return f"of the winners {' and '.join(told)}"


def _of_budget(budget: str, rows: pd.DataFrame, rng: np.random.Generator) -> Iterator[Shared]:
    """Values as losses, an AUC as its negative; one column per horizon."""
    sign = np.where(rows["objective"] == "val_auc", -1.0, 1.0)
    losses = rows.assign(_loss=sign * rows["value"].to_numpy(float)).pivot(
        index="_key", columns="horizon", values="_loss"
    )
    for chosen, judged in permutations(sorted(losses.columns), 2):
        both = losses[[chosen, judged]].dropna().sort_index()
        if len(both) >= FEWEST:
            there, here = both[chosen].to_numpy(float), both[judged].to_numpy(float)
            yield _pair(budget, int(chosen), int(judged), there, here, rng)


def _pair(
    budget: str, chosen: int, judged: int, there: NDArray[Any], here: NDArray[Any], rng: np.random.Generator
) -> Shared:
    n = len(here)
    winner = int(there.argmin())
    drawn = rng.integers(0, n, (RESAMPLES, n))
    rhos = np.array([_rho(there[rows], here[rows]) for rows in drawn])
    parts = np.array([_part(there[rows], here[rows]) for rows in drawn])
    rho_low, rho_high = np.percentile(rhos, (2.5, 97.5))
    part_low, part_high = np.percentile(parts, (2.5, 97.5))
    return Shared(
        budget=budget,
        chosen=chosen,
        judged=judged,
        n=n,
        rho=_rho(there, here),
        rho_low=float(rho_low),
        rho_high=float(rho_high),
        place=int((here < here[winner]).sum()) + 1,
        price=float(here[winner] - here.min()),
        part=_part(there, here),
        part_low=float(part_low),
        part_high=float(part_high),
    )


def _rho(x: NDArray[Any], y: NDArray[Any]) -> float:
    from scipy import stats  # 1 s of imports a reader of the types need not pay

    x_ranks, y_ranks = stats.rankdata(x), stats.rankdata(y)
    spread = x_ranks.std() * y_ranks.std()
    return float(np.cov(x_ranks, y_ranks, bias=True)[0, 1] / spread) if spread > 0 else 0.0


def _part(there: NDArray[Any], here: NDArray[Any]) -> float:
    """The price of the other winner over the distance from the best to the middle; 0 where nothing varies."""
    best, middle = float(here.min()), float(np.median(here))
    return float((here[there.argmin()] - best) / (middle - best)) if middle > best else 0.0
