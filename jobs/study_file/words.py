"""Tells whether the words of a command name a function of a file or a study file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FUNCTION = re.compile(  # a Python file, MODULE:FUNCTION, or a file that is taken for one of the two
    r"[^-].*\.(?:py|ipynb|ya?ml|tml)(:.*)?|[A-Za-z_][\w.]*:[A-Za-z_]\w*"
)
STUDY_FILE = re.compile(r"[^-].*\.toml")


def names_a_study(words: Sequence[str]) -> bool:
    """Do the words after `fts enqueue` or `fts run` name a study file, and nothing else before it?"""
    words = words[: words.index("--")] if "--" in words else words
    first = next((word for word in words if not word.startswith("-")), "")
    return STUDY_FILE.fullmatch(first) is not None or (
        not names_a_function(words) and any(STUDY_FILE.fullmatch(word) and "=" not in word for word in words)
    )


def names_a_function(words: Sequence[str]) -> bool:
    """Do the words after `fts enqueue` name a function of a file, `train.py:objective`?"""
    return any(FUNCTION.fullmatch(word) for word in words)
