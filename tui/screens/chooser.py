"""A dialog with a list to choose from; typing filters it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from fts.frozen import dataclass
from fts.jobs.status import formatting
from fts.tui.render.text import whole, wrapped
from fts.tui.screens.dialog import Dialog, LineOfText

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events
    from textual.app import ComposeResult


@dataclass(frozen=True)
class Choice:
    """One line of a chooser; a line without an id is a heading."""

    id: str
    label: str
    key: str = ""
    note: str = ""
    why_not: str = ""  # why it cannot be done now; empty: it can

    @property
    def words(self) -> str:
        return f"{self.label} {self.key} {self.note} {self.why_not} {self.id}".lower()


KEY, LABEL = 12, 26  # columns of a choice's key and label at most; a list without keys has no key column


class Chooser(Dialog[str]):
    """A list that typing filters: copy menu, kinds of files, help. Enter or a click chooses, arrows move."""

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
        yield PagedList(markup=False)

    def on_resize(self) -> None:  # also the first time
        super().on_resize()
        self.query_one(OptionList).styles.min_height = 0
        self.fill()
        self.call_after_refresh(self._keep_height)

    def _keep_height(self) -> None:
        """Keeps the height of the box while the list gets shorter."""
        for options in self.query(OptionList):  # empty if the dialog was closed meanwhile
            options.styles.min_height = options.size.height

    def wanted_width(self) -> int:
        beside = self.key_columns + self.label_columns
        notes = max((formatting.width(c.note) + formatting.width(c.why_not) + 12 for c in self.choices), default=0)
        return min(beside + notes, self.width)

    def fill(self) -> None:
        """Fills the list with the matching choices, wrapped to the width of the box; keeps the highlighted one."""
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
        """Formats a choice: key, label and note in columns; the note wraps below its beginning."""
        width = self.text_width
        if not choice.id:
            return Content(self.shown(choice.label))
        note = " · ".join(filter(None, (choice.note, choice.why_not and f"not now: {choice.why_not}")))
        before = self.key_columns + self.label_columns
        rows = wrapped(note, width - before)
        labels, keys = formatting.width(choice.label), formatting.width(choice.key)
        long = labels >= self.label_columns or keys >= max(self.key_columns, 1)  # a blank stands before the next column
        if width - before < 30 or long:  # too narrow for columns: the note goes below the label
            head = f"{choice.key}  {choice.label}" if choice.key else choice.label
            below = [f"  {row}" for row in wrapped(note, width - 2)]
            return Content(self.shown("\n".join([*whole(head, width), *below])))
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
        shown = {f"{n} {choice.id}": choice for n, choice in enumerate(self.matching)}
        if event.option_id in shown:  # else the list has changed since
            self.take(shown[event.option_id])

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        self._inverse = mark(event.option_list, event.option, self._inverse)

    def take(self, choice: Choice) -> None:
        """Chooses a line: Enter or a click."""
        self.dismiss(choice.id)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return has_room(self.query_one(OptionList)) if action == "list" else super().check_action(action, parameters)

    def action_list(self, action: str) -> None:
        """Moves in the list while the focus stays in the input above it."""
        getattr(self.query_one(OptionList), f"action_{action}")()

    def on_click(self, event: events.Click) -> None:
        if self.get_widget_at(event.screen_x, event.screen_y)[0] is self:  # outside the box
            self.dismiss(None)


def has_room(options: OptionList) -> bool:
    """Returns whether a list has a region and its lines. Without them Textual raises at a page key."""
    if not options.is_mounted or not options.scrollable_content_region:
        return False
    options.scroll_to_highlight()  # lays out lines that were added since the last frame
    return True


class PagedList(OptionList):
    """An OptionList that ignores keys while it has no lines on the screen."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return has_room(self) and super().check_action(action, parameters)


def mark(options: OptionList, chosen: Option, before: Option | None) -> Option:
    """Draws the chosen line inverse if the terminal's own colours are used. Returns it, as `before` of the next call.

    A style sheet cannot do this: Textual keeps only bold and underline of an option's style.
    """
    if options.app.native_ansi_color:
        for option, inverse in ((before, False), (chosen, True)):
            if option in options.options and option is not None and isinstance(option.prompt, Content):
                text = option.prompt.plain
                prompt = Content(text).stylize("reverse") if inverse else Content(text)
                options.replace_option_prompt_at_index(options.options.index(option), prompt)
    return chosen


def found(choices: Sequence[Choice], text: str) -> list[Choice]:
    """Returns the choices that contain all words of `text`, with their headings; without headings that have none."""
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
