"""Keys in their order: one that opens a dialog is not overtaken by the next, and what is typed before the dialog has
its field waits for it; what follows the Enter that answers it waits until it is gone. Over a slow link many keys arrive
at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events

from fts.tui.screens.textual_fixes import MendedScreen

if TYPE_CHECKING:
    from textual.dom import DOMNode
    from textual.screen import Screen
    from textual.widget import Widget

    from fts.tui.app import Monitor

NEVER_HELD = ("ctrl+c", "ctrl+q")  # they leave, whatever is open
MOST = 1000  # keys that wait
LAPS = 4
AT_MOST_S = 0.5  # that they wait for an answer to take effect: its message goes from widget to widget


class KeyQueue:
    """Of one monitor."""

    def __init__(self, app: Monitor) -> None:
        self.app = app
        self.held: list[events.Key] = []
        self.answered: Screen[object] | None = None  # a dialog that has got its Enter

    def takes(self, event: events.Key) -> bool:
        """Whether a key that has just arrived is dealt with, or waits here until `release`."""
        self.app.app_focus = True  # Textual hears it later, of keys that are not held
        screen = self.app.screen_stack[-1] if self.app.screen_stack else None
        takes = getattr(screen, "takes", None)
        if takes is not None:
            return bool(takes(event))
        if screen is None or not getattr(screen, "HOLDS_KEYS", False) or event.key in NEVER_HELD:
            return False
        if not getattr(screen, "has_opened", True) or screen is self.answered:
            if len(self.held) < MOST:
                self.held.append(event)
            return True
        if isinstance(screen, MendedScreen):
            screen.focus_first()  # it may have lost it: to a click, or to a window in front
        if event.key == "enter":
            self.answered = screen
            self.app.call_later(self._follow, screen.focused, screen.focused)
            self.app.set_timer(AT_MOST_S, self._go_on)
        return False

    def _follow(self, field: DOMNode, widget: DOMNode | None, lap: int = 1) -> None:
        """Goes the way of the answer, behind it: the key down to the field and up again, then what the field says up to
        the dialog, which leaves."""
        if widget is not None and widget is not self.app:
            widget.call_later(self._follow, field, widget.parent, lap)
        elif lap < LAPS:
            self.app.call_later(self._follow, field, field, lap + 1)
        else:
            self._go_on()

    def _go_on(self) -> None:
        """What was typed behind the answer is read as if it were typed now."""
        if self.answered is not None:
            self.answered = None
            held, self.held = self.held, []
            self._again(held)

    def _again(self, held: list[events.Key]) -> None:
        for event in held:
            self.app.post_message(events.Key(event.key, event.character))

    def release(self, field: Widget) -> None:
        """The dialog has its field: it gets what was typed before, and everything that follows goes there by itself."""
        held, self.held = self.held, []
        ends = next((n for n, event in enumerate(held) if event.key == "enter"), len(held))
        for event in held[:ends]:
            field.post_message(event)
        field.call_later(self._again, held[ends:])  # the answer, and what was typed behind it


def release(field: Widget | None) -> None:
    """For a dialog whose focus has been set."""
    waiting = getattr(field.app, "key_queue", None) if field is not None else None
    if isinstance(waiting, KeyQueue) and field is not None:
        waiting.release(field)
