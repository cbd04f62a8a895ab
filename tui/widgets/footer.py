"""The key bar in the last line: the most useful keys, `? help` at the right; or a message."""

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

MOST = 3  # rows of a message at most


def rows(view: View, width: int) -> list[Line]:
    """Paints the bar. A message that is longer than a line also takes rows above."""
    text, role = (view.toast, view.toast_role) if view.toast else (f" {view.problem}" if view.problem else "", "error")
    room = max(width - formatting.width(f"{view.help_key} help") - 2, 10)
    if formatting.width(text) <= room:
        return [paint(view, width)]
    parts = wrapped(text, room)
    if len(parts) > MOST:
        parts = [*parts[: MOST - 1], formatting.cut(" ".join(parts[MOST - 1 :]), room)]
    above: list[Line] = [clip(((f" {part}", role),), width) for part in parts[:-1]]
    return [*above, fill([(" ", ""), (parts[-1], role)], _help(view), width)]


def paint(view: View, width: int) -> Line:
    """Paints the bar in one line, with as many hints as fit completely."""
    if view.toast:
        return fill([(" ", ""), (view.toast, view.toast_role)], _help(view), width)
    if view.problem:
        return fill([(f" {view.problem}", "error")], _help(view), width)
    left = _before(view)
    for _, hint in placed(view, width):
        left += [(hint.key, "key"), (f" {hint.label}  ", "")]
    return fill(left, _help(view), width)


def _before(view: View) -> list[Span]:
    """Returns the spans before the hints: the number of marked rows, a pending change."""
    left: list[Span] = [(" ", "")]
    if view.marks or view.hidden_marks:
        marked = f"{len(view.marks)} marked" + (f", {view.hidden_marks} hidden" if view.hidden_marks else "")
        left += [(marked, "mark"), ("  ", "")]
    if view.pending:
        left += [(view.pending, "look"), ("  ", "")]
    return left


def placed(view: View, width: int) -> Iterator[tuple[int, Hint]]:
    """Yields (column, hint) of the hints that fit completely; none while a message is shown."""
    at = sum(formatting.width(text) for text, _ in _before(view))
    for hint in () if view.toast or view.problem else view.hints:
        end = at + formatting.width(f"{hint.key} {hint.label}")
        if end <= width - formatting.width(f"{view.help_key} help") - 3:
            yield at, hint
            at = end + 2


def clicked(view: View, width: int, x: int) -> str:
    """Returns the id of the key or action at a column; in a pair such as `J/K` the id of the clicked letter."""
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
    """The key bar, or a message, which may cover rows above."""

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

    def fades(self, view: View) -> bool:  # its content is never old
        return False

    def on_click(self, event: events.Click) -> None:
        """Runs the clicked key, or removes a message."""
        event.prevent_default()
        app: Any = self.app
        x, y = event.get_content_offset_capture(self)
        if self.view is None or y < self.size.height - 1:
            return
        if id := clicked(self.view, self.size.width, x):
            app.do(id)
        elif self.view.toast:
            app.say("")
