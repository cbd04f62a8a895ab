"""The last line: the keys that matter here, most useful first, `? help` always at the right; or a toast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.jobs.status import formatting
from fts.tui.keymap import PAIRS
from fts.tui.render.text import Line, Span, clip, fill, wrapped
from fts.tui.widgets.pane import Pane

if TYPE_CHECKING:
    from collections.abc import Iterator

    from textual import events

    from fts.tui.data.view import Hint, View

MOST = 3  # rows that a message may take


def rows(view: View, width: int) -> list[Line]:
    """The bar; a message that is longer than its line takes the rows above it, too, so that it can be read whole."""
    told, role = (view.toast, view.toast_role) if view.toast else (f" {view.problem}" if view.problem else "", "error")
    room = max(width - formatting.width(f"{view.help_key} help") - 2, 10)
    if formatting.width(told) <= room:
        return [paint(view, width)]
    parts = wrapped(told, room)[:MOST]
    above: list[Line] = [clip(((f" {part}", role),), width) for part in parts[:-1]]
    return [*above, fill([(" ", ""), (parts[-1], role)], _help(view), width)]


def paint(view: View, width: int) -> Line:
    """As many hints as fit whole; none is cut in half."""
    if view.toast:
        return fill([(" ", ""), (view.toast, view.toast_role)], _help(view), width)
    if view.problem:
        return fill([(f" {view.problem}", "error")], _help(view), width)
    left = _before(view)
    for _, hint in placed(view, width):
        left += [(hint.key, "key"), (f" {hint.label}  ", "")]
    return fill(left, _help(view), width)


def _before(view: View) -> list[Span]:
    """What stands before the hints."""
    left: list[Span] = [(" ", "")]
    if view.marks or view.hidden_marks:
        told = f"{len(view.marks)} marked" + (f", {view.hidden_marks} hidden" if view.hidden_marks else "")
        left += [(told, "mark"), ("  ", "")]
    if view.pending:
        left += [(view.pending, "look"), ("  ", "")]
    return left


def placed(view: View, width: int) -> Iterator[tuple[int, Hint]]:
    """(column, hint) of those that fit whole; none while a message stands in their place."""
    at = sum(formatting.width(text) for text, _ in _before(view))
    for hint in () if view.toast or view.problem else view.hints:
        end = at + formatting.width(f"{hint.key} {hint.label}")
        if end <= width - formatting.width(f"{view.help_key} help") - 3:
            yield at, hint
            at = end + 2


def clicked(view: View, width: int, x: int) -> str:
    """The id of the key or action at a column; of a pair such as `J/K` the one whose letter was clicked."""
    for at, hint in placed(view, width):
        key = formatting.width(hint.key)
        if at <= x < at + key and (pair := PAIRS.get(hint.id)):
            return pair[2 * (x - at) >= key]
        if at <= x < at + key + 1 + formatting.width(hint.label):
            return hint.id
    return "help" if width - formatting.width(f"{view.help_key} help") <= x else ""


def _help(view: View) -> Line:
    return ((view.help_key, "key"), (" help", "dim"))


class KeyBar(Pane):
    """The keys, or what was just said; a long message covers the rows above its own."""

    DEFAULT_CSS = """
    KeyBar { dock: bottom; height: auto; layer: over; }
    """

    def __init__(self) -> None:
        super().__init__(
            "keys",
            lambda view, width, _: rows(view, width),
            rows=lambda view, width: len(rows(view, width)),
            focus=False,
        )

    def fades(self, view: View) -> bool:  # it speaks of now
        return False

    def on_click(self, event: events.Click) -> None:
        """Does what the key would do; a message in place of the keys goes."""
        event.prevent_default()
        app: Any = self.app
        x, y = event.get_content_offset_capture(self)
        if self.view is None or y < self.size.height - 1:
            return
        if id := clicked(self.view, self.size.width, x):
            app.do(id)
        elif self.view.toast:
            app.say("")
