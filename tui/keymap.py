"""The keys of every function: the defaults of bindings.py and of the action registry, changed by the user's file.

An id is the id of a `Key`, of an action (the first one if two share a key, as pause and resume do), or show_queue,
show_trials ... for the seven screens.
"""

from __future__ import annotations

import re
from dataclasses import field
from functools import cached_property
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.actions import ACTIONS, Action, by_key
from fts.jobs.api.nearest import nearest as most_similar
from fts.tui import bindings
from fts.tui.data.view import SCREENS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NO_KEY = "no_key"  # a key that does not exist: Textual's keymap cannot remove a key
ALIASES = {"move_up": ("alt+up",), "move_down": ("alt+down",)}
SHARED = {frozenset({"metric", "note"})}  # ids that may share a key: m is metric on Curves and Results, else note
OURS = {
    "esc": "escape", "return": "enter", "del": "delete", "pgup": "pageup", "pgdn": "pagedown", "ins": "insert",
    "spacebar": "space",
}  # fmt: skip
NAMED = (
    "escape", "enter", "tab", "space", "backspace", "delete", "insert", "home", "end", "pageup", "pagedown", "up",
    "down", "left", "right", *(f"f{n}" for n in range(1, 25)),
)  # fmt: skip
SAME = {"ctrl+i": "tab", "ctrl+m": "enter", "ctrl+[": "escape"}  # terminals send the same byte for both
NEVER = {"ctrl+enter", "shift+enter", "ctrl+tab", "ctrl+space"}  # most terminals send nothing for these
CTRL_SIGNS = {  # with ctrl a terminal sends only these signs
    "\\": "backslash", "]": "right_square_bracket", "^": "circumflex_accent", "_": "underscore",
}  # fmt: skip
SIGNS = {name: sign for sign, name in CTRL_SIGNS.items()}
ALWAYS = {"ctrl+c": "leave"}  # cannot be changed, so that there is always a way out
SHOWN = {
    "escape": "Esc", "enter": "↵", "tab": "Tab", "space": "Space", "backspace": "Bksp", "delete": "Del",
    "insert": "Ins", "home": "Home", "end": "End", "pageup": "PgUp", "pagedown": "PgDn", "up": "↑", "down": "↓",
    "left": "←", "right": "→",
}  # fmt: skip
# Hints of the bar that stand for two keys.
PAIRS = {
    "move_up": ("move_down", "move_up"), "next_cell": ("previous_cell", "next_cell"),
    "zoom_in": ("zoom_in", "zoom_out"), "earlier": ("earlier", "later"), "next_match": ("next_match", "previous_match"),
    "day_back": ("day_back", "day_on"), "replay_back": ("replay_back", "replay_on"),
}  # fmt: skip


class BadKeys(ValueError):
    """An id or key of the user's file is wrong; the message is one sentence."""

    def __init__(self, id: str, sentence: str) -> None:
        super().__init__(sentence)
        self.id = id


def screen_id(screen: int) -> str:
    """Returns the id of a screen: `show_queue`."""
    return f"show_{SCREENS[screen].lower()}"


def id_of(action: Action) -> str:
    """Returns the id that an action's keys belong to; the two actions of p, P and D share one."""
    return by_key(action.key)[0].id if action.key else action.id


def defaults() -> dict[str, tuple[str, ...]]:
    """Returns the default keys of every id, in the order of the help."""
    found: dict[str, tuple[str, ...]] = {}
    for action in ACTIONS:
        found.setdefault(id_of(action), (action.key, *ALIASES.get(action.id, ())) if action.key else ())
    for key in bindings.KEYS:
        if key.id == "screen":
            found |= {screen_id(n): (name,) for n, name in enumerate(key.keys)}
        else:
            found[key.id] = tuple(name for name in key.keys or (key.shown,) if name not in ALWAYS)
    return found


def helps() -> dict[str, str]:
    """Returns the help sentence of every id."""
    found = {id_of(action): action.help for action in reversed(ACTIONS)}
    found |= {key.id: key.help for key in bindings.KEYS if key.id != "screen"}
    return found | {screen_id(n): f"Screen {name}." for n, name in enumerate(SCREENS)}


