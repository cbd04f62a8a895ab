"""What the seven screens have in common: header, panes, bar of keys, and what comes from the mouse.

A key reaches this screen first, because it may come too early or be the second half of a chord; the bindings of Textual
(keys.py) are asked after that.
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
    """No database: what to do, in words."""
    return [(), *((("  " + row, ""),) for row in wrapped(view.missing, width - 4))]


class MonitorScreen(KeyActions):
    """One of the seven; it shows the view it is given."""

    HORIZONTAL_BREAKPOINTS = COLUMNS
    VERTICAL_BREAKPOINTS = ROWS
    AUTO_FOCUS = ""  # Textual would look for a pane before there is one
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
        self.laid_out: Size | None = None  # the size that its panes have been placed for
        self._panes: list[Pane] = []
        self.set_class(True, *self._of_size())  # as Textual will after the first layout: nothing is styled twice

    def _of_size(self) -> list[str]:
        """The classes of the breakpoints at the terminal's size."""
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
        """What stands between header and keys."""
        raise NotImplementedError

    def show(self, view: View) -> None:
        """Shows a view in every pane that has a place."""
        self.view = view
        self.set_class(bool(view.missing), "-missing")
        self.set_class(view.last is not None, "-trouble")
        if self.focused is None and self.app.app_focus:
            self._focus_first()
        with self.app.batch_update():
            for pane in self.shown_panes():
                pane.look(view)

    def shown_panes(self) -> list[Pane]:
        """Every pane, asked of Textual once: they neither come nor go."""
        self._panes = self._panes or list(self.query(Pane))
        return self._panes

    # ---------------------------------------------------------------- events
    def takes(self, event: events.Key) -> bool:
        """Whether a key is no key of a binding: it came too early, or is the second half of a chord."""
        if self.monitor.presence.keeps(event):
            return True
        self.monitor.presence.note()
        asked, self.sorting = self.sorting, None
        if asked is not None and asked == self.monitor.toast and event.key not in NEVER_HELD:
            self._sort_by(key_name(event))
            return True
        return False

    def on_mount(self) -> None:
        self.app.app_resume_signal.subscribe(self, self._resumed)
        self.monitor.paint()

    def on_screen_suspend(self) -> None:
        """Behind another one it keeps neither what was read for it nor what was drawn."""
        self.view = None
        for pane in self.shown_panes():
            pane.view = None
        for widget in self.query():
            widget.refresh()  # drops the strips that Textual keeps of it

    def _focus_first(self) -> None:
        """The first pane has the focus until another one is given it."""
        first = next((pane for pane in self.shown_panes() if pane.focusable), None)
        if first is not None:
            self.set_focus(first)

    def on_resize(self, event: events.Resize) -> None:
        self.laid_out = event.size
        self.monitor.look()
        self.monitor.paint()

    @on(Pane.Chosen)
    def choose(self, message: Pane.Chosen) -> None:
        """A click on a row."""
        view = self.monitor.view()
        self.desk.choose(message.row)
        self.desk.stretch(view)
        if message.opens:
            self.action_open()
        self.changed()

    @on(Pane.Sorted)
    def sort_by_heading(self, message: Pane.Sorted) -> None:
        self.desk.sort(message.column)
        self.changed()

    @on(Pane.Scrolled)
    def scroll(self, message: Pane.Scrolled) -> None:
        self.desk.scroll_to(self.monitor.view(), message.first, message.extent.rows - message.extent.shown)
        self.changed()

    @on(Pane.Wheel)
    def turn_wheel(self, message: Pane.Wheel) -> None:
        self.desk.move(self.monitor.view(), message.rows)
        self.changed()

    def _resumed(self, _: App[None]) -> None:
        """After `fg`: the terminal has forgotten the picture, and time has gone by."""
        if self.is_current:
            self.refresh(layout=True)
            self.monitor.look(now=True)
