"""The base class of the seven screens: header, panes, key bar, mouse events.

A key first goes to `takes`, because it may come too early or be the second key of a chord, then to Textual's bindings
(keys.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.containers import Vertical

from fts.tui import bindings
from fts.tui.key_queue import NEVER_HELD
from fts.tui.render.text import wrapped
from fts.tui.screens.keys import KeyActions, key_name
from fts.tui.widgets.footer import KeyBar
from fts.tui.widgets.header import Header
from fts.tui.widgets.pane import Pane

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.app import App, ComposeResult
    from textual.binding import BindingType
    from textual.geometry import Size

    from fts.tui.data.view import View
    from fts.tui.render.text import Line

Breakpoints = list[tuple[int, str]] | None
COLUMNS: Breakpoints = [(0, "-w0"), (40, "-w40"), (70, "-w70"), (100, "-w100"), (160, "-w160")]
ROWS: Breakpoints = [(0, "-h0"), (8, "-h8"), (20, "-h20"), (32, "-h32"), (50, "-h50")]


def missing(view: View, width: int, height: int) -> list[Line]:  # noqa: ARG001  # a painter
    """Paints what to do if there is no database."""
    return [(), *((("  " + row, ""),) for row in wrapped(view.missing, width - 4))]


class MonitorScreen(KeyActions):
    """One of the seven screens. Shows the view that it is given."""

    HORIZONTAL_BREAKPOINTS = COLUMNS
    VERTICAL_BREAKPOINTS = ROWS
    AUTO_FOCUS = ""  # Textual would look for a pane before the panes exist
    ALLOW_IN_MAXIMIZED_VIEW = "Header, KeyBar"
    ESCAPE_TO_MINIMIZE = False
    BINDINGS: ClassVar[list[BindingType]] = list(bindings.textual())
    DEFAULT_CSS = """
    MonitorScreen {
        layers: base over;
        background: $background;
        #body { height: 1fr; margin: 0 0 1 0; }
        #missing { display: none; margin: 0 0 1 0; }
        &.-maximized-view { hatch: none; }
        .-maximized { width: 100% !important; height: 1fr !important; max-height: 100% !important; margin: 0 0 1 0; }
        &.-missing { #body { display: none; } #missing { display: block; } }
        &.-w0, &.-h0 { #body, #missing, KeyBar { display: none; } Header { height: 1fr; } }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self.view: View | None = None
        self.laid_out: Size | None = None  # terminal size at the last layout
        self._panes: list[Pane] = []
        # The classes that Textual sets after the first layout: set now, nothing is styled twice.
        self.set_class(True, *self._size_classes())

    def _size_classes(self) -> list[str]:
        """Returns the breakpoint classes for the terminal's size."""
        width, height = self.app.size
        lists = ((width, self.HORIZONTAL_BREAKPOINTS), (height, self.VERTICAL_BREAKPOINTS))
        return [max(each for each in of or [] if each[0] <= room)[1] for room, of in lists]

    def compose(self) -> ComposeResult:
        yield Header()
        with Vertical(id="body"):
            yield from self.panes()
        yield Pane("missing", missing, focus=False, id="missing")
        yield KeyBar()

    def panes(self) -> Iterable[Pane]:
        """Yields the panes between header and key bar."""
        raise NotImplementedError

    def show(self, view: View) -> None:
        """Shows a view in every pane."""
        self.view = view
        self.set_class(bool(view.missing), "-missing")
        self.set_class(view.last is not None, "-trouble")
        if self.focused is None and self.app.app_focus:
            self._focus_first()
        with self.app.batch_update():
            for pane in self.shown_panes():
                pane.show_view(view)

    def shown_panes(self) -> list[Pane]:
        """Returns all panes; queried once, because none is added or removed later."""
        self._panes = self._panes or list(self.query(Pane))
        return self._panes

    # ---------------------------------------------------------------- events
    def takes(self, event: events.Key) -> bool:
        """Handles a key that came before the first read or is the letter after `o`. Returns False for other keys."""
        if self.monitor.presence.keeps(event):
            return True
        self.monitor.presence.note()
        question, self.sorting = self.sorting, None
        if question is not None and question == self.monitor.toast and event.key not in NEVER_HELD:
            self._sort_by(key_name(event))
            return True
        return False

    def on_mount(self) -> None:
        self.app.app_resume_signal.subscribe(self, self._resumed)
        self.monitor.paint()

    def on_screen_suspend(self) -> None:
        """Frees the view and the drawn strips while another mode is shown."""
        self.view = None
        for pane in self.shown_panes():
            pane.view = None
        for widget in self.query():
            widget.refresh()  # drops Textual's cached strips

    def _focus_first(self) -> None:
        """Gives the focus to the first pane."""
        first = next((pane for pane in self.shown_panes() if pane.focusable), None)
        if first is not None:
            self.set_focus(first)

    def on_resize(self, event: events.Resize) -> None:
        self.laid_out = event.size
        self.monitor.look()
        self.monitor.paint()

    @on(Pane.Chosen)
    def choose(self, message: Pane.Chosen) -> None:
        """Handles a click on a row."""
        view = self.monitor.view()
        self.navigation.choose(message.row)
        self.navigation.stretch(view)
        if message.opens:
            self.action_open()
        self.changed()

    @on(Pane.Sorted)
    def sort_by_heading(self, message: Pane.Sorted) -> None:
        self.navigation.sort(message.column)
        self.changed()

    @on(Pane.Scrolled)
    def scroll(self, message: Pane.Scrolled) -> None:
        self.navigation.scroll_to(self.monitor.view(), message.first, message.extent.rows - message.extent.shown)
        self.changed()

    @on(Pane.Wheel)
    def turn_wheel(self, message: Pane.Wheel) -> None:
        self.navigation.move(self.monitor.view(), message.rows)
        self.changed()

    def _resumed(self, _: App[None]) -> None:
        """Redraws and reads again after `fg`: the terminal has lost the picture, and the data is old."""
        if self.is_current:
            self.refresh(layout=True)
            self.monitor.look(now=True)
