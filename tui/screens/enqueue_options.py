"""The options of the chosen study, a row each: its name, what to type or choose, and its line of the help below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


class Tick(Checkbox):
    """A checkbox that is read without colours."""

    BUTTON_LEFT, BUTTON_INNER, BUTTON_RIGHT = "[", " ", "]"

    def watch_value(self) -> None:
        self.BUTTON_INNER = "x" if self.value else " "
        super().watch_value()
        self.refresh(layout=True)


class FieldRow(Vertical):
    """One option."""

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
        control.cursor_blink = False  # a blinking one sends bytes for ever
        return control

    def on_key(self, event: events.Key) -> None:
        """A key that turns a page does nothing in a menu without room, where Textual would fail."""
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
        """One sentence under the field: why its value is refused; empty: it is not."""
        if problem == self.problem:
            return
        self.problem = problem
        said = self.query_one(".help", Static)
        said.update(f"! {problem}" if problem else self.field.help)
        said.set_class(bool(problem), "problem")

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self.query_one(".name", Label).update(f"> {self.field.label}")

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        self.query_one(".name", Label).update(f"  {self.field.label}")


class Options(VerticalScroll, can_focus=False):
    """Every option; it makes its rows when it is shown for the first time."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.fields: tuple[Field, ...] = ()
        self._of = ""

    async def show(self, key: str, fields: Sequence[Field], typed: Mapping[str, str]) -> None:
        """Rows are made anew only for another study, or when its options have changed."""
        if (key, tuple(fields)) == (self._of, self.fields):
            return
        self._of, self.fields = key, tuple(fields)
        focused = next((row.field.name for row in self.rows() if row.has_focus_within), None)
        async with self.batch():
            await self.remove_children()
            await self.mount_all(FieldRow(field, typed.get(field.name, field.default)) for field in fields)
        if focused is not None:
            for row in self.rows():
                if row.field.name == focused and (controls := row.query("Input, Select, Tick")):
                    controls.first().focus()

    def tell(self, problems: Mapping[str, str]) -> None:
        for row in self.rows():
            row.tell(problems.get(row.field.name, ""))

    def rows(self) -> Iterator[FieldRow]:
        yield from self.query(FieldRow)
