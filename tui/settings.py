"""Reads and writes the user's file ~/.config/fts/monitor.toml: keys, colours and options of the monitor.

`fts-tui --keys` prints a complete file. A mistake in the file is reported in one sentence with its line, before the
monitor takes the terminal.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import field, fields
from pathlib import Path
from typing import Any

from fts.frozen import dataclass
from fts.jobs.actions import ACTIONS
from fts.raising import quoted
from fts.state.files import home, why_unreadable
from fts.tui import keymap
from fts.tui.keymap import BadKeys, Keymap, nearest
from fts.tui.render import theme
from fts.tui.render.theme import ThemeColours

TABLES = ("monitor", "theme", "keys")
OPTIONS = ("ascii", "mouse")
LARGEST = 100_000  # bytes; a longer file cannot be a settings file
LEAST_CONTRAST = 3.0  # of the user's colours on their background; ours have 4.5


class BadSettings(Exception):
    """The file has a mistake; the message is one sentence with file and line."""


@dataclass(frozen=True)
class MonitorSettings:
    """The settings of the file; None: not set."""

    keymap: Keymap = field(default_factory=Keymap)
    theme: str | None = None  # a palette of ours, `user` for the user's colours, or a theme of Textual
    ascii: bool | None = None
    mouse: bool | None = None


def file(environ: Mapping[str, str] = os.environ) -> Path:
    """Returns ~/.config/fts/monitor.toml, on macOS too; $XDG_CONFIG_HOME replaces ~/.config."""
    base = environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if Path(base).is_absolute() else home() / ".config") / "fts" / "monitor.toml"


def read(path: Path) -> MonitorSettings:
    """Reads the file; returns the defaults if there is none. Raises BadSettings."""
    try:
        with path.open("rb") as opened:
            data = opened.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return MonitorSettings()
    except OSError as error:
        raise BadSettings(f"{path} cannot be read: {why_unreadable(error, path)}") from None
    if len(data) > LARGEST:
        raise BadSettings(f"{path} has more than {LARGEST:,} bytes, expected a file as `fts-tui --keys` writes it")
    try:
        return parsed(data.decode(), str(path))
    except UnicodeDecodeError:
        raise BadSettings(f"{path} is not UTF-8 text") from None


def parsed(text: str, name: str) -> MonitorSettings:
    """Parses the text of the file `name`. Raises BadSettings."""
    import tomllib  # here, not above: few users have such a file

    try:
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadSettings(_syntax_error(name, str(error) or "it is nested too deeply")) from None
    except ValueError:  # Python refuses to read such a number
        raise BadSettings(f"{name} has a number of more than 4,300 digits") from None
    try:
        return _settings(tables)
    except Wrong as wrong:
        at = line_of(text, *wrong.at)
        raise BadSettings(f"{name}{f', line {at}' if at else ''}: {wrong}") from None


def _syntax_error(name: str, error: str) -> str:
    """Formats a TOML error with file and line first, and a hint about missing quotes."""
    place = re.search(r" \(at line (\d+), column \d+\)", error)
    if place is None:
        return f"{name}: no TOML: {error[:1].lower()}{error[1:]}"
    cure = '; a word stands in quotes: "word"' if error.startswith("Invalid value") else ""
    cause = error[: place.start()]
    return f"{name}, line {place[1]}: no TOML: {cause[:1].lower()}{cause[1:]}{cure}"


class Wrong(Exception):
    """The value at (table, key) is wrong; the message is one sentence."""

    def __init__(self, sentence: str, *at: str) -> None:
        super().__init__(sentence)
        self.at = at


def _settings(tables: Mapping[str, Any]) -> MonitorSettings:
    for table, content in tables.items():
        if table not in TABLES:
            place = keymap.defaults().keys() | set(OPTIONS)
            where = "; it belongs below [keys] or [monitor]" if table in place else nearest(table, TABLES)
            raise Wrong(f"unknown table {table!r}, expected [monitor], [theme] or [keys]{where}", table)
        if not isinstance(content, Mapping):
            raise Wrong(f"{table} is {quoted(content)}, expected a table: write [{table}] in a line of its own", table)
    options = tables.get("monitor", {})
    for name, value in options.items():
        if name not in OPTIONS:
            raise Wrong(f"[monitor] has {name!r}, expected ascii or mouse{nearest(name, OPTIONS)}", "monitor", name)
        if not isinstance(value, bool):
            raise Wrong(f"{name} is {quoted(value)}, expected true or false", "monitor", name)
    return MonitorSettings(_keys(tables.get("keys", {})), _theme(tables.get("theme", {})), **options)


def _keys(table: Mapping[str, Any]) -> Keymap:
    wanted: dict[str, Sequence[str]] = {}
    for id, value in table.items():
        keys = [value] if isinstance(value, str) else value
        if not isinstance(keys, list) or not all(isinstance(key, str) and key for key in keys):
            raise Wrong(
                f'{id} is {quoted(value)}, expected a key such as "x" or a list such as ["x", "f5"]', "keys", id
            )
        wanted[id] = keys
    try:
        return keymap.checked(wanted)
    except BadKeys as bad:
        raise Wrong(str(bad), "keys", bad.id) from None


def roles() -> tuple[str, ...]:
    """Returns the names of the colours that a user may set."""
    return tuple(each.name for each in fields(ThemeColours) if each.type == "str" and each.name != "name")


def _theme(table: Mapping[str, Any]) -> str | None:
    for role in table:
        if role != "name" and role not in roles():
            known = ", ".join(("name", *roles()))
            raise Wrong(f"[theme] has {role!r}, expected one of {known}{nearest(role, roles())}", "theme", role)
    name = table.get("name")
    if name is not None:
        try:
            theme.named(name)
        except ValueError as error:
            raise Wrong(str(error), "theme", "name") from None
    own = {role: colour for role, colour in table.items() if role != "name"}
    if not own:
        return name
    for role, colour in own.items():
        if not isinstance(colour, str) or not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
            raise Wrong(f'{role} is {colour!r}, expected a colour such as "#2FBF8F"', "theme", role)
    base = theme.named(name or "dark")
    if base.own:
        wrong = f"name is {name!r}, which has the terminal's colours; own ones need dark, light or a theme of Textual"
        raise Wrong(wrong, "theme", "name")
    palette = theme.with_colours(base, own)
    for role in theme.INKS:
        for behind in ("background", "cursor"):
            if theme.contrast(getattr(palette, role), getattr(palette, behind)) < LEAST_CONTRAST:
                blamed = role if role in own else behind
                found = theme.contrast(getattr(palette, role), getattr(palette, behind))
                raise Wrong(
                    f"{role} {getattr(palette, role)} has a contrast of {found:.1f} on {behind} "
                    f"{getattr(palette, behind)}, expected at least {LEAST_CONTRAST:.0f}", "theme", blamed,
                )  # fmt: skip
    theme.register(palette)
    return palette.name


def line_of(text: str, table: str, key: str = "") -> int:
    """Returns the line number of a key in its table, else of the table; 0 if neither is found."""
    inside, header = False, 0
    for number, line in enumerate(text.splitlines(), 1):
        if found := re.match(r"\s*\[\s*\"?([\w.-]+)", line):
            inside = found[1] == table
            header = number if inside and not header else header
        elif inside and key and re.match(rf"""\s*["']?{re.escape(key)}["']?\s*[=.]""", line):
            return number
        elif not header and re.match(rf"""\s*["']?{re.escape(table)}["']?\s*[=.]""", line):
            header = number
    return header


# ---------------------------------------------------------------- the file to begin with


def written(settings: MonitorSettings, path: Path) -> str:
    """Returns a complete file with all present settings, for `fts-tui --keys`."""
    rows = [
        f"# {path}: keys and colours of fts-tui. A line that begins with # has no effect.",
        "",
        "[monitor]",
        _option("ascii", settings.ascii, False, "plain ASCII instead of lines and glyphs"),
        _option("mouse", settings.mouse, True, "false where the terminal's own selection is wanted"),
        "",
        "[theme]",
        f'{"" if settings.theme not in (None, "user") else "# "}name = "{settings.theme or "dark"}"  '
        "# dark, light, ansi (the terminal's colours), or a theme of Textual such as nord or gruvbox",
        *_colours(settings),
        "",
        "[keys]  # a key, a list of keys, or [] for none",
    ]
    helps = keymap.helps()
    for id, keys in settings.keymap.keys.items():
        action = next((each for each in ACTIONS if each.id == id), None)
        if action is not None and action.level == "L3":
            continue  # an action that cannot be undone has no key
        rows.append(f"{id} = {_list(keys)}  # {helps[id]}")
    return "\n".join(rows) + "\n"


def _option(name: str, value: bool | None, default: bool, help: str) -> str:
    return f"{'# ' if value is None else ''}{name} = {str(default if value is None else value).lower()}  # {help}"


def _colours(settings: MonitorSettings) -> list[str]:
    own = settings.theme == theme.USER
    palette = theme.palette(theme.USER) if own else theme.DARK
    return [f'{"" if own else "# "}{role} = "{getattr(palette, role)}"' for role in roles()]


def _list(keys: Sequence[str]) -> str:
    written = [_quoted(key) for key in keys]
    return written[0] if len(written) == 1 else f"[{', '.join(written)}]"


def _quoted(key: str) -> str:
    return f"'{key}'" if key in ('"', "\\") else f'"{key}"'
