"""Lines of a screen: cut and filled to exact widths, laid side by side.

A line is a tuple of (text, role) spans; roles are words such as "failed" or "cursor running" that theme.py turns into
colours. Painting is pure, so a frame can be tested, written to a file and sent to a terminal from the same lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.status import formatting
from fts.jobs.status.headline import Line, Span, cut_spans, fill

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Line",
    "Span",
    "as_text",
    "broken",
    "clip",
    "fill",
    "heading",
    "labelled",
    "line",
    "named",
    "rule",
    "whole",
    "with_role",
    "wrapped",
]


def as_text(painted: Sequence[Line], ascii_only: bool = False) -> str:
    """The lines as text, trailing blanks cut."""
    rows = ("".join(part for part, _ in row).rstrip() for row in painted)
    return "\n".join(formatting.to_ascii(row) if ascii_only else row for row in rows) + "\n"


def clip(painted: Line, width: int) -> Line:
    """The line in exactly `width` columns."""
    used = sum(formatting.width(text) for text, _ in painted)
    if used > width:
        painted = tuple(cut_spans(list(painted), width))
        used = sum(formatting.width(text) for text, _ in painted)
    return (*painted, (" " * (width - used), "")) if used < width else painted


def line(*spans: Span | str) -> Line:
    """A line of spans; a bare string has no role."""
    return tuple(span if isinstance(span, tuple) else (span, "") for span in spans)


def labelled(label: str, text: str, role: str = "", width: int = 11) -> Line:
    """`label      text`, for facts one under another."""
    return ((formatting.fit(label, width), "dim"), (text, role))


def named(label: str, texts: Sequence[str], width: int, role: str = "", columns: int = 15) -> list[Line]:
    """The same for names and values of any length: what is too long for its place takes lines of its own, uncut."""
    rows = [row for text in texts for row in whole(text, max(width - columns, 10))]
    if formatting.width(label) < columns:
        return [labelled(label if n == 0 else "", row, role, columns) for n, row in enumerate(rows or [""])]
    heads = [((part, "dim"),) for part in broken(label, max(width, 10))]
    return [*heads, *(labelled("", row, role, columns) for row in rows)]


def broken(text: str, width: int) -> list[str]:
    """The text in rows of at most `width` columns, its blanks kept; one row where it is empty."""
    rows = []
    while formatting.width(text) > width:
        part = formatting.cut(text, width + 1, "")[: max(width, 1)] or text[:1]
        while formatting.width(part) > width and len(part) > 1:
            part = part[:-1]
        rows.append(part)
        text = text[len(part) :]
    return [*rows, text] if text or not rows else rows


def rule(title: str, hint: str, width: int, focused: bool = False) -> Line:
    """`─ title ───────── hint ─`: the upper edge of a pane; a focused pane has a heavy one: `━ title ━━━`."""
    role, dash = ("focus", "━") if focused else ("rule", "─")
    hint = f" {hint} " if hint else ""
    title = formatting.cut(title, max(width - formatting.width(hint) - 5, 1))
    left = f"{dash} {title} " if title else dash
    dashes = width - formatting.width(left) - formatting.width(hint) - 1
    if dashes < 0:
        return ((formatting.cut(left, width), role),)
    return (
        (f"{dash} ", role),
        (title, "title" if focused else "head"),
        (" " + dash * dashes, role),
        (hint, "dim"),
        (dash, role),
    )


SORT_ROOM = 30  # columns that the words of a filter may take


def heading(text: str, width: int, sort: str, reverse: bool, wanted: str, part: str = "") -> Line:
    """The heading of a table with its sort and filter at the right edge, where neither is cut by a column.

    `part`: how many of its rows are in sight, where not all are.
    """
    told = [part] if part else []
    told += [f"by {sort} {'↑' if reverse else '↓'}"] if sort else []
    told += [f"/{formatting.cut(wanted, SORT_ROOM)}"] if wanted else []
    return fill([(text, "dim")], [("  ".join(told), "key")] if told else [], width)


def wrapped(text: str, width: int) -> list[str]:
    """The text broken at blanks into lines of at most `width` columns."""
    rows, row = [], ""
    for word in text.split():
        if row and formatting.width(row) + 1 + formatting.width(word) > width:
            rows.append(row)
            row = word
        else:
            row = f"{row} {word}" if row else word
    return [*rows, row] if row else rows


def whole(text: str, width: int) -> list[str]:
    """As `wrapped`, with a word longer than the line broken, too: a path must be readable whole."""
    return [part for row in wrapped(text, width) for part in broken(row, width)]


def with_role(painted: Line, role: str) -> Line:
    """The line with a role added to every span: the cursor, a mark, a stale frame."""
    return tuple((text, f"{role} {own}".strip()) for text, own in painted)
