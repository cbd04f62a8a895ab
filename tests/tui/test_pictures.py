"""The pictures of README and tour are drawn here, from a real database: they cannot lie.

`FTS_UPDATE_GOLDEN=1 pytest tests/tui/test_pictures.py` draws them anew.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from textual.geometry import Size

from fts.jobs.status import summary
from fts.tui import pictures
from fts.tui.data.view import Details, View
from tests.tui import study
from tests.tui.moving_picture import moving
from tests.tui.values import NOW, make_snapshot

DOCS = Path(__file__).parents[2] / "docs"
PICTURES = [("queue", (120, 40)), ("queue", (80, 24)), ("curves", (120, 40))]
TOUR = ("queue", "trials", "curves", "hardware", "results")  # the screens that the moving picture shows in turn


@pytest.fixture(scope="module")
def path(built, tmp_path_factory):
    return study.copy(built, tmp_path_factory.mktemp("pictures") / "study" / "outputs")


def drawn(path: Path, screen: str, size: tuple[int, int]) -> pictures.Picture:
    return pictures.render(path, screen, size, now=NOW, user=study.USER, title="spark · patchtst-a25")


def named(screen: str, size: tuple[int, int]) -> str:
    return f"{screen}-{size[0]}x{size[1]}"


@pytest.mark.parametrize(("screen", "size"), PICTURES, ids=[named(*picture) for picture in PICTURES])
def test_the_picture_is_what_the_monitor_shows(path, screen, size):
    file, svg = DOCS / "pictures" / f"{named(screen, size)}.svg", drawn(path, screen, size).svg
    if os.environ.get("FTS_UPDATE_GOLDEN"):
        file.write_text(svg)
    assert file.exists(), f"no picture {file.name}: run with FTS_UPDATE_GOLDEN=1 and look at it"
    assert svg == file.read_text(), f"{file.name} shows an older monitor: run with FTS_UPDATE_GOLDEN=1 and look at it"


def test_the_moving_picture_is_what_the_monitor_shows(path):
    file = DOCS / "pictures" / "monitor.svg"
    svg = moving([drawn(path, screen, (100, 30)).svg for screen in TOUR], "the monitor: " + ", ".join(TOUR))
    if os.environ.get("FTS_UPDATE_GOLDEN"):
        file.write_text(svg)
    assert file.exists() and svg == file.read_text(), f"{file.name} shows an older monitor: FTS_UPDATE_GOLDEN=1"
    assert len(svg) < 300_000 and "<script" not in svg and "prefers-reduced-motion" in svg


def test_the_readme_shows_no_picture_that_is_not_drawn_here():
    shown = re.findall(r"docs/pictures/([\w-]+)\.svg", (DOCS.parent / "README.md").read_text())
    assert shown
    assert set(shown) <= {"monitor", *(named(*picture) for picture in PICTURES)}


def test_what_ends_the_thread_of_the_pictures_reaches_whoever_waits_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_theme(_name: str) -> None:
        raise TypeError("another Textual")

    monkeypatch.setattr(pictures, "theme_of", no_theme)
    renderer = pictures.Renderer()
    for _ in range(2):
        with pytest.raises(TypeError, match="another Textual"):
            renderer.draw(View(summary.look(make_snapshot(), NOW, title="spark")), 80, 24)


def test_a_frame_that_is_late_on_a_busy_machine_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds, painted = [0], pictures.HeadlessApp._is_painted

    def late(self: pictures.HeadlessApp, size: Size) -> bool:
        rounds[0] += 1
        return rounds[0] > pictures.MOST_ROUNDS and painted(self, size)

    monkeypatch.setattr(pictures.HeadlessApp, "_is_painted", late)
    view = View(summary.look(make_snapshot(), NOW), Details())
    assert len(pictures.frame(view, 81, 25)) == 25 and rounds[0] > pictures.MOST_ROUNDS
