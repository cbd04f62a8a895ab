"""Follows a study and sends messages to a person: one process per study, separate from the worker.

It outlives the worker, so that it can report a lost worker, and ends when there is nothing left to send.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import TYPE_CHECKING

from fts.jobs.devices import BadSetting
from fts.jobs.notify import news as told
from fts.jobs.notify import targets
from fts.jobs.notify.mailbox import Mailbox, TargetQueue
from fts.jobs.notify.news import LOST
from fts.jobs.notify.send import SendResult, deliver
from fts.jobs.settings import seconds
from fts.jobs.status import summary as glances
from fts.jobs.status.sanitize import clean_snapshot
from fts.jobs.status.surface import Surface
from fts.state import liveness, queries, transitions
from fts.state.db import open_database, open_for_reading
from fts.state.errors import StateError
from fts.state.files import open_log
from fts.state.slot_lock import try_lock
from fts.state.user import this_person

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fts.jobs.notify.targets import NotifySettings, Target
    from fts.jobs.settings import Places
    from fts.state.db import Database
    from fts.state.values import Event

log = logging.getLogger("fts.notify")

LOOK_EVERY_S = 2.0
GATHER_S = 5.0  # news within this time become one message
GAP_S = 60.0  # least time between two messages to one target
HOLD_S = 30.0  # a condition that lasts shorter is not reported
LINGER_S = 3600.0  # without a worker, time to try to send what is left
BLIND_S = 600.0  # ends after the database could not be read for this long
FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 1800.0  # pauses after failed tries
BATCH = 1000


def mailbox_path(places: Places) -> Path:
    return places.outputs / "notify.json"


def lock_path(places: Places) -> Path:
    return places.outputs / "notify.lock"


def take_turn(places: Places) -> int | None:
    """Takes the lock of the process that sends for this study; it holds until exit. None: another process has it."""
    handle = open_log(lock_path(places), places.outputs)
    if try_lock(handle, tries=1):
        return handle
    os.close(handle)
    return None


def last_event(db: Database) -> int:
    return max((event.id for event in queries.events(db, limit=1)), default=0)


class Notifier:
    """Sends the messages of one study, until nothing is left to send and no worker is alive, or `forever`."""

    def __init__(self, places: Places, event: int | None = None, forever: bool = False) -> None:
        self.places, self.forever = places, forever
        self.db = open_for_reading(places.db)
        self.mail = Mailbox.of(mailbox_path(places), last_event(self.db) if event is None else event)
        self._find_place()
        self.gap_s = seconds("FTS_NOTIFY_GAP_S") or GAP_S
        self.hold_s = seconds("FTS_NOTIFY_HOLD_S") or HOLD_S
        self.gather_s = min(GATHER_S, self.gap_s)
        self.leaves = False
        self._known = queries.KnownRows()
        self._version = -1
        self._read_at = time.monotonic()
        self._worked_at = time.monotonic()
        self._first: dict[str, float] = {}  # target -> since when its news wait (monotonic)
        self._next: dict[str, float] = {}  # target -> time of the next try after a failure (monotonic)
        self._fault = ""
        self.mail.memory.told = dict.fromkeys(self.mail.memory.told, time.time())

    def run(self) -> None:
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: setattr(self, "leaves", True))
        try:
            while not self.leaves and not self.step():
                time.sleep(min(LOOK_EVERY_S, self.gap_s))
        finally:
            self.db.close()

    def step(self) -> bool:
        """Reads events and status, and sends messages that are due. Returns True when nothing is left to do."""
        try:
            if (version := queries.data_version(self.db)) != self._version:  # reopens a database that was replaced
                self._find_place()
                self._version = version
            events = queries.events(self.db, since=self.mail.memory.event, limit=BATCH)
            glance = self._look()  # after the events, so that it shows their effects
            self._read_at = time.monotonic()
        except StateError as error:
            return self._without_database(error)
        has_worker = told.has_live_worker(glance)
        if has_worker:
            self._worked_at = time.monotonic()
        settings = self._settings()
        if settings is None:  # the file may be half edited; the events stay unread until it is valid
            return not self.forever and time.monotonic() - self._worked_at > LINGER_S
        self._collect(glance, events, settings)
        for target in settings.targets:
            self._send(target, settings, glance, at_once=not has_worker)
        if self.forever or has_worker or set(self.mail.memory.since) - set(self.mail.memory.told):
            return False
        alone = time.monotonic() - self._worked_at
        return alone > told.sure_after(self.hold_s) and (not self.mail.waits or self._is_stuck(settings, alone))

    def _look(self) -> glances.Glance:
        found = clean_snapshot(queries.snapshot(self.db, this_person(), self._known))
        snapshot = liveness.with_local_facts(found, self.places.db.parent)
        age = max(0.0, time.time() - snapshot.taken_at)
        return glances.look(
            snapshot,
            snapshot.taken_at + age,
            title=self.places.outputs.parent.name,
            read_age_s=age,
            surface=Surface.COMMAND_LINE,
        )

    def _without_database(self, error: StateError) -> bool:
        """Reopens the database; returns True (end) after BLIND_S without success: the worker has ended then, too."""
        log.warning("%s", error)
        self.db.close()
        time.sleep(LOOK_EVERY_S)
        try:
            self.db = open_for_reading(self.places.db)
            self._version = -1
        except StateError:
            return time.monotonic() - self._read_at > BLIND_S
        return False

    def _find_place(self) -> None:
        """Continues where it was. In a database that was restored, events and workers have other numbers."""
        memory = self.mail.memory
        if (event := queries.last_read(self.db, memory.event, memory.event_at)) != memory.event:
            memory.event, memory.event_at, memory.lost = event, 0.0, []
            memory.told = {key: at for key, at in memory.told.items() if not key.startswith(LOST)}
        if not memory.event_at and (found := queries.events(self.db, since=event - 1, limit=1)):
            memory.event_at = found[0].at if found[0].id == event else 0.0

    def _settings(self) -> NotifySettings | None:
        """Reads the settings again, because a person may add a target at any time; None if they are invalid."""
        try:
            found = targets.read()
        except BadSetting as error:
            if self._fault != str(error):
                self._fault = str(error)
                self._write_event(f"no message can be sent: {error}")
            return None
        self._fault = ""
        return found

    def _collect(self, glance: glances.Glance, events: Sequence[Event], settings: NotifySettings) -> None:
        before = self._kept()
        found = told.collect(self.mail.memory, glance, events, self.hold_s)
        names = [target.name for target in settings.targets]
        self.mail.put(found, names, time.time())
        for name in set(self._next) - set(names):  # with its next address it is tried at once
            del self._next[name]
        if found or before != self._kept():
            self.mail.save()

    def _kept(self) -> tuple[object, ...]:
        """Returns the state that must be saved, without times that change at every look."""
        memory = self.mail.memory
        absent = {name: line.absent_since for name, line in self.mail.lines.items()}
        return memory.event, memory.busy, set(memory.told), absent

    # -- sending

    def _send(self, target: Target, settings: NotifySettings, glance: glances.Glance, at_once: bool) -> None:
        line = self.mail.lines[target.name]
        if not line.news:
            self._first.pop(target.name, None)
            return
        now, clock = time.time(), time.monotonic()
        waits_since = self._first.setdefault(target.name, clock)
        early = abs(now - line.last_at) < self.gap_s or clock - waits_since < self.gather_s
        if clock < self._next.get(target.name, 0.0) or (early and not at_once):
            return
        if self._is_quiet(settings, line, now):
            return
        line.sending = len(line.news)
        self.mail.save()
        outcome = deliver(
            target,
            told.title_of(line.news, glance.title, line.left_out),
            told.body_of(line.news, glance, now, line.maybe, line.left_out),
        )
        line.last_at = time.time()
        if not outcome.ok:
            self._failed(target, line, outcome)
        if outcome.ok or outcome.partly:  # all recipients of an address get what is sent again, without end
            del line.news[: line.sending]
            line.left_out, line.maybe, line.sent_at = {}, False, line.last_at
            self._first.pop(target.name, None)
        if outcome.ok:
            line.tries, line.why = 0, ""
        line.sending = 0
        self.mail.save()

    def _is_quiet(self, settings: NotifySettings, line: TargetQueue, now: float) -> bool:
        quiet = settings.quiet is not None and settings.quiet.until(now) is not None
        return quiet and not any(one.about in settings.urgent for one in line.news)

    def _failed(self, target: Target, line: TargetQueue, outcome: SendResult) -> None:
        line.tries, line.why, line.maybe = line.tries + 1, outcome.why, line.maybe or outcome.maybe
        name = f"{target.name} ({target.service})"
        log.warning("%s: %s", name, outcome.why)
        if not outcome.partly:
            longer = 2 ** min(line.tries - 1, 10)
            pause = min(FIRST_PAUSE_S * longer, LONGEST_PAUSE_S, self.gap_s * longer)
            self._next[target.name] = time.monotonic() + pause
        if line.tries == 1 and outcome.partly:
            cure = "it is not sent again; give each recipient a target of its own"
            self._write_event(f"a message reached only some recipients of {name}: {outcome.why}; {cure}")
        elif line.tries == 1:
            self._write_event(f"no message could be sent to {name}: {outcome.why}; fts tries again")

    def _is_stuck(self, settings: NotifySettings, alone_s: float) -> bool:
        """Returns whether no target with news could be reached, or was in the file, for an hour.

        The next worker sends what is left.
        """
        quiet = settings.quiet is not None and settings.quiet.until(time.time()) is not None
        waiting = [line for line in self.mail.lines.values() if line.news]
        return not quiet and all(line.tries or line.absent_since for line in waiting) and alone_s > LINGER_S

    def _write_event(self, sentence: str) -> None:
        try:
            db = open_database(self.places.db, busy_timeout_s=5.0)
            try:
                transitions.not_sent(db, sentence)
            finally:
                db.close()
        except StateError as error:
            log.warning("%s (and the event could not be written: %s)", sentence, error)
