"""The horizontal axis of a scatter plot: linear, logarithmic, or one column per choice."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.status import formatting
from fts.tui.render.chart import value_ticks

if TYPE_CHECKING:
    from collections.abc import Iterable

DECADES = 100.0  # the axis is logarithmic if the largest value is at least this many times the smallest
AIR = 0.04  # margin left and right, as a share of the range
MOST_LEVELS = 12  # choices with a label at most


@dataclass(frozen=True)
class ChartAxis:
    """Maps values to positions."""

    low: float
    high: float
    log: bool = False
    levels: tuple[str, ...] = ()  # choices, one column each; empty: numbers

    @staticmethod
    def of(values: Iterable[Any]) -> ChartAxis:
        """Returns an axis with a position for each of these values."""
        known = [value for value in values if value is not None]
        numbers = [float(v) for v in known if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) < len(known):
            levels = tuple(sorted({formatting.number(value) for value in known}))
            return ChartAxis(-0.5, max(len(levels), 1) - 0.5, levels=levels)
        numbers = [value for value in numbers if math.isfinite(value)]
        if not numbers:
            return ChartAxis(0.0, 1.0)
        low, high = min(numbers), max(numbers)
        log = low > 0 and high / low >= DECADES
        low, high = (math.log10(low), math.log10(high)) if log else (low, high)
        air = (high - low) * AIR or max(abs(low) * 0.1, 1e-9)
        return ChartAxis(low - air, high + air, log)

    @property
    def span(self) -> tuple[float, float]:
        """(low, high) in the units of `at`."""
        return self.low, self.high

    def at(self, value: Any) -> float:
        """Returns the position of a value; nan if it has none."""
        if self.levels:
            text = formatting.number(value)
            return float(self.levels.index(text)) if text in self.levels else math.nan
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return math.nan
        if not self.log:
            return float(value)
        return math.log10(value) if value > 0 else math.nan

    def ticks(self, columns: int) -> list[tuple[float, str]]:
        """Returns (position, label) of the ticks that fit into so many columns."""
        if self.levels:
            room = max(columns // len(self.levels) - 1, 1)
            return [(float(n), formatting.cut(level, room)) for n, level in enumerate(self.levels[:MOST_LEVELS])]
        if self.log:
            powers = range(math.ceil(self.low), math.floor(self.high) + 1)
            step = max(-(-len(powers) * 6 // max(columns, 1)), 1)
            return [(float(n), formatting.number(10.0**n) if -2 <= n <= 3 else f"1e{n}") for n in powers[::step]]
        return value_ticks(self.low, self.high, max(columns // 7, 2))
