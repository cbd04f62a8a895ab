"""Answers "can one search serve all horizons?": do the best trials of h1, h3 and h5 need different settings?

The horizon variance study of phase 6A. It compares the top trials of each cell: how much of the spread of a parameter
is between horizons (eta squared), and how often would that happen if the horizons' names were assigned at random
(permutation within each budget, Holm's correction over the parameters)? Top trials of one search are not independent,
because a sampler searches near good values; with three budgets or more, cells are therefore also tested as single
votes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fts.analysis.paired_configurations import Shared, shared_configurations
from fts.analysis.paired_configurations import sentences as shared_sentences
from fts.analysis.paired_configurations import verdict as shared_verdict
from fts.analysis.surfaces import p_common
from fts.analysis.trials_table import budget_order, placed

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOP_SHARE = 0.2  # of a cell's comparable trials
FEWEST_TOP = 5  # trials of a cell; with fewer the median is unreliable
FEWEST_BUDGETS = 3  # for cells as votes: 3! assignments of 3 horizons in each of 3 budgets give 216 permutations
PERMUTATIONS = 5000
ANSWERED = {
    "yes": "Yes: a configuration that is best at one horizon is a good one at the others too.",
    "no": "No: a configuration that is best at one horizon can be far from the best at another.",
}
LEVEL = 0.05
POWER = 0.8
TOO_BLUNT = 0.4  # of the spread: a test that detects only more than this cannot say "no difference"


@dataclass(frozen=True)
class Parameter:
    name: str
    label: str
    log: bool  # whether it is compared on a log scale, as it is searched


PARAMETERS = (
    Parameter("learning_rate", "learning rate", log=True),
    Parameter("dropout", "dropout", log=False),
    Parameter("weight_decay", "weight decay", log=True),
    Parameter("n_layers", "depth", log=True),
    Parameter("d_model", "width", log=True),
)


@dataclass(frozen=True)
class HorizonEffect:
    """Difference of one parameter between horizons among the top trials."""

    name: str
    label: str
    eta_squared: float  # share of the spread within budgets that is between horizons, 0..1
    by_chance: float  # mean eta squared with shuffled horizons
    p_value: float  # permutation
    p_holm: float  # corrected for the number of parameters
    p_cells: float | None  # permutation of whole cells; None below FEWEST_BUDGETS budgets
    medians: dict[int, float]  # horizon -> median of the top trials
    n: int  # top trials over all horizons

    @property
    def differs(self) -> bool:
        return self.p_holm < LEVEL


@dataclass(frozen=True)
class HorizonVariance:
    """The table, and the answer in one sentence."""

    effects: tuple[HorizonEffect, ...]
    top_per_cell: dict[str, int]  # experiment -> number of compared trials
    horizons: tuple[int, ...]
    budgets: tuple[str, ...]
    p_common: float | None  # of one response surface for all horizons, over all budgets; None: too few trials
    detectable: float | None  # eta squared that these counts detect with 80 % probability
    verdict: str  # yes | no | perhaps not | cannot say
    sentence: str
    shared: tuple[Shared, ...] = ()  # same configurations at two horizons, if a search tried them at both


def horizon_variance(trials: pd.DataFrame, seed: int = 0, permutations: int = PERMUTATIONS) -> HorizonVariance:
    """Compares the top trials of all horizons and answers in one sentence. trials: a table of `load_trials`.

    If horizons were searched with the same configurations, these are compared, too, and decide if they can. Cells
    with fewer than FEWEST_TOP top trials are left out; "cannot say" if fewer than two horizons remain.
    """
    pairs = shared_configurations(trials, seed)
    found = _by_top_trials(trials, seed, permutations)
    if not pairs:
        return found
    decided, told = shared_verdict(pairs), shared_sentences(pairs)
    if decided is None:
        return replace(found, shared=pairs, sentence=f"{found.sentence} {told}")
    return replace(found, shared=pairs, verdict=decided, sentence=f"{ANSWERED[decided]} {told} {found.sentence}")


def _by_top_trials(trials: pd.DataFrame, seed: int, permutations: int) -> HorizonVariance:
    """Answers from the best trials of each horizon."""
    top = top_trials(trials)
    horizons = tuple(sorted(int(h) for h in top["horizon"].unique()))
    budgets = tuple(sorted(map(str, top["budget"].unique()), key=budget_order))
    counts = {str(name): int(n) for name, n in top.groupby("experiment").size().items()}
    if len(horizons) < 2:
        return HorizonVariance((), counts, horizons, budgets, None, None, "cannot say", _too_few(trials))
    rng = np.random.default_rng(seed)
    found = [effect for p in PARAMETERS if (effect := _effect(top, p, rng, permutations)) is not None]
    effects = _with_holm(found)
    detectable = detectable_eta_squared(len(top), len(horizons), len(budgets), max(1, len(effects)))
    common = _p_common(trials, budgets, seed)
    verdict, sentence = _answer(effects, common, detectable, horizons, budgets, len(top))
    return HorizonVariance(effects, counts, horizons, budgets, common, detectable, verdict, sentence)


def _p_common(trials: pd.DataFrame, budgets: tuple[str, ...], seed: int) -> float | None:
    """Returns the smallest `p_common` of a budget times their number; None if no budget has enough trials."""
    fit = placed(trials).dropna(subset=["horizon", "budget"])
    found = [p for b in budgets if (p := _surface_of(fit[fit["budget"] == b], seed)) is not None]
    return min(1.0, len(found) * min(found)) if found else None


def _surface_of(rows: pd.DataFrame, seed: int) -> float | None:
    """Returns `p_common` of one budget's horizons; uses ranks if pruned trials have no value of a full training."""
    from scipy.special import ndtri  # here, not above: 1 s of imports

    known = [p for p in PARAMETERS if rows[p.name].notna().all() and not (p.log and (rows[p.name] <= 0).any())]
    pruned = bool((rows["status"] == "pruned").any())
    sign = np.where(rows["objective"] == "val_auc", -1.0, 1.0)
    rows = rows.assign(_loss=sign * rows["value"].to_numpy(float))
    parameters, losses = [], []
    for _, cells in rows.groupby("horizon"):
        columns = [np.log(cells[p.name]) if p.log else cells[p.name] for p in known]
        parameters.append(np.stack([column.to_numpy(float) for column in columns], axis=1))
        place = cells.groupby("experiment").cumcount().to_numpy(float)
        losses.append(ndtri((place + 0.5) / len(cells)) if pruned else cells["_loss"].to_numpy(float))
    return p_common(parameters, losses, seed) if known else None


