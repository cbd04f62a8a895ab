"""The user's home folder, also for a user without one: a container's user may be a number without a name."""

from __future__ import annotations

import shlex
from pathlib import Path

NOWHERE = Path("/nonexistent")  # Debian's home for users without one: reads find nothing, and writes fail


def home() -> Path:
    """Returns `$HOME`, else the home folder in the system's user database, else NOWHERE."""
    try:
        return Path.home()
    except RuntimeError:
        return NOWHERE


def expanded(path: str | Path) -> Path:
    """Expands `~`, `~name` and `$HOME` as a shell does; an unknown `~name` stays as it is."""
    given = Path(path)
    if given.parts[:1] in (("$HOME",), ("${HOME}",)):
        return home().joinpath(*given.parts[1:])
    try:
        return given.expanduser()
    except RuntimeError:
        return NOWHERE.joinpath(*given.parts[1:]) if given.parts[0] == "~" else given


def shell_path(path: str | Path) -> str:
    """Returns the path as one word of a shell command: quoted, with `./` before a leading dash (no option then)."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)
