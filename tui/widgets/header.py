"""The header, one to five lines by the size of the terminal: verdict, expected end, what has happened."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fts.jobs.status import formatting
from fts.jobs.status.headline import lines as glance_lines
from fts.jobs.status.memoize import Once
from fts.tui.data.view import SCREENS
from fts.tui.widgets.pane import Pane

if TYPE_CHECKING:
    from textual import events

    from fts.tui.data.view import View
    from fts.tui.render.text import Line


class Header(Pane):
    """Shows the glance. A click on the name of a screen opens it."""

    DEFAULT_CSS = """
    Header { dock: top; height: auto; }
    """

    def __init__(self) -> None:
        self._latest: Once[list[Line]] = Once()  # cached, because Textual asks for the height before it paints
        super().__init__("header", self._lines, rows=lambda view, width: len(self._lines(view, width, 0)), focus=False)

    def _lines(self, view: View, width: int, height: int) -> list[Line]:  # uses the terminal's size
        size = self.screen.size
        made = partial(glance_lines, view.glance, size.width, size.height, SCREENS, view.screen)
        return self._latest((view.glance,), (size, view.screen), made)

    def fades(self, view: View) -> bool:  # the header shows the age of the data
        return False

    def on_click(self, event: events.Click) -> None:
        event.prevent_default()
        x, y = event.get_content_offset_capture(self)
        text = "".join(part for part, _ in self.lines[0]) if y == 0 and self.lines else ""
        for n, name in enumerate(SCREENS):
            before, found, _ = text.partition(f"{n + 1} {name}")
            if found and 0 <= x - formatting.width(before) < len(found):  # a study may have a name of wide characters
                self.app.call_later(self.app.run_action, f"show_screen({n})", self.screen)
