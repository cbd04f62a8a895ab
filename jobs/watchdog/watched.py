"""What the watchdog needs of the process that it watches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import psutil


class Watched(Protocol):
    """A trial process with its tree; fts.jobs.supervisor.child has it."""

    pid: int
    frozen: bool
    asked_to_stop: bool

    def tree(self) -> list[psutil.Process]: ...
    def poll(self) -> int | None: ...
    def freeze(self) -> bool: ...
    def thaw(self) -> bool: ...
    def kill(self) -> int: ...
