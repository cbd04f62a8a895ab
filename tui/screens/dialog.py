"""The base classes of dialogs, boxes in the middle of the screen, and a one-line text field. Esc changes nothing.

Dialogs are modal screens of Textual's own widgets, so that keys, mouse and scrollbars work as in other Textual
programs. States are visible without colours: the chosen line and the focused button are inverse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, TypeVar

from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input, Static

from fts.jobs.status import formatting
from fts.tui.key_queue import release
from fts.tui.screens.textual_fixes import MendedScreen

if TYPE_CHECKING:
    from textual.app import ComposeResult

Answer = TypeVar("Answer")

FRAME = 4  # columns of a box for border and padding
LONGEST = 2000  # characters of a text field; a longer paste is cut


class Modal(MendedScreen[Answer], ModalScreen[Answer]):
    """A modal screen that can be dismissed only once."""

    has_opened = False  # whether one of its widgets has had the focus

    def dismiss(self, result: Answer | None = None) -> AwaitComplete:
        """Does nothing after the first call: Textual would close the screen below, or end the app."""
        return super().dismiss(result) if self.is_active else AwaitComplete()

    def set_focus(self, widget: Widget | None, scroll_visible: bool = True, from_app_focus: bool = False) -> None:
        super().set_focus(widget, scroll_visible, from_app_focus)
        self.has_opened = self.has_opened or self.focused is not None
        release(widget)

    def on_screen_suspend(self) -> None:
        """Drops the drawn lines: Textual 8.2 caches those of the last 1,024 widgets, 0.5 MB per closed dialog."""
        for widget in self.walk_children(Widget, with_self=True):
            widget.refresh()
            if widget.show_vertical_scrollbar:
                widget.vertical_scrollbar.refresh()


class Dialog(Modal[Answer]):
    """A box in the middle of the screen; the screen below stays visible around it."""

    DEFAULT_CSS = """
    Dialog { align: center middle; background: transparent; }
    Dialog #box {
        width: 76; max-width: 100%; height: auto; max-height: 100%; padding: 0 1;
        border: solid $foreground; background: $background; color: $foreground;
        border-title-style: bold; border-subtitle-color: $foreground;
    }
    Dialog.-ascii #box { border: ascii $foreground; }
    Dialog #body { height: auto; scrollbar-size-vertical: 1; }
    Dialog #text { height: auto; width: 100%; }
    Dialog Input, Dialog Input:focus {
        height: 1; border: none; padding: 0; background: $background; background-tint: transparent 0%;
    }
    Dialog OptionList, Dialog OptionList:focus {
        height: auto; border: none; padding: 0; background: $background; background-tint: transparent 0%;
        scrollbar-size-vertical: 1;
        & > .option-list--option { padding: 0; }
        & > .option-list--option-highlighted { color: $background; background: $foreground; text-style: none; }
        & > .option-list--option-disabled { color: $foreground; text-style: bold underline; }
        & > .option-list--option-hover { background: $background; text-style: underline; }
    }
    Dialog OptionList:ansi > .option-list--option-highlighted { color: $foreground; background: $background; }
    Dialog Input:ansi {
        color: $foreground;
        & > .input--placeholder { color: $foreground; text-style: none; }
        & > .input--cursor { color: $foreground; background: $background; text-style: reverse; }
        & > .input--selection { color: $foreground; background: $background; text-style: underline; }
    }
    Dialog #answers { height: auto; width: 100%; }
    Dialog Button { margin-right: 2; color: $foreground; background: $background; text-style: none; min-width: 6; }
    Dialog Button:hover { text-style: underline; background: $background; }
    Dialog Button:focus { text-style: bold reverse; background-tint: transparent 0%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "leave", show=False)]
    HOLDS_KEYS = True  # KeyQueue holds keys until a field has the focus
    WIDTH = 72  # columns of the text at most
    BESIDE = 0  # rows of the box that do not scroll, without the border

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title_text = title

    def on_mount(self) -> None:
        box = self.query_one("#box")
        box.border_title = Content(self.shown(self.title_text))  # no markup: cell names may contain brackets
        self.fit()

    def on_resize(self) -> None:
        self.fit()

    def fit(self) -> None:
        """Sets the width of the box to its text, and the height of the scrolling part to the room that is left."""
        self.query_one("#box").styles.width = min(self.wanted_width(), self.WIDTH) + FRAME
        room = max(self.app.size.height - 2 - self.BESIDE, 1)
        for part in self.query("#body, OptionList"):
            part.styles.max_height = room

    def wanted_width(self) -> int:
        """Returns the columns that the text needs without wrapping."""
        return self.WIDTH

    @property
    def text_width(self) -> int:
        """Columns of a line in the box now, without the scrollbar."""
        return max(min(self.wanted_width(), self.WIDTH, self.app.size.width - FRAME) - 1, 10)

    @property
    def ascii_only(self) -> bool:
        return bool(getattr(self.app, "ascii_only", False))

    def shown(self, text: str) -> str:
        """Returns the text in ASCII if this terminal needs that."""
        return formatting.to_ascii(text) if self.ascii_only else text

    def compose(self) -> ComposeResult:
        self.set_class(self.ascii_only, "-ascii")
        with Vertical(id="box"):
            yield from self.parts()

    def parts(self) -> ComposeResult:
        """Yields the widgets in the box."""
        yield Static(id="text")

    def action_leave(self) -> None:
        self.dismiss(None)


class LineOfText(Input):
    """A one-line text field. Its cursor does not blink, because that never stops sending bytes.

    A paste that is too long is cut; Textual would drop it.
    """

    def __init__(self, value: str = "", placeholder: str = "", longest: int = LONGEST) -> None:
        super().__init__(value, placeholder=placeholder, select_on_focus=False, max_length=longest)
        self.cursor_blink = False

    def replace(self, text: str, start: int, end: int) -> None:
        room = (self.max_length or LONGEST) - len(self.value) + abs(end - start)
        super().replace(text[: max(room, 0)], start, end)
