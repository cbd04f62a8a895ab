"""Exports jobs and results as files from the database, atomically; fts does not read its results from them.

outputs/hpo/{experiment}/best_params.json, {experiment}_best.json, {experiment}_all_trials.json,
trials/trial_NNNN.json, and one row per finished cell in outputs/hpo/{study}_results.csv; a study may give the second
and the last another name (the flagship's are {experiment}_{budget}_best.json and experiment_results.csv). A folder
holds one job: for a cell that was searched again the latest search; earlier ones are in {experiment}_job7.

The export after a trial takes the same time for any number of trials: it writes the trial's own file, and the best
trial's files if they changed. For a job with more than FEW trials, {experiment}_all_trials.json is rewritten so rarely
that it takes below 1 % of the time, so it may be minutes old while the job runs. It is complete when the job ends or
is released, and after `fts export`. pending_exports.py decides when the table of results is written.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import json
import math
import os
import re
import stat
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from fts.jobs.api.names import axis_columns
from fts.jobs.api.spec import NAME
from fts.jobs.records import columns, results
from fts.jobs.records.results_cache import RowCache
from fts.jobs.status import trial_facts
from fts.jobs.status.formatting import iso, trials_ended
from fts.state import queries
from fts.state.files import CannotWrite, atomic_write, csv_text, from_csv_cell, link_below, make_folder, refuse_links
from fts.state.pareto_front import best_of
from fts.state.values import Epoch, Job, JobStatus, Margin, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from fts.jobs.settings import Places
    from fts.state.db import Database

FEW = 100  # up to so many trials, the file of all trials is rewritten after each one
SHARE = 50_000  # bytes per second: 1 % of the speed of reading and writing the trials of a large job
LONGEST_CELL = 1 << 30  # characters of a fact in a table of results; usually Python reads at most 131,072
PATIENCE_S = 30.0  # how long to wait for another writer of exports


def export_job(db: Database, places: Places, job: Job) -> Path:
    """Rewrites all files of one job from the database; returns its folder. Raises CannotWrite."""
    with exporting(places):
        return _export_job(db, places, job)


def _export_job(db: Database, places: Places, job: Job) -> Path:
    folder = own_folder(db, places, job)
    trials = queries.trials(db, job.id)
    for trial in trials:
        _write_trial(db, places, folder, job, trial)
    _write_summaries(db, places, folder, job, trials)
    return folder


def export_trials(db: Database, places: Places, job: Job, numbers: Sequence[int]) -> None:
    """Exports these trials, in a time that does not grow with the number of all trials. Raises CannotWrite."""
    with exporting(places):
        job = queries.job(db, job.id)
        aside = places.exports / numbered_name(job)
        was_aside = aside.exists()
        folder = own_folder(db, places, job)
        new_here = was_aside and folder != aside
        for number in numbers:
            _write_trial(db, places, folder, job, queries.trial(db, job.id, number))
        if new_here or trials_ended(job) <= FEW or is_due(folder / all_trials(job)):
            _write_summaries(db, places, folder, job, queries.trials(db, job.id))
        elif job.best_trial is not None:
            _write_best(db, places, folder, job, queries.trial(db, job.id, job.best_trial))


def export_summaries(db: Database, places: Places, job: Job, numbers: Sequence[int] = ()) -> None:
    """Writes the file of all trials, those of the best one and those of `numbers`, for a job that is released before
    its end. Raises CannotWrite.
    """
    with exporting(places):
        job = queries.job(db, job.id)
        if trials_ended(job):
            folder = own_folder(db, places, job)
            for number in numbers:
                _write_trial(db, places, folder, job, queries.trial(db, job.id, number))
            _write_summaries(db, places, folder, job, queries.trials(db, job.id))


def is_due(path: Path) -> bool:
    """Whether rewriting the file takes less than 1 % of the time since it was last written."""
    try:
        last = path.stat()
    except OSError:
        return True
    return not 0 <= time.time() - last.st_mtime < last.st_size / SHARE


@contextmanager
def exporting(places: Places) -> Iterator[None]:
    """Locks the exports for one writer at a time: an older state of the database must not overwrite a newer one.

    Raises CannotWrite if another writer, for example a stopped process, holds the lock for PATIENCE_S.
    """
    make_folder(places.outputs)
    handle = os.open(places.outputs, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _wait_for_others(handle, places.outputs)
        yield
    finally:
        os.close(handle)


def _wait_for_others(handle: int, outputs: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as busy:
            if time.monotonic() > end:
                why = f"another process has been writing the exports of {outputs} for {PATIENCE_S:.0f} s; try again"
                raise CannotWrite(errno.EAGAIN, why) from busy
            time.sleep(0.02)
        except OSError:  # a file system without locks
            return None


def own_folder(db: Database, places: Places, job: Job) -> Path:
    """Returns outputs/hpo/{experiment} for the search that the report shows, and {experiment}_job7 for any other job
    of that name.

    If this job is the shown one, first exports the jobs that it replaces to their own folders, and removes its own
    former `_job7` folder.
    """
    same = queries.namesakes(db, job)
    aside = {other.id: places.exports / numbered_name(other) for other in same}
    shown = job.id == shown_of(same).id
    folder = places.exports / job.experiment if shown else aside[job.id]
    refuse_links(folder / "trials", places.outputs)
    if shown:
        for other in same:
            if other.id != job.id and trials_ended(other) and not aside[other.id].exists():
                _export_job(db, places, other)
        _remove(places, aside[job.id], job)
    return folder


def numbered_name(job: Job) -> str:
    """Returns a job's name if another job has the same experiment: `{experiment}_job7`."""
    return f"{job.experiment}_job{job.id}"


