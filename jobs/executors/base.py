"""What an executor is: the places where trials can run, on this machine or on the nodes of an engine.

The engine decides where a trial runs; here stands only what the runner asks of it. A trial process looks the same from
the supervisor, wherever it is: its end says in addition whose end it was.
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from fts.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import psutil

    from fts.jobs.devices import Gpu
    from fts.jobs.supervisor.slot import Slot
    from fts.jobs.supervisor.template import Told
    from fts.state.values import Node


class Whose(StrEnum):
    """Whose end it was when a trial process ended."""

    TRIAL = "trial"  # its own: it left, or died on a machine that lives on
    NODE_LOST = "node lost"  # the channel to its node ended, or the node was silent for a lease
    PREEMPTED = "preempted"  # the engine asked the node to stop
    LAUNCH_FAILED = "launch failed"  # no agent came up there, or no trial process did


class OrderCame(Exception):
    """A person's order came while something was on its way to a node: what arrived there is half."""


class CodeNotSent(OSError):
    """The code that a node needs is gone, unreadable or too much: every trial of the study would meet the same."""


class DataNotSent(CodeNotSent):
    """Likewise of a data set; what the node has of it is half."""


@dataclass(frozen=True)
class Exit:
    """How a trial process ended. `code` is negative for a signal, None where nobody can know."""

    code: int | None
    whose: Whose = Whose.TRIAL
    said: str = ""


@dataclass(frozen=True)
class Want:
    """What a trial asks of the node it is placed on."""

    threads: int = 1
    gpus: int = 0
    memory: int | None = None  # bytes that are promised; None: nobody knows
    like: str | None = None  # fingerprint of the node that it ran on before
    avoid: frozenset[str] = field(default_factory=frozenset)  # nodes that lost it


@dataclass(frozen=True)
class Room:
    """What there is to plan with on a node; bytes."""

    total: int | None
    available: int | None
    gpus: tuple[Gpu, ...] = ()


class Placed(Protocol):
    """A trial process, wherever it runs: fts.jobs.supervisor.child has that of this machine."""

    pid: int
    started: float
    node: str | None  # None: this machine
    fingerprint: str | None  # of that node
    log_path: Path
    frozen: bool
    asked_to_stop: bool
    relays: bool
    told: Told
    was_ready: bool
    reads_files: bool  # of this machine: a long specification may go by file
    writes_stacks: bool  # a function runs in it, which says in its log where it is before it is killed

    def tree(self) -> list[psutil.Process]: ...
    def send(self, message: dict[str, Any], timeout_s: float = 5.0) -> None: ...
    def facts(self, timeout_s: float = 0.0) -> list[dict[str, Any]]: ...
    def poll(self) -> int | None: ...
    def exit(self) -> Exit | None: ...
    def oom_kills(self) -> int: ...
    def freeze(self) -> bool: ...
    def thaw(self) -> bool: ...
    @property
    def unheard(self) -> bool: ...  # a command lies unread before it
    def ask_to_stop(self) -> bool: ...
    def insist(self) -> bool: ...  # with SIGTERM to all of it
    def kill(self) -> int: ...
    def wait(self, timeout_s: float) -> int | None: ...
    def close_stdin(self) -> None: ...
    def close(self) -> None: ...


class Executor(Protocol):
    """Where the trials of a worker run. Each slot is asked by one thread."""

    name: str  # local, command, ssh
    worker_id: int | None  # of the worker that it serves

    @property
    def slots(self) -> Sequence[Slot]:
        """The places where a trial can run at the same time."""
        ...

    def nodes(self) -> Sequence[Node]:
        """What is known of each node now."""
        ...

    def place(self, slot: int, want: Want, leaves: Callable[[], bool], waits: Callable[[str], None]) -> bool:
        """Blocks until the slot has a node that suits; False: `leaves` said to go first. `waits` hears what for."""
        ...

    def room(self, slot: int) -> Room:
        """What there is to plan with on the node of that slot."""
        ...

    def drain(self, node: str) -> None:
        """No further trial begins there."""
        ...

    def close(self) -> None:
        """Ends every process of every slot."""
        ...
