"""The dialogs: choose from a list, answer a question, give a line of text. Esc always leaves without doing anything."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from fts.jobs.status import formatting
from fts.tui.render.text import Line, Span, clip, fill, with_role, wrapped
from fts.tui.widgets.lines import Lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events
    from textual.app import ComposeResult

Answer = TypeVar("Answer")


class Dialog(ModalScreen[Answer]):
    """A box of lines in the middle of the screen; the picture behind it stays."""

    DEFAULT_CSS = """
    Dialog { align: center middle; background: transparent; }
    Dialog > Vertical { width: auto; height: auto; padding: 0 1; background: $background; }
    Dialog > Vertical { border: solid $foreground 60%; }
    Dialog Lines { width: auto; height: auto; }
    Dialog Input { width: 100%; height: 1; border: none; padding: 0; background: $background; }
    Dialog Input:focus { border: none; background-tint: transparent 0%; }
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
            yield Lines(id="lines")
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
        if not self.query(Lines):
            return
        canvas = self.query_one(Lines)
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
        self.query_one(Lines).show(lines)

    def redraw(self) -> None:
        """Paints again at the same size."""
        canvas = self.query_one(Lines)
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


# ---------------------------------------------------------------- choose


@dataclass(frozen=True)
class Choice:
    """One line of a chooser."""

    id: str
    label: str
    key: str = ""
    note: str = ""
    why_not: str = ""  # greyed, with the reason


KEY, LABEL = 9, 27  # columns of a choice's key and label at most; a list without keys has no column for them
FOOT = 3  # rows in which the chosen one's note stands in full


