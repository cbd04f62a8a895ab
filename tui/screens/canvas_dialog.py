"""A dialog of painted lines, with keys of its own: the base of the enqueue form. Esc leaves without doing anything."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, TypeVar

from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from fts.jobs.status import formatting
from fts.tui.render.text import Line, clip
from fts.tui.widgets.pane import Pane

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult

Answer = TypeVar("Answer")


class CanvasDialog(ModalScreen[Answer]):
    """A box of lines in the middle of the screen; the picture behind it stays."""

    DEFAULT_CSS = """
    CanvasDialog { align: center middle; background: transparent; }
    CanvasDialog > Vertical { width: auto; height: auto; padding: 0 1; background: $background; }
    CanvasDialog > Vertical { border: solid $foreground 60%; }
    CanvasDialog Pane { width: auto; height: auto; }
    CanvasDialog Input { width: 100%; height: 1; border: none; padding: 0; background: $background; }
    CanvasDialog Input:focus { border: none; background-tint: transparent 0%; }
    """
    AUTO_FOCUS = "Input"
    has_input = False

    def __init__(self, title: str, palette: str, ascii_only: bool) -> None:
        super().__init__()
        self.title_text, self.palette, self.ascii_only = title, palette, ascii_only
        self.box_width, self.box_height = 70, 20

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            if self.has_input:
                yield _input(self.placeholder(), self.start_value())
            yield Pane(self.palette, self.ascii_only, id="lines")
        box.border_title = formatting.to_ascii(self.title_text) if self.ascii_only else self.title_text
        if self.ascii_only:
            box.styles.border = ("ascii", "white")

    def on_mount(self) -> None:
        self.call_after_refresh(self.ready)

    def ready(self) -> None:
        """The box and its children are there."""
        self.fit()

    def on_resize(self) -> None:
        self.fit()

    def fit(self) -> None:
        """As large as wanted, as small as the terminal."""
        width = max(min(self.box_width, self.app.size.width - 4), 20)
        height = max(min(self.height_at(width), self.app.size.height - 2 - 1 * self.has_input), 3)
        if not self.query(Pane):
            return
        canvas = self.query_one(Pane)
        canvas.styles.width, canvas.styles.height = width, height
        if self.has_input:
            self.query_one(Input).styles.width = width
        self.draw(width, height)

    def height_at(self, width: int) -> int:
        """Rows that are wanted at a width: a dialog of sentences needs more of them where it is narrow."""
        return self.box_height

    def draw(self, width: int, height: int) -> None:
        lines = [clip(line, width) for line in self.lines(width, height)][:height]
        lines += [clip((), width)] * (height - len(lines))
        self.query_one(Pane).show(lines)

    def redraw(self) -> None:
        """Paints again at the same size."""
        canvas = self.query_one(Pane)
        width, height = canvas.styles.width, canvas.styles.height
        if width is not None and height is not None:
            self.draw(int(width.value), int(height.value))

    def placeholder(self) -> str:
        return ""

    def start_value(self) -> str:
        return ""

    @abstractmethod
    def lines(self, width: int, height: int) -> list[Line]:
        """What stands in the box."""

    async def on_key(self, event: events.Key) -> None:
        if event.key == "escape":
            event.stop()
            event.prevent_default()
            self.dismiss(None)


def _input(placeholder: str, value: str) -> Input:
    field = Input(value, placeholder=placeholder, select_on_focus=False)
    field.cursor_blink = False  # a blinking cursor sends bytes for ever
    return field
