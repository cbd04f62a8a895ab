"""What reaches the enqueue dialog from the commands it asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from fts.study.preview import Preview, SearchSettings


class Planned(Message):
    """What an order would take, as `fts plan` says it; or why it cannot say."""

    def __init__(self, settings: SearchSettings, plan: Preview | str) -> None:
        super().__init__()
        self.settings, self.plan = settings, plan


class DataListed(Message):
    """The names of each tier's data sets, as `fts data list` has them; or why it cannot say."""

    def __init__(self, found: dict[str, tuple[str, ...]] | str) -> None:
        super().__init__()
        self.found = found


class Tried(Message):
    """What the dry run of an order said, a sentence for each cell; or why it ended."""

    def __init__(self, said: list[str] | str) -> None:
        super().__init__()
        self.said = said
