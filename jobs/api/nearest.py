"""Finds the known name that is most similar to a mistyped one, for error messages."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Returns the known name most similar to the word, ignoring case, or None if none is similar."""
    from difflib import get_close_matches  # here: only a wrong name needs it

    by_lower = {name.lower(): name for name in known}
    found = get_close_matches(word.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[found[0]] if found else None


def hint(word: str, known: Iterable[str]) -> str:
    """Returns `did you mean loss? `, to precede the list of known names; empty if none is similar."""
    near = nearest(word, known)
    return f"did you mean {near}? " if near is not None else ""
