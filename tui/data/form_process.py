"""Runs the process that answers the enqueue form (fts.jobs.form): from the first question until the form closes."""

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
    """The process has ended or was killed. The message says why; empty if the form killed it."""


class FormProcess:
    """Asks one question at a time. Called from threads; a second caller waits for the first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked_at = 0.0  # monotonic time of the open question; 0: none
        self._child: subprocess.Popen[str] | None = None
        self._turn = threading.Lock()
        self._closed = False

    def ask(self, **question: Any) -> dict[str, Any]:
        """Returns the answer to a question. Raises NoAnswer."""
        with self._turn:
            if self._closed:
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
        """Returns how long the open question has waited for its answer; 0 if there is none."""
        return time.monotonic() - self.asked_at if self.asked_at else 0.0

    def restart(self) -> None:
        """Kills the process to drop the open question; the next question starts a new one."""
        if self._child is not None:
            end_all(self._child)

    def close(self) -> None:
        """Kills the process; later questions raise NoAnswer."""
        self._closed = True
        child, self._child = self._child, None
        if child is not None:
            end_all(child)
            threading.Thread(target=child.communicate, daemon=True).start()  # reaps it without blocking the form

    def _running(self) -> subprocess.Popen[str]:
        if self._child is None or self._child.poll() is not None:
            pipe = subprocess.PIPE
            words = python("-m", "fts.jobs.form", "--db", str(self.path))
            self._child = subprocess.Popen(
                words, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, start_new_session=True
            )
        return self._child


def end_all(child: subprocess.Popen[str], how: signal.Signals = signal.SIGKILL) -> None:
    """Signals the whole session of a process: it may have children, and a user's function may hang."""
    with suppress(OSError):  # it has already ended
        os.killpg(child.pid, how)


def _last_words(child: subprocess.Popen[str]) -> str:
    with suppress(subprocess.TimeoutExpired):
        code = child.wait(timeout=1.0)
        return f" with {code}" if code > 0 else ""
    return ""
