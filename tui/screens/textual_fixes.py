"""Faults of Textual 8.2 that a person meets, mended in one place: every screen of the monitor is one of these.

Each method says what Textual 8.2.8 does without it. One that a later release has mended can go.
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
NARROW = 16


class MendedScreen(Screen[Answer]):
    """A screen of Textual that no click ends, that rests at any size, and that has the focus when the terminal has it.

    8.2.8: in a few columns a scrollbar leaves no width for the lines, which then have no height and need no scrollbar;
    it goes, the lines need it, and so on for ever. Below `NARROW` columns nothing has one.
    """

    DEFAULT_CSS = """
    MendedScreen.-narrow * { scrollbar-size: 0 0 !important; }
    """

    def on_mount(self) -> None:
        self.watch(self.app, "app_focus", self.focus_first, init=False)

    @on(events.Resize)
    def narrow(self) -> None:
        """In how many columns nothing has a scrollbar."""
        self.set_class(self.app.size.width < NARROW, "-narrow")

    def focus_first(self) -> None:
        """Gives the focus to what is first in it, where nothing has it.

        8.2.8: a screen that opens while the terminal's window is behind another one gets no focus, then or later.
        """
        wanted = self.app.AUTO_FOCUS if self.AUTO_FOCUS is None else self.AUTO_FOCUS
        if self.focused is None and self.app.app_focus and self.is_current and wanted:
            first = next((widget for widget in self.query(wanted) if widget.focusable), None)
            self.set_focus(first)

    def get_widget_at(self, x: int, y: int) -> tuple[Widget, Region]:
        """The screen itself where no widget is.

        8.2.8: a click beside a terminal that has just shrunk raises NoWidget in the palette, which ends the app, and
        takes the focus from any other screen.
        """
        try:
            return super().get_widget_at(x, y)
        except NoWidget:
            return self, self.region
