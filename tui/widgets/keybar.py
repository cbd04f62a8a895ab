"""The last line: the keys that matter here, most useful first, `? help` always at the right; or a toast."""

from __future__ import annotations

from jobs.glance import words
from tui.paint import Line, Span, fill
from tui.view import View

HELP: Line = (("?", "key"), (" help", "dim"))


def paint(view: View, width: int) -> Line:
    """As many hints as fit whole; none is cut in half."""
    if view.toast:
        return fill([(" ", ""), (view.toast, view.toast_role)], HELP, width)
    if view.problem:
        return fill([(f" {view.problem}", "error")], HELP, width)
    left: list[Span] = [(" ", "")]
    room = width - 1 - 7 - 2
    if view.marks or view.hidden_marks:
        told = f"{len(view.marks)} marked" + (f", {view.hidden_marks} hidden" if view.hidden_marks else "")
        left += [(told, "mark"), ("  ", "")]
        room -= words.width(told) + 2
    if view.pending:
        left += [(view.pending, "look"), ("  ", "")]
        room -= words.width(view.pending) + 2
    for hint in view.hints:
        label = f" {hint.label}  "
        need = words.width(hint.key) + words.width(label)
        if need - 2 > room:
            continue
        left += [(hint.key, "key"), (label, "")]
        room -= need
    return fill(left, HELP, width)
