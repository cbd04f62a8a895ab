"""Makes text from outside safe to put on a terminal: no escapes, no control characters, no hidden direction changes.

Names, log lines and messages come from files and from a database that others can write. Textual passes ESC, C1 and
right-to-left overrides through to the terminal, so every foreign string is cleaned once, here, where it enters.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from fts.state.values import Snapshot

T = TypeVar("T")
SHOWN = "\ufffd"  # stands for each removed control character, so that a hostile string is seen, not hidden
UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})  # controls, format (bidi, zero width), surrogates, private use
HARMLESS = frozenset({int, float, bool, type(None)})
LONGEST = 20_000  # characters of one foreign string; a log line longer than this is cut


def clean_snapshot(snapshot: Snapshot) -> Snapshot:
    """The same snapshot with every string in it cleaned; unchanged parts keep their identity."""
    return clean_value(snapshot)


def clean_value(value: T) -> T:
    """`value` with every string inside (dataclasses, tuples, lists, dicts) cleaned.

    Parts that were clean already come back as the same objects, so that "nothing changed" stays a cheap `is`.
    """
    cleaned: T = _clean(value)
    return cleaned


def clean(text: str) -> str:
    """One line of printable text: tabs become spaces, line ends a blank, what could steer a terminal U+FFFD."""
    if text.isascii() and text.isprintable() and len(text) <= LONGEST:
        return text
    return "".join(_shown(char) for char in text[:LONGEST])


@lru_cache(maxsize=4096)
def _shown(char: str) -> str:
    if char == "\t":
        return "  "
    if char in "\r\n":
        return " "
    return SHOWN if unicodedata.category(char) in UNSAFE else char


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        text = clean(value) if type(value) is str else value  # an enum member is ours
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
    """Of a dataclass; none of another type. A snapshot holds hundreds of values of a few kinds."""
    return tuple(field.name for field in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else ()
