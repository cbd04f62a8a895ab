"""Writes pieces of the page as markup: a section, an element, a table; all that a study says is escaped."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from fts.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STEERING = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
SHOWN = "\ufffd"  # stands for a control character, a change of direction, half a character


@dataclass(frozen=True)
class Section:
    """One part of the page; `body` is markup. A study may add some of its own (Study.report_sections)."""

    id: str
    title: str
    body: str
    note: str = ""


class Sorted(NamedTuple):
    """A text that does not say its own place in a sorted column."""

    text: str
    key: float


Text = str | Sorted


def harmless(page: str) -> str:
    """A whole page without characters that would turn its text around or that no file can hold."""
    return STEERING.sub(SHOWN, page)


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


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[Text]],
    numbers: Iterable[str] = (),
    last: Sequence[str] = (),
    trials: Sequence[str] = (),
) -> str:
    """Texts; the columns in `numbers` stand to the right. The script sorts it; `last` is a sum that stays below.

    `trials` names the trial of each row, so that pointing at it marks the trial in the charts.
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
        text, key = (one.text, f' data-v="{one.key!r}"') if isinstance(one, Sorted) else (one, "")
        cells.append(f"<td{kind[n]}{key}>{escape(text)}</td>")
    return "".join(cells)


def scrolled(markup: str, kind: str = "wide") -> str:
    """What may be wider than a phone: it scrolls by itself, with the keys too."""
    return f'<div class="{kind}" tabindex="0">{markup}</div>'


def folded(title: str, body: str, is_open: bool = False) -> str:
    return f"<details{' open' if is_open else ''}><summary>{escape(title)}</summary>{body}</details>"


def left_out(shown: int, every: int, what: str) -> str:
    return "" if shown >= every else f'<p class="note">{every - shown:,} more {what} are not drawn.</p>'
