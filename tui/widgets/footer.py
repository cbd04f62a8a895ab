"""The last line: the keys that matter here, most useful first, `? help` always at the right; or a toast."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.status import formatting
from fts.tui.render.text import Line, Span, clip, fill, wrapped
from fts.tui.widgets.pane import Pane

if TYPE_CHECKING:
    from fts.tui.data.view import View

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
    left: list[Span] = [(" ", "")]
    room = width - 1 - formatting.width(view.help_key) - 6 - 2
    if view.marks or view.hidden_marks:
        told = f"{len(view.marks)} marked" + (f", {view.hidden_marks} hidden" if view.hidden_marks else "")
        left += [(told, "mark"), ("  ", "")]
        room -= formatting.width(told) + 2
    if view.pending:
        left += [(view.pending, "look"), ("  ", "")]
        room -= formatting.width(view.pending) + 2
    for hint in view.hints:
        label = f" {hint.label}  "
        need = formatting.width(hint.key) + formatting.width(label)
        if need - 2 > room:
            continue
        left += [(hint.key, "key"), (label, "")]
        room -= need
    return fill(left, _help(view), width)


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
