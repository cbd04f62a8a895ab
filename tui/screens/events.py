"""Screen 7: the journal: who did what and when, what can be undone, notes, and the replay control."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.status import formatting, naming
from fts.tui.data import table_rows
from fts.tui.render.text import Line, Placed, rule, wrapped
from fts.tui.widgets import event_list

if TYPE_CHECKING:
    from fts.tui.data.view import View


def panes(view: View, width: int, height: int) -> list[Placed]:
    """The journal, and the selected event in full below it."""
    rows = table_rows.events_of(view)
    hint = ", . replay  u undo  m note  / filter"
    below = 5 if height >= 14 else 0
    return [
        Placed("events", 0, 0, width, 1, lambda w, h: [rule(f"events ({len(rows)})", hint, w, True)]),
        Placed("", 0, 1, width, height - 1 - below, lambda w, h: event_list.journal(view, w, h)),
        Placed("", 0, height - below, width, below, lambda w, h: _full(view, w, h)),
    ]


def _full(view: View, width: int, height: int) -> list[Line]:
    rows = table_rows.events_of(view)
    event = next((e for e in rows if e.id == view.event_id), rows[0] if rows else None)
    if event is None:
        return []
    undo = "can be undone (u)" if event.inverse is not None and event.undone_by is None else "cannot be undone"
    if event.undone_by is not None:
        undo = f"undone by event {event.undone_by}"
    told = {name: value for name, value in event.data.items() if not isinstance(value, dict | list | None)}
    told.pop("pid_started", None)  # of no use to a person
    facts = ", ".join(f"{name.replace('_', ' ')} {formatting.number(value)}" for name, value in told.items())
    text = f"{naming.name_cells(event.message, view.snapshot.jobs)} · {facts}".strip(" ·")
    lines: list[Line] = [rule(f"event {event.id} · {str(event.verb).replace('_', ' ')} · {undo}", "", width)]
    rows_ = [row[: max(width - 1, 10)] for row in wrapped(text, max(width - 1, 10))]
    if len(rows_) > height - 1:
        rows_[height - 2 :] = [formatting.cut(rows_[height - 2], width - 3) + " …"]
    return [*lines, *(((row, ""),) for row in rows_)]
