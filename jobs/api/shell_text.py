"""Inserts values into a shell command, each quoted for its position: outside quotes, in '...' or in "..."."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator

PLAIN, SINGLE, DOUBLE = "plain", "single", "double"
BACK, SUM = "`...`", "$((...))"  # without quotes; between backquotes the shell reads each backslash twice
# A here-document, and the word that ends it
HERE = re.compile(r"""(?<!<)<<(-?)[ \t]*((?:'[^'\n]*'|"[^"\n]*"|[^\s'"<>|&;()])+)""")


def places(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[re.Match[str], str]]:
    """Yields each match of the pattern and the quotes around it, as a POSIX shell reads them.

    These are PLAIN, SINGLE, DOUBLE or BACK. Quotes mean nothing inside a here-document: a match in it is PLAIN.
    """
    stack, at = [PLAIN], 0  # a stack, because $(...) inside "..." starts a new command
    coming: list[re.Match[str]] = []  # here-documents that begin with the next line
    for found in pattern.finditer(text):
        while at < found.start():
            at = _step(text, at, stack, coming)
        yield found, PLAIN if stack[-1] == SUM else stack[-1]
        at = max(at, found.end())


def _step(text: str, at: int, stack: list[str], coming: list[re.Match[str]]) -> int:
    """Reads one character, a comment or here-documents, and returns the position of the next."""
    sign, now = text[at], stack[-1]
    if now == SINGLE:
        if sign == "'":
            stack.pop()
    elif sign == "\\":
        return at + 2
    elif sign == "`":
        stack.pop() if now == BACK else stack.append(BACK)
    elif text.startswith("$((", at):
        stack += [SUM, SUM]
        return at + 3
    elif text.startswith("$(", at):
        stack.append(PLAIN)
        return at + 2
    elif sign == '"':
        stack.pop() if now == DOUBLE else stack.append(DOUBLE)
    elif now != DOUBLE:
        return _step_without_quotes(text, at, stack, coming)
    return at + 1


def _step_without_quotes(text: str, at: int, stack: list[str], coming: list[re.Match[str]]) -> int:
    sign, now = text[at], stack[-1]
    if sign == "#" and now != SUM and (at == 0 or text[at - 1] in " \t\n;(&|"):
        end = text.find("\n", at)  # skip the comment
        return len(text) if end < 0 else end
    if sign == "\n" and coming:
        return _behind(text, at + 1, coming)
    if sign == "<" and now != SUM and (here := HERE.match(text, at)) is not None:
        coming.append(here)
        return here.end()
    if sign == "'":
        stack.append(SINGLE)
    elif sign == "(":
        stack.append(SUM if now == SUM else PLAIN)
    elif sign == ")" and now in (PLAIN, SUM) and len(stack) > 1:
        stack.pop()
    return at + 1


def _behind(text: str, at: int, coming: list[re.Match[str]]) -> int:
    """Returns the position behind the here-documents that begin here."""
    while coming and at < len(text):
        here = coming[0]
        line, newline, _ = text[at:].partition("\n")
        at += len(line) + len(newline)
        if (line.lstrip("\t") if here[1] else line) == re.sub(r"""['"\\]""", "", here[2]):
            coming.pop(0)
    coming.clear()
    return at


def quoted(value: str, quotes: str) -> str:
    """Quotes a value for a position inside the given quotes."""
    if quotes == SINGLE:
        return value.replace("'", "'\"'\"'")
    if quotes == DOUBLE:
        return re.sub(r'([\\"$`])', r"\\\1", value)
    plain = shlex.quote(value)
    return re.sub(r"([\\$`])", r"\\\1", plain) if quotes == BACK else plain


def filled(text: str, pattern: re.Pattern[str], fill: Callable[[re.Match[str], Callable[[str], str]], str]) -> str:
    """Replaces each match by `fill(match, quote)`."""
    made, at = "", 0
    for found, quotes in places(text, pattern):
        made += text[at : found.start()] + fill(found, lambda value, quotes=quotes: quoted(value, quotes))  # type: ignore[misc]
        at = found.end()
    return made + text[at:]
