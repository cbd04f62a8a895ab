"""Makes text from outside safe to put on a terminal: no escapes, no control characters, no hidden direction changes.

Names, log lines and messages come from files and from a database that others can write. Textual passes ESC, C1 and
right-to-left overrides through to the terminal, so every foreign string is cleaned once, here, where it enters.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from functools import lru_cache
from typing import Any, TypeVar

from state.values import Snapshot

T = TypeVar("T")
SHOWN = "\ufffd"  # stands for each removed control character, so that a hostile string is seen, not hidden
UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})  # controls, format (bidi, zero width), surrogates, private use
LONGEST = 20_000  # characters of one foreign string; a log line longer than this is cut


def clean_snapshot(snapshot: Snapshot) -> Snapshot:
    """The same snapshot with every string in it cleaned; unchanged parts keep their identity."""
    return clean_value(snapshot)


def clean_value(value: T) -> T:
    """`value` with every string inside (dataclasses, tuples, lists, dicts) cleaned.

    Parts that were clean already come back as the same objects, so that "nothing changed" stays a cheap `is`.
    """
    return _clean(value)


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
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fresh = {f.name: _clean(getattr(value, f.name)) for f in dataclasses.fields(value)}
        changed = {name: new for name, new in fresh.items() if new is not getattr(value, name)}
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
