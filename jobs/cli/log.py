"""Implements `fts log epoch=3 val_loss=0.41`: appends a line to a command's report; imports nothing slow."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

FAILED, USAGE = 1, 2  # exit codes


def log(words: Sequence[str]) -> int:
    """Appends the numbers as one JSON line to the file $FTS_REPORT; returns the exit code."""
    found: dict[str, int | float] = {}
    for word in words:
        name, equals, text = word.partition("=")
        try:
            if not equals or not name:
                raise ValueError
            found[name] = int(text) if text.strip().lstrip("+-").isdecimal() else float(text)
        except ValueError:
            return _refused(f"{word!r} is no metric, expected NAME=NUMBER, such as val_loss=0.41", USAGE)
    if not found:
        return _refused("no metric was given, expected NAME=NUMBER, such as val_loss=0.41", USAGE)
    path = os.environ.get("FTS_REPORT")
    if path is None:
        return _refused("FTS_REPORT is not set: `fts log` reports from a command that fts runs as a trial", FAILED)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        line = (json.dumps(found) + "\n").encode()
        try:
            while line:  # a disk that becomes full takes a part, and only the next call fails
                line = line[os.write(handle, line) :]
        finally:
            os.close(handle)
    except OSError as error:
        return _refused(f"{path} cannot be written: {error.strerror}", FAILED)
    return 0


def _refused(sentence: str, code: int) -> int:
    print(f"fts: {sentence}\n", end="", file=sys.stderr)
    return code
