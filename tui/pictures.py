"""Any screen of the monitor as text, SVG and PNG, without a terminal: `fts snapshot`, the README's pictures, tests.

The screens themselves are drawn, by an app without a terminal: a picture cannot show what the monitor would not.
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
from fts.tui.data.view import SCREENS, Hint, View
from fts.tui.frame import frame_of, placed
from fts.tui.modes import MODES
from fts.tui.navigation import Navigation
from fts.tui.render import export, theme
from fts.tui.render.text import as_text
from fts.tui.render.textual_theme import theme_of
from fts.tui.screens.base import MonitorScreen
from fts.tui.widgets.pane import Pane

if TYPE_CHECKING:
    from pathlib import Path

    from textual.geometry import Region
    from textual.pilot import Pilot

    from fts.tui.render.text import Line


ALIKE = 2  # rounds in which nothing has moved
UNLIKE = (10, 4)  # a size that nobody draws: the first picture is laid out anew as every later one is
MOST_ROUNDS = 400  # of Textual's, until nothing moves any more


@dataclass(frozen=True)
class Picture:
    """One frame in three forms; the PNG is made when it is asked for."""

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
    """A screen of the database at `db_path`, at a size in (columns, rows).

    `at` shows the past as a replay does; `now` replaces the clock (for pictures that must not change).
    Raises ValueError for an unknown screen or theme, and the errors of fts.state.errors.
    """
    view = look(db_path, screen, size, at, now=now, user=user, job_id=job_id, title=title)
    lines = frame(replace(view, hints=_hints(view, size, ascii_only)), *size)
    named = f"fts {screen} {size[0]}x{size[1]}"
    return Picture(tuple(lines), as_text(lines, ascii_only), export.svg(lines, theme, named))


def look(
    db_path: Path,
    screen: str,
    size: tuple[int, int],  # noqa: ARG001  # a view is the same in every size; what paints it is called alike
    at: float | None = None,
    *,
    now: float | None = None,
    user: str = "",
    job_id: int | None = None,
    title: str = "",
) -> View:
    """The view behind a picture: what painters and tests are given."""
    names = [name.lower() for name in SCREENS]
    if screen.lower() not in names:
        raise ValueError(f"screen is {screen!r}, expected one of {', '.join(names)}")
    number = names.index(screen.lower())
    desk = Navigation(screen=number, job_id=job_id, at=at)
    reading = read_twice(db_path, desk, user, number, now)
    moment = at if at is not None else now if now is not None else time.time()
    glance = glances.look(
        reading.snapshot,
        moment,
        since=reading.snapshot.last_key_at,
        title=clean(title or db_path.absolute().parent.parent.name),
        events=reading.details.events or None,
        problem=queries.newer_schema(reading.snapshot),
        kept=reading.details.kept,
        locked_by=reading.locked_by,
        mode=f"REPLAY {formatting.when(at, time.time())}" if at is not None else "",
    )
    view = desk.view(glance, reading.details)
    rows = desk.rows(view)
    if rows and desk.trial_id is None and screen.lower() == "trials":
        desk.choose(rows[0])
    return desk.view(glance, reading.details)


def read_twice(db_path: Path, desk: Navigation, user: str, screen: int, now: float | None = None) -> ReadResult:
    """One look to learn which cell to show, one with that cell's details."""
    reader = Reader(db_path)
    try:
        wish = ReadRequest(
            user=user, screen=screen, job_id=desk.job_id, with_log=True, with_day=True, at=desk.at, now=now
        )
        first = reader.read(wish)
        assert first is not None, "the first read of a reader always answers"
        desk.settle(first.snapshot, 0.0)
        moment = desk.at if desk.at is not None else now if now is not None else time.time()
        job = trouble(first.snapshot, moment, desk.job_id)
        wish = replace(wish, words_of=None if job is None else job.id, trial_id=desk.trial_id)
        second = reader.read(replace(wish, job_id=desk.job_id))
        return second or first
    finally:
        reader.close()


