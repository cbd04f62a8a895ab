"""The first lines answer three questions at every size, in exactly the columns there are."""

import math
import os
import re
import time
from dataclasses import replace

import pytest

from jobs.glance import glance as glances
from jobs.glance import words
from tests.tui.values import NOW, make_snapshot, picture

TABS = ("Queue", "Trials", "Curves", "Hardware", "Logs", "Results", "Events")


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    monkeypatch.setitem(os.environ, "TZ", "UTC")
    time.tzset()


def lines(width, height, snapshot=None, **facts):
    found = glances.look(snapshot or picture(), NOW, title="spark · patchtst-a20", **facts)
    return glances.lines(found, width, height, TABS, 0)


@pytest.mark.parametrize(
    ("width", "height", "count"), [(39, 7, 1), (60, 15, 2), (80, 24, 3), (120, 40, 5), (200, 60, 4)]
)
def test_each_size_has_its_number_of_lines_of_exactly_its_width(width, height, count):
    found = lines(width, height)
    assert len(found) == count
    assert {sum(words.width(text) for text, _ in line) for line in found} == {width}


@pytest.mark.parametrize("width", range(20, 220, 3))
def test_no_width_breaks_a_line(width):
    for height in (5, 15, 24, 40, 60):
        for line in lines(width, height):
            assert sum(words.width(text) for text, _ in line) == width


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 60)])
def test_verdict_finish_and_absence_are_there_at_every_size(size):
    text = "\n".join("".join(part for part, _ in line) for line in lines(*size))
    assert "LOOK" in text
    assert "20M/h5 failed" in text
    assert "done 31 Jul" in text or "finish 31 Jul" in text
    assert "+2 done" in text
    assert "1 failed" in text
    assert "live" in text


def test_old_data_say_so_in_the_first_line():
    first = "".join(text for text, _ in lines(80, 24, read_age_s=40)[0])
    assert "stale 40 s" in first
    assert "live" not in first


def test_what_was_never_read_is_neither_live_nor_idle():
    for size in ((39, 7), (60, 15), (80, 24), (120, 40), (200, 60)):
        facts = {"read_age_s": math.inf, "problem": "fts.db is damaged"}
        text = "\n".join("".join(part for part, _ in line) for line in lines(*size, make_snapshot(), **facts))
        assert text.strip() and "BLIND fts.db is damaged" in " ".join(text.split())
        assert not {"live", "IDLE", "done:", "inf"} & set(re.split(r"[\s,]+", text)), text


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 60)])
def test_nothing_counts_down_while_the_data_are_old(size):
    alone = replace(picture(), workers=())
    for snapshot in (picture(), alone):
        facts = [{"read_age_s": age, "problem": "no disk"} for age in (40, 100)]
        looks = [glances.look(snapshot, NOW + fact["read_age_s"], title="spark", **fact) for fact in facts]
        first, later = (["".join(t for t, _ in line) for line in glances.lines(found, *size)] for found in looks)
        assert "BLIND" in "".join(first)
        assert first[1:] == later[1:]
        assert "started now" not in "".join(first) and "starts now" not in "".join(first)
        assert looks[0].now == NOW, "the times are those of the last good frame"


def test_an_empty_database_has_a_glance_too():
    for size in ((60, 15), (80, 24), (120, 40), (200, 60)):
        text = "\n".join("".join(part for part, _ in line) for line in lines(*size, snapshot=make_snapshot()))
        assert "IDLE" in text


def test_the_json_twin_says_the_same():
    found = glances.as_dict(glances.look(picture(), NOW))
    assert found["verdict"] == "LOOK"
    assert found["away"]["done"] == 2
    assert found["finish"]["low"] < found["finish"]["at"] < found["finish"]["high"]


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 60)])
def test_without_a_worker_the_finish_says_that_it_needs_one(size):
    alone = replace(picture(), workers=())
    text = "\n".join("".join(part for part, _ in line) for line in lines(*size, alone))
    assert "done 31 Jul" not in text
    assert "if started now" in text or "if a worker starts now" in text
    assert "if" not in "\n".join("".join(part for part, _ in line) for line in lines(*size)).split()
