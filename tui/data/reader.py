"""Reads what the screens need, cleans it once, and remembers what cannot have changed; used by poller and snapshot.

`PRAGMA data_version` is asked first: while nobody has written, nothing is read and nothing is sent to the screen.
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
from fts.state.values import Epoch, Event, Opening, Sample, Snapshot, Verb
from fts.tui.data.cells import Cell, attempts_of, best_curves, selected_cell, worked_of
from fts.tui.data.log_lines import last_words, log_of, trial_lines
from fts.tui.data.log_tail import Tail
from fts.tui.data.shared_values import SharedValues
from fts.tui.data.view import CURVES, EVENTS, HARDWARE, QUEUE, RESULTS, Details

if TYPE_CHECKING:
    from pathlib import Path

JOURNAL = 3000  # events kept
SAME = ("studies", "worked", "again", "margins", "nodes")  # of a snapshot: seldom another one than before
KEPT_EVERY_S = 60.0
DAY_POINTS = 480  # samples of 24 h that are drawn: one per three minutes


@dataclass(frozen=True)
class ReadRequest:
    """What the reader of the screen looks at."""

    user: str = ""
    screen: int = 0
    job_id: int | None = None
    trial_id: int | None = None
    with_log: bool = False
    words_of: int | None = None  # the job whose last lines are wanted
    with_curves: bool = True
    with_day: bool = False
    at: float | None = None  # replay: as it was then
    now: float | None = None  # instead of the database's clock, for pictures that must not change


@dataclass(frozen=True)
class ReadResult:
    """One look: a consistent snapshot and the details of the selected cell."""

    snapshot: Snapshot
    details: Details
    reopened: str = ""  # why the file had to be opened anew
    locked_by: str | None = None  # who keeps a silent worker from writing
    foreseen: tuple[float, Forecast] | None = None  # of its jobs, and when: made here, so that no key waits for it


class Reader:
    """Owns one read-only connection; not for sharing between threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db: Database | None = None
        self._identity: tuple[int, int] | None = None  # of the file that was read
        self._version: int | None = None
        self._wish: ReadRequest | None = None
        self._snapshot: Snapshot | None = None
        self._locked_by: str | None = None
        self._unwritten: tuple[frozenset[int], bool] = frozenset(), False
        self._memory = Memory()

    def read(self, wish: ReadRequest) -> ReadResult | None:
        """A fresh look, or None when nothing has changed since the last one.

        Either way the files at the path are those that are open. Raises the errors of fts.state.errors, NotFresh among
        them; after one the connection is opened anew at the next call.
        """
        db = self._open()
        try:
            version = queries.data_version(db)
            reopened = self._replaced(db, version)
            same = version == self._version and self._snapshot is not None and not reopened
            locked_by = _locked_by(self._snapshot, wish, self.path) if same else None  # a lock changes no data
            unwritten = self._unwritten_now(wish)
            known = wish == self._wish and (locked_by, unwritten) == (self._locked_by, self._unwritten)
            if same and known and not (wish.with_log and self._memory.log.changed()):
                return None
            if self._snapshot is None or not same or self._wish is None or wish.at != self._wish.at:
                self._snapshot = _snapshot(db, wish, self._memory, self._snapshot)
                locked_by = _locked_by(self._snapshot, wish, self.path)
                unwritten = self._unwritten_now(wish)
            snapshot = liveness.mark_gone(self._snapshot, unwritten[0])
            if unwritten[1]:
                snapshot = liveness.with_free_disk(snapshot, self.path.absolute().parent)
            details = _details(db, snapshot, wish, self._memory, self.path)
        except BaseException:
            self.close()
            raise
        self._version, self._wish, self._locked_by, self._unwritten = version, wish, locked_by, unwritten
        return ReadResult(snapshot, details, reopened, locked_by, self._foreseen_of(snapshot, wish))

    def _foreseen_of(self, snapshot: Snapshot, wish: ReadRequest) -> tuple[float, Forecast] | None:
        """The forecast of other jobs than the last time; None in a replay, which has a time of its own."""
        if wish.at is not None or wish.now is not None:
            return None
        now = time.time()
        of, kept = (snapshot.jobs, snapshot.workers, snapshot.worked), self._memory.foreseen
        if kept is None or kept[1][0] // 60 != now // 60 or any(a is not b for a, b in zip(kept[0], of, strict=True)):
            kept = self._memory.foreseen = of, (now, forecast(snapshot, now))
        return kept[1]

    def _unwritten_now(self, wish: ReadRequest) -> tuple[frozenset[int], bool]:
        """The workers of this machine that say they run and do not, and whether the disk is low now.

        Neither is written by anybody; in a replay or a picture all is as it was.
        """
        if self._snapshot is None or wish.at is not None or wish.now is not None:
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
        """The connection, made where there is none."""
        if self._db is None:
            self._version = None
            with suppress(FileNotFoundError):
                self.path.stat()  # raises where a folder cannot be entered, which is no missing study
            self._db = open_for_reading(self.path, busy_timeout_s=2.0)
            self._db.cache_size = -256  # KiB; SQLite's default of 2 MB would stay filled with trials already read
        return self._db

    def _replaced(self, db: Database, version: int) -> str:
        """Forgets what was read of another study, and says so; one that was only opened anew goes on."""
        if version == self._version or db.files is None or db.files.db is None:
            return ""
        identity, before = db.files.db.identity, self._identity
        self._identity = identity
        if before is None or (before == identity and self._memory.is_of(db)):
            return ""
        self._memory = Memory()
        self._version = None
        how = "written over" if before == identity else "replaced"
        return f"the file was {how} at {formatting.clock(time.time())}; reopened"


