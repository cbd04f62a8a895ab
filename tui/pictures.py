"""Any screen of the monitor as text, SVG and PNG, without a terminal: `fts snapshot`, the README's pictures, tests."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fts.jobs.status import formatting
from fts.jobs.status import summary as glances
from fts.jobs.status.log_excerpt import trouble
from fts.jobs.status.sanitize import clean
from fts.state import queries
from fts.tui import bindings
from fts.tui.data.reader import Reader, ReadRequest, ReadResult
from fts.tui.data.view import SCREENS, Hint, View
from fts.tui.navigation import Navigation
from fts.tui.render import export, layout

if TYPE_CHECKING:
    from pathlib import Path

    from fts.tui.render.text import Line


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
    lines = layout.frame(replace(view, hints=_hints(view, size, ascii_only)), *size)
    named = f"fts {screen} {size[0]}x{size[1]}"
    return Picture(tuple(lines), layout.text(lines, ascii_only), export.svg(lines, theme, named))


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
