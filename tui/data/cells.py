"""Reads the selected cell: its trials with their curves, the attempts of one trial, the best curve of each cell."""

from __future__ import annotations

import math
from dataclasses import field, replace
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.status.sanitize import clean_value
from fts.state import queries
from fts.state.errors import NoSuchRow
from fts.tui.data.trial_store import TrialStore, by_id, by_number, ids_of
from fts.tui.data.view import CURVES, RESULTS, TRIALS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from fts.state.db import Database
    from fts.state.values import Attempt, Epoch, Job, Snapshot, Trial
    from fts.tui.data.reader import ReadCache, ReadRequest

MANY_TRIALS = 400  # a cell with more is read only for the screens Trials, Curves and Results
MANY_CURVES = 100  # of such a cell only the curves of the latest trials are read
RECENT = 100  # latest trials among which running ones are looked for
CELLS_KEPT = 6  # so that moving down the queue and back reads nothing twice


@dataclass(frozen=True)
class CellTrials:
    """The trials of one job and their curves, as of a count of ended trials; in a replay as of a past moment."""

    job_id: int | None = None
    trials: Sequence[Trial] = ()  # a TrialStore if there are more than MANY_TRIALS
    curves: Mapping[int, tuple[Epoch, ...]] = field(default_factory=dict)
    at: float | None = None  # the moment of a replay


NO_CELL = CellTrials()


def selected_cell(db: Database, snapshot: Snapshot, request: ReadRequest, cache: ReadCache) -> CellTrials:
    """Returns the selected cell, from the cache unless one of its trials has begun or ended."""
    job = next((job for job in snapshot.jobs if job.id == request.job_id), None)
    if job is None:
        return NO_CELL
    many = job.trials_complete + job.trials_pruned + job.trials_failed > MANY_TRIALS
    if not request.with_curves or (many and request.screen not in (TRIALS, CURVES, RESULTS)):
        return NO_CELL
    live = tuple(t.id for t in snapshot.trials if t.job_id == job.id and t.ended_at is None)
    key = (job.id, job.trials_complete, job.trials_pruned, job.trials_failed, job.best_trial, live, request.at)
    cell = cache.cells.pop(key, None)
    before = cache.cell
    if cell is None and request.at is None and before.at is None and before.job_id == job.id and before.trials:
        cell = _grown(db, job, before, many)
    cell = cell or _read_cell(db, job.id, many, request.at)
    cache.cells[key] = cell
    while len(cache.cells) > (1 if many else CELLS_KEPT):
        cache.cells.pop(next(iter(cache.cells)))
    return cell


def with_chosen(
    db: Database, snapshot: Snapshot, request: ReadRequest, cache: ReadCache, cell: CellTrials
) -> CellTrials:
    """Returns the selected cell with the curves of its best trial and of the trial under the cursor.

    Of many trials only the latest curves are read, and on the Queue none.
    """
    job = next((job for job in snapshot.jobs if job.id == request.job_id), None)
    if job is None or not request.with_curves:
        return cell
    own = [trial for trial in snapshot.trials if trial.job_id == job.id]
    chosen = (by_number(own, job.best_trial), by_id(cell.trials, request.trial_id))
    missing = tuple(t.id for t in chosen if t is not None and t.ended_at is not None and t.id not in cell.curves)
    if not missing:
        return cell
    before, ids, made = cache.chosen
    if before is not cell or ids != missing:  # the same object as long as nothing has changed
        late = request.at if request.at is not None else math.inf
        read = {id: tuple(e for e in queries.epochs(db, id) if e.at <= late) for id in missing}
        made = replace(cell, job_id=job.id, curves={**read, **cell.curves})
        cache.chosen = (cell, missing, made)
    return made


