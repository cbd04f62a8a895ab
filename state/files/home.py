"""The person's own folder, also where nobody knows one: the user of a container may be a number without a name."""

from __future__ import annotations

from pathlib import Path

NOWHERE = Path("/nonexistent")  # Debian's home of users without one: nothing to read is there, and no write succeeds


def home() -> Path:
    """`$HOME`, else what the system has on record of this user, else NOWHERE."""
    try:
        return Path.home()
    except RuntimeError:
        return NOWHERE


def expanded(path: str | Path) -> Path:
    """The path with `~`, `~name` and `$HOME` as a shell has them: as it stands where there is nobody of that name."""
    given = Path(path)
    if given.parts[:1] in (("$HOME",), ("${HOME}",)):
        return home().joinpath(*given.parts[1:])
    try:
        return given.expanduser()
    except RuntimeError:
        return NOWHERE.joinpath(*given.parts[1:]) if given.parts[0] == "~" else given
