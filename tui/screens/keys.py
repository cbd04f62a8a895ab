"""The methods behind the keys: `action_<id>` for each id of bindings.py. Screens override some of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fts.tui import replay
from fts.tui.data import table_rows
from fts.tui.data.view import CURVES, LOGS, RESULTS
from fts.tui.navigation import TABLES
from fts.tui.screens.textual_fixes import MendedScreen
from fts.tui.widgets import learning_curve
from fts.tui.widgets.pane import Pane

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from textual import events

    from fts.tui.app import Monitor
    from fts.tui.navigation import Navigation

HOUR = 3600.0
TEN_MINUTES = 600.0


class KeyActions(MendedScreen[None]):
    """A screen with the methods of its keys."""

    sorting: tuple[str, str, float] | None = None  # toast of `o`: the next key is the sort letter while it is shown

    @property
    def monitor(self) -> Monitor:
        """The app, typed as Monitor."""
        return self.app  # type: ignore[return-value]  # pictures.HeadlessApp has no keys

    @property
    def navigation(self) -> Navigation:
        return self.monitor.navigation

    def changed(self) -> None:
        """Repaints and requests a read after the selection or its display has changed."""
        if self.navigation.is_filtered:
            self.navigation.keep_in_sight(self.monitor.view(), time.monotonic())
        self.monitor.paint()
        self.monitor.look()  # last, because the poller's thread would slow down the repaint

    def say(self, text: str, role: str = "") -> None:
        self.monitor.say(text, role)

    # ---------------------------------------------------------------- actions of the registry

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # called by Textual
        """Returns False only for `metric` where m writes a note. An action that is refused answers with the reason."""
        if action == "metric":
            job = self.monitor.view().job
            return self.navigation.screen in (CURVES, RESULTS) and job is not None and not job.task
        return True

    def action_act(self, key: str) -> None:
        """Runs the action of a key of the registry."""
        self.monitor.action_runner.press(key)
        self.monitor.paint()

    # ---------------------------------------------------------------- movement

    def action_down(self) -> None:
        self._move(1)

    def action_up(self) -> None:
        self._move(-1)

    def action_first(self) -> None:
        self._move(-(10**9))

    def action_last(self) -> None:
        self._move(10**9)

    def action_page_down(self) -> None:
        self._move(self._half())

    def action_page_up(self) -> None:
        self._move(-self._half())

    def _move(self, rows: int) -> None:
        """Scrolls the focused pane if it scrolls, else moves the cursor."""
        if isinstance(self.focused, Pane) and self.focused.scroll_by(rows):
            return
        self.navigation.move(self.monitor.view(), rows)
        self.changed()

    def _half(self) -> int:
        return max(self.size.height // 2 - 4, 3)

    def action_open(self) -> None:
        self.navigation.open(self.monitor.view())
        self.changed()

    def action_back(self) -> None:
        app = self.monitor
        was_replay = self.navigation.at is not None
        if self.get_selected_text():
            self.clear_selection()
        elif self.maximized is not None:
            self.minimize()
        elif app.readings.frozen is not None:
            app.readings.frozen = None
        elif not self.navigation.back():
            running = "; the worker keeps running" if app.view().glance.has_worker else ""
            self.say(f"q leaves the monitor{running}")
        if was_replay and self.navigation.at is None:
            self.say("live again")
        self.changed()

    def action_show_screen(self, number: int) -> None:
        self.navigation.show(number)
        self.changed()

    def action_next_pane(self) -> None:
        self.focus_next(Pane)

    def action_previous_pane(self) -> None:
        self.focus_previous(Pane)

    def action_previous_cell(self) -> None:
        self.navigation.other(self.monitor.view(), -1)
        self.changed()

    def action_next_cell(self) -> None:
        self.navigation.other(self.monitor.view(), 1)
        self.changed()

    # ---------------------------------------------------------------- finding, marking, sorting

    def action_search(self) -> None:
        if self.navigation.screen not in TABLES:
            self.say("there is nothing to filter here")
            return
        hint = "Words, all must match; !word excludes; state:failed; size:L or lr:0.1: an axis or a parameter."
        self.ask("filter", hint, self.navigation.filters.get(self.navigation.screen, ""), self._filtered)

    def ask(self, title: str, hint: str, value: str, then: Callable[[str], None]) -> None:
        """Opens a dialog for a line of text, with its present value, and calls `then` with the answer."""
        from fts.tui.screens.dialogs import Ask  # here, not above: not needed to start

        dialog = Ask(title, hint, value)
        self.app.push_screen(dialog, lambda text: then(text) if text is not None else None)

    def _filtered(self, text: str) -> None:
        self.navigation.narrow(text)
        self.changed()

    def action_next_match(self) -> None:
        self.say("n and N belong to the search in logs")

    def action_previous_match(self) -> None:
        self.say("n and N belong to the search in logs")

    def action_mark(self) -> None:
        self.navigation.mark(self.monitor.view())
        self.monitor.paint()

    def action_mark_range(self) -> None:
        self.navigation.mark_range(self.monitor.view())
        self.monitor.paint()

    def action_sort(self) -> None:
        columns = self.sorts()
        if not columns:
            self.say("there is nothing to sort here")
            return
        named = (f"{letter} {table_rows.column_word(name)}" for letter, name in columns.items())
        self.say("sort by: " + "  ".join(named))
        self.sorting = self.monitor.toast

    def sorts(self) -> Mapping[str, str]:
        """Returns column by letter, for the key after `o`."""
        return table_rows.SORTS.get(self.navigation.screen, {})

    def _sort_by(self, letter: str) -> None:
        column = self.sorts().get(letter)
        if column is not None:
            self.navigation.sort(column)
        self.say("" if column is not None or letter == "escape" else f"no column {letter}")

    def action_fold(self) -> None:
        """Says where c works; the queue overrides it."""
        self.say("c folds one of several studies, on 1 Queue")

    # ---------------------------------------------------------------- looking

    def action_zoom(self) -> None:
        """Shows the focused pane on the whole screen, or all panes again."""
        if self.maximized is not None:
            self.minimize()
        elif self.focused is not None:
            self.maximize(self.focused, container=False)

    def action_zoom_in(self) -> None:
        self._zoom_chart(1)

    def action_zoom_out(self) -> None:
        self._zoom_chart(-1)

    def _zoom_chart(self, steps: int) -> None:
        if self._has_curve():
            self.navigation.zoom_chart(steps)
            self.monitor.paint()

    def _has_curve(self) -> bool:
        """Returns whether the trials of the cell report steps; says so if they do not."""
        if learning_curve.without_steps(self.monitor.view()):
            self.say("one value per trial: there is no curve to zoom, to move or to compare")
            return False
        return True

    def action_earlier(self) -> None:
        self.in_time(-TEN_MINUTES)

    def action_later(self) -> None:
        self.in_time(TEN_MINUTES)

    def action_day_back(self) -> None:
        self.in_time(-HOUR)

    def action_day_on(self) -> None:
        """Shows the logs. Logs and Events override it: an hour on."""
        self.action_show_screen(LOGS)

    def in_time(self, seconds: float) -> None:
        """Moves back (negative) or on in time: here the window of the chart."""
        if self._has_curve():
            self.navigation.shift_chart(-1 if seconds > 0 else 1, *learning_curve.shifts(self.monitor.view()))
            self.monitor.paint()

    def action_follow(self) -> None:
        """Freezes the panes, or resumes; the header stays live."""
        readings = self.monitor.readings
        if readings.frozen is not None:
            readings.frozen = None
            self.say("live again")
        else:
            readings.frozen = readings.reading
            self.say("frozen; the header stays live; f or Esc resumes")
        self.monitor.paint()

    def action_log_y(self) -> None:
        """Copies the selected text or row. Curves overrides it: logarithmic axis."""
        self.monitor.sharing.copy()

    def action_overlay(self) -> None:
        if self._has_curve():
            self.navigation.overlay = not self.navigation.overlay
            self.monitor.paint()

    def action_metric(self) -> None:
        """On Curves and Results: shows the next metric; after the last one the objective again."""
        self.navigation.metric, sentence = learning_curve.next_metric(self.monitor.view())
        if sentence:
            self.say(sentence)
        self.monitor.paint()

    def action_replay_back(self) -> None:
        self._replay(-1)

    def action_replay_on(self) -> None:
        self._replay(1)

    def _replay(self, step: int) -> None:
        """Moves the replay to the event before or after the moment shown; after the newest event the screen is live."""
        journal = self.monitor.readings.journal
        if not journal:
            self.say("the journal is empty: there is nothing to replay")
            return
        self.replay_to(replay.neighbour([event.at for event in journal], self.navigation.at, step))

    def replay_to(self, at: float | None) -> None:
        """Shows a past moment; None or a future one: live."""
        self.navigation.at = at if at is None or at < time.time() else None
        if self.navigation.at is None:
            self.say("live again")
        self.monitor.look(now=True)
        self.monitor.paint()

    # ---------------------------------------------------------------- copying, dialogs, the monitor itself

    def action_copy_menu(self) -> None:
        self.monitor.sharing.copy_menu()

    def action_copy_text(self) -> None:
        """Textual's ctrl+c: copies the selected text."""
        self.monitor.sharing.copy()

    def action_write(self) -> None:
        self.monitor.sharing.write()

    def action_palette(self) -> None:
        self.monitor.menus.palette()

    def action_help(self) -> None:
        self.monitor.menus.help()

    def action_reread(self) -> None:
        self.monitor.readings.frozen = None
        self.monitor.look(now=True)
        self.refresh(layout=True)
        self.say("read again")

    def action_redraw(self) -> None:
        self.app.refresh(repaint=True, layout=True)

    def action_suspend(self) -> None:
        """Goes to the shell until `fg`."""
        if self.app.is_web:
            self.say("a browser has no shell to go to; q leaves")
        else:
            self.app.action_suspend_process()

    def action_leave(self) -> None:
        """Ends the monitor; a worker keeps running."""
        self.app.exit()


def key_name(event: events.Key) -> str:
    """Returns the printable character of a key, else Textual's name of it."""
    if event.character and event.character.isprintable() and event.key != "space":
        return event.character
    return event.key
