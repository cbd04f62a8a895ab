"""What is really sent to terminals with few colours, none, no UTF-8 or no cursor: the escape codes on a real pty."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from fts.jobs.status import formatting
from fts.state.values import JobStatus
from tests.tui.terminal import Terminal

COLOUR = re.compile(rb"\x1b\[([0-9;]*)m")
PLAIN = {"0", "1", "4", "7"}  # end, bold, underline, inverse
BASE = {str(code) for code in (*range(30, 38), *range(40, 48))}  # the eight that every terminal with colours has


def codes_sent(db_path, *options: str, keys: Sequence[str] = "", **environ: str | None) -> tuple[set[str], bytes]:
    """(all numbers of colour codes, all bytes) of a monitor that has started and was given some keys."""
    with Terminal(db_path, (80, 24), *options, environ=environ) as terminal:
        terminal.wait_ready()
        for key in keys:
            terminal.key(key)
            terminal.wait_quiet(0.4)
        sent = terminal.screen
    return {number for found in COLOUR.findall(sent) for number in found.decode().split(";") if number}, sent


@pytest.mark.parametrize(("term", "theme", "keys"), [("linux", "dark", "j:"), ("xterm", "light", "j?")])
def test_a_terminal_with_eight_colours_is_sent_only_those(db_path, term, theme, keys):
    found, sent = codes_sent(db_path, "--theme", theme, keys=keys, TERM=term, COLORTERM=None)
    assert found <= PLAIN | BASE
    assert found & BASE
    assert b"failed" in sent  # a word, whatever the colour
    assert formatting.GLYPHS[JobStatus.FAILED].encode() in sent


DIALOGS = ("j", ":", "\x1b", "?", "\x1b", "x", "\x1b", "Y", "\x1b", "m")


@pytest.mark.parametrize(("term", "allowed"), [("linux", PLAIN | BASE), ("vt100", PLAIN | {"39", "49"})])
def test_no_dialog_sends_a_colour_that_the_terminal_has_not(db_path, term, allowed):
    found, sent = codes_sent(db_path, keys=DIALOGS, TERM=term, COLORTERM=None, LANG="C")
    assert found <= allowed
    assert "7" in found, "the chosen line is inverse"
    assert sent.isascii()


def test_a_terminal_with_256_colours_is_sent_no_true_colour(db_path):
    _, sent = codes_sent(db_path, TERM="screen-256color", COLORTERM=None)
    assert b";5;" in sent
    assert not re.search(rb"[34]8;2;", sent)


def test_a_terminal_without_colours_or_utf8_is_sent_neither(db_path):
    found, sent = codes_sent(db_path, keys="j", TERM="vt100", COLORTERM=None, LANG="C")
    assert found <= PLAIN | {"39", "49"}  # its own
    assert sent.isascii()
    assert b"failed" in sent


@pytest.mark.parametrize(
    ("options", "environ"), [([], {}), (["--theme", "ansi"], {"TERM": "linux", "COLORTERM": None})]
)
def test_no_color_sends_none(db_path, options, environ):
    found, sent = codes_sent(db_path, *options, keys="j:", NO_COLOR="1", **environ)
    assert found <= PLAIN | {"39", "49"}
    assert "7" in found, "the cursor is inverse"
    assert "◌".encode() in sent


@pytest.mark.parametrize("term", ["dumb", None])
def test_a_terminal_that_cannot_move_its_cursor_gets_one_sentence_and_the_twin(db_path, term):
    with Terminal(db_path, (80, 24), environ={"TERM": term, "COLORTERM": None}) as terminal:
        assert terminal.gone_within(20)
        terminal.wait_quiet(0.3)
        said = terminal.screen
    assert b"\x1b" not in said
    assert said.count(b"\n") == 1
    assert b"`fts status --plain`" in said