class Memory:
    """What need not be read again: ended trials' curves, old events, the log so far."""

    def __init__(self) -> None:
        self.cells: dict[tuple[Any, ...], Cell] = {}  # the cells looked at last, newest at the end
        self.cell = Cell()
        self.best: dict[int, tuple[int, tuple[Epoch, ...]]] = {}  # job id: (trial id, curve)
        self.rows = queries.KnownRows(SharedValues().clean)
        self.events: tuple[Event, ...] = ()
        self.told: tuple[Event, ...] = ()  # those of the snapshot that they were read with
        self.samples: tuple[Sample, ...] = ()
        self.samples_at = 0.0
        self.kept: Kept | None = None
        self.kept_at = 0.0
        self.log = Tail()
        self.foreseen: tuple[tuple[object, ...], tuple[float, Forecast]] | None = None  # and what it is of
        self.worked: tuple[int | None, dict[int, tuple[float, float | None]]] = (None, {})

    def is_of(self, db: Database) -> bool:
        """Whether the newest event that was read is in this database: the journal only grows."""
        if not self.events:
            return True
        newest = self.events[-1]
        found = queries.events(db, since=newest.id - 1, limit=1)
        return bool(found) and (found[0].id, found[0].at) == (newest.id, newest.at)


def _locked_by(snapshot: Snapshot | None, wish: ReadRequest, path: Path) -> str | None:
    """Asked of the system only while a worker is silent: who else holds the lock that its next beat needs."""
    if snapshot is None or wish.at is not None:
        return None
    silent = silent_worker(snapshot, wish.now or time.time())
    return None if silent is None else blocker(path, silent.pid)


def _snapshot(db: Database, wish: ReadRequest, memory: Memory, before: Snapshot | None) -> Snapshot:
    rows = memory.rows
    if wish.at is not None:
        found = replay.rebuild(db, wish.at, wish.user or None, rows)
        jobs = tuple(job if rows.has("job", job) else clean_value(job) for job in found.jobs)
        trials = tuple(trial if rows.has("trial", trial) else clean_value(trial) for trial in found.trials)
        return replace(clean_value(replace(found, jobs=(), trials=())), jobs=jobs, trials=trials)
    found = queries.snapshot(db, wish.user or None, rows)  # its jobs and trials are clean
    jobs = found.jobs
    if before is not None and [*map(id, jobs)] == [*map(id, before.jobs)]:
        jobs = before.jobs  # as a whole: who asked what follows from it need not ask again
    fresh = replace(clean_value(replace(found, jobs=(), trials=(), events=())), jobs=jobs, trials=found.trials)
    if before is not None:  # likewise
        fresh = replace(fresh, **{n: getattr(before, n) for n in SAME if getattr(before, n) == getattr(fresh, n)})
    known = {event.id: event for event in memory.events}
    events = tuple(
        known[e.id] if e.id in known and known[e.id].undone_by == e.undone_by else clean_value(e) for e in found.events
    )
    return replace(fresh, events=events)


