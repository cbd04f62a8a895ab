"""Joins the regular expressions of [metrics] into one that finds every metric of a line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fts.jobs.api.command import EPOCH_GROUPS
from fts.jobs.study_file.faults import BadStudy
from fts.raising import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

FLAGS = re.compile(r"\(\?([aimsux]+)\)")  # at the start, for the whole expression
REFERENCE = re.compile(r"\\[1-9]|\(\?P=")


def joined(patterns: Mapping[str, str]) -> str | None:
    """Joins the expressions of all metrics. A single one stays as it is. Raises BadStudy for one without its metric."""
    for name, pattern in patterns.items():
        _check(name, pattern)
    if len(patterns) <= 1:
        return next(iter(patterns.values()), None)
    parts, taken = [], set[str]()
    for name, pattern in patterns.items():
        if not name.isidentifier():
            raise BadStudy(
                ("metrics", name, "regex"),
                "cannot be joined with others: no group can have this name; use letters and _",
            )
        if REFERENCE.search(pattern):
            raise BadStudy(
                ("metrics", name, "regex"),
                f"is {quoted(pattern)}, which refers to a group; it cannot be joined with others",
            )
        part = pattern if name in re.compile(pattern).groupindex else _named(name, pattern)
        part = FLAGS.sub(r"(?\1:", part) + ("\n)" if "x" in flags[1] else ")") if (flags := FLAGS.match(part)) else part
        for group in EPOCH_GROUPS:
            if group in re.compile(part).groupindex:
                part = part if group not in taken else part.replace(f"(?P<{group}>", "(?:")
                taken.add(group)
        parts.append(f"(?:(?=.*?(?:{part}))|)")
    return "".join(parts)


def _check(name: str, pattern: str) -> None:
    at = ("metrics", name, "regex")
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise BadStudy(at, f"is {quoted(pattern)}, which is not a regular expression: {error}") from None
    groups = set(compiled.groupindex) - set(EPOCH_GROUPS)
    plain = compiled.groups - len(compiled.groupindex)
    if (groups and groups != {name}) or (not groups and plain != 1):
        raise BadStudy(
            at, f"is {quoted(pattern)}, expected one group around the number, such as '{name}=([-0-9.eE+]+)'"
        )


def _named(name: str, pattern: str) -> str:
    """Names the one plain group of the pattern after the metric."""
    place, within = 0, False
    while place < len(pattern):
        letter = pattern[place]
        if letter == "\\":
            place += 1
        elif within:
            within = letter != "]" or pattern[place - 1] == "[" or pattern[place - 2 : place] == "[^"
        elif letter == "[":
            within = True
        elif letter == "(" and pattern[place + 1 : place + 2] != "?":
            return f"{pattern[:place]}(?P<{name}>{pattern[place + 1 :]}"
        place += 1
    raise AssertionError("it was checked: there is one plain group")
