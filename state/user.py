"""Who is at the keyboard, in the words of the event journal."""

from __future__ import annotations

import getpass
import platform


def this_person() -> str:
    """user@host. The same as fts.state.transitions.base says, which would cost `fts status` the import of huey (a test
    holds the two together)."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "somebody"
    return f"{user}@{platform.node()}"
