"""Inserts values into a shell command, each quoted for its position: outside quotes, in '...', in "...", in lines.

The lines of a here-document get values as they are. If a shell reads them (`ssh node <<EOF`, `cat <<EOF >job.sh`), each
value is one word.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import PurePath
from typing import TypeAlias

from fts.frozen import dataclass

PLAIN, SINGLE, DOUBLE = "plain", "single", "double"
LINES = "lines of a here-document"  # in which the shell replaces $ and `, and quotes mean nothing
BACK, SUM = "`...`", "$((...))"  # without quotes; between backquotes the shell reads each backslash twice
# A here-document, and the word that ends it
HERE = re.compile(r"""(?<!<)<<(-?)[ \t]*((?:'[^'\n]*'|"[^"\n]*"|[^\s'"<>|&;()])+)""")
READ_BY_SHELL = {"sh", "bash", "dash", "ksh", "zsh", "ssh", "sbatch", "qsub", "bsub"}  # they read a script from stdin
# Output goes to a file that by its name is a script
TO_SCRIPT = re.compile(
    r"""(?:>\|?|\btee\b(?:\s+-a)?)\s*(?:"[^"\n]*|'[^'\n]*|[^\s'"<>|&;()]*)\.(?:sh|bash|dash|ksh|zsh|sbatch|slurm|pbs)(?![\w.])"""
)
BETWEEN_WORDS = re.compile(r"[\s;&|()<>`'\"]+")


@dataclass(frozen=True)
class Document:
    """The lines of a here-document."""

    start: int
    end: int
    word: str  # ends it
    tabs: bool  # <<-: tabs before the word do not count
    expands: bool  # the shell replaces $ and ` in it: its word is not quoted
    is_script: bool  # another shell reads it
    in_back: bool  # it is between backquotes
    quotes: Place = PLAIN  # of the position in the script


Place: TypeAlias = "str | Document"  # the quotes around a position, or the here-document that it is in


def places(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[re.Match[str], Place]]:
    """Yields each match of the pattern and the quotes around it, as a POSIX shell reads them.

    These are PLAIN, SINGLE, DOUBLE or BACK, or the Document with the match.
    """
    stack, at = [PLAIN], 0  # a stack, because $(...) inside "..." starts a new command
    coming: list[re.Match[str]] = []  # here-documents that begin with the next line
    behind: list[Document] = []  # here-documents that were read
    for found in pattern.finditer(text):
        while at < found.start():
            at = _step(text, at, stack, coming, behind)
        yield found, _place(text, found.start(), stack, behind)
        at = max(at, found.end())


def _place(text: str, at: int, stack: list[str], behind: list[Document]) -> Place:
    """Returns the quotes around a position that was reached, or its document; in a $(...) of it the quotes there."""
    document = next((one for one in reversed(behind) if one.start <= at < one.end), None)
    if document is None:
        return PLAIN if stack[-1] == SUM else stack[-1]
    lines, at = text[document.start : document.end], at - document.start
    if document.expands and (quotes := _place_after(lines, at, LINES)) != LINES:
        return quotes
    return replace(document, quotes=_place_after(lines, at, PLAIN)) if document.is_script else document


def _place_after(text: str, end: int, first: str) -> Place:
    """Returns the place of a position in a text that begins with the quotes `first`."""
    stack, at = [first], 0
    coming: list[re.Match[str]] = []
    behind: list[Document] = []
    while at < end:
        at = _step(text, at, stack, coming, behind)
    return _place(text, end, stack, behind)


def _step(text: str, at: int, stack: list[str], coming: list[re.Match[str]], behind: list[Document]) -> int:
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
    elif sign == '"' and now != LINES:
        stack.pop() if now == DOUBLE else stack.append(DOUBLE)
    elif now not in (DOUBLE, LINES):
        return _step_without_quotes(text, at, stack, coming, behind)
    return at + 1


def _step_without_quotes(
    text: str, at: int, stack: list[str], coming: list[re.Match[str]], behind: list[Document]
) -> int:
    sign, now = text[at], stack[-1]
    if sign == "#" and now != SUM and (at == 0 or text[at - 1] in " \t\n;(&|"):
        end = text.find("\n", at)  # skip the comment
        return len(text) if end < 0 else end
    if sign == "\n" and coming:
        return _behind(text, at + 1, coming, behind, BACK in stack)
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


def _behind(text: str, at: int, coming: list[re.Match[str]], behind: list[Document], in_back: bool) -> int:
    """Returns the position behind the here-documents that begin here."""
    start, reads = at, _shell_reads(HERE.sub(" ", _line_of(text, coming[0].start(), at)))
    while coming and at < len(text):
        here = coming[0]
        word = re.sub(r"""['"\\]""", "", here[2])
        line, newline, _ = text[at:].partition("\n")
        at += len(line) + len(newline)
        if (line.lstrip("\t") if here[1] else line) == word or at >= len(text):
            is_script = reads or _names_shell(text[start:at])
            behind.append(Document(start, at, word, bool(here[1]), word == here[2], is_script, in_back))
            coming.pop(0)
            start = at
    coming.clear()
    return at


def _line_of(text: str, at: int, end: int) -> str:
    """Returns the command line around a position, with the lines before that a backslash continues."""
    start = text.rfind("\n", 0, at) + 1
    while text.endswith("\\\n", 0, start):
        start = text.rfind("\n", 0, start - 1) + 1
    return text[start:end]


def _shell_reads(line: str) -> bool:
    """Returns whether a shell reads the here-documents of a command line, now or from a file that is written."""
    words = BETWEEN_WORDS.split(line)
    return any(PurePath(word).name in READ_BY_SHELL for word in words) or TO_SCRIPT.search(line) is not None


def _names_shell(document: str) -> bool:
    """Returns whether the first line is such as `#!/bin/bash`."""
    first = document.lstrip("\t").partition("\n")[0]
    return first.startswith("#!") and any(PurePath(word).name in READ_BY_SHELL for word in first[2:].split())


def quoted(value: str, place: Place) -> str:
    """Quotes a value for a position inside the given quotes, or in the lines of a here-document."""
    if isinstance(place, Document):
        return _in_document(value, place)
    if place == SINGLE:
        return value.replace("'", "'\"'\"'")
    if place == DOUBLE:
        return re.sub(r'([\\"$`])', r"\\\1", value)
    plain = shlex.quote(value)
    return _escaped(plain) if place == BACK else plain


def _in_document(value: str, document: Document) -> str:
    text = quoted(value, document.quotes) if document.is_script else value
    text = _escaped(text) if document.expands else text
    nothing = "``" if document.expands else " "  # a line of the value must not end the document
    lines = [
        line + nothing if (line.lstrip("\t") if document.tabs else line) == document.word else line
        for line in text.split("\n")
    ]
    return _escaped("\n".join(lines)) if document.in_back else "\n".join(lines)


def _escaped(text: str) -> str:
    return re.sub(r"([\\$`])", r"\\\1", text)


def filled(text: str, pattern: re.Pattern[str], fill: Callable[[re.Match[str], Callable[[str], str]], str]) -> str:
    """Replaces each match by `fill(match, quote)`."""
    made, at = "", 0
    for found, place in places(text, pattern):
        made += text[at : found.start()] + fill(found, lambda value, place=place: quoted(value, place))  # type: ignore[misc]
        at = found.end()
    return made + text[at:]
