"""Writes what the earlier scripts wrote, from the database, atomically: exports are never read back.

outputs/hpo/{experiment}/best_params.json, {experiment}_{budget}_best.json, {experiment}_all_trials.json,
trials/trial_NNNN.json, and one row per finished cell in outputs/experiment_results.csv. A folder holds one job: of a
cell that was searched again the latest search, the earlier ones in {experiment}_job7.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fts.search.spec import NAME
from jobs.energy import energies, total
from jobs.glance.words import trials_ended
from jobs.settings import Places
from state import queries
from state.values import Epoch, Job, JobStatus, Margin, Trial, TrialStatus

CSV_COLUMNS = [
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
    "energy_wh",  # of training, processor and GPU; empty where no sensor knew
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
]


def export_job(db: Any, places: Places, job: Job) -> Path:
    """Rewrite everything of one cell from the database; returns its folder."""
    trials = queries.trials(db, job.id)
    folder = own_folder(db, places, job)
    for trial in trials:
        epochs = queries.epochs(db, trial.id)
        write_json(folder / "trials" / f"trial_{trial.number:04d}.json", trial_record(job, trial, epochs))
    _write_summaries(db, folder, job, trials)
    return folder


def export_trial(db: Any, places: Places, job: Job, number: int) -> None:
    """After one trial: its own file, and the summaries of its cell."""
    trials = queries.trials(db, job.id)
    folder = own_folder(db, places, job)
    for trial in trials:
        if trial.number == number:
            record = trial_record(job, trial, queries.epochs(db, trial.id))
            write_json(folder / "trials" / f"trial_{number:04d}.json", record)
    _write_summaries(db, folder, job, trials)


def own_folder(db: Any, places: Places, job: Job) -> Path:
    """outputs/hpo/{experiment}, of the search that the report shows; any other job of that name has `_job7` behind it.

    Where this one has come to be shown, what it wrote under `_job7` goes, and what it displaces is written there first.
    """
    same = queries.namesakes(db, job.kind, job.experiment)
    aside = {other.id: places.exports / f"{job.experiment}_job{other.id}" for other in same}
    if job.id != shown_of(same).id:
        return aside[job.id]
    for other in same:
        if other.id != job.id and trials_ended(other) and not aside[other.id].exists():
            export_job(db, places, other)
    _remove(aside[job.id], job)
    return places.exports / job.experiment


def shown_of(same: Iterable[Job]) -> Job:
    """Of jobs of one name the latest of which a trial has ended, as `begun_cells` has it; else the latest."""
    return max(same, key=lambda job: (job.status is not JobStatus.CANCELLED, trials_ended(job) > 0, job.id))


def _write_summaries(db: Any, folder: Path, job: Job, trials: Sequence[Trial]) -> None:
    """All trials in one file, the best one's two files, and nothing beside them that another job left there."""
    write_json(folder / f"{job.experiment}_all_trials.json", [trial_record(job, trial, ()) for trial in trials])
    best = best_of(job, trials)
    if best is not None:
        margin = next((margin for margin in queries.margins(db) if margin.job_id == job.id), None)
        for name in best_files(job):
            write_json(folder / name, best_record(job, best, margin))
    else:
        _remove_best(folder, job)
    _remove_trials(folder, {trial.number for trial in trials})


def best_files(job: Job) -> tuple[str, str]:
    return "best_params.json", f"{job.experiment}_{job.budget}_best.json"


def _remove(folder: Path, job: Job) -> None:
    """Removes what was exported there, and the folder where nothing else is in it."""
    if not folder.is_dir():
        return
    _remove_trials(folder, set())
    _remove_best(folder, job)
    (folder / f"{job.experiment}_all_trials.json").unlink(missing_ok=True)
    with suppress(OSError):  # not empty: a person's file is in it
        (folder / "trials").rmdir()
        folder.rmdir()


def _remove_trials(folder: Path, keep: set[int]) -> None:
    """Removes the files of trials whose numbers are not in `keep`."""
    kept = {f"trial_{number:04d}.json" for number in keep}
    for path in folder.glob("trials/trial_*.json"):
        if path.name not in kept:
            path.unlink(missing_ok=True)


def _remove_best(folder: Path, job: Job) -> None:
    for name in best_files(job):
        (folder / name).unlink(missing_ok=True)