def top_trials(trials: pd.DataFrame, share: float = TOP_SHARE, fewest: int = FEWEST_TOP) -> pd.DataFrame:
    """Returns the best `share` of each cell's comparable trials, at least `fewest`; drops cells without twice that.

    Pruned trials count, ranked behind those that continued: else a pruned search would have no trials to compare.
    Only budgets with at least two horizons stay: the others have nothing to compare.
    """
    fit = placed(trials).dropna(subset=["horizon", "budget"])
    size = fit.groupby("experiment")["number"].transform("size")
    place = fit.groupby("experiment").cumcount()
    wanted = np.maximum(fewest, np.ceil(share * size))
    top = fit[(place < wanted) & (size >= 2 * fewest)]
    kept: pd.DataFrame = top[top.groupby("budget")["horizon"].transform("nunique") > 1]
    return kept


def at_the_edge(trials: pd.DataFrame) -> list[tuple[str, str, str, int, int]]:
    """Returns (budget, parameter, "upper" or "lower", top trials there, top trials) where the range seems too narrow.

    At least half of a budget's top trials are in the outer fifth of the tried values, on the searched scale. By chance
    this happens for twelve top trials in 2 % of cases. Shapes are left out: a budget bounds them.
    """
    every, found = placed(trials), []
    for budget, top in top_trials(trials).groupby("budget"):
        tried = every[every["budget"] == budget]
        for parameter in PARAMETERS[:3]:
            values, best = (
                np.log(rows[parameter.name].to_numpy(float)) if parameter.log else rows[parameter.name].to_numpy(float)
                for rows in (tried.dropna(subset=[parameter.name]), top.dropna(subset=[parameter.name]))
            )
            if not len(best) or not np.ptp(values) > 0:
                continue
            place = (best - values.min()) / np.ptp(values)
            for side, there in (("lower", place < 0.2), ("upper", place > 0.8)):
                if there.mean() >= 0.5:
                    found.append((str(budget), parameter.label, side, int(there.sum()), len(best)))
    return found


