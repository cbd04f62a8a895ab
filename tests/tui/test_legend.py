"""Each glyph and column that a screen shows is explained by the help of that screen, at every size."""

from __future__ import annotations

import re
import unicodedata

import pytest

from fts.jobs.status import formatting
from fts.tui import legend, pictures
from fts.tui.data.view import SCREENS
from fts.tui.render import theme
from tests.tui import any_study, study
from tests.tui.values import NOW

SIZES = ((60, 15), (80, 24), (120, 40), (200, 60))


@pytest.fixture(scope="module")
def paths(built, tmp_path_factory):
    other = tmp_path_factory.mktemp("legend-any") / "work" / "outputs" / "fts.db"
    other.parent.mkdir(parents=True)
    any_study.build(other)
    return [study.copy(built, tmp_path_factory.mktemp("legend") / "study" / "outputs"), other]


def glyphs_of(text: str) -> set[str]:
    """The characters that are no letters of any language; of braille one."""
    found = {char for char in text if not char.isascii() and unicodedata.category(char)[0] in "SPN"}
    braille = {char for char in found if "\u2800" <= char <= "\u28ff"}
    return found - braille | ({"⣀"} if braille else set())


@pytest.mark.parametrize("screen", range(len(SCREENS)), ids=SCREENS)
def test_every_glyph_is_explained_on_its_own_screen(paths, screen):
    explained = glyphs_of("".join(sign.glyphs for sign in legend.signs_of(screen)))
    explained |= {chr(code) for code in range(0x2800, 0x2900)} if "⣀" in explained else set()
    for path in paths:
        for size in SIZES:
            text = pictures.render(path, SCREENS[screen].lower(), size, now=NOW, user=study.USER).text
            unknown = glyphs_of(text) - explained
            assert not unknown, f"{SCREENS[screen]} at {size} shows {unknown}: add a Sign to tui/legend.py"


HEADS = {"Queue": r"^ +# cell ", "Trials": r"^ +t state ", "Events": r"^ +when "}


@pytest.mark.parametrize("name", HEADS)
def test_every_column_is_explained_on_its_own_screen(paths, name):
    screen = SCREENS.index(name)
    known = {word for column in legend.columns_of(screen) for word in re.split(r"[, ]+", column.head)}
    text = pictures.render(paths[0], name.lower(), (200, 60), now=NOW, user=study.USER).text
    (head,) = [line for line in text.splitlines() if re.match(HEADS[name], line)]
    words = re.sub(r"\d+ of \d+ rows|by \w+ [↓↑]|█", "", head.split("│")[0]).split()
    unknown = {word for word in words if not any(each.startswith(word.rstrip("…")) for each in known)}
    assert not unknown, f"{name} has the columns {unknown}: add a Column to tui/legend.py"


def test_every_state_is_explained_where_it_is_shown():
    for glyph in (*formatting.GLYPHS.values(), formatting.BEST, formatting.LOST, "•", "┊", "┃", "╌", "┈"):
        assert any(glyph in sign.glyphs for sign in legend.SIGNS), glyph


def test_every_colour_of_a_palette_has_its_words():
    assert set(theme.INKS) | {"cursor"} == set(legend.COLOURS)
    assert {field for field, _, _ in theme.ROLES.values()} <= set(legend.COLOURS)
