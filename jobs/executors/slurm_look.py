"""Which nodes Slurm wants to have back when their work is done: `sinfo` is asked."""

from __future__ import annotations

import shutil
import subprocess

TAKES_S = 3.0  # the beats of the nodes wait meanwhile


def drained() -> frozenset[str]:
    """Names of the nodes that somebody drains; none where Slurm does not answer."""
    sinfo = shutil.which("sinfo")
    if sinfo is None:
        return frozenset()
    try:
        asked = [sinfo, "--noheader", "--Node", "--format=%N %T"]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=TAKES_S, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return frozenset()
    rows = [line.split() for line in said.splitlines()]
    return frozenset(row[0] for row in rows if len(row) == 2 and row[1].startswith("drain"))
