"""Runs the commands of the enqueue form, `fts enqueue` and `fts check`, as processes that continue after it closes.

One at a time. Their answers are stored, so that they can be read when the form is opened again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fts.jobs.actions.handlers import argv_of, sentence_of, words_of
from fts.jobs.status import formatting
from fts.jobs.status.sanitize import clean
from fts.tui.data.form_memory import LONGEST, CommandOutput
from fts.tui.data.form_process import end_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fts.tui.data.form_memory import FormMemory

ENQUEUE, DRY_RUN, CHECK = "enqueue", "dry run", "check"


@dataclass
class RunningCommand:
    """A command that runs."""

    kind: str
    line: str  # the command as a person would type it
    words: tuple[str, ...]  # its arguments after `fts`
    folder: str  # in which it runs
    began: float  # monotonic seconds
    study: str = ""  # key of the study in the form
    child: subprocess.Popen[str] | None = None
    stopped: bool = False


class FormRuns:
    """Runs one command at a time. Calls `on_answer` from a thread with each answer."""

    def __init__(self, path: Path, memory: FormMemory, on_answer: Callable[[CommandOutput], None]) -> None:
        self.path, self.memory, self._on_answer = path, memory, on_answer
        self.now: RunningCommand | None = None
        self.ended = 0  # number of ended commands; the form compares it to see that there is a new answer

    def start(self, kind: str, line: str, words: Sequence[str], folder: str, study: str = "") -> bool:
        """Starts a command. Returns False if another one runs."""
        if self.now is not None:
            return False
        self.now = RunningCommand(kind, line, tuple(words), folder, time.monotonic(), study)
        threading.Thread(target=self._wait, args=(self.now,), name=f"form {kind}", daemon=True).start()
        return True

    def stop(self) -> None:
        """Ends a dry run or a check. `fts enqueue` is one transaction and is left to finish."""
        run = self.now
        if run is not None and run.kind != ENQUEUE:
            run.stopped = True
            if run.child is not None:
                end_all(run.child, signal.SIGTERM)

    def progress(self) -> str:
        """Returns `dry run: 12 s so far`; empty if nothing runs."""
        run = self.now
        return "" if run is None else f"{run.kind}: {formatting.spell(time.monotonic() - run.began)} so far"

    def _wait(self, run: RunningCommand) -> None:
        answer = self._answer(run)
        if run.kind == ENQUEUE and answer.code == 0:
            self.memory.ticked.pop(run.study, None)  # also if the form is closed by now
        self.memory.keep_answer(answer)
        self.now = None
        self.ended += 1
        self._on_answer(answer)

    def _answer(self, run: RunningCommand) -> CommandOutput:
        pipe = subprocess.PIPE
        as_json = run.kind == ENQUEUE
        words = [run.words[0], "--json", *run.words[1:]] if as_json else list(run.words)
        try:
            run.child = subprocess.Popen(
                argv_of(self.path, words), stdout=pipe, stderr=pipe if as_json else subprocess.STDOUT,
                stdin=subprocess.DEVNULL, text=True, errors="replace", cwd=run.folder or None,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},  # keeps stdout and stderr in order
            )  # fmt: skip
            if run.stopped:
                end_all(run.child, signal.SIGTERM)
            out, err = run.child.communicate()
            code = run.child.returncode
        except OSError as error:
            out, err, code = "", f"fts: it could not be started: {error}", 1
        took = time.monotonic() - run.began
        if run.stopped:
            return CommandOutput(time.time(), run.line, _cleaned(out or ""), 130, took, f"{run.kind}: you ended it")
        if as_json:
            text, summary = _of_json(out, err or "", code)
        else:
            text, summary = out, _summary(run.kind, out, code)
        return CommandOutput(time.time(), run.line, _cleaned(text), code, took, summary)


def _cleaned(text: str) -> str:
    return "\n".join(clean(line) for line in text[:LONGEST].splitlines())


def _of_json(out: str, err: str, code: int) -> tuple[str, str]:
    """Converts the output of `fts enqueue --json` into the lines it prints without --json, and one summary line."""
    if code:
        return err, f"not enqueued: {sentence_of('enqueue', err, code)}"
    try:
        content: dict[str, Any] = json.loads(out)
        rows = content.get("cells") or content.get("enqueued") or []
        lines = "\n".join([*err.splitlines(), *(str(row["told"]) for row in rows)])
        return lines, words_of(rows)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return out + err, f"enqueued; this window cannot read the answer: {error!r}"


def _summary(kind: str, out: str, code: int) -> str:
    """Returns the last line, which is the conclusion of a dry run and of a check."""
    lines = [line.strip() for line in out.splitlines() if line.strip()]
    last = lines[-1].removeprefix("fts: ") if lines else f"it ended with {code} and said nothing"
    return last if last.startswith(kind) else f"{kind}: {last}"
