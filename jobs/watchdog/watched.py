"""The interface of a process that the watchdog can watch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import psutil


class Watched(Protocol):
    """A trial process with its process tree; implemented in fts.jobs.supervisor.child."""

    pid: int
    frozen: bool
    asked_to_stop: bool

    def tree(self) -> list[psutil.Process]: ...
    def poll(self) -> int | None: ...
    def freeze(self) -> bool: ...
    def thaw(self) -> bool: ...
    def kill(self) -> int: ...
