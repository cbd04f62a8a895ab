"""Reads the data of the report from the database: trials, curves, baselines, predictions and openings."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fts.jobs.api.halving import Halving
from fts.jobs.records.energy import energies
from fts.jobs.records.searches import COMING, Searches, begun_cells
from fts.jobs.settings import Places
from fts.jobs.status import formatting, naming
from fts.state import queries
from fts.state.files import refuse_links
from fts.state.pareto_front import best_of
from fts.state.values import Job, JobStatus, Opening, Trial, TrialStatus
from fts.study.cell import CellSpec
from fts.study.margins import predictions_path
from fts.study.model_card import against
from fts.study.own import own_jobs
from fts.study.seeds import lucks_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from fts.analysis.study_data import BaselineRow, Importance, StudyData, WalkRow
    from fts.jobs.settings import Places
    from fts.state.db import Database

log = logging.getLogger("fts.report")


def make_report(db: Database, places: Places, folder: Path | None = None, now: float | None = None) -> Path:
    """Writes outputs/report (or `folder`) and returns the page; a half-finished matrix gives a partial report."""
    from fts.analysis.report import write_report  # here, not above: pandas and matplotlib, seconds

    target = folder or places.outputs / "report"
    refuse_links(target / "figures", places.outputs)
    return write_report(study_data(db, places, now), target)


def study_data(db: Database, places: Places, now: float | None = None) -> StudyData:
    """Reads everything for the analysis, from one read transaction and the stored predictions."""
    import pandas as pd

    from fts.analysis.study_data import CELL_COLUMNS, EPOCH_COLUMNS, StudyData

    with db.read():
        jobs = [job for job in own_jobs(db) if job.status is not JobStatus.CANCELLED or job.kind == "replicate"]
        jobs.sort(key=lambda job: job.id)
        trials = {job.id: queries.trials(db, job.id) for job in jobs}
        cells = begun_cells(jobs)  # as fts.analysis.study_data.newest_jobs
        epochs = [
            {"experiment": job.experiment, "number": trial.number, **asdict(epoch)}
            for job in cells
            for trial, curve in queries.history(db, job.id)
            for epoch in curve
        ]
        openings = queries.openings(db)
        measured = energies(db)
    usual, searches = usual_ticker(jobs), Searches(jobs)
    rows = [
        {**trial_row(job, trial, usual), "energy_wh": measured.get(trial.id)}
        for job in jobs
        for trial in trials[job.id]
    ]
    planned = [
        {name: getattr(job, name) for name in CELL_COLUMNS} | {"status": str(job.status), "task": task_of(job, usual)}
        for job in cells
    ]
    ran = [(job, trials[job.id]) for job in jobs if job.kind == "baseline"]
    return StudyData(
        trials=pd.DataFrame(rows),
        epochs=pd.DataFrame(epochs) if epochs else pd.DataFrame(columns=list(EPOCH_COLUMNS)),
        baselines=tuple(baseline_rows(places, ran, usual)),
        predictions=dict(predictions_of(places, [(job, trials[job.id]) for job in cells])),
        vix=vix_of(places),
        importance={job.experiment: found for job in cells if (found := importance_of(trials[job.id])) is not None},
        walks=tuple(walk_rows(db, places, jobs, trials, usual)),
        cells=pd.DataFrame(planned, columns=list(CELL_COLUMNS)),
        prices=dict(prices_of(places, cells)),
        test_openings=tuple(opening_sentence(opening) for opening in openings),
        newer=(
            *(newer_sentence(newer, shown) for shown in cells for newer in searches.newer(shown)),
            *not_walked(jobs, trials),
        ),
        without_best={
            job.experiment: formatting.without_best(job)
            for job in cells
            if job.best_trial is None and job.status in formatting.ENDED and formatting.trials_ended(job)
        },
        source=f"database {places.db.name}, {len(jobs)} jobs, {len(rows)} trials",
        made_at="" if now is None else f"made {formatting.iso(now)}",
    )


def importance_of(trials: Sequence[Trial]) -> Importance | None:
    """Returns None if there are too few trials."""
    from fts.analysis.study_data import Importance
    from fts.jobs.search.importance import chance_of, importance

    found = importance(trials)
    return Importance({one.name: one.share for one in found}, chance_of(trials)) if found else None


def trial_row(job: Job, trial: Trial, usual: str | None = None) -> dict[str, Any]:
    """Returns a trial as one row, with fields of its job; `usual` as for task_of."""
    of_job = ("experiment", "kind", "budget", "horizon", "task", "tier")
    return {
        "job": job.id,
        **{name: getattr(job, name) for name in of_job},
        "task": task_of(job, usual),
        **asdict(trial),
        "status": str(trial.status),
        "pruner": pruner_of(job),
        "dataset": job.spec.get("dataset"),
    }


def task_of(job: Job, usual: str | None = None) -> str:
    """Returns `threshold_1pct`, or `threshold_1pct walk-forward:5` for folds: other windows, so a separate matrix.

    Other prices than the `usual` ones are also separate: `threshold_1pct IXIC`.
    """
    ticker = naming.ticker_of(job)
    return " ".join(
        part for part in (job.task, job.spec.get("cv"), ticker if usual not in (None, ticker) else "") if part
    )


def usual_ticker(jobs: Iterable[Job]) -> str | None:
    """Returns the ticker of the first cell, or without cells of the first job; None without jobs."""
    first = min(jobs, key=lambda job: (job.kind != "cell", job.id), default=None)
    return None if first is None else naming.ticker_of(first)


def pruner_of(job: Job) -> str:
    """Returns the job's pruner with its frozen numbers: `halving 2,3,0.5,2`."""
    pruner, rule = str(job.spec.get("pruner", "none")), job.spec.get("halving")
    if pruner != "halving":
        return pruner
    return f"halving {Halving.from_json(rule).numbers}" if rule else "halving (numbers not recorded)"


