"""A pane: a widget that shows the lines of one painter. It can have the focus, scroll, and handle clicks on rows."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from textual.message import Message
from textual.scrollbar import ScrollBar, ScrollDown, ScrollTo, ScrollUp

from fts.frozen import dataclass
from fts.jobs.status import formatting
from fts.jobs.status.sanitize import clean
from fts.tui.render.text import Line, clip, with_role, wrapped
from fts.tui.widgets.lines import Lines
from fts.tui.widgets.scrollbar import Extent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from textual import events
    from textual.geometry import Size

    from fts.tui.data.view import View

    Painter = Callable[[View, int, int], Sequence[Line]]

NOTHING = Extent(0, 0, 0)
ENOUGH = 99  # lines passed to a painter whose height is not known yet
FAILED_ROWS = 3  # height at least of a pane whose painter has failed, for its sentence
NO_FOCUS = "-"  # value of View.focus for a pane without the focus


@dataclass(frozen=True)
class Long:
    """Settings of a pane that scrolls if its painter returns more lines than fit.

    The first `head` and the last `foot` lines stay in place. When the line with the role `cursor` changes, the pane
    scrolls to it.
    """

    head: int = 1
    foot: Callable[[View, int], int] = lambda view, width: 0  # (view, width) -> lines


@dataclass(frozen=True)
class TableSettings:
    """Settings of a pane with clickable rows and headings."""

    rows: Callable[[View, int, int], Sequence[int | None]]  # (view, width, height) -> row id of each line; None: no row
    columns: Callable[[View, int], Mapping[str, str]]  # (view, width) -> word of the heading: column to sort by
    heading: int = 0  # line of the heading


class Pane(Lines, can_focus=True):
    """Shows what its painter makes of a view at its size; with a scrollbar if it has more rows than fit."""

    DEFAULT_CSS = """
    Pane ScrollBar { dock: right; width: 1; height: 100%; }
    """

    class Chosen(Message):
        """A row was clicked; `opens`: it was a double click."""

        def __init__(self, row: int, opens: bool) -> None:
            super().__init__()
            self.row, self.opens = row, opens

    class Sorted(Message):
        """The heading of a column was clicked."""

        def __init__(self, column: str) -> None:
            super().__init__()
            self.column = column

    class Scrolled(Message):
        """The scrollbar was moved: row `first` should be at the top."""

        def __init__(self, first: int, extent: Extent) -> None:
            super().__init__()
            self.first, self.extent = first, extent

    class Wheel(Message):
        """The wheel was turned or the scrollbar clicked outside its thumb: move so many rows down."""

        def __init__(self, rows: int) -> None:
            super().__init__()
            self.rows = rows

    def __init__(
        self,
        name: str,
        paint: Painter,
        *,
        rows: Callable[[View, int], int] | None = None,
        table: TableSettings | None = None,
        extent: Callable[[View, int, int], Extent] | None = None,
        long: Long | None = None,
        wall: bool = False,
        focus: bool = True,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        """`rows`: its height at a width, for panes with `height: auto`. `extent`: its rows and the visible ones, for a
        scrollbar. `wall`: draw a line at its left edge."""
        super().__init__(name=name, id=id, classes=classes)
        self.can_focus = focus
        self.view: View | None = None
        self.table = table
        self.painted_at: Size | None = None
        self.bar: ScrollBar | None = None
        self.long, self.wall = long, wall
        self._painter, self._rows, self._extent = paint, rows, extent
        self._all: list[Line] = []  # all lines of a long pane
        self._title, self._first, self._cursor = "", 0, -1  # title line, first visible row, line of the cursor
        self._columns, self._wanted = 0, 1  # width at the last layout, and the rows wanted there
        self._is_seen = False  # whether Textual has given it a region

    def show_view(self, view: View) -> None:
        """Shows a view."""
        self.view = view
        if self._columns and self._rows_wanted(view) != self._wanted:
            self.refresh(layout=True)
        self.repaint()

    def repaint(self) -> None:
        """Paints the view again; only changed columns are sent to the terminal."""
        if self.view is not None and self._is_seen and self.size.area:
            if self.long is not None:
                self._read(self.view, self.long)
            self._place_bar()
            self.show(self.painted(self.view, self.columns, self.size.height))
            self.painted_at = self.size

    @property
    def columns(self) -> int:
        """Width for the painter, without the scrollbar."""
        return self.size.width - int(self.bar is not None and self.bar.display)

    @property
    def extent(self) -> Extent:
        """All rows and the visible ones."""
        if self.view is None:
            return NOTHING
        if self.long is not None:
            room, foot = self.size.height, self._foot(self.view, self.long)
            return Extent(len(self._all) - self.long.head - foot, self._first, room - self.long.head - foot)
        return NOTHING if self._extent is None else self._extent(self.view, self.columns, self.size.height)

    def _foot(self, view: View, long: Long) -> int:
        """Returns how many lines stay at the bottom: 0 if they would leave less than half of the height."""
        foot = long.foot(view, self.size.width)
        return foot if 2 * (long.head + foot) <= self.size.height else 0

    def _read(self, view: View, long: Long) -> None:
        """Paints all lines of a long pane, one column narrower if it needs a scrollbar, and updates its scroll."""
        width, height = self.size
        self._all = self._painted(view, width, height)
        if len(self._all) > height:
            self._all = self._painted(view, width - 1, height)
        title = "".join(text.strip("━─ ") for text, _ in self._all[0]) if self._all else ""
        if title != self._title:  # it shows something else: scroll back to the top
            self._title, self._first, self._cursor = title, 0, -1
        cursor = next((n for n, line in enumerate(self._all) if any("cursor" in role for _, role in line)), -1)
        shown = self.extent.shown
        if cursor not in (-1, self._cursor):
            at = cursor - long.head
            self._first = min(max(self._first, at - shown + 2), at)
        self._cursor = cursor
        self._first = max(min(self._first, self.extent.rows - shown), 0)

    def scroll_by(self, rows: int) -> bool:
        """Scrolls a long pane down by so many lines (negative: up). Returns False if it does not scroll by itself."""
        if self.long is None or self._cursor >= 0 or not self.extent.scrolls:
            return False
        self._first += rows
        self.repaint()
        return True

    def _place_bar(self) -> None:
        """Updates the scrollbar; makes it when it is first needed."""
        extent = self.extent
        if not extent.scrolls:
            if self.bar is not None:
                self.bar.display = False
            return
        if self.bar is None:
            self.bar = ScrollBar()
            self.mount(self.bar)
        self.bar.display = True
        self.bar.window_virtual_size, self.bar.window_size = extent.rows, extent.shown
        self.bar.position = extent.first

    def on_scroll_to(self, event: ScrollTo) -> None:
        event.stop()
        extent = self.extent
        if event.y is not None and extent.scrolls:
            first = min(max(round(event.y), 0), extent.rows - extent.shown)
            if self.long is not None:
                self._first = first
                self.repaint()
            else:
                self.post_message(self.Scrolled(first, extent))

    def on_scroll_up(self, event: ScrollUp) -> None:
        event.stop()
        self._turn(-self.extent.shown)

    def on_scroll_down(self, event: ScrollDown) -> None:
        event.stop()
        self._turn(self.extent.shown)

    def _turn(self, rows: int) -> None:
        """Handles the wheel or a click outside the thumb."""
        if not self.scroll_by(rows):
            self.post_message(self.Wheel(rows))

    def painted(self, view: View, width: int, height: int) -> list[Line]:
        """Returns exactly `height` lines of `width` columns; of a long pane the visible ones."""
        if self.long is not None:
            head, shown, foot = self.long.head, self.extent.shown, self._foot(view, self.long)
            end, first = len(self._all) - foot, head + self._first
            lines = [*self._all[:head], *self._all[first : min(first + shown, end)], *self._all[end:]]
        else:
            lines = self._painted(view, width, height)
        lines = [clip(line, width) for line in (*lines[:height], *([self._empty] * (height - len(lines))))]
        return [with_role(line, "faded") for line in lines] if self.fades(view) else lines

    @property
    def _empty(self) -> Line:
        return (("│", "rule"),) if self.wall else ()

    def _painted(self, view: View, width: int, height: int) -> list[Line]:
        """Calls the painter. If it raises, returns the error as lines."""
        seen = replace(view, focus=(self.name or "") if self.has_focus else NO_FOCUS)
        try:
            lines = list(self._painter(seen, width - self.wall, height))
        except Exception as error:  # noqa: BLE001  # a bug in one pane must not end the monitor
            app: Any = self.app
            app.part_failed(self.name or "", error)
            text = f"this part failed: {type(error).__name__}: {clean(str(error))}; ctrl+r tries again"
            lines = [((row, "failed"),) for row in wrapped(text, max(width - 1, 10))]
        return [(*self._empty, *line) for line in lines]

    def fades(self, view: View) -> bool:
        """Returns whether the pane is drawn dim because its data may be old."""
        return view.glance.is_stale or bool(view.problem)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # called by Textual
        self._columns = max(width, 1)
        if self.view is not None:
            self._wanted = self._rows_wanted(self.view)
        return self._wanted

    def _rows_wanted(self, view: View) -> int:
        """Returns the height that the pane needs; as before if that cannot be told, because a painter has failed."""
        try:
            return self._wanted if self._rows is None else self._rows(view, self._columns)
        except Exception as error:  # noqa: BLE001  # as in `_painted`, which shows it
            app: Any = self.app
            app.part_failed(self.name or "", error)
            return max(self._wanted, FAILED_ROWS)

    # ---------------------------------------------------------------- events of Textual

    def on_show(self) -> None:
        self._is_seen = True
        self.repaint()

    def on_hide(self) -> None:
        self._is_seen = False

    def on_resize(self) -> None:
        self._is_seen = True
        self.repaint()

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self.repaint()

    def on_click(self, event: events.Click) -> None:
        event.prevent_default()  # a double click opens; Textual would select all text
        if self.view is None or self.table is None:
            return
        x, y = event.get_content_offset_capture(self)
        if y == self.table.heading and (column := self._column(x)) is not None:
            self.post_message(self.Sorted(column))
            return
        rows = self.table.rows(self.view, self.columns, self.size.height)
        if 0 <= y < len(rows) and (row := rows[y]) is not None:
            self.post_message(self.Chosen(row, opens=event.chain > 1))

    def _column(self, x: int) -> str | None:
        """Returns the table column whose heading is at this x, or None."""
        assert self.table is not None and self.view is not None
        columns = self.table.columns(self.view, self.columns)
        text = "".join(part for part, _ in self.lines[self.table.heading]) if self.lines else ""
        words = list(re.finditer(r"\S+", text))
        ends = (formatting.width(text[: word.end()]) for word in words)
        at = next((n for n, end in enumerate(ends) if 0 < end - x <= formatting.width(words[n][0])), None)
        while at is not None and at >= 0:
            if column := _heading_of(columns, words[at][0]):
                return column
            if at == 0 or words[at].start() - words[at - 1].end() > 1:
                return None
            at -= 1  # `best AUC` is one heading
        return None

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self._turn(1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self._turn(-1)


def rows_of(paint: Painter, below: int = 0) -> Callable[[View, int], int]:
    """Makes the `rows` of a pane: the number of lines that its painter returns, plus `below` blank ones."""
    return lambda view, width: len(paint(view, width, ENOUGH)) + below


def _heading_of(columns: Mapping[str, str], word: str) -> str | None:
    """Returns the column of a word of the heading, which may be cut (`warmup…`)."""
    if not word.endswith("…"):
        return columns.get(word)
    return next((column for name, column in columns.items() if name.startswith(word[:-1])), None)
