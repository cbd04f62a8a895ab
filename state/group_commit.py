"""Group commit: the write transactions of one process's threads go to disk together, each as a savepoint of its own.

One thread at a time has the turn and runs its change on a connection that all share. Who has another one waiting
behind it leaves the transaction open and waits; the last one of a group commits for all. So a call returns only when
its change is on disk, one that fails takes no other along, and a thread alone commits at once.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fts.state.translation import translate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fts.state.database import Database

MOST = 64  # changes in one group
LOOK_S = 0.5  # between two looks whether one has waited for too long
TOGETHER_S = 0.03  # that a group may stay open: other processes wait for the write lock meanwhile
GAP_S = 0.004  # without the lock after a group that others wait behind: SQLite's busy handler looks every few ms


class Group:
    """The changes of one transaction; whoever waits for it has been done, and is not on disk yet."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.changes = 0
        self.urgent = False  # one of them waits for nobody
        self.over = threading.Event()
        self.error: BaseException | None = None  # why none of them is on disk

    def is_full(self) -> bool:
        return self.urgent or self.changes >= MOST or time.monotonic() - self.began > TOGETHER_S


class GroupCommit:
    """Of one database in one process; `turn` is what Database.write() does there."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._taken = False  # a thread has the turn
        self._urgent: deque[threading.Event] = deque()  # beats and claims, which go first
        self._waiting: deque[threading.Event] = deque()
        self._group: Group | None = None  # the open transaction; of whoever has the turn
        self._shared: sqlite3.Connection | None = None

    @contextmanager
    def turn(self, urgent: bool = False) -> Iterator[None]:
        """One change. Returns when it is on disk; raises what it raised, or why the group could not be written."""
        self._take_turn(urgent)
        try:
            with self._on_shared():
                try:
                    group = self._begun()
                    group.urgent |= urgent
                    first = group.changes == 0  # the transaction is its own so far, and needs no savepoint
                    try:
                        if not first:
                            self._db.execute_sql("SAVEPOINT one")
                        yield
                        if not first:
                            self._db.execute_sql("RELEASE one")
                    except BaseException as error:
                        self._take_back(group, error, whole=first)
                        raise
                    group.changes += 1
                finally:
                    self._commit_if_due()
        finally:
            self._pass_on()
        group.over.wait()
        if group.error is not None:
            raise type(group.error)(*group.error.args) from group.error  # each thread its own

    def close(self) -> None:
        """Closes the shared connection; the next change opens it again."""
        self._take_turn(urgent=False)
        try:
            if self._group is None:
                self._drop()
        finally:
            self._pass_on()

    # -- the turn

    def _take_turn(self, urgent: bool) -> None:
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            mine, line = threading.Event(), self._urgent if urgent else self._waiting
            line.append(mine)
        began = time.monotonic()
        while not mine.wait(LOOK_S):
            if time.monotonic() - began > self._db.timeout + self._db.patience_s:  # as it would for another process
                self._leave(line, mine)

    def _leave(self, line: deque[threading.Event], mine: threading.Event) -> None:
        """Raises DatabaseBusy, unless the turn has just come."""
        with self._lock:
            if mine.is_set():
                return
            line.remove(mine)
        raise translate(sqlite3.OperationalError("database is locked"), self._db.path)

    def _pass_on(self) -> None:
        while True:
            with self._lock:
                if line := self._urgent or self._waiting:
                    line.popleft().set()
                    return
                if self._group is None:
                    self._taken = False
                    return
            with self._on_shared():  # the one that it was left open for has given up
                self._commit_if_due()

    # -- the transaction

    def _begun(self) -> Group:
        """The open group, or a new one. Raises what BEGIN raises."""
        if self._group is None:
            self._db.begin("IMMEDIATE")
            self._group = Group()
        return self._group

    def _take_back(self, group: Group, error: BaseException, whole: bool) -> None:
        """This change alone; the whole group where it is the first, or where SQLite has rolled back all of it."""
        assert self._shared is not None, "a change runs on it"
        if not whole and self._shared.in_transaction:
            try:
                self._db.execute_sql("ROLLBACK TO one")
                self._db.execute_sql("RELEASE one")
                return
            except BaseException as failed:  # noqa: BLE001  # half a change must not go to disk with the others
                error = failed
        self._give_up(group, error)

    def _commit_if_due(self) -> None:
        """For all of the group, if nobody waits behind it or it has become large enough."""
        group = self._group
        if group is None:
            return
        with self._lock:
            waits = bool(self._urgent or self._waiting)
        if waits and not group.is_full():
            return
        try:
            self._db.commit()
        except BaseException as error:  # noqa: BLE001  # each of the group raises it, this thread too
            self._give_up(group, error)
        else:
            self._group = None
            group.over.set()
            if waits and not group.urgent:  # more than the disk takes: a command of a person gets the lock, too
                time.sleep(GAP_S)

    def _give_up(self, group: Group, error: BaseException) -> None:
        """None of the group goes to disk."""
        try:
            self._db.rollback()
        except BaseException:  # noqa: BLE001  # closing the connection ends its transaction, too
            self._drop()
        self._group, group.error = None, error
        group.over.set()

    # -- the connection

    def _drop(self) -> None:
        if self._shared is not None:
            self._shared.close()
            self._shared = None

    @contextmanager
    def _on_shared(self) -> Iterator[None]:
        """Whatever this thread asks of the database meanwhile goes to the shared connection, inside its transaction."""
        state: Any = self._db._state  # type: ignore[attr-defined]  # of peewee
        if self._shared is None:
            self._shared = self._db.shared_connection()
        own = state.closed, state.conn, state.ctx, state.transactions, state.commit_callbacks
        state.set_connection(self._shared)
        state.transactions.append(self)
        try:
            yield
        finally:
            state.closed, state.conn, state.ctx, state.transactions, state.commit_callbacks = own
