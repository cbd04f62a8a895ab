"""Keeps keys in order around dialogs: over a slow link many keys arrive at once.

Keys typed before a dialog has its focus wait for it. Keys typed after the Enter that answers it wait until it is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events

from fts.tui.screens.textual_fixes import MendedScreen

if TYPE_CHECKING:
    from textual.dom import DOMNode
    from textual.screen import Screen
    from textual.widget import Widget

    from fts.tui.app import Monitor

NEVER_HELD = ("ctrl+c", "ctrl+q")  # they leave the monitor, whatever is open
MOST = 1000  # keys that are held
LAPS = 4  # times that `_follow` goes from the field to the app
AT_MOST_S = 0.5  # after this the held keys go on, even if the dialog is still there


class KeyQueue:
    """The held keys of one monitor."""

    def __init__(self, app: Monitor) -> None:
        self.app = app
        self.held: list[events.Key] = []
        self.answered: Screen[object] | None = None  # the dialog that has received its Enter

    def takes(self, event: events.Key) -> bool:
        """Handles or holds a key that has just arrived. Returns False if the app should handle it as usual."""
        self.app.app_focus = True  # a key proves that the terminal has the focus; Textual sets it later
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
            screen.focus_first()  # it may have lost the focus to a click or another window
        if event.key == "enter":
            self.answered = screen
            self.app.call_later(self._follow, screen.focused, screen.focused)
            self.app.set_timer(AT_MOST_S, self._go_on)
        return False

    def _follow(self, field: DOMNode, widget: DOMNode | None, lap: int = 1) -> None:
        """Visits each widget from the field up to the app, several times, behind the messages of the answer.

        The Enter goes to the field and up again, then the field's message goes up to the dialog, which closes.
        """
        if widget is not None and widget is not self.app:
            widget.call_later(self._follow, field, widget.parent, lap)
        elif lap < LAPS:
            self.app.call_later(self._follow, field, field, lap + 1)
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Sends the keys that were typed after the answer."""
        if self.answered is not None:
            self.answered = None
            held, self.held = self.held, []
            self._resend(held)

    def _resend(self, held: list[events.Key]) -> None:
        for event in held:
            self.app.post_message(events.Key(event.key, event.character))

    def release(self, field: Widget) -> None:
        """Sends the held keys to the field that now has the focus; later keys reach it without us."""
        held, self.held = self.held, []
        ends = next((n for n, event in enumerate(held) if event.key == "enter"), len(held))
        for event in held[:ends]:
            field.post_message(event)
        field.call_later(self._resend, held[ends:])  # the Enter, and the keys after it


def release(field: Widget | None) -> None:
    """Releases the held keys of the field's app. Dialogs call it when their focus is set."""
    waiting = getattr(field.app, "key_queue", None) if field is not None else None
    if isinstance(waiting, KeyQueue) and field is not None:
        waiting.release(field)
