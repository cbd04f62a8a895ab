"""Group commit: commits the write transactions of one process's threads together, each in its own savepoint.

One thread at a time has the turn and runs its change on a shared connection. If another thread waits for the turn, the
thread leaves the transaction open and waits; the last thread of a group commits for all. So a call returns only when
its change is on disk, a failing change does not affect the others, and a single thread commits at once.
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

MAX_CHANGES = 64  # in one group
POLL_S = 0.5  # how often a waiting thread checks its timeout
MAX_OPEN_S = 0.03  # longest time that a group stays open: other processes wait for the write lock meanwhile
LOCK_GAP_S = 0.004  # pause without the lock after a full group: SQLite's busy handler retries every few ms


class CommitGroup:
    """The changes of one transaction: applied, and not on disk until `over` is set."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.changes = 0
        self.urgent = False  # one of its changes must be committed without waiting for more
        self.over = threading.Event()
        self.error: BaseException | None = None  # why none of them is on disk

    def is_full(self) -> bool:
        return self.urgent or self.changes >= MAX_CHANGES or time.monotonic() - self.began > MAX_OPEN_S


class GroupCommit:
    """Groups the writes to one database in one process. `Database.write()` calls `turn`."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._taken = False  # a thread has the turn
        self._urgent: deque[threading.Event] = deque()  # waiting heartbeats and claims, which go first
        self._waiting: deque[threading.Event] = deque()
        self._group: CommitGroup | None = None  # the open transaction; only the thread with the turn uses it
        self._shared: sqlite3.Connection | None = None

    @contextmanager
    def turn(self, urgent: bool = False) -> Iterator[None]:
        """Runs one change; returns when it is on disk. Raises the change's error, or the group's commit error."""
        self._take_turn(urgent)
        try:
            with self._on_shared():
                try:
                    group = self._begun()
                    group.urgent |= urgent
                    first = group.changes == 0  # no other change is in the transaction, so no savepoint is needed
                    if not first:
                        self._set_savepoint(group)
                    try:
                        yield
                        if not first:
                            self._db.execute_sql("RELEASE one")
                    except BaseException as error:
                        self._roll_back(group, error, whole=first)
                        raise
                    group.changes += 1
                finally:
                    self._commit_if_due()
        finally:
            self._release_turn()
        group.over.wait()
        if group.error is not None:
            raise type(group.error)(*group.error.args) from group.error  # a new instance for each thread

    def close(self) -> None:
        """Closes the shared connection; the next change opens it again."""
        self._take_turn(urgent=False)
        try:
            if self._group is None:
                self._close_shared()
        finally:
            self._release_turn()

    # -- the turn

    def _take_turn(self, urgent: bool) -> None:
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            mine, queue = threading.Event(), self._urgent if urgent else self._waiting
            queue.append(mine)
        began = time.monotonic()
        while not mine.wait(POLL_S):
            if time.monotonic() - began > self._db.timeout + self._db.patience_s:  # as for another process's lock
                self._stop_waiting(queue, mine)

    def _stop_waiting(self, queue: deque[threading.Event], mine: threading.Event) -> None:
        """Raises DatabaseBusy, unless this thread has just got the turn."""
        with self._lock:
            if mine.is_set():
                return
            queue.remove(mine)
        raise translate(sqlite3.OperationalError("database is locked"), self._db.path)

    def _release_turn(self) -> None:
        while True:
            with self._lock:
                if queue := self._urgent or self._waiting:
                    queue.popleft().set()
                    return
                if self._group is None:
                    self._taken = False
                    return
            with self._on_shared():  # the thread for which the group stayed open has timed out
                self._commit_if_due()

    # -- the transaction

    def _begun(self) -> CommitGroup:
        """Returns the open group, or begins one. Raises what BEGIN raises."""
        if self._group is None:
            self._db.begin("IMMEDIATE")
            self._group = CommitGroup()
        return self._group

    def _set_savepoint(self, group: CommitGroup) -> None:
        """Raises what SAVEPOINT raises: this change has written nothing, so the others of an open transaction stay."""
        assert self._shared is not None, "the change runs on it"
        try:
            self._db.execute_sql("SAVEPOINT one")
        except BaseException as error:
            if not self._shared.in_transaction:
                self._fail(group, error)
            raise

    def _roll_back(self, group: CommitGroup, error: BaseException, whole: bool) -> None:
        """Rolls back this change alone; the whole group if it is the first, or if SQLite has rolled back everything."""
        assert self._shared is not None, "the change runs on it"
        if not whole and self._shared.in_transaction:
            try:
                self._db.execute_sql("ROLLBACK TO one")
                self._db.execute_sql("RELEASE one")
                return
            except BaseException as failed:  # noqa: BLE001  # half a change must not be committed with the others
                error = failed
        self._fail(group, error)

    def _commit_if_due(self) -> None:
        """Commits the group if no thread waits or the group is full."""
        group = self._group
        if group is None:
            return
        with self._lock:
            waits = bool(self._urgent or self._waiting)
        if waits and not group.is_full():
            return
        try:
            self._db.commit()
        except BaseException as error:  # noqa: BLE001  # each thread of the group raises it, this one too
            self._fail(group, error)
        else:
            self._group = None
            group.over.set()
            if waits and not group.urgent:  # more writes than the disk can take: let other processes get the lock too
                time.sleep(LOCK_GAP_S)

    def _fail(self, group: CommitGroup, error: BaseException) -> None:
        """Rolls back the whole group; each of its threads raises `error`."""
        try:
            self._db.rollback()
        except BaseException:  # noqa: BLE001  # closing the connection ends its transaction, too
            self._close_shared()
        self._group, group.error = None, error
        group.over.set()

    # -- the connection

    def _close_shared(self) -> None:
        if self._shared is not None:
            self._shared.close()
            self._shared = None

    @contextmanager
    def _on_shared(self) -> Iterator[None]:
        """Runs this thread's statements on the shared connection, inside its transaction."""
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
