"""What is still to be said, and to whom: a file beside the database that survives kill -9, without an address in it.

Events are looked at and their news are kept in one write, so that no end of a cell is missed or counted twice. What is
being sent is marked before and taken out after: a process that dies in between sends it once more, and says so.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fts.jobs.notify.news import Memory, News, from_json, to_json
from fts.state.files import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger("fts.notify")

MOST_NEWS = 500  # for one target; older ones are in the events


@dataclass
class Line:
    """What waits for one target."""

    news: list[News] = field(default_factory=list)
    sending: int = 0  # so many of them are under way
    maybe: bool = False  # a message may have arrived although nobody said so
    tries: int = 0  # that failed, one after another
    last_at: float = 0.0  # when a message was last sent, or could not be
    sent_at: float = 0.0  # when one was last sent; 0: none yet
    why: str = ""  # none could be sent at the last try, without a word of the address

    @property
    def trouble(self) -> str:
        """`3 tries failed: the answer was 401`; empty: the last message left."""
        tries = f"{self.tries} {'try' if self.tries == 1 else 'tries'} failed"
        return "" if not self.tries else f"{tries}: {self.why}" if self.why else tries


@dataclass
class Mailbox:
    """All of it, for one study."""

    path: Path
    memory: Memory
    lines: dict[str, Line] = field(default_factory=dict)
    is_unsaved: bool = False  # the file is older than what is here

    @classmethod
    def of(cls, path: Path, event: int) -> Mailbox:
        """What was left by the last process; where there is nothing, news begin after `event`."""
        try:
            given = json.loads(path.read_text())
            told = given["memory"]
            memory = Memory(
                int(told["event"]),
                bool(told["busy"]),
                {str(key): float(at) for key, at in told["told"].items()},
                [int(worker) for worker in told["lost"]],
            )
            lines = {str(name): _line(line) for name, line in given["targets"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls(path, Memory(event))
        return cls(path, memory, lines)

    def save(self) -> None:
        """On the disk when this returns. A full disk keeps no message from leaving: it may be about the disk."""
        memory = asdict(self.memory)
        del memory["since"]
        lines = {name: asdict(line) | {"news": to_json(line.news)} for name, line in self.lines.items()}
        try:
            atomic_write(self.path, json.dumps({"memory": memory, "targets": lines}) + "\n")
        except OSError as error:
            if not self.is_unsaved:
                log.warning("what was sent cannot be written down, and may be sent again: %s", error)
            self.is_unsaved = True
        else:
            self.is_unsaved = False

    def put(self, news: list[News], names: list[str]) -> None:
        """Into the line of each target; lines of removed targets go."""
        self.lines = {name: self.lines.get(name, Line()) for name in names}
        for line in self.lines.values():
            line.news.extend(news)
            if len(line.news) > MOST_NEWS:
                del line.news[line.sending : line.sending + len(line.news) - MOST_NEWS]

    @property
    def waits(self) -> bool:
        return any(line.news for line in self.lines.values())


def _line(given: dict[str, Any]) -> Line:
    news = from_json(given["news"])
    sending = min(int(given["sending"]), len(news))
    tries, last_at = int(given["tries"]), float(given["last_at"])
    sent_at = float(given.get("sent_at", 0.0 if tries else last_at))  # a file of an earlier version has none
    maybe = bool(given["maybe"]) or sending > 0  # the process that sent them is gone
    return Line(news, 0, maybe, tries, last_at, sent_at, str(given.get("why", "")))
