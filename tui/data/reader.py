"""Reads what the screens need, removes control characters, caches what cannot change. For poller and `fts snapshot`.

`PRAGMA data_version` comes first: while no other connection has written, nothing is read or repainted.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.status import formatting
from fts.jobs.status.conditions import is_disk_low, silent_worker
from fts.jobs.status.disk_usage import Kept, kept
from fts.jobs.status.forecast import Forecast, forecast
from fts.jobs.status.sanitize import clean_value
from fts.state import liveness, queries, replay
from fts.state.db import Database, open_for_reading
from fts.state.holder import blocker
from fts.state.values import Epoch, Event, Opening, Sample, Snapshot, Trial, Verb
from fts.tui.data.cells import CellTrials, attempts_of, best_curves, selected_cell, with_chosen, worked_of
from fts.tui.data.log_lines import last_words, log_of, trial_lines
from fts.tui.data.log_tail import Tail
from fts.tui.data.shared_values import SharedValues
from fts.tui.data.view import EVENTS, HARDWARE, QUEUE, RESULTS, Details

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

JOURNAL = 3000  # events kept
SAME = ("studies", "worked", "again", "margins", "nodes")  # fields of a snapshot that seldom change
KEPT_EVERY_S = 60.0  # between two counts of what could be freed
MOST_STARTS = 100  # reports of a trial's processes between two reads
DAY_POINTS = 480  # samples read for 24 h: one per three minutes


@dataclass(frozen=True)
class ReadRequest:
    """What to read for the present screen."""

    user: str = ""
    screen: int = 0
    job_id: int | None = None
    trial_id: int | None = None
    with_log: bool = False
    words_of: int | None = None  # job whose last log lines are wanted
    with_curves: bool = True
    with_day: bool = False
    best_of: tuple[int, ...] = ()  # jobs of which the curve of the best trial is wanted
    since: float | None = None  # count the events since then; None: since the user's last key
    at: float | None = None  # replay: the moment, seconds since the epoch
    now: float | None = None  # replaces the clock, for pictures that must not change


@dataclass(frozen=True)
class ReadResult:
    """A consistent snapshot and the details of the selected cell."""

    snapshot: Snapshot
    details: Details
    reopened: str = ""  # why the file was reopened; empty: it was not
    locked_by: str | None = None  # process whose lock keeps a silent worker from writing
    forecast: tuple[float, Forecast] | None = None  # (when, forecast); made in this thread: no key waits
    at: float | None = None  # the moment of a replay


class Reader:
    """Reads through one read-only connection; used by one thread only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db: Database | None = None
        self._identity: tuple[int, int] | None = None  # (device, inode) of the file that was read
        self._version: int | None = None
        self._request: ReadRequest | None = None
        self._snapshot: Snapshot | None = None
        self._locked_by: str | None = None
        self._unwritten: tuple[frozenset[int], bool] = frozenset(), False
        self._cache = ReadCache()

    def read(self, request: ReadRequest) -> ReadResult | None:
        """Reads, or returns None if nothing has changed since the last call.

        In both cases the open files are those at the path. Raises the errors of fts.state.errors, including NotFresh;
        the next call then opens a new connection.
        """
        db = self._open()
        try:
            version = queries.data_version(db)
            reopened = self._replaced(db, version)
            same = version == self._version and self._snapshot is not None and not reopened
            # A lock does not change data_version, so it is looked up each time.
            locked_by = _locked_by(self._snapshot, request, self.path) if same else None
            unwritten = self._unwritten_now(request)
            known = request == self._request and (locked_by, unwritten) == (self._locked_by, self._unwritten)
            if same and known and not (request.with_log and self._cache.log.changed()):
                return None
            if self._snapshot is None or not same or self._request is None or request.at != self._request.at:
                self._snapshot = _snapshot(db, request, self._cache, self._snapshot)
                locked_by = _locked_by(self._snapshot, request, self.path)
                unwritten = self._unwritten_now(request)
            snapshot = liveness.mark_gone(self._snapshot, unwritten[0])
            if unwritten[1]:
                snapshot = liveness.with_free_disk(snapshot, self.path.absolute().parent)
            details = _details(db, snapshot, request, self._cache, self.path)
        except BaseException:
            self.close()
            raise
        self._version, self._request, self._locked_by, self._unwritten = version, request, locked_by, unwritten
        return ReadResult(snapshot, details, reopened, locked_by, self._forecast_of(snapshot, request), request.at)

    def _forecast_of(self, snapshot: Snapshot, request: ReadRequest) -> tuple[float, Forecast] | None:
        """Returns the forecast, rebuilt once a minute or for other jobs; None in a replay, which has its own time."""
        if request.at is not None or request.now is not None:
            return None
        now = time.time()
        of, kept = (snapshot.jobs, snapshot.workers, snapshot.worked), self._cache.forecast
        if kept is None or kept[1][0] // 60 != now // 60 or any(a is not b for a, b in zip(kept[0], of, strict=True)):
            kept = self._cache.forecast = of, (now, forecast(snapshot, now))
        return kept[1]

    def _unwritten_now(self, request: ReadRequest) -> tuple[frozenset[int], bool]:
        """Returns what the database does not hold: workers of this machine whose process is gone, and a low disk.

        Empty in a replay or a picture.
        """
        if self._snapshot is None or request.at is not None or request.now is not None:
            return frozenset(), False
        folder = self.path.absolute().parent
        low = is_disk_low(liveness.with_free_disk(self._snapshot, folder))
        return liveness.gone_workers(self._snapshot.workers, folder), low

    def close(self) -> None:
        """Closes the connection; the next read opens it again."""
        if self._db is not None:
            self._db.close()
        self._db = None

    def _open(self) -> Database:
        """Returns the connection; opens it if there is none."""
        if self._db is None:
            self._version = None
            with suppress(FileNotFoundError):
                self.path.stat()  # raises PermissionError, which must not be reported as a missing database
            self._db = open_for_reading(self.path, busy_timeout_s=2.0)
            self._db.cache_size = -256  # KiB; the default of 2 MB would stay full of rows that are not read again
        return self._db

    def _replaced(self, db: Database, version: int) -> str:
        """Clears the cache if the file is another database than before. Returns a sentence about it, else empty."""
        if version == self._version or db.files is None or db.files.db is None:
            return ""
        identity, before = db.files.db.identity, self._identity
        self._identity = identity
        if before is None or (before == identity and self._cache.is_of(db)):
            return ""
        self._cache = ReadCache()
        self._version = None
        how = "written over" if before == identity else "replaced"
        return f"the file was {how} at {formatting.clock(time.time())}; reopened"


