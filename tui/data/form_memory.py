"""Stores what the enqueue form remembers: the typed options of each study, its ticked cells, and the last answers.

Ticks last until the monitor ends: a tick means work that may cost days, so no later session finds one already there.
The rest is in the user's file ~/.local/state/fts/enqueue.json, not in the database. A file that is no JSON is replaced.
Several monitors of a user share the file: each change is applied to what the file has then, under a lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from dataclasses import asdict, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.state.files import ABSENT, atomic_write, expanded, home, open_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_STUDIES = 50
MOST_ANSWERS = 5
LOCK_TRIES, LOCK_PAUSE_S = 50, 0.01
LONGEST = 200_000  # characters of an answer at most


@dataclass(frozen=True)
class CommandOutput:
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
    answers: list[CommandOutput] = field(default_factory=list)  # the newest last
    ticked: dict[str, frozenset[str]] = field(default_factory=dict)  # study -> names of its cells; not in the file
    problem: str = ""  # why the file could not be written
    _shown: dict[str, dict[str, str]] = field(default_factory=dict)  # study -> its options as this form shows them
    _unsaved: list[Callable[[FormMemory], None]] = field(default_factory=list)  # changes that are not in the file yet

    def of(self, key: str) -> dict[str, str]:
        """Returns the options of a study, with those that another monitor has stored meanwhile."""
        with contextlib.suppress(OSError):
            self._refresh()
        self._shown[key] = dict(self.typed.get(key, {}))
        return dict(self._shown[key])

    def keep_typed(self, key: str, typed: dict[str, str]) -> None:
        """Stores the options that differ from the defaults. Of another monitor's options it replaces what changed."""
        before, self._shown[key] = self._shown.get(key, {}), dict(typed)
        new = {name: text for name, text in typed.items() if before.get(name) != text}

        def change(memory: FormMemory) -> None:
            there = memory.typed.pop(key, {})
            if now := {name: text for name, text in there.items() if name in typed or name not in before} | new:
                memory.typed[key] = now
            memory.typed = dict(list(memory.typed.items())[-MOST_STUDIES:])

        self._keep(change)

    def keep_last(self, database: Path, key: str) -> None:
        def change(memory: FormMemory) -> None:
            memory.last.pop(str(database), None)
            memory.last = dict([*memory.last.items(), (str(database), key)][-MOST_STUDIES:])

        self._keep(change)

    def keep_answer(self, answer: CommandOutput) -> None:
        def change(memory: FormMemory) -> None:
            memory.answers = [*memory.answers, answer][-MOST_ANSWERS:]

        self._keep(change)

    def _keep(self, change: Callable[[FormMemory], None]) -> None:
        """Applies the change and writes the file. If that fails, `problem` says why and the form keeps working."""
        self._unsaved.append(change)
        try:
            with _locked(self.path):
                try:
                    self._refresh()
                except OSError:
                    change(self)  # the earlier ones were applied when they were made
                    raise
                content = {"typed": self.typed, "last": self.last, "answers": [asdict(each) for each in self.answers]}
                atomic_write(self.path, json.dumps(content) + "\n", durable=False)
        except OSError as error:
            self.problem = f"the settings are not kept: {error}"
        else:
            self._unsaved.clear()
            self.problem = ""

    def _refresh(self) -> None:
        """Takes what is in the file, with the changes that are not in it yet. Raises OSError if it cannot be read."""
        self.typed, self.last, self.answers = _read(self.path)
        for change in self._unsaved:
            change(self)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds the lock of the file inside the block. Goes on without it after a while: the form must not stand still."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # no lock file can be made, or a file system without locks
            handle = open_log(path.with_suffix(".lock"))
            held.callback(os.close, handle)
            for _ in range(LOCK_TRIES):
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(LOCK_PAUSE_S)
        yield


def memory_file() -> Path:
    state = expanded(os.environ.get("XDG_STATE_HOME") or home() / ".local" / "state")
    return state / "fts" / "enqueue.json"


def load(path: Path | None = None) -> FormMemory:
    """Reads the file. Returns an empty memory if it cannot be read."""
    memory = FormMemory(memory_file() if path is None else path)
    with contextlib.suppress(OSError):
        memory.typed, memory.last, memory.answers = _read(memory.path)
    return memory


def _read(path: Path) -> tuple[dict[str, dict[str, str]], dict[str, str], list[CommandOutput]]:
    """Returns the content of the file; skips entries of a wrong type. Raises OSError if it cannot be read now."""
    try:
        content = json.loads(path.read_text())
    except (*ABSENT, ValueError, RecursionError):
        content = None
    known = content if isinstance(content, dict) else {}
    typed = {key: _texts(each) for key, each in _table(known.get("typed")).items()}
    return typed, _texts(known.get("last")), _answers(known.get("answers"))


def _table(found: Any) -> dict[str, Any]:
    return {str(name): value for name, value in found.items()} if isinstance(found, dict) else {}


def _texts(found: Any) -> dict[str, str]:
    return {name: value for name, value in _table(found).items() if isinstance(value, str)}


def _answers(found: Any) -> list[CommandOutput]:
    kept = []
    for each in found if isinstance(found, list) else []:
        try:
            one = CommandOutput(**each)
            if isinstance(one.text, str) and isinstance(one.line, str) and isinstance(one.at, int | float):
                kept.append(one)
        except TypeError:
            continue
    return kept[-MOST_ANSWERS:]
