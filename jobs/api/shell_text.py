"""Inserts values into a shell command, each quoted for its position: outside quotes, in '...' or in "..."."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator

HERE = "<<"  # quotes mean nothing inside a here-document: a command that has one counts as without quotes
PLAIN, SINGLE, DOUBLE = "plain", "single", "double"


def places(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[re.Match[str], str]]:
    """Yields each match of the pattern and the quotes around it (PLAIN, SINGLE, DOUBLE), as a POSIX shell reads it."""
    stack, at = [PLAIN], 0  # a stack, because $(...) inside "..." starts a new command
    for found in pattern.finditer(text):
        while at < found.start() and HERE not in text:
            at = _step(text, at, stack)
        yield found, stack[-1]
        at = max(at, found.end())


def _step(text: str, at: int, stack: list[str]) -> int:
    """Reads one character, or a comment, and returns the position of the next."""
    sign, now = text[at], stack[-1]
    if now == SINGLE:
        if sign == "'":
            stack.pop()
    elif sign == "\\":
        return at + 2
    elif sign == "#" and now == PLAIN and (at == 0 or text[at - 1] in " \t\n;(&|"):
        end = text.find("\n", at)  # skip the comment
        return len(text) if end < 0 else end
    elif text.startswith("$(", at):
        stack.append(PLAIN)
        return at + 2
    elif sign == '"':
        stack.pop() if now == DOUBLE else stack.append(DOUBLE)
    elif sign == "'" and now == PLAIN:
        stack.append(SINGLE)
    elif sign == "(" and now == PLAIN:
        stack.append(PLAIN)
    elif sign == ")" and now == PLAIN and len(stack) > 1:
        stack.pop()
    return at + 1


def quoted(value: str, quotes: str) -> str:
    """Quotes a value for a position inside the given quotes."""
    if quotes == SINGLE:
        return value.replace("'", "'\"'\"'")
    if quotes == DOUBLE:
        return re.sub(r'([\\"$`])', r"\\\1", value)
    return shlex.quote(value)


def filled(text: str, pattern: re.Pattern[str], fill: Callable[[re.Match[str], Callable[[str], str]], str]) -> str:
    """Replaces each match by `fill(match, quote)`."""
    made, at = "", 0
    for found, quotes in places(text, pattern):
        made += text[at : found.start()] + fill(found, lambda value, quotes=quotes: quoted(value, quotes))  # type: ignore[misc]
        at = found.end()
    return made + text[at:]