def baseline_rows(
    places: Places, ran: Iterable[tuple[Job, Iterable[Trial]]], usual: str | None = None
) -> Iterator[BaselineRow]:
    """Yields the stored predictions of every baseline, scored again."""
    from fts.analysis.study_data import baseline_row

    for job, trials in ran:
        for trial in trials:
            table = stored(places, job, trial)
            if table is not None and {"model", "inputs"} <= set(trial.params):  # else somebody has edited the row
                what = (trial.data_md5 or "", trial.params["model"], trial.params["inputs"])
                seconds = (trial.ended_at or trial.started_at) - trial.started_at
                walked = CellSpec.from_json(job.spec).is_walked  # then the recorded AUC is a mean over folds
                ends = (None, None) if walked else (trial.auc_low, trial.auc_high)
                yield baseline_row(task_of(job, usual), job.horizon, job.tier, *what, table, seconds, ends)


def walk_rows(
    db: Database, places: Places, jobs: list[Job], trials: Mapping[int, Sequence[Trial]], usual: str | None = None
) -> Iterator[WalkRow]:
    """Yields the current winner of each cell on its folds; nothing for earlier winners or before the first training."""
    from fts.analysis.study_data import WalkRow

    for cell, best, walk in walks_of(jobs, trials):
        found = [(trial, table) for trial in trials[walk.id] if (table := stored(places, walk, trial)) is not None]
        found = [(trial, table) for trial, table in found if table["date"].equals(found[0][1]["date"])]
        if not found:
            continue
        tables = [table for _, table in found]
        chosen_on = stored(places, cell, best)
        yield WalkRow(
            experiment=cell.experiment,
            budget=cell.budget,
            horizon=cell.horizon,
            task=task_of(cell, usual),
            walk_task=task_of(walk, usual),
            tier=cell.tier,
            data_md5=str(walk.spec.get("data_md5")),
            folds=CellSpec.from_json(walk.spec).folds,
            chosen_from=None if chosen_on is None else chosen_on["date"].min().to_datetime64().astype("datetime64[D]"),
            dates=tables[0]["date"].to_numpy().astype("datetime64[D]"),
            y=tables[0]["y"].to_numpy(float),
            p_SN=tuple(table["p"].to_numpy(float) for table in tables),
            wanted=walk.trials_wanted,
            lucks=lucks_of(db, walk),
            recorded=tuple((trial.val_auc, trial.auc_low, trial.auc_high) for trial, _ in found),
        )


def walks_of(jobs: Sequence[Job], trials: Mapping[int, Sequence[Trial]]) -> Iterator[tuple[Job, Trial, Job]]:
    """Yields cell, current winner, and the latest walk job of it with a complete trial, else the latest of all."""
    for cell in begun_cells(jobs):
        best = best_of(cell, trials[cell.id])
        walks = [job for job in jobs if _walks(job, cell, best)]
        walk = max(walks, key=lambda job: (job.trials_complete > 0, job.id), default=None)
        if best is not None and walk is not None:
            yield cell, best, walk


def not_walked(jobs: Sequence[Job], trials: Mapping[int, Sequence[Trial]]) -> Iterator[str]:
    """Yields a sentence for each winner without a complete walk; the page would not mention them."""
    for cell, _, walk in walks_of(jobs, trials):
        if not walk.trials_complete:
            why = f": {walk.message}" if walk.status is JobStatus.FAILED and walk.message else ""
            job = f"job {walk.id}, {walk.status}{why}"
            yield f"{cell.experiment}: no training of its winner on walk-forward folds is complete ({job})"


