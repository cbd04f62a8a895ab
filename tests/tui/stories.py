"""Helpers of the stories: a monitor on a real database, driven by keys, read as text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fts.state import queries
from fts.state.db import open_database
from fts.tui.app import Monitor
from fts.tui.frame import frame_of
from fts.tui.render.text import as_text
from fts.tui.widgets.lines import Lines
from tests.tui import study


@asynccontextmanager
async def monitor(path: Path, size=(80, 24), **options):
    """(app, pilot) with the first read shown."""
    app = Monitor(path, user=options.pop("user", study.USER), **options)
    async with app.run_test(size=size) as pilot:
        await until(lambda: app.readings.reading is not None or app.readings.problem, pilot)
        await rest(app, pilot)
        yield app, pilot
        if app.is_running:
            on_screen(app)  # draws every widget once
        assert not app.faults, "a pane failed and was replaced by its error"


async def until(true: Callable[[], object], pilot=None, patience_s: float = 15.0) -> None:
    """Waits for something to become true; the stories name no times of their own.

    Asked less and less often: to read a screen takes longer than to wait, and another process may have to answer first.
    """
    end = asyncio.get_running_loop().time() + patience_s
    pause_s = 0.01
    while not true():
        assert asyncio.get_running_loop().time() < end, f"still not true: {true}"
        await (pilot.pause(pause_s) if pilot else asyncio.sleep(pause_s))
        pause_s = min(1.3 * pause_s, 0.2)


async def press(pilot, *keys: str) -> None:
    """Keys, one after another, each handled."""
    for key in keys:
        await pilot.press(key)
    await rest(pilot.app, pilot)


async def rest(app: Monitor, pilot) -> None:
    """Until every pane has its place and its lines."""
    before = None
    for _ in range(20):
        await pilot.pause()
        now = shown(app)
        if now == before:
            return
        before = now


def shown(app: Monitor) -> str:
    """The text of the base screen."""
    return as_text(frame_of(app.screen_stack[0]), app.ascii_only)


def on_screen(app: Monitor) -> str:
    """The text the terminal shows, dialogs included: what Textual's compositor would send."""
    strips = compositor_lines(app)
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


def compositor_lines(app: Monitor) -> list:
    """The only use of Textual's private compositor; test_the_terminal_shows_the_painted_lines guards it."""
    return app.screen._compositor.render_strips(app.size)


def dialog_text(app: Monitor) -> str:
    """The text of the dialog on top, as it stands on the screen, with what is written in its border."""
    if app.screen.query("#lines"):
        return as_text(app.screen.query_one("#lines", Lines).lines)
    box = app.screen.query("#box, #--container").first().region
    rows = on_screen(app).split("\n")[box.y : box.bottom]
    return "\n".join(row[box.x + 1 : box.right - 1].strip("─ ") for row in rows) + "\n"


def opened(app: Monitor, kind: type) -> bool:
    """A dialog of this kind is on top and painted."""
    return (
        isinstance(app.screen, kind) and bool(app.screen.query("#box, #--container, #lines")) and app.screen.is_current
    )


def rows(path: Path) -> dict[str, str]:
    """Cell name: status, from the database itself."""
    db = open_database(path, readonly=True)
    try:
        return {f"{job.budget}/h{job.horizon}": str(job.status) for job in queries.jobs(db)}
    finally:
        db.close()


def waiting(path: Path) -> list[str]:
    """The cells in line, by rank."""
    db = open_database(path, readonly=True)
    try:
        return [f"{job.budget}/h{job.horizon}" for job in queries.jobs(db, ["queued", "paused"])]
    finally:
        db.close()


def verbs(path: Path, last: int = 1) -> list[str]:
    """The latest verbs of the journal."""
    db = open_database(path, readonly=True)
    try:
        return [str(event.verb) for event in queries.events(db, limit=last)]
    finally:
        db.close()


async def settled(app, pilot):
    """Past the moment in which destructive keys are ignored."""
    app.appeared_at = app.navigation.moved_at = app.navigation.jumped_at = 0.0
    await pilot.pause()