def shown_of(same: Iterable[Job]) -> Job:
    """Returns the job to show of several with one name: the latest with an ended trial, as in `begun_cells`, else the
    latest."""
    return max(same, key=lambda job: (job.status is not JobStatus.CANCELLED, trials_ended(job) > 0, job.id))


def _write_trial(db: Database, places: Places, folder: Path, job: Job, trial: Trial) -> None:
    if not has_file(job, trial):
        return
    record = trial_record(job, trial, queries.epochs(db, trial.id))
    write_json(folder / "trials" / f"trial_{trial.number:04d}.json", record, places.outputs)


def has_file(job: Job, trial: Trial) -> bool:
    """Whether the trial has its own file. Without steps, the file of all trials holds everything about it."""
    return trial.epochs > 0 or not columns.study_of(job).is_bare


def _write_summaries(db: Database, places: Places, folder: Path, job: Job, trials: Sequence[Trial]) -> None:
    """Writes the file of all trials and the two files of the best one; removes files that another job left there."""
    write_json(folder / all_trials(job), [trial_record(job, trial, ()) for trial in trials], places.outputs)
    best = best_of(job, trials)
    if best is not None:
        _write_best(db, places, folder, job, best)
    else:
        _remove_best(folder, job)
    _remove_trials(folder, {trial.number for trial in trials if has_file(job, trial)})


def _write_best(db: Database, places: Places, folder: Path, job: Job, best: Trial) -> None:
    margin = next((margin for margin in queries.margins(db) if margin.job_id == job.id), None)
    for name in best_files(job):
        write_json(folder / name, best_record(job, best, margin), places.outputs)


def all_trials(job: Job) -> str:
    return f"{job.experiment}_all_trials.json"


def best_files(job: Job) -> tuple[str, str]:
    return "best_params.json", columns.study_of(job).best_file(job)


def _remove(places: Places, folder: Path, job: Job) -> None:
    """Removes the exported files, and the folder if it is then empty; does not follow links."""
    if not folder.is_dir() or link_below(folder / "trials", places.outputs) is not None:
        return
    _remove_trials(folder, set())
    _remove_best(folder, job)
    (folder / all_trials(job)).unlink(missing_ok=True)
    with suppress(OSError):  # not empty: it contains a person's file
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


def export_results(db: Database, places: Places) -> Path:
    """Writes all tables of results; returns the first one's path."""
    return export_tables(db, places)[0]


