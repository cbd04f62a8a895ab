"""The seven screens by the names that the header shows; each is loaded and made when it is shown first."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fts.tui.data.view import SCREENS

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.screen import Screen


def _of(name: str) -> Callable[[], Screen[Any]]:
    """Makes `QueueScreen` of fts.tui.screens.queue, and likewise the others."""

    def made() -> Screen[Any]:
        screen: Screen[Any] = getattr(import_module(f"fts.tui.screens.{name.lower()}"), f"{name}Screen")()
        return screen

    return made


MODES: dict[str, str | Callable[[], Screen[Any]]] = {name: _of(name) for name in SCREENS}
