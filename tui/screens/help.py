"""The help: keys and actions of the screen first, then its columns, glyphs and colours, then everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.actions import ACTIONS
from fts.tui import bindings, keymap, legend
from fts.tui.command_palette import of_action
from fts.tui.data.view import SCREENS
from fts.tui.screens.chooser import Choice, Chooser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fts.tui.app import Monitor

EXPLAINS = ("column", "sign", "colour", "dialog")  # ids of lines that only explain


class Help(Chooser):
    """A searchable list. Enter runs the action of a line; on a line that only explains it does nothing."""

    def __init__(self, app: Monitor, screen: int, pane: str = "") -> None:
        size = f"{app.size.width}x{app.size.height}"
        focused = f", pane {pane}" if pane else ""
        super().__init__(f"help · {SCREENS[screen]}{focused} · {size}", list(lines(app, screen, pane)), width=116)

    def take(self, choice: Choice) -> None:
        if choice.id not in EXPLAINS:
            self.dismiss(choice.id)


def heading(text: str) -> Choice:
    return Choice("", text)


def lines(app: Monitor, screen: int, pane: str = "") -> Iterator[Choice]:
    """Yields the help for a screen: first for its focused pane, then for the screen, then the rest."""
    jobs = app.chosen()
    keys = {key.id: _key(app, key) for key in bindings.KEYS if key.id != "screen"}
    actions = {entry.id: entry for entry in (of_action(app, action, jobs) for action in ACTIONS)}

    def do(id: str) -> Choice:
        entry, action = actions[id], next(each for each in ACTIONS if each.id == id)
        return Choice(id, entry.label, entry.key, action.help, entry.why_not)

    now = [id for id in actions if actions[id].key and not actions[id].why_not]
    here = ids_of(screen)
    subject = legend.SUBJECTS.get(pane, screen)
    if subject != screen:
        yield heading(f"in the pane {pane}")
        yield from (keys[id] for id in ids_of(subject) if id in keys)
        yield from explained(subject)
    yield heading(f"on {SCREENS[screen]}")
    yield from (do(id) for id in now if id in here)
    yield from (keys[id] for id in here if id in keys)
    yield from (do(id) for id in now if id not in here)
    yield heading(f"columns and glyphs of {SCREENS[screen]}")
    yield from explained(screen)
    yield heading(f"colours of the theme {app.palette}; a word or glyph always says the same")
    yield from (Choice("colour", role, "", f"{word}: {text}") for role, (word, text) in legend.COLOURS.items())
    yield heading("on every screen")
    yield from (choice for id, choice in keys.items() if id not in here)
    screens = {keymap.screen_id(n): name for n, name in enumerate(SCREENS)}
    yield from (Choice(id, f"screen {name}", app.keymap.shown(id)) for id, name in screens.items())
    yield heading("in dialogs")
    yield Choice("dialog", "leave", "Esc", "Leaves a dialog without doing anything.")
    yield Choice("dialog", "yes", "y", "Does what a question asks; Enter does not, because No has the focus.")
    yield Choice("dialog", "mouse", "", "A click chooses, the wheel scrolls; Shift and drag selects for the terminal.")
    yield heading("not now, or only in the palette")
    yield from (do(id) for id in actions if id not in now)


def _key(app: Monitor, key: bindings.Key) -> Choice:
    return Choice(key.id, key.label, app.keymap.shown(key.id, key.shown), key.help)


def ids_of(screen: int) -> list[str]:
    """Returns the ids of the keys in a screen's bar; both of a pair."""
    both = [id for name, _, _ in bindings.BARS[screen] for id in keymap.PAIRS.get(name, (name,))]
    return list(dict.fromkeys("log_y" if id == "copy" else id for id in both))


def explained(screen: int) -> Iterator[Choice]:
    """Yields the explanations of a screen's columns and glyphs."""
    yield from (Choice("column", column.head, "", column.text) for column in legend.columns_of(screen))
    yield from (Choice("sign", sign.name, sign.glyphs, sign.text) for sign in legend.signs_of(screen))