class ReadCache:
    """What need not be read again: curves of ended trials, old events, the log so far."""

    def __init__(self) -> None:
        self.cells: dict[tuple[Any, ...], CellTrials] = {}  # the cells selected last, newest at the end
        self.cell = none = CellTrials()
        self.chosen: tuple[CellTrials, tuple[int, ...], CellTrials] = (none, (), none)  # cell, added curves, result
        self.best: dict[int, tuple[int, tuple[Epoch, ...]]] = {}  # job id: (trial id, curve)
        self.rows = queries.KnownRows(SharedValues().clean)
        self.events: tuple[Event, ...] = ()
        self.counted: tuple[float, dict[str, int], int] | None = None  # since when, events by kind, the last one's id
        self.snapshot_events: tuple[Event, ...] = ()  # events of the snapshot that `events` was updated from
        self.samples: tuple[Sample, ...] = ()
        self.peaks: tuple[Sample, ...] = ()
        self.samples_at = 0.0
        self.limits: dict[int, tuple[int, tuple[int, int] | None]] = {}  # running trial: (last event read, its limits)
        self.kept: Kept | None = None
        self.kept_at = 0.0
        self.log = Tail()
        self.forecast: tuple[tuple[object, ...], tuple[float, Forecast]] | None = None  # (made from, (when, forecast))
        self.worked: tuple[int | None, dict[int, tuple[float, float | None]]] = (None, {})

    def is_of(self, db: Database) -> bool:
        """Returns whether this database contains the newest event that was read; events are never deleted."""
        if not self.events:
            return True
        newest = self.events[-1]
        found = queries.events(db, since=newest.id - 1, limit=1)
        return bool(found) and (found[0].id, found[0].at) == (newest.id, newest.at)


def _locked_by(snapshot: Snapshot | None, request: ReadRequest, path: Path) -> str | None:
    """Returns the process that holds the lock that a silent worker needs for its next heartbeat; None if none does."""
    if snapshot is None or request.at is not None:
        return None
    silent = silent_worker(snapshot, request.now or time.time())
    return None if silent is None else blocker(path, silent.pid)


