"""Reads sizes, durations and times as people write them (8GB, 10m, 1.5d, 03:12), and checks the bounds of a range."""

from __future__ import annotations

import re
import time

from fts.jobs.api.spec import BadSpec
from fts.raising import quoted

SIZE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([KMGT]?)I?B?", re.IGNORECASE | re.ASCII)
DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(s|sec|min|m|h|d|w)?", re.IGNORECASE | re.ASCII)
CLOCK = re.compile(r"(\d{1,2}):(\d\d)")
BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
LARGEST = 1e100  # the largest number that a record can hold (fts.state.values.HUGE)
SECONDS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def read_size(text: str, what: str, least: int = 1) -> int:
    """Reads 8GB, 8G, 500MiB or a plain number as bytes, in powers of 1024. Raises BadSpec."""
    found = SIZE.fullmatch(text.strip())
    size = float(found[1]) * BYTES[found[2].upper()] if found else -1.0
    if not least <= size < 2.0**63:
        raise BadSpec(f"{what} is {quoted(text)}, expected a size such as 8GB or 500M")
    return int(size)


def read_duration(text: str, what: str) -> float:
    """Reads 90s, 10m, 2h, 1.5d, 1w or a plain number as seconds. Raises BadSpec."""
    found = DURATION.fullmatch(text.strip())
    seconds = float(found[1]) * SECONDS[(found[2] or "s").lower()] if found else 0.0
    if not 0 < seconds < 1e10:
        raise BadSpec(f"{what} is {quoted(text)}, expected a duration such as 90s, 10m, 2h or 1.5d")
    return seconds


def read_time(text: str) -> float:
    """Reads a duration before now (10h), a clock time (the latest 03:12), or a local date and time.

    Returns seconds since the epoch. When daylight saving ends, a clock shows some times twice: a date means the first
    of them, a clock time the latest. A time that is skipped when it begins is read without the change. Raises BadSpec.
    """
    text = text.strip()
    if (match := DURATION.fullmatch(text)) and match[2]:
        return time.time() - float(match[1]) * SECONDS[match[2].lower()]
    if (match := CLOCK.fullmatch(text)) and int(match[1]) < 24 and int(match[2]) < 60:
        return latest(int(match[1]), int(match[2]), time.time())
    from datetime import datetime  # here: only for dates

    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):  # not a date, or one outside the range of the system's clock
        raise BadSpec(f"{quoted(text)} is not a time; expected 10h, 2d, 03:12, or 2026-11-20 22:00") from None


def latest(hour: int, minute: int, now: float, second: int = 0) -> float:
    """Returns the latest moment up to `now` at which the local clock showed that time, as seconds since the epoch."""
    year, month, day, *_ = time.localtime(now)
    for back in (0, 1):
        shown = (year, month, day - back, hour, minute, second, 0, 0)
        at = [time.mktime((*shown, summer)) for summer in (0, 1)]
        real = [one for one in at if time.localtime(one)[3:5] == (hour, minute)]
        real = real or at[:1]  # the clock skipped that time
        if found := [one for one in real if one <= now]:
            return max(found)
    return now - SECONDS["d"]


def check_range(low: float, high: float, log: bool, step: float | None = None) -> None:
    """Raises BadSpec for bounds between which no value can be drawn, or that a record cannot hold."""
    if low > high:
        raise BadSpec(f"has no range: low is {low!s:.40}, high is {high!s:.40}")
    if log and low <= 0:
        raise BadSpec(f"has low {low!s:.40}, expected a number above 0 on a log scale")
    if (far := max(abs(low), abs(high))) > LARGEST:
        raise BadSpec(f"has the end {far!s:.40}, expected at most {LARGEST:g}")
    if step is not None and low < high < low + step:
        raise BadSpec(f"has the step {step!s:.40}, expected at most {high - low!s:.40}, from low to high")
