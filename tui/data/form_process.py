"""The process that answers the enqueue form: started with its first question, killed with the form."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fts.jobs.python import python

if TYPE_CHECKING:
    from pathlib import Path


class NoAnswer(Exception):
    """The process has ended, or was ended; the sentence says why where it is worth a word."""


class FormProcess:
    """One question at a time, asked from a thread; whoever asks waits for the one before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked_at = 0.0  # monotonic seconds of the question that is being answered; 0: there is none
        self._child: subprocess.Popen[str] | None = None
        self._turn = threading.Lock()
        self._over = False

    def ask(self, **question: Any) -> dict[str, Any]:
        """The answer. Raises NoAnswer."""
        with self._turn:
            if self._over:
                raise NoAnswer
            child = self._running()
            self.asked_at = time.monotonic()
            try:
                assert child.stdin is not None and child.stdout is not None, "both are pipes"
                child.stdin.write(json.dumps(question) + "\n")
                child.stdin.flush()
                line = child.stdout.readline()
                if not line:
                    raise NoAnswer(f"the process that reads studies has ended{_last_words(child)}")
                found: dict[str, Any] = json.loads(line)
                return found
            except (OSError, ValueError) as error:
                raise NoAnswer(f"the process that reads studies has ended: {error}") from None
            finally:
                self.asked_at = 0.0

    def waited_s(self) -> float:
        """How long the present question has waited for its answer; 0: none does."""
        return time.monotonic() - self.asked_at if self.asked_at else 0.0

    def restart(self) -> None:
        """Gives the present question up: its answer is not wanted any more."""
        if self._child is not None:
            end_all(self._child)

    def close(self) -> None:
        """Nobody asks any more."""
        self._over = True
        child, self._child = self._child, None
        if child is not None:
            end_all(child)
            threading.Thread(target=child.communicate, daemon=True).start()  # collects it, whoever still reads

    def _running(self) -> subprocess.Popen[str]:
        if self._child is None or self._child.poll() is not None:
            pipe = subprocess.PIPE
            words = python("-m", "fts.jobs.form", "--db", str(self.path))
            self._child = subprocess.Popen(
                words, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, start_new_session=True
            )
        return self._child


def end_all(child: subprocess.Popen[str], how: signal.Signals = signal.SIGKILL) -> None:
    """Ends a process with a session of its own, and what it has started: a function of the person may hang."""
    with suppress(OSError):  # it has ended already
        os.killpg(child.pid, how)


def _last_words(child: subprocess.Popen[str]) -> str:
    with suppress(subprocess.TimeoutExpired):
        code = child.wait(timeout=1.0)
        return f" with {code}" if code > 0 else ""
    return ""
