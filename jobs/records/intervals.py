"""95 % intervals for means and shares, with their method and number of observations; uses the standard library only."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from fts.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVEL = 0.95
ROUNDING = 1e-12  # a smaller relative difference comes from the arithmetic
Z = 1.959963984540054  # quantile of the normal distribution for a two-sided 95 % interval


@dataclass(frozen=True)
class EstimatedValue:
    """An estimate with its 95 % interval; the ends are nan if there are too few observations."""

    value: float
    low: float
    high: float
    n: int
    method: str  # "t", "Wilson", "bootstrap" ...

    @property
    def is_known(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)


def mean_interval(values: Sequence[float]) -> EstimatedValue:
    """Returns the mean of independent values with Student's t interval (n - 1 degrees of freedom).

    Equal values (but for rounding) show no spread, as those of a function without chance do: an interval without width
    would claim that it was measured, so there is none.
    """
    n = len(values)
    mean = math.fsum(values) / n if n else math.nan
    if len(set(values)) == 1:
        mean = values[0]
    if n < 2 or max(values) - min(values) <= ROUNDING * max(map(abs, values)):
        return EstimatedValue(mean, math.nan, math.nan, n, "t")
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = t_quantile((1 + LEVEL) / 2, n - 1) * deviation / math.sqrt(n)
    return EstimatedValue(mean, mean - half, mean + half, n, "t")


def share_interval(hits: int, n: int) -> EstimatedValue:
    """Returns the share hits / n with Wilson's interval."""
    if not n:
        return EstimatedValue(math.nan, math.nan, math.nan, 0, "Wilson")
    share = hits / n
    middle = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return EstimatedValue(share, max(0.0, middle - half), min(1.0, middle + half), n, "Wilson")


@lru_cache(maxsize=1000)
def t_quantile(probability: float, freedom: float) -> float:
    """Returns the quantile of Student's distribution, for probabilities from 0.5, by bisection of `t_cdf`."""
    low, high = 0.0, 2.0
    while t_cdf(high, freedom) < probability and high < 1e12:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if t_cdf(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


def t_cdf(t: float, freedom: float) -> float:
    tail = incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t)) / 2
    return 1 - tail if t >= 0 else tail


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Returns the regularised incomplete beta function, by Lentz's continued fraction (Numerical Recipes, 6.4)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    found = d
    for m in range(1, 500):
        for top in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + top * d
            d = 1 / (d if abs(d) > tiny else tiny)
            c = 1 + top / c
            c = c if abs(c) > tiny else tiny
            found *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return found
