"""Screen 7: the journal of events: who did what and when, what can be undone, notes, replay."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fts.jobs.status import formatting
from fts.tui.data import table_rows
from fts.tui.render.text import Line, rule, whole
from fts.tui.screens.base import MonitorScreen
from fts.tui.screens.keys import HOUR
from fts.tui.widgets import event_list
from fts.tui.widgets.pane import Long, Pane, TableSettings
from fts.tui.widgets.scrollbar import Extent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fts.tui.data.view import View


def events(view: View, width: int, height: int) -> list[Line]:
    """Paints the journal."""
    hint = ", . replay  / filter" if view.readonly else ", . replay  u undo  m note  / filter"
    title = rule(f"events ({_count(view)})", hint, width, view.focus == "events")
    return [title, *event_list.journal(view, width, height - 1)]


def _count(view: View) -> str:
    """Returns how many events are listed: `1613`, `the latest 3,000`, with a filter `2 of the latest 3,000`."""
    found, kept = len(table_rows.events_of(view)), view.details.events or view.snapshot.events
    if not kept or kept[0].id == 1:
        return str(found)
    return f"{found} of the latest {len(kept):,}" if view.filter else f"the latest {found:,}"


def rows(view: View, width: int, height: int) -> list[int | None]:  # noqa: ARG001  # as Table asks
    """Returns the event id of each line of the pane; None for title and heading."""
    found = table_rows.events_of(view)
    cursor = next((n for n, event in enumerate(found) if event.id == view.event_id), 0)
    first, last = table_rows.window(len(found), height - 2, cursor)
    return [None, None, *(event.id for event in found[first:last])]


def extent(view: View, width: int, height: int) -> Extent:
    """Returns which events are visible."""
    found = [event.id for event in table_rows.events_of(view)]
    seen = [id for id in rows(view, width, height) if id is not None]
    return Extent(len(found), found.index(seen[0]) if seen else 0, len(seen))


COLUMNS = {"when": "time", "who": "who", "what": "verb"}


class EventsScreen(MonitorScreen):
    """The journal, with the selected event in full below it."""

    DEFAULT_CSS = """
    EventsScreen {
        #full { height: 5; }
        &.-h8 #full { display: none; }
    }
    """

    def panes(self) -> Iterable[Pane]:
        yield Pane("events", events, table=TableSettings(rows, lambda *_: COLUMNS, heading=1), extent=extent)
        yield Pane("event", full, long=Long(), id="full")

    def in_time(self, seconds: float) -> None:
        """h and l: moves the replay by an hour."""
        step = HOUR if seconds > 0 else -HOUR
        self.replay_to((self.navigation.at or time.time()) + step)

    def action_day_on(self) -> None:
        self.in_time(HOUR)


def full(view: View, width: int, height: int) -> list[Line]:  # noqa: ARG001  # a painter
    """Paints the selected event in full."""
    rows = table_rows.events_of(view)
    event = next((e for e in rows if e.id == view.event_id), rows[0] if rows else None)
    if event is None:
        return []
    undo = "can be undone (u)" if event.inverse is not None and event.undone_by is None else "cannot be undone"
    if event.undone_by is not None:
        undo = f"undone by event {event.undone_by}"
    data = {name: value for name, value in event.data.items() if not isinstance(value, dict | list | None)}
    data.pop("pid_started", None)  # means nothing to a person
    new = {name: value for name, value in data.items() if f" {name} {value}," not in f" {event.message},"}
    facts = ", ".join(f"{name.replace('_', ' ')} {formatting.number(value)}" for name, value in new.items())
    text = f"{event_list.message_of(event, view.snapshot.jobs)} · {facts}".strip(" ·")
    verb = str(event.verb).replace("_", " ")
    lines: list[Line] = [rule(f"event {event.id} · {verb} · {undo}", "", width, view.focus == "event")]
    room = max(width - 1, 10)
    lines += [((row, ""),) for row in whole(text, room)]
    return lines
