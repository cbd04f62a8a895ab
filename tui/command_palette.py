"""Lists of everything: help, the palette, About; all made from the two tables of keys and actions."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from fts.jobs.actions import ACTIONS, Action
from fts.jobs.status import formatting
from fts.tui import bindings
from fts.tui.data.view import SCREENS
from fts.tui.render import theme
from fts.tui.render.text import line
from fts.tui.screens.dialogs import Choice, Chooser, Confirm, Notice
from fts.tui.widgets.lines import Lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from fts.tui.app import Monitor
    from fts.tui.navigation import Navigation


class Menus:
    """The keys ? and :, and what only the palette knows."""

    def __init__(self, app: Monitor) -> None:
        self.app = app

    @property
    def desk(self) -> Navigation:
        return self.app.desk

    def help(self) -> None:
        title = f"keys · {SCREENS[self.desk.screen]} · {self.app.size.width}x{self.app.size.height}"
        chooser = Chooser(title, self.help_choices(), self.app.palette, self.app.ascii_only, width=118)
        self.app.push_screen(chooser, self._chosen)

    def help_choices(self) -> list[Choice]:
        """Every action, key and sign, from their tables; the greyed ones say why. What can be done now stands first."""
        actions = self._actions(lambda action: action.help)
        found = sorted(actions, key=lambda choice: bool(choice.why_not) or not choice.key)
        found += [Choice(key.id, key.label, key.shown, key.help) for key in bindings.KEYS]
        return found + [Choice("sign", name, sign, text) for sign, name, text in bindings.SIGNS]

    def palette(self) -> None:
        choices = self._actions(lambda action: action.command(self.app.chosen()))
        choices += [Choice(f"screen {n}", f"screen {name}", str(n + 1), "") for n, name in enumerate(SCREENS)]
        choices += [Choice(key.id, key.label, key.shown, key.help) for key in bindings.KEYS if key.id != "screen"]
        choices += [
            Choice("about", "about", "", "versions, paths, and what this monitor costs"),
            Choice("writable", "writable", "", "let this monitor write; it asks first"),
            *(Choice(f"theme {name}", f"theme {name}", "", "colours") for name in ("dark", "light")),
        ]
        self.app.push_screen(Chooser("command", choices, self.app.palette, self.app.ascii_only), self._chosen)

    def _actions(self, note: Callable[[Action], str]) -> list[Choice]:
        jobs = self.app.chosen()
        found = []
        for action in ACTIONS:
            targets = jobs if action.needs_jobs else [None]
            reasons = [action.why_not(job, self.app.present()) for job in targets] or [self.desk.why_none_chosen()]
            why_not = "" if any(reason is None for reason in reasons) else reasons[0]
            if self.app.readonly:
                why_not = "this monitor only reads"
            found.append(Choice(f"do {action.id}", action.label, action.key or "", note(action), why_not or ""))
        return found

    def _chosen(self, choice: str | None) -> None:
        """Does what was chosen in help or palette."""
        if choice is None:
            return
        kind, _, name = choice.partition(" ")
        if kind == "do":
            self.app.acting.by_id(name)
        elif kind == "theme":
            self._theme(name)
        elif kind == "screen" and name:
            self.desk.show(int(name))
        elif kind == "about":
            self.about()
        elif kind == "writable":
            self._writable()
        elif kind != "screen" and any(key.id == kind for key in bindings.KEYS):
            self.app.do(kind)
        self.app.paint()

    def _theme(self, name: str) -> None:
        self.app.palette = name = theme.alike(name, self.app.palette)
        self.app.theme = theme.of_textual(name)
        for screen in self.app.screen_stack:
            for lines in screen.query(Lines):
                lines.refresh()

    def _writable(self) -> None:
        if not self.app.readonly:
            self.app.say("this monitor can write already")
            return
        if self.app.locked:
            self.app.say(
                self.app.readings.too_new() or "this monitor is served to a browser and stays read-only", "look"
            )
            return
        effects = ["The keys that change the queue work until you leave this monitor."]
        dialog = Confirm("make this monitor writable?", effects, self.app.palette, self.app.ascii_only, yes="writable")
        self.app.push_screen(dialog, self._write_from_now)

    def _write_from_now(self, yes: bool | None) -> None:
        if yes:
            self.app.readonly = False
            self.app.say("this monitor can write now")

    def about(self) -> None:
        facts = [
            f"fts {version('fts')} · Textual {version('textual')} · Python {platform.python_version()}",
            f"database {self.app.path} (schema {self.app.readings.snapshot.schema})",
            f"reading as {self.app.user}" + (", read only" if self.app.readonly else ""),
            *self.app.cost.words(),
            f"terminal {self.app.size.width}x{self.app.size.height}, theme {self.app.palette}"
            + (", ASCII" if self.app.ascii_only else ""),
        ]
        shown = [line(formatting.cut(fact, 76)) for fact in facts]
        self.app.push_screen(Notice("about", shown, self.app.palette, self.app.ascii_only))


def version(package: str) -> str:
    from importlib import metadata  # here, not above: 50 ms, for About alone

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "from a checkout"
