"""Scrollbars with a thumb of whole characters: visible without colours, and redrawn less often."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment, Segments
from rich.style import Style
from textual.scrollbar import ScrollBar, ScrollBarRender

from fts.frozen import dataclass
from fts.jobs.status import formatting

if TYPE_CHECKING:
    from typing import Any

THUMB = "█"
UPRIGHT = Style(reverse=False)


@dataclass(frozen=True)
class Extent:
    """The rows of a pane and its visible part."""

    rows: int  # in all
    first: int  # index of the first visible row
    shown: int  # number of visible rows

    @property
    def scrolls(self) -> bool:
        return 0 < self.shown < self.rows


class WholeCells(ScrollBarRender):
    """Textual's scrollbar with a thumb of whole characters."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "]
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "]
    thumb: ClassVar[str] = THUMB

    @classmethod
    def render_bar(cls, *args: Any, **options: Any) -> Segments:
        bar = super().render_bar(*args, **options)
        return Segments([cls._seen(segment) for segment in bar.segments], bar.new_lines)

    @classmethod
    def _seen(cls, segment: Segment) -> Segment:
        """Replaces the thumb, which Textual draws as inverse blanks, by characters."""
        text, style, _ = segment
        if style is None or not style.reverse:
            return segment
        return Segment(cls.thumb * len(text), style + UPRIGHT)


def cells(bar: ScrollBar, height: int) -> list[str]:
    """Returns the character of each row of a scrollbar, for pictures."""
    drawn = WholeCells.render_bar(height, bar.window_virtual_size, bar.window_size, bar.position)
    return [THUMB if text.strip() else " " for text, _, _ in drawn.segments]


def use_whole_cells(ascii_only: bool = False) -> None:
    """Sets this renderer for every scrollbar of the process."""
    WholeCells.thumb = formatting.to_ascii(THUMB) if ascii_only else THUMB
    ScrollBar.renderer = WholeCells
