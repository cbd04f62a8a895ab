"""The objective, a function of a trial, and the `Trial` that it receives.

Each call of a method of Trial is sent as a fact of fts.jobs.api.protocol, at once and in order: the supervisor knows of
a draw before its value is used, and of an epoch before the next one begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path


class Stopped(BaseException):
    """The trial was asked to stop and has written its checkpoint, from which it continues later.

    A BaseException, because people write `except Exception` around their training.
    """


class Trial(Protocol):
    """One trial, as its objective receives it."""

    @property
    def number(self) -> int: ...
    @property
    def params(self) -> dict[str, Any]: ...  # those drawn so far, or all of them if the cell declares a space
    @property
    def seed(self) -> int: ...  # determines everything random in the trial
    @property
    def axes(self) -> dict[str, str | int | float]: ...  # the cell's value on each axis of the matrix
    @property
    def folder(self) -> Path: ...  # the trial's own folder; its files survive kill -9
    @property
    def device(self) -> str: ...  # cpu | cuda | cuda:1 | mps
    @property
    def threads(self) -> int: ...
    @property
    def resume_from(self) -> Path | None: ...  # the folder of its checkpoints; None: start from the beginning

    def started(self, **facts: Any) -> None:
        """Reports that the trial is built, with the facts known before its first step."""

    def step(self, step: int, epoch: int, loss: float | None, step_s: float) -> None:
        """Reports progress. Sent at most twice a second."""

    def report(self, step: int, value: float, metrics: dict[str, float]) -> None:
        """Reports one epoch: the metric that is optimised, and all others. Raises Stopped if a stop was requested and
        nothing would be lost.
        """

    def checkpoint(self, saved: dict[str, Any]) -> None:
        """Reports a checkpoint that is safely on disk: step, epoch, path, bytes, md5, seconds."""
