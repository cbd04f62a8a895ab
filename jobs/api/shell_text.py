"""Puts values into the text of a shell, each quoted as its place needs: outside quotes, in '...' or in "..."."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator

HERE = "<<"  # in a text behind it quotes mean nothing: every place is taken as one outside of them
PLAIN, SINGLE, DOUBLE = "plain", "single", "double"


def places(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[re.Match[str], str]]:
    """Each match of the pattern, and the quotes that it stands in, as a POSIX shell reads the text."""
    stack, at = [PLAIN], 0  # within "..." a $(...) is a command of its own
    for found in pattern.finditer(text):
        while at < found.start() and HERE not in text:
            at = _step(text, at, stack)
        yield found, stack[-1]
        at = max(at, found.end())


def _step(text: str, at: int, stack: list[str]) -> int:
    """Reads one sign; returns where the next one is."""
    sign, now = text[at], stack[-1]
    if now == SINGLE:
        if sign == "'":
            stack.pop()
    elif sign == "\\":
        return at + 2
    elif sign == "#" and now == PLAIN and (at == 0 or text[at - 1] in " \t\n;(&|"):
        end = text.find("\n", at)  # a comment
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
    """The value as the shell reads it back at such a place."""
    if quotes == SINGLE:
        return value.replace("'", "'\"'\"'")
    if quotes == DOUBLE:
        return re.sub(r'([\\"$`])', r"\\\1", value)
    return shlex.quote(value)


def filled(text: str, pattern: re.Pattern[str], fill: Callable[[re.Match[str], Callable[[str], str]], str]) -> str:
    """The text with each match replaced by `fill(match, quote)`."""
    made, at = "", 0
    for found, quotes in places(text, pattern):
        made += text[at : found.start()] + fill(found, lambda value, quotes=quotes: quoted(value, quotes))  # type: ignore[misc]
        at = found.end()
    return made + text[at:]
