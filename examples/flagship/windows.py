r"""Compares what may hide volatility from the transformer: window, normalisation, inputs; over folds and seeds.

    fts enqueue examples/flagship/windows.py:objective --trials 1 --direction maximize --metric auc \
        -m variant=80-revin-a25,80-revin+stats-a25,80-partial-a39,20-revin-a25,20-partial-a39,20-none-a39,20-none-r20 \
        -m horizon=1,3,5 -m seed=0,1
    fts worker --until-empty

`python examples/flagship/windows.py` then prints the table: means over folds and seeds, and differences to today's
flagship and to logistic regression, paired on the same days, with a 95 % interval of days and seeds. A variant is
WINDOW-NORM-TIER, of a PatchTST of about 30,000 parameters; logistic-TIER is the regression on the last day. Needs
`fts data build --tier T` of each tier, and takes 4 to 20 s of one core for each variant, horizon and seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import folds

if TYPE_CHECKING:
    import optuna

RIVALS = ("80-revin-a25", "logistic-r20")  # all variants are compared with these


def objective(
    trial: optuna.Trial, variant: str = "80-revin-a25", horizon: int = 1, seed: int = 0, ticker: str = "SPX"
) -> float:
    """Returns the mean of the folds' AUCs; each fold is a step."""
    words = variant.split("-")
    data, parts = folds.folds_of(ticker, words[-1], int(words[0]) if len(words) == 3 else folds.LONGEST, horizon)

    def fit(part):
        if words[0] == "logistic":
            return folds.regression(part), 0
        return folds.transformer(part, words[1], words[2], seed)

    return folds.judge(trial, data, parts, fit)


if __name__ == "__main__":
    folds.table("windows", lambda found: [rival for rival in RIVALS if rival in found], lambda cell: cell["variant"])
