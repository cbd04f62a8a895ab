"""Keys in their order: one that opens a dialog is not overtaken by the next, and what is typed before the dialog has
its field waits for it. Over a slow link many keys arrive at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual import events
    from textual.widget import Widget

    from fts.tui.app import Monitor

NEVER_HELD = ("ctrl+c", "ctrl+q")  # they leave, whatever is open
MOST = 1000  # keys that wait


class TypedAhead:
    """Of one monitor."""

    def __init__(self, app: Monitor) -> None:
        self.app = app
        self.held: list[events.Key] = []

    def takes(self, event: events.Key) -> bool:
        """Whether a key that has just arrived is dealt with, or waits here until `release`."""
        screen = self.app.screen_stack[-1] if self.app.screen_stack else None
        takes = getattr(screen, "takes", None)
        if takes is not None:
            return bool(takes(event))
        waits = getattr(screen, "HOLDS_KEYS", False) and screen is not None and screen.focused is None
        if not waits or event.key in NEVER_HELD or len(self.held) >= MOST:
            return False
        self.held.append(event)
        return True

    def release(self, field: Widget) -> None:
        """The dialog has its field: it gets what was typed before, and everything that follows goes there by itself."""
        held, self.held = self.held, []
        for event in held:
            field.post_message(event)


def release(field: Widget | None) -> None:
    """For a dialog whose focus has been set."""
    waiting = getattr(field.app, "typed_ahead", None) if field is not None else None
    if isinstance(waiting, TypedAhead) and field is not None:
        waiting.release(field)
