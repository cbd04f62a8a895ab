"""Collects every sentence the product can say, for review and translation: `make sentences`.

A sentence is a text in a raise, in what a command or worker says, in a help (which may be the docstring of
a command), or in an action of the registry; `{}` stands for a value. tests/test_sentences.py holds them to the rules of
plain English that a program can check.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("state", "jobs", "tui", "fts")
SPEAKS = (  # functions and classes whose texts reach a person
    "say", "emit", "put", "complain", "tell", "print", "echo", "option", "argument", "confirm", "Change",
    "Entry", "Action", "toast", "notify", "info", "warning", "error", "sure", "Checked", "DryRunResult",
    "Freed", "short", "add_argument", "append", "fail",
)  # fmt: skip
SPEAKING = ast.Raise | ast.Return | ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Yield


@dataclass(frozen=True)
class Sentence:
    """One text with at least one space, and where it stands."""

    file: str
    line: int
    text: str  # each run of blanks as one
    written: str  # as the source has it


@cache
def sentences() -> list[Sentence]:
    """All of them, by file and line."""
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return sorted({each for path in paths for each in of_file(path)}, key=lambda each: (each.file, each.line))


def of_file(path: Path) -> Iterator[Sentence]:
    file = str(path.relative_to(ROOT))
    todo: list[tuple[ast.AST, bool]] = [(ast.parse(path.read_text()), False)]  # and whether it stands in what speaks
    while todo:
        node, spoken = todo.pop()
        if spoken and isinstance(node, ast.Constant | ast.JoinedStr):
            written = text_of(node)
            text = " ".join(written.split())
            if " " in text and ("{}" in text or any(letter.isalpha() for letter in text)) and not is_code(text):
                yield Sentence(file, node.lineno, text, written)
            continue
        if isinstance(node, ast.FunctionDef) and is_command(node) and (help_text := ast.get_docstring(node)):
            yield Sentence(file, node.lineno, " ".join(help_text.split()), help_text)
        spoken = spoken or speaks(node)
        todo += [(child, spoken) for child in ast.iter_child_nodes(node)]


def speaks(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        name = name_of(node.func)
        return name in SPEAKS or name[:1].isupper()
    return isinstance(node, SPEAKING)


def is_command(node: ast.FunctionDef) -> bool:
    """Whether the docstring is a help text: the function is decorated as a command or a group of commands."""
    calls = (each.func for each in node.decorator_list if isinstance(each, ast.Call))
    return any(name_of(call) in ("command", "group") for call in calls)


def name_of(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def text_of(node: ast.expr) -> str:
    """The literal text; `{}` for what is filled in."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    parts = node.values if isinstance(node, ast.JoinedStr) else []
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)


CODE = re.compile(r"[( ]*(?:SELECT|CREATE|PRAGMA|DELETE|UPDATE|INSERT|WITH|IMPORT|JULIANDAY)\b", re.IGNORECASE)


def is_code(text: str) -> bool:
    """SQL, or a program for another interpreter."""
    return CODE.match(text) is not None


if __name__ == "__main__":
    for each in sentences():
        print(f"{each.file}:{each.line}\t{each.text}")
