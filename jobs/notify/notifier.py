"""Follows a study and sends what a person should hear: one process per study, beside the worker, never inside it.

It outlives the worker, so that somebody can say that the worker is lost, and ends when nothing is left to say.
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
from fts.jobs.notify.mailbox import Line, Mailbox
from fts.jobs.notify.send import deliver
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

    from fts.jobs.notify.targets import Settings, Target
    from fts.jobs.settings import Places
    from fts.state.db import Database
    from fts.state.values import Event

log = logging.getLogger("fts.notify")

LOOK_EVERY_S = 2.0
GATHER_S = 5.0  # what happens within so long is one message
GAP_S = 60.0  # between two messages to one target
HOLD_S = 30.0  # a condition that goes away sooner is no news
LINGER_S = 3600.0  # without a worker it tries so long to send what is left
BLIND_S = 600.0  # a database that cannot be read for so long is given up
FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 1800.0  # after a failure
BATCH = 1000


def mailbox_path(places: Places) -> Path:
    return places.outputs / "notify.json"


def lock_path(places: Places) -> Path:
    return places.outputs / "notify.lock"


def take_turn(places: Places) -> int | None:
    """The lock of the one process that sends for this study, until it ends; None: another has it."""
    handle = open_log(lock_path(places), places.outputs)
    if try_lock(handle, tries=1):
        return handle
    os.close(handle)
    return None


def last_event(db: Database) -> int:
    return max((event.id for event in queries.events(db, limit=1)), default=0)


class Notifier:
    """Of one study. `run` returns when nothing is left to say and no worker lives, or never with `forever`."""

    def __init__(self, places: Places, event: int | None = None, forever: bool = False) -> None:
        self.places, self.forever = places, forever
        self.db = open_for_reading(places.db)
        self.mail = Mailbox.of(mailbox_path(places), last_event(self.db) if event is None else event)
        self.mail.memory.event = min(self.mail.memory.event, last_event(self.db))  # an older copy was put back
        self.gap_s = seconds("FTS_NOTIFY_GAP_S") or GAP_S
        self.hold_s = seconds("FTS_NOTIFY_HOLD_S") or HOLD_S
        self.gather_s = min(GATHER_S, self.gap_s)
        self.leaves = False
        self._read_at = time.monotonic()
        self._worked_at = time.monotonic()
        self._first: dict[str, float] = {}  # target -> since when news wait, monotonic
        self._next: dict[str, float] = {}  # target -> not before, monotonic, after a failure
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
        """Looks, and sends what is due. Is nothing left to do?"""
        try:
            events = queries.events(self.db, since=self.mail.memory.event, limit=BATCH)
            glance = self._look()  # after the events, so that it shows what they changed
            self._read_at = time.monotonic()
        except StateError as error:
            return self._without_database(error)
        settings = self._settings()
        if settings is None:
            return not self.forever and not glance.has_worker
        has_worker = told.has_live_worker(glance)
        if has_worker:
            self._worked_at = time.monotonic()
        self._collect(glance, events, settings)
        for target in settings.targets:
            self._send(target, settings, glance, at_once=not has_worker)
        if self.forever or has_worker or set(self.mail.memory.since) - set(self.mail.memory.told):
            return False
        alone = time.monotonic() - self._worked_at
        return alone > told.sure_after(self.hold_s) and (not self.mail.waits or self._is_stuck(settings, alone))

    def _look(self) -> glances.Glance:
        found = clean_snapshot(queries.snapshot(self.db, this_person()))
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
        """Opens it anew; one that stays away ends this process, for its worker is at an end, too."""
        log.warning("%s", error)
        self.db.close()
        time.sleep(LOOK_EVERY_S)
        try:
            self.db = open_for_reading(self.places.db)
            self.mail.memory.event = min(self.mail.memory.event, last_event(self.db))  # an older copy was put back
        except StateError:
            return time.monotonic() - self._read_at > BLIND_S
        return False

    def _settings(self) -> Settings | None:
        """As they are now: a person may add a target at any time."""
        try:
            found = targets.read()
        except BadSetting as error:
            if self._fault != str(error):
                self._fault = str(error)
                self._write_event(f"nobody can be sent a message: {error}")
            return None
        self._fault = ""
        return found

    def _collect(self, glance: glances.Glance, events: Sequence[Event], settings: Settings) -> None:
        before = self._kept()
        found = told.collect(self.mail.memory, glance, events, self.hold_s)
        self.mail.put(found, [target.name for target in settings.targets])
        if found or before != self._kept():
            self.mail.save()

    def _kept(self) -> tuple[object, ...]:
        """What the file has to know, but for times that change at every look."""
        memory = self.mail.memory
        return memory.event, memory.busy, set(memory.told), set(self.mail.lines)

    # -- sending

    def _send(self, target: Target, settings: Settings, glance: glances.Glance, at_once: bool) -> None:
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
            told.title_of(line.news, glance.title),
            told.body_of(line.news, glance, now, again=line.maybe),
        )
        line.last_at = time.time()
        if outcome.ok:
            del line.news[: line.sending]
            line.tries, line.maybe, line.why, line.sent_at = 0, False, "", line.last_at
            self._first.pop(target.name, None)
        else:
            self._failed(target, line, outcome.why)
            line.maybe = line.maybe or outcome.maybe
        line.sending = 0
        self.mail.save()

    def _is_quiet(self, settings: Settings, line: Line, now: float) -> bool:
        quiet = settings.quiet is not None and settings.quiet.until(now) is not None
        return quiet and not any(one.about in settings.urgent for one in line.news)

    def _failed(self, target: Target, line: Line, why: str) -> None:
        line.tries, line.why = line.tries + 1, why
        pause = min(FIRST_PAUSE_S * 2 ** (line.tries - 1), LONGEST_PAUSE_S)
        self._next[target.name] = time.monotonic() + min(pause, self.gap_s * 2 ** min(line.tries - 1, 10))
        log.warning("%s (%s): %s", target.name, target.service, why)
        if line.tries == 1:
            self._write_event(f"no message could be sent to {target.name} ({target.service}): {why}; it is tried again")

    def _is_stuck(self, settings: Settings, alone_s: float) -> bool:
        """Nobody can be reached for an hour: the next worker, or `fts notify watch`, sends what is left."""
        quiet = settings.quiet is not None and settings.quiet.until(time.time()) is not None
        waiting = [line for line in self.mail.lines.values() if line.news]
        return not quiet and all(line.tries for line in waiting) and alone_s > LINGER_S

    def _write_event(self, sentence: str) -> None:
        try:
            db = open_database(self.places.db, busy_timeout_s=5.0)
            try:
                transitions.not_sent(db, sentence)
            finally:
                db.close()
        except StateError as error:
            log.warning("%s (and the event could not be written: %s)", sentence, error)
