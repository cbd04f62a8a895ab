"""Determines why a trial process died: killed from outside, out of memory, or by its own code.

The kernel's OOM killer leaves no message, but Linux counts its victims. On other systems a SIGKILL counts as sent by a
person or a scheduler.
"""

from __future__ import annotations

import os
import re
import resource
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fts.jobs.cgroups import OWN, ROOT, groups_around
from fts.jobs.trial.cause import NO_MEMORY
from fts.jobs.trial.error_text import is_own
from fts.jobs.trial.stacks import WHERE
from fts.state.values import Cause

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LAST_WORDS = 2000  # bytes of a log
STACKS = 64_000  # bytes at the end of a log that contain the stacks of Python's faulthandler
THREAD = r"^(?:Current thread|Thread|Stack)\b.*:\n"
REPORT = re.compile(rf"(?:^Fatal Python error: .*\n\n)?(?:{THREAD}(?:^  .*\n)+\n?)+", re.MULTILINE)  # of all threads
FRAME = re.compile(r'^  File "(.+)", line (\d+)(?:,? in |$)', re.MULTILINE)
SENT = re.compile(r".*/fts-agent-[^/]+/code/[0-9a-f]{32}/(?!.*site-packages)")  # the user's code on a node
ESCAPED = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")  # a non-ASCII character in the stacks
STATE = re.compile(r"Python runtime state: ")  # follows the reason why an interpreter could not start
LOST = re.compile(r"^[\d:]{8} (process \d+ of a multiprocessing\.Pool ended .*)$", re.MULTILINE)  # see pools.py
# Signals that a process causes itself. Any other signal came from outside.
OF_ITS_OWN = {
    getattr(signal, name)
    for name in (
        "SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP", "SIGSYS",
        "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGPIPE", "SIGXFSZ",  # a timer it has set, a pipe it closed, a large file
    )
}  # fmt: skip


def cause_of_death(code: int | None, oom_kills: int, was_ready: bool, output: str = "") -> Cause:
    """Returns the cause of an exit code (negative: a signal).

    `oom_kills` is the number of victims of the OOM killer meanwhile. A process that was not `was_ready` could not
    import what every trial needs. `output` is the end of its output: a C++ library without memory aborts the process.
    """
    if code == -signal.SIGXCPU and resource.getrlimit(resource.RLIMIT_CPU)[0] == resource.RLIM_INFINITY:
        return Cause.CODE_ERROR  # only the code itself can have set this limit
    if code is not None and code < 0 and -code not in OF_ITS_OWN:
        return Cause.OUT_OF_MEMORY if code == -signal.SIGKILL and oom_kills > 0 else Cause.MACHINE_ERROR
    if any(words in output.lower() for words in (*NO_MEMORY, "memoryerror")):
        return Cause.OUT_OF_MEMORY
    return Cause.CODE_ERROR if was_ready else Cause.MACHINE_ERROR


def split_stacks(output: str, folder: Path | None) -> tuple[str, str | None]:
    """Splits a log's end into the output before the stacks, and the line of the code in `folder` that was executed.

    The line is None if there are no stacks, or none with code in `folder`.
    """
    reports = list(REPORT.finditer(output + "\n"))
    if not reports:
        return output[-LAST_WORDS:], None
    threads = re.split(f"(?m)(?={THREAD})", reports[-1][0])[::-1]  # the main thread is the last in the report
    threads.sort(key=lambda one: one.startswith("Thread"))  # the current thread first, then the main one
    return output[: reports[-1].start()].strip()[-LAST_WORDS:], own_line(FRAME.findall("".join(threads)), folder)


def lost_process(output: str) -> str:
    """Returns the log's sentence about a process that a Pool of the trial has lost, as the end of a sentence."""
    found = LOST.search(output)
    return "" if found is None else f"; {found[1]}"


def exception_line(output: str, folder: Path) -> str | None:
    """Returns the line of the code in `folder` where an exception ended a Python program with this output, or None."""
    _, raised, frames = output.rpartition("Traceback (most recent call last):\n")
    return own_line(FRAME.findall(frames)[::-1], folder) if raised else None


def own_line(frames: Sequence[tuple[str, str]], folder: Path | None) -> str | None:
    """Returns the first of these (file, line) pairs that is code in `folder`."""
    for name, line in frames:
        file = Path(unescaped(name))
        if folder is not None and (is_own(file, folder) or SENT.match(str(file))):
            return f"{file.name} line {line}"
    return None


def unescaped(file: str) -> str:
    return ESCAPED.sub(lambda found: chr(int(found[1][1:], 16)), file)


def log_tail(logs: Mapping[Path, int], count: int = LAST_WORDS) -> str:
    """Returns the last `count` bytes of the first log that has grown. `logs` maps a log to its former size."""
    for log, before in logs.items():
        with suppress(OSError), log.open("rb") as file:
            if (end := file.seek(0, os.SEEK_END)) > before:
                file.seek(max(before, end - count))
                return file.read().decode(errors="replace").strip()
    return ""


def size_of(path: Path) -> int:
    """Returns the size of a file in bytes; 0 if it does not exist."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def exit_sentence(code: int | None, oom_kills: int = 0) -> str:
    """Returns a sentence for an exit code."""
    if code == -WHERE:
        return "the trial process was killed by fts"
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else "of unknown name"
        who = " by the kernel, which ran out of memory" if code == -signal.SIGKILL and oom_kills > 0 else ""
        return f"the trial process was killed by signal {-code} ({name}){who}"
    return f"the trial process ended with exit code {code}"


def count_oom_kills(root: Path = ROOT, own: Path = OWN, vmstat: Path = Path("/proc/vmstat")) -> int:
    """Returns the number of victims of the OOM killer in our control group, else on this machine; 0 if unknown."""
    ours = [folder / "memory.events" for folder in groups_around(root, own, "")][:1]
    ours += [folder / "memory.oom_control" for folder in groups_around(root, own, "memory")][:1]
    for path in (*ours, vmstat):
        if (count := _named_count(path)) is not None:
            return count
    return 0


def _named_count(path: Path) -> int | None:
    try:
        pairs = (line.split() for line in path.read_text().splitlines())
        return next((int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] == "oom_kill"), None)
    except (OSError, ValueError):
        return None


_SIGNALS = (
    "Killed", "Terminated", "Hangup", "Aborted", "Bus error", "Segmentation fault", "Illegal instruction",
    "Floating point exception",
)  # fmt: skip
_SIGNAL = f"(?:{'|'.join(_SIGNALS)})"
_WHERE = r".*: line \d+:\s+\d+ "  # ./train.sh: line 3:  4242
# `Killed`, `Killed: 9`, `Segmentation fault (core dumped)`; after a place, also followed by the command
OF_SHELL = re.compile(rf"{_SIGNAL}(?:: \d+)?(?: \(core dumped\))?|{_WHERE}{_SIGNAL}\b.*")


def last_printed(output: str) -> str:
    """Returns the last line of a program's output; a shell's message about its end only if there is no other line."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and not STATE.match(line)]
    return next((line for line in reversed(lines) if not OF_SHELL.fullmatch(line)), lines[-1] if lines else "")