def _hints(view: View, size: tuple[int, int], ascii_only: bool) -> tuple[Hint, ...]:
    jobs = [view.job] if view.job else []
    return bindings.hints(view.screen, size[0], view.snapshot, jobs, readonly=False, ascii_only=ascii_only)


# ---------------------------------------------------------------- drawing


def frame(view: View, width: int, height: int) -> list[Line]:
    """The screen of a view at a size: exactly `height` lines of exactly `width` columns."""
    with _lock:
        _easels[:] = _easels or [Easel()]
        return _easels[0].draw(view, width, height)


_easels: list[Easel] = []  # one for all pictures of a process
_lock = threading.Lock()


class Easel(threading.Thread):
    """Draws views on an app without a terminal, which lives on a thread of its own as long as the process."""

    def __init__(self) -> None:
        super().__init__(name="pictures", daemon=True)
        self._loop = asyncio.new_event_loop()
        self._wanted: asyncio.Queue[tuple[View, Size, Future[list[Line]]]] = asyncio.Queue()
        self._ended: Future[None] = Future()
        self.start()

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        """Raises what a painter raises, or what ended the thread."""
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
        except BaseException as error:  # noqa: BLE001  # whoever waits for a picture gets it
            self._ended.set_exception(error)

    async def _draw_on(self) -> None:
        app, printing = Still(), (sys.stdout, sys.stderr)
        async with app.run_test(size=UNLIKE) as pilot:
            sys.stdout, sys.stderr = printing  # Textual catches what is printed while an app runs; nobody would see it
            while True:
                view, size, found = await self._wanted.get()
                try:
                    found.set_result(await app.drawn(pilot, view, size))
                except Exception as error:  # noqa: BLE001  # whoever asked for the picture gets it
                    found.set_exception(error)


class Still(App[None]):
    """The seven screens without a database behind them and without keys."""

    ENABLE_COMMAND_PALETTE = False
    MODES = MODES
    DEFAULT_MODE = SCREENS[0]
    palette, ascii_only = "dark", False  # as text every palette is alike, and ASCII is made of the lines

    def __init__(self) -> None:
        super().__init__()
        self.register_theme(theme_of("dark"))
        self.theme = theme.of_textual("dark")
        self.shown: View | None = None
        self.failed: Exception | None = None

    async def drawn(self, pilot: Pilot[None], view: View, size: Size) -> list[Line]:
        """The lines of a view, once its screen has come to rest."""
        self.shown, self.failed = view, None
        if self.current_mode != SCREENS[view.screen]:
            await self.switch_mode(SCREENS[view.screen])
        if self.size != size:
            self.post_message(events.Resize(size, size))
        self.paint()
        before: list[tuple[Region, list[Line]]] = []
        alike = 0
        for _ in range(MOST_ROUNDS):
            await pilot.pause(0)
            if self.failed is not None:
                raise self.failed
            now = placed(self.screen)
            alike = alike + 1 if now == before and self._is_painted(size) else 0
            if alike == ALIKE:
                return frame_of(self.screen)
            before = now
        raise RuntimeError(f"{SCREENS[view.screen]} at {size.width}x{size.height} does not come to rest")

    def _is_painted(self, size: Size) -> bool:
        """Whether the screen was laid out for a size, and every pane that has a place has lines for exactly it."""
        panes = [pane for pane in self.screen.query(Pane) if pane.is_on_screen and pane.region.area]
        placed = isinstance(self.screen, MonitorScreen) and self.screen.laid_out == size
        placed = placed and (self.screen.focused is not None or not any(pane.focusable for pane in panes))
        return placed and bool(panes) and all(p.view is self.shown and p.painted_at == p.size for p in panes)

    def paint(self) -> None:
        """Shows the view on the screen it is of."""
        if self.shown is not None and isinstance(self.screen, MonitorScreen):
            self.screen.show(self.shown)

    def look(self, now: bool = False) -> None:
        """There is nothing to read."""

    def delay_update(self, delay: float = 0.0) -> None:
        """There is no transition to mask."""

    def part_failed(self, pane: str, error: Exception) -> None:  # as the monitor has it
        self.failed = error
