"""The widget that shows a frame: it compares with the frame before and sends only the cells that differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.control import Control
from rich.segment import Segment
from textual._compositor import ChopsUpdate  # private: a test counts the bytes, and would see another Textual
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from fts.jobs.status import formatting
from fts.tui.render import theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

    from fts.tui.render.text import Line

GAP = 12  # unchanged columns between two changes that are cheaper to send again than to jump over


class Pane(Widget, can_focus=False):
    """Shows lines of (text, role) spans; unchanged rows cost nothing and send nothing."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    Pane { width: 1fr; height: 1fr; padding: 0; margin: 0; border: none; }
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
        regions = [
            Region(first, y, last - first, 1)
            for y, (before, after) in enumerate(zip(old, self.lines, strict=True))
            for first, last in changed_runs(before, after)
        ]
        if regions:
            self.repainted += sum(region.width for region in regions)
            self.refresh(*regions)

    def render_line(self, y: int) -> Strip:
        if y >= len(self.lines):
            return Strip.blank(self.size.width, theme.style("", self.palette))
        segments = [
            Segment(formatting.to_ascii(text) if self.ascii_only else text, theme.style(role, self.palette))
            for text, role in self.lines[y]
            if text
        ]
        return Strip(segments).simplify().adjust_cell_length(self.size.width, theme.style("", self.palette))

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return container.width

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self.lines)


def changed_runs(before: Line, after: Line) -> list[tuple[int, int]]:
    """The [first, last) columns in which two lines differ in a character or its role, near ones taken together."""
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
    """(character, role) per column; a wide character fills two."""
    cells: list[tuple[str, str]] = []
    for text, role in line:
        if formatting.width(text) == len(text):
            cells.extend((char, role) for char in text)
            continue
        for char in text:
            columns = formatting.width(char)
            if not columns and cells:
                cells[-1] = (cells[-1][0] + char, role)  # an accent belongs to what stands before it
            cells.extend([(char, role)] * columns)
    return cells


def cropped(renderable: RenderableType | None) -> RenderableType | None:
    """What Textual is about to send, without the unchanged columns left of a change, which it would send again."""
    if isinstance(renderable, ChopsUpdate):
        return Cropped(renderable.chops, renderable.spans, renderable.chop_ends)
    return renderable


class Cropped(ChopsUpdate):
    """An update of some columns of some rows, and of nothing else."""

    def render_segments(self, console: Console) -> str:
        sent: list[str] = []
        for y, first, last in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                if strip is None or x >= last or end <= first:
                    continue
                left = max(first, x)
                sent.append(Control.move_to(left, y).segment.text)
                sent.append(strip.crop(left - x, min(end, last) - x).render(console))
        return "".join(sent)
