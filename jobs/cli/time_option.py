"""Reads a time as people say it: 10h (ago), 2d, 03:12, 2026-11-20 22:00."""

from __future__ import annotations

import re
import time

import click

DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)")
CLOCK = re.compile(r"(\d{1,2}):(\d\d)")
SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def since_of(text: str) -> float:
    """Seconds since the epoch of a duration before now, of the latest 03:12, or of a date and time in this zone."""
    if match := DURATION.fullmatch(text.strip()):
        return time.time() - float(match[1]) * SECONDS[match[2]]
    if (match := CLOCK.fullmatch(text.strip())) and int(match[1]) < 24 and int(match[2]) < 60:
        today = time.localtime()
        at = time.mktime((*today[:3], int(match[1]), int(match[2]), 0, 0, 0, -1))
        return at if at <= time.time() else at - SECONDS["d"]
    from datetime import datetime  # here: only for dates

    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError):  # no date, or one that this system's clock cannot count to
        raise click.UsageError(f"{text!r} is not a time; expected 10h, 2d, 03:12, or 2026-11-20 22:00") from None