def detectable_eta_squared(n: int, n_horizons: int, n_budgets: int, n_tests: int) -> float | None:
    """Returns the eta squared that an F test at LEVEL / n_tests finds with probability POWER; None without spread."""
    from scipy import optimize, stats  # here, not above: 1 s of imports

    between, within = n_horizons - 1, n - n_budgets - n_horizons + 1
    if within < 2:
        return None
    limit = stats.f.ppf(1 - LEVEL / n_tests, between, within)

    def missing_power(eta: float) -> float:
        return float(stats.ncf.sf(limit, between, within, n * eta / (1 - eta)) - POWER)

    return float(optimize.brentq(missing_power, 1e-6, 0.99)) if missing_power(0.99) > 0 else None


def _effect(
    top: pd.DataFrame, parameter: Parameter, rng: np.random.Generator, permutations: int
) -> HorizonEffect | None:
    rows = top.dropna(subset=[parameter.name])
    raw = rows[parameter.name].to_numpy(float)
    if len(rows) < 2 * FEWEST_TOP or np.ptp(raw) == 0 or (parameter.log and (raw <= 0).any()):
        return None
    values = np.log(raw) if parameter.log else raw
    horizon, budget = pd.factorize(rows["horizon"])[0], pd.factorize(rows["budget"])[0]
    seen, shuffled = _permuted(values, horizon, budget, rng, permutations)
    medians = rows.groupby("horizon")[parameter.name].median()
    return HorizonEffect(
        name=parameter.name,
        label=parameter.label,
        eta_squared=seen,
        by_chance=float(shuffled.mean()),
        p_value=_share_reaching(seen, shuffled),
        p_holm=1.0,
        p_cells=_by_cells(rows, values, rng, permutations),
        medians=dict(zip(medians.index.astype(int).tolist(), medians.tolist(), strict=True)),
        n=len(rows),
    )


def _by_cells(rows: pd.DataFrame, values: NDArray[Any], rng: np.random.Generator, permutations: int) -> float | None:
    cells = rows.assign(_value=values).groupby(["budget", "horizon"])["_value"].mean().reset_index()
    if cells["budget"].nunique() < FEWEST_BUDGETS:
        return None
    horizon, budget = pd.factorize(cells["horizon"])[0], pd.factorize(cells["budget"])[0]
    seen, shuffled = _permuted(cells["_value"].to_numpy(float), horizon, budget, rng, permutations)
    return _share_reaching(seen, shuffled)


def _permuted(
    values: NDArray[Any], horizon: NDArray[Any], budget: NDArray[Any], rng: np.random.Generator, permutations: int
) -> tuple[float, NDArray[np.float64]]:
    """Returns eta squared of the horizons within budgets, observed and with horizons shuffled inside each budget."""
    centred = values - (np.bincount(budget, values) / np.bincount(budget))[budget]
    total = float(centred @ centred)
    if total < 1e-24:
        return 0.0, np.zeros(permutations)
    dealt = np.empty((permutations + 1, len(values)), dtype=np.intp)
    dealt[0] = horizon
    for b in np.unique(budget):
        members = np.flatnonzero(budget == b)
        dealt[1:, members] = rng.permuted(np.tile(horizon[members], (permutations, 1)), axis=1)
    counts = np.bincount(horizon)
    sums = np.stack([(dealt == h) @ centred for h in range(len(counts))], axis=1)
    etas = (sums**2 / counts).sum(axis=1) / total
    return float(etas[0]), etas[1:]


def _share_reaching(seen: float, shuffled: NDArray[np.float64]) -> float:
    return float((1 + np.count_nonzero(shuffled >= seen - 1e-12)) / (1 + len(shuffled)))


