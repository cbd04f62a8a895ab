"""Textual's MODES: the seven screens by name. Each is imported and made when it is first shown."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fts.tui.data.view import SCREENS

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.screen import Screen


def _factory(name: str) -> Callable[[], Screen[Any]]:
    """Returns a function that makes a screen: for Queue `QueueScreen` of fts.tui.screens.queue."""

    def make() -> Screen[Any]:
        screen: Screen[Any] = getattr(import_module(f"fts.tui.screens.{name.lower()}"), f"{name}Screen")()
        return screen

    return make


MODES: dict[str, str | Callable[[], Screen[Any]]] = {name: _factory(name) for name in SCREENS}
