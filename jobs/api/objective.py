"""What can be run, and what it is given: an objective is a function of a trial.

A trial process hands an objective a `Trial`. What the objective calls on it becomes facts of fts.jobs.api.protocol, at
once and in order: the supervisor knows of a draw before its value is used, and of an epoch before the next one begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path


class Stopped(BaseException):
    """The trial was asked to stop, and its checkpoint is written: it will go on from there.

    A BaseException, because people write `except Exception` around training.
    """


class Trial(Protocol):
    """One trial, as its objective sees it."""

    @property
    def number(self) -> int: ...
    @property
    def params(self) -> dict[str, Any]: ...  # drawn so far, or all of them where the cell declares a space
    @property
    def seed(self) -> int: ...  # everything random in the trial follows from it
    @property
    def axes(self) -> dict[str, str | int | float]: ...  # where the cell stands in the matrix
    @property
    def folder(self) -> Path: ...  # of its own, survives kill -9
    @property
    def device(self) -> str: ...  # cpu | cuda | cuda:1 | mps
    @property
    def threads(self) -> int: ...
    @property
    def resume_from(self) -> Path | None: ...  # where its checkpoints are; None: it begins

    def started(self, **facts: Any) -> None:
        """It is built; what is known of it before its first step."""

    def step(self, step: int, epoch: int, loss: float | None, step_s: float) -> None:
        """The heartbeat of progress; told at most twice a second."""

    def report(self, step: int, value: float, metrics: dict[str, float]) -> None:
        """One epoch: the metric that decides, and all the others. Raises Stopped where nothing would be lost."""

    def checkpoint(self, saved: dict[str, Any]) -> None:
        """A checkpoint lies durably on disk: step, epoch, path, bytes, md5, seconds."""
