"""The widget that shows a frame: it compares with the frame before and repaints only the cells that differ."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from jobs.glance import words
from tui import theme
from tui.paint import Line


class Canvas(Widget, can_focus=False):
    """Shows lines of (text, role) spans; unchanged rows cost nothing and send nothing."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    Canvas { width: 1fr; height: 1fr; padding: 0; margin: 0; border: none; }
    """

    def __init__(self, palette: str = "dark", ascii_only: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self.palette, self.ascii_only = palette, ascii_only
        self.lines: list[Line] = []
        self.repainted = 0  # cells sent to the compositor, for About

    def show(self, lines: Sequence[Line]) -> None:
        """Shows these lines; refreshes only the columns of the rows that changed."""
        old, self.lines = self.lines, list(lines)
        if len(old) != len(self.lines):
            self.refresh()
            return
        regions = []
        for y, (before, after) in enumerate(zip(old, self.lines, strict=True)):
            if before == after:
                continue
            first, last = changed_columns(before, after)
            if last > first:
                regions.append(Region(first, y, last - first, 1))
        if regions:
            self.repainted += sum(region.width for region in regions)
            self.refresh(*regions)

    def render_line(self, y: int) -> Strip:
        if y >= len(self.lines):
            return Strip.blank(self.size.width, theme.style("", self.palette))
        segments = [
            Segment(words.to_ascii(text) if self.ascii_only else text, theme.style(role, self.palette))
            for text, role in self.lines[y]
            if text
        ]
        return Strip(segments).simplify().adjust_cell_length(self.size.width, theme.style("", self.palette))

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return container.width

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self.lines)


def changed_columns(before: Line, after: Line) -> tuple[int, int]:
    """[first, last) columns in which two lines differ in a character or its role."""
    a, b = _cells(before), _cells(after)
    if len(a) != len(b):
        return 0, max(len(a), len(b))
    differing = [n for n, (x, y) in enumerate(zip(a, b, strict=True)) if x != y]
    return (differing[0], differing[-1] + 1) if differing else (0, 0)


def _cells(line: Line) -> list[tuple[str, str]]:
    """(character, role) per column; a wide character fills two."""
    cells: list[tuple[str, str]] = []
    for text, role in line:
        if text.isascii():
            cells.extend((char, role) for char in text)
            continue
        for char in text:
            columns = words.width(char)
            cells.extend([(char, role)] * columns)
    return cells
