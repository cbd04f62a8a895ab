"""Makes foreign text safe for a terminal: removes escapes, control characters and hidden direction changes.

Names, log lines and messages come from files and a database that others can write. Textual passes ESC, C1 and
right-to-left overrides to the terminal, so every foreign string is cleaned here, once, when it is read.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from fts.state.values import Snapshot

T = TypeVar("T")
SHOWN = "\ufffd"  # replaces each control character, so that a manipulated string is visible
UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})  # controls, format (bidi, zero width), surrogates, private use
NO_XML = "\ufffe\uffff"  # no characters, which no SVG may contain
HARMLESS = frozenset({int, float, bool, type(None)})
LONGEST = 20_000  # characters of one foreign string; a log line longer than this is cut


def clean_snapshot(snapshot: Snapshot) -> Snapshot:
    """Returns the snapshot with every string cleaned; unchanged parts keep their identity."""
    return clean_value(snapshot)


def clean_value(value: T) -> T:
    """Returns `value` with every string inside (dataclasses, tuples, lists, dicts) cleaned.

    Returns clean parts as the same objects, so that a cheap `is` finds what has not changed.
    """
    cleaned: T = _clean(value)
    return cleaned


def clean(text: str) -> str:
    """Returns one line of printable text: tabs become spaces, line ends a blank, control characters U+FFFD."""
    if text.isascii() and text.isprintable() and len(text) <= LONGEST:
        return text
    return "".join(_shown(char) for char in text[:LONGEST])


@lru_cache(maxsize=4096)
def _shown(char: str) -> str:
    if char == "\t":
        return "  "
    if char in "\r\n":
        return " "
    return SHOWN if unicodedata.category(char) in UNSAFE or char in NO_XML else char


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        text = clean(value) if type(value) is str else value  # an enum member is our own text
        return value if text == value else text
    if value is None or isinstance(value, int | float):
        return value
    kind: type = type(value)
    if names := _field_names(kind):
        changed = {}
        for name in names:
            old = getattr(value, name)
            if type(old) not in HARMLESS and (new := _clean(old)) is not old:
                changed[name] = new
        return dataclasses.replace(value, **changed) if changed else value
    if isinstance(value, tuple | list):
        items = [_clean(item) for item in value]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else type(value)(items)
    if isinstance(value, dict):
        pairs = {_clean(k): _clean(v) for k, v in value.items()}
        same = len(pairs) == len(value) and all(k in value and value[k] is v for k, v in pairs.items())
        return value if same else pairs
    return clean(str(value))


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    """Returns the field names of a dataclass, none for other types; cached, as snapshots have few types."""
    return tuple(field.name for field in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else ()
