"""A hostile string from a file or a row cannot steer the terminal."""

import pytest

from fts.jobs.status.sanitize import LONGEST, SHOWN, clean, clean_snapshot, clean_value
from tests.tui.values import make_job, make_snapshot, picture

HOSTILE = {
    "colour": "\x1b[31mred\x1b[0m",
    "clipboard": "\x1b]52;c;ZWNobyBoaQ==\x07",
    "title": "\x1b]0;owned\x07",
    "C1 control sequence": "\x9b31m",
    "backspace over the name": "ok\b\bno",
    "carriage return": "safe\rEVIL",
    "right to left override": "txt\u202egpj.exe",
    "zero width": "a\u200bb\u2060c",
    "line separator": "a\u2028b",
    "nul": "a\x00b",
    "lone surrogate": "a\ud800b",
    "private use": "a\ue000b",
    "tag characters": "a\U000e0041b",
    "no character": "a\ufffeb\uffffc",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_nothing_that_steers_a_terminal_is_left(text):
    shown = clean(text)
    assert shown.isprintable() or SHOWN in shown
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in shown)
    assert not any(char in shown for char in "\u202e\u200b\u2028\u2060\ud800\ufffe\uffff")


def test_plain_text_stays_the_same_object():
    text = "phase6a_2M_h1_threshold_1pct"
    assert clean(text) is text


def test_letters_of_other_scripts_stay():
    assert clean("Größe 日本 ±9h") == "Größe 日本 ±9h"


def test_a_tab_is_two_blanks_and_a_long_line_is_cut():
    assert clean("a\tb") == "a  b"
    assert len(clean("x" * (LONGEST + 5))) == LONGEST


def test_a_clean_snapshot_is_the_same_object_so_that_nothing_is_painted_again():
    snapshot = picture()
    assert clean_snapshot(snapshot) is snapshot


def test_every_string_of_a_snapshot_is_cleaned_however_deep():
    evil = "\x1b[2J"
    job = make_job(message=evil, spec={evil: [{"deep": evil}], "n": 3})
    cleaned = clean_snapshot(make_snapshot(jobs=(job,), path=evil))
    assert "\x1b" not in repr(cleaned)
    assert cleaned.jobs[0].spec["n"] == 3


def test_statuses_stay_statuses():
    job = make_job(message="\x1b[31m")
    assert clean_value(job).status is job.status
