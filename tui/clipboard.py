"""Copies text to the terminal's clipboard, to tmux and to a file. tmux drops OSC 52 unless it is configured."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.state.files import home
from fts.tui.render.export import keep_clip

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TIMEOUT_S = 2.0  # for a tmux server that hangs


def load_tmux_buffer(text: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Puts the text into tmux's buffer, for `prefix ]`. Returns whether tmux has it; False outside of tmux.

    `-w` makes tmux also send it to the terminal's clipboard; tmux before 3.2 has no such option.
    """
    if not environ.get("TMUX"):
        return False
    return any(_loaded(options, text, environ) for options in (["-w"], []))


def copy(app: Any, text: str, report: Callable[[str], None], what: str = "") -> None:
    """Copies the text to the terminal, to tmux and to a file; calls `report` with a sentence when tmux has answered."""
    app.copy_to_clipboard(text)

    def keep() -> None:
        in_tmux = load_tmux_buffer(text)
        sent = "copied into tmux's buffer" if in_tmux else "sent to the terminal's clipboard (OSC 52)"
        try:
            kept = f"saved in {short(keep_clip(text))}"
        except OSError as error:
            kept = f"not saved in a file: {error.strerror}"
        app.call_from_thread(report, f"{what}{sent}, {kept}")

    app.run_worker(keep, thread=True, name="copy", exit_on_error=False)


def short(path: Path) -> str:
    """Writes a path below the home folder with ~: `~/.local/state/fts/clip.txt`."""
    return f"~/{path.relative_to(home())}" if path.is_relative_to(home()) else str(path)


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
