"""Where the reader stands: screen, cursor, marks, filter, sort, scroll; and what keys of movement do to them.

Cursor and marks are held by id, never by row number, so that a row that moves takes its cursor along. No textual here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fts.state.values import Event, JobStatus, Snapshot
from fts.tui.data import table_rows
from fts.tui.data.trial_store import ids_of, place_of
from fts.tui.data.view import CURVES, EVENTS, HARDWARE, LOGS, QUEUE, RESULTS, TRIALS, Details, Hint, View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.jobs.status.summary import Glance

TABLES = (QUEUE, TRIALS, EVENTS)  # screens with rows to filter


@dataclass
class Navigation:
    """Mutable; one per monitor."""

    screen: int = QUEUE
    job_id: int | None = None
    trial_id: int | None = None
    event_id: int | None = None
    marks: dict[int, set[int]] = field(default_factory=dict)  # by screen
    range_from: int | None = None  # the row where `v` was pressed; the range belongs to the screen it began on
    ranged: set[int] = field(default_factory=set)  # the rows from there to the cursor
    filters: dict[int, str] = field(default_factory=dict)
    sorts: dict[int, tuple[str, bool]] = field(default_factory=dict)
    scroll: int = 0
    search: str = ""
    level: str = ""
    follow: bool = True
    chart_zoom: int = 0
    chart_shift: int = 0
    log_y: bool = False
    overlay: bool = True
    metric: str = ""  # that curves show; "": the one that decides
    folded: set[str] = field(default_factory=set)  # studies of which the queue shows one row
    at: float | None = None  # replay
    moved_at: float = 0.0  # monotonic time at which the row under the cursor last changed its place
    jumped_at: float = 0.0  # monotonic time at which a filter took the row under the cursor away
    places: dict[int, int] = field(default_factory=dict)  # job id: place, to see that

    def view(self, glance: Glance, details: Details, hints: tuple[Hint, ...] = (), **more: object) -> View:
        """One look, frozen."""
        sort, reverse = self.sorts.get(self.screen, ("", False))
        marked = frozenset(self.marks.get(self.screen, set()) | self.ranged)
        view = View(
            glance=glance,
            details=details,
            screen=self.screen,
            job_id=self.job_id,
            trial_id=self.trial_id,
            event_id=self.event_id,
            marks=marked,
            filter=self.filters.get(self.screen, ""),
            sort=sort,
            reverse=reverse,
            scroll=self.scroll,
            search=self.search,
            level=self.level,
            follow=self.follow,
            chart_zoom=self.chart_zoom,
            chart_shift=self.chart_shift,
            log_y=self.log_y,
            overlay=self.overlay,
            metric=self.metric,
            folded=frozenset(self.folded),
            hints=hints,
            **more,  # type: ignore[arg-type]  # other fields of View, by name
        )
        if not marked or not (view.filter or (self.screen == QUEUE and view.folded)):
            return view
        seen = marked.intersection(self.rows(view))
        return replace(view, marks=seen, hidden_marks=len(marked) - len(seen))

    # ---------------------------------------------------------------- arriving data

    def settle(self, snapshot: Snapshot, now: float) -> None:
        """Chooses a row when none is chosen, and notices when the chosen one has moved."""
        if not any(job.id == self.job_id for job in snapshot.jobs):
            self.jumped_at = now if self.job_id is not None else self.jumped_at
            self.job_id = first_choice(snapshot)
            self.trial_id = None
        places = {job.id: n for n, job in enumerate(table_rows.in_order(snapshot.jobs))}
        if self.job_id is not None and self.places and self.places.get(self.job_id) != places.get(self.job_id):
            self.moved_at = now
        self.places = places
        if QUEUE in self.marks:
            self.marks[QUEUE] &= places.keys()
        if self.screen == QUEUE:
            self.ranged &= places.keys()

    def forget(self, now: float) -> None:
        """Another database has taken the place of this one: its rows have the same ids, and are others."""
        self.job_id = self.trial_id = self.event_id = None
        self.end_range()
        self.marks.clear()
        self.folded.clear()
        self.places, self.scroll, self.follow = {}, 0, True
        self.jumped_at = now

    def stay(self, more: int) -> None:
        """So many lines were added below: a log that is not followed keeps its place."""
        if not self.follow:
            self.scroll += more

    def keep_in_sight(self, view: View, now: float) -> None:
        """Moves the cursor off a row that the filter hides, to the first one it shows."""
        if not self.is_filtered:
            return
        rows = self.rows(view)
        if rows and self._cursor() not in rows:
            self.choose(rows[0])
            self.jumped_at = now

    def chosen(self, view: View) -> frozenset[int]:
        """The jobs an action concerns: the marked ones in sight, else the selected one; none where none is in sight."""
        if self.screen == QUEUE and view.marks:
            return view.marks
        if self.screen == HARDWARE:
            return frozenset()
        if self.screen == EVENTS:
            event = self.event(view)
            return frozenset() if event is None or event.job_id is None else frozenset({event.job_id})
        if self.job_id is None:
            return frozenset()
        if self.is_filtered:
            rows = self.rows(view)
            if not rows or (self.screen == QUEUE and self.job_id not in rows):
                return frozenset()
        return frozenset({self.job_id})

    def why_none_chosen(self) -> str:
        """What an action is told that concerns rows, where there are none."""
        if self.is_filtered:
            return f"no row matches `{self.filters[self.screen]}`; Esc clears the filter"
        if self.screen == HARDWARE:
            return "no cell is shown here; 1 shows the queue"
        if self.screen == EVENTS:
            return "this event belongs to no cell; 1 shows the queue"
        return "no job is chosen"

    def event(self, view: View) -> Event | None:
        """The event under the cursor, which is the first one until another is chosen."""
        events = table_rows.events_of(view)
        return next((event for event in events if event.id == self.event_id), events[0] if events else None)

    @property
    def is_filtered(self) -> bool:
        return self.screen in TABLES and bool(self.filters.get(self.screen))

    # ---------------------------------------------------------------- movement

    def rows(self, view: View) -> Sequence[int]:
        """The ids of the rows the cursor walks on this screen."""
        if self.screen in (QUEUE, RESULTS):
            return [job.id for job in table_rows.jobs_of(view)]
        if self.screen == TRIALS:
            return ids_of(table_rows.trials_of(view))
        if self.screen == EVENTS:
            return [event.id for event in table_rows.events_of(view)]
        return []

    def move(self, view: View, steps: int) -> None:
        """`steps` rows down (up when negative); on Logs it scrolls."""
        if self.screen == LOGS:
            most = max(len(table_rows.log_of(view)) - 1, 0)
            self.scroll = min(max(self.scroll - steps, 0), most)
            self.follow = self.scroll == 0
            return
        rows = self.rows(view)
        if rows:
            self.choose(rows[min(max(self._index(rows) + steps, 0), len(rows) - 1)])
            self.jumped_at = 0.0
            self.stretch(view)

    def scroll_to(self, view: View, first: int, most: int) -> None:
        """This row shall be the first in sight, of those that may be up to `most`: a table follows its cursor there."""
        if self.screen == LOGS:
            self.scroll, self.follow = most - first, first == most
        elif rows := self.rows(view):
            self.choose(rows[round(first / most * (len(rows) - 1))])
            self.stretch(view)

    def choose(self, row: int) -> None:
        """Puts the cursor of this screen on a row by id."""
        if self.screen in (QUEUE, RESULTS):
            if row != self.job_id:
                self.trial_id, self.scroll = None, 0
            self.job_id = row
        elif self.screen == TRIALS:
            self.trial_id = row
        elif self.screen == EVENTS:
            self.event_id = row

    def _index(self, rows: Sequence[int]) -> int:
        chosen = self._cursor()
        return rows.index(chosen) if chosen is not None and chosen in rows else 0

    def _cursor(self) -> int | None:
        return {TRIALS: self.trial_id, EVENTS: self.event_id}.get(self.screen, self.job_id)

    def other(self, view: View, step: int) -> None:
        """[ and ]: the next cell; on Curves and Logs the next trial of the cell."""
        if self.screen in (CURVES, LOGS):
            trial = view.trial
            at = (place_of(view.trials, trial.id) if trial else None) or 0
            if view.trials:
                self.trial_id, self.scroll = view.trials[min(max(at + step, 0), len(view.trials) - 1)].id, 0
            return
        if self.screen == QUEUE:
            self.move(view, step)
            return
        jobs = [job.id for job in table_rows.in_order(view.snapshot.jobs)]
        at = jobs.index(self.job_id) if self.job_id in jobs else 0
        if jobs:
            self.job_id = jobs[min(max(at + step, 0), len(jobs) - 1)]
            self.trial_id, self.scroll = None, 0

    def fold(self, view: View) -> bool:
        """c: the study of the selected row shows one row, or all of them again; False where there is one study only."""
        if view.job is None or not table_rows.is_grouped(view):
            return False
        self.end_range()
        self.folded ^= {view.job.study}
        rows = table_rows.jobs_of(replace(view, folded=frozenset(self.folded)))
        if self.job_id not in [job.id for job in rows]:
            self.choose(next((job.id for job in rows if job.study == view.job.study), rows[0].id))
        return True

    # ---------------------------------------------------------------- screens, marks

    def show(self, screen: int) -> None:
        """Another screen; the range belongs to the old one."""
        if screen != self.screen:
            self.end_range()
            self.screen = screen

    def open(self, view: View) -> None:
        """Enter: queue and results -> trials -> curves; events -> the job's trials."""
        if self.is_filtered and not self.rows(view):
            return
        if self.screen in (QUEUE, RESULTS) and self.job_id is not None:
            self.show(TRIALS)
        elif self.screen == TRIALS:
            rows = self.rows(view)
            if self.trial_id is None and rows:
                self.trial_id = rows[0]
            self.show(CURVES)
        elif self.screen == EVENTS:
            event = self.event(view)
            if event is not None and event.job_id is not None:
                self.job_id, self.trial_id = event.job_id, event.trial_id
                self.show(TRIALS)

    def back(self) -> bool:
        """Escape: the innermost of search, range, filter, marks, replay, screen; False when nothing is left."""
        if self.screen == LOGS and (self.search or self.level):
            self.search = self.level = ""
        elif self.range_from is not None:
            self.end_range()
        elif self.filters.get(self.screen):
            self.filters[self.screen] = ""
        elif self.marks.get(self.screen):
            self.marks[self.screen] = set()
        elif self.at is not None:
            self.at = None
        elif self.screen != QUEUE:
            self.show(TRIALS if self.screen == CURVES and self.trial_id is not None else QUEUE)
        else:
            return False
        return True

    def mark(self, view: View) -> None:
        """Space: the row under the cursor, and one down; of a range it makes marks that stay."""
        rows = self.rows(view)
        if not rows:
            return
        marked = self.marks.setdefault(self.screen, set())
        if self.range_from is not None:
            marked |= self.ranged
            self.end_range()
            return
        marked ^= {rows[self._index(rows)]}
        self.move(view, 1)

    def mark_range(self, view: View) -> None:
        """v: from here on the range follows the cursor; v again ends it."""
        rows = self.rows(view)
        if self.range_from is not None or not rows:
            self.end_range()
            return
        self.range_from = rows[self._index(rows)]
        self.stretch(view)

    def stretch(self, view: View) -> None:
        """The range from where it began to the cursor."""
        if self.range_from is None:
            return
        rows = self.rows(view)
        if self.range_from not in rows:  # its row is gone: nobody could say any more what is between
            self.end_range()
            return
        ends = sorted((rows.index(self.range_from), self._index(rows)))
        self.ranged = set(rows[ends[0] : ends[1] + 1])

    def end_range(self) -> None:
        self.range_from, self.ranged = None, set()

    def narrow(self, words: str) -> None:
        """Another filter for this screen; the range ends, because other rows would lie in it."""
        self.filters[self.screen] = words
        self.end_range()

    def sort(self, column: str) -> None:
        """By a column; again reverses."""
        self.end_range()
        now, reverse = self.sorts.get(self.screen, ("", False))
        self.sorts[self.screen] = (column, not reverse if now == column else False)


def first_choice(snapshot: Snapshot) -> int | None:
    """The running job, else the next in line, else the last that ended."""
    for status in (JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.PAUSED):
        for job in snapshot.jobs:
            if job.status is status:
                return job.id
    return snapshot.jobs[-1].id if snapshot.jobs else None
