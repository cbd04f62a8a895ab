"""Writes pieces of the page as markup: a section, an element, a table; all that a study says is escaped."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True)
class Section:
    """One part of the page; `body` is markup. A study may add some of its own (Study.report_sections)."""

    id: str
    title: str
    body: str
    note: str = ""


def marked(sentence: str) -> str:
    """What stands between backticks is a command to type; everything is escaped."""
    parts = sentence.split("`")
    if len(parts) % 2 == 0:
        return escape(sentence)
    return "".join(f"<code>{escape(part)}</code>" if k % 2 else escape(part) for k, part in enumerate(parts))


def tag(name: str, text: str, kind: str = "") -> str:
    """An element; nothing where there is no text."""
    attribute = f' class="{kind}"' if kind else ""
    return f"<{name}{attribute}>{marked(text)}</{name}>" if text else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Iterable[str] = ()) -> str:
    """Texts; the columns in `numbers` stand to the right."""
    right = {n for n, name in enumerate(head) if name in numbers}
    kind = [' class="n"' if n in right else "" for n in range(len(head))]
    top = "".join(f"<th{kind[n]}>{escape(name)}</th>" for n, name in enumerate(head))
    lines = ["".join(f"<td{kind[n]}>{escape(text)}</td>" for n, text in enumerate(row)) for row in rows]
    return f'<div class="wide"><table><tr>{top}</tr>{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>'


def left_out(shown: int, every: int, what: str) -> str:
    return "" if shown >= every else f'<p class="note">{every - shown} more {what} are not drawn.</p>'
