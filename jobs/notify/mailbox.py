"""Stores unsent messages by target in a file next to the database; survives kill -9, contains no addresses.

The number of the last event and the news made from events are saved in one write, so that no end of a cell is missed
or reported twice. Messages are marked before they are sent and removed after: if the process dies in between, they are
sent once more, with a note about it.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fts.jobs.notify.news import Memory, News, from_json, to_json
from fts.jobs.status.concern import About
from fts.state.files import ABSENT, atomic_write, naming

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

log = logging.getLogger("fts.notify")

MOST_NEWS = 500  # per target; older news can be read in the events
ABSENT_S = 86_400.0  # time until a target that the file of addresses does not name is a removed one


@dataclass
class TargetQueue:
    """The queue of one target."""

    news: list[News] = field(default_factory=list)
    sending: int = 0  # number of news in the message that is being sent
    maybe: bool = False  # the message may have arrived without confirmation
    tries: int = 0  # failed tries in a row
    last_at: float = 0.0  # time of the last try
    sent_at: float = 0.0  # time of the last success; 0: none yet
    why: str = ""  # why the last try failed, without any part of the address
    left_out: dict[str, int] = field(default_factory=dict)  # kind of news -> number of older ones that were dropped
    absent_since: float = 0.0  # since when the file of addresses has not named the target; 0: it names it

    @property
    def trouble(self) -> str:
        """`3 tries failed: the answer was 401`; empty if the last message was sent."""
        tries = f"{self.tries} {'try' if self.tries == 1 else 'tries'} failed"
        return "" if not self.tries else f"{tries}: {self.why}" if self.why else tries


@dataclass
class Mailbox:
    """The queues of all targets of one study."""

    path: Path
    memory: Memory
    lines: dict[str, TargetQueue] = field(default_factory=dict)
    is_unsaved: bool = False  # the last save failed

    @classmethod
    def of(cls, path: Path, event: int) -> Mailbox:
        """Loads what the last process left; without a valid file, news begin after `event`.

        Raises OSError if the file cannot be read now: the next save would drop its unsent messages.
        """
        try:
            with naming(path):
                given = json.loads(path.read_text())
            told = given["memory"]
            memory = Memory(
                int(told["event"]),
                bool(told["busy"]),
                {str(key): float(at) for key, at in told["told"].items()},
                [int(worker) for worker in told["lost"]],
                event_at=float(told.get("event_at", 0.0)),  # missing in files of earlier versions
            )
            lines = {str(name): _line(line) for name, line in given["targets"].items()}
        except ABSENT:
            return cls(path, Memory(event))
        except (ValueError, KeyError, TypeError, AttributeError):
            log.warning("%s is not what fts has written, so its unsent messages are lost", path)
            return cls(path, Memory(event))
        return cls(path, memory, lines)

    def save(self) -> None:
        """Saves to the disk. An error does not stop the messages, because one may be about a full disk."""
        memory = asdict(self.memory)
        del memory["since"]
        lines = {name: asdict(line) | {"news": to_json(line.news)} for name, line in self.lines.items()}
        try:
            atomic_write(self.path, json.dumps({"memory": memory, "targets": lines}) + "\n")
        except OSError as error:
            if not self.is_unsaved:
                log.warning("the record of sent messages cannot be saved, so they may be sent again: %s", error)
            self.is_unsaved = True
        else:
            self.is_unsaved = False

    def put(self, news: list[News], names: Collection[str], now: float) -> None:
        """Adds news to the queues of the targets that the file of addresses names now, or has named lately.

        The file may be missing or half edited for a moment; a queue is dropped after ABSENT_S without its target.
        """
        for name, line in self.lines.items():
            line.absent_since = 0.0 if name in names else line.absent_since or now
        self.lines = {
            name: line for name, line in self.lines.items() if abs(now - (line.absent_since or now)) < ABSENT_S
        }
        for name in names:
            self.lines.setdefault(name, TargetQueue())
        for line in self.lines.values():
            line.news.extend(news)
            for one in line.news[:-MOST_NEWS]:
                line.left_out[one.about] = line.left_out.get(one.about, 0) + 1
            del line.news[:-MOST_NEWS]

    @property
    def waits(self) -> bool:
        return any(line.news for line in self.lines.values())


def _line(given: dict[str, Any]) -> TargetQueue:
    news = from_json(given["news"])
    sending = min(int(given["sending"]), len(news))
    tries, last_at = int(given["tries"]), float(given["last_at"])
    sent_at = float(given.get("sent_at", 0.0 if tries else last_at))  # missing in files of earlier versions
    maybe = bool(given["maybe"]) or sending > 0  # the process died while it sent them
    absent_since = float(given.get("absent_since", 0.0))
    left_out = {str(About(kind)): int(n) for kind, n in given.get("left_out", {}).items()}
    return TargetQueue(news, 0, maybe, tries, last_at, sent_at, str(given.get("why", "")), left_out, absent_since)
