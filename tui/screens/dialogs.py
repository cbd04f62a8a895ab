"""The dialogs: choose from a list, answer a question, give a line of text, read a notice. Esc always leaves unchanged.

Modal screens of Textual's own widgets, so that keys, mouse and scrollbars work as in every other program on Textual.
States are visible without a colour: the chosen line and the focused button are inverse.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option

from fts.frozen import dataclass
from fts.jobs.status import formatting
from fts.tui.render.text import wrapped
from fts.tui.typed_ahead import release

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events
    from textual.app import ComposeResult
    from textual.widget import Widget

Answer = TypeVar("Answer")

FRAME = 4  # columns of a box that are border and padding
LONGEST = 2000  # characters of a line of text; a longer paste is cut there


class Dialog(ModalScreen[Answer]):
    """A box in the middle of the screen; the picture behind it stays."""

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
    HOLDS_KEYS = True  # until a field has the focus
    WIDTH = 72  # columns of the text at most
    BESIDE = 0  # rows of the box that do not scroll, without its border

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title_text = title

    def set_focus(self, widget: Widget | None, scroll_visible: bool = True, from_app_focus: bool = False) -> None:
        super().set_focus(widget, scroll_visible, from_app_focus)
        release(widget)

    def on_mount(self) -> None:
        box = self.query_one("#box")
        box.border_title = Content(self.shown(self.title_text))  # not markup: names of cells may have brackets
        self.fit()

    def on_resize(self) -> None:
        self.fit()

    def fit(self) -> None:
        """As wide as the words, and what scrolls as high as there is room beside what does not."""
        self.query_one("#box").styles.width = min(self.wanted_width(), self.WIDTH) + FRAME
        room = max(self.app.size.height - 2 - self.BESIDE, 1)
        for part in self.query("#body, OptionList"):
            part.styles.max_height = room

    def wanted_width(self) -> int:
        """Columns of text in which no line must be broken."""
        return self.WIDTH

    @property
    def text_width(self) -> int:
        """Columns that a line of the box has now, beside a scrollbar."""
        return max(min(self.wanted_width(), self.WIDTH, self.app.size.width - FRAME) - 1, 10)

    @property
    def ascii_only(self) -> bool:
        return bool(getattr(self.app, "ascii_only", False))

    def shown(self, text: str) -> str:
        """As this terminal can show it."""
        return formatting.to_ascii(text) if self.ascii_only else text

    def compose(self) -> ComposeResult:
        self.set_class(self.ascii_only, "-ascii")
        with Vertical(id="box"):
            yield from self.parts()

    def parts(self) -> ComposeResult:
        """What stands in the box."""
        yield Static(id="text")

    def action_leave(self) -> None:
        self.dismiss(None)


class LineOfText(Input):
    """A field for one line, with a cursor that does not blink: a blinking one sends bytes for ever.

    A paste that is too long is cut; Textual would leave it out.
    """

    def __init__(self, value: str = "", placeholder: str = "", longest: int = LONGEST) -> None:
        super().__init__(value, placeholder=placeholder, select_on_focus=False, max_length=longest)
        self.cursor_blink = False

    def replace(self, text: str, start: int, end: int) -> None:
        room = (self.max_length or LONGEST) - len(self.value) + abs(end - start)
        super().replace(text[: max(room, 0)], start, end)


# ---------------------------------------------------------------- choose


@dataclass(frozen=True)
class Choice:
    """One line of a chooser; without an id it is a heading."""

    id: str
    label: str
    key: str = ""
    note: str = ""
    why_not: str = ""  # it cannot be done now, for this reason; it stays in the list

    @property
    def words(self) -> str:
        return f"{self.label} {self.key} {self.note} {self.why_not} {self.id}".lower()


KEY, LABEL = 12, 26  # columns of a choice's key and label at most; a list without keys has no column for them


class Chooser(Dialog[str]):
    """A list that narrows while one types: copy menu, kinds of files, help. Enter or a click takes, arrows move."""

    AUTO_FOCUS = "Input"
    BESIDE = 1
    WIDTH = 116
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,ctrl+n", "list('cursor_down')", show=False),
        Binding("up,ctrl+p", "list('cursor_up')", show=False),
        Binding("pagedown", "list('page_down')", show=False),
        Binding("pageup", "list('page_up')", show=False),
        Binding("ctrl+home", "list('first')", show=False),
        Binding("ctrl+end", "list('last')", show=False),
    ]

    def __init__(self, title: str, choices: Sequence[Choice], width: int = 92) -> None:
        super().__init__(title)
        self.choices = list(choices)
        self.matching = self.choices
        self.width = width
        self._inverse: Option | None = None
        keys = max((formatting.width(choice.key) for choice in self.choices if choice.id), default=0)
        self.key_columns = min(keys + 2, KEY) if keys else 0
        labels = max((formatting.width(choice.label) for choice in self.choices if choice.id), default=0)
        self.label_columns = min(labels + 2, LABEL)

    def parts(self) -> ComposeResult:
        yield LineOfText(placeholder="(type to search)", longest=100)
        yield OptionList(markup=False)

    def on_resize(self) -> None:  # also the first time
        super().on_resize()
        self.query_one(OptionList).styles.min_height = 0
        self.fill()
        self.call_after_refresh(self._keep_height)

    def _keep_height(self) -> None:
        """The box stays where it is while the list narrows."""
        options = self.query_one(OptionList)
        options.styles.min_height = options.size.height

    def wanted_width(self) -> int:
        beside = self.key_columns + self.label_columns
        notes = max((formatting.width(c.note) + formatting.width(c.why_not) + 12 for c in self.choices), default=0)
        return min(beside + notes, self.width)

    def fill(self) -> None:
        """The list as it is now wanted, broken to the width of the box; the chosen line stays chosen."""
        options = self.query_one(OptionList)
        before = options.highlighted_option.id if options.highlighted_option is not None else None
        options.set_options(
            Option(self._lines(choice), id=f"{n} {choice.id}", disabled=not choice.id)
            for n, choice in enumerate(self.matching)
        )
        if not self.matching:
            options.add_option(Option("nothing matches; Esc leaves", disabled=True))
        ids = [option.id for option in options.options]
        first = next((n for n, choice in enumerate(self.matching) if choice.id), None)
        options.highlighted = ids.index(before) if before in ids else first

    def _lines(self, choice: Choice) -> Content:
        """Key, label and note side by side; what does not fit goes on below, under its beginning."""
        width = self.text_width
        if not choice.id:
            return Content(self.shown(choice.label))
        note = " · ".join(filter(None, (choice.note, choice.why_not and f"not now: {choice.why_not}")))
        before = self.key_columns + self.label_columns
        rows = wrapped(note, width - before)
        long = formatting.width(choice.label) > self.label_columns or formatting.width(choice.key) > self.key_columns
        if width - before < 30 or long:  # too narrow for columns: the note below its label
            head = f"{choice.key}  {choice.label}" if choice.key else choice.label
            below = [f"  {row}" for row in wrapped(note, width - 2)]
            return Content(self.shown("\n".join([*wrapped_words(head, width), *below])))
        head = formatting.fit(choice.key, self.key_columns) + formatting.fit(choice.label, self.label_columns)
        text = "\n".join([head + (rows[0] if rows else ""), *(" " * before + row for row in rows[1:])])
        return Content(self.shown(text.rstrip()))

    def on_input_changed(self, event: Input.Changed) -> None:
        self.matching = found(self.choices, event.value)
        self.query_one(OptionList).highlighted = None
        self.fill()

    def on_input_submitted(self) -> None:
        self.action_list("select")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.take(self.matching[event.option_index])

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        self._inverse = mark(event.option_list, event.option, self._inverse)

    def take(self, choice: Choice) -> None:
        """Enter or a click."""
        self.dismiss(choice.id)

    def action_list(self, action: str) -> None:
        """A movement of the list, while the cursor of typing stays in the line above it."""
        getattr(self.query_one(OptionList), f"action_{action}")()

    def on_click(self, event: events.Click) -> None:
        if self.get_widget_at(event.screen_x, event.screen_y)[0] is self:  # beside the box
            self.dismiss(None)


def mark(options: OptionList, chosen: Option, before: Option | None) -> Option:
    """Makes the chosen line inverse where it has the terminal's own colours; returns it, for the next time.

    A style sheet cannot: of an option's style Textual keeps bold and underline only.
    """
    if options.app.native_ansi_color:
        for option, inverse in ((before, False), (chosen, True)):
            if option in options.options and option is not None and isinstance(option.prompt, Content):
                text = option.prompt.plain
                prompt = Content(text).stylize("reverse") if inverse else Content(text)
                options.replace_option_prompt_at_index(options.options.index(option), prompt)
    return chosen


def found(choices: Sequence[Choice], text: str) -> list[Choice]:
    """The choices that have all these words, under their headings; a heading without any is left out."""
    wanted = text.lower().split()
    kept: list[Choice] = []
    heading: Choice | None = None
    for choice in choices:
        if not choice.id:
            heading = choice
        elif all(word in choice.words for word in wanted):
            kept += [heading, choice] if heading is not None else [choice]
            heading = None
    return kept


def wrapped_words(text: str, width: int) -> list[str]:
    """As `wrapped`, a word longer than the line broken, too: a path must be readable whole."""
    rows: list[str] = []
    for row in wrapped(text, width):
        while formatting.width(row) > width:
            head = formatting.cut(row, width, "")
            rows.append(head)
            row = row[len(head) :]
        rows.append(row)
    return rows


# ---------------------------------------------------------------- confirm


class Confirm(Dialog[bool]):
    """A question with its price. The focus is on No: Enter and Esc leave, `y` or a click on the answer does it."""

    AUTO_FOCUS = "#no"
    SETTLE_S: ClassVar[float] = 0.3  # typed ahead: nobody can have read the question yet
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


# ---------------------------------------------------------------- a line of text


class Ask(Dialog[str]):
    """A line of text: a note, a filter, or the word that an irreversible action demands."""

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


# ---------------------------------------------------------------- a notice


class Notice(Dialog[None]):
    """Lines to read: About. Arrows scroll, every other key closes it."""

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
        rows = [row for line in self.content for row in wrapped_words(line, self.text_width) or [""]]
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
