"""What each key of bindings.py does: one method per key, named as the key is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from textual import events

from fts.jobs.actions.run import key_pressed
from fts.state.errors import StateError
from fts.tui import bindings
from fts.tui.data import table_rows
from fts.tui.data.view import CURVES, EVENTS, LOGS, QUEUE, TRIALS, View
from fts.tui.menus import Menus
from fts.tui.navigation import TABLES
from fts.tui.render import layout
from fts.tui.screens import logs
from fts.tui.screens.dialogs import Ask
from fts.tui.sharing import Giving
from fts.tui.widgets import learning_curve

if TYPE_CHECKING:
    from fts.tui.app import Monitor

HOUR = 3600.0
METRIC = "m"  # on Curves, of a study of any kind; elsewhere it is an action
EARLY = 100  # keys that are kept before the first read


class KeyHandlers(Giving, Menus):
    """The keyboard of one monitor."""

    def __init__(self, app: Monitor) -> None:
        self.app = app
        self.sorting = False  # `o` was pressed: the next letter is a column
        self.early: list[events.Key] = []  # typed before the first read: done when it has come

    # ---------------------------------------------------------------- in

    def press(self, event: events.Key) -> None:
        """One key: a movement, a screen, or an action of the registry."""
        name = key_name(event)
        if self._comes_too_early(name):
            self.early.append(event)
            return
        self.note_presence()
        if self.sorting:
            self._sort_by(name)
            return
        key = bindings.BY_KEY.get(name)
        if name == METRIC and self.desk.screen == CURVES and self._any_metric():
            self.metric()
        elif name in bindings.ACTION_KEYS:
            self.app.acting.press(bindings.ACTION_KEYS[name])
        elif key is not None:
            if key.id == "screen":
                self.show(int(name) - 1)
            else:
                getattr(self, key.id)()
        else:
            return
        self.app.paint()

    def _comes_too_early(self, name: str) -> bool:
        """Whether a key must wait for the first read: before it there are no rows to act on. Leaving never waits."""
        waits = self.app.reading is None and not self.app.problem_kind
        leaves = name in bindings.BY_KEY and bindings.BY_KEY[name].id == "leave"
        return waits and not leaves and len(self.early) < EARLY

    def catch_up(self) -> None:
        """Does what was typed before the first read, in its order, as if it were typed now."""
        early, self.early = self.early, []
        for event in early:
            self.app.post_message(events.Key(event.key, event.character))

    def note_presence(self) -> None:
        """Somebody is here: remembered at most once a minute, and an absence before it is told of."""
        now = time.time()
        if self.app.last_key and now - self.app.last_key > 1800:
            self.app.since = self.app.last_key
        self.app.last_key = now
        if self.app.readonly or abs(now - self.app.key_written) < 60 or self.app.reading is None:
            return
        self.app.key_written = now
        self.app.run_worker(self._write_presence, thread=True, name="presence", exit_on_error=False)

    def _write_presence(self) -> None:
        try:
            key_pressed(self.app.path, self.app.user)
        except (StateError, OSError):  # a full or locked disk must not disturb someone who only looks
            self.app.key_written = 0.0

    def click(self, x: int, y: int, double: bool) -> None:
        """A click on a row chooses it, a second one opens it."""
        view = self.app.view()
        width, height = self.app.size
        top, body = layout.body_height(view, width, height)
        row = layout.row_at(view, width, body, x, y - top)
        if row is None:
            return
        self.desk.choose(row)
        self.desk.stretch(view)
        if double:
            self.desk.open(view)
        self.app.look()
        self.app.paint()

    # ---------------------------------------------------------------- movement

    def _moved(self) -> None:
        self.desk.keep_in_sight(self.view(), time.monotonic())
        self.app.look()

    def _half(self) -> int:
        return max(self.app.size.height // 2 - 4, 3)

    def down(self) -> None:
        self.desk.move(self.view(), 1)
        self._moved()

    def up(self) -> None:
        self.desk.move(self.view(), -1)
        self._moved()

    def first(self) -> None:
        self.desk.to_end(self.view(), last=False)
        self._moved()

    def last(self) -> None:
        self.desk.to_end(self.view(), last=True)
        self._moved()

    def page_down(self) -> None:
        self.desk.move(self.view(), self._half())
        self._moved()

    def page_up(self) -> None:
        self.desk.move(self.view(), -self._half())
        self._moved()

    def open(self) -> None:
        before = self.desk.screen
        self.desk.open(self.view())
        if self.desk.screen != before:
            self.app.appeared_at = time.monotonic()
        self._moved()

    def back(self) -> None:
        was_replay = self.desk.at is not None
        if self.app.frozen is not None:
            self.app.frozen = None
        elif not self.desk.back():
            self.app.say("q leaves the monitor; the worker keeps running")
        if was_replay and self.desk.at is None:
            self.app.say("live again")
        self._moved()

    def next_pane(self) -> None:
        self.desk.next_pane(self._panes(), 1)

    def previous_pane(self) -> None:
        self.desk.next_pane(self._panes(), -1)

    def _panes(self) -> list[str]:
        view = self.view()
        width, height = self.app.size
        return layout.pane_names(view, width, layout.body_height(view, width, height)[1])

    def show(self, screen: int) -> None:
        """1 to 7."""
        self.desk.show(screen)
        self.app.appeared_at = time.monotonic()
        self._moved()

    def previous_cell(self) -> None:
        self.desk.other(self.view(), -1)
        self._moved()

    def next_cell(self) -> None:
        self.desk.other(self.view(), 1)
        self._moved()

    # ---------------------------------------------------------------- finding

    def search(self) -> None:
        in_log = self.desk.screen == LOGS
        if not in_log and self.desk.screen not in TABLES:
            self.app.say("there is nothing to filter here")
            return
        title = "search" if in_log else "filter"
        hint = (
            "Enter searches; n and N go to the next and previous match."
            if in_log
            else "Words, all must match; !word excludes; state:failed."
        )
        value = self.desk.search if in_log else self.desk.filters.get(self.desk.screen, "")
        self.app.push_screen(Ask(title, hint, value), self._searched)

    def _searched(self, text: str | None) -> None:
        if text is None:
            return
        if self.desk.screen == LOGS:
            self.desk.search = text
            if text:
                self._find(-1)
        else:
            self.desk.narrow(text)
            self._moved()
        self.app.paint()

    def next_match(self) -> None:
        self._find(1)

    def previous_match(self) -> None:
        self._find(-1)

    def _find(self, step: int) -> None:
        lines = table_rows.log_of(self.view())
        if self.desk.screen != LOGS or not self.desk.search or not lines:
            self.app.say(
                "press / to search first" if self.desk.screen == LOGS else "n and N belong to the search in logs"
            )
            return
        at = logs.find(lines, self.desk.search, len(lines) - 1 - self.desk.scroll, step)
        if at is None:
            self.app.say(f"no match for `{self.desk.search}` in {len(lines)} lines")
            return
        self.desk.scroll = len(lines) - 1 - at
        self.desk.follow = False

    def mark(self) -> None:
        self.desk.mark(self.view())

    def mark_range(self) -> None:
        self.desk.mark_range(self.view())

    def sort(self) -> None:
        tables = {QUEUE: table_rows.JOB_SORTS, TRIALS: table_rows.TRIAL_SORTS, EVENTS: table_rows.EVENT_SORTS}
        columns = tables.get(self.desk.screen)
        if columns is None:
            self.app.say("there is nothing to sort here")
            return
        self.sorting = True
        self.app.say("sort by: " + "  ".join(f"{letter} {name}" for letter, name in columns.items()))

    def _sort_by(self, letter: str) -> None:
        self.sorting = False
        column = None if letter == "escape" else self.desk.sort(letter)
        self.app.toast = ("", "", 0.0)
        if column is None and letter != "escape":
            self.app.say(f"no column {letter}")
        self.app.paint()

    # ---------------------------------------------------------------- looking

    def zoom(self) -> None:
        self.desk.zoomed = not self.desk.zoomed

    def zoom_in(self) -> None:
        self.desk.chart_zoom = min(self.desk.chart_zoom + 1, 6)

    def zoom_out(self) -> None:
        self.desk.chart_zoom = max(self.desk.chart_zoom - 1, 0)
        self.desk.chart_shift = 0 if self.desk.chart_zoom == 0 else self.desk.chart_shift

    def earlier(self) -> None:
        self._in_time(-1, 600.0)

    def later(self) -> None:
        self._in_time(1, 600.0)

    def day_back(self) -> None:
        self._in_time(-1, HOUR)

    def day_on(self) -> None:
        if self.desk.screen in (LOGS, EVENTS):
            self._in_time(1, HOUR)
        else:
            self.show(LOGS)

    def _in_time(self, step: int, seconds: float) -> None:
        if self.desk.screen == LOGS:
            lines = table_rows.log_of(self.view())
            if lines:
                at = logs.jump(lines, len(lines) - 1 - self.desk.scroll, step * seconds)
                self.desk.scroll = len(lines) - 1 - at
                self.desk.follow = self.desk.scroll == 0
        elif self.desk.screen == EVENTS:
            self._replay_to((self.desk.at or time.time()) + step * HOUR)
        else:
            self.desk.chart_shift = max(self.desk.chart_shift - step, 0)

    def follow(self) -> None:
        if self.desk.screen == LOGS:
            self.desk.follow = not self.desk.follow
            self.desk.scroll = 0 if self.desk.follow else max(self.desk.scroll, 1)
        elif self.app.frozen is not None:
            self.app.frozen = None
        else:
            self.app.frozen = self.app.reading
            self.app.say("frozen; the header stays live; f or Esc resumes")

    def log_y(self) -> None:
        if self.desk.screen == CURVES:
            self.desk.log_y = not self.desk.log_y
        else:
            self.copy()

    def _any_metric(self) -> bool:
        """Not of daily bars, whose other metrics are diagnostics: there m writes a note here, too."""
        job = self.view().job
        return job is not None and not job.task

    def metric(self) -> None:
        """The next metric of the trial; behind the last one the one that decides again."""
        view = self.view()
        if view.trial is None:
            return
        names = learning_curve.metrics_of(view, view.trial)
        if len(names) == 1:
            self.app.say(f"{names[0]} is the only metric that these trials tell")
        at = names.index(learning_curve.metric_of(view, view.trial))
        self.desk.metric = names[(at + 1) % len(names)] if at + 1 < len(names) else ""

    def fold(self) -> None:
        """One row of the study, or all of them again."""
        if self.desk.screen != QUEUE or not self.desk.fold(self.view()):
            self.app.say("c folds one of several studies, on 1 Queue")
        self._moved()

    def overlay(self) -> None:
        if self.desk.screen == LOGS:
            at = table_rows.LEVELS.index(self.desk.level)
            self.desk.level = table_rows.LEVELS[(at + 1) % len(table_rows.LEVELS)]
            self.desk.scroll = 0
        else:
            self.desk.overlay = not self.desk.overlay

    def reread(self) -> None:
        self.app.frozen = None
        self.app.look(now=True)
        self.app.refresh(layout=True)
        self.app.say("read again")

    def redraw(self) -> None:
        self.app.refresh(repaint=True, layout=True)

    def leave(self) -> None:
        self.app.exit()

    # ---------------------------------------------------------------- replay

    def replay_back(self) -> None:
        self._replay_step(-1)

    def replay_on(self) -> None:
        self._replay_step(1)

    def _replay_step(self, step: int) -> None:
        """To the event before or after the moment shown; beyond the newest one is now."""
        reading = self.app.reading
        journal = self.app.journal
        if reading is None or not journal:
            self.app.say("the journal is empty: there is nothing to replay")
            return
        here = self.desk.at if self.desk.at is not None else time.time()
        times = [event.at for event in journal]
        if step < 0:
            earlier = [at for at in times if at < here - 0.001]
            self._replay_to(earlier[-1] if earlier else times[0])
        else:
            later = [at for at in times if at > here + 0.001]
            self._replay_to(later[0] if later else time.time() + 1)

    def _replay_to(self, at: float) -> None:
        if at >= time.time():
            self.desk.at = None
            self.app.say("live again")
        else:
            self.desk.at = at
        self.app.look(now=True)

    def view(self) -> View:
        return self.app.view()


def key_name(event: events.Key) -> str:
    """The printable character, else Textual's name of the key."""
    if event.character and event.character.isprintable() and event.key != "space":
        return event.character
    return event.key
