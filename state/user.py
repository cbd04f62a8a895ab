"""Names the person at the keyboard as the events do."""

from __future__ import annotations

import getpass
import platform


def this_person() -> str:
    """Returns user@host. A copy of `this_person` in fts.state.transitions.base, whose import would load huey for
    `fts status`; a test compares the two."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "somebody"
    return f"{user}@{platform.node()}"
