"""How the monitor looks at the study now: what it wishes to read, the glance, the view of a screen."""

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
from fts.tui.data.view import LOGS, QUEUE, TRIALS, Details, View, jobs_by_id

if TYPE_CHECKING:
    from fts.jobs.status.forecast import Forecast
    from fts.state.values import Job, Snapshot
    from fts.tui.app import Monitor
    from fts.tui.data.messages import Arrived

TICK_S = 1.0  # between looks
UNFOCUSED_S = 5.0  # between them while the terminal's pane is not in front
SHARE, LEAST_OFTEN_S = 0.0025, 5  # of a core that glances may take, until they are so many seconds apart
WIDE = 190  # columns from which the header has room for more than the study's name


class Outlook:
    """Of one monitor. The glance is made memoize for all who ask in the same second: one key asks several times.

    That of thousands of jobs costs more, and is made less often while nothing is written.
    """

    def __init__(self, app: Monitor) -> None:
        self.app = app
        self._glance: memoize.Once[glances.Glance] = memoize.Once()
        self._foreseen: memoize.Once[tuple[float, Forecast]] = memoize.Once()
        self._every_s = 1  # between glances of the same data
        self._shown: tuple[object, ...] = ()  # the facts of time in the latest picture
        self._looked_at = 0.0
        self._is_new = False  # data has come since the latest second
        self.waited = False  # a second has gone since the start

    def tick(self) -> None:
        """Once a second: asks for a look; paints only when something that is shown has changed by time alone."""
        app, self.waited = self.app, True
        if self._is_new:  # a second ago: by now the picture has asked for all that it shows
            self._is_new = False
            memoize.forget()
        if app.app_focus or time.monotonic() - self._looked_at >= UNFOCUSED_S:
            self._looked_at = time.monotonic()
            app.poller.ask()
        if app.toast[0] and time.monotonic() > app.toast[2]:
            app.toast = ("", "", 0.0)
        if self.facts_of_time() != self._shown:
            if self.in_trouble() != app.poller.wish.words_of:  # a worker went silent: nothing was written, yet
                app.look()
            app.paint()

    def has_something(self) -> bool:
        """Whether there is anything to show yet: the data, why there is none, or a second has gone without either."""
        return self.app.readings.has_answer or self.waited

    def has_shown(self) -> None:
        """A picture was painted."""
        self._shown = self.facts_of_time()

    def arrived(self, message: Arrived) -> None:
        """What was read takes its place: the cursor stays on its row, and what belongs to another one is asked for."""
        app, readings, desk = self.app, self.app.readings, self.app.desk
        memoize.expect()
        self._is_new = True
        if (foreseen := message.reading.foreseen) is not None:
            found = message.reading.snapshot
            self._foreseen((found.jobs, found.workers, found.worked), foreseen[0] // 60, lambda: foreseen)
        before = readings.reading.details if readings.reading else Details()
        readings.arrived(message.reading, live=desk.at is None)
        desk.stay(table_rows.lines_added(before, message.reading.details, desk.level))
        if readings.too_new():
            app.readonly = app.locked = True  # what a newer fts has written may mean more than is shown here
        if message.reading.reopened:
            desk.forget(time.monotonic())
            app.say(message.reading.reopened, "look")
        chosen = desk.job_id
        desk.settle(readings.snapshot, time.monotonic())
        if desk.is_filtered:
            desk.keep_in_sight(self.view(), time.monotonic())
        if desk.job_id != chosen or self.in_trouble() != app.poller.wish.words_of:
            app.look()

    def wish(self) -> ReadRequest:
        """What the poller should read for the screen as it is."""
        app = self.app
        width, height = app.size
        screen = app.desk.screen
        return ReadRequest(
            user=app.user,
            screen=screen,
            job_id=app.desk.job_id,
            trial_id=app.desk.trial_id if screen in (QUEUE, TRIALS, LOGS) else None,
            words_of=self.in_trouble(),
            with_log=screen == LOGS or (screen == QUEUE and width >= 70 and height >= 30),
            with_curves=width >= 70,
            with_day=screen == QUEUE and width >= 160,
            at=app.desk.at,
        )

    def in_trouble(self) -> int | None:
        """The job whose last lines matter now."""
        return self.app.readings.in_trouble(self.app.now(), self.app.desk.job_id)

    def view(self) -> View:
        """The frozen look at the screen."""
        app, readings = self.app, self.app.readings
        reading = readings.frozen or readings.reading
        view = app.desk.view(
            self.glance(),
            reading.details if reading else Details(),
            body=readings.frozen.snapshot if readings.frozen else None,
            toast=app.toast[0],
            toast_role=app.toast[1],
            readonly=app.readonly,
            problem=readings.problem if readings.reading or readings.problem_kind != "gone" else "",
            missing=readings.missing(app.readonly),
            pending=app.pending,
        )
        jobs, missing = self.chosen(view), bool(view.missing)
        hints = bindings.hints(
            view.screen, app.size.width, app.present(), jobs, app.readonly, app.ascii_only, missing, app.keymap
        )
        return replace(view, hints=hints, help_key=app.keymap.hint("help", "?"))

    def chosen(self, view: View) -> list[Job]:
        """The jobs an action would concern."""
        wanted = self.app.desk.chosen(view)
        known = jobs_by_id(self.app.readings.snapshot)
        if len(wanted) == 1:  # of thousands
            return [known[id] for id in wanted if id in known]
        return [job for id, job in known.items() if id in wanted]

    def glance(self) -> glances.Glance:
        """The first lines now."""
        app, readings = self.app, self.app.readings
        age = int(min(app.age_s(), NEVER_S))
        moment = (int(app.now() / self._every_s), formatting.clock(app.now()))
        reading, frozen = readings.reading, readings.frozen is not None
        facts = (readings.since, *moment, age, readings.problem, app.desk.at, app.readonly, frozen)
        told = (reading.details.events, reading.details.kept, reading.locked_by) if reading else ()
        return self._glance((readings.snapshot, *told), (app.app_focus, *facts), self._timed)

    def _timed(self) -> glances.Glance:
        """A fresh glance; the longer it takes, the less often one is made of the same data."""
        began = time.thread_time()
        found = self._fresh()
        self._every_s = min(max(round((time.thread_time() - began) / SHARE), 1), LEAST_OFTEN_S)
        return found

    def facts_of_time(self) -> tuple[object, ...]:
        """What the passing of time changes on the screen: the minute, an age once it is old, the verdict."""
        app = self.app
        age = min(app.age_s(), NEVER_S)
        stale = int(age) if age > max(STALE_S, UNFOCUSED_S + 1 if not app.app_focus else 0.0) else 0
        verdict = self.glance().verdict
        return (
            formatting.clock(app.now()), stale, app.app_focus, app.toast[0], app.pending, verdict.word, verdict.short,
        )  # fmt: skip

    def _fresh(self) -> glances.Glance:
        app, readings, reading = self.app, self.app.readings, self.app.readings.reading
        at, snapshot, distrust = app.desk.at, readings.snapshot, readings.distrust()
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
            mode=replay or ("FROZEN" if readings.frozen else "READ ONLY" if app.readonly else ""),
            kept=reading.details.kept if reading else None,
            locked_by=reading.locked_by if reading else None,
            every_s=TICK_S if app.app_focus else UNFOCUSED_S,
            checked=not readings.problem or distrust is None,
            foresee=self._foresee,
        )

    def _foresee(self, snapshot: Snapshot, now: float) -> Forecast:
        """Made anew each minute of the same jobs: two thousand of them take 20 ms, and only the pace of a running one
        depends on the time."""
        of = (snapshot.jobs, snapshot.workers, snapshot.worked)
        then, found = self._foreseen(of, now // 60, lambda: (now, forecast(snapshot, now)))
        return found.later(now - then)

    def _title(self) -> str:
        """The study; where there is room also its file and what this monitor costs."""
        app = self.app
        if app.size.width < WIDE:
            return app.study
        cost = app.cost.brief()
        file = f"{app.path.absolute().parent.name}/{app.path.name}"
        return " · ".join([app.study, file, *([f"this monitor {cost}"] if cost else [])])
