"""Readable by everyone: contrast, glyph and word beside each colour, few colours, no colours."""

from __future__ import annotations

import io
import sys

import pytest
from rich.color import Color, ColorSystem
from rich.console import Console

from fts.jobs.status import formatting
from fts.state.values import JobStatus, TrialStatus
from fts.tui.render import theme
from fts.tui.render.theme import DARK, DARK256, LIGHT, LIGHT256, PALETTES, ROLES
from fts.tui.terminal import colours
from tests.tui.stories import compositor_lines, monitor

STATES = ("running", "paused", "done", "failed", "warn", "best", "dim", "text")


@pytest.mark.parametrize("palette", [DARK, LIGHT], ids=["dark", "light"])
@pytest.mark.parametrize("state", STATES)
def test_every_text_colour_has_the_contrast_of_wcag_aa_on_background_and_cursor(palette, state):
    colour = getattr(palette, state)
    assert theme.contrast(colour, palette.background) >= 4.5
    assert theme.contrast(colour, palette.cursor) >= 4.5


@pytest.mark.parametrize("palette", [DARK256, LIGHT256], ids=["dark", "light"])
@pytest.mark.parametrize("state", STATES)
def test_the_nearest_of_256_colours_is_still_readable(palette, state):
    near = {name: hex_of_256(getattr(palette, name)) for name in (state, "background", "cursor")}
    assert theme.contrast(near[state], near["background"]) >= 4.5
    assert theme.contrast(near[state], near["cursor"]) >= 4.5


# The sixteen colours as xterm and as the Linux console and VGA show them.
XTERM = (
    "000000 cd0000 00cd00 cdcd00 0000ee cd00cd 00cdcd e5e5e5 7f7f7f ff0000 00ff00 ffff00 5c5cff ff00ff 00ffff ffffff"
)
VGA = "000000 aa0000 00aa00 aa5500 0000aa aa00aa 00aaaa aaaaaa 555555 ff5555 55ff55 ffff55 5555ff ff55ff 55ffff ffffff"


@pytest.mark.parametrize("name", ["dark8", "light8"])
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("cursor", ["", "cursor "])
def test_eight_colours_have_the_contrast_too_whether_bold_brightens_them_or_not(name, role, cursor):
    style = theme.style(cursor + role, name)
    for table, bold_brightens in ((XTERM, (False, True)), (VGA, (True,))):
        shown = [f"#{colour}" for colour in table.split()]
        for brighter in bold_brightens:
            text = style.color.number + (8 if style.bold and brighter else 0)
            assert style.color.number < 8
            assert theme.contrast(shown[text], shown[style.bgcolor.number]) >= 4.5


def test_what_fits_a_terminal():
    assert theme.fit_to_terminal("dark", 2**24) == "dark"
    assert theme.fit_to_terminal("light", 256) == "light256"
    assert theme.fit_to_terminal("dark", 16) == theme.fit_to_terminal("dark", 8) == "dark8"
    assert theme.fit_to_terminal("light", 8) == "light8"
    assert theme.fit_to_terminal("light", 0) == theme.fit_to_terminal("dark", 0) == "mono"
    assert theme.fit_to_terminal("ansi", 8) == "ansi"


def test_another_theme_is_chosen_for_the_same_terminal():
    assert theme.fit_like("light", "dark") == "light"
    assert theme.fit_like("light", "dark256") == "light256"
    assert theme.fit_like("dark", "light8") == "dark8"
    assert theme.fit_like("dark", "mono") == "mono"


@pytest.mark.parametrize("name", PALETTES)
def test_a_picture_has_all_colours_whatever_the_terminal_has(name):
    assert theme.palette(theme.in_pictures(name)) in (DARK, LIGHT)


@pytest.mark.parametrize(
    "environ",
    [
        {"TERM": "xterm", "COLORTERM": "truecolor"}, {"TERM": "xterm-256color"}, {"TERM": "tmux-256color"},
        {"TERM": "xterm-kitty"}, {"TERM": "xterm"}, {"TERM": "linux", "COLORTERM": "24bit"}, {"TERM": "screen"},
    ],
)  # fmt: skip
def test_colours_are_counted_as_rich_counts_them(environ):
    system = Console(force_terminal=True, _environ=environ).color_system
    counted = colours(environ)
    assert {"truecolor": 2**24, "256": 256}.get(str(system), min(counted, 16)) == counted


@pytest.mark.parametrize(
    ("environ", "speaks"),
    [
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, False),  # Python has put LC_CTYPE there
        ({"LANG": "de_DE.UTF-8"}, True),
        ({"LC_ALL": "POSIX", "LANG": "de_DE.UTF-8"}, False),
        ({"LC_ALL": "C.UTF-8"}, True),
        ({}, True),  # nothing is said: what Python thinks of the output decides
    ],
)
def test_who_gets_more_than_ascii(environ, speaks, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert formatting.speaks_utf8(environ) is speaks


def hex_of_256(colour: str) -> str:
    return Color.parse(colour).downgrade(ColorSystem.EIGHT_BIT).get_truecolor().hex


def test_contrast_is_that_of_the_standard():
    assert theme.contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert theme.contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)


def test_every_state_has_its_own_glyph_so_that_colour_is_never_alone():
    glyphs = [formatting.GLYPHS[status] for status in JobStatus]
    assert len(set(glyphs)) == len(glyphs)
    for status in (*JobStatus, *TrialStatus):
        assert formatting.width(formatting.GLYPHS[status]) == 1


@pytest.mark.parametrize("name", PALETTES)
def test_every_role_has_a_style_alone_under_the_cursor_and_faded(name):
    for role in ROLES:
        plain = theme.style(role, name)
        assert theme.style(f"cursor {role}", name) != plain
        assert theme.style(f"faded {role}", name).color is not None


def test_states_that_collapse_for_the_colour_blind_differ_in_weight_or_video():
    """On light, warn, best and failed come close for deuteranopes: bold or inverse and the glyph carry them."""
    assert theme.style("failed", "light").bold
    assert theme.style("best", "light").bold
    assert theme.style("lost", "light").reverse


async def colours_sent(db_path, **options):
    async with monitor(db_path, **options) as (app, _pilot):
        strips = [strip.apply_filter(f, app.screen.background_colors[1]) if f.enabled else strip
                  for strip in compositor_lines(app) for f in (app._filters or [None]) if f][: 24 * 4]  # fmt: skip
        strips = strips or compositor_lines(app)
        return {segment.style.color for strip in strips for segment in strip if segment.style and segment.style.color}


async def test_dark_sends_colours(db_path):
    found = {colour.get_truecolor() for colour in await colours_sent(db_path) if colour is not None}
    assert any(max(rgb) - min(rgb) > 60 for rgb in found)


async def test_the_terminals_own_colours_can_be_used(db_path):
    async with monitor(db_path, palette="ansi") as (app, _pilot):
        colours = {s.style.color.name for strip in compositor_lines(app) for s in strip if s.style and s.style.color}
        assert colours <= {
            "default",
            "bright_black",
            "bright_blue",
            "magenta",
            "green",
            "red",
            "yellow",
            "bright_yellow",
        }