def _grown(db: Database, job: Job, cell: CellTrials, many: bool) -> CellTrials | None:
    """Returns the cell with the trials that began or ended since; None if the counts differ and it must be reread.

    Keeps as much as `_read_cell` reads: a screen may follow one cell for weeks.
    """
    first = max(len(cell.trials) - RECENT, 0)  # trials end roughly in order; the counts below show an exception
    changed = {
        n: clean_value(queries.trial(db, job.id, trial.number))
        for n, trial in enumerate(cell.trials[first:], first)
        if trial.ended_at is None
    }
    added: list[Trial] = []
    while len(added) < MANY_CURVES:
        number = (added[-1] if added else cell.trials[-1]).number + 1
        try:
            added.append(clean_value(queries.trial(db, job.id, number)))
        except NoSuchRow:
            break
    fresh = [*changed.values(), *added]
    live = sum(trial.ended_at is None for trial in fresh)
    if len(cell.trials) + len(added) - live != job.trials_complete + job.trials_pruned + job.trials_failed:
        return None
    curves = {**cell.curves, **{t.id: queries.epochs(db, t.id) for t in fresh}}
    if isinstance(cell.trials, TrialStore):
        trials: Sequence[Trial] = cell.trials.with_changes(changed, added)
    else:
        known = (changed.get(n, trial) for n, trial in enumerate(cell.trials))
        trials = TrialStore((*known, *added)) if many else (*known, *added)
    return CellTrials(job.id, trials, dict(list(curves.items())[-MANY_CURVES:]) if many else curves)


def _read_cell(db: Database, job_id: int, many: bool, at: float | None) -> CellTrials:
    found = (clean_value(t) for t in queries.shown_trials(db, job_id) if at is None or t.started_at <= at)
    trials = TrialStore(found) if many else tuple(found)
    curves = {t.id: queries.epochs(db, t.id) for t in (trials[-MANY_CURVES:] if many else trials)}
    if at is not None:
        curves = {key: tuple(e for e in curve if e.at <= at) for key, curve in curves.items()}
    return CellTrials(job_id, trials, curves, at)


def best_curves(
    db: Database, snapshot: Snapshot, cache: ReadCache, wanted: Collection[int]
) -> dict[int, tuple[Epoch, ...]]:
    """Returns by job id the curves of the best trials of the wanted jobs; keeps only these."""
    best = {job.id: job.best_trial for job in snapshot.jobs if job.id in wanted}
    kept: dict[int, tuple[int, tuple[Epoch, ...]]] = {}
    for trial in snapshot.trials:
        if trial.job_id not in best or best[trial.job_id] != trial.number:
            continue
        before = cache.best.get(trial.job_id)
        if before is None or before[0] != trial.id or len(before[1]) != trial.epochs:
            before = (trial.id, queries.epochs(db, trial.id))
        kept[trial.job_id] = before
    cache.best = kept
    return {job_id: curve for job_id, (_, curve) in kept.items()}


def attempts_of(db: Database, request: ReadRequest, cache: ReadCache) -> tuple[Attempt, ...]:
    """Returns the attempts of the trial under the cursor; of the newest one until another is chosen."""
    if request.screen != TRIALS or not cache.cell.trials:
        return ()
    trial = by_id(cache.cell.trials, request.trial_id) or cache.cell.trials[-1]
    found = (clean_value(each) for each in queries.attempts(db, trial.id))
    return tuple(_then(each, request.at) for each in found if each.began_at <= (request.at or each.began_at))


def worked_of(db: Database, request: ReadRequest, cache: ReadCache) -> dict[int, tuple[float, float | None]]:
    """Returns the seconds that the processes of interrupted trials ran, without the time between them.

    Of a cell that was read before only the latest trials are read again, because the others no longer change.
    """
    if request.screen != TRIALS or request.job_id is None or request.at is not None:
        return {}
    job_id, found = cache.worked
    ids = ids_of(cache.cell.trials)
    since = ids[-RECENT] if job_id == request.job_id and len(ids) >= RECENT else 0
    cache.worked = (request.job_id, (found if since else {}) | queries.interrupted(db, request.job_id, since))
    return cache.worked[1]


def _then(attempt: Attempt, at: float | None) -> Attempt:
    """Returns the attempt as it was known at a moment of a replay."""
    late = at is not None and attempt.ended_at is not None and attempt.ended_at > at
    return replace(attempt, ended_at=None, how=None) if late else attempt
