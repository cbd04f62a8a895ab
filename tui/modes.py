"""The seven screens by the names that the header shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.tui.data.view import SCREENS
from fts.tui.screens.curves import CurvesScreen
from fts.tui.screens.events import EventsScreen
from fts.tui.screens.hardware import HardwareScreen
from fts.tui.screens.logs import LogsScreen
from fts.tui.screens.queue import QueueScreen
from fts.tui.screens.results import ResultsScreen
from fts.tui.screens.trials import TrialsScreen

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.screen import Screen

_CLASSES = (QueueScreen, TrialsScreen, CurvesScreen, HardwareScreen, LogsScreen, ResultsScreen, EventsScreen)
MODES: dict[str, str | Callable[[], Screen[Any]]] = dict(zip(SCREENS, _CLASSES, strict=True))
