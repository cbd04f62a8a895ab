"""docs/monitor.md, read literally: its file is a file, its mistake is that mistake, its commands can be typed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fts.jobs.actions import ACTIONS
from fts.tui import settings
from fts.tui.__main__ import main
from fts.tui.command_palette import pattern_of
from fts.tui.render import theme

PAGE = (Path(__file__).parent.parent.parent / "docs" / "monitor.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_file_of_the_page_is_read():
    (text,) = blocks("toml")
    chosen = settings.parsed(text, "monitor.toml")
    assert chosen.mouse is False
    assert chosen.theme == theme.USER and theme.palette(theme.USER).background == theme.LIGHT.background
    assert chosen.keymap.changed == {"cancel": ("X",), "pause": ("p", "f5"), "sort": (), "move_to": ("ctrl+t",)}


def test_the_command_of_the_page_prints_a_file_that_is_read(capsys):
    assert "$ fts-tui --keys > monitor.toml" in blocks("console")[0]
    assert main(["--keys"]) == 0
    settings.parsed(capsys.readouterr().out, "monitor.toml")


def test_the_mistake_of_the_page_is_answered_as_it_says(capsys):
    path = settings.file()
    path.parent.mkdir(parents=True)
    path.write_text('[keys]\ncancle = "X"\n')
    assert main([]) == 2
    said = capsys.readouterr().err.replace(str(path), "~/.config/fts/monitor.toml")
    assert said == blocks("console")[1].split("\n", 1)[1]


@pytest.mark.parametrize("typed", ["move 7 top", "note the fan is replaced", "pause 7 8"])
def test_the_commands_of_the_page_can_be_typed(typed):
    assert f"`{typed}`" in PAGE
    assert any("{" in action.cli and pattern_of(action).fullmatch(typed) for action in ACTIONS)
