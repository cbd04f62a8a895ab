"""Stores what the enqueue form remembers: the typed options of each study, and the last answers.

In the user's file ~/.local/state/fts/enqueue.json, not in the database. An unreadable file is replaced.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

from fts.frozen import dataclass
from fts.state.files import atomic_write, expanded, home

MOST_STUDIES = 50
MOST_ANSWERS = 5
LONGEST = 200_000  # characters of an answer at most


@dataclass(frozen=True)
class Answer:
    """The output of a command."""

    at: float  # when it ended, seconds since the epoch
    line: str  # the command as a person would type it
    text: str
    code: int  # exit code
    took_s: float
    summary: str = ""  # one line


@dataclass
class FormMemory:
    """Loaded when the form opens, written on every change."""

    path: Path
    typed: dict[str, dict[str, str]] = field(default_factory=dict)  # study -> field -> text
    last: dict[str, str] = field(default_factory=dict)  # database -> the study last chosen there
    answers: list[Answer] = field(default_factory=list)  # the newest last
    problem: str = ""  # why the file could not be written

    def of(self, key: str) -> dict[str, str]:
        return dict(self.typed.get(key, {}))

    def keep_typed(self, key: str, typed: dict[str, str]) -> None:
        """Stores the options that differ from the defaults; an empty dict removes the study."""
        self.typed.pop(key, None)
        if typed:
            self.typed[key] = dict(typed)
        self.typed = dict(list(self.typed.items())[-MOST_STUDIES:])
        self.keep()

    def keep_last(self, database: Path, key: str) -> None:
        self.last.pop(str(database), None)
        self.last = dict([*self.last.items(), (str(database), key)][-MOST_STUDIES:])
        self.keep()

    def keep_answer(self, answer: Answer) -> None:
        self.answers = [*self.answers, answer][-MOST_ANSWERS:]
        self.keep()

    def keep(self) -> None:
        """Writes the file. If that fails, `problem` says why and the form keeps working."""
        content = {"typed": self.typed, "last": self.last, "answers": [asdict(each) for each in self.answers]}
        try:
            atomic_write(self.path, json.dumps(content) + "\n", durable=False)
            self.problem = ""
        except OSError as error:
            self.problem = f"the settings are not kept: {error}"


def memory_file() -> Path:
    state = expanded(os.environ.get("XDG_STATE_HOME") or home() / ".local" / "state")
    return state / "fts" / "enqueue.json"


def load(path: Path | None = None) -> FormMemory:
    """Reads the file; skips entries of a wrong type. Returns an empty memory if it cannot be read."""
    path = memory_file() if path is None else path
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return FormMemory(path)
    known = content if isinstance(content, dict) else {}
    typed = {key: _texts(each) for key, each in _table(known.get("typed")).items()}
    return FormMemory(path, typed, _texts(known.get("last")), _answers(known.get("answers")))


def _table(found: Any) -> dict[str, Any]:
    return {str(name): value for name, value in found.items()} if isinstance(found, dict) else {}


def _texts(found: Any) -> dict[str, str]:
    return {name: value for name, value in _table(found).items() if isinstance(value, str)}


def _answers(found: Any) -> list[Answer]:
    kept = []
    for each in found if isinstance(found, list) else []:
        try:
            one = Answer(**each)
            if isinstance(one.text, str) and isinstance(one.line, str) and isinstance(one.at, int | float):
                kept.append(one)
        except TypeError:
            continue
    return kept[-MOST_ANSWERS:]
