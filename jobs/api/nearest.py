"""Finds the known name that a mistyped one is nearest to, for the sentence that refuses it."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name most like the word, upper and lower case alike; None: none is."""
    from difflib import get_close_matches  # here, not above: only a wrong name needs it

    by_lower = {name.lower(): name for name in known}
    found = get_close_matches(word.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[found[0]] if found else None


def hint(word: str, known: Iterable[str]) -> str:
    """`did you mean loss? ` before the list of what is known; empty: nothing is near."""
    near = nearest(word, known)
    return f"did you mean {near}? " if near is not None else ""
