"""Readable by everyone: contrast, glyph and word beside each colour, few colours, no colours."""

from __future__ import annotations

import os

import pytest

from jobs.glance import words
from state.values import JobStatus, TrialStatus
from tests.tui.stories import compositor_lines, monitor
from tui import theme
from tui.theme import DARK, LIGHT, PALETTES, ROLES

STATES = ("running", "paused", "done", "failed", "warn", "best", "dim", "text")


@pytest.mark.parametrize("palette", [DARK, LIGHT], ids=["dark", "light"])
@pytest.mark.parametrize("state", STATES)
def test_every_text_colour_has_the_contrast_of_wcag_aa_on_background_and_cursor(palette, state):
    colour = getattr(palette, state)
    assert theme.contrast(colour, palette.background) >= 4.5
    assert theme.contrast(colour, palette.cursor) >= 4.5


def test_contrast_is_that_of_the_standard():
    assert theme.contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert theme.contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)


def test_every_state_has_its_own_glyph_so_that_colour_is_never_alone():
    glyphs = [words.GLYPHS[status] for status in JobStatus]
    assert len(set(glyphs)) == len(glyphs)
    for status in (*JobStatus, *TrialStatus):
        assert words.width(words.GLYPHS[status]) == 1


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


async def test_no_color_sends_greys_only(db_path, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    found = {colour.get_truecolor() for colour in await colours_sent(db_path) if colour is not None}
    assert found
    assert all(max(rgb) - min(rgb) <= 2 for rgb in found)


async def test_dark_sends_colours(db_path):
    os.environ.pop("NO_COLOR", None)
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
