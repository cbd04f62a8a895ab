"""Scrollbars of whole cells: without the eighths of a block that not every terminal has, and sent less often."""

from __future__ import annotations

from typing import ClassVar

from textual.scrollbar import ScrollBar, ScrollBarRender


class WholeCells(ScrollBarRender):
    """Textual's bar, whose ends are whole cells."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "]
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "]


def use_whole_cells() -> None:
    """For every scrollbar of this process."""
    ScrollBar.renderer = WholeCells
