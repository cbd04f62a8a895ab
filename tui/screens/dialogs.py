"""The small dialogs: confirm, ask for a line of text, show a notice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Input, Static

from fts.jobs.status import formatting
from fts.tui.render.text import whole
from fts.tui.screens.dialog import Dialog, LineOfText

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events
    from textual.app import ComposeResult


class Confirm(Dialog[bool]):
    """A yes-no question with the effects of yes. The focus is on No: Enter and Esc mean no, `y` means yes."""

    AUTO_FOCUS = "#no"
    SETTLE_S: ClassVar[float] = 0.3  # a `y` that comes earlier was typed before the question was visible
    BESIDE = 2
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "yes", show=False),
        Binding("n,q", "leave", show=False),
        Binding("left,right", "other", show=False),
        Binding("down,j", "scroll(1)", show=False),
        Binding("up,k", "scroll(-1)", show=False),
        Binding("pagedown", "scroll(8)", show=False),
        Binding("pageup", "scroll(-8)", show=False),
        Binding("home", "scroll(-9999)", show=False),
        Binding("end", "scroll(9999)", show=False),
    ]

    def __init__(self, question: str, effects: Sequence[str], yes: str = "yes") -> None:
        super().__init__(question)
        self.effects, self.yes = list(effects), yes
        self.appeared_at = 0.0

    def parts(self) -> ComposeResult:
        with VerticalScroll(id="body", can_focus=False):
            yield Static(Content(self.shown("\n".join(self.effects))), id="text")
        with Horizontal(id="answers"):
            yield Button(Content("No"), id="no", compact=True)
            yield Button(Content(self.shown(f"y = {self.yes}")), id="yes", compact=True)

    def on_mount(self) -> None:
        super().on_mount()
        self.appeared_at = time.monotonic()
        self.query_one("#box").border_subtitle = "Esc or Enter = no"

    def wanted_width(self) -> int:
        answers = formatting.width(f"  No      y = {self.yes}  ")
        return max(formatting.width(self.title_text) + 2, answers, 42, *map(formatting.width, self.effects)) + 1

    def action_yes(self) -> None:
        if time.monotonic() - self.appeared_at < self.SETTLE_S:
            self.query_one("#box").border_subtitle = "this question has just appeared: read it, then press y"
            return
        self.dismiss(True)

    def action_leave(self) -> None:
        self.dismiss(False)

    def action_other(self) -> None:
        self.focus_next()

    def action_scroll(self, rows: int) -> None:
        self.query_one("#body").scroll_relative(y=rows, animate=False)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.action_yes() if event.button.id == "yes" else self.action_leave()


class Ask(Dialog[str]):
    """Asks for a line of text: a note, a filter, or the word that confirms an action that cannot be undone."""

    AUTO_FOCUS = "Input"
    BESIDE = 1

    def __init__(self, title: str, hint: str, value: str = "", demanded: str | None = None) -> None:
        super().__init__(title)
        self.hint, self.value, self.demanded = hint, value, demanded

    def parts(self) -> ComposeResult:
        yield LineOfText(self.value)
        with VerticalScroll(id="body", can_focus=False):
            yield Static(Content(self.shown(self.hint)), id="text")

    def wanted_width(self) -> int:
        return 64

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self.demanded is not None and event.value.strip() != self.demanded:
            self.hint = f"that is not {self.demanded!r}: nothing was done"
            self.query_one("#text", Static).update(Content(self.shown(self.hint)))
            return
        self.dismiss(event.value)


class Notice(Dialog[None]):
    """Shows lines to read (About). Arrows scroll; any other key closes it."""

    AUTO_FOCUS = "#body"

    def __init__(self, title: str, lines: Sequence[str]) -> None:
        super().__init__(title)
        self.content = list(lines)

    def parts(self) -> ComposeResult:
        with VerticalScroll(id="body"):
            yield Static(id="text")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#box").border_subtitle = "any key closes"
        self._write()

    def on_resize(self) -> None:
        super().on_resize()
        self._write()

    def _write(self) -> None:
        rows = [row for line in self.content for row in whole(line, self.text_width) or [""]]
        self.query_one("#text", Static).update(Content(self.shown("\n".join(rows))))

    def wanted_width(self) -> int:
        return max(map(formatting.width, [*self.content, self.title_text]), default=20) + 1

    def on_key(self, event: events.Key) -> None:
        if event.key not in ("up", "down", "pageup", "pagedown", "home", "end", "j", "k"):
            event.stop()
            event.prevent_default()
            self.dismiss(None)

    def on_click(self) -> None:
        self.dismiss(None)