def _snapshot(db: Database, request: ReadRequest, cache: ReadCache, before: Snapshot | None) -> Snapshot:
    rows = cache.rows
    if request.at is not None:
        found = replay.rebuild(db, request.at, request.user or None, rows)
        jobs = tuple(job if rows.has("job", job) else clean_value(job) for job in found.jobs)
        trials = tuple(trial if rows.has("trial", trial) else clean_value(trial) for trial in found.trials)
        return replace(clean_value(replace(found, jobs=(), trials=())), jobs=jobs, trials=trials)
    found = queries.snapshot(db, request.user or None, rows)  # its jobs and trials are clean
    jobs = found.jobs
    if before is not None and [*map(id, jobs)] == [*map(id, before.jobs)]:
        jobs = before.jobs  # the same tuple, so that values cached by its identity stay valid
    same = before is not None and [*map(_state, found.older)] == [*map(_state, before.older)]
    older = before.older if before is not None and same else clean_value(found.older)
    few = clean_value(replace(found, jobs=(), trials=(), events=(), older=()))
    fresh = replace(few, jobs=jobs, trials=found.trials, older=older)
    if before is not None:  # the same for these fields
        fresh = replace(fresh, **{n: getattr(before, n) for n in SAME if getattr(before, n) == getattr(fresh, n)})
    known = {event.id: event for event in cache.events}
    events = tuple(
        known[e.id] if e.id in known and known[e.id].undone_by == e.undone_by else clean_value(e) for e in found.events
    )
    return replace(fresh, events=events)


def _state(event: Event) -> tuple[int, int | None]:
    """Returns all of an event that can change: the rest is written once."""
    return event.id, event.undone_by


def _details(db: Database, snapshot: Snapshot, request: ReadRequest, cache: ReadCache, path: Path) -> Details:
    events = _journal(db, snapshot, request, cache)
    cache.cell = selected_cell(db, snapshot, request, cache)
    if request.with_day or request.screen == HARDWARE:
        _read_day(db, request.now or snapshot.taken_at, cache, request)
    shown = with_chosen(db, snapshot, request, cache, cache.cell)
    log, log_path, problem = log_of(snapshot, request, cache, path)
    return Details(
        job_id=shown.job_id,
        trials=shown.trials,
        curves=shown.curves,
        best_curves=best_curves(db, snapshot, cache, request.best_of),
        samples=cache.samples,
        peaks=cache.peaks,
        events=events,
        counted=_counted(db, snapshot, request, cache, events),
        log=log,
        log_lines=cache.log.count,
        log_path=log_path,
        log_problem=problem,
        last=last_words(db, snapshot, request, path),
        openings=_openings(db, request),
        limits=_limits(db, snapshot, request, cache),
        kept=_kept(snapshot, request, cache, path),
        worked=worked_of(db, request, cache),
        attempts=attempts_of(db, request, cache),
        trial_lines=trial_lines(request, cache, path),
    )


def _openings(db: Database, request: ReadRequest) -> tuple[Opening, ...]:
    """Returns the openings of test sets, in a replay those until then."""
    if request.screen not in (QUEUE, RESULTS):
        return ()
    return tuple(
        clean_value(_by(found, request.at)) for found in queries.openings(db) if found.at <= (request.at or found.at)
    )


def _by(opening: Opening, at: float | None) -> Opening:
    """Returns the opening as it was known then: the evaluation comes after it."""
    late = at is not None and opening.tested_at is not None and opening.tested_at > at
    return replace(opening, scores=None, tested_at=None) if late else opening


def _limits(db: Database, snapshot: Snapshot, request: ReadRequest, cache: ReadCache) -> dict[int, tuple[int, int]]:
    """Returns (soft, hard) memory limits in bytes of the running trials whose worker has recorded them.

    Reads only new events: those of a trial that runs for days may lie behind a hundred thousand others.
    """
    if request.screen not in (QUEUE, HARDWARE):
        return {}
    newest = snapshot.events[-1].id if snapshot.events else 0
    known, cache.limits = cache.limits if request.at is None else {}, {}
    for trial in snapshot.trials:
        if trial.status == "running":
            seen, limits = known.get(trial.id, (0, None))
            if newest > seen:
                limits = _limits_since(db, trial, seen) or limits
            cache.limits[trial.id] = newest, limits
    return {id: limits for id, (_, limits) in cache.limits.items() if limits is not None}


