"""Names the control for an action: a key in the monitor, a command on the command line."""

from __future__ import annotations

from enum import StrEnum


class Surface(StrEnum):
    """Where a sentence is shown."""

    MONITOR = "monitor"
    COMMAND_LINE = "command line"


# key of the monitor -> equivalent command; {job} is the job's number
COMMANDS: dict[str, str] = {
    "W": "fts worker",
    "P": "fts resume --queue",
    "a": "fts ack",
    "ctrl+r": "fts status",
    "e": "fts enqueue --matrix",
    "p": "fts resume {job}",
    "r": "fts retry {job}",
    "w": "fts report",
    "x": "fts cancel {job}",
    "2": "fts trials {job}",
    "4": "fts hardware",
    "5": "fts logs {job}",
    "6": "fts results",
    "7": "fts events",
}


def command(key: str, job_id: int | None = None) -> str:
    """Returns `fts retry 6`, or without a job `fts retry`."""
    return COMMANDS[key].format(job="" if job_id is None else job_id).rstrip()


def by(key: str, surface: Surface, job_id: int | None = None) -> str:
    """Returns the subject of `... retries it`: `r` in the monitor, "`fts retry 6`" on the command line."""
    return key if surface is Surface.MONITOR else f"`{command(key, job_id)}`"


def seen(surface: Surface) -> str:
    """Says how the user marks it as seen."""
    return "a = seen" if surface is Surface.MONITOR else f"{by('a', surface)} marks it as seen"
