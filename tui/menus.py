"""Help, command palette, themes, About, and the switch to a writable monitor."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

from fts import __version__
from fts.tui.data.view import SCREENS
from fts.tui.render import theme
from fts.tui.render.textual_theme import theme_of
from fts.tui.widgets.lines import Lines

if TYPE_CHECKING:
    from textual.command import Provider

    from fts.tui.app import Monitor


class Menus:
    """Runs the keys ? and :, and the commands that only the palette has."""

    def __init__(self, app: Monitor) -> None:
        self.app = app

    def do(self, id: str) -> None:
        """Runs the key or action with this id."""
        app, screen = self.app, id.removeprefix("show_").capitalize()
        action: Any = getattr(app.screen_stack[0], f"action_{id}", None)
        if action is not None:
            app.call_next(action)
        elif screen in SCREENS:
            app.navigation.show(SCREENS.index(screen))
            app.paint()
            app.look()
        else:
            app.action_runner.by_id(id)
            app.paint()

    def help(self) -> None:
        from fts.tui.screens.help import Help  # here and below, not above: not needed to start

        self.app.push_screen(Help(self.app, self.app.navigation.screen, self.app.view().focus), self._chosen)

    def palette(self) -> None:
        from fts.tui.command_palette import Palette

        if not isinstance(self.app.screen, Palette):
            self.app.push_screen(Palette())

    def _chosen(self, id: str | None) -> None:
        """Runs the entry that was chosen in the help."""
        if id:
            self.app.do(id)

    def themes(self) -> list[str]:
        """Returns the themes for the palette: ours, the user's colours, Textual's."""
        own = [theme.USER] if self.app.palette == theme.USER else []
        return [*theme.OFFERED, *own, *theme.of_library()]

    def show_theme(self, name: str) -> None:
        """Switches to a theme, in the variant that fits the colours of this terminal."""
        app = self.app
        if name != theme.USER:
            theme.named(name)
        app.palette = theme.fit_like(name, app.palette)
        app.register_theme(theme_of(app.palette))
        app.ansi_color = theme.palette(app.palette).own
        app.theme = theme.of_textual(app.palette)
        for screen in app.screen_stack:
            for lines in screen.query(Lines):
                lines.refresh()

    def why_not_writable(self) -> str:
        """Returns why this monitor cannot be made writable; empty if it can."""
        if not self.app.readonly:
            return "this monitor can write already"
        if self.app.locked:
            return self.app.readings.too_new() or "this monitor is served to a browser and stays read-only"
        return ""

    def writable(self) -> None:
        from fts.tui.screens.dialogs import Confirm

        if why_not := self.why_not_writable():
            self.app.say(why_not, "look" if self.app.readonly else "")
            return
        effects = ["The keys that change the queue work until you leave this monitor."]
        self.app.push_screen(Confirm("make this monitor writable?", effects, yes="writable"), self._write_from_now)

    def _write_from_now(self, yes: bool | None) -> None:
        if yes:
            self.app.readonly = False
            self.app.say("this monitor can write now")

    def about(self) -> None:
        from fts.tui.screens.dialogs import Notice

        facts = [
            f"fts {__version__} · Textual {version('textual')} · Python {platform.python_version()}",
            f"database {self.app.path} (schema {self.app.readings.snapshot.schema})",
            f"reading as {self.app.user}" + (", read only" if self.app.readonly else ""),
            *self.app.cost.words(),
            f"terminal {self.app.size.width}x{self.app.size.height}, theme {self.app.palette}"
            + (", ASCII" if self.app.ascii_only else ""),
        ]
        self.app.push_screen(Notice("about", facts))


def commands() -> type[Provider]:
    """Loads and returns the palette's provider; called when the palette opens."""
    from fts.tui.command_palette import PaletteCommands

    return PaletteCommands


def version(package: str) -> str:
    from importlib import metadata  # here, not above: 50 ms, for About alone

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "from a checkout"
