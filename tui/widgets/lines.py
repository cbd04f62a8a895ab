"""The widget that shows the lines of a painter. It repaints only the columns that have changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.segment import Segment
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from fts.jobs.status import formatting
from fts.tui.render import theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.selection import Selection

    from fts.tui.render.text import Line

RECORDED = ("log", "events")  # panes whose text is shown as recorded, without replacing keys by the user's
GAP = 12  # two changes with fewer unchanged columns between them are sent as one: cheaper than moving the cursor


class Lines(Widget):
    """Shows lines of (text, role) spans. Its text can be selected with the mouse."""

    DEFAULT_CSS = """
    Lines { width: 1fr; height: 1fr; }
    """

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.lines: list[Line] = []
        self.repainted = 0  # number of repainted character cells, for the tests
        self._is_drawn = False  # render_line is called to draw, not to find the selection

    def show(self, lines: Sequence[Line]) -> None:
        """Shows these lines; refreshes only the columns of the rows that changed."""
        old, self.lines = self.lines, list(lines)
        if len(old) != len(self.lines):
            self.repainted += self.size.area
            self.refresh()
            return
        regions = [
            Region(first, y, last - first, 1)
            for y, (before, after) in enumerate(zip(old, self.lines, strict=True))
            for first, last in self._runs(before, after)
        ]
        if regions:
            self.repainted += sum(region.width for region in regions)
            self.refresh(*regions)

    def _runs(self, before: Line, after: Line) -> list[tuple[int, int]]:
        """Returns the columns that differ; all if a key of the user's with another width moves those behind it."""
        runs = changed_runs(before, after)
        if runs and any(self._shown(text) != text for text, _ in (*before, *after)):
            return [(0, self.size.width)]
        return runs

    def _shown(self, text: str) -> str:
        """Returns the text with the user's keys in place of the default ones."""
        app: Any = self.app  # Monitor or pictures.HeadlessApp
        keymap = getattr(app, "keymap", None)  # pictures show the default keys
        return text if keymap is None or self.name in RECORDED else keymap.in_words(text)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draws lines without offsets: each offset is a style of its own, 3 MB on seven screens.

        For a selection Textual calls `render_line` directly and gets offsets.
        """
        self._is_drawn = True
        try:
            return super().render_lines(crop)
        finally:
            self._is_drawn = False

    def render_line(self, y: int) -> Strip:
        app: Any = self.app
        blank = theme.style("", app.palette)
        if y >= len(self.lines):
            return Strip.blank(self.size.width, blank)
        segments = []
        for text, role in self.lines[y]:
            shown = self._shown(text)
            shown = formatting.to_ascii(shown) if app.ascii_only else shown
            segments += [Segment(shown, theme.style(role, app.palette))] if shown else []
        strip = Strip(segments).simplify().adjust_cell_length(self.size.width, blank)
        if self.text_selection is not None:
            strip = self._selected(strip, y)
        return strip if self._is_drawn or not self.allow_select else strip.apply_offsets(0, y)

    def _selected(self, strip: Strip, y: int) -> Strip:
        """Draws the selected part of a strip inverse."""
        span = self.text_selection.get_span(y) if self.text_selection is not None else None
        if span is None:
            return strip
        first, last = span[0], strip.cell_length if span[1] == -1 else span[1]
        parts = list(strip.divide([first, last, strip.cell_length])) if first < last else [strip]
        if len(parts) < 2:
            return strip
        app: Any = self.app
        inverse = theme.style("choice", app.palette)
        parts[1] = Strip([Segment(segment.text, inverse) for segment in parts[1]], parts[1].cell_length)
        return Strip.join(parts)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        text = "\n".join("".join(part for part, _ in line).rstrip() for line in self.lines)
        return selection.extract(text), "\n"

    def selection_updated(self, selection: Selection | None) -> None:  # any line may have changed
        self.refresh()

    def get_content_width(self, container: Size, viewport: Size) -> int:  # called by Textual
        return container.width

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # called by Textual
        return len(self.lines)


def changed_runs(before: Line, after: Line) -> list[tuple[int, int]]:
    """Returns the [first, last) columns in which two lines differ in character or role; joins near ones."""
    if before == after:
        return []
    head, tail = 0, 0
    shorter = min(len(before), len(after))
    while head < shorter and before[head] == after[head]:
        head += 1
    while tail < shorter - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    a, b = _cells(before[head : len(before) - tail]), _cells(after[head : len(after) - tail])
    start = sum(formatting.width(text) for text, _ in after[:head])
    if len(a) != len(b):
        return [(0, max(_width(before), _width(after)))]
    runs: list[tuple[int, int]] = []
    for n, (x, y) in enumerate(zip(a, b, strict=True), start):
        if x == y:
            continue
        if runs and n - runs[-1][1] < GAP:
            runs[-1] = (runs[-1][0], n + 1)
        else:
            runs.append((n, n + 1))
    return runs


def _width(line: Line) -> int:
    return sum(formatting.width(text) for text, _ in line)


def _cells(line: Line) -> list[tuple[str, str]]:
    """Returns (character, role) per column; a wide character fills two."""
    cells: list[tuple[str, str]] = []
    for text, role in line:
        if formatting.width(text) == len(text):
            cells.extend((char, role) for char in text)
            continue
        for char in text:
            columns = formatting.width(char)
            if not columns and cells:
                cells[-1] = (cells[-1][0] + char, role)  # an accent joins the character before it
            cells.extend([(char, role)] * columns)
    return cells