@dataclass(frozen=True)
class Keymap:
    """The keys of this user: the defaults with the changes of the user's file."""

    changed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def keys(self) -> dict[str, tuple[str, ...]]:
        """The keys of every id."""
        return defaults() | dict(self.changed)

    @cached_property
    def ids(self) -> dict[str, str]:
        """The id of every key."""
        return {key: id for id, keys in reversed(self.keys.items()) for key in keys} | ALWAYS

    def shown(self, id: str, default: str = "") -> str:
        """Formats the keys of an id for help, bar and palette: `j ↓`."""
        if id in self.changed:
            return " ".join(map(shown_key, self.changed[id]))
        return default or _shown_by_default().get(id) or " ".join(map(shown_key, self.keys.get(id, ())))

    def of_action(self, action: Action) -> str:
        return self.shown(id_of(action), action.key or "")

    def hint(self, name: str, default: str) -> str:
        """Formats the keys of a hint for the bar: `J/K`, or the user's keys if they were changed."""
        action = next((each for each in ACTIONS if each.id == name), None)
        pair = PAIRS.get(name, ("log_y",) if name == "copy" else (id_of(action),) if action else (name,))
        if not any(id in self.changed for id in pair):
            return default
        firsts = [shown_key(self.keys[id][0]) for id in pair if self.keys.get(id)]
        return ("/" if "/" in default else " ").join(firsts)

    def for_textual(self) -> dict[str, str]:
        """Returns the keymap for App.set_keymap: changed ids, and ids that share a key with one.

        The latter are needed because Textual would remove the shared key from them.
        """
        sharing = {id for pair in SHARED if pair & self.changed.keys() for id in pair}
        moved = {id: self.keys[id] for id in self.keys if id in self.changed or id in sharing}
        named = {id: ["comma" if key == "," else key for key in keys] for id, keys in moved.items()}
        return {id: ",".join(keys) or NO_KEY for id, keys in named.items()}

    def added(self) -> dict[str, str]:
        """Returns the keys of ids that have no default key: Textual's keymap changes bindings but adds none."""
        known = defaults()
        return {id: keys for id, keys in self.for_textual().items() if not known[id] and self.changed.get(id)}

    def in_words(self, text: str) -> str:
        """Replaces the default keys in a sentence by the user's: `r retries` becomes `F5 retries`."""
        if not self.changed:
            return text
        return NAMES_KEY.sub(lambda found: self._renamed(found[1]) + found[2], text)

    def _renamed(self, key: str) -> str:
        plain = {"Esc": "escape", "Enter": "enter", "Tab": "tab", "Space": "space"}.get(key, key.replace("^", "ctrl+"))
        id = _default_ids().get(plain)
        if id is None or id not in self.changed or plain in self.changed[id]:
            return key
        return shown_key(self.changed[id][0]) if self.changed[id] else f":{id}"  # as it is typed in the palette


VERBS = (
    "shows|runs|starts|resumes|retries|undoes|lists|writes|puts|changes|reads|leaves|clears|returns|enqueues|ends|"
    "copies|unfolds|folds|seen|resumes|goes|adds"
)
NAMES_KEY = re.compile(rf"(?<![\w`'-])([A-Za-z/?]|\^[a-z]|Esc|Enter|Tab|Space)( (?:{VERBS})\b| = seen)")


def _shown_by_default() -> dict[str, str]:
    return {key.id: key.shown for key in bindings.KEYS}


def _default_ids() -> dict[str, str]:
    return Keymap().ids


def shown_key(key: str) -> str:
    """Formats a key for display: `^x`, `Esc`, `alt+↑`."""
    *modifiers, last = key.split("+") if len(key) > 1 else [key]
    last = SIGNS.get(last, last)
    name = SHOWN.get(last, last.upper() if re.fullmatch(r"f\d+", last) else last)
    if modifiers == ["ctrl"] and len(last) == 1:
        return f"^{last}"
    return "+".join([*modifiers, name])


# ---------------------------------------------------------------- the user's choice


