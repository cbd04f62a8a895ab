"""Screen 5: the log of the selected trial: follow, search, levels, jumps in time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fts.tui.data import table_rows
from fts.tui.render.text import Line, rule
from fts.tui.screens.base import MonitorScreen
from fts.tui.screens.keys import HOUR
from fts.tui.widgets import event_list
from fts.tui.widgets.pane import Pane
from fts.tui.widgets.scrollbar import Extent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fts.tui.data.view import View

CLOCK = re.compile(r"\b(\d\d):(\d\d)(?::(\d\d))?\b")


def log(view: View, width: int, height: int) -> list[Line]:
    """Title with what is shown, and the lines."""
    trial = view.trial
    name = view.details.log_path or (f"t{trial.number}" if trial else "no log")
    lines = table_rows.log_of(view)
    shown = f"line {max(len(lines) - view.scroll, 0)} of {len(lines)}"
    level = f"  level {view.level}+" if view.level else ""
    search = f"  /{view.search}" if view.search else ""
    follow = "f follow on" if view.follow else "f follow off"
    hint = f"{shown}{level}{search}  {follow}"
    return [rule(f"log {name}", hint, width, view.focus == "log"), *event_list.log(view, width, height - 1)]


def extent(view: View, width: int, height: int) -> Extent:  # noqa: ARG001  # as Pane asks
    """Which lines are in sight."""
    lines, room = len(table_rows.log_of(view)), height - 1
    return Extent(lines, max(lines - view.scroll - room, 0), min(room, lines))


class LogsScreen(MonitorScreen):
    """The log alone: its keys search, jump in time and follow its end."""

    def panes(self) -> Iterable[Pane]:
        yield Pane("log", log, extent=extent)

    def action_search(self) -> None:
        hint = "Enter searches; n and N go to the next and previous match."
        self.ask("search", hint, self.desk.search, self._searched)

    def _searched(self, text: str) -> None:
        self.desk.search = text
        if text:
            self._find(-1)
        self.monitor.paint()

    def action_next_match(self) -> None:
        self._find(1)

    def action_previous_match(self) -> None:
        self._find(-1)

    def _find(self, step: int) -> None:
        lines, desk = table_rows.log_of(self.monitor.view()), self.desk
        if not desk.search or not lines:
            self.say("press / to search first")
            return
        at = find(lines, desk.search, len(lines) - 1 - desk.scroll, step)
        if at is None:
            self.say(f"no match for `{desk.search}` in {len(lines)} lines")
            return
        desk.scroll, desk.follow = len(lines) - 1 - at, False
        self.monitor.paint()

    def in_time(self, seconds: float) -> None:
        lines, desk = table_rows.log_of(self.monitor.view()), self.desk
        if lines:
            desk.scroll = len(lines) - 1 - jump(lines, len(lines) - 1 - desk.scroll, seconds)
            desk.follow = desk.scroll == 0
        self.monitor.paint()

    def action_day_on(self) -> None:
        self.in_time(HOUR)

    def action_follow(self) -> None:
        """Follows the end, or stays."""
        self.desk.follow = not self.desk.follow
        self.desk.scroll = 0 if self.desk.follow else max(self.desk.scroll, 1)
        self.monitor.paint()

    def action_overlay(self) -> None:
        """The next level."""
        at = table_rows.LEVELS.index(self.desk.level)
        self.desk.level, self.desk.scroll = table_rows.LEVELS[(at + 1) % len(table_rows.LEVELS)], 0
        self.monitor.paint()


def find(lines: Sequence[str], search: str, start: int, step: int) -> int | None:
    """Index of the next line with `search` in it (ignoring case), from `start` in direction `step`, around the end."""
    wanted = search.lower()
    for n in range(1, len(lines) + 1):
        at = (start + n * step) % len(lines)
        if wanted in lines[at].lower():
            return at
    return None


def jump(lines: Sequence[str], start: int, seconds: float) -> int:
    """Index of the first line at least `seconds` away from line `start` by the clock at the lines' beginnings."""
    here = next((t for t in (_seconds(lines[n]) for n in range(start, -1, -1)) if t is not None), None)
    if here is None:
        return min(max(start + (20 if seconds > 0 else -20), 0), len(lines) - 1)
    step = 1 if seconds > 0 else -1
    at, passed, last = start, 0.0, here
    while 0 <= at + step < len(lines):
        at += step
        stamp = _seconds(lines[at])
        if stamp is None:
            continue
        moved = stamp - last
        if abs(moved) > 43_200:  # past midnight
            moved += 86_400 if moved < 0 else -86_400
        passed, last = passed + moved, stamp
        if abs(passed) >= abs(seconds):
            break
    return at


def _seconds(text: str) -> float | None:
    found = CLOCK.search(text[:40])
    return None if found is None else int(found[1]) * 3600.0 + int(found[2]) * 60.0 + int(found[3] or 0)
