"""Asks Slurm which nodes are being drained, and why a job waits."""

from __future__ import annotations

import re
import shutil
import subprocess

TAKES_S = 3.0  # time limit: the heartbeats to the nodes wait meanwhile
WAITS = re.compile(r"srun: job (\d+) queued and waiting for resources")


def drained() -> frozenset[str]:
    """Returns the names of drained nodes; empty if Slurm does not answer."""
    rows = [line.split() for line in answer("sinfo", "--noheader", "--Node", "--format=%N %T").splitlines()]
    return frozenset(row[0] for row in rows if len(row) == 2 and row[1].startswith("drain"))


def with_reason(line: str) -> str:
    """Returns `job 4711 waits in Slurm: Resources` for srun's "queued" line, which has no reason; else the line."""
    waits = WAITS.search(line)
    reason = waits and answer("squeue", "--noheader", f"--jobs={waits[1]}", "--format=%r").strip()
    return f"job {waits[1]} waits in Slurm: {reason}"[:300] if waits and reason and reason != "None" else line


def answer(command: str, *words: str) -> str:
    """Returns the output of a Slurm command; empty if it is not installed or does not answer."""
    path = shutil.which(command)
    if path is None:
        return ""
    try:
        return subprocess.run(
            [path, *words], capture_output=True, text=True, errors="replace", timeout=TAKES_S, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