def _with_holm(effects: list[HorizonEffect]) -> tuple[HorizonEffect, ...]:
    """Holm's step-down correction (1979): the k-th smallest of m p-values times m - k + 1, never falling."""
    order = sorted(range(len(effects)), key=lambda i: effects[i].p_value)
    corrected, worst = {}, 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, effects[i].p_value * (len(effects) - rank)))
        corrected[i] = worst
    return tuple(HorizonEffect(**{**vars(e), "p_holm": corrected[i]}) for i, e in enumerate(effects))


def _answer(
    effects: tuple[HorizonEffect, ...],
    common: float | None,
    detectable: float | None,
    horizons: tuple[int, ...],
    budgets: tuple[str, ...],
    n: int,
) -> tuple[str, str]:
    where = f"{' and '.join(f'h{h}' for h in horizons)}, {n} top trials at {listed(list(budgets))}"
    if not effects:
        return "cannot say", f"Cannot say whether one search can serve all horizons: no parameter varies ({where})."
    differing = [effect for effect in effects if effect.differs]
    if differing and (common is None or common >= LEVEL):
        named = listed([e.label for e in differing])
        why = "too few trials for a test that allows for that" if common is None else f"p {common:.2f}"
        return "cannot say", (
            f"Cannot say whether one search can serve all horizons: the best trials of the horizons differ in {named} "
            f"({where}), but a noisier horizon's best trials lie further from the true best, and that can explain it "
            f"({why})."
        )
    if differing:
        named = listed([f"{e.label} (eta² {e.eta_squared:.2f}, corrected p {_p(e.p_holm)})" for e in differing])
        verdict, sureness = _sureness(differing, budgets)
        return (
            verdict,
            f"{verdict.capitalize()}: the best trials of the horizons differ in {named}; {where}. {sureness}",
        )
    smallest = min(effects, key=lambda effect: effect.p_holm)
    if detectable is None or detectable > TOO_BLUNT:
        return "cannot say", (
            f"Cannot say whether one search can serve all horizons: no difference was found ({where}), but so few "
            f"trials can miss even a difference that explains {TOO_BLUNT:.0%} of the spread."
        )
    return "yes", (
        f"Yes, as far as these trials show: none of {len(effects)} parameters differs between horizons (smallest "
        f"corrected p {_p(smallest.p_holm)}, {smallest.label}; {where}). A difference that explains {detectable:.0%} "
        "of the spread would have been found with 80 % probability; smaller differences remain possible."
    )


def _sureness(differing: list[HorizonEffect], budgets: tuple[str, ...]) -> tuple[str, str]:
    """Returns what a difference allows to say, and why: "no" only if several budgets agree on it."""
    if len(budgets) < FEWEST_BUDGETS:
        return "perhaps not", (
            "This is only a hint: a sampler tries more values near good ones, so the top trials of one search resemble "
            f"each other, and p ignores that. {len(budgets)} budget{'s are' if len(budgets) > 1 else ' is'} too few to "
            f"confirm it. Run at least {FEWEST_BUDGETS} budgets, or the same configurations at every horizon "
            "(`fts enqueue --sampler random`)."
        )
    confirmed = [e.label for e in differing if e.p_cells is not None and e.p_cells < LEVEL]
    if confirmed:
        return "no", f"Confirmed for {listed(confirmed)}: the budgets agree also when each cell counts once."
    return "perhaps not", "Not confirmed: the budgets do not agree when each cell counts once."


def _too_few(trials: pd.DataFrame) -> str:
    per_cell = placed(trials).groupby("experiment").size()
    most = int(per_cell.max()) if len(per_cell) else 0
    return (
        f"Cannot say whether one search can serve all horizons: at least {2 * FEWEST_TOP} comparable trials are needed "
        f"at two horizons of one budget. Cells with so many trials: {int((per_cell >= 2 * FEWEST_TOP).sum())}; the "
        f"longest search has {most}."
    )


def listed(words: list[str]) -> str:
    """Joins names: one, two and three."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 and math.isfinite(value) else "< 0.001"
