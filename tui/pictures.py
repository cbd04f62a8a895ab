"""Draws any screen of the monitor as text, SVG and PNG without a terminal: `fts snapshot`, the README, tests.

An app without a terminal runs the real screens, so a picture shows the same as the monitor.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from textual import events
from textual.app import App
from textual.geometry import Size

from fts.frozen import dataclass
from fts.jobs.status import formatting
from fts.jobs.status import summary as glances
from fts.jobs.status.log_excerpt import trouble
from fts.jobs.status.sanitize import clean
from fts.state import queries
from fts.tui import bindings
from fts.tui.data.reader import Reader, ReadRequest, ReadResult
from fts.tui.data.view import CURVES, SCREENS, Hint, View
from fts.tui.frame import frame_of, placed
from fts.tui.modes import MODES
from fts.tui.navigation import Navigation
from fts.tui.render import export, theme
from fts.tui.render.text import as_text
from fts.tui.render.textual_theme import theme_of
from fts.tui.screens.base import MonitorScreen
from fts.tui.widgets import learning_curve
from fts.tui.widgets.pane import Pane

if TYPE_CHECKING:
    from pathlib import Path

    from textual.geometry import Region
    from textual.pilot import Pilot

    from fts.tui.render.text import Line


STABLE_ROUNDS = 2  # rounds without a change after which a frame is complete
FIRST_SIZE = (10, 4)  # of the app at its start; no picture has it, so the first one is laid out like every later one
MOST_ROUNDS = 400  # Textual rounds until a frame should be complete
LONGEST_S = 15.0  # until it must be: Textual's timers run by the clock, and may be late on a busy machine
LATER_S = 0.01  # between two of the rounds that follow


@dataclass(frozen=True)
class Picture:
    """One frame as lines, text and SVG; the PNG is made on demand."""

    lines: tuple[Line, ...]
    text: str
    svg: str

    @property
    def png(self) -> bytes:
        return export.png(self.svg)


def render(
    db_path: Path,
    screen: str = "queue",
    size: tuple[int, int] = (120, 40),
    theme: str = "dark",
    at: float | None = None,
    *,
    now: float | None = None,
    user: str = "",
    ascii_only: bool = False,
    job_id: int | None = None,
    title: str = "",
) -> Picture:
    """Draws a screen of the database at `db_path`; `size` is (columns, rows).

    `at` shows a past moment, as a replay does; `now` replaces the clock, for pictures that must not change.
    Raises ValueError for an unknown screen or theme, and the errors of fts.state.errors.
    """
    view = look(db_path, screen, size, at, now=now, user=user, job_id=job_id, title=title)
    lines = frame(replace(view, hints=_hints(view, size, ascii_only)), *size)
    named = f"fts {screen} {size[0]}x{size[1]}"
    return Picture(tuple(lines), as_text(lines, ascii_only), export.svg(lines, theme, named))


def look(
    db_path: Path,
    screen: str,
    size: tuple[int, int],  # noqa: ARG001  # unused: so that callers can pass the same arguments as to render()
    at: float | None = None,
    *,
    now: float | None = None,
    user: str = "",
    job_id: int | None = None,
    title: str = "",
) -> View:
    """Reads the database and returns the view of a screen, without drawing it."""
    names = [name.lower() for name in SCREENS]
    if screen.lower() not in names:
        raise ValueError(f"screen is {screen!r}, expected one of {', '.join(names)}")
    number = names.index(screen.lower())
    navigation = Navigation(screen=number, job_id=job_id, at=at)
    reading = read_twice(db_path, navigation, user, number, now)
    moment = at if at is not None else now if now is not None else time.time()
    glance = glances.look(
        reading.snapshot,
        moment,
        since=reading.snapshot.last_key_at,
        title=clean(title or db_path.absolute().parent.parent.name),
        events=reading.details.events or None,
        counted=reading.details.counted,
        problem=queries.newer_schema(reading.snapshot),
        kept=reading.details.kept,
        locked_by=reading.locked_by,
        mode=f"REPLAY {formatting.when(at, time.time())}" if at is not None else "",
    )
    view = navigation.view(glance, reading.details)
    rows = navigation.rows(view)
    if rows and navigation.trial_id is None and screen.lower() == "trials":
        navigation.choose(rows[0])
    return navigation.view(glance, reading.details)


def read_twice(db_path: Path, navigation: Navigation, user: str, screen: int, now: float | None = None) -> ReadResult:
    """Reads once to choose the cell to show, then again with the details of that cell."""
    reader = Reader(db_path)
    try:
        request = ReadRequest(
            user=user, screen=screen, job_id=navigation.job_id, with_log=True, with_day=True, at=navigation.at, now=now
        )
        first = reader.read(request)
        assert first is not None, "the first read of a reader always answers"
        navigation.settle(first.snapshot, 0.0)
        moment = navigation.at if navigation.at is not None else now if now is not None else time.time()
        job = trouble(first.snapshot, moment, navigation.job_id)
        request = replace(request, words_of=None if job is None else job.id, trial_id=navigation.trial_id)
        best_of = tuple(job.id for job in first.snapshot.jobs) if screen == CURVES else ()
        second = reader.read(replace(request, job_id=navigation.job_id, best_of=best_of))
        return second or first
    finally:
        reader.close()


def _hints(view: View, size: tuple[int, int], ascii_only: bool) -> tuple[Hint, ...]:
    jobs = [view.job] if view.job else []
    stepless = view.screen == CURVES and learning_curve.without_steps(view)
    return bindings.hints(
        view.screen, size[0], view.snapshot, jobs, readonly=False, ascii_only=ascii_only, stepless=stepless
    )


# ---------------------------------------------------------------- drawing


def frame(view: View, width: int, height: int) -> list[Line]:
    """Draws the screen of a view: exactly `height` lines of exactly `width` columns."""
    with _lock:
        _renderers[:] = _renderers or [Renderer()]
        return _renderers[0].draw(view, width, height)


_renderers: list[Renderer] = []  # one for all pictures of a process
_lock = threading.Lock()


class Renderer(threading.Thread):
    """A thread that draws views on an app without a terminal. It runs as long as the process."""

    def __init__(self) -> None:
        super().__init__(name="pictures", daemon=True)
        self._loop = asyncio.new_event_loop()
        self._wanted: asyncio.Queue[tuple[View, Size, Future[list[Line]]]] = asyncio.Queue()
        self._ended: Future[None] = Future()
        self.start()

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        """Draws a view. Raises what a painter raises, or the error that ended the thread."""
        found: Future[list[Line]] = Future()
        self._loop.call_soon_threadsafe(self._wanted.put_nowait, (view, Size(width, height), found))
        either: tuple[Future[Any], ...] = (found, self._ended)
        wait(either, return_when=FIRST_COMPLETED)
        if not found.done():
            self._ended.result()
        return found.result()

    def run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._draw_on())
        except BaseException as error:  # noqa: BLE001  # raised in the callers that wait for a picture
            self._ended.set_exception(error)

    async def _draw_on(self) -> None:
        app, printing = HeadlessApp(), (sys.stdout, sys.stderr)
        async with app.run_test(size=FIRST_SIZE) as pilot:
            sys.stdout, sys.stderr = printing  # Textual captures prints while an app runs; they would be lost
            while True:
                view, size, found = await self._wanted.get()
                try:
                    found.set_result(await app.drawn(pilot, view, size))
                except Exception as error:  # noqa: BLE001  # raised in the caller that asked for the picture
                    found.set_exception(error)


class HeadlessApp(App[None]):
    """The seven screens without a database and without keys."""

    ENABLE_COMMAND_PALETTE = False
    MODES = MODES
    DEFAULT_MODE = SCREENS[0]
    palette, ascii_only = "dark", False  # export.svg colours the lines, and as_text converts them to ASCII

    def __init__(self) -> None:
        super().__init__()
        self.register_theme(theme_of("dark"))
        self.theme = theme.of_textual("dark")
        self.shown: View | None = None
        self.failed: Exception | None = None

    async def drawn(self, pilot: Pilot[None], view: View, size: Size) -> list[Line]:
        """Shows a view and returns the lines of its screen once they no longer change."""
        self.shown, self.failed = view, None
        if self.current_mode != SCREENS[view.screen]:
            await self.switch_mode(SCREENS[view.screen])
        if self.size != size:
            self.post_message(events.Resize(size, size))
        self.paint()
        before: list[tuple[Region, list[Line]]] = []
        unchanged = 0
        until, rounds = time.monotonic() + LONGEST_S, 0
        while rounds < MOST_ROUNDS or time.monotonic() < until:
            await pilot.pause(0 if rounds < MOST_ROUNDS else LATER_S)
            rounds += 1
            if self.failed is not None:
                raise self.failed
            now = placed(self.screen)
            unchanged = unchanged + 1 if now == before and self._is_painted(size) else 0
            if unchanged == STABLE_ROUNDS:
                return frame_of(self.screen)
            before = now
        raise RuntimeError(f"{SCREENS[view.screen]} at {size.width}x{size.height} does not come to rest")

    def _is_painted(self, size: Size) -> bool:
        """Returns whether the screen was laid out for this size and every visible pane has painted the view."""
        panes = [pane for pane in self.screen.query(Pane) if pane.is_on_screen and pane.region.area]
        placed = isinstance(self.screen, MonitorScreen) and self.screen.laid_out == size
        placed = placed and (self.screen.focused is not None or not any(pane.focusable for pane in panes))
        return placed and bool(panes) and all(p.view is self.shown and p.painted_at == p.size for p in panes)

    def paint(self) -> None:
        """Gives the view to the screen on top."""
        if self.shown is not None and isinstance(self.screen, MonitorScreen):
            self.screen.show(self.shown)

    def look(self, now: bool = False) -> None:
        """Does nothing: there is no database to read. Screens call it."""

    def delay_update(self, delay: float = 0.0) -> None:
        """Does nothing: Textual would wait 50 ms to hide a transition, and there is none."""

    def part_failed(self, pane: str, error: Exception) -> None:  # called by a pane, as in the monitor
        self.failed = error
