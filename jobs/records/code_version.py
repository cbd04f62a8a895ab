"""Reads the version of the running code, which every trial records."""

from __future__ import annotations

import subprocess
from pathlib import Path


def code_version() -> tuple[str | None, bool | None]:
    """Returns (commit, uncommitted changes) of the checkout of this code; (None, None) if it is not a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None, None
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "fts", "state", "jobs")
    return (commit, bool(changes)) if commit and changes is not None else (None, None)


def _git(root: Path, *words: str) -> str | None:
    command = [
        "git",
        "--no-optional-locks",
        "-C",
        str(root),
        *words,
    ]  # if killed while holding a lock, git would stop working there
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
