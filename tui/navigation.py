"""The state of navigation: screen, cursor, marks, filter, sort, scroll; and how the keys of movement change it.

Cursor and marks hold ids, not row numbers, so that the cursor stays on a row that moves. Does not import Textual.
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
MOST_ZOOM = 6  # halvings of the chart's window


@dataclass
class Navigation:
    """The navigation state of one monitor; mutable."""

    screen: int = QUEUE
    job_id: int | None = None
    trial_id: int | None = None
    event_id: int | None = None
    marks: dict[int, set[int]] = field(default_factory=dict)  # by screen
    range_from: int | None = None  # the row where `v` was pressed, on the present screen
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
    metric: str = ""  # of the curves; "": the study's objective
    folded: set[str] = field(default_factory=set)  # studies that the queue shows as one row
    at: float | None = None  # replay: the moment shown, seconds since the epoch
    moved_at: float = 0.0  # monotonic time at which the row under the cursor last changed its place
    jumped_at: float = 0.0  # monotonic time at which the cursor last jumped because its row was gone or hidden
    places: dict[int, int] = field(default_factory=dict)  # job id: row number at the last read

    def view(self, glance: Glance, details: Details, hints: tuple[Hint, ...] = (), **more: object) -> View:
        """Returns the frozen view of this state. `more`: further fields of View."""
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
        """Applies a new snapshot: selects a job if none is selected, and notes when the selected one has moved."""
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
        """Forgets all ids: the database was replaced, so the same ids are other rows."""
        self.job_id = self.trial_id = self.event_id = None
        self.end_range()
        self.marks.clear()
        self.folded.clear()
        self.places, self.scroll, self.follow = {}, 0, True
        self.jumped_at = now

    def stay(self, more: int) -> None:
        """Keeps a log that is not followed in place when `more` lines were added below."""
        if not self.follow:
            self.scroll += more

    def keep_in_sight(self, view: View, now: float) -> None:
        """Moves the cursor from a row that the filter hides to the first row that it shows."""
        if not self.is_filtered:
            return
        rows = self.rows(view)
        if rows and self._cursor() not in rows:
            self.choose(rows[0])
            self.jumped_at = now

    def chosen(self, view: View) -> frozenset[int]:
        """Returns the ids of the jobs that an action would change: the visible marked ones, else the selected one."""
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
        """Returns why no job is chosen, as the answer to an action that needs one."""
        if self.is_filtered:
            return f"no row matches `{self.filters[self.screen]}`; Esc clears the filter"
        if self.screen == HARDWARE:
            return "no cell is shown here; 1 shows the queue"
        if self.screen == EVENTS:
            return "this event belongs to no cell; 1 shows the queue"
        return "no job is chosen"

    def event(self, view: View) -> Event | None:
        """Returns the event under the cursor; the first one until another is chosen."""
        events = table_rows.events_of(view)
        return next((event for event in events if event.id == self.event_id), events[0] if events else None)

    @property
    def is_filtered(self) -> bool:
        return self.screen in TABLES and bool(self.filters.get(self.screen))

    # ---------------------------------------------------------------- movement

    def rows(self, view: View) -> Sequence[int]:
        """Returns the ids of the rows of this screen's table, in the order shown."""
        if self.screen in (QUEUE, RESULTS):
            return [job.id for job in table_rows.jobs_of(view)]
        if self.screen == TRIALS:
            return ids_of(table_rows.trials_of(view))
        if self.screen == EVENTS:
            return [event.id for event in table_rows.events_of(view)]
        return []

    def move(self, view: View, steps: int) -> None:
        """Moves the cursor `steps` rows down (negative: up); on Logs it scrolls."""
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
        """Scrolls so that row `first` of 0 ... `most` is at the top. A table moves its cursor to the same share."""
        if self.screen == LOGS:
            self.scroll, self.follow = most - first, first == most
        elif rows := self.rows(view):
            self.choose(rows[round(first / most * (len(rows) - 1))])
            self.stretch(view)

    def choose(self, row: int) -> None:
        """Puts the cursor of this screen on the row with this id."""
        if self.screen in (QUEUE, RESULTS):
            if row != self.job_id:
                self._leave_log()
                self.trial_id = None
            self.job_id = row
        elif self.screen == TRIALS:
            if row != self.trial_id:
                self._leave_log()
            self.trial_id = row
        elif self.screen == EVENTS:
            self.event_id = row

    def _index(self, rows: Sequence[int]) -> int:
        chosen = self._cursor()
        return rows.index(chosen) if chosen is not None and chosen in rows else 0

    def _cursor(self) -> int | None:
        return {TRIALS: self.trial_id, EVENTS: self.event_id}.get(self.screen, self.job_id)

    def other(self, view: View, step: int) -> None:
        """[ and ]: selects the cell `step` places further; on Curves and Logs the trial."""
        if self.screen in (CURVES, LOGS):
            trial = view.trial
            at = (place_of(view.trials, trial.id) if trial else None) or 0
            if view.trials:
                self.trial_id = view.trials[min(max(at + step, 0), len(view.trials) - 1)].id
                self._leave_log()
            return
        if self.screen == QUEUE:
            self.move(view, step)
            return
        jobs = [job.id for job in table_rows.in_order(view.snapshot.jobs)]
        at = jobs.index(self.job_id) if self.job_id in jobs else 0
        if jobs:
            self.job_id = jobs[min(max(at + step, 0), len(jobs) - 1)]
            self.trial_id = None
            self._leave_log()

    def _leave_log(self) -> None:
        """Another log is shown from its end, and followed."""
        self.scroll, self.follow = 0, True

    def shift_chart(self, steps: int, on: int = 0, back: int | None = None) -> None:
        """Moves the window of the chart back (positive) or on, from `on` (0 or less) to `back` quarters of it."""
        back = 4 * (2**self.chart_zoom - 1) if back is None else back
        self.chart_shift = min(max(self.chart_shift + steps, on), back)

    def zoom_chart(self, steps: int) -> None:
        """Halves the window of the chart, or doubles it (negative)."""
        self.chart_zoom = min(max(self.chart_zoom + steps, 0), MOST_ZOOM)
        self.shift_chart(0)

    def fold(self, view: View) -> bool:
        """c: folds or unfolds the study of the selected row. Returns False if there is only one study."""
        if view.job is None or not table_rows.is_grouped(view):
            return False
        self.end_range()
        self.folded ^= {view.job.study}
        rows = table_rows.jobs_of(replace(view, folded=frozenset(self.folded)))
        if rows and self.job_id not in [job.id for job in rows]:
            self.choose(next((job.id for job in rows if job.study == view.job.study), rows[0].id))
        return True

    # ---------------------------------------------------------------- screens, marks

    def show(self, screen: int) -> None:
        """Switches to a screen; ends the range, which belongs to the old one."""
        if screen != self.screen:
            self.end_range()
            self.screen = screen

    def open(self, view: View) -> None:
        """Enter: from Queue and Results to Trials, from Trials to Curves, from Events to the trials of the job."""
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
                self._leave_log()
                self.show(TRIALS)

    def back(self) -> bool:
        """Escape: ends the first that is active of search, range, filter, marks, replay, screen.

        Returns False if none was.
        """
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
        """Space: marks or unmarks the row under the cursor and goes one down; in a range it marks all its rows."""
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
        """v: begins a range that follows the cursor, or ends it."""
        rows = self.rows(view)
        if self.range_from is not None or not rows:
            self.end_range()
            return
        self.range_from = rows[self._index(rows)]
        self.stretch(view)

    def stretch(self, view: View) -> None:
        """Extends the range, if there is one, from its beginning to the cursor."""
        if self.range_from is None:
            return
        rows = self.rows(view)
        if self.range_from not in rows:  # its first row is gone
            self.end_range()
            return
        ends = sorted((rows.index(self.range_from), self._index(rows)))
        self.ranged = set(rows[ends[0] : ends[1] + 1])

    def end_range(self) -> None:
        self.range_from, self.ranged = None, set()

    def narrow(self, words: str) -> None:
        """Sets the filter of this screen; ends the range, which would contain other rows."""
        self.filters[self.screen] = words
        self.end_range()

    def sort(self, column: str) -> None:
        """Sorts this screen by a column; the same column again reverses."""
        self.end_range()
        now, reverse = self.sorts.get(self.screen, ("", False))
        self.sorts[self.screen] = (column, not reverse if now == column else False)


def first_choice(snapshot: Snapshot) -> int | None:
    """Returns the id of the running job, else of the next queued, else of a paused one, else of the last."""
    for status in (JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.PAUSED):
        for job in snapshot.jobs:
            if job.status is status:
                return job.id
    return snapshot.jobs[-1].id if snapshot.jobs else None
