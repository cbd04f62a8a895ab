"""Reads the selected cell: its trials and their curves, the attempts of one trial, the best curve of each cell."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.status.sanitize import clean_value
from fts.state import queries
from fts.state.errors import NoSuchRow
from fts.tui.data.trial_store import TrialStore, by_id, by_number, ids_of
from fts.tui.data.view import CURVES, RESULTS, TRIALS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fts.state.db import Database
    from fts.state.values import Attempt, Epoch, Job, Snapshot, Trial
    from fts.tui.data.reader import Memory, ReadRequest

MANY_TRIALS = 400  # beyond them the race is read only where it is shown large
MANY_CURVES = 100  # and only against so many of the latest
RECENT = 100  # trials among which a live one is looked for
CELLS_KEPT = 6  # so that walking down the queue and back reads nothing twice


@dataclass(frozen=True)
class Cell:
    """The trials of one job and their curves, as of a count of ended trials."""

    job_id: int | None = None
    trials: Sequence[Trial] = ()  # a shelf where they are many
    curves: Mapping[int, tuple[Epoch, ...]] = field(default_factory=dict)


def selected_cell(db: Database, snapshot: Snapshot, wish: ReadRequest, memory: Memory) -> Cell:
    """The selected cell; read again only when one of its trials has begun or ended."""
    job = next((job for job in snapshot.jobs if job.id == wish.job_id), None)
    if job is None:
        return Cell()
    many = job.trials_complete + job.trials_pruned + job.trials_failed > MANY_TRIALS
    if not wish.with_curves or (many and wish.screen not in (TRIALS, CURVES, RESULTS)):
        return Cell()
    live = tuple(t.id for t in snapshot.trials if t.job_id == job.id and t.ended_at is None)
    key = (job.id, job.trials_complete, job.trials_pruned, job.trials_failed, job.best_trial, live, wish.at)
    cell = memory.cells.pop(key, None)
    if cell is None and wish.at is None and memory.cell.job_id == job.id and memory.cell.trials:
        cell = _grown(db, job, memory.cell)
    cell = cell or _read_cell(db, job.id, many, wish.at)
    memory.cells[key] = cell
    while len(memory.cells) > (1 if many else CELLS_KEPT):
        memory.cells.pop(next(iter(memory.cells)))
    return cell


def _grown(db: Database, job: Job, cell: Cell) -> Cell | None:
    """The cell with what began or ended since; None when that does not add up and all of it must be read again."""
    first = max(len(cell.trials) - RECENT, 0)  # trials end in the order they began, but for those retried
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
        return Cell(job.id, cell.trials.with_changes(changed, added), curves)
    known = (changed.get(n, trial) for n, trial in enumerate(cell.trials))
    return Cell(job.id, (*known, *added), curves)


def _read_cell(db: Database, job_id: int, many: bool, at: float | None) -> Cell:
    found = (clean_value(t) for t in queries.shown_trials(db, job_id) if at is None or t.started_at <= at)
    trials = TrialStore(found) if many else tuple(found)
    curves = {t.id: queries.epochs(db, t.id) for t in (trials[-MANY_CURVES:] if many else trials)}
    if at is not None:
        curves = {key: tuple(e for e in curve if e.at <= at) for key, curve in curves.items()}
    return Cell(job_id, trials, curves)


def best_curves(db: Database, snapshot: Snapshot, memory: Memory) -> dict[int, tuple[Epoch, ...]]:
    found: dict[int, tuple[Epoch, ...]] = {}
    for job in snapshot.jobs:
        trial = by_number([t for t in snapshot.trials if t.job_id == job.id], job.best_trial)
        if trial is None:
            continue
        kept = memory.best.get(job.id)
        if kept is None or kept[0] != trial.id or len(kept[1]) != trial.epochs:
            kept = (trial.id, queries.epochs(db, trial.id))
            memory.best[job.id] = kept
        found[job.id] = kept[1]
    return found


def attempts_of(db: Database, wish: ReadRequest, memory: Memory) -> tuple[Attempt, ...]:
    """Of the trial under the cursor, which is the newest one until another is chosen."""
    if wish.screen != TRIALS or not memory.cell.trials:
        return ()
    trial = by_id(memory.cell.trials, wish.trial_id) or memory.cell.trials[-1]
    found = (clean_value(each) for each in queries.attempts(db, trial.id))
    return tuple(_then(each, wish.at) for each in found if each.began_at <= (wish.at or each.began_at))


def worked_of(db: Database, wish: ReadRequest, memory: Memory) -> dict[int, tuple[float, float | None]]:
    """How long the processes of a trial ran that was interrupted: the time in between is none of its own.

    Of the trials that were read before only the latest are asked for again: others do not change.
    """
    if wish.screen != TRIALS or wish.job_id is None or wish.at is not None:
        return {}
    job_id, found = memory.worked
    ids = ids_of(memory.cell.trials)
    since = ids[-RECENT] if job_id == wish.job_id and len(ids) >= RECENT else 0
    memory.worked = (wish.job_id, (found if since else {}) | queries.interrupted(db, wish.job_id, since))
    return memory.worked[1]


def _then(attempt: Attempt, at: float | None) -> Attempt:
    """As it was known then."""
    late = at is not None and attempt.ended_at is not None and attempt.ended_at > at
    return replace(attempt, ended_at=None, how=None) if late else attempt