class Chooser(Dialog[str]):
    """A list that narrows while one types: palette, help, copy menu. Enter takes, arrows move."""

    has_input = True

    def __init__(self, title: str, choices: Sequence[Choice], palette: str, ascii_only: bool, width: int = 92) -> None:
        super().__init__(title, palette, ascii_only)
        self.choices = list(choices)
        self.shown = self.choices
        self.cursor = 0
        self.box_width, self.box_height = width, len(self.choices) + 1
        self.key_columns = KEY if any(choice.key for choice in self.choices) else 0
        self.label_columns = min(max((formatting.width(choice.label) for choice in self.choices), default=0) + 2, LABEL)
        self.note_at = 2 + self.key_columns + self.label_columns

    def placeholder(self) -> str:
        return "type to search"

    def on_input_changed(self, event: Input.Changed) -> None:
        wanted = event.value.lower().split()
        self.shown = [c for c in self.choices if all(w in f"{c.label} {c.key} {c.note} {c.id}".lower() for w in wanted)]
        self.cursor = 0
        self.redraw()

    def on_input_submitted(self) -> None:
        if self.shown:
            self.dismiss(self.shown[self.cursor].id)

    async def on_key(self, event: events.Key) -> None:
        steps = {"down": 1, "up": -1, "pagedown": 10, "pageup": -10, "ctrl+n": 1, "ctrl+p": -1}
        if event.key in steps and self.shown:
            event.stop()
            event.prevent_default()
            self.cursor = min(max(self.cursor + steps[event.key], 0), len(self.shown) - 1)
            self.redraw()
            return
        await super().on_key(event)

    def lines(self, width: int, height: int) -> list[Line]:
        if not self.shown:
            return [(("nothing matches; Esc leaves", "dim"),)]
        whole = self._whole(width) if height >= 3 * FOOT else []
        height -= len(whole)
        scrolls = len(self.shown) > height and height > 2
        height -= scrolls
        first = min(max(self.cursor - height // 2, 0), max(len(self.shown) - height, 0))
        shown = self.shown[first : first + height]
        rows = [self._line(choice, first + n == self.cursor, width) for n, choice in enumerate(shown)]
        more = [_more(first, first + len(shown), len(self.shown))] if scrolls else []
        return [*rows, *([()] * (height - len(rows)) if whole else []), *more, *whole]

    def _whole(self, width: int) -> list[Line]:
        """The chosen row's note in full, where notes are too long for their column."""
        if all(formatting.width(choice.why_not or choice.note) <= width - self.note_at for choice in self.choices):
            return []
        chosen = self.shown[self.cursor]
        text = wrapped(chosen.why_not or chosen.note, width)[: FOOT - 1]
        return [(("─" * width, "rule"),), *(((row, ""),) for row in text), *([()] * (FOOT - 1 - len(text)))]

    def _line(self, choice: Choice, selected: bool, width: int) -> Line:
        label = "dim" if choice.why_not else ""
        note = choice.why_not or choice.note
        spans: list[Span] = [
            ("► " if selected else "  ", "key"),
            (formatting.fit(choice.key, self.key_columns), "key"),
            (formatting.fit(choice.label, self.label_columns), label),
            (formatting.cut(note, max(width - self.note_at, 0)), "dim"),
        ]
        line = fill(spans, (), width)
        return with_role(line, "cursor") if selected else line


def _more(first: int, last: int, of: int) -> Line:
    """`↑ 3 above · ↓ 21 below`: a list that goes on beyond the box says so."""
    above, below = f"↑ {first} above" if first else "", f"↓ {of - last} below" if last < of else ""
    return (("  " + " · ".join(filter(None, (above, below))), "key"),)


# ---------------------------------------------------------------- confirm


NO = " No "


class Confirm(Dialog[bool]):
    """A question with its price. The focus is on No: Enter and Esc leave, only `y` does it."""

    def __init__(self, question: str, effects: Sequence[str], palette: str, ascii_only: bool, yes: str = "yes") -> None:
        super().__init__(question, palette, ascii_only)
        self.effects, self.yes = list(effects), yes
        answers = formatting.width("   ".join((NO, *self._answers)))
        self.box_width = min(max(*map(len, [question, *effects]), answers - 2, 42) + 2, 76)

    @property
    def _answers(self) -> tuple[str, str]:
        return f"y = {self.yes}", "Esc or Enter = no"

    def height_at(self, width: int) -> int:
        return len(self._wrapped(width)) + 1 + len(self._answer_lines(width))

    def _wrapped(self, width: int) -> list[str]:
        return [part for effect in self.effects for part in wrapped(effect, width)]

    def lines(self, width: int, height: int) -> list[Line]:
        lines: list[Line] = [((text, ""),) for text in self._wrapped(width)]
        answers = self._answer_lines(width)
        return [*lines[: max(height - 1 - len(answers), 1)], (), *answers]

    def _answer_lines(self, width: int) -> list[Line]:
        """In one line, or one under another where that is too narrow."""
        yes, no = self._answers
        text = f"   {yes}   {no}"
        if formatting.width(NO + text) <= width:
            return [((NO, "choice"), (text, "dim"))]
        return [((NO, "choice"), (f"   {no}", "dim")), ((yes, "dim"),)]

    async def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        if event.key in ("y", "n", "escape", "enter", "q"):
            self.dismiss(event.key == "y")


# ---------------------------------------------------------------- a line of text


class Ask(Dialog[str]):
    """A line of text: a note, a filter, or the word that an irreversible action demands."""

    has_input = True

    def __init__(
        self, title: str, hint: str, palette: str, ascii_only: bool, value: str = "", demanded: str | None = None
    ) -> None:
        super().__init__(title, palette, ascii_only)
        self.hint, self.value, self.demanded = hint, value, demanded
        self.box_width = 64

    def height_at(self, width: int) -> int:
        return len(wrapped(self.hint, width)) or 1

    def start_value(self) -> str:
        return self.value

    def lines(self, width: int, height: int) -> list[Line]:
        return [((text, "dim"),) for text in wrapped(self.hint, width)]

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if self.demanded is not None and event.value.strip() != self.demanded:
            self.hint = f"that is not {self.demanded!r}: nothing was done"
            self.fit()
            return
        self.dismiss(event.value)


class Notice(Dialog[None]):
    """Lines to read: About. Any key closes it."""

    def __init__(self, title: str, lines: Sequence[Line], palette: str, ascii_only: bool) -> None:
        super().__init__(title, palette, ascii_only)
        self.content = list(lines)
        self.box_height = len(self.content)
        self.box_width = 76

    def lines(self, width: int, height: int) -> list[Line]:
        return self.content

    async def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        self.dismiss(None)
