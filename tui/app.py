"""The monitor: one canvas, one poller, one desk. Data comes up as messages, keys go to the hands, a frame goes down."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.drivers.linux_driver import LinuxDriver
from textual.screen import Screen

from fts.jobs.actions.run import this_person
from fts.jobs.status import formatting
from fts.jobs.status import summary as glances
from fts.jobs.status.log_excerpt import trouble
from fts.jobs.status.sanitize import clean
from fts.jobs.status.verdict import STALE_S
from fts.state import queries
from fts.state.values import Event, Job, Snapshot
from fts.tui import bindings
from fts.tui.action_runner import ActionRunner
from fts.tui.command_palette import Commands
from fts.tui.cost import Cost
from fts.tui.data.poller import Poller
from fts.tui.data.reader import ReadRequest, ReadResult
from fts.tui.data.view import LOGS, QUEUE, TRIALS, Details, View
from fts.tui.driver import OnTerminal
from fts.tui.key_handlers import KeyHandlers
from fts.tui.keymap import Keymap
from fts.tui.navigation import Navigation
from fts.tui.render import layout, theme
from fts.tui.render.export import keep_fault
from fts.tui.render.textual_theme import theme_of
from fts.tui.widgets.pane import Pane, cropped
from fts.tui.widgets.scrollbar import use_whole_cells

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from textual import events
    from textual.driver import Driver

    from fts.tui.data.messages import Acted, Arrived, Unreadable
    from fts.tui.render.text import Line

TICK_S = 1.0
WIDE = 190  # columns from which the header has room for more than the study's name
UNFOCUSED_S = 5.0  # between looks while the terminal's pane is not in front
NEVER_S = 1e9  # older than any picture
TOAST_S = 6.0


def empty_snapshot(path: Path) -> Snapshot:
    """What is known before the first read."""
    return Snapshot(time.time(), 0, str(path), (), (), (), (), (), (), False, None, None)


class Front(Screen[None]):
    """The only base screen: a canvas. Its keys go to the hands before any binding of Textual sees them."""

    AUTO_FOCUS = None

    def compose(self) -> Any:
        app = self.app
        assert isinstance(app, Monitor)
        canvas = Pane(app.palette, app.ascii_only, id="front")
        canvas.lines = list(app.first)
        yield canvas

    def on_key(self, event: events.Key) -> None:
        app = self.app
        assert isinstance(app, Monitor)
        event.stop()
        event.prevent_default()
        app.hands.press(event)

    def on_click(self, event: events.Click) -> None:
        app = self.app
        assert isinstance(app, Monitor)
        app.hands.click(event.x, event.y, event.chain > 1)

    def on_mouse_scroll_down(self) -> None:
        self._wheel(1)

    def on_mouse_scroll_up(self) -> None:
        self._wheel(-1)

    def on_resize(self) -> None:
        assert isinstance(self.app, Monitor)
        self.app.paint()

    def _wheel(self, step: int) -> None:
        app = self.app
        assert isinstance(app, Monitor)
        app.desk.move(app.view(), step)
        app.paint()


class Monitor(App[None]):
    """`Monitor(path).run()`; it only reads, unless an action of the registry is asked for."""

    CSS = "Screen { layers: base; } Front { background: $background; }"
    ENABLE_COMMAND_PALETTE = False  # bound to a key of ours
    COMMANDS = {Commands}  # noqa: RUF012  # as Textual has it
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c,ctrl+q", "leave", "leave", priority=True, show=False)]

    def __init__(
        self,
        path: Path,
        *,
        readonly: bool = False,
        ascii_only: bool = False,
        palette: str = "dark",
        at: float | None = None,
        user: str | None = None,
        title: str = "",
        locked: bool = False,
        first: Sequence[Line] | None = None,
        keymap: Keymap | None = None,
    ) -> None:
        super().__init__(ansi_color=theme.palette(palette).own)
        self.register_theme(theme_of(palette))
        self.set_reactive(App.theme, theme.of_textual(palette))  # before the style sheet is parsed: not twice
        self.stylesheet.set_variables(self.get_css_variables())
        self.animation_level = "none"
        use_whole_cells()
        self.path, self.readonly, self.ascii_only, self.palette = path, readonly, ascii_only, palette
        self.keymap = keymap or Keymap()
        self.locked = locked  # read-only for good: `:writable` is refused
        self.user = user or this_person()
        self.study = clean(title or path.absolute().parent.parent.name)
        self.reading: ReadResult | None = None
        self.frozen: ReadResult | None = None
        self.snapshot = empty_snapshot(path)
        self.desk = Navigation(at=at)
        self.hands = KeyHandlers(self)
        self.acting = ActionRunner(self)
        self.cost = Cost()
        self.problem = ""
        self.problem_kind = ""
        self.pending = ""
        self.toast: tuple[str, str, float] = ("", "", 0.0)
        self.since: float | None = None  # the absence the glance tells of
        self.last_key = 0.0  # seconds since the epoch
        self.key_written = 0.0
        self.appeared_at = time.monotonic()
        self.journal: tuple[Event, ...] = ()  # the live one, also during a replay
        self.faults: set[str] = set()  # of ours, told already
        self.twin = ""  # the command line of what was last done here
        self.first = list(first or ())  # lines that were shown before this app existed
        self.poller = Poller(path, self.post_message, self.wish())
        self._shown: tuple[object, ...] = ()
        self._asked: tuple[object, ...] = ()  # what the glance was made of
        self._asked_of: tuple[object, ...] = ()  # kept, so that its ids stay its own
        self._answer: glances.Glance | None = None
        self._looked_at = 0.0

    # ---------------------------------------------------------------- life

    def get_default_screen(self) -> Screen[Any]:
        return Front()

    def get_driver_class(self) -> type[Driver]:
        found = super().get_driver_class()
        return OnTerminal if found is LinuxDriver else found  # a browser's monitor brings its own

    def on_mount(self) -> None:
        if self._driver is not None:
            self.cost.count_writes_of(self._driver)
        self.poller.start()
        self.poller.ask()
        self.set_interval(TICK_S, self.tick)

    def on_unmount(self) -> None:
        self.poller.stop()

    def action_leave(self) -> None:
        self.hands.leave()

    # ---------------------------------------------------------------- time

    def now(self) -> float:
        """Seconds since the epoch; in a replay the moment that is shown."""
        return time.time() if self.desk.at is None else self.desk.at

    def present(self) -> Snapshot:
        """The latest snapshot at this moment: a worker that falls silent writes nothing that would be read anew."""
        return replace(self.snapshot, taken_at=max(self.snapshot.taken_at, self.now()))

    def age_s(self) -> float:
        """Seconds since the last read that succeeded; infinitely many before the first."""
        if self.reading is None:
            return 0.0 if self.problem_kind == "gone" else math.inf  # where no file is there is nothing to miss
        return time.monotonic() - self.poller.last_good

    def tick(self) -> None:
        """Once a second: asks for a look; paints only when something that is shown has changed by time alone."""
        if self.app_focus or time.monotonic() - self._looked_at >= UNFOCUSED_S:
            self._looked_at = time.monotonic()
            self.poller.ask()
        if self.toast[0] and time.monotonic() > self.toast[2]:
            self.toast = ("", "", 0.0)
        if self._time_facts() != self._shown:
            if self._in_trouble() != self.poller.wish.words_of:  # a worker went silent: nothing was written, yet
                self.look()
            self.paint()

    def _time_facts(self) -> tuple[object, ...]:
        """What the passing of time changes on the screen: the minute, an age once it is old, the verdict."""
        age = min(self.age_s(), NEVER_S)
        stale = int(age) if age > max(STALE_S, UNFOCUSED_S + 1 if not self.app_focus else 0.0) else 0
        verdict = self._glance().verdict
        return (
            formatting.clock(self.now()),
            stale,
            self.app_focus,
            self.toast[0],
            self.pending,
            verdict.word,
            verdict.short,
        )

    # ---------------------------------------------------------------- data

    def wish(self) -> ReadRequest:
        """What the poller should read for the screen as it is."""
        width, height = self.size if self._size is not None else (80, 24)
        large = width >= 100 and height >= 30
        return ReadRequest(
            user=self.user,
            screen=self.desk.screen,
            job_id=self.desk.job_id,
            trial_id=self.desk.trial_id if self.desk.screen in (QUEUE, TRIALS, LOGS) else None,
            words_of=self._in_trouble(),
            with_log=self.desk.screen == LOGS or (self.desk.screen == QUEUE and large),
            with_curves=width >= 70,
            with_day=self.desk.screen == 0 and width >= 160,
            at=self.desk.at,
        )

    def _in_trouble(self) -> int | None:
        """The job whose last lines matter now."""
        job = trouble(self.snapshot, self.now(), self.desk.job_id)
        return None if job is None else job.id

    def look(self, now: bool = False) -> None:
        """Tells the poller what is wanted."""
        self.poller.ask(self.wish(), now)

    def on_arrived(self, message: Arrived) -> None:
        first = self.reading is None
        self.reading = message.reading
        self.problem = self.problem_kind = ""
        self.snapshot = message.reading.snapshot
        if self.desk.at is None:
            self.journal = message.reading.details.events
        if first:
            self.since = self.snapshot.last_key_at
        if self.too_new():
            self.readonly = self.locked = True  # what a newer fts has written may mean more than is shown here
        if message.reading.reopened:
            self.say(message.reading.reopened, "look")
        chosen = self.desk.job_id
        self.desk.settle(self.snapshot, time.monotonic())
        self.desk.keep_in_sight(self.view(), time.monotonic())
        if self.desk.job_id != chosen or self._in_trouble() != self.poller.wish.words_of:
            self.look()
        self.paint()
        self.hands.catch_up()

    def on_unreadable(self, message: Unreadable) -> None:
        self.problem_kind = message.kind
        sentence = clean(message.sentence)
        if message.kind != "gone":  # where it is missing, the whole path says which one was looked for
            sentence = sentence.replace(str(self.path), self.path.name)
        self.problem = sentence if message.kind != "busy" else f"{sentence}; reading again every 1, 2, 5 s"
        self.paint()
        self.hands.catch_up()

    def on_acted(self, message: Acted) -> None:
        self.say(self.acting.answered(message), "failed" if message.failed else "")
        if not self.acting.open:
            self.pending = ""
        if message.action_id == "ack" and not message.failed:
            self.since = time.time()
        self.look(now=True)
        self.paint()

    # ---------------------------------------------------------------- picture

    def view(self) -> View:
        """The frozen look that is painted."""
        reading = self.frozen or self.reading
        details = reading.details if reading else Details()
        view = self.desk.view(
            self._glance(),
            details,
            body=self.frozen.snapshot if self.frozen else None,
            toast=self.toast[0],
            toast_role=self.toast[1],
            readonly=self.readonly,
            problem=self.problem if self.reading or self.problem_kind != "gone" else "",
            missing=self._missing(),
            pending=self.pending,
        )
        chosen = self._jobs(view)
        hints = bindings.hints(
            self.desk.screen,
            self.size.width,
            self.present(),
            chosen,
            self.readonly,
            self.ascii_only,
            missing=bool(view.missing),
        )
        return replace(view, hints=hints)

    def paint(self) -> None:
        """Paints the frame; the canvas sends only what differs."""
        if not self.is_running or not self._installed():
            return
        if self.first and self.reading is None and not self.problem:
            return  # what stands there is better than `Reading ...`
        self._shown = self._time_facts()
        front = self.screen_stack[0].query_one("#front", Pane)
        front.show(layout.frame(self.view(), self.size.width, self.size.height, self.part_failed))

    def part_failed(self, pane: str, error: Exception) -> None:
        """Tells once of each fault of ours; its traceback goes to a file, because the terminal is taken."""
        fault = f"{pane}: {error!r}"
        if fault in self.faults:
            return
        self.faults.add(fault)
        where = keep_fault(fault, error)
        self.toast = (
            f"a part of this screen failed ({where}); the data is not affected",
            "failed",
            time.monotonic() + TOAST_S,
        )

    def _installed(self) -> bool:
        return bool(self.screen_stack) and bool(self.screen_stack[0].query("#front"))

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        """Textual's own way to the terminal, less what has not changed."""
        super()._display(screen, cropped(renderable))

    def _glance(self) -> glances.Glance:
        """The first lines at this second; one key asks several times."""
        facts = (
            self.since,
            int(self.now()),
            int(min(self.age_s(), NEVER_S)),
            self.problem,
            self.desk.at,
            self.readonly,
        )
        read = (self.snapshot, self.reading, self.frozen)  # compared by identity: equality would read it all
        asked = (*map(id, read), self.app_focus, *facts)
        if asked != self._asked or self._answer is None:
            self._asked, self._asked_of, self._answer = asked, read, self._fresh_glance()
        return self._answer

    def _fresh_glance(self) -> glances.Glance:
        replay = f"REPLAY {formatting.when(self.desk.at, time.time())}" if self.desk.at is not None else ""
        journal = self.reading.details.events if self.reading else ()
        mode = replay or ("FROZEN" if self.frozen else "READ ONLY" if self.readonly else "")
        age = 0.0 if self.desk.at is not None else self.age_s()
        if not self.app_focus and age <= UNFOCUSED_S + 1:
            age = 0.0
        replayed = self.desk.at is not None
        return glances.look(
            self.snapshot if replayed else replace(self.snapshot, last_key_at=self.since),
            self.now(),
            title=self._title(),
            read_age_s=age,
            problem=self._told_problem(),
            events=journal or None,
            mode=mode,
            kept=self.reading.details.kept if self.reading else None,
            locked_by=self.reading.locked_by if self.reading else None,
            every_s=TICK_S if self.app_focus else UNFOCUSED_S,
            checked=not self.problem or self._told_problem() is None,
        )

    def _told_problem(self) -> str | None:
        """Why the data cannot be trusted; a missing file is an empty state, and has words of its own."""
        if self.reading is None and not self.problem:
            return f"reading {self.path} for the first time"
        gone = self.reading is None and self.problem_kind == "gone"
        return None if gone else self.problem or self.too_new()

    def too_new(self) -> str | None:
        """Why this file is shown only as far as it is known."""
        return queries.newer_schema(self.snapshot)

    def _title(self) -> str:
        """The study; where there is room also its file and what this monitor costs."""
        if self.size.width < WIDE:
            return self.study
        cost = self.cost.brief()
        file = f"{self.path.absolute().parent.name}/{self.path.name}"
        return " · ".join([self.study, file, *([f"this monitor {cost}"] if cost else [])])

    def _missing(self) -> str:
        """What stands in place of the panes before anything was read: why, and what to do."""
        if self.reading is not None:
            return ""
        if self.problem_kind != "gone":
            return self.problem or f"Reading {self.path} ..."
        create = "" if self.readonly else "Press e to put a study in line, or in a terminal: "
        run = "`fts init` writes an example, `fts enqueue FILE.py:FUNCTION` puts a function in line"
        return f"No state at {self.path}. {create}{run}. Looked at: --db, $FTS_DB, ./outputs."

    # ---------------------------------------------------------------- for hands and acting

    def chosen(self) -> list[Job]:
        """The jobs an action would concern."""
        return self._jobs(self.view())

    def _jobs(self, view: View) -> list[Job]:
        wanted = self.desk.chosen(view)
        return [job for job in self.snapshot.jobs if job.id in wanted]

    def say(self, text: str, role: str = "") -> None:
        """A toast: one line in place of the key bar for a few seconds."""
        self.toast = (text, role, time.monotonic() + TOAST_S)
        self.paint()

    def themes_offered(self) -> list[str]:
        """What the palette may show: our themes, those of Textual, the user's colours."""
        own = [theme.USER] if self.palette == theme.USER else []
        return [*theme.OFFERED, *own, *theme.of_library()]

    def show_theme(self, name: str) -> None:
        """Another theme, as far as this terminal has its colours."""
        if name != theme.USER:
            theme.named(name)
        self.palette = theme.alike(name, self.palette)
        self.register_theme(theme_of(self.palette))
        self.ansi_color = theme.palette(self.palette).own
        self.theme = theme.of_textual(self.palette)
        for screen in self.screen_stack:
            for canvas in screen.query(Pane):
                canvas.palette = self.palette
                canvas.refresh()

    def remember(self, command: str) -> None:
        """The command line twin of what is being done, for the copy menu."""
        self.twin = command
