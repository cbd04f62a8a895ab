"""Hands that show lists of everything: help, the palette, About; all made from the two tables of keys and actions."""

from __future__ import annotations

import platform
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from fts import __version__
from fts.tui.command_palette import Palette
from fts.tui.screens.dialogs import Confirm, Notice
from fts.tui.screens.help import Help

if TYPE_CHECKING:
    from fts.tui.app import Monitor
    from fts.tui.navigation import Navigation


class Menus(ABC):
    """The keys ? and :, and what only the palette knows."""

    app: Monitor

    @property
    def desk(self) -> Navigation:
        return self.app.desk

    @abstractmethod
    def show(self, screen: int) -> None:
        """Another screen."""

    def help(self) -> None:
        self.app.push_screen(Help(self.app, self.desk.screen, self.desk.focus), self._chosen)

    def palette(self) -> None:
        if not isinstance(self.app.screen, Palette):
            self.app.push_screen(Palette())

    def do(self, key: str) -> None:
        """What a key of bindings.py does, by its id."""
        getattr(self, key)()
        self.app.paint()

    def do_show(self, screen: int) -> None:
        self.show(screen)
        self.app.paint()

    def _chosen(self, choice: str | None) -> None:
        """Does what was chosen in the help."""
        kind, _, name = (choice or "").partition(" ")
        if kind == "do":
            self.app.acting.by_id(name)
        elif kind == "show":
            self.do_show(int(name))
        elif kind == "key":
            self.do(name)

    def writable(self) -> None:
        if not self.app.readonly:
            self.app.say("this monitor can write already")
            return
        if self.app.locked:
            self.app.say(self.app.too_new() or "this monitor is served to a browser and stays read-only", "look")
            return
        effects = ["The keys that change the queue work until you leave this monitor."]
        self.app.push_screen(Confirm("make this monitor writable?", effects, yes="writable"), self._write_from_now)

    def _write_from_now(self, yes: bool | None) -> None:
        if yes:
            self.app.readonly = False
            self.app.say("this monitor can write now")

    def about(self) -> None:
        facts = [
            f"fts {__version__} · Textual {version('textual')} · Python {platform.python_version()}",
            f"database {self.app.path} (schema {self.app.snapshot.schema})",
            f"reading as {self.app.user}" + (", read only" if self.app.readonly else ""),
            *self.app.cost.words(),
            f"terminal {self.app.size.width}x{self.app.size.height}, theme {self.app.palette}"
            + (", ASCII" if self.app.ascii_only else ""),
        ]
        self.app.push_screen(Notice("about", facts))


def version(package: str) -> str:
    from importlib import metadata  # here, not above: 50 ms, for About alone

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "from a checkout"
