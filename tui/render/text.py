"""Functions on the lines of a screen: clip, fill, wrap, headings.

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
    """Joins the lines as text, without trailing blanks."""
    rows = ("".join(part for part, _ in row).rstrip() for row in painted)
    return "\n".join(formatting.to_ascii(row) if ascii_only else row for row in rows) + "\n"


def clip(painted: Line, width: int) -> Line:
    """Cuts or fills a line to exactly `width` columns."""
    used = sum(formatting.width(text) for text, _ in painted)
    if used > width:
        painted = tuple(cut_spans(list(painted), width))
        used = sum(formatting.width(text) for text, _ in painted)
    return (*painted, (" " * (width - used), "")) if used < width else painted


def line(*spans: Span | str) -> Line:
    """Makes a line of spans; a bare string gets no role."""
    return tuple(span if isinstance(span, tuple) else (span, "") for span in spans)


def labelled(label: str, text: str, role: str = "", width: int = 11) -> Line:
    """Makes `label      text`, for facts one below the other."""
    return ((formatting.fit(label, width), "dim"), (text, role))


def named(label: str, texts: Sequence[str], width: int, role: str = "", columns: int = 15) -> list[Line]:
    """Makes `label      text` for labels and texts of any length; a long one gets lines of its own instead of a cut."""
    rows = [row for text in texts for row in whole(text, max(width - columns, 10))]
    if formatting.width(label) < columns:
        return [labelled(label if n == 0 else "", row, role, columns) for n, row in enumerate(rows or [""])]
    heads = [((part, "dim"),) for part in broken(label, max(width, 10))]
    return [*heads, *(labelled("", row, role, columns) for row in rows)]


def broken(text: str, width: int) -> list[str]:
    """Splits a text into rows of at most `width` columns at any character; keeps blanks. An empty text is one row."""
    if text.isascii():
        width = max(width, 1)
        return [text[at : at + width] for at in range(0, len(text), width)] or [""]
    rows, row, used = list[str](), "", 0
    for char in text:
        columns = formatting.width(char)
        if row and used + columns > width:
            rows.append(row)
            row, used = "", 0
        row, used = row + char, used + columns
    return [*rows, row]


def rule(title: str, hint: str, width: int, focused: bool = False) -> Line:
    """Makes the upper edge of a pane: `─ title ───────── hint ─`; heavy if it has the focus: `━ title ━━━`."""
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


SORT_ROOM = 30  # columns of a filter at most


def heading(text: str, width: int, sort: str, reverse: bool, wanted: str, part: str = "") -> Line:
    """Makes the heading of a table, with sort and filter at the right edge, which is never cut.

    `part`: how many of its rows are visible, if not all.
    """
    notes = [part] if part else []
    notes += [f"by {sort} {'↑' if reverse else '↓'}"] if sort else []
    notes += [f"/{formatting.cut(wanted, SORT_ROOM)}"] if wanted else []
    return fill([(text, "dim")], [("  ".join(notes), "key")] if notes else [], width)


def wrapped(text: str, width: int) -> list[str]:
    """Wraps a text at blanks into rows of at most `width` columns; a longer word stays whole."""
    rows, row = [], ""
    for word in text.split():
        if row and formatting.width(row) + 1 + formatting.width(word) > width:
            rows.append(row)
            row = word
        else:
            row = f"{row} {word}" if row else word
    return [*rows, row] if row else rows


def whole(text: str, width: int) -> list[str]:
    """Wraps as `wrapped`, and splits words that are longer than a row, so that a path can be read completely."""
    return [part for row in wrapped(text, width) for part in broken(row, width)]


def with_role(painted: Line, role: str) -> Line:
    """Adds a role to every span of a line: cursor, mark, stale frame."""
    return tuple((text, f"{role} {own}".strip()) for text, own in painted)
