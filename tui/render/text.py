"""Lines of a screen: cut and filled to exact widths, laid side by side, pasted into one frame.

A line is a tuple of (text, role) spans; roles are words such as "failed" or "cursor running" that theme.py turns into
colours. Painting is pure, so a frame can be tested, written to a file and sent to a terminal from the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fts.jobs.status import formatting
from fts.jobs.status.headline import Line, Span, cut_spans, fill
from fts.jobs.status.sanitize import clean

__all__ = [
    "Failed",
    "Line",
    "Placed",
    "Span",
    "beside",
    "broken",
    "clip",
    "compose",
    "fill",
    "heading",
    "labelled",
    "line",
    "named",
    "rule",
    "with_role",
    "wrapped",
]


@dataclass(frozen=True)
class Placed:
    """A pane at its place on the screen (columns and rows from the top left)."""

    name: str  # "" cannot be focused
    x: int
    y: int
    width: int
    height: int
    paint: Callable[[int, int], Sequence[Line]]  # (width, height) -> lines


Failed = Callable[[str, Exception], object]  # is told the pane that could not be painted, and why


def compose(panes: Sequence[Placed], width: int, height: int, failed: Failed | None = None) -> list[Line]:
    """One frame of exactly `height` lines of exactly `width` columns; panes must not overlap.

    With `failed` a pane whose painter raises is replaced by its error, and the others live on.
    """
    rows: list[list[tuple[int, int, Line]]] = [[] for _ in range(height)]
    for pane in panes:
        if pane.width <= 0 or pane.height <= 0:
            continue
        lines = pane.paint(pane.width, pane.height) if failed is None else painted_or_error(pane, failed)
        for n, painted in enumerate(lines[: pane.height]):
            if 0 <= pane.y + n < height:
                rows[pane.y + n].append((pane.x, pane.width, painted))
    return [_join(row, width) for row in rows]


def painted_or_error(pane: Placed, failed: Failed) -> Sequence[Line]:
    """The pane, or in its place what went wrong in it."""
    try:
        return pane.paint(pane.width, pane.height)
    except Exception as error:  # noqa: BLE001  # a fault of ours in one pane must not take the other panes from someone who watches
        failed(pane.name, error)
        text = f"this part failed: {type(error).__name__}: {clean(str(error))}; ctrl+r tries again"
        return [((row, "failed"),) for row in wrapped(text, max(pane.width - 1, 10))]


def _join(row: list[tuple[int, int, Line]], width: int) -> Line:
    spans: list[Span] = []
    at = 0
    for x, columns, painted in sorted(row, key=lambda item: item[0]):
        if x > at:
            spans.append((" " * (x - at), ""))
        columns = min(columns, width - x)
        spans.extend(clip(painted, columns))
        at = x + columns
    if at < width:
        spans.append((" " * (width - at), ""))
    return tuple(spans)


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
    rows = [
        row
        for text in texts
        for whole in wrapped(text, max(width - columns, 10))
        for row in broken(whole, max(width - columns, 10))
    ]
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
    """`─ title ───────── hint ─`: the upper edge of a pane; a focused pane has a bold one."""
    role = "focus" if focused else "rule"
    hint = f" {hint} " if hint else ""
    title = formatting.cut(title, max(width - formatting.width(hint) - 5, 1))
    left = f"─ {title} " if title else "─"
    dashes = width - formatting.width(left) - formatting.width(hint) - 1
    if dashes < 0:
        return ((formatting.cut(left, width), role),)
    return (
        ("─ ", role),
        (title, "title" if focused else "head"),
        (" " + "─" * dashes, role),
        (hint, "dim"),
        ("─", role),
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


def beside(left: Sequence[Line], left_width: int, right: Sequence[Line], right_width: int) -> list[Line]:
    """Two blocks side by side with a wall between them."""
    empty: Line = ()
    rows = max(len(left), len(right))
    return [
        (
            *clip(left[n] if n < len(left) else empty, left_width),
            ("│", "rule"),
            *clip(right[n] if n < len(right) else empty, right_width),
        )
        for n in range(rows)
    ]


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


def with_role(painted: Line, role: str) -> Line:
    """The line with a role added to every span: the cursor, a mark, a stale frame."""
    return tuple((text, f"{role} {own}".strip()) for text, own in painted)