def export_tables(
    db: Database, places: Places, rows: RowCache | None = None, only: Collection[Path] | None = None
) -> list[Path]:
    """Rewrites the table of results of each study from the database; returns the paths. Raises CannotWrite.

    One row per ended cell: in experiment_results.csv if the study says so, else in hpo/STUDY_results.csv. `only`:
    write these files only; `rows`: the cache of rows that this process has already made.
    """
    with exporting(places):
        return _export_results(db, places, rows, only)


def _export_results(
    db: Database, places: Places, rows: RowCache | None = None, only: Collection[Path] | None = None
) -> list[Path]:
    found: dict[Path, list[Job]] = {}
    for job in exportable(db):
        found.setdefault(results_file(places, job), []).append(job)
    margins = {margin.job_id: margin for margin in queries.margins(db)}
    rows = RowCache(db) if rows is None else rows
    declared = queries.studies(db)
    ended = {path: _ended_cells(jobs) for path, jobs in found.items()}
    wanted = sorted(path for path in found if only is None or path in only)
    made = iter(rows.of([job for path in wanted for job in ended[path]], chain(*ended.values()), margins))
    for path in wanted:
        mine = list(islice(made, len(ended[path])))
        head = columns.study_of(found[path][0]).result_columns() or results.head_of(found[path], declared)
        listed = [*head, *(name for name in dict.fromkeys(name for row in mine for name in row) if name not in head)]
        write_text(path, csv_text(listed, [[row.get(name, "") for name in listed] for row in mine]), places.outputs)
    return sorted(wanted, key=lambda path: path != places.results_csv) or [places.results_csv]


def _ended_cells(jobs: Iterable[Job]) -> list[Job]:
    ended = [job for job in jobs if job.kind == "cell" and job.status in ENDED]
    return sorted(ended, key=lambda job: job.ended_at or 0.0)


def results_file(places: Places, job: Job) -> Path:
    """Returns the path of the table of results of the job's study."""
    return columns.study_of(job).results_file(places) or places.exports / f"{job.study}_results.csv"


def export_all(db: Database, places: Places) -> list[Path]:
    with exporting(places):
        there = [job for job in exportable(db) if job.status is not JobStatus.CANCELLED]
        shown = {shown_of(queries.namesakes(db, job)).id for job in there}
        wanted = [job for job in there if trials_ended(job) or job.id in shown]
        return [*(_export_job(db, places, job) for job in wanted), *_export_results(db, places)]


def catch_up(db: Database, places: Places, goes_on: Callable[[], bool] = lambda: True) -> None:
    """Writes missing exports: a worker may have died between the end of a job and its export, or found a full disk.

    Decides by the content of the files, not by their age: the clock may have been set back, or the study copied. Writes
    one job after another, 2 s for 1,000 trials, and stops between two once `goes_on` returns False: what is still
    missing then is found again. A job that has not ended any more is left to the worker that runs it.
    """
    there = [job for job in exportable(db) if job.status in ENDED]
    known = {path: written(path) for path in {results_file(places, job) for job in there}}
    late = [
        job
        for job in there
        if job.kind == "cell" and (job.experiment, iso(job.ended_at)) not in known[results_file(places, job)]
    ]
    behind = [job for job in there if job not in late and not _is_whole(db, places, job)]
    for job in (*late, *behind):
        if not goes_on():
            return
        if (now := queries.job(db, job.id)).status in ENDED:
            export_job(db, places, now)
    if late:
        export_results(db, places)


def _is_whole(db: Database, places: Places, job: Job) -> bool:
    """Whether every trial of a job has its file, and the last one is in the file of all trials."""
    last = queries.latest_trial(db, job.id)
    if last is None:
        return True
    same = queries.namesakes(db, job)
    folder = places.exports / (job.experiment if shown_of(same).id == job.id else numbered_name(job))
    try:
        files = [path for path in (folder / "trials").iterdir() if TRIAL_FILE.fullmatch(path.name)]
        with (folder / all_trials(job)).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 65_536))
            numbers = re.findall(rb'"trial_number": (\d+)', file.read())
    except OSError:
        return False
    return len(files) == _files_of(db, job, last) and bool(numbers) and int(numbers[-1]) == last.number


