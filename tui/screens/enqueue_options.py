"""The Options tab of the enqueue form: for each option its name, an input, and its help text below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Checkbox, Input, Label, OptionList, Select, Static

from fts.jobs.api.form import CHOICE, FLAG, YES, Field
from fts.tui.screens.chooser import has_room

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from textual import events
    from textual.app import ComposeResult
    from textual.widget import Widget

UNSET = "(not given)"
HINT = "Enter edits an option; Esc leaves it: then 1 to 4 open the tabs"


class Tick(Checkbox):
    """A checkbox whose state is visible without colours."""

    BUTTON_LEFT, BUTTON_INNER, BUTTON_RIGHT = "[", " ", "]"

    def watch_value(self) -> None:
        self.BUTTON_INNER = "x" if self.value else " "
        super().watch_value()
        self.refresh(layout=True)


class FieldRow(Vertical):
    """The row of one option."""

    class Changed(Message):
        """A value was typed or chosen."""

        def __init__(self, name: str, text: str) -> None:
            super().__init__()
            self.field, self.text = name, text

    def __init__(self, field: Field, text: str) -> None:
        super().__init__(classes="field")
        self.field, self.text = field, text
        self.problem = ""

    def compose(self) -> ComposeResult:
        with Horizontal(classes="control"):
            yield Label(f"  {self.field.label}", classes="name")
            yield self._control()
        yield Static(self.field.help, classes="help", markup=False)

    def _control(self) -> Widget:
        field = self.field
        if field.kind == FLAG:
            return Tick("yes", value=self.text == YES, compact=True)
        if field.kind == CHOICE:
            offered = [(choice or UNSET, choice) for choice in field.choices]
            if self.text not in field.choices:
                offered.append((self.text or UNSET, self.text))
            return Select(offered, value=self.text, allow_blank=False, compact=True)
        hint = " ".join(part for part in (field.metavar, f"[{field.usual}]" if field.usual else "") if part)
        control = Input(self.text, placeholder=hint, compact=True)
        control.cursor_blink = False  # a blinking cursor never stops sending bytes
        return control

    def on_key(self, event: events.Key) -> None:
        """Stops page keys in a menu that has no room on the screen, where Textual would raise."""
        menu = self.screen.focused
        if event.key in ("pageup", "pagedown") and isinstance(menu, OptionList) and not has_room(menu):
            event.stop()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._say(event.value)

    def on_select_changed(self, event: Select.Changed) -> None:
        event.stop()
        self._say("" if event.value is None else str(event.value))

    def on_checkbox_changed(self, event: Checkbox.Changed) -> None:
        event.stop()
        self._say(YES if event.value else "")

    def _say(self, text: str) -> None:
        if text != self.text:
            self.text = text
            self.post_message(self.Changed(self.field.name, text))

    def tell(self, problem: str) -> None:
        """Shows below the field why its value is refused; the help text if `problem` is empty."""
        if problem == self.problem:
            return
        self.problem = problem
        below = self.query_one(".help", Static)
        below.update(f"! {problem}" if problem else self.field.help)
        below.set_class(bool(problem), "problem")

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self.query_one(".name", Label).update(f"> {self.field.label}")

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        self.query_one(".name", Label).update(f"  {self.field.label}")


class Options(VerticalScroll, can_focus=True):
    """The rows of all options.

    The tab opens with the focus here and not in a field: a digit typed next opens a tab, as the digit before it did,
    and does not replace the number of trials.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "step(1)", show=False),
        Binding("down", "step(1)", show=False),
        Binding("up", "step(-1)", show=False),
    ]

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.fields: tuple[Field, ...] = ()
        self._of = ""

    async def show(self, key: str, fields: Sequence[Field], typed: Mapping[str, str]) -> None:
        """Shows the options of a study. Rebuilds the rows only if the study or its options have changed."""
        if (key, tuple(fields)) == (self._of, self.fields):
            return
        self._of, self.fields = key, tuple(fields)
        focused = next((row.field.name for row in self.rows() if row.has_focus_within), None)
        async with self.batch():
            await self.remove_children(FieldRow)
            await self.mount_all(FieldRow(field, typed.get(field.name, field.default)) for field in fields)
        if focused is not None:
            for row in self.rows():
                if row.field.name == focused and (controls := row.query("Input, Select, Tick")):
                    controls.first().focus()

    def compose(self) -> ComposeResult:
        yield Static(HINT, classes="hint")

    def action_step(self, by: int) -> None:
        """Focuses the next or previous option; before the first one none."""
        rows = list(self.rows())
        here = next((n for n, row in enumerate(rows) if row.has_focus_within), -1)
        if not 0 <= here + by < len(rows):
            self.focus()
        elif controls := rows[here + by].query("Input, Select, Tick"):
            controls.first().focus()

    def tell(self, problems: Mapping[str, str]) -> None:
        for row in self.rows():
            row.tell(problems.get(row.field.name, ""))

    def rows(self) -> Iterator[FieldRow]:
        yield from self.query(FieldRow)
