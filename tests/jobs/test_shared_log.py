"""A line in a log that several processes share is one write: with PYTHONUNBUFFERED a print writes its end apart.

Between the two writes another process may write its own line, such as why a second worker was refused.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import pytest

from fts.jobs.api.spec import BadSpec
from fts.jobs.cli.log import _refused
from fts.jobs.cli.output import complain, emit, say
from fts.jobs.supervisor.progress_events import Note
from fts.jobs.trial import process
from fts.jobs.trial.error_text import print_error
from fts.jobs.worker.console import Console

WRITERS: dict[str, Callable[[str], object]] = {
    "worker": lambda text: Console(live=False).tell(Note(text)),
    "command": say,
    "complaint": complain,
    "answer": emit,
    "trial": process.say,
    "error": lambda text: print_error(BadSpec(text)),
    "fts log": lambda text: _refused(text, 1),
}


class Writes(io.RawIOBase):
    """What a file without a buffer gets, write by write."""

    def __init__(self) -> None:
        self.all: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]  # any buffer
        self.all += [bytes(data)] if len(data) else []
        return len(data)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_line_is_one_write(monkeypatch: pytest.MonkeyPatch, writer: str) -> None:
    file = Writes()
    unbuffered = io.TextIOWrapper(file, write_through=True)  # as sys.stderr is with PYTHONUNBUFFERED
    monkeypatch.setattr(sys, "stdout", unbuffered)
    monkeypatch.setattr(sys, "stderr", unbuffered)
    WRITERS[writer]("a line")
    (line,) = file.all
    assert line.endswith(b"a line\n")
