"""The messages from the monitor's threads to the app. A newer read replaces an older one that still waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

from fts.state.errors import StateError

if TYPE_CHECKING:
    from fts.tui.data.reader import ReadResult


def in_words(error: Exception) -> str:
    """Returns an OSError without its number: `outputs/fts.db: Permission denied`; what other errors say."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) if isinstance(error, StateError | ValueError) else f"it failed: {error or type(error).__name__}"


class Arrived(Message):
    """The poller has read something new."""

    def __init__(self, reading: ReadResult) -> None:
        super().__init__()
        self.reading = reading

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, Arrived)


class Unreadable(Message):
    """The poller could not read. `kind`: busy, gone, schema, corrupt or failed; `sentence` is for the screen."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__()
        self.kind, self.sentence = kind, sentence

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, Unreadable)


class Acted(Message):
    """An action has ended, with its result or error as a sentence."""

    def __init__(self, action_id: str, sentence: str, failed: bool) -> None:
        super().__init__()
        self.action_id, self.sentence, self.failed = action_id, sentence, failed