def _files_of(db: Database, job: Job, last: Trial) -> int:
    """Counts the trials that have their own file."""
    return queries.trials_with_steps(db, job.id) if columns.study_of(job).is_bare else last.number + 1


ENDED = (JobStatus.DONE, JobStatus.FAILED)
TRIAL_FILE = re.compile(r"trial_\d{4,}\.json")


def written(table: Path) -> set[tuple[str, str]]:
    """Returns (experiment, time of its end) of every row of a table of results; an empty set if there is no table, or
    if it is no table: it will be written again.
    """
    if not table.exists():
        return set()
    csv.field_size_limit(LONGEST_CELL)
    try:
        with table.open(encoding="utf-8", errors="replace", newline="") as file:
            rows = list(csv.DictReader(file))
    except csv.Error:
        return set()
    return {(from_csv_cell(str(row.get("experiment"))), from_csv_cell(str(row.get("timestamp")))) for row in rows}


def exportable(db: Database) -> list[Job]:
    """Returns the jobs with valid folder names; others were inserted by hand, and no worker runs them."""
    named = (job for job in queries.jobs(db) if NAME.fullmatch(job.experiment) and NAME.fullmatch(job.study))
    return [job for job in named if columns.study_of(job).may_export(job)]


def trial_record(job: Job, trial: Trial, epochs: Iterable[Epoch]) -> dict[str, Any]:
    record = _with_job(job, {"trial_number": trial.number, **asdict(trial)})
    record["badges"] = list(trial.badges)
    if curve := [asdict(epoch) for epoch in epochs]:
        record["learning_curve"] = curve
    return record


def best_record(job: Job, best: Trial, margin: Margin | None = None) -> dict[str, Any]:
    """Returns the best trial as a record with all that is needed to run it again; a study may define its own."""
    found = columns.study_of(job).best_record(job, best, margin)
    if found is not None:
        return found
    record = {
        "job": job.id,
        "metric": job.metric,
        "direction": str(job.direction),
        "best_value": best.value,
        "best_trial": best.number,
        "best_step": best.best_epoch,
        "best_params": best.params,
        **({"goals": job.goals, "front": list(job.front)} if len(job.goals) > 1 else {}),
        "metrics": trial_facts.metrics_of(best),
        "facts": trial_facts.facts_of(best),
        "seed": best.seed,
        "code_commit": best.code_commit,
        "code_md5": job.spec.get("code_md5"),
        **{name: job.spec.get(name) for name in ("command" if "command" in job.spec else "objective",)},
    }
    return _with_job(job, record)


def _with_job(job: Job, record: dict[str, Any]) -> dict[str, Any]:
    """Returns the record with the job's fields; an axis that has the name of another field is `axis.NAME`."""
    of_job = columns.study_of(job).job_record(job)
    axes = {name: of_job.pop(name) for name in job.labels if name in of_job and name in record}
    return of_job | record | axis_columns(axes, record)


def write_json(path: Path, content: Any, root: Path | None = None) -> None:
    write_text(path, json.dumps(without_nan(content), indent=2, sort_keys=True, allow_nan=False) + "\n", root)


def without_nan(content: Any) -> Any:
    """Returns the content with None for numbers that are not finite: JSON has no NaN, and jq and browsers refuse it."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {name: without_nan(value) for name, value in content.items()}
    return [without_nan(value) for value in content] if isinstance(content, (list, tuple)) else content


def write_text(path: Path, text: str, root: Path | None = None) -> None:
    """Writes a file atomically; keeps one with the same content, because reading it is cheaper than flushing it."""
    content = text.encode()
    if not _is_same_and_private(path, content):
        atomic_write(path, content, root, durable=False)


def _is_same_and_private(path: Path, content: bytes) -> bool:
    try:
        found = path.lstat()
        same = stat.S_ISREG(found.st_mode) and not found.st_mode & 0o077 and found.st_size == len(content)
        return same and path.read_bytes() == content
    except OSError:
        return False