def export_results(db: Any, places: Places) -> Path:
    """experiment_results.csv: one row per ended cell, rewritten whole from the database."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    ended = [job for job in exportable(db) if job.kind == "cell" and job.status in (JobStatus.DONE, JobStatus.FAILED)]
    margins = {margin.job_id: margin for margin in queries.margins(db)}
    measured = energies(db)
    for job in sorted(ended, key=lambda job: job.ended_at or 0.0):
        trials = queries.trials(db, job.id)
        spent = total(measured, trials)
        energy = {} if spent is None else {"energy_wh": round(spent, 3)}
        best, margin = best_of(job, trials), margins.get(job.id)
        mine = margin if margin is not None and best is not None and margin.trial == best.number else None
        writer.writerow(result_row(job, trials) | gains(mine) | energy)
    write_text(places.results_csv, out.getvalue())
    return places.results_csv


def export_all(db: Any, places: Places) -> list[Path]:
    there = [job for job in exportable(db) if job.status is not JobStatus.CANCELLED]
    shown = {shown_of(queries.namesakes(db, job.kind, job.experiment)).id for job in there}
    wanted = [job for job in there if trials_ended(job) or job.id in shown]
    return [*(export_job(db, places, job) for job in wanted), export_results(db, places)]


def catch_up(db: Any, places: Places) -> None:
    """Write what a worker that died between the end of a job and its export left unwritten.

    Told by the rows of the table, not by its age: the clock may have been set back since, or the study copied.
    """
    known = written(places.results_csv)
    late = [job for job in exportable(db) if job.kind == "cell" and job.status in (JobStatus.DONE, JobStatus.FAILED)]
    late = [job for job in late if (job.experiment, iso(job.ended_at)) not in known]
    for job in late:
        export_job(db, places, job)
    if late:
        export_results(db, places)


def written(table: Path) -> set[tuple[str, str]]:
    """(experiment, time of its end) of every row of experiment_results.csv; none of what is no such table."""
    if not table.exists():
        return set()
    with table.open(errors="replace", newline="") as file:
        return {(str(row.get("experiment")), str(row.get("timestamp"))) for row in csv.DictReader(file)}


def exportable(db: Any) -> list[Job]:
    """Jobs whose names may become folders; others were written into the table by hand, and no worker runs them."""
    return [job for job in queries.jobs(db) if NAME.fullmatch(job.experiment) and NAME.fullmatch(job.budget)]


def best_of(job: Job, trials: Iterable[Trial]) -> Trial | None:
    """The best complete trial that did not diverge; the lower number wins a tie."""
    fit = [t for t in trials if t.status == TrialStatus.COMPLETE and t.value is not None and "diverged" not in t.badges]
    if not fit:
        return None
    sign = -1.0 if fit[0].objective == "val_auc" else 1.0
    return min(fit, key=lambda trial: (sign * (trial.value or 0.0), trial.number))


def trial_record(job: Job, trial: Trial, epochs: Iterable[Epoch]) -> dict[str, Any]:
    of_job = {name: getattr(job, name) for name in ("experiment", "kind", "budget", "horizon", "task", "tier")}
    of_job["dataset"] = job.spec.get("dataset")
    record = {**of_job, "trial_number": trial.number, **asdict(trial)}
    record["badges"] = list(trial.badges)
    if curve := [asdict(epoch) for epoch in epochs]:
        record["learning_curve"] = curve
    return record


def best_record(job: Job, best: Trial, margin: Margin | None = None) -> dict[str, Any]:
    """The winner with everything needed to train it again, and by how much it beats the best baseline.

    `margin` is null while there is no comparison, or none of this very trial.
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


def result_row(job: Job, trials: Iterable[Trial]) -> dict[str, Any]:
    """One line of experiment_results.csv; empty cells where there is no such thing."""
    row: dict[str, Any] = dict.fromkeys(CSV_COLUMNS, "")
    row |= {
        "timestamp": iso(job.ended_at),
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
    best = best_of(job, trials)
    if best is None:
        return row
    sizes = (part.lstrip("dLhf") for part in best.architecture.split("-"))
    shape: dict[str, Any] = {"trial_number": best.number}
    shape |= zip(("d_model", "n_layers", "n_heads", "d_ff"), sizes, strict=False)  # fewer of a row made by hand
    values = {name: getattr(best, name) for name in CSV_COLUMNS if hasattr(best, name)}
    params = {name: best.params.get(name) for name in ("learning_rate", "weight_decay", "warmup_steps", "dropout")}
    return row | {k: v for k, v in {**values, **params, **shape}.items() if v is not None and not row[k]}


def gains(margin: Margin | None) -> dict[str, Any]:
    """The columns that say how far a cell is ahead of the best baseline; none while it cannot be said."""
    if margin is None:
        return {}
    numbers = {
        f"{name}_gain{end}": getattr(margin, name + end) for name in ("auc", "loss") for end in ("", "_low", "_high")
    }
    return {"baseline": margin.rival, **numbers}


def iso(at: float | None) -> str:
    from datetime import UTC, datetime

    return "" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(without_nan(content), indent=2, sort_keys=True, allow_nan=False) + "\n")


def without_nan(content: Any) -> Any:
    """The same with null where a number is not finite: JSON has no NaN, and jq and browsers refuse the whole file."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {name: without_nan(value) for name, value in content.items()}
    return [without_nan(value) for value in content] if isinstance(content, (list, tuple)) else content


def write_text(path: Path, text: str) -> None:
    """All or nothing: a temporary name beside it, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
