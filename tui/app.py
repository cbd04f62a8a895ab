"""The Textual app: receives data from the poller as messages and gives a frozen view to the screen on top."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.app import App
from textual.binding import Binding, BindingType

from fts.jobs.actions.run import this_person
from fts.jobs.status.sanitize import clean
from fts.tui import terminal
from fts.tui.action_runner import ActionRunner
from fts.tui.cost import MonitorCost
from fts.tui.data.poller import Poller
from fts.tui.data.reader import ReadRequest
from fts.tui.data.readings import Readings
from fts.tui.data.view import QUEUE, SCREENS, View
from fts.tui.key_queue import KeyQueue
from fts.tui.keymap import Keymap
from fts.tui.menus import Menus, commands
from fts.tui.modes import MODES
from fts.tui.navigation import Navigation
from fts.tui.presence import Presence
from fts.tui.render import theme
from fts.tui.render.export import keep_fault
from fts.tui.render.textual_theme import theme_of
from fts.tui.screens.base import MonitorScreen
from fts.tui.screens.textual_fixes import MendedScreen
from fts.tui.sharing import Sharing
from fts.tui.view_builder import TICK_S, ViewBuilder
from fts.tui.widgets.scrollbar import use_whole_cells

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.console import RenderableType
    from textual.driver import Driver
    from textual.geometry import Size

    from fts.state.values import Job, Snapshot
    from fts.tui.data.messages import Acted, Arrived, Unreadable

TOAST_S = 6.0

UNREADABLE = "the terminal sent a sequence that cannot be parsed"


class Monitor(App[None]):
    """The monitor of one database: `Monitor(path).run()`. Only actions of the registry write."""

    ENABLE_COMMAND_PALETTE = False  # we bind the palette to our own keys
    COMMANDS = {commands}  # noqa: RUF012  # Textual declares it like this
    MODES = MODES
    DEFAULT_MODE = SCREENS[QUEUE]
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c,ctrl+q", "interrupt", priority=True, show=False)]

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
        keymap: Keymap | None = None,
    ) -> None:
        self.cost = MonitorCost()  # before super().__init__(), which asks for the driver class
        super().__init__(ansi_color=theme.palette(palette).own)
        self.register_theme(theme_of(palette))
        self.set_reactive(App.theme, theme.of_textual(palette))  # now, so that the style sheet is parsed only once
        self.stylesheet.set_variables(self.get_css_variables())
        self.animation_level = "none"
        use_whole_cells(ascii_only)
        self.path, self.readonly, self.ascii_only, self.palette = path, readonly, ascii_only, palette
        self.keymap = keymap or Keymap()
        self.set_keymap(self.keymap.for_textual())
        for id, keys in self.keymap.added().items():
            self.bind(keys, f"app.do({id!r})", show=False)
        self.locked = locked  # read-only until the monitor ends: `:writable` is refused
        self.user = user or this_person()
        self.study = clean(title or path.absolute().parent.parent.name)
        self.readings = Readings(path)
        self.navigation = Navigation(at=at)
        self.view_builder = ViewBuilder(self)
        self.presence = Presence(self)
        self.key_queue = KeyQueue(self)
        self.action_runner = ActionRunner(self)
        self.sharing = Sharing(self)
        self.menus = Menus(self)
        self.pending = ""  # the change that has not ended yet, for the key bar
        self.toast: tuple[str, str, float] = ("", "", 0.0)  # text, role, monotonic time at which it goes
        self.appeared_at = time.monotonic()  # when the screen on top appeared
        self.fault: Exception | None = None  # the error that ended the monitor; None: the user left
        self.faults: set[str] = set()  # faults of the monitor that were already reported
        self.leaving = False  # no key or click counts any more
        self.on_leave: Callable[[], object] = lambda: None  # called once, when the user leaves
        self.poller = Poller(path, self.post_message, ReadRequest(user=self.user, at=at))

    def get_driver_class(self) -> type[Driver]:
        kind = self.cost.counting(super().get_driver_class())
        return terminal.suspending(kind, self.end_with, self.log_unreadable, self.redraw)

    @property
    def size(self) -> Size:
        """The size of the terminal, also before it has sent its first one."""
        return terminal.within_largest(super().size)

    def redraw(self) -> None:
        """Sends the whole screen again, once this call has returned."""
        self.call_later(self.refresh, repaint=True, layout=True)

    def end_with(self, error: Exception) -> None:
        """Ends the monitor because of an error in another thread."""
        self.call_later(self._handle_exception, error)

    def log_unreadable(self, error: Exception) -> None:
        """Logs the first sequence of the terminal that Textual cannot parse; keys that came with it are lost."""
        if UNREADABLE not in self.faults:
            self.faults.add(UNREADABLE)
            keep_fault(UNREADABLE, error)

    def exit(self, *words: Any, **named: Any) -> None:
        """Ends the monitor. What was typed after it opens nothing: a screen cannot be opened any more."""
        if not self.leaving:
            self.on_leave()
        self.leaving = True
        super().exit(*words, **named)

    def _handle_exception(self, error: Exception) -> None:
        if self.leaving:  # a screen was being opened
            keep_fault("while the monitor ended", error)
            return
        self.fault = self.fault or error
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """Textual would print a traceback with all values; `fts-tui` prints a sentence (FTS_DEBUG=1: both)."""
        if os.environ.get("FTS_DEBUG"):
            super()._fatal_error()
        else:
            self.panic()

    def panic(self, *renderables: RenderableType) -> None:
        """Ends the monitor; prints an error's own text only with FTS_DEBUG=1, because `fts-tui` prints a sentence."""
        super().panic(*(renderables if self.fault is None or os.environ.get("FTS_DEBUG") else ()))

    def on_mount(self) -> None:
        self.poller.start()
        self.look()
        self.set_interval(TICK_S, self.tick)

    def on_unmount(self) -> None:
        self.poller.stop()

    async def on_event(self, event: events.Event) -> None:
        if self.leaving and isinstance(event, (events.InputEvent, events.Paste)):
            return
        if isinstance(event, events.Key) and not event.is_forwarded and self.key_queue.takes(event):
            return
        if isinstance(event, events.Resize):
            event = events.Resize.from_dimensions(terminal.within_largest(event.size), event.pixel_size)
        await super().on_event(event)

    def delay_update(self, delay: float = 0.001) -> None:
        """Shows a new screen at once: Textual waits 50 ms, but there is no transition to hide."""
        super().delay_update(delay)

    def watch_app_focus(self) -> None:
        """Called by Textual when the terminal gets or loses the focus."""
        if self.screen_stack and isinstance(self.screen, MendedScreen):
            self.screen.focus_first()

    def action_interrupt(self) -> None:
        """ctrl+c: copies the selected text if there is any, else leaves."""
        self.sharing.copy() if self.screen.get_selected_text() else self.exit()

    def now(self) -> float:
        """Returns seconds since the epoch; in a replay the moment that is shown."""
        return time.time() if self.navigation.at is None else self.navigation.at

    def present(self) -> Snapshot:
        """Returns the latest snapshot, dated now."""
        return self.readings.present(self.now())

    def age_s(self) -> float:
        """Returns the seconds since the last successful read."""
        return self.readings.age_s(self.poller.last_good)

    def tick(self) -> None:
        self.view_builder.tick()

    def look(self, now: bool = False) -> None:
        """Sends the current read request to the poller. `now`: read even while it is backing off."""
        self.poller.ask(self.view_builder.request(), now)

    def on_arrived(self, message: Arrived) -> None:
        self.view_builder.arrived(message)
        self.paint()
        self.presence.catch_up()

    def on_unreadable(self, message: Unreadable) -> None:
        self.readings.failed(message)
        self.paint()
        self.presence.catch_up()

    def on_acted(self, message: Acted) -> None:
        self.say(self.action_runner.answered(message), "failed" if message.failed else "")
        if not self.action_runner.open:
            self.pending = ""
        if message.action_id == "ack" and not message.failed:
            self.readings.since = time.time()
        self.look(now=True)
        self.paint()

    def view(self) -> View:
        """Returns the frozen view that the screen shows."""
        return self.view_builder.view()

    def paint(self) -> None:
        """Gives the current view to its screen; each pane repaints only what has changed."""
        if not self.is_running or not self.screen_stack or not self.view_builder.has_something():
            return
        if self.current_mode != SCREENS[self.navigation.screen]:
            self.appeared_at = time.monotonic()
            self.switch_mode(SCREENS[self.navigation.screen])
        self.view_builder.has_shown()
        front = self.screen_stack[0]
        if isinstance(front, MonitorScreen):
            front.show(self.view())

    def part_failed(self, pane: str, error: Exception) -> None:
        """Reports each fault of a pane once; its traceback goes to a file, because the screen is in use."""
        fault = f"{pane}: {error!r}"
        if fault not in self.faults:
            self.faults.add(fault)
            sentence = f"a part of this screen failed ({keep_fault(fault, error)}); the data is not affected"
            self.toast = (sentence, "failed", time.monotonic() + TOAST_S)

    def action_do(self, id: str) -> None:
        """Runs an action that has a key only in the user's file."""
        self.do(id)

    def do(self, id: str) -> None:
        """Runs the key or action with this id."""
        self.menus.do(id)

    def chosen(self) -> list[Job]:
        """Returns the jobs that an action would change."""
        return self.view_builder.chosen(self.view())

    def say(self, text: str, role: str = "") -> None:
        """Shows a message in place of the key bar for 6 seconds."""
        self.toast = (self.keymap.in_words(text), role, time.monotonic() + TOAST_S)
        self.paint()
