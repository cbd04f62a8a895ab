"""Shared by the comparisons of the flagship: small models over walk-forward folds, and tables of paired differences."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

import fts

FOLDS, JUDGED = 6, 4  # the last four of six equal folds of validation days: the first two leave too little to train on
LONGEST = 120  # days: windows of all lengths end on the days where a window of this length could
SHAPE, DROPOUT, RATE, DECAY, BATCH, EPOCHS, PATIENCE = "d32-L2-h4-ff64", 0.2, 1e-3, 1e-3, 128, 40, 8
HELD_OUT = 0.2  # of the training windows: the last ones decide the number of epochs
METRICS = ("auc", "log_loss")


def judge(trial, data, folds, fit):
    """Returns the mean of the folds' AUCs; each fold is a step. `fit` maps a fold's data to (probabilities, epochs)."""
    from fts.scores.folds import over_folds
    from fts.scores.metrics import METRICS as SCORES
    from fts.study.walk_forward_objective import on_fold

    checkpoint = fts.checkpoint(trial)
    state = checkpoint.load() or {"p": np.empty(0), "epochs": []}  # after a kill: the finished folds
    for number in range(len(state["epochs"]), JUDGED):
        part = on_fold(data, folds[number])
        p, epochs = fit(part)
        state = {"p": np.concatenate([state["p"], p]), "epochs": [*state["epochs"], epochs]}
        y = data.y_T[part.val_ends].astype(float)
        mine = state["p"][-len(y) :].astype(float)
        scores = {metric: float(SCORES[metric](y, mine, None)[0]) for metric in METRICS}
        fts.report(trial, number, **scores, stopped_after=epochs)
        checkpoint.save(state)
    ends = np.concatenate([fold.val_ends for fold in folds])
    y = data.y_T[ends].astype(float)
    fts.predictions(trial, y, state["p"], index=data.dates[ends])
    return float(over_folds("auc", y, state["p"].astype(float), JUDGED)[0])


def folds_of(ticker, tier, context, horizon, longest=None):
    """Returns the data of a tier with its windows, and the folds to evaluate."""
    from fts.study.cell_data import load
    from fts.study.walk_forward_objective import last_folds

    root = Path(os.environ.get("FTS_DATA", "data"))
    data = load(
        root,
        f"{ticker}.dataset.{tier}",
        "threshold_1pct",
        horizon,
        context,
        min_positives=1,
        tier=tier,
        span=longest or LONGEST,
    )
    return data, last_folds(data, JUDGED, FOLDS)


def regression(part):
    """Logistic regression on the last day, as in the baseline jobs."""
    from fts.analysis.baselines import fit_one

    return fit_one("logistic regression", "last row", part).predictions


def transformer(part, norm, tier, seed, dropout=None, objective="val_loss", **loss):
    """Returns probabilities of a small PatchTST, stopped on the last training windows, then trained again on all."""
    from fts.training.metrics import probabilities

    gap = part.span + part.horizon - 1
    held = int(len(part.train_ends) * HELD_OUT)
    inner = replace(part, train_ends=part.train_ends[: -held - gap], val_ends=part.train_ends[-held:])
    choices = {"dropout": DROPOUT if dropout is None else dropout, "objective": objective, **loss}
    best = trained(inner, norm, tier, seed, EPOCHS, **choices).outcome().best_epoch or 1
    again = trained(part, norm, tier, seed, best, **choices)
    return probabilities(again.validation_logits()), best


def trained(part, norm, tier, seed, stop, dropout, **choices):
    from fts.model.architecture import PARTIAL, Architecture, ModelConfig
    from fts.model.patchtst import PatchTST
    from fts.study.build import tensors
    from fts.study.recipe import LEVELS
    from fts.training.config import TrainConfig
    from fts.training.trainer import Trainer

    steps = -(-len(part.train_ends) // BATCH)
    levels = LEVELS[tier] if norm.startswith(PARTIAL) else ()
    config = ModelConfig(Architecture.parse(SHAPE), part.features_TF.shape[1], part.context, dropout=dropout,
                         norm=norm, levels=levels)  # fmt: skip
    patience = PATIENCE if stop == EPOCHS else EPOCHS
    training = TrainConfig(RATE, DECAY, 2 * steps, EPOCHS, stop * steps, patience, 0.0, BATCH, seed=seed, **choices)
    trainer = Trainer(PatchTST(config, seed), tensors(part), training)
    for _ in trainer.run():
        pass
    return trainer


def table(name, rivals_of, variant_of, db=None):
    """Prints every variant of a study whose cells have ended, as markdown.

    `variant_of` returns the variant of a cell, `rivals_of` those among all names with which it is compared.
    """
    from fts.scores.folds import luck_of, over_folds, paired

    found, days = {}, {}
    study = fts.load(db)
    for cell in study.cells().to_dict("records"):
        if cell["study"] != name or not cell["complete"]:
            continue
        rows = study.predictions(cell["job"])
        ticker = cell.get("ticker")
        key = (
            ticker if isinstance(ticker, str) else "SPX",
            int(cell["horizon"]),
        )  # pandas has NaN if a cell has none
        y, _ = days.setdefault(key, (rows["y_true"].to_numpy(float), rows["index"]))
        assert np.array_equal(y, rows["y_true"].to_numpy(float)), f"{cell['cell']} was evaluated on other days"
        found.setdefault(key, {}).setdefault(variant_of(cell), []).append(rows["y_pred"].to_numpy(float))
    for (ticker, horizon), variants in sorted(found.items()):
        y, index = days[ticker, horizon]
        scores = {
            m: {v: [float(over_folds(m, y, p, JUDGED)[0]) for p in ps] for v, ps in variants.items()} for m in METRICS
        }
        # without softauc, whose losses differ widely because it has no probabilities
        alike = [v for v in variants if "softauc" not in v]
        lucks = {m: luck_of(scores[m][v] for v in (alike if m == "log_loss" else variants)) for m in METRICS}
        if lucks["auc"] is not None:
            luck = f"sd between seeds: AUC {lucks['auc'].sd:.4f}, loss {lucks['log_loss'].sd:.4f}"
        else:
            luck = "one seed: the intervals hold days alone, not the luck of a training"
        print(f"\n{ticker}, {horizon} days ahead: {len(y)} days {index.iloc[0]:%Y-%m-%d}..{index.iloc[-1]:%Y-%m-%d} in "
              f"{JUDGED} folds, base rate {y.mean():.3f}; {luck}\n")  # fmt: skip
        rivals = rivals_of(variants)
        print("| variant | seeds | AUC | loss |" + "".join(f" AUC - {r} | loss - {r} |" for r in rivals))
        print("|---" * (4 + 2 * len(rivals)) + "|")
        for variant in sorted(variants, key=lambda v: -np.mean(scores["auc"][v])):
            means = [np.mean(scores[metric][variant]) for metric in METRICS]
            line = f"| {variant} | {len(variants[variant])} | {means[0]:.3f} | {means[1]:.4f} |"
            for rival in rivals:
                for metric, digits in zip(METRICS, (3, 4), strict=True):
                    sides = variants[variant], variants[rival]
                    seeds = (seeds_of(variant, sides[0]), seeds_of(rival, sides[1]))
                    gap = paired(metric, y, *sides, JUDGED, horizon, lucks[metric], seeds)
                    value, low, high = (f"{number:+.{digits}f}" for number in (gap.value, gap.low, gap.high))
                    line += " - |" if rival == variant else f" {value} [{low}, {high}] |"
            print(line, flush=True)


def seeds_of(variant, trainings):
    """Returns how many trainings depend on a seed; those of logistic regression do not."""
    return 0 if "logistic" in variant else len(trainings)
