"""Gives copied text to tmux, which passes on what a program sends to the clipboard only where it was told to."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S = 2.0  # a hung server must not hold up the next key for longer


def load_tmux_buffer(text: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether tmux has the text now, for `prefix ]` and `tmux show-buffer`; False outside of tmux.

    `-w` also sends it to the terminal, as tmux does with its own copies; a tmux before 3.2 has no such option.
    """
    if not environ.get("TMUX"):
        return False
    return any(_loaded(options, text, environ) for options in (["-w"], []))


def short(path: Path) -> str:
    """~/.local/state/fts/clip.txt."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _loaded(options: list[str], text: str, environ: Mapping[str, str]) -> bool:
    try:
        done = subprocess.run(
            ["tmux", "load-buffer", *options, "-"],
            input=text.encode(),
            env=dict(environ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
