"""The colours of every role, as palettes for terminals with many, 256, 8 or no colours.

Tuned from Okabe-Ito; a test requires a contrast of 4.5 (WCAG AA) of every text colour on its background and on the
cursor row. The ansi palette uses the terminal's own sixteen colours. On a terminal with eight or sixteen colours the
nearest ones to ours would be unreadable (red on grey, yellow on white), so dark8 and light8 choose among the eight that
every such terminal has. dark256 and light256 stay readable when rounded to 256 colours. mono sends no colours.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from rich.style import Style
from textual.theme import Theme

from fts.frozen import dataclass
from fts.jobs.api.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textual.theme import Theme

PALETTES = ("dark", "light", "ansi", "dark256", "light256", "dark8", "light8", "mono")


@dataclass(frozen=True)
class ThemeColours:
    """Background, text, and a colour for each state."""

    name: str
    background: str
    text: str
    dim: str
    cursor: str  # background of the cursor row
    panel: str  # background of dialogs
    running: str
    paused: str
    done: str
    failed: str
    warn: str
    best: str
    own: bool = False  # uses the terminal's own colours: the cursor row is inverse instead of having a background
    can_bold: bool = True  # False: bold black is grey on many terminals
    bolds: frozenset[str] = frozenset()  # fields that are always bold, which brightens the eight colours
    reverses: frozenset[str] = frozenset()  # fields that are always inverse, because their colour alone is too dark


DARK = ThemeColours(
    "dark", "#121212", "#E4E4E4", "#9A9A9A", "#303030", "#1E1E1E",
    running="#56B4E9", paused="#D98CB3", done="#2FBF8F", failed="#FF7A50", warn="#E69F00", best="#F0E442",
)  # fmt: skip
LIGHT = ThemeColours(
    "light", "#FAFAFA", "#1C1C1C", "#5F5F5F", "#E0E0E0", "#F0F0F0",
    running="#0060A0", paused="#8E3C6C", done="#00614A", failed="#A83800", warn="#7A4F00", best="#5A5000",
)  # fmt: skip
ANSI = ThemeColours(
    "ansi", "default", "default", "bright_black", "default", "default",
    running="bright_blue", paused="magenta", done="green", failed="red", warn="yellow", best="bright_yellow", own=True,
)  # fmt: skip
# Rounded to 256 colours, these colours of DARK and LIGHT would be too close to the cursor row.
DARK256 = replace(DARK, name="dark256", dim="#A8A8A8")
LIGHT256 = replace(LIGHT, name="light256", paused="#87005F", failed="#AF0000", warn="#870000")
DARK8 = ThemeColours(
    "dark8", "black", "white", "white", "black", "black",
    running="cyan", paused="white", done="green", failed="white", warn="yellow", best="yellow", own=True,
    bolds=frozenset({"paused", "warn", "best"}), reverses=frozenset({"failed"}),
)  # fmt: skip
LIGHT8 = ThemeColours(
    "light8", "white", "black", "black", "white", "white",
    running="blue", paused="black", done="black", failed="black", warn="black", best="black", own=True,
    can_bold=False, reverses=frozenset({"failed"}),
)  # fmt: skip
MONO = ThemeColours(
    "mono", "default", "default", "default", "default", "default",
    running="default", paused="default", done="default", failed="default", warn="default", best="default", own=True,
    reverses=frozenset({"failed"}),
)  # fmt: skip


OWN = (DARK, LIGHT, ANSI, DARK256, LIGHT256, DARK8, LIGHT8, MONO)
OFFERED = ("dark", "light", "ansi")  # to choose by name; the others are chosen for the terminal
INKS = ("text", "dim", "running", "paused", "done", "failed", "warn", "best")  # fields that are text colours
USER = "user"  # name of the palette with the user's colours
READABLE = 4.5  # least contrast by WCAG AA
_known: dict[str, ThemeColours] = {known.name: known for known in OWN}


def palette(name: str) -> ThemeColours:
    """Returns a palette of ours, or a registered one. Raises ValueError."""
    if name in _known:
        return _known[name]
    raise ValueError(f"theme is {name!r}, expected one of {', '.join(PALETTES)}")


def register(new: ThemeColours) -> None:
    """Adds or replaces a palette."""
    _known[new.name] = new
    style.cache_clear()


def named(name: object) -> ThemeColours:
    """Returns a palette of ours or of a Textual theme. Raises ValueError, which names the nearest theme."""
    if isinstance(name, str) and name in OFFERED:
        return palette(name)
    themes = of_library()
    if isinstance(name, str) and name in themes:
        register(themes[name])
        return themes[name]
    close = nearest(str(name), [*OFFERED, *themes])
    near = "" if close is None else f"; the nearest is {close!r}"
    raise ValueError(f"theme is {name!r}, expected dark, light, ansi or a theme of Textual such as nord{near}")


@lru_cache(maxsize=1)
def of_library() -> dict[str, ThemeColours]:
    """Returns Textual's themes as palettes, without its ANSI themes (ours is `ansi`)."""
    from textual.theme import BUILTIN_THEMES  # here, not above: 0.2 s, needed for these themes only

    return {name: from_textual(each) for name, each in BUILTIN_THEMES.items() if not each.ansi}


