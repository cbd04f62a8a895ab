"""Group commit: the write transactions of one process's threads go to disk together, each as a savepoint of its own.

One thread at a time has the turn and runs its change on a connection that all share. Who has another one waiting
behind it leaves the transaction open and waits; the last one of a group commits for all. So a call returns only when
its change is on disk, one that fails takes no other along, and a thread alone commits at once.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from fts.state.database import Database

MOST = 64  # changes in one group
TOGETHER_S = 0.03  # that a group may stay open: other processes wait for the write lock meanwhile


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
            group = self._begun()
            group.urgent |= urgent
            with self._on_shared():
                self._db.execute_sql("SAVEPOINT one")
                try:
                    yield
                except BaseException as error:
                    self._take_back(group, error)
                    raise
                self._db.execute_sql("RELEASE one")
            group.changes += 1
        finally:
            self._pass_on()
        group.over.wait()
        if group.error is not None:
            raise type(group.error)(*group.error.args) from group.error  # each thread its own

    def close(self) -> None:
        """Closes the shared connection; the next change opens it again."""
        self._take_turn(urgent=False)
        try:
            if self._shared is not None and self._group is None:
                self._shared.close()
                self._shared = None
        finally:
            self._pass_on()

    # -- the turn

    def _take_turn(self, urgent: bool) -> None:
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Event()
            (self._urgent if urgent else self._waiting).append(mine)
        mine.wait()

    def _pass_on(self) -> None:
        """Gives the turn to the next one; commits before, if nobody waits or the group has become large enough."""
        group = self._group
        with self._lock:
            waits = bool(self._urgent or self._waiting)
            if not waits and group is None:
                self._taken = False
                return
        if group is not None and (not waits or group.is_full()):
            self._commit(group)
        with self._lock:
            line = self._urgent or self._waiting
            if line:
                line.popleft().set()
            elif self._group is None:
                self._taken = False
            else:
                raise AssertionError("a group stays open only for one that waits")

    # -- the transaction

    def _begun(self) -> Group:
        """The open group, or a new one. Raises what BEGIN raises."""
        if self._group is None:
            with self._on_shared():
                self._db.begin("IMMEDIATE")
            self._group = Group()
        return self._group

    def _take_back(self, group: Group, error: BaseException) -> None:
        """This change alone; or all, where SQLite has rolled back everything by itself, as after a full disk."""
        assert self._shared is not None, "a change runs on it"
        if not self._shared.in_transaction:
            self._ends(group, error)
            return
        try:
            self._db.execute_sql("ROLLBACK TO one")
            self._db.execute_sql("RELEASE one")
        except BaseException as failed:  # half a change must not go to disk with the others
            self._db.rollback()
            self._ends(group, failed)
            raise

    def _commit(self, group: Group) -> None:
        """For all of the group; what goes wrong is theirs, not only this thread's."""
        try:
            with self._on_shared():
                try:
                    self._db.commit()
                except BaseException:
                    self._db.rollback()
                    raise
        except BaseException as error:  # noqa: BLE001  # each of the group raises it
            self._ends(group, error)
        else:
            self._ends(group, None)

    def _ends(self, group: Group, error: BaseException | None) -> None:
        self._group, group.error = None, error
        group.over.set()

    @contextmanager
    def _on_shared(self) -> Iterator[None]:
        """Whatever this thread asks of the database meanwhile goes to the shared connection, inside its transaction."""
        state: Any = self._db._state  # type: ignore[attr-defined]  # of peewee
        if self._shared is None:
            self._shared = self._db.shared_connection()
        own = {name: getattr(state, name) for name in ("closed", "conn", "ctx", "transactions", "commit_callbacks")}
        state.set_connection(self._shared)
        state.transactions.append(self)
        try:
            yield
        finally:
            for name, value in own.items():
                setattr(state, name, value)
