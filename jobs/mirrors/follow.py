"""Updates a mirror, once or continuously. Reads the database while a worker runs, and never waits for it.

A pass reads only what may have changed since the previous pass. If a pass was interrupted, because the process was
killed or the target did not answer, the next one completes it.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from fts.installing import installing
from fts.jobs.mirrors import runs
from fts.jobs.status.conditions import running
from fts.jobs.status.explain import runnable
from fts.state import queries
from fts.state.db import open_for_reading
from fts.state.errors import StateError
from fts.state.values import JobStatus, Verb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fts.jobs.mirrors.runs import MirroredCell, Run
    from fts.jobs.status.declared import Declared
    from fts.state.db import Database
    from fts.state.values import Job, Trial

EVENTS = 1000  # read at once; if there were more, everything is read again
LONGEST_PAUSE_S = 60.0  # after a failure
OF_NEW_TRIALS = {  # kinds of events that never change an ended trial
    Verb.CLAIMED, Verb.RELEASED, Verb.TRIAL_STARTED, Verb.TRIAL_RESUMED, Verb.TRIAL_FACTS, Verb.TRIAL_COMPLETE,
    Verb.TRIAL_PRUNED, Verb.TRIAL_FAILED, Verb.TRIAL_INTERRUPTED, Verb.NEW_BEST, Verb.GUARD,
}  # fmt: skip


class CannotMirror(ValueError):
    """The target cannot be written. The message has the target, the cause and the cure."""


class NoLibrary(CannotMirror):
    """The library of the target is not installed."""


def no_library(error: ImportError, name: str, cure: str) -> NoLibrary:
    """Returns the error for a library that is not installed, or cannot be loaded."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == name:
        return NoLibrary(f"{name} is not installed: {cure}")
    return NoLibrary(f"{name} is installed but cannot be loaded ({error}): `{installing('--upgrade', name)}`")


class MirrorTarget(Protocol):
    """A program or folder that shows runs."""

    def begin(self, cells: Sequence[MirroredCell]) -> None:
        """Prepares a pass, before its runs. Raises CannotMirror."""

    def put(self, run: Run) -> bool:
        """Writes a run, or replaces what is shown of it. Returns whether anything was written. Raises CannotMirror."""

    def keep(self, cell: MirroredCell, numbers: set[int]) -> int:
        """Removes the cell's runs with other numbers, and returns how many."""

    def forget(self) -> None:
        """Drops what it knows of the runs that are shown: another program may have changed or removed them."""

    def close(self) -> None: ...


@dataclass
class Passed:
    """Counts of one pass."""

    trials: int = 0  # examined
    written: int = 0
    removed: int = 0


@dataclass
class Mirror:
    """One target, and what it is known to show."""

    target: MirrorTarget
    choose: Callable[[Sequence[Job]], Sequence[Job]]
    event: tuple[int, float] = (0, 0.0)  # id and time of the last event that has been processed
    has_begun: bool = False  # the target has accepted a request
    known: dict[int, str] = field(default_factory=dict)  # id of an ended trial -> digest of its row when it was written
    shown: dict[int, tuple[str, int]] = field(default_factory=dict)  # job -> (its row, first trial to read again)

    def bring_up_to_date(self, db: Database, stops: Callable[[], bool] = lambda: False) -> Passed:
        """Makes one pass over everything that may have changed. Raises CannotMirror, OSError, StateError."""
        done = Passed()
        with db.read():
            if self.event[0] and not queries.has_event(db, *self.event):  # a backup was restored
                self.forget()
            events = queries.events(db, since=self.event[0], limit=EVENTS)
            newest = queries.events(db, limit=1)
            everything = queries.jobs(db)
        cells = runs.cells(db, everything)
        jobs = sorted((job for job in self.choose(everything) if job.id in cells), key=lambda job: job.id)
        declared = runs.declared_of(db, {job.study for job in jobs})
        self.target.begin([cells[job.id] for job in jobs])
        self.has_begun = True
        changed = {event.job_id for event in events if event.verb not in OF_NEW_TRIALS}
        for job in jobs:
            row, first = repr((cells[job.id].name, job)), 0
            if job.id in self.shown and len(events) < EVENTS:
                before, first = self.shown[job.id]
                first = 0 if job.id in changed else first
                if before == row and first and job.status is not JobStatus.RUNNING:
                    continue
            trials = queries.trials(db, job.id, first)
            for trial in trials:
                if stops():
                    return done
                done.trials += 1
                done.written += self._put(db, cells[job.id], trial, declared[job.study])
            if not first:
                done.removed += self.target.keep(cells[job.id], {trial.number for trial in trials})
            live = [trial.number for trial in trials if trial.status not in runs.ENDED]
            last = trials[-1].number + 1 if trials else first
            self.shown[job.id] = row, min(live, default=last)
        if newest:
            self.event = newest[-1].id, newest[-1].at
        return done

    def forget(self) -> None:
        """Lets the next pass compare everything with the target again."""
        self.event = 0, 0.0
        self.known.clear()
        self.shown.clear()
        self.target.forget()

    def _put(self, db: Database, cell: MirroredCell, trial: Trial, study: Declared) -> bool:
        row = digest_of(cell, trial)
        if self.known.get(trial.id) == row:
            return False
        run = runs.read(db, cell, trial, study)
        written = self.target.put(run)
        if run.has_ended:
            self.known[trial.id] = row
        return written


def digest_of(cell: MirroredCell, trial: Trial) -> str:
    """Returns the digest of a trial's row. An ended trial with an equal digest has the same reports."""
    return hashlib.md5(f"{cell.name} {trial!r}".encode(errors="replace"), usedforsecurity=False).hexdigest()


def follow(
    mirror: Mirror,
    path: Path,
    *,
    every_s: float,
    until_idle: bool,
    stops: Callable[[], bool],
    say: Callable[[str], None],
) -> None:
    """Keeps the target up to date until `stops`, or with `until_idle` until no job runs and none can start.

    Once the target has accepted a request, a failure is printed once and the pass is retried. Raises CannotMirror,
    OSError, StateError.
    """
    db, version, pause_s, fault = open_for_reading(path), -1, every_s, ""
    rows = queries.KnownRows()
    try:
        while not stops():
            try:
                now = queries.data_version(db)
                if now != version or fault:
                    ended = not until_idle or _nothing_to_do(db, rows)
                    mirror.bring_up_to_date(db, stops)
                    version, pause_s = now, every_s
                    if fault:
                        say("the mirror is up to date again")
                    fault = ""
                    if until_idle and ended:
                        return
            except (CannotMirror, OSError, StateError) as error:
                if not mirror.has_begun:
                    raise
                if str(error) != fault:
                    say(f"{error}; trying again")
                fault, pause_s = str(error), min(2 * pause_s + 1.0, LONGEST_PAUSE_S)
                db = _reopened(db, path)
                mirror.forget()  # the target may have lost what it has shown
            _sleep(pause_s, stops)
    finally:
        db.close()


def _nothing_to_do(db: Database, rows: queries.KnownRows) -> bool:
    snapshot = queries.snapshot(db, None, rows)
    return not running(snapshot) and not runnable(snapshot)


def _reopened(db: Database, path: Path) -> Database:
    """Opens the database at the path again; returns the old connection if that fails."""
    with suppress(StateError, OSError):
        found = open_for_reading(path)
        db.close()
        return found
    return db


def _sleep(seconds: float, stops: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not stops() and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.2))
