"""Measures the cost of parallel trials in best value: with `parallel = k` trial n knows trials 0..n-k only.

python -m benchmarks.lag [--trials 50] [--seeds 20] [--full]

Two parts. *Proposals*, simulated: searches of four functions; the share of TPE's advantage over random search that a
lag loses. *Pruning*, on the 300 recorded curves of real 2M trials: with a lag the pruner has seen fewer trials when it
decides, so it spends more epochs; the best value is compared with that at k = 1.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import mean
from typing import Any

from benchmarks import Row
from benchmarks.equal_epochs import pools, read
from benchmarks.pruning import Pool, shuffles, upto
from fts.jobs.api.bare_cell import BareCell
from fts.jobs.api.halving import HALVING
from fts.jobs.api.lag import seen_below
from fts.jobs.search.past_trial import PastTrial
from fts.jobs.search.proposal import drawn_for
from fts.jobs.search.pruner import should_prune
from fts.jobs.search.recorded_study import Rebuilt
from fts.jobs.search.space import Space

LAGS = (1, 2, 4, 8, 16)
TRIALS = 50
Params = dict[str, Any]


def real(low: float, high: float, log: bool = False) -> dict[str, Any]:
    return {"kind": "float", "low": low, "high": high, "log": log}


def branin(p: Params) -> float:
    x, y = p["x"], p["y"]
    bend = y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6
    return float(bend * bend + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)


def network(p: Params) -> float:
    """Like the loss of a network: learning rate and its decay matter, together; dropout and width matter little."""
    rate = math.log10(p["lr"]) + 2.7 + 0.4 * math.log2(p["width"] / 64)
    decay = math.log10(p["decay"]) + 4
    return 0.3 + 0.12 * rate**2 + 0.02 * (decay + rate) ** 2 + 0.1 * (p["dropout"] - 0.2) ** 2 + 3 / p["width"]


def mixed(p: Params) -> float:
    """Two kinds with separate minima: choices decide most."""
    best = {"adam": 0.3, "sgd": 0.7, "lion": 0.5}[p["kind"]]
    worse = {"adam": 0.0, "sgd": 0.15, "lion": 0.4}[p["kind"]]
    return worse + (p["a"] - best) ** 2 + 0.3 * (p["b"] - p["a"]) ** 2 + 0.05 * abs(p["depth"] - 4)


def valley(p: Params) -> float:
    """Rosenbrock's function in six dimensions, on a log scale."""
    x = [p[f"x{n}"] for n in range(6)]
    return math.log1p(sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in pairwise(x)))


FUNCTIONS: dict[str, tuple[Callable[[Params], float], Space]] = {
    "Branin": (branin, {"x": real(-5, 10), "y": real(0, 15)}),
    "network": (
        network,
        {"lr": real(1e-5, 1e-1, log=True), "decay": real(1e-6, 1e-1, log=True), "dropout": real(0, 0.5),
         "width": {"kind": "int", "low": 16, "high": 512, "log": True}},
    ),
    "mixed": (
        mixed,
        {"kind": {"kind": "choice", "choices": ["adam", "sgd", "lion"]}, "a": real(0, 1), "b": real(0, 1),
         "depth": {"kind": "int", "low": 1, "high": 12, "log": False}},
    ),
    "valley": (valley, {f"x{n}": real(-2, 2) for n in range(6)}),
}  # fmt: skip


def best_found(name: str, sampler: str, parallel: int, seed: int, trials: int = TRIALS) -> float:
    """Returns the best value of one simulated search."""
    objective, space = FUNCTIONS[name]
    cell = BareCell("s", "s", trials=trials, metric="value", sampler=sampler, seed=seed, space=space, parallel=parallel)
    history: list[PastTrial] = []
    rebuilt = Rebuilt()
    for number in range(trials):
        known = history[: seen_below(cell, number)]
        params = drawn_for(cell, known, number, rebuilt).params
        history.append(PastTrial(number, params, "complete", objective(params)))
    return min(one.value for one in history if one.value is not None)


def lost(sampler: str, parallel: int, seeds: int, trials: int = TRIALS) -> float:
    """Returns the share of the sampler's advantage over random search that the lag loses, mean over the functions."""
    parts = []
    for name in FUNCTIONS:
        at_once, lagging, random_ = (
            mean(best_found(name, one, k, seed, trials) for seed in range(seeds))
            for one, k in ((sampler, 1), (sampler, parallel), ("random", 1))
        )
        parts.append((lagging - at_once) / (random_ - at_once))
    return mean(parts)


def replay(pool: Pool, order: Sequence[int], pruner: str, parallel: int) -> tuple[int, float]:
    """Returns (epochs, best value) of one search of recorded curves, pruned with a lag."""
    history: list[PastTrial] = []
    epochs, value = 0, math.inf
    for number, k in enumerate(order):
        curve = dict(enumerate(pool.curves[k], start=1))
        known = history[: max(0, number - parallel + 1)]
        ended = next((e for e in curve if should_prune(pruner, known, number, upto(curve, e), rule=HALVING)), None)
        seen = curve if ended is None else upto(curve, ended)
        epochs += len(seen)
        value = value if ended is not None else min(value, *curve.values())
        history.append(PastTrial(number, {}, "complete" if ended is None else "pruned", None, seen))
    return epochs, value


def pruned(pruner: str, parallel: int, orders: int) -> tuple[float, float]:
    """Returns (share of an unpruned search's epochs, mean best value above its best), over the recorded cells."""
    shares, regrets = [], []
    for pool in pools(read(), patience=10):
        for order in shuffles(len(pool.curves), orders):
            epochs, value = replay(pool, order[:TRIALS], pruner, parallel)
            unpruned = [pool.curves[k] for k in order[:TRIALS]]
            shares.append(epochs / sum(map(len, unpruned)))
            regrets.append(value - min(map(min, unpruned)))
    return mean(shares), mean(regrets)


def rows(quick: bool = True) -> list[Row]:
    found = []
    seeds, orders = (4, 10) if quick else (20, 100)
    for parallel in (4, 16) if quick else LAGS[1:]:
        part = lost("tpe", parallel, seeds)
        note = f"of what TPE finds beyond random search in {TRIALS} trials, four functions"
        found.append(Row(f"TPE, parallel = {parallel}", 100 * part, "% lost", repeats=seeds, note=note))
    for pruner in ("median", "halving"):
        share, regret = pruned(pruner, 1, orders)
        for parallel in (4, 16) if quick else LAGS[1:]:
            more, other = pruned(pruner, parallel, orders)
            note = f"best value {1000 * (other - regret):+.2f} thousandths, 300 recorded curves"
            found.append(
                Row(
                    f"{pruner}, parallel = {parallel}", 100 * more, "% of the epochs", 100 * share, "parallel = 1",
                    lower_is_better=True, repeats=orders, note=note,
                )
            )  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="what a lag costs in best value")
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--full", action="store_true", help="the rows of the page, with all their repeats")
    given = parser.parse_args()
    if given.full:
        print("\n".join(row.line() for row in rows(quick=False)))
        return
    print("| function | random | " + " | ".join(f"TPE, k = {k}" for k in LAGS) + " |")
    for name in FUNCTIONS:
        told = [mean(best_found(name, "random", 1, seed, given.trials) for seed in range(given.seeds))]
        told += [mean(best_found(name, "tpe", k, seed, given.trials) for seed in range(given.seeds)) for k in LAGS]
        print(f"| {name} | " + " | ".join(f"{value:.4f}" for value in told) + " |", flush=True)


if __name__ == "__main__":
    main()
