"""Screen 5: the log of the selected trial, with follow, search, level filter, jumps in time."""

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
    """Paints the log with a title about what is shown."""
    trial = view.trial
    name = view.details.log_path or (f"t{trial.number}" if trial else "")
    lines = table_rows.log_of(view)
    shown = f"line {max(len(lines) - view.scroll, 0)} of {len(lines)}"
    level = f"  level {view.level}+" if view.level else ""
    search = f"  /{view.search}" if view.search else ""
    follow = "f follow on" if view.follow else "f follow off"
    hint = f"{shown}{level}{search}  {follow}"
    return [rule(f"log {name}".rstrip(), hint, width, view.focus == "log"), *event_list.log(view, width, height - 1)]


def extent(view: View, width: int, height: int) -> Extent:  # noqa: ARG001  # called by Pane
    """Returns which lines are visible."""
    lines, room = len(table_rows.log_of(view)), height - 1
    return Extent(lines, max(lines - view.scroll - room, 0), min(room, lines))


class LogsScreen(MonitorScreen):
    """The log on the whole screen."""

    def panes(self) -> Iterable[Pane]:
        yield Pane("log", log, extent=extent)

    def action_search(self) -> None:
        hint = "Enter searches; n and N go to the next and previous match."
        self.ask("search", hint, self.navigation.search, self._searched)

    def _searched(self, text: str) -> None:
        self.navigation.search = text
        if text:
            self._find(-1)
        self.monitor.paint()

    def action_next_match(self) -> None:
        self._find(1)

    def action_previous_match(self) -> None:
        self._find(-1)

    def _find(self, step: int) -> None:
        lines, navigation = table_rows.log_of(self.monitor.view()), self.navigation
        if not navigation.search or not lines:
            self.say("press / to search first")
            return
        at = find(lines, navigation.search, len(lines) - 1 - navigation.scroll, step)
        if at is None:
            self.say(f"no match for `{navigation.search}` in {len(lines)} lines")
            return
        navigation.scroll, navigation.follow = len(lines) - 1 - at, False
        self.monitor.paint()

    def in_time(self, seconds: float) -> None:
        lines, navigation = table_rows.log_of(self.monitor.view()), self.navigation
        if lines:
            navigation.scroll = len(lines) - 1 - jump(lines, len(lines) - 1 - navigation.scroll, seconds)
            navigation.follow = navigation.scroll == 0
        self.monitor.paint()

    def action_day_on(self) -> None:
        self.in_time(HOUR)

    def action_follow(self) -> None:
        """Follows the end of the log, or stops following."""
        self.navigation.follow = not self.navigation.follow
        self.navigation.scroll = 0 if self.navigation.follow else max(self.navigation.scroll, 1)
        self.monitor.paint()

    def action_overlay(self) -> None:
        """Changes the level filter."""
        at = table_rows.LEVELS.index(self.navigation.level)
        self.navigation.level = table_rows.LEVELS[(at + 1) % len(table_rows.LEVELS)]
        self.navigation.scroll, self.navigation.follow = 0, True
        self.monitor.paint()


def find(lines: Sequence[str], search: str, start: int, step: int) -> int | None:
    """Returns the index of the next line that contains `search`, ignoring case, from `start` on; wraps around."""
    wanted = search.lower()
    for n in range(1, len(lines) + 1):
        at = (start + n * step) % len(lines)
        if wanted in lines[at].lower():
            return at
    return None


def jump(lines: Sequence[str], start: int, seconds: float) -> int:
    """Returns the index of the first line at least `seconds` away from line `start`, by the times in the lines.

    Moves 20 lines if no line has a time.
    """
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
