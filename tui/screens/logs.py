"""Screen 5: the log of the selected trial: follow, search, levels, jumps in time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fts.tui.data import table_rows
from fts.tui.render.text import Placed, rule
from fts.tui.widgets import event_list

if TYPE_CHECKING:
    from fts.tui.data.view import View

CLOCK = re.compile(r"\b(\d\d):(\d\d)(?::(\d\d))?\b")


def panes(view: View, width: int, height: int) -> list[Placed]:
    """One pane: title with what is shown, and the lines."""
    trial = view.trial
    name = view.details.log_path or (f"t{trial.number}" if trial else "no log")
    lines = table_rows.log_of(view)
    shown = f"line {max(len(lines) - view.scroll, 0)} of {len(lines)}"
    level = f"  level {view.level}+" if view.level else ""
    search = f"  /{view.search}" if view.search else ""
    follow = "f follow on" if view.follow else "f follow off"
    hint = f"{shown}{level}{search}  {follow}"
    return [
        Placed("log", 0, 0, width, 1, lambda w, h: [rule(f"log {name}", hint, w, True)]),
        Placed("", 0, 1, width, height - 1, lambda w, h: event_list.log(view, w, h)),
    ]


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
