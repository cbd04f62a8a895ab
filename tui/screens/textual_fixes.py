"""Workarounds for bugs of Textual 8.2 in one base class of all screens.

Each method says what Textual 8.2.8 does without it. Remove a method when a later release has fixed the bug.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from textual import events, on
from textual.errors import NoWidget
from textual.screen import Screen

if TYPE_CHECKING:
    from textual.geometry import Region
    from textual.widget import Widget

Answer = TypeVar("Answer")
NARROW = 16  # columns


class MendedScreen(Screen[Answer]):
    """A screen with the workarounds.

    8.2.8 lays out a very narrow screen forever: the scrollbar leaves no width for the lines, which then have no height
    and need no scrollbar; it goes, the lines need it again. So there are no scrollbars below `NARROW` columns.
    """

    DEFAULT_CSS = """
    MendedScreen.-narrow * { scrollbar-size: 0 0 !important; }
    """

    @on(events.Resize)
    def narrow(self) -> None:
        """Hides all scrollbars on a narrow screen."""
        self.set_class(self.app.size.width < NARROW, "-narrow")

    def focus_first(self) -> None:
        """Gives the focus to the first widget if none has it.

        8.2.8: a screen that opens while the terminal does not have the focus gets none, then or later. The app calls
        this when the terminal has the focus again. A screen must not watch the app for it: 8.2.8 keeps each screen that
        watches, with all its widgets, until the terminal's focus changes, which in tmux is often never.
        """
        wanted = self.app.AUTO_FOCUS if self.AUTO_FOCUS is None else self.AUTO_FOCUS
        if self.focused is None and self.app.app_focus and self.is_current and wanted:
            first = next((widget for widget in self.query(wanted) if widget.focusable), None)
            self.set_focus(first)

    def get_widget_at(self, x: int, y: int) -> tuple[Widget, Region]:
        """Returns the screen itself where there is no widget.

        8.2.8: a click outside a terminal that has just shrunk raises NoWidget, which ends the app in the palette and
        removes the focus on other screens.
        """
        try:
            return super().get_widget_at(x, y)
        except NoWidget:
            return self, self.region
