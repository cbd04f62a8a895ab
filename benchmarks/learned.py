"""Measures how well memory is learned from the record, on three simulated trainers, compared with the simplest rule.

An underestimate is a trial that takes more than was reserved; reserved/needed is the cost of the reservation.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from statistics import mean
from typing import Any

from benchmarks import Row
from fts.jobs.search.space import Space
from fts.jobs.supervisor.learned_memory import FEW, Peak, learned

MB = 1 << 20
TRIALS, NOISE = 50, 0.04  # of one search; relative noise of a measured peak
Params = dict[str, Any]


def integer(low: int, high: int, log: bool = False) -> dict[str, Any]:
    return {"kind": "int", "low": low, "high": high, "log": log}


def choice(*choices: Any) -> dict[str, Any]:
    return {"kind": "choice", "choices": list(choices)}


def perceptron(p: Params) -> float:
    """Weights, gradients and two moments, activations of a batch."""
    weights = p["width"] * 784 + p["layers"] * p["width"] ** 2
    return 350 + (16 * weights + 8 * p["batch"] * p["width"] * p["layers"]) / MB


def transformer(p: Params) -> float:
    """Attention grows with the square of the context."""
    width = 64 * p["heads"]
    weights = 12 * p["layers"] * width**2
    activations = p["batch"] * p["layers"] * (34 * p["context"] * width + 5 * p["heads"] * p["context"] ** 2)
    return 500 + (16 * weights + 2 * activations) / MB


def forest(p: Params) -> float:
    """Bins of the data, and trees or histograms, depending on the kind of booster."""
    nodes = p["trees"] * 2 ** p["depth"]
    return 250 + (1_000_000 * p["bins"] / 255 * 60 + nodes * (96 if p["kind"] == "exact" else 24)) / MB


TRAINERS: dict[str, tuple[Callable[[Params], float], Space]] = {
    "perceptron": (
        perceptron,
        {"width": integer(32, 4096, log=True), "layers": integer(1, 8), "batch": choice(32, 64, 128, 256, 512),
         "lr": {"kind": "float", "low": 1e-5, "high": 1e-1, "log": True}},
    ),
    "transformer": (
        transformer,
        {"heads": integer(1, 12), "layers": integer(1, 8), "context": choice(64, 128, 256), "batch": choice(8, 16, 32),
         "dropout": {"kind": "float", "low": 0.0, "high": 0.5, "log": False}},
    ),
    "boosting": (
        forest,
        {"trees": integer(50, 2000, log=True), "depth": integer(2, 12), "bins": choice(63, 127, 255),
         "kind": choice("exact", "hist")},
    ),
}  # fmt: skip


def drawn(space: Space, luck: random.Random) -> Params:
    """Draws like random search."""
    found: Params = {}
    for name, d in space.items():
        if d["kind"] == "choice":
            found[name] = luck.choice(d["choices"])
        elif d.get("log"):
            value = d["low"] * (d["high"] / d["low"]) ** luck.random()
            found[name] = round(value) if d["kind"] == "int" else value
        else:
            value = luck.uniform(d["low"], d["high"])
            found[name] = round(value) if d["kind"] == "int" else value
    return found


def largest(_params: Params, _space: Space, peaks: list[Peak]) -> int | None:
    """The simplest rule: the largest so far times 1.5."""
    return int(FEW * max(peak.bytes for peak in peaks)) if peaks else None


def search(rule: Callable[[Params, Space, list[Peak]], int | None], trainer: str, seed: int) -> tuple[int, float]:
    """Returns the number of underestimates of one search, and its mean reserved/needed."""
    needs, space = TRAINERS[trainer]
    luck = random.Random(seed)
    peaks: list[Peak] = []
    under, ratios = 0, []
    for _ in range(TRIALS):
        params = drawn(space, luck)
        took = int(needs(params) * luck.uniform(1 - NOISE, 1 + NOISE) * MB)
        reserved = rule(params, space, peaks)
        if reserved is not None:  # else it runs alone
            under += took > reserved
            ratios.append(reserved / took)
        peaks.append(Peak(params, took))
    return under, mean(ratios)


def rows(quick: bool = True) -> list[Row]:
    seeds = range(10 if quick else 30)
    found = []
    for trainer in TRAINERS:
        ours = [search(learned, trainer, seed) for seed in seeds]
        simple = [search(largest, trainer, seed) for seed in seeds]
        for n, (name, unit) in enumerate((("underestimates", f"of {TRIALS}"), ("reserved/needed", "x"))):
            mine, other = (mean(result[n] for result in results) for results in (ours, simple))
            found.append(Row(f"{trainer}: {name}", mine, unit, other, "largest so far x 1.5", True, repeats=len(seeds)))
    return found


if __name__ == "__main__":
    for row in rows(quick=False):
        print(row.line())