def checked(wanted: Mapping[str, Iterable[str]]) -> Keymap:
    """Returns the keymap with these changes. Raises BadKeys for an unknown id or key, or a key with two ids."""
    known = defaults()
    changed: dict[str, tuple[str, ...]] = {}
    for id, keys in wanted.items():
        if id not in known:
            raise BadKeys(id, f"[keys] has {id!r}, expected an id of `fts-tui --keys`{nearest(id, known)}")
        changed[id] = tuple(dict.fromkeys(_key(id, key) for key in keys))
        action = next((action for action in ACTIONS if action.id == id), None)
        if changed[id] and action is not None and action.level == "L3":
            raise BadKeys(id, f"{id} cannot be undone, so it has no key: the palette asks for a word")
    keymap = Keymap({id: keys for id, keys in changed.items() if keys != known[id]})
    _refuse_doubles(keymap, list(wanted))
    return keymap


def _refuse_doubles(keymap: Keymap, wanted: list[str]) -> None:
    owners: dict[str, str] = {}
    for id, keys in keymap.keys.items():
        for key in keys:
            other = owners.setdefault(key, id)
            if other != id and frozenset({other, id}) not in SHARED:
                blamed = id if id in wanted else other
                raise BadKeys(blamed, f"{other} and {id} have the same key {key!r}: give one of them another, or []")
    for key, id in ALWAYS.items():
        if owners.get(key, id) != id:
            raise BadKeys(owners[key], f"{owners[key]} has the key {key!r}, which always leaves the monitor")


def _key(id: str, text: str) -> str:
    """Parses a key of the user's file. Returns Textual's name of it; a letter or sign is its own name."""
    if len(text) == 1 and text.isprintable() and text != " ":
        return text
    if text == " ":
        return "space"
    short = f"ctrl+{text[1:]}" if len(text) == 2 and text[0] == "^" else text
    *modifiers, last = [part.strip() for part in short.split("+")] if short != "+" else [short]
    if last == "" and short.endswith("++"):
        modifiers, last = modifiers[:-1], "+"
    lower = [modifier.lower() for modifier in modifiers]
    last = last if len(last) == 1 else OURS.get(last.lower(), SIGNS.get(last.lower(), last.lower()))
    if "shift" in lower and len(last) == 1 and last.isalpha():  # a terminal sends the capital letter
        lower, last = [modifier for modifier in lower if modifier != "shift"], last.upper()
    if "ctrl" in lower and len(last) == 1:
        last = last.lower()
    key = "+".join([*(m for m in ("alt", "ctrl", "shift") if m in lower), last])
    if set(lower) - {"alt", "ctrl", "shift"} or not (last in NAMED or len(last) == 1):
        close = nearest(last, NAMED)
        raise BadKeys(id, f"{id} has {text!r}, expected a key such as x, X, ctrl+x, f5, space or alt+up{close}")
    if key in SAME:
        raise BadKeys(id, f"{id} has {text!r}, which a terminal cannot tell from {SAME[key]}; choose another key")
    if len(last) == 1:
        key = _with_modifiers(lower, last, key)
    if key in NEVER or not key:
        raise BadKeys(id, f"{id} has {text!r}, which most terminals do not send; choose another key")
    return key


def _with_modifiers(modifiers: list[str], last: str, key: str) -> str:
    """Returns Textual's name of a letter or sign with these modifiers; empty if terminals do not send it.

    With alt they send ASCII letters, with ctrl also a few signs, with both nothing that Textual can tell.
    """
    is_letter = last.isascii() and last.isalpha()
    if set(modifiers) == {"alt"} and is_letter:
        return f"alt+shift+{last.lower()}" if last.isupper() else key
    if set(modifiers) == {"ctrl"} and (is_letter or last in CTRL_SIGNS):
        return f"ctrl+{CTRL_SIGNS.get(last, last)}"
    return "" if modifiers else key


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns `; the nearest is 'cancel'`, or an empty string if no known word is similar."""
    close = most_similar(word, known)
    return "" if close is None else f"; the nearest is {close!r}"