def _details(db: Database, snapshot: Snapshot, wish: ReadRequest, memory: Memory, path: Path) -> Details:
    memory.events = _journal(db, snapshot, wish, memory)
    memory.cell = selected_cell(db, snapshot, wish, memory)
    if wish.with_day or wish.screen == HARDWARE:
        _read_day(db, wish.now or snapshot.taken_at, memory, wish)
    log, log_path, problem = log_of(snapshot, wish, memory, path)
    return Details(
        job_id=memory.cell.job_id,
        trials=memory.cell.trials,
        curves=memory.cell.curves,
        best_curves=best_curves(db, snapshot, memory) if wish.screen == CURVES else {},
        samples=memory.samples,
        events=memory.events,
        log=log,
        log_lines=memory.log.count,
        log_path=log_path,
        log_problem=problem,
        last=last_words(db, snapshot, wish, path),
        openings=_openings(db, wish),
        limits=_limits(db, snapshot, wish),
        kept=_kept(snapshot, wish, memory, path),
        worked=worked_of(db, wish, memory),
        attempts=attempts_of(db, wish, memory),
        trial_lines=trial_lines(wish, memory, path),
    )


def _openings(db: Database, wish: ReadRequest) -> tuple[Opening, ...]:
    """Whose test set is not sealed any more (by then)."""
    if wish.screen not in (QUEUE, RESULTS):
        return ()
    return tuple(
        clean_value(_by(found, wish.at)) for found in queries.openings(db) if found.at <= (wish.at or found.at)
    )


def _by(opening: Opening, at: float | None) -> Opening:
    """As it was known then: the evaluation comes after the opening."""
    late = at is not None and opening.tested_at is not None and opening.tested_at > at
    return replace(opening, scores=None, tested_at=None) if late else opening


def _limits(db: Database, snapshot: Snapshot, wish: ReadRequest) -> dict[int, tuple[int, int]]:
    """(soft, hard) bytes of each running trial, where its worker has written them down."""
    if wish.screen not in (QUEUE, HARDWARE):
        return {}
    found = {}
    for trial in snapshot.trials:
        if trial.status == "running":
            events = queries.events(db, trial_id=trial.id, verbs=[Verb.TRIAL_FACTS], limit=1)
            soft, hard = (events[0].data.get(name) if events else None for name in ("memory_soft", "memory_hard"))
            if isinstance(soft, int) and isinstance(hard, int):
                found[trial.id] = (soft, hard)
    return found


def _kept(snapshot: Snapshot, wish: ReadRequest, memory: Memory, path: Path) -> Kept | None:
    """What could be freed, counted at most once a minute: many files on a full disk."""
    if wish.at is not None or not is_disk_low(snapshot):
        return None
    if memory.kept is None or abs(snapshot.taken_at - memory.kept_at) > KEPT_EVERY_S:
        memory.kept, memory.kept_at = kept(path.absolute().parent, snapshot.trials), snapshot.taken_at
    return memory.kept


def _journal(db: Database, snapshot: Snapshot, wish: ReadRequest, memory: Memory) -> tuple[Event, ...]:
    """The latest events, of which only new ones are read; an undone one comes anew with the snapshot."""
    if wish.at is not None:
        return snapshot.events
    if memory.events and memory.told is snapshot.events:
        return memory.events
    memory.told = snapshot.events
    if not memory.events:
        limit = JOURNAL if wish.screen == EVENTS or len(snapshot.events) >= queries.EVENTS_IN_SNAPSHOT else 200
        return tuple(clean_value(event) for event in queries.events(db, limit=limit))
    fresh = {event.id: event for event in snapshot.events}
    newest = memory.events[-1].id
    kept = [fresh.get(event.id, event) for event in memory.events]
    missing = [event for event in snapshot.events if event.id > newest]
    if missing and missing[0].id > newest + 1 and len(missing) >= queries.EVENTS_IN_SNAPSHOT:
        missing = [clean_value(event) for event in queries.events(db, since=newest, limit=JOURNAL)]
    return tuple((kept + missing)[-JOURNAL:])


def _read_day(db: Database, now: float, memory: Memory, wish: ReadRequest) -> None:
    if wish.at is None and abs(now - memory.samples_at) < 60 and memory.samples:  # a clock may be set back
        return
    end = wish.at or now
    found = queries.samples(db, end - formatting.DAY, every_s=formatting.DAY / DAY_POINTS)
    memory.samples = tuple(s for s in found if s.at <= end)
    memory.samples_at = now
