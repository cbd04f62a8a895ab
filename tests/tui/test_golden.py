"""Every screen at four sizes as text, with a frozen clock: what a reviewer reads to see what a change does.

`FTS_UPDATE_GOLDEN=1 pytest tests/tui/test_golden.py` writes them anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fts.jobs.status import formatting
from fts.tui import pictures
from fts.tui.data.view import SCREENS
from tests.tui import study
from tests.tui.values import NOW

GOLDEN = Path(__file__).parent / "golden"
SIZES = ((60, 15), (80, 24), (120, 40), (200, 60))


def picture(built, screen, size, tmp_path_factory=None, **options):
    return pictures.render(built, screen, size, now=NOW, user=study.USER, title="spark · patchtst-a25", **options)


@pytest.fixture(scope="module")
def path(built, tmp_path_factory):
    return study.copy(built, tmp_path_factory.mktemp("golden") / "study" / "outputs")


def check(name: str, text: str) -> None:
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("FTS_UPDATE_GOLDEN"):
        file.write_text(text)
    assert file.exists(), f"no golden frame {name}: run with FTS_UPDATE_GOLDEN=1 and look at it"
    assert text == file.read_text()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("screen", [name.lower() for name in SCREENS])
def test_the_screen_looks_as_it_did(path, screen, size):
    check(f"{screen}-{size[0]}x{size[1]}", picture(path, screen, size).text)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_queue_in_ascii_looks_as_it_did(path, size):
    text = picture(path, "queue", size, ascii_only=True).text
    assert text.isascii()
    check(f"queue-{size[0]}x{size[1]}-ascii", text)


@pytest.mark.parametrize("screen", [name.lower() for name in SCREENS])
def test_every_screen_is_plain_ascii_when_asked(path, screen):
    assert picture(path, screen, (120, 40), ascii_only=True).text.isascii()


def test_light_and_dark_say_the_same_and_mark_the_same_states(path):
    """The roles are the style map: a theme only gives them colours."""
    dark = picture(path, "queue", (80, 24), theme="dark")
    light = picture(path, "queue", (80, 24), theme="light")
    assert dark.lines == light.lines
    assert dark.svg != light.svg
    roles = [" ".join(f"{role or '-'}:{formatting.width(text)}" for text, role in line) for line in dark.lines]
    check("queue-80x24.roles", "\n".join(roles) + "\n")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("screen", [name.lower() for name in SCREENS])
def test_every_frame_has_exactly_its_size(path, screen, size):
    lines = picture(path, screen, size).lines
    assert len(lines) == size[1]
    assert {sum(formatting.width(text) for text, _ in line) for line in lines} == {size[0]}


def test_any_size_gives_a_frame_and_never_a_refusal(path):
    view = pictures.look(path, "queue", (80, 24), now=NOW, user=study.USER)
    for width in (10, 40, 69, 99, 131, 300):
        for height in (2, 8, 19, 33, 90):
            lines = pictures.frame(view, width, height)
            assert len(lines) == height
            assert all(sum(formatting.width(text) for text, _ in line) == width for line in lines)


def test_the_specification_of_each_size_is_kept(path):
    """4.6: what a size must show."""
    pocket, small = picture(path, "queue", (60, 15)).text, picture(path, "queue", (80, 24)).text
    medium, wide = picture(path, "queue", (120, 40)).text, picture(path, "queue", (200, 60)).text
    for text in (pocket, small, medium, wide):
        assert all(f"{budget}/h{horizon}" in text for budget in study.BUDGETS for horizon in (1, 3, 5))
    assert "█" not in pocket.split("\n")[4]
    assert "guard ok" in small
    assert "─ events" in small
    for word in ("hardware · guard ok", "─ log", "middle half", "past forecasts"):
        assert word in medium
    for word in ("results so far", "hardware, 24 h", "trials 20M/h5", "samples/s", "if killed now"):
        assert word in wide


def test_a_frame_is_a_document_in_three_forms(path):
    made = picture(path, "curves", (80, 24))
    assert made.svg.startswith("<svg")
    assert "20M" in made.text
    assert made.png[:8] == b"\x89PNG\r\n\x1a\n"


def test_an_unknown_screen_is_named():
    with pytest.raises(ValueError, match="expected one of queue"):
        pictures.render(Path("nowhere.db"), "kitchen")