def _limits_since(db: Database, trial: Trial, event: int) -> tuple[int, int] | None:
    """Returns the limits that the trial's latest process reported after this event; None if there are none."""
    since, limit = (event, MOST_STARTS) if event else (None, 1)  # the latest, else those since then
    events = queries.events(db, since, limit, job_id=trial.job_id, trial_id=trial.id, verbs=[Verb.TRIAL_FACTS])
    soft, hard = (events[-1].data.get(name) if events else None for name in ("memory_soft", "memory_hard"))
    return (soft, hard) if isinstance(soft, int) and isinstance(hard, int) else None


def _kept(snapshot: Snapshot, request: ReadRequest, cache: ReadCache, path: Path) -> Kept | None:
    """Returns what could be freed on a low disk; counted at most once a minute, because there may be many files."""
    if request.at is not None or not is_disk_low(snapshot):
        return None
    if cache.kept is None or abs(snapshot.taken_at - cache.kept_at) > KEPT_EVERY_S:
        cache.kept, cache.kept_at = kept(path.absolute().parent, snapshot.trials), snapshot.taken_at
    return cache.kept


def _journal(db: Database, snapshot: Snapshot, request: ReadRequest, cache: ReadCache) -> tuple[Event, ...]:
    """Returns the latest events, or those of a replay; reads only new ones."""
    if request.at is not None:
        if request.screen != EVENTS or len(snapshot.events) < queries.EVENTS_IN_SNAPSHOT:
            return snapshot.events
        return tuple(clean_value(event) for event in queries.events(db, limit=JOURNAL, until=request.at))
    if not cache.events or cache.snapshot_events is not snapshot.events:
        cache.events, cache.snapshot_events = _live_journal(db, snapshot, request, cache), snapshot.events
    return cache.events


def _live_journal(db: Database, snapshot: Snapshot, request: ReadRequest, cache: ReadCache) -> tuple[Event, ...]:
    """Returns the events of before with the new ones. Undone events are replaced from the snapshot."""
    if not cache.events:
        limit = JOURNAL if request.screen == EVENTS or len(snapshot.events) >= queries.EVENTS_IN_SNAPSHOT else 200
        return tuple(clean_value(event) for event in queries.events(db, limit=limit))
    fresh = {event.id: event for event in snapshot.events}
    newest = cache.events[-1].id
    kept = [fresh.get(event.id, event) for event in cache.events]
    missing = [event for event in snapshot.events if event.id > newest]
    if missing and missing[0].id > newest + 1 and len(missing) >= queries.EVENTS_IN_SNAPSHOT:
        missing = [clean_value(event) for event in queries.events(db, since=newest, limit=JOURNAL)]
    return tuple((kept + missing)[-JOURNAL:])


def _counted(
    db: Database, snapshot: Snapshot, request: ReadRequest, cache: ReadCache, events: Sequence[Event]
) -> tuple[float, Mapping[str, int]] | None:
    """Counts the events since the user left; reads only new ones. None if `events`, the journal, has all of them."""
    since = snapshot.last_key_at if request.since is None or request.at is not None else request.since
    if since is None or not events or events[0].at <= since or events[0].id == 1:
        return None
    if request.at is not None:
        return since, queries.count_events(db, since, request.at)[0]
    before, last = (cache.counted[1], cache.counted[2]) if cache.counted and cache.counted[0] == since else ({}, 0)
    new, last = queries.count_events(db, since, after=last)
    found = {verb: before.get(verb, 0) + new.get(verb, 0) for verb in {**before, **new}}
    cache.counted = since, found, last
    return since, found


def _read_day(db: Database, now: float, cache: ReadCache, request: ReadRequest) -> None:
    if request.at is None and abs(now - cache.samples_at) < 60 and cache.samples:  # abs: the clock may be set back
        return
    end = request.at or now
    start, every_s = end - formatting.DAY, formatting.DAY / DAY_POINTS
    cache.samples = tuple(s for s in queries.samples(db, start, every_s) if s.at <= end)
    peaks = {(s.at, s.worker_id): s for s in queries.peak_samples(db, start, every_s) if s.at <= end}
    known = {(s.at, s.worker_id): s for s in cache.samples}
    cache.peaks = tuple(s for _, s in sorted((peaks | known).items()))
    cache.samples_at = now
