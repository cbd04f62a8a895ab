"""Helps people who have no study yet, or who named one in a way that fts does not understand."""

from __future__ import annotations

import ast
import itertools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from fts.state.damage import newest_backup
from fts.state.files import shell_path
from fts.state.location import DEFAULT_PATH, has_study, nearest_study

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

PROGRAMS = re.compile(r"(\./.+|python[\d.]*|bash|sh|zsh|Rscript|julia|node|java|perl|ruby|awk|make|uv|poetry)")
INTERPRETERS = {
    ".sh": "bash", ".bash": "bash", ".R": "Rscript", ".r": "Rscript", ".jl": "julia", ".pl": "perl", ".rb": "ruby",
    ".js": "node",
}  # fmt: skip
STUDY_FILE = "study.toml"
MOST_FILES = 50  # Python files that are parsed
LARGEST = 1_000_000  # bytes


def first_steps(folder: Path) -> list[str]:
    """Returns the lines for a folder without a study: what to type, with the folder's own objective if it has one."""
    steps = [
        ("fts init", "writes a study and an example that runs in ten seconds"),
        ("fts enqueue study.toml", "adds it to the queue"),
        ("fts worker", "runs it until stopped; type it again to continue"),
    ]
    own = objective_in(folder)
    tried = "tries it: repeatable? resumable? how long, how much memory?"
    if (folder / STUDY_FILE).is_file():
        steps[0] = (f"fts check {STUDY_FILE}", tried)
    elif own is not None:
        steps = [
            (f"fts check {shell_path(own)}", tried),
            (f"fts enqueue {shell_path(own)}", "adds it to the queue"),
            steps[2],
        ]
    width = max(len(words) for words, _ in steps)
    shown = [f"  {words:<{width}}  {why}" for words, why in steps]
    other = nearest_study(folder)
    there = [] if other is None else [f"There is one in {other}: cd {shell_path(other)}"]
    return ["There is no study in this folder yet. To begin:", *shown, *there, "All commands: fts --help"]


def what_to_name(command: str, folder: Path, commands: Container[str]) -> str:
    """Returns the error message of `fts check` or `fts enqueue` without arguments."""
    there = STUDY_FILE if (folder / STUDY_FILE).is_file() else objective_in(folder)
    do = "try" if command == "check" else "enqueue"
    text = f"name what to {do}: {STUDY_FILE}, train.py:objective, or -- and a command"
    if there is not None:
        return f"{text}; here: fts {command} {shell_path(there)}"
    text += "; `fts init` writes a study and an example"
    text += "; the PatchTST study is `fts enqueue --matrix`" if command == "enqueue" and "data" in commands else ""
    return text


def which_queue(db: Path, folder: Path | None, began: bool) -> str | None:
    """Names the queue if it may be unexpected: a new one, or one that is not next to the study file; else None."""
    study_folder = None if folder is None or folder.resolve() == Path.cwd().resolve() else folder.resolve()
    other = None if study_folder is None else study_folder / DEFAULT_PATH
    elsewhere = other is not None and has_study(other) and other.resolve() != db.resolve()
    if not began and (study_folder is None or db.resolve().is_relative_to(study_folder)):
        return None
    text = f"{shown(db)} is a new queue" if began else f"the queue is {shown(db)}"
    if began and (copy := newest_backup(db)) is not None:
        return f"{text}, but there is a backup of an earlier one: `fts restore {shell_path(shown(copy))}` restores it"
    return f"{text}; there is another one: --db {shell_path(shown(other))}" if other is not None and elsewhere else text


def shown(path: Path) -> str:
    """Returns the path relative to the current folder if it is below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def objective_in(folder: Path) -> str | None:
    """Returns the first objective of the folder, such as `train.py:objective`."""
    return next(objectives_in(folder), None)


def objectives_in(folder: Path) -> Iterator[str]:
    """Yields functions named `objective` or with the first parameter `trial`; in each file `objective` first."""
    try:
        files = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".py") and entry.is_file())
    except OSError:
        return
    for name in files[:MOST_FILES]:
        for function in sorted(functions_of(folder / name), key=lambda function: function.name != "objective"):
            arguments = [*function.args.posonlyargs, *function.args.args]
            if function.name == "objective" or (arguments and arguments[0].arg == "trial"):
                yield f"{name}:{function.name}"


def functions_of(path: Path) -> list[ast.FunctionDef]:
    """Returns the top-level functions of a file; none if it is too large or not Python."""
    try:
        if path.stat().st_size > LARGEST:
            return []
        return [node for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.FunctionDef)]
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []


def _runs(word: str) -> str | None:
    """Returns how to run a script or program of this folder: `bash fit.sh`, `./fit`; None for other words."""
    path = Path(word)
    if path.suffix in (".py", ".toml") or ":" in word or word.startswith("-"):
        return None
    try:
        if not path.is_file():
            return None
    except (OSError, ValueError):
        return None
    if os.access(path, os.X_OK):
        return word if "/" in word else f"./{word}"
    return f"{INTERPRETERS[path.suffix]} {word}" if path.suffix in INTERPRETERS else None


def command_without_dashes(name: str, words: Sequence[str]) -> str | None:
    """Returns the error message for a command without `--` before it; None if the words contain no command."""
    if words and not words[0].startswith("-") and not Path(words[0]).exists():
        words = [*words[0].split(), *words[1:]]  # 'python train.py' in quotes
    for place, (word, after) in enumerate(itertools.pairwise([*words, ""])):
        before = words[place - 1] if place else ""
        if before.startswith("-") or (after.startswith("-") and not _runs(word)):
            continue
        if (PROGRAMS.fullmatch(word) and after) or _runs(word):
            command = f"{_runs(word) or word} {after}".rstrip() if not after.startswith("-") else _runs(word)
            return f"put -- before a command, and name its metric: fts {name} --metric loss -- {command}"
    return None
