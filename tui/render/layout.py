"""One frame: the glance above, the panes of a screen, the bar of keys below; the same for terminal, file and test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.status import formatting
from fts.jobs.status.headline import lines as glance_lines
from fts.state.values import Job
from fts.tui.data import table_rows
from fts.tui.data.trial_store import ids_of
from fts.tui.data.view import EVENTS, QUEUE, SCREENS, TRIALS, View
from fts.tui.render.text import Failed, Line, Placed, clip, compose, with_role, wrapped
from fts.tui.screens import curves, events, hardware, logs, queue, results, trials
from fts.tui.widgets import footer, queue_table

if TYPE_CHECKING:
    from collections.abc import Callable

PANES: tuple[Callable[[View, int, int], list[Placed]], ...] = (
    queue.panes,
    trials.panes,
    curves.panes,
    hardware.panes,
    logs.panes,
    results.panes,
    events.panes,
)


def frame(view: View, width: int, height: int, failed: Failed | None = None) -> list[Line]:
    """Exactly `height` lines of exactly `width` columns; with `failed` a faulty pane shows its error instead."""
    if width < 40 or height < 8:
        top = glance_lines(view.glance, width, height)
        return [clip(row, width) for row in (*top, *([()] * height))][:height]
    top = glance_lines(view.glance, width, height, SCREENS, view.screen)
    body = height - len(top) - 1
    painted = (
        compose(placed(view, width, body), width, body, failed) if not view.missing else _missing(view, width, body)
    )
    if view.glance.is_stale or view.problem:
        painted = [with_role(row, "faded") for row in painted]
    bar = [clip(row, width) for row in footer.rows(view, width)]
    return [*top, *painted[: body + 1 - len(bar)], *bar]


def _missing(view: View, width: int, height: int) -> list[Line]:
    """No database: what to do, in words."""
    text = wrapped(view.missing, width - 4)
    lines: list[Line] = [(), *((("  " + row, ""),) for row in text)]
    return [clip(row, width) for row in (*lines, *([()] * height))][:height]


def row_at(view: View, width: int, height: int, x: int, y: int) -> int | None:
    """The id of the row of a table at a place of the body; None where there is no row."""
    for pane in placed(view, width, height):
        if not (pane.x <= x < pane.x + pane.width and pane.y <= y < pane.y + pane.height):
            continue
        if view.screen == QUEUE and pane.name == "queue":
            head = int(queue_table.has_heading(view, width))
            shown = table_rows.shelf(view, pane.height - head)
            at = y - pane.y - head
            found = shown[at] if 0 <= at < len(shown) else None
            return found.id if isinstance(found, Job) else None
        if view.screen in (TRIALS, EVENTS) and pane.x == 0 and pane.y == 1:
            trials = view.screen == TRIALS
            ids = ids_of(table_rows.trials_of(view)) if trials else [row.id for row in table_rows.events_of(view)]
            chosen = view.trial_id if trials else view.event_id
            first, last = table_rows.window(len(ids), pane.height - 1, ids.index(chosen) if chosen in ids else 0)
            at = first + y - pane.y - 1
            return ids[at] if first <= at < last else None
    return None


def placed(view: View, width: int, height: int) -> list[Placed]:
    """The panes of the screen, or the focused one alone when zoomed."""
    found = PANES[view.screen](view, width, height)
    if not view.zoomed:
        return found
    return _zoomed(view, found, width, height)


def pane_names(view: View, width: int, height: int) -> list[str]:
    """The panes Tab goes through."""
    return [pane.name for pane in PANES[view.screen](view, width, height) if pane.name]


def body_height(view: View, width: int, height: int) -> tuple[int, int]:
    """(first row, rows) of the body."""
    top = len(glance_lines(view.glance, width, height, SCREENS, view.screen))
    return top, height - top - 1


ZOOMED = {
    "curve": 2,
    "hardware": 3,
    "events": 6,
    "results": 5,
    "trials": 1,
    "log": 4,
    "diff": 1,
}  # a pane's full view is the screen of the same subject


def _zoomed(view: View, found: list[Placed], width: int, height: int) -> list[Placed]:
    name = view.focus or next((pane.name for pane in found if pane.name), "")
    if name == "queue":
        return [Placed("queue", 0, 0, width, height, found[0].paint)]
    subject = ZOOMED.get(name)
    if subject is None or subject == view.screen:
        return [Placed(p.name, 0, 0, width, height, p.paint) for p in found if p.name == name and p.height > 1] or found
    return PANES[subject](view, width, height)


def text(painted: list[Line], ascii_only: bool = False) -> str:
    """The frame as text, trailing blanks cut."""
    rows = ("".join(part for part, _ in row).rstrip() for row in painted)
    return "\n".join(formatting.to_ascii(row) if ascii_only else row for row in rows) + "\n"
