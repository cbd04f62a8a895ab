"""Writes parts of the page as markup: sections, elements, tables; escapes all text of a study."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from fts.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
REPLACEMENT = "\ufffd"  # for a control character, a change of text direction, a lone surrogate


@dataclass(frozen=True)
class Section:
    """One part of the page; `body` is markup. A study may add its own (Study.report_sections)."""

    id: str
    title: str
    body: str
    note: str = ""


class SortedText(NamedTuple):
    """A text with a separate key for sorting its column."""

    text: str
    key: float


Text = str | SortedText


def harmless(page: str) -> str:
    """Replaces characters that would change the text's direction or that a file cannot hold."""
    return CONTROL.sub(REPLACEMENT, page)


def marked(sentence: str) -> str:
    """Escapes a sentence and turns text between backticks into <code>."""
    parts = sentence.split("`")
    if len(parts) % 2 == 0:
        return escape(sentence)
    return "".join(f"<code>{escape(part)}</code>" if k % 2 else escape(part) for k, part in enumerate(parts))


def tag(name: str, text: str, kind: str = "") -> str:
    """Returns an element; "" without text."""
    attribute = f' class="{kind}"' if kind else ""
    return f"<{name}{attribute}>{marked(text)}</{name}>" if text else ""


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[Text]],
    numbers: Iterable[str] = (),
    last: Sequence[str] = (),
    trials: Sequence[str] = (),
) -> str:
    """Returns a table that the script can sort; columns in `numbers` are right-aligned; `last`: a sum that stays below.

    `trials`: the trial key of each row, so that pointing at a row marks the trial in the charts.
    """
    right = {n for n, name in enumerate(head) if name in numbers}
    kind = [' class="n"' if n in right else "" for n in range(len(head))]
    top = "".join(f'<th scope="col"{kind[n]}>{escape(name)}</th>' for n, name in enumerate(head))
    of = [f' data-t="{escape(name)}"' for name in trials] or [""] * len(rows)
    lines = "".join(f"<tr{one}>{_row(row, kind)}</tr>" for row, one in zip(rows, of, strict=True))
    foot = f"<tfoot><tr>{_row(last, kind)}</tr></tfoot>" if last else ""
    sort = ' class="sort"' if len(rows) > 1 else ""
    return scrolled(f"<table{sort}><thead><tr>{top}</tr></thead><tbody>{lines}</tbody>{foot}</table>")


def _row(row: Sequence[Text], kind: Sequence[str]) -> str:
    cells = []
    for n, one in enumerate(row):
        text, key = (one.text, f' data-v="{one.key!r}"') if isinstance(one, SortedText) else (one, "")
        cells.append(f"<td{kind[n]}{key}>{escape(text)}</td>")
    return "".join(cells)


def scrolled(markup: str, kind: str = "wide") -> str:
    """Wraps markup that may be wider than a phone, so that it scrolls by itself, also with the keyboard."""
    return f'<div class="{kind}" tabindex="0">{markup}</div>'


def folded(title: str, body: str, is_open: bool = False) -> str:
    return f"<details{' open' if is_open else ''}><summary>{escape(title)}</summary>{body}</details>"


def left_out(shown: int, every: int, what: str) -> str:
    return "" if shown >= every else f'<p class="note">{every - shown:,} more {what} are not drawn.</p>'
