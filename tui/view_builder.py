"""Builds the view of the screen from the latest read, and the request for the next read."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from fts.jobs.status import formatting, memoize
from fts.jobs.status import summary as glances
from fts.jobs.status.forecast import forecast
from fts.jobs.status.verdict import STALE_S
from fts.tui import bindings
from fts.tui.data import table_rows
from fts.tui.data.reader import ReadRequest
from fts.tui.data.readings import NEVER_S
from fts.tui.data.result_grid import jobs_in_sight
from fts.tui.data.view import CURVES, LOGS, QUEUE, TRIALS, Details, View, jobs_by_id
from fts.tui.widgets import learning_curve

if TYPE_CHECKING:
    from fts.jobs.status.forecast import Forecast
    from fts.state.values import Job, Snapshot
    from fts.tui.app import Monitor
    from fts.tui.data.messages import Arrived

TICK_S = 1.0  # between reads
UNFOCUSED_S = 5.0  # between reads while the terminal does not have the focus
SHARE, LEAST_OFTEN_S = 0.0025, 5  # glances may take this share of a core; but one is made at least every 5 s
WIDE = 190  # columns from which the header also shows the file and the cost of the monitor


class ViewBuilder:
    """Builds the views of one monitor.

    The glance is cached for a second, because one key asks for it several times. With thousands of jobs it takes
    longer, and is rebuilt less often while the data stays the same.
    """

    def __init__(self, app: Monitor) -> None:
        self.app = app
        self._glance: memoize.Once[glances.Glance] = memoize.Once()
        self._forecast: memoize.Once[tuple[float, Forecast]] = memoize.Once()
        self._every_s = 1  # seconds between two glances of the same data
        self._shown: tuple[object, ...] = ()  # `facts_of_time` at the last repaint
        self._looked_at = 0.0  # monotonic time of the last request to the poller
        self._is_new = False  # data has arrived since the last tick
        self.waited = False  # a second has passed since the start

    def tick(self) -> None:
        """Once a second: requests a read, and repaints if the time alone has changed what the screen shows."""
        app, self.waited = self.app, True
        if self._is_new:  # the panes have repainted by now and asked for all cached values that they need
            self._is_new = False
            memoize.forget()
        if app.app_focus or time.monotonic() - self._looked_at >= UNFOCUSED_S:
            self._looked_at = time.monotonic()
            app.poller.ask()
        if app.toast[0] and time.monotonic() > app.toast[2]:
            app.toast = ("", "", 0.0)
        if self.facts_of_time() != self._shown:
            if self.in_trouble() != app.poller.request.words_of:  # a worker went silent; that writes no row
                app.look()
            app.paint()

    def has_something(self) -> bool:
        """Returns whether to paint yet: once the first read has answered or failed, or a second has passed."""
        return self.app.readings.has_answer or self.waited

    def has_shown(self) -> None:
        """Notes that the screen was painted."""
        self._shown = self.facts_of_time()

    def arrived(self, message: Arrived) -> None:
        """Takes over a new read: keeps the cursor on its row, and requests another read if the selection changed.

        Ignores a read of another moment than the one to show: it was requested before the last step of a replay.
        """
        app, readings, navigation = self.app, self.app.readings, self.app.navigation
        if message.reading.reopened:
            readings.replaced += 1
            readings.frozen = None
            navigation.forget(time.monotonic())
        if message.reading.at != navigation.at:
            return
        memoize.expect()
        self._is_new = True
        if (read_forecast := message.reading.forecast) is not None:
            found = message.reading.snapshot
            self._forecast((found.jobs, found.workers, found.worked), read_forecast[0] // 60, lambda: read_forecast)
        before = readings.reading.details if readings.reading else Details()
        readings.arrived(message.reading, live=navigation.at is None)
        navigation.stay(table_rows.lines_added(before, message.reading.details, navigation.level))
        if readings.too_new():
            app.readonly = app.locked = True  # a newer fts may have written data that this one does not know
        if message.reading.reopened:
            app.say(message.reading.reopened, "look")
        chosen = navigation.job_id
        navigation.settle(readings.snapshot, time.monotonic())
        if navigation.is_filtered:
            navigation.keep_in_sight(self.view(), time.monotonic())
        if navigation.job_id != chosen or self.in_trouble() != app.poller.request.words_of:
            app.look()

    def request(self) -> ReadRequest:
        """Returns what the poller should read for the present screen."""
        app = self.app
        width, height = app.size
        screen = app.navigation.screen
        return ReadRequest(
            user=app.user,
            screen=screen,
            job_id=app.navigation.job_id,
            trial_id=app.navigation.trial_id if screen in (QUEUE, TRIALS, CURVES, LOGS) else None,
            words_of=self.in_trouble(),
            with_log=screen == LOGS or (screen == QUEUE and width >= 70 and height >= 30),
            with_curves=screen != QUEUE or width >= 70,  # the narrow queue has no curve
            with_day=screen == QUEUE and width >= 160,
            best_of=jobs_in_sight(self.view(), height) if screen == CURVES and self.has_something() else (),
            since=app.readings.since,
            at=app.navigation.at,
        )

    def in_trouble(self) -> int | None:
        """Returns the id of the job whose last log lines should be shown now, or None."""
        return self.app.readings.in_trouble(self.app.now(), self.app.navigation.job_id)

    def view(self) -> View:
        """Returns the frozen view of the screen."""
        app, readings = self.app, self.app.readings
        readonly = app.readonly or app.navigation.at is not None  # the past cannot be changed
        reading = readings.frozen or readings.reading
        view = app.navigation.view(
            self.glance(),
            reading.details if reading else Details(),
            body=readings.frozen.snapshot if readings.frozen else None,
            toast=app.toast[0],
            toast_role=app.toast[1],
            readonly=readonly,
            problem=readings.problem if readings.reading or readings.problem_kind != "gone" else "",
            missing=readings.missing(app.readonly),
            pending=app.pending,
        )
        jobs, missing = self.chosen(view), bool(view.missing)
        stepless = view.screen == CURVES and learning_curve.without_steps(view)
        hints = bindings.hints(
            view.screen, app.size.width, app.present(), jobs, readonly, app.ascii_only, missing, app.keymap, stepless
        )
        return replace(view, hints=hints, help_key=app.keymap.hint("help", "?"))

    def chosen(self, view: View) -> list[Job]:
        """Returns the jobs that an action would change."""
        wanted = self.app.navigation.chosen(view)
        known = jobs_by_id(self.app.readings.snapshot)
        if len(wanted) == 1:  # avoids a pass over thousands of jobs
            return [known[id] for id in wanted if id in known]
        return [job for id, job in known.items() if id in wanted]

    def glance(self) -> glances.Glance:
        """Returns the glance (the first lines of the screen), cached for a second."""
        app, readings = self.app, self.app.readings
        age = int(min(app.age_s(), NEVER_S))
        moment = (int(app.now() / self._every_s), formatting.clock(app.now()))
        reading, frozen = readings.reading, readings.frozen is not None
        facts = (readings.since, *moment, age, readings.problem, app.navigation.at, app.readonly, frozen)
        data = (reading.details.events, reading.details.kept, reading.locked_by) if reading else ()
        return self._glance((readings.snapshot, *data), (app.app_focus, *facts), self._timed)

    def _timed(self) -> glances.Glance:
        """Makes a new glance, and sets how long it is kept from the CPU time that it took."""
        began = time.thread_time()
        found = self._fresh()
        self._every_s = min(max(round((time.thread_time() - began) / SHARE), 1), LEAST_OFTEN_S)
        return found

    def facts_of_time(self) -> tuple[object, ...]:
        """Returns what time alone changes on the screen: the minute, the age of old data, the verdict."""
        app = self.app
        age = min(app.age_s(), NEVER_S)
        stale = int(age) if age > max(STALE_S, UNFOCUSED_S + 1 if not app.app_focus else 0.0) else 0
        verdict = self.glance().verdict
        return (
            formatting.clock(app.now()), stale, app.app_focus, app.toast[0], app.pending, verdict.word, verdict.short,
        )  # fmt: skip

    def _fresh(self) -> glances.Glance:
        app, readings, reading = self.app, self.app.readings, self.app.readings.reading
        at, snapshot, distrust = app.navigation.at, readings.snapshot, readings.distrust()
        replay = f"REPLAY {formatting.when(at, time.time())}" if at is not None else ""
        age = 0.0 if at is not None else app.age_s()
        if not app.app_focus and age <= UNFOCUSED_S + 1:
            age = 0.0
        return glances.look(
            snapshot if at is not None else replace(snapshot, last_key_at=readings.since),
            app.now(),
            title=self._title(),
            read_age_s=age,
            problem=distrust,
            events=(reading.details.events if reading else ()) or None,
            counted=reading.details.counted if reading else None,
            mode=replay or ("FROZEN" if readings.frozen else "READ ONLY" if app.readonly else ""),
            kept=reading.details.kept if reading else None,
            locked_by=reading.locked_by if reading else None,
            every_s=TICK_S if app.app_focus else UNFOCUSED_S,
            checked=not readings.problem or distrust is None,
            foresee=self._forecast_now,
        )

    def _forecast_now(self, snapshot: Snapshot, now: float) -> Forecast:
        """Returns the forecast, rebuilt once a minute for the same jobs: it takes 20 ms for 2,000 jobs, and only the
        pace of a running one depends on the time."""
        of = (snapshot.jobs, snapshot.workers, snapshot.worked)
        then, found = self._forecast(of, now // 60, lambda: (now, forecast(snapshot, now)))
        return found.later(now - then)

    def _title(self) -> str:
        """Returns the study's name; on a wide screen also its file and the cost of this monitor."""
        app = self.app
        if app.size.width < WIDE:
            return app.study
        cost = app.cost.brief()
        file = f"{app.path.absolute().parent.name}/{app.path.name}"
        return " · ".join([app.study, file, *([f"this monitor {cost}"] if cost else [])])
