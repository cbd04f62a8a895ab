"""The monitor: data comes up from the poller as messages, a view goes down to the screen that is shown."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import App
from textual.binding import Binding, BindingType

from fts.jobs.actions.run import this_person
from fts.jobs.status.sanitize import clean
from fts.tui import terminal
from fts.tui.action_runner import ActionRunner
from fts.tui.cost import Cost
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
from fts.tui.sharing import Sharing
from fts.tui.view_builder import TICK_S, Outlook
from fts.tui.widgets.scrollbar import use_whole_cells

if TYPE_CHECKING:
    from pathlib import Path

    from textual.driver import Driver

    from fts.state.values import Job, Snapshot
    from fts.tui.data.messages import Acted, Arrived, Unreadable

TOAST_S = 6.0


class Monitor(App[None]):
    """`Monitor(path).run()`; it only reads, unless an action of the registry is asked for."""

    ENABLE_COMMAND_PALETTE = False  # bound to a key of ours
    COMMANDS = {commands}  # noqa: RUF012  # as Textual has it
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
        self.cost = Cost()  # asked for the driver by what follows
        super().__init__(ansi_color=theme.palette(palette).own)
        self.register_theme(theme_of(palette))
        self.set_reactive(App.theme, theme.of_textual(palette))  # before the style sheet is parsed: not twice
        self.stylesheet.set_variables(self.get_css_variables())
        self.animation_level = "none"
        use_whole_cells(ascii_only)
        self.path, self.readonly, self.ascii_only, self.palette = path, readonly, ascii_only, palette
        self.keymap = keymap or Keymap()
        self.set_keymap(self.keymap.for_textual())
        for id, keys in self.keymap.added().items():
            self.bind(keys, f"app.do({id!r})", show=False)
        self.locked = locked  # read-only for good: `:writable` is refused
        self.user = user or this_person()
        self.study = clean(title or path.absolute().parent.parent.name)
        self.readings = Readings(path)
        self.desk = Navigation(at=at)
        self.outlook = Outlook(self)
        self.presence = Presence(self)
        self.key_queue = KeyQueue(self)
        self.acting = ActionRunner(self)
        self.sharing = Sharing(self)
        self.menus = Menus(self)
        self.pending = ""  # a change that the journal has not confirmed yet
        self.toast: tuple[str, str, float] = ("", "", 0.0)
        self.appeared_at = time.monotonic()
        self.faults: set[str] = set()  # of ours, told already
        self.poller = Poller(path, self.post_message, ReadRequest(user=self.user, at=at))

    def get_driver_class(self) -> type[Driver]:
        return terminal.suspending(self.cost.counting(super().get_driver_class()))

    def on_mount(self) -> None:
        self.poller.start()
        self.look()
        self.set_interval(TICK_S, self.tick)

    def on_unmount(self) -> None:
        self.poller.stop()

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key) and not event.is_forwarded and self.key_queue.takes(event):
            return
        await super().on_event(event)

    def delay_update(self, delay: float = 0.001) -> None:
        """A screen is shown as soon as it is there; there is no transition to mask."""
        super().delay_update(delay)

    def action_interrupt(self) -> None:
        """ctrl+c copies what is selected, else it leaves."""
        self.sharing.copy() if self.screen.get_selected_text() else self.exit()

    def now(self) -> float:
        """Seconds since the epoch; in a replay the moment that is shown."""
        return time.time() if self.desk.at is None else self.desk.at

    def present(self) -> Snapshot:
        """The latest snapshot at this moment."""
        return self.readings.present(self.now())

    def age_s(self) -> float:
        """Seconds since the last look that succeeded."""
        return self.readings.age_s(self.poller.last_good)

    def tick(self) -> None:
        """Once a second."""
        self.outlook.tick()

    def look(self, now: bool = False) -> None:
        """Tells the poller what is wanted."""
        self.poller.ask(self.outlook.wish(), now)

    def on_arrived(self, message: Arrived) -> None:
        self.outlook.arrived(message)
        self.paint()
        self.presence.catch_up()

    def on_unreadable(self, message: Unreadable) -> None:
        self.readings.failed(message)
        self.paint()
        self.presence.catch_up()

    def on_acted(self, message: Acted) -> None:
        self.say(self.acting.answered(message), "failed" if message.failed else "")
        if not self.acting.open:
            self.pending = ""
        if message.action_id == "ack" and not message.failed:
            self.readings.since = time.time()
        self.look(now=True)
        self.paint()

    def view(self) -> View:
        """The frozen look that is shown."""
        return self.outlook.view()

    def paint(self) -> None:
        """Shows the view on its screen; each pane repaints only what differs."""
        if not self.is_running or not self.screen_stack or not self.outlook.has_something():
            return
        if self.current_mode != SCREENS[self.desk.screen]:
            self.appeared_at = time.monotonic()
            self.switch_mode(SCREENS[self.desk.screen])
        self.outlook.has_shown()
        front = self.screen_stack[0]
        if isinstance(front, MonitorScreen):
            front.show(self.view())

    def part_failed(self, pane: str, error: Exception) -> None:
        """Tells once of each fault of ours; its traceback goes to a file, because the terminal is taken."""
        fault = f"{pane}: {error!r}"
        if fault not in self.faults:
            self.faults.add(fault)
            told = f"a part of this screen failed ({keep_fault(fault, error)}); the data is not affected"
            self.toast = (told, "failed", time.monotonic() + TOAST_S)

    def action_do(self, id: str) -> None:
        """An id that has no key unless the user's file gives it one."""
        self.do(id)

    def do(self, id: str) -> None:
        """Runs what an id of the table of keys, or of the registry, stands for."""
        self.menus.do(id)

    def chosen(self) -> list[Job]:
        """The jobs an action would concern."""
        return self.outlook.chosen(self.view())

    def say(self, text: str, role: str = "") -> None:
        """A toast: one line in place of the key bar for a few seconds."""
        self.toast = (self.keymap.in_words(text), role, time.monotonic() + TOAST_S)
        self.paint()
