"""Times of the clock over a change of daylight saving time: an hour that comes twice, and one that is left out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from fts.jobs.api import amounts
from fts.jobs.notify.targets import Quiet
from fts.jobs.status.log_excerpt import lines_until

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def utc(*when: int) -> float:
    return datetime(*when, tzinfo=UTC).timestamp()  # type: ignore[misc, arg-type]


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    yield monkeypatch
    monkeypatch.undo()
    time.tzset()


READ = [  # zone, now, what is asked, what it means
    (BERLIN, utc(2026, 10, 25, 11), "2026-10-25 02:30", utc(2026, 10, 25, 0, 30)),  # the first of two
    (BERLIN, utc(2026, 10, 25, 11), "2026-10-25 02:30+01:00", utc(2026, 10, 25, 1, 30)),
    (BERLIN, utc(2026, 3, 29, 11), "2026-03-29 02:30", utc(2026, 3, 29, 1, 30)),  # there was none
    (NEW_YORK, utc(2026, 11, 1, 12), "2026-11-01 01:30", utc(2026, 11, 1, 5, 30)),
    (NEW_YORK, utc(2026, 3, 8, 12), "2026-03-08 02:30", utc(2026, 3, 8, 7, 30)),
    (BERLIN, utc(2026, 10, 25, 11), "02:30", utc(2026, 10, 25, 1, 30)),  # the latest of two
    (BERLIN, utc(2026, 10, 25, 1, 15), "02:30", utc(2026, 10, 25, 0, 30)),  # between them
    (BERLIN, utc(2026, 10, 25, 0, 15), "02:30", utc(2026, 10, 24, 0, 30)),  # before both
    (BERLIN, utc(2026, 10, 25, 4), "10:00", utc(2026, 10, 24, 8)),  # yesterday had 25 hours after it
    (BERLIN, utc(2026, 3, 29, 4), "10:00", utc(2026, 3, 28, 9)),  # and 23
    (BERLIN, utc(2026, 3, 29, 4), "02:30", utc(2026, 3, 29, 1, 30)),
    (NEW_YORK, utc(2026, 11, 1, 6, 15), "01:30", utc(2026, 11, 1, 5, 30)),
    (NEW_YORK, utc(2026, 11, 1, 6, 45), "01:30", utc(2026, 11, 1, 6, 30)),
    (NEW_YORK, utc(2026, 11, 1, 12), "22:00", utc(2026, 11, 1, 2)),
    (NEW_YORK, utc(2026, 3, 8, 12), "22:00", utc(2026, 3, 8, 3)),
    (BERLIN, utc(2026, 10, 25, 1, 30), "2h", utc(2026, 10, 24, 23, 30)),
    (BERLIN, utc(2026, 10, 25, 11), "1d", utc(2026, 10, 24, 11)),  # 24 hours, whatever the clock did
]


@pytest.mark.parametrize(("name", "now", "asked", "meant"), READ)
def test_a_time_is_what_the_clock_showed(
    zone: pytest.MonkeyPatch, name: str, now: float, asked: str, meant: float
) -> None:
    zone.setenv("TZ", name)
    time.tzset()
    zone.setattr(amounts.time, "time", lambda: now)
    assert amounts.read_time(asked) == meant


def test_the_lines_of_a_log_over_the_hour_that_comes_twice(zone: pytest.MonkeyPatch) -> None:
    zone.setenv("TZ", BERLIN)
    time.tzset()
    lines = ["23:50:00 a", "00:10:00 b", "02:50:00 c", "02:10:00 d", "02:55:00 e", "03:05:00 f"]
    ended = utc(2026, 10, 25, 2, 5)
    cuts = {
        utc(2026, 10, 24, 21, 50): 1,
        utc(2026, 10, 25, 0, 50): 3,
        utc(2026, 10, 25, 1, 9): 3,
        utc(2026, 10, 25, 1, 10): 4,
        utc(2026, 10, 25, 1, 54): 4,
        ended: 6,
    }
    assert {when: len(lines_until(lines, ended, when)) for when in cuts} == cuts


def test_quiet_hours_end_by_the_clock(zone: pytest.MonkeyPatch) -> None:
    zone.setenv("TZ", BERLIN)
    time.tzset()
    night = Quiet.read("22:00-07:00")
    assert night.until(utc(2026, 10, 24, 21)) == utc(2026, 10, 25, 6)
    assert night.until(utc(2026, 3, 28, 22)) == utc(2026, 3, 29, 5)
    short = Quiet.read("01:00-02:30")
    assert short.until(utc(2026, 10, 24, 23, 30)) == utc(2026, 10, 25, 0, 30)
    assert short.until(utc(2026, 10, 25, 0, 45)) is None
