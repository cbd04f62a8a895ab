"""Compares five choices of the flagship over walk-forward folds and seeds: loss, context, horizon, dropout, norm.

    python examples/flagship/comparisons.py loss
    python examples/flagship/comparisons.py context
    python examples/flagship/comparisons.py horizon
    python examples/flagship/comparisons.py dropout
    python examples/flagship/comparisons.py norm

Each enqueues its cells (existing ones stay), runs a worker until the queue is empty, and prints a table:
means over folds and seeds, and the difference to the first variant, paired on the same days, with a 95 % interval of
days and seeds; horizon compares with logistic regression instead. Each runs two models of about 30,000
parameters: r20 (20 days, no norm) and a25 (80 days, RevIN). `--seeds 0,1,2`, `--horizons 1` and `--base r20` choose
others, `--ticker IXIC` the Nasdaq, `--table` only prints. Needs `fts data build --tier T` of both; 5 to 60 s of
one core per cell. Weighted, focal and softauc shift probabilities, so compare them by AUC, which also stops all losses.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import folds

if TYPE_CHECKING:
    import optuna

BASES: dict[str, dict[str, Any]] = {"r20": {"context": 20, "norm": "none"}, "a25": {"context": 80, "norm": "revin"}}
LOSS = {"objective": "val_auc"}  # stops all losses by the same metric; only bce trains on the cross-entropy
COMPARISONS: dict[str, dict[str, dict[str, Any]]] = {  # the others are compared with the first of each
    "loss": {
        "bce": LOSS, "weighted": LOSS | {"weighted": True}, "focal": LOSS | {"loss": "focal"},
        "softauc": LOSS | {"loss": "softauc"},
    },
    # not 252: patches of 10 days every 5 would not read the newest two days
    "context": {str(days): {"context": days} for days in (80, 60, 120, 250)},
    "horizon": {"logistic": {}, "patchtst": {}},
    "dropout": {str(rate): {"dropout": rate} for rate in (0.2, 0.1, 0.3, 0.5)},
    "norm": {norm: {"norm": norm} for norm in ("revin", "none", "revin+stats")},
}  # fmt: skip
HORIZONS = {"horizon": "1,2,3,5"}
LONGEST = {"context": 250}  # days before the end of every window, so that all lengths fit; others use folds.LONGEST


def objective(
    trial: optuna.Trial,
    comparison: str = "loss",
    variant: str = "bce",
    base: str = "r20",
    horizon: int = 1,
    seed: int = 0,
    ticker: str = "SPX",
) -> float:
    """Returns the mean of the folds' AUCs; each fold is a step."""
    choices = BASES[base] | COMPARISONS[comparison][str(variant)]
    context, norm = choices.pop("context"), choices.pop("norm")
    weighted = choices.pop("weighted", False)
    data, parts = folds.folds_of(ticker, base, context, horizon, LONGEST.get(comparison))

    def fit(part):
        if variant == "logistic":
            return folds.regression(part), 0
        weight = {"pos_weight": (1 - part.prior) / part.prior} if weighted else {}
        return folds.transformer(part, norm, base, seed, **choices, **weight)

    return folds.judge(trial, data, parts, fit)


def enqueue(comparison: str, bases: str, horizons: str, seeds: str, ticker: str) -> None:
    """Enqueues the cells of a comparison; logistic regression has no seed."""
    fitted = [name for name in COMPARISONS[comparison] if name != "logistic"]
    for variants, its_seeds in ((fitted, seeds), (["logistic"] if comparison == "horizon" else [], "0")):
        axes = {"comparison": comparison, "variant": ",".join(variants), "base": bases, "horizon": horizons,
                "seed": its_seeds, "ticker": ticker}  # fmt: skip
        if variants:
            words = [word for axis, values in axes.items() for word in ("-m", f"{axis}={values}")]
            run("enqueue", f"{__file__}:objective", "--name", name_of(comparison), "--trials", "1",
                "--direction", "maximize", "--metric", "auc", *words)  # fmt: skip


def run(*words: str) -> None:
    if code := subprocess.run([sys.executable, "-m", "fts.jobs.cli", *words], check=False).returncode:
        sys.exit(code)


def name_of(comparison: str) -> str:
    return f"comparison-{comparison}"


def table(comparison: str) -> None:
    """Prints a table per horizon; a variant is named by its base and its name."""
    first = next(iter(COMPARISONS[comparison]))
    folds.table(
        name_of(comparison),
        lambda found: [f"{base} {first}" for base in BASES if f"{base} {first}" in found],
        lambda cell: f"{cell['base']} {cell['variant']}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("comparison", choices=COMPARISONS)
    parser.add_argument("--base", default=",".join(BASES), help="default: %(default)s")
    parser.add_argument("--horizons", help="default: 1,3,5; of horizon: 1,2,3,5")
    parser.add_argument("--seeds", default="0,1", help="default: %(default)s")
    parser.add_argument("--ticker", default="SPX", help="default: %(default)s")
    parser.add_argument("--table", action="store_true", help="print the table of what has ended, and run nothing")
    asked = parser.parse_args()
    if not asked.table:
        horizons = asked.horizons or HORIZONS.get(asked.comparison, "1,3,5")
        enqueue(asked.comparison, asked.base, horizons, asked.seeds, asked.ticker)
        run("worker", "--until-empty")
    table(asked.comparison)


if __name__ == "__main__":
    main()
