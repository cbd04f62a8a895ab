"""First trials that you choose, as with Optuna's enqueue_trial; missing parameters are drawn, here the second rate.

    fts enqueue examples/function/warm.py:objective --trials 8 --warm-start depth=3,rate=0.05 --warm-start depth=6
    fts worker --until-empty

They are trials 0 and 1, with the badge `warm`; from trial 2 on the sampler proposes, and uses their results.
"""

import math

import optuna


def objective(trial: optuna.Trial) -> float:
    """A function with its minimum at depth 4 and rate 0.03."""
    depth = trial.suggest_int("depth", 1, 8)
    rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
    return 0.1 * (depth - 4) ** 2 + (math.log10(rate) - math.log10(0.03)) ** 2