def _walks(job: Job, cell: Job, best: Trial | None) -> bool:
    origin = job.spec.get("origin") or {}
    return (
        job.kind == "walk" and best is not None and (origin.get("job"), origin.get("trial")) == (cell.id, best.number)
    )


def predictions_of(
    places: Places, cells: Iterable[tuple[Job, Iterable[Trial]]], *, best_only: bool = False
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yields (trial name, table of date, y, p) of every complete trial with predictions, or only of the best one."""
    from fts.analysis.trials_table import trial_name

    for job, trials in cells:
        best = best_of(job, trials)
        for trial in trials:
            if trial is best or (not best_only and predictions_path(places, job, trial).is_file()):
                table = stored(places, job, trial)
                if table is not None:
                    yield trial_name(job.experiment, trial.number), table


def prices_of(places: Places, cells: Iterable[Job]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yields (data_md5, High and Close by day) up to the latest test part; skips data sets that are missing here."""
    import pandas as pd

    from fts.data import splits
    from fts.data.files import read_columns, read_dates
    from fts.data.manifest import Manifest

    wanted: dict[str, list[Job]] = {}
    for job in cells:
        wanted.setdefault(str(job.spec.get("data_md5")), []).append(job)
    for md5, jobs in wanted.items():
        try:
            file = Manifest(places.data).file(Manifest(places.data).find(md5, jobs[0].tier))
            days = read_dates(file)
            stop = max(splits.borders(days, splits.parse(job.spec.get("split"))).val_stop for job in jobs)
            dates, columns = read_columns(file, before=days[stop] if stop < len(days) else None)
        except (OSError, ValueError) as error:  # missing or damaged data set
            log.warning("the report has no prices of %s: %s", jobs[0].experiment, error)
            continue
        yield md5, pd.DataFrame({name: columns[name] for name in ("High", "Close")}, index=pd.DatetimeIndex(dates))


def vix_of(places: Places) -> pd.Series | None:
    """Returns closes of the VIX: the registered ones, else those of the package `arch`, else None."""
    import pandas as pd

    from fts.data import sources
    from fts.data.bars import check_closes
    from fts.data.manifest import Manifest, raw_name

    manifest = Manifest(places.data)
    try:
        entry = manifest.current(raw_name("VIX"))
        return check_closes(pd.read_parquet(manifest.file(entry)), entry.dataset)
    except (OSError, ValueError):  # not registered, or damaged
        try:
            return sources.bundled_vix()
        except (sources.SourceFailed, OSError, ValueError):
            return None


def stored(places: Places, job: Job, trial: Trial) -> pd.DataFrame | None:
    """Returns a complete trial's predictions; None, with a warning, if they cannot be read."""
    from fts.analysis.study_data import BadPredictionsFile, read_predictions

    if trial.status is not TrialStatus.COMPLETE:
        return None
    try:
        return read_predictions(predictions_path(places, job, trial))
    except (OSError, ValueError, BadPredictionsFile) as error:  # pyarrow's errors are ValueErrors and OSErrors
        log.warning("%s trial %d has no usable predictions: %s", job.experiment, trial.number, error)
        return None


def newer_sentence(newer: Job, shown: Job) -> str:
    """Explains why the page shows an older search: `phase6a_2M_h1_...: job 5, a newer search of this cell, ...`."""
    ended = f"ended without a finished trial ({newer.status})"
    return (
        f"{newer.experiment}: job {newer.id}, a newer search of this cell, {COMING.get(newer.status, ended)}; "
        f"until its first trial ends, this page shows the results of job {shown.id}"
    )


def opening_sentence(opening: Opening) -> str:
    """Returns `ada@lab opened it for phase6a_2M_h1_threshold_1pct, trial 7 of job 2, at 2026-11-22T10:00:00: ...`."""
    trial = f"trial {opening.trial} of job {opening.job_id}"
    text = f"{opening.who} opened it for {opening.experiment}, {trial}, at {formatting.iso(opening.at)}"
    if opening.scores is None:
        return f"{text}; not evaluated yet"
    scores = opening.figures
    return (
        f"{text}: AUC {scores['auc']:.3f} [{scores['auc_low']:.3f}, {scores['auc_high']:.3f}], log loss "
        f"{scores['loss']:.4f} against {scores['prior_loss']:.4f} of the class prior, on {scores['n']} windows"
        f"{against(scores)}"
    )
