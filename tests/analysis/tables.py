"""Tables of trials, epochs and predictions as a study leaves them, with planted truths."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd

from fts.analysis.trials_table import tidy_trials
from tests.analysis.planted import slow_noise

SIZES = {"2M": 2_050_000, "20M": 19_800_000, "200M": 203_000_000, "2B": 2_010_000_000}
WIDTHS = (128, 192, 256, 384, 512)
DEPTHS = (2, 4, 6, 8, 12, 16)


def trial_rows(budget="2M", horizon=1, n=30, seed=0, best_dropout=0.3, best_lr=3e-4, noise=0.004, **changes):
    """Rows of v_trials of one searched cell: the loss is a bowl around best_dropout and best_lr."""
    rng = np.random.default_rng([seed, horizon, list(SIZES).index(budget)])
    rows = []
    for number in range(n):
        width, depth = int(rng.choice(WIDTHS)), int(rng.choice(DEPTHS))
        lr, dropout = 10 ** rng.uniform(-4, -3), rng.uniform(0.1, 0.6)
        loss = 0.55 + 0.3 * (dropout - best_dropout) ** 2 + 0.05 * np.log10(lr / best_lr) ** 2
        loss += noise * rng.standard_normal()
        row = {
            "job": list(SIZES).index(budget) * 3 + horizon,
            "experiment": f"phase6a_{budget}_h{horizon}_threshold_1pct",
            "budget": budget,
            "horizon": horizon,
            "task": "threshold_1pct",
            "tier": "a25",
            "number": number,
            "status": "complete",
            "objective": "val_loss",
            "value": loss,
            "best_epoch": 6,
            "last_value": loss + 0.01,
            "epochs": 16,
            "val_loss": loss,
            "val_auc": 0.62 - (loss - 0.55),
            "auc_low": 0.55 - (loss - 0.55),
            "auc_high": 0.69 - (loss - 0.55),
            "n_train": 3300,
            "n_val": 640,
            "n_pos": 200,
            "prior_loss": 0.62,
            "architecture": f"d{width}-L{depth}-h8-ff{4 * width}",
            "n_params": SIZES[budget],
            "learning_rate": lr,
            "weight_decay": 10 ** rng.uniform(-4, -2.3),
            "warmup_steps": int(rng.choice([100, 200, 300, 500])),
            "dropout": dropout,
            "params": json.dumps({"learning_rate": lr, "dropout": dropout}),
            "label_md5": f"{horizon}" * 32,
            "base_rate": 0.3,
            "data_md5": "d" * 32,
            "effective_md5": f"{budget}{horizon}{number}",
            "seed": 7 + number,
            "code_commit": "c0ffee1",
            "code_dirty": 0,
            "torch_version": "2.13.0",
            "host": "box",
            "device": "cpu",
            "threads": 1,
            "predicted_bytes": 10**9,
            "peak_bytes": 11 * 10**8,
            "cause": "early stopped",
            "badges": "[]",
            "reused_from": None,
            "message": None,
            "minutes": 2.4,
        }
        rows.append({**row, **changes})
    return rows


def trial_table(cells=(("2M", 1), ("2M", 3), ("2M", 5)), **options):
    return tidy_trials(pd.DataFrame([row for budget, h in cells for row in trial_rows(budget, h, **options)]))


def epoch_rows(experiment, number, n=16, best=6):
    return [
        {
            "experiment": experiment,
            "number": number,
            "epoch": e,
            "train_loss": 0.69 - 0.02 * e,
            "val_loss": 0.56 + 0.002 * (e - best) ** 2,
            "train_auc": 0.5 + 0.02 * e,
            "val_auc": 0.61 - 0.002 * abs(e - best),
            "val_brier": 0.2,
            "pred_min": 0.1,
            "pred_max": 0.6,
            "pred_sd": 0.08,
            "learning_rate": 3e-4,
            "samples_per_s": 600.0,
            "seconds": 9.0,
        }
        for e in range(1, n + 1)
    ]


def study(cells, hostile="", **options):
    """A StudyData with curves, predictions and baselines for every cell of `cells` (budget, horizon)."""
    from fts.analysis.baselines import BaselineResult
    from fts.analysis.study_data import BaselineRow, Importance, StudyData
    from fts.analysis.trials_table import best_trials, trial_name
    from fts.scores.intervals import auc_interval, measure
    from fts.scores.metrics import METRICS

    table = trial_table(cells, **options)
    table["experiment"] += hostile
    planned = table.drop_duplicates("experiment")[["experiment", "budget", "horizon", "task", "tier"]]
    dates = pd.bdate_range("2015-01-02", periods=640).to_numpy().astype("datetime64[D]")
    truth = {h: validation_days(h) for _, h in cells}
    predictions, epochs = {}, []
    for best in best_trials(table).to_dict("records"):
        y, signal = truth[best["horizon"]]
        rng = np.random.default_rng([int(best["horizon"]), len(best["budget"])])
        p = 1 / (1 + np.exp(-(signal - 0.6 + 0.7 * rng.standard_normal(len(y)))))
        predictions[trial_name(best["experiment"], best["number"])] = pd.DataFrame({"date": dates, "y": y, "p": p})
        epochs += epoch_rows(best["experiment"], best["number"])
    rows = []
    for h, (y, signal) in truth.items():
        for name, p in (("class prior", np.full(len(y), 0.3)), ("logistic regression", 1 / (1 + np.exp(0.8 - signal)))):
            score = {metric: float(f(y, p, None)[0]) for metric, f in METRICS.items()}
            low, high = auc_interval(y, p, h, seed=0, n=100)
            result = BaselineResult(
                name=name,
                inputs="last row",
                n_val=len(y),
                n_pos=int(y.sum()),
                loss=score["log_loss"],
                auc=score["auc"],
                auc_low=low,
                auc_high=high,
                brier=score["brier"],
                average_precision=score["average_precision"],
                seconds=0.4,
                predictions=p.astype(np.float32),
            )
            rows.append(BaselineRow("threshold_1pct", h, "a25", "d" * 32, result, dates, measure(y, p, h, n=100)))
    return StudyData(
        trials=table,
        epochs=pd.DataFrame(epochs, columns=[*epoch_rows("", 0)[0]]),
        baselines=tuple(rows),
        predictions=predictions,
        cells=planned.assign(trials_wanted=30, status="done"),
        importance={
            name: Importance({"learning_rate": 0.3, "dropout": 0.02, "layers": 0.1}, 0.15)
            for name in planned["experiment"]
        },
        source="fts.db",
    )


def with_other_seeds(data, n=3, auc=None):
    """The study in which the winner was trained with n other seeds; their AUCs are about the winner's, or `auc`."""
    from fts.analysis.trials_table import best_trials

    (winner,) = best_trials(data.trials[data.trials["kind"] == "cell"]).to_dict("records")
    around = winner["val_auc"] if auc is None else auc
    rows = [
        winner | {"kind": "replicate", "experiment": "replicate", "number": seed, "seed": 1000 + seed,
                  "val_auc": around + 0.004 * (seed - (n - 1) / 2)}
        for seed in range(n)
    ]  # fmt: skip
    return dataclasses.replace(data, trials=pd.concat([data.trials, pd.DataFrame(rows)], ignore_index=True))


def validation_days(horizon, n=640):
    rng = np.random.default_rng(horizon)
    signal = slow_noise(rng, n, 0.95)
    return (rng.random(n) < 1 / (1 + np.exp(0.8 - signal))).astype(int), signal
