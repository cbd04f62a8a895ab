r"""What hides volatility from the transformer: window, normalisation, inputs; over walk-forward folds and seeds.

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

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import fts

if TYPE_CHECKING:
    import optuna

FOLDS, JUDGED = 6, 4  # of six equal stretches of validation days the last four: the first two leave too little to train
LONGEST = 120  # days: windows of all lengths end on the days where one of so many could
SHAPE, DROPOUT, RATE, DECAY, BATCH, EPOCHS, PATIENCE = "d32-L2-h4-ff64", 0.2, 1e-3, 1e-3, 128, 40, 8
HELD_OUT = 0.2  # of the training windows: the last ones say after how many epochs to stop
RIVALS = ("80-revin-a25", "logistic-r20")  # what all are compared with
METRICS = ("auc", "log_loss")


def objective(
    trial: optuna.Trial, variant: str = "80-revin-a25", horizon: int = 1, seed: int = 0, ticker: str = "SPX"
) -> float:
    """Mean of the folds' AUCs; each fold is a step."""
    from fts.study.walk_forward_objective import on_fold

    words = variant.split("-")
    data, folds = folds_of(ticker, words[-1], int(words[0]) if len(words) == 3 else LONGEST, horizon)
    checkpoint = fts.checkpoint(trial)
    state = checkpoint.load() or {"p": np.empty(0), "epochs": []}  # after a kill: the folds that were done
    for number in range(len(state["epochs"]), JUDGED):
        part = on_fold(data, folds[number])
        p, epochs = (regression(part), 0) if words[0] == "logistic" else transformer(part, words[1], words[2], seed)
        state = {"p": np.concatenate([state["p"], p]), "epochs": [*state["epochs"], epochs]}
        y = data.y_T[part.val_ends].astype(float)
        mine = state["p"][-len(y) :].astype(float)
        scores = {metric: float(score(metric, y, mine)[0]) for metric in METRICS}
        fts.report(trial, number, **scores, stopped_after=epochs)
        checkpoint.save(state)
    ends = np.concatenate([fold.val_ends for fold in folds])
    y = data.y_T[ends].astype(float)
    fts.predictions(trial, y, state["p"], index=data.dates[ends])
    return float(over_folds("auc", y, state["p"].astype(float))[0])


def score(metric, y, p, weights=None):
    from fts.scores import metrics

    return metrics.METRICS[metric](y, p, weights)


def over_folds(metric, y, p, weights=None):
    """The mean of the folds' scores: each fold has a model of its own, whose probabilities rank its own days alone."""
    rows = np.array_split(np.arange(len(y)), JUDGED)
    return np.mean([score(metric, y[r], p[r], None if weights is None else weights[:, r]) for r in rows], axis=0)


def folds_of(ticker, tier, context, horizon):
    """The data of a tier with its windows, and the folds to judge."""
    from fts.analysis.walk_forward import walk_forward
    from fts.data.splits import window_ends
    from fts.study.cell_data import load

    root = Path(os.environ.get("FTS_DATA", "data"))
    data = load(
        root, f"{ticker}.dataset.{tier}", "threshold_1pct", horizon, context, min_positives=1, tier=tier, span=LONGEST
    )
    ends = window_ends(0, data.split.val_stop, data.span, horizon)
    return data, walk_forward(ends, FOLDS, data.span, horizon)[FOLDS - JUDGED :]


def regression(part):
    """Logistic regression on the last day, as the baseline jobs fit it."""
    from fts.analysis.baselines import fit_one

    return fit_one("logistic regression", "last row", part).predictions


def transformer(part, norm, tier, seed):
    """Probabilities of a small PatchTST: stopped by the last training windows, then trained anew on all of them."""
    gap = part.span + part.horizon - 1
    held = int(len(part.train_ends) * HELD_OUT)
    inner = replace(part, train_ends=part.train_ends[: -held - gap], val_ends=part.train_ends[-held:])
    best = trained(inner, norm, tier, seed, EPOCHS).outcome().best_epoch or 1
    again = trained(part, norm, tier, seed, best)
    from fts.training.metrics import probabilities

    return probabilities(again.validation_logits()), best


