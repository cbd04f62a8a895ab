"""Formats an interval as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fts.scores.intervals import Interval


def signed(gain: Interval) -> str:
    """Formats `−0.071 [−0.119, −0.033]`, with a typographic minus sign."""
    return f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]".replace("-", "−")


def ends(gain: Interval) -> tuple[str, str]:
    """Formats `−0.071` and `−0.119 to −0.033`."""
    value, low, high = (f"{end:+.3f}".replace("-", "−") for end in (gain.value, gain.low, gain.high))
    return value, f"{low} to {high}"


def ranged(interval: Interval, digits: int = 3, count: str = "") -> tuple[str, str, str]:
    """Formats `0.571`, `0.519 to 0.623`, and a third text that stands beside them."""
    return f"{interval.value:.{digits}f}", f"{interval.low:.3f} to {interval.high:.3f}", count