def from_textual(chosen: Theme) -> ThemeColours:
    """Makes a palette from the colours of a Textual theme, each brightened (on light: darkened) until readable."""
    colours = chosen.to_color_system().generate()
    background, text, panel = (colours[key][:7].upper() for key in ("background", "foreground", "panel"))
    cursors = (panel, *(mixed(background, text, part) for part in (0.12, 0.08, 0.04)))
    cursor = next((each for each in cursors if contrast(text, each) >= READABLE), cursors[-1])
    base = DARK if chosen.dark else LIGHT
    inks = {
        "running": chosen.primary, "paused": chosen.secondary, "done": chosen.success, "failed": chosen.error,
        "warn": chosen.warning, "best": chosen.accent, "dim": mixed(background, text, 0.65),
    }  # fmt: skip
    readable = {
        role: legible(ink[:7].upper() if ink and ink.startswith("#") else getattr(base, role), background, cursor)
        for role, ink in inks.items()
    }
    found = replace(base, name=chosen.name, background=background, text=text, cursor=cursor, panel=panel)
    return replace(found, **readable)  # type: ignore[arg-type]  # all of them colours


def with_colours(base: ThemeColours, own: Mapping[str, str]) -> ThemeColours:
    """Returns the user's palette: `base` with the colours in `own`."""
    return replace(base, name=USER, **{role: colour.upper() for role, colour in own.items()})  # type: ignore[arg-type]


def legible(ink: str, background: str, cursor: str) -> str:
    """Returns the nearest brighter (on light: darker) colour that is readable on both backgrounds."""
    away = "#FFFFFF" if _luminance(background) < 0.2 else "#000000"
    shades = [mixed(ink, away, part / 20) for part in range(21)]
    return next((each for each in shades if min(contrast(each, background), contrast(each, cursor)) >= READABLE), away)


def mixed(first: str, second: str, part: float) -> str:
    """Mixes two colours; `part` is the share of the second, 0..1."""
    pairs = [(int(first[n : n + 2], 16), int(second[n : n + 2], 16)) for n in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * part):02X}" for a, b in pairs)


def is_dark(name: str) -> bool:
    """Returns whether text is brighter than the background; for the terminal's own colours the name decides."""
    known = palette(name)
    if known.own:
        return not name.startswith("light")
    return _luminance(known.background) < _luminance(known.text)


def fit_to_terminal(name: str, colours: int) -> str:
    """Returns the name of the variant of palette `name` for a terminal with so many colours."""
    if not colours:
        return "mono"
    if palette(name).own or colours > 256:
        return name
    kind = "dark" if is_dark(name) else "light"
    if colours > 16:
        return f"{name}256" if name in ("dark", "light") else name
    return f"{kind}8"


def fit_like(name: str, current: str) -> str:
    """Returns the name of the variant of palette `name` for the terminal that shows the palette `current`."""
    few = {"256": 256, "8": 8}.get(next((few for few in ("256", "8") if current.endswith(few)), ""), 2**24)
    return fit_to_terminal(name, 0 if current == "mono" else few)


def of_textual(name: str) -> str:
    """Returns the name of the Textual theme of a palette."""
    return f"fts-{name}"


def in_pictures(name: str) -> str:
    """Returns the palette to use in files, which can show all colours, for a palette of the screen."""
    if name in PALETTES:
        return "light" if name.startswith("light") else "dark"
    return name


# role: (field of the palette, bold, reverse)
ROLES: dict[str, tuple[str, bool, bool]] = {
    "": ("text", False, False),
    "dim": ("dim", False, False),
    "strong": ("text", True, False),
    "title": ("text", True, False),
    "head": ("text", False, False),
    "rule": ("dim", False, False),
    "focus": ("running", True, False),
    "key": ("running", True, False),
    "queued": ("dim", False, False),
    "running": ("running", True, False),
    "paused": ("paused", False, False),
    "done": ("done", False, False),
    "complete": ("done", False, False),
    "failed": ("failed", True, False),
    "pruned": ("dim", False, False),
    "interrupted": ("warn", False, False),
    "retrying": ("warn", False, False),
    "lost": ("warn", False, True),
    "cancelled": ("dim", False, False),
    "best": ("best", True, False),
    "mark": ("best", True, False),
    "well": ("done", True, False),
    "look": ("warn", True, True),
    "act": ("failed", True, True),
    "idle": ("running", True, False),
    "blind": ("paused", True, True),
    "stale": ("warn", True, True),
    "replay": ("paused", True, True),
    "live": ("running", True, False),
    "median": ("done", False, False),
    "band": ("dim", False, False),
    "prune": ("failed", False, False),
    "axis": ("dim", False, False),
    "limit": ("warn", False, False),
    "error": ("failed", True, True),
    "match": ("best", True, True),
    "choice": ("text", True, True),
}


@lru_cache(maxsize=512)
def style(roles: str, name: str) -> Style:
    """Returns the style of roles such as "cursor running" in a palette; "cursor" and "faded" modify the other role."""
    colours = palette(name)
    parts = roles.split()
    cursor, faded = "cursor" in parts, "faded" in parts
    own = next((part for part in parts if part not in ("cursor", "faded")), "")
    field, bold, reverse = ROLES[own]
    if faded and own not in ("stale", "blind", "act", "look"):
        field = "dim"
    bold = (bold or field in colours.bolds) and colours.can_bold
    marked = cursor and colours.own  # inverse and underlined, because there is no background for the cursor row
    return Style(
        color=getattr(colours, field),
        bgcolor=colours.cursor if cursor else colours.background,
        bold=bold or None,
        reverse=(reverse or marked or field in colours.reverses) or None,
        underline=marked or None,
    )


def contrast(first: str, second: str) -> float:
    """Returns the contrast of two colours `#RRGGBB` by WCAG 2.1: 1 (equal) to 21."""
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    channels = (int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5))
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