def trained(part, norm, tier, seed, stop):
    from fts.model.architecture import Architecture, ModelConfig
    from fts.model.patchtst import PatchTST
    from fts.study.build import tensors
    from fts.study.recipe import LEVELS
    from fts.training.config import TrainConfig
    from fts.training.trainer import Trainer

    steps = -(-len(part.train_ends) // BATCH)
    levels = LEVELS[tier] if norm.startswith("partial") else ()
    config = ModelConfig(Architecture.parse(SHAPE), part.features_TF.shape[1], part.context, dropout=DROPOUT,
                         norm=norm, levels=levels)  # fmt: skip
    patience = PATIENCE if stop == EPOCHS else EPOCHS
    training = TrainConfig(RATE, DECAY, 2 * steps, EPOCHS, stop * steps, patience, 0.0, BATCH, seed=seed)
    trainer = Trainer(PatchTST(config, seed), tensors(part), training)
    for _ in trainer.run():
        pass
    return trainer


def paired(y, first, second, horizon, metric, seed_sd):
    """first minus second, each [seeds, days], and its 95 % interval over days (blocks of them) and seeds."""
    from fts.scores.dependence import block_length, widening
    from fts.scores.intervals import SERIES, resample

    apart = np.mean([SERIES[metric](y, p) for p in first], 0) - np.mean([SERIES[metric](y, p) for p in second], 0)
    block = block_length(apart, horizon)
    weights = resample(len(y), block, seed=0)

    def gap(weights):
        with np.errstate(invalid="ignore"):  # a resample may leave a fold out: it has no mean
            mine, its = (np.mean([over_folds(metric, y, p, weights) for p in each], 0) for each in (first, second))
            return mine - its

    value, drawn, wider = float(gap(None)[0]), gap(weights), widening(apart, block)
    luck = 1.96 * seed_sd * np.sqrt(sum(1 / len(each) for each in (first, second) if len(each) > 1))
    low, high = (np.hypot(wider * (value - end), luck) for end in np.nanquantile(drawn, (0.025, 0.975)))
    return value, value - low, value + high


def table(db: str | None = None) -> None:
    """Every variant whose cells have ended, as markdown."""
    found, days = {}, {}
    study = fts.load(db)
    for cell in study.cells().to_dict("records"):
        if cell["study"] != "windows" or not cell["complete"]:
            continue
        rows = study.predictions(cell["job"])
        ticker = cell.get("ticker")
        key = (
            ticker if isinstance(ticker, str) else "SPX",
            int(cell["horizon"]),
        )  # pandas has NaN where a cell names none
        y, _ = days.setdefault(key, (rows["y_true"].to_numpy(float), rows["index"]))
        assert np.array_equal(y, rows["y_true"].to_numpy(float)), f"{cell['cell']} was judged on other days"
        found.setdefault(key, {}).setdefault(cell["variant"], []).append(rows["y_pred"].to_numpy(float))
    for (ticker, horizon), variants in sorted(found.items()):
        y, index = days[ticker, horizon]
        scores = {m: {v: [float(over_folds(m, y, p)[0]) for p in ps] for v, ps in variants.items()} for m in METRICS}
        sd = {m: seed_sd(scores[m].values()) for m in METRICS}
        luck = f"sd between seeds: AUC {sd['auc']:.4f}, loss {sd['log_loss']:.4f}"
        if not any(len(ps) > 1 for ps in variants.values()):
            luck = "one seed: the intervals hold days alone, not the luck of a training"
        print(f"\n{ticker}, {horizon} days ahead: {len(y)} days {index.iloc[0]:%Y-%m-%d}..{index.iloc[-1]:%Y-%m-%d} in "
              f"{JUDGED} folds, base rate {y.mean():.3f}; {luck}\n")  # fmt: skip
        rivals = [rival for rival in RIVALS if rival in variants]
        print("| variant | seeds | AUC | loss |" + "".join(f" AUC - {r} | loss - {r} |" for r in rivals))
        print("|---" * (4 + 2 * len(rivals)) + "|")
        for variant in sorted(variants, key=lambda v: -np.mean(scores["auc"][v])):
            means = [np.mean(scores[metric][variant]) for metric in METRICS]
            line = f"| {variant} | {len(variants[variant])} | {means[0]:.3f} | {means[1]:.4f} |"
            for rival in rivals:
                for metric, digits in zip(METRICS, (3, 4), strict=True):
                    gap = paired(y, variants[variant], variants[rival], horizon, metric, sd[metric])
                    value, low, high = (f"{number:+.{digits}f}" for number in gap)
                    line += " - |" if rival == variant else f" {value} [{low}, {high}] |"
            print(line, flush=True)


def seed_sd(scores):
    """Of one training among others of its configuration, over all configurations with several seeds."""
    variances = [np.var(values, ddof=1) for values in scores if len(values) > 1]
    return float(np.sqrt(np.mean(variances))) if variances else 0.0


if __name__ == "__main__":
    table()
