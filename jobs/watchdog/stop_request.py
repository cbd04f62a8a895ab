"""Why a running trial should stop: a person's order, or what the watchdog decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fts.state.values import Cause


@dataclass(frozen=True)
class StopRequest:
    """Why a running trial should stop: a person's order, or the watchdog's."""

    reason: str  # pause | cancel | stop | shrink | kill | stalled | heat | disk | lost | park
    message: str = ""
    kill: bool = False  # no time for a checkpoint
    cause: Cause | None = None  # what a job is parked for
