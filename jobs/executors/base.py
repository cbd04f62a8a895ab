"""Defines the interfaces of executors and of the trial processes that they place.

An executor runs trials on this machine or on the nodes of an engine (a cluster's scheduler, which chooses the node). To
the supervisor a trial process looks the same everywhere; its Exit also says whether the trial or the node ended.
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from fts.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import psutil

    from fts.jobs.supervisor.slot import Slot
    from fts.jobs.supervisor.template import KnownTrials
    from fts.state.values import Node


class ExitKind(StrEnum):
    """What ended when a trial process ended: the process alone, or its node."""

    TRIAL = "trial"  # the process exited or died; its machine still works
    NODE_LOST = "node lost"  # the channel to its node ended, or the node was silent for a lease
    PREEMPTED = "preempted"  # the engine asked the node to stop
    LAUNCH_FAILED = "launch failed"  # no agent or no trial process could be started there


class OrderReceived(Exception):
    """A person's order came before the trial could begin, for example while files were being sent to its node."""


class CodeNotSent(OSError):
    """The code that a node needs is missing, unreadable or too large; every trial of the study would fail like this."""


class DataNotSent(CodeNotSent):
    """The same for a data set; the node may have a part of it."""


@dataclass(frozen=True)
class Exit:
    """How a trial process ended. `code` is negative for a signal, None if it is unknown."""

    code: int | None
    kind: ExitKind = ExitKind.TRIAL
    message: str = ""


@dataclass(frozen=True)
class Want:
    """What a trial needs from its node."""

    threads: int = 1
    gpus: int = 0
    memory: int | None = None  # promised bytes of the node's own memory; None: unknown
    needed: int = 0  # bytes that it must have, of each GPU if it wants GPUs; 0: unknown
    like: str | None = None  # fingerprint of the node that it ran on before
    avoid: frozenset[str] = field(default_factory=frozenset)  # nodes that have lost it


class Placed(Protocol):
    """A trial process on any machine; fts.jobs.supervisor.child implements it for this one."""

    pid: int
    started: float
    node: str | None  # None: this machine
    fingerprint: str | None  # of that node
    log_path: Path
    log_start: int | None  # size of its log in bytes when it was started; None: not known
    frozen: bool
    asked_to_stop: bool
    relays: bool
    known: KnownTrials
    was_ready: bool
    reads_files: bool  # it can read files of this machine: a long specification may go by file
    writes_stacks: bool  # it runs a function, and writes its stacks to the log before it is killed

    def tree(self) -> list[psutil.Process]: ...
    def send(self, message: dict[str, Any], timeout_s: float = 5.0) -> None: ...
    def facts(self, timeout_s: float = 0.0) -> list[dict[str, Any]]: ...
    def poll(self) -> int | None: ...
    def exit(self) -> Exit | None: ...
    def oom_kills(self) -> int: ...
    def freeze(self) -> bool: ...
    def thaw(self) -> bool: ...
    @property
    def has_unread_command(self) -> bool: ...  # it has not read the last command yet
    def ask_to_stop(self) -> bool: ...
    def terminate(self) -> bool: ...  # SIGTERM
    def kill(self) -> int: ...
    def wait(self, timeout_s: float) -> int | None: ...
    def close_stdin(self) -> None: ...
    def close(self) -> None: ...


class Executor(Protocol):
    """Runs the trials of one worker. One thread per slot calls it."""

    name: str  # local, command, ssh, ray
    worker_id: int | None

    @property
    def slots(self) -> Sequence[Slot]:
        """The slots: each runs one trial at a time."""
        ...

    def nodes(self) -> Sequence[Node]:
        """Returns the current state of each node."""
        ...

    def close(self) -> None:
        """Ends every process of every slot."""
        ...
