"""The flagship's exported files: the columns that the earlier scripts wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.jobs.status import formatting
from fts.state.pareto_front import best_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.state.values import Job, Margin, Trial

CSV_COLUMNS = (
    "timestamp",
    "experiment",
    "task",
    "horizon",
    "timescale",
    "budget",
    "d_model",
    "n_layers",
    "n_heads",
    "d_ff",
    "n_params",
    "learning_rate",
    "weight_decay",
    "warmup_steps",
    "dropout",
    "val_loss",
    "val_auc",
    "auc_low",
    "auc_high",
    "n_val",
    "n_pos",
    "prior_loss",
    "base_rate",
    "best_epoch",
    "trials_complete",
    "trials_pruned",
    "trials_failed",
    "status",
    "cause",
    "minutes",
    "energy_wh",  # of training, processor and GPU; empty without a sensor
    "data_md5",
    "label_md5",
    "code_commit",
    "trial_number",
    "baseline",
    "auc_gain",  # best trial minus best baseline by AUC, paired, with its 95 % interval
    "auc_gain_low",
    "auc_gain_high",
    "loss_gain",
    "loss_gain_low",
    "loss_gain_high",
    "job",
    "tier",
    "dataset",
)


OF_JOB = ("experiment", "kind", "budget", "horizon", "task", "tier")  # fields in the file of each trial


def job_record(job: Job) -> dict[str, Any]:
    """Returns what the file of each trial says about its cell."""
    return {name: getattr(job, name) for name in OF_JOB} | {"dataset": job.spec.get("dataset")}


def best_record(job: Job, best: Trial, margin: Margin | None) -> dict[str, Any]:
    """Returns the winner with everything needed to train it again, and its gain over the best baseline.

    `margin` is None if there is no comparison, or only one of another trial.
    """
    mine = margin if margin is not None and margin.trial == best.number else None
    return {
        "experiment": job.experiment,
        "job": job.id,
        "budget": job.budget,
        "task": job.task,
        "tier": job.tier,
        "dataset": job.spec.get("dataset"),
        "horizon": job.horizon,
        "objective": best.objective,
        "best_value": best.value,
        "best_trial": best.number,
        "best_params": best.params,
        "architecture": best.effective,
        "arch": best.architecture,
        "n_params": best.n_params,
        "val_loss": best.val_loss,
        "val_auc": best.val_auc,
        "auc_interval": [best.auc_low, best.auc_high],
        "n_val": best.n_val,
        "n_pos": best.n_pos,
        "prior_loss": best.prior_loss,
        "data_md5": best.data_md5,
        "label_md5": best.label_md5,
        "code_commit": best.code_commit,
        "margin": gains(mine) | {"n": mine.n} if mine else None,
    }


def result_row(
    job: Job, trials: Sequence[Trial], energy_wh: float | None = None, margin: Margin | None = None
) -> dict[str, Any]:
    """Returns one line of experiment_results.csv; unknown values are empty."""
    best = best_of(job, trials)
    mine = margin if margin is not None and best is not None and margin.trial == best.number else None
    energy = {} if energy_wh is None else {"energy_wh": round(energy_wh, 3)}
    return _found(job, trials, best) | gains(mine) | energy


def _found(job: Job, trials: Sequence[Trial], best: Trial | None) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(CSV_COLUMNS, "")
    row |= {
        "timestamp": formatting.iso(job.ended_at),
        "experiment": job.experiment,
        "task": job.task,
        "horizon": job.horizon,
        "timescale": "daily",
        "budget": job.budget,
        "trials_complete": job.trials_complete,
        "trials_pruned": job.trials_pruned,
        "trials_failed": job.trials_failed,
        "status": str(job.status),
        "cause": job.cause or "",
        "job": job.id,
        "tier": job.tier,
        "dataset": job.spec.get("dataset", ""),
        "minutes": round(sum(trial.train_seconds for trial in trials) / 60, 2),
    }
    if best is None:
        return row
    sizes = [part.lstrip("dLhf") for part in best.architecture.split("-")]
    names = ("d_model", "n_layers", "n_heads", "d_ff") if len(sizes) == 4 else ()  # else somebody has edited the name
    shape = dict(zip(names, sizes, strict=False)) | {"trial_number": best.number}
    values = {name: getattr(best, name) for name in CSV_COLUMNS if hasattr(best, name)}
    params = {name: best.params.get(name) for name in ("learning_rate", "weight_decay", "warmup_steps", "dropout")}
    return row | {k: v for k, v in {**values, **params, **shape}.items() if v is not None and not row[k]}


def gains(margin: Margin | None) -> dict[str, Any]:
    """Returns the columns of the gain over the best baseline; empty if unknown."""
    if margin is None:
        return {}
    numbers = {
        f"{name}_gain{end}": getattr(margin, name + end) for name in ("auc", "loss") for end in ("", "_low", "_high")
    }
    return {"baseline": margin.rival, **numbers}
