"""Draws small charts as SVG text: scales, axes, points, lines, bars. The page's style sheet sets the colours.

Not matplotlib, because a core installation does not have it, and inline SVG follows the page's light and dark colours.
"""

from __future__ import annotations

import math
from dataclasses import field
from html import escape
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

from fts.frozen import dataclass
from fts.state.values import LITTLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST_TICKS = 6
LEAST_POWER = -307  # ten to a lower power is not exact, or 0
SMALLEST = 1e-300  # the smallest distance of two ticks
LETTER = 6.2  # width of a letter in pixels of a chart, at font size 11
LONGEST_LABEL = 18  # characters
BOLD = 1.1  # ratio of the widths of a bold and a normal letter


@dataclass(frozen=True)
class Scale:
    """Maps values to 0..1; `ticks` holds the places and labels of its ticks."""

    place: Callable[[Any], float]
    ticks: tuple[tuple[float, str], ...]  # place, label

    def __call__(self, value: Any) -> float:
        return self.place(value)


def linear(low: float, high: float, margin: float = 0.04, whole: bool = False) -> Scale:
    """Returns a linear scale; `whole`: ticks at whole numbers only."""
    if not high > low:
        low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
    pad = (high - low) * margin
    low, high = low - pad, high + pad
    return Scale(
        lambda value: (value - low) / (high - low),
        tuple(
            ((at - low) / (high - low), number(at))
            for at in round_numbers(low, high)
            if not whole or float(at).is_integer()
        ),
    )


def logarithmic(low: float, high: float) -> Scale:
    bottom, top = math.log10(low), math.log10(high)
    if not top > bottom:
        bottom, top = bottom - 0.5, top + 0.5
    pad = (top - bottom) * 0.04
    bottom, top = bottom - pad, top + pad
    whole = list(range(math.ceil(bottom), math.floor(top) + 1))
    every = max(1, -(-len(whole) // MOST_TICKS))
    at = [10.0**power for power in whole[::every] if power > LEAST_POWER]
    if len(at) < 3:
        at = sorted({m * 10.0**p for p in range(max(math.floor(bottom), LEAST_POWER), math.ceil(top) + 1)
                     for m in (1, 2, 5)})  # fmt: skip
        at = [one for one in at if bottom <= math.log10(one) <= top]
        at = at[:: max(1, -(-len(at) // MOST_TICKS))]
    return Scale(
        lambda value: (math.log10(value) - bottom) / (top - bottom) if value > 0 else 0.0,
        tuple(((math.log10(one) - bottom) / (top - bottom), number(one)) for one in at),
    )


def categories(values: Sequence[Any]) -> Scale:
    """Returns a scale with each value in the middle of an equal part of the axis."""
    places = {repr(value): (n + 0.5) / len(values) for n, value in enumerate(values)}
    return Scale(
        lambda value: places.get(repr(value), 0.0),
        tuple((places[repr(value)], shortened(str(value))) for value in values),
    )


def round_numbers(low: float, high: float) -> list[float]:
    """Returns about six round numbers within a range."""
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        return []
    raw = (high - low) / MOST_TICKS
    if raw < SMALLEST:  # too close to 0 for powers of ten
        return [low, high]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    first = math.ceil(low / step)
    digits = 1 - math.floor(math.log10(step))
    return [round(k * step, digits) for k in range(first, math.floor(high / step) + 1)]


def number(value: float) -> str:
    """Formats a tick or a parameter: 0.25, 1,000, 1e-5, 1.234e7."""
    if value == 0:
        return "0"
    if LITTLE <= abs(value) < 1e5:
        return f"{value:,.10g}" if abs(value) >= 1000 else f"{value:.4g}"
    mantissa, e, exponent = f"{value:.4g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if e else mantissa  # an infinite value has no exponent


def shortened(text: str, most: int = LONGEST_LABEL) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def pixels(text: str) -> float:
    """Returns the approximate width of the text in pixels."""
    return LETTER * sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


@dataclass
class Chart:
    """One plot: an area with two axes and marks; `svg()` returns the element."""

    title: str = ""
    width: int = 320
    height: int = 200
    x: Scale | None = None
    y: Scale | None = None
    x_label: str = ""
    y_label: str = ""
    left: int = 52
    bottom: int = 34
    top: int = 22
    right: int = 12
    parts: list[str] = field(default_factory=list)

    @property
    def inner(self) -> tuple[float, float]:
        return self.width - self.edge - self.right, self.height - self.top - self.bottom

    @property
    def edge(self) -> float:
        """The left end of the area in pixels; wide tick labels move it to the right."""
        wide = max((pixels(label) for _, label in self.y.ticks), default=0.0) if self.y is not None else 0.0
        return max(self.left, wide + 5 + (16 if self.y_label else 0))

    def across(self, value: Any) -> float:
        assert self.x is not None, "the chart has a scale from left to right"
        return self.edge + self._within(self.x(value)) * self.inner[0]

    def up(self, value: Any) -> float:
        assert self.y is not None, "the chart has a scale upwards"
        return self.top + (1 - self._within(self.y(value))) * self.inner[1]

    @staticmethod
    def _within(place: float) -> float:
        return min(max(place, -0.01), 1.01)

    # -- marks

    def point(self, x: Any, y: Any, kind: str, tooltip: str = "", radius: float = 2.6, trial: str = "") -> None:
        self.dot(self.across(x), self.up(y), kind, tooltip, radius, trial)

    def dot(self, x: float, y: float, kind: str, tooltip: str = "", radius: float = 2.6, trial: str = "") -> None:
        """Draws a circle at pixels of the chart; `trial` is the script's key of the trial."""
        self.parts.append(
            f'<circle class="{kind}"{_key(trial)} cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}">{_title(tooltip)}</circle>'
        )

    def line(
        self, points: Sequence[tuple[Any, Any]], kind: str, tooltip: str = "", steps: bool = False, trial: str = ""
    ) -> None:
        if not points:
            return
        path = f"M{self.across(points[0][0]):.1f} {self.up(points[0][1]):.1f}"
        for x, y in points[1:]:
            path += f"H{self.across(x):.1f}V{self.up(y):.1f}" if steps else f"L{self.across(x):.1f} {self.up(y):.1f}"
        self.path(path, kind, tooltip, trial)

    def path(self, path: str, kind: str, tooltip: str = "", trial: str = "") -> None:
        """Draws a path from SVG path data."""
        self.parts.append(f'<path class="{kind}"{_key(trial)} d="{path}">{_title(tooltip)}</path>')

    def level(self, y: Any, kind: str, tooltip: str = "") -> None:
        """Draws a horizontal line across the area."""
        at = self.up(y)
        self.path(f"M{self.edge:g} {at:.1f}H{self.edge + self.inner[0]:.1f}", kind, tooltip)

    def box(self, left: float, low: float, right: float, high: float, style: str, tooltip: str = "") -> None:
        """Draws a rectangle by its places on the axes, 0..1."""
        x, y = self.edge + left * self.inner[0], self.top + (1 - high) * self.inner[1]
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{(right - left) * self.inner[0]:.1f}" '
            f'height="{(high - low) * self.inner[1]:.1f}" {style}>{_title(tooltip)}</rect>'
        )

    def text(self, x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> None:
        """Writes text at pixels of the chart."""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(text)}</text>')

    def fitted(self, x: float, y: float, text: str, room: float, kind: str = "", anchor: str = "start") -> None:
        """Writes text, shortened in its middle to `room` pixels."""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{self._fitted(text, room)}</text>'
        )

    # -- the element

    def svg(self, label: str = "") -> str:
        """Returns the element; `label`: the text for screen readers if the title is not enough."""
        wide, high = self.inner
        head = []
        if self.title:
            head.append(f'<text x="{self.edge:g}" y="13" class="title">{self._fitted(self.title, wide / BOLD)}</text>')
        floor = self.top + high
        if self.y is not None:
            for place, label in self.y.ticks:
                at = self.top + (1 - place) * high
                head.append(f'<path class="grid" d="M{self.edge:g} {at:.1f}H{self.edge + wide:.1f}"/>')
                head.append(f'<text x="{self.edge - 5:g}" y="{at + 3.5:.1f}" text-anchor="end">{escape(label)}</text>')
        if self.x is not None:
            head += self._below(wide, floor)
        if self.x_label:
            head.append(
                f'<text x="{self.edge + wide / 2:.1f}" y="{self.height - 3}" text-anchor="middle" class="label">'
                f"{self._fitted(self.x_label, wide)}</text>"
            )
        if self.y_label:
            head.append(
                f'<text transform="translate(11 {self.top + high / 2:.1f}) rotate(-90)" text-anchor="middle" '
                f'class="label">{self._fitted(self.y_label, high)}</text>'
            )
        head.append(f'<path class="axis" d="M{self.edge:g} {floor:.1f}H{self.edge + wide:.1f}"/>')
        name = escape(label or self.title or "chart", quote=True)
        size = f'viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}"'
        return f'<svg {size} role="img" aria-label="{name}">{"".join(head)}{"".join(self.parts)}</svg>'

    @staticmethod
    def _fitted(text: str, room: float) -> str:
        """Returns the escaped text with its middle cut to fit: names of cells often differ at their ends. The tooltip
        shows all of it."""
        if pixels(text) <= room:
            return escape(text)
        kept = len(text)
        while kept and pixels(text[: kept - kept // 2] + text[len(text) - kept // 2 :]) + LETTER > room:
            kept -= 1
        return (
            f"{escape(text[: kept - kept // 2])}…{escape(text[len(text) - kept // 2 :])}<title>{escape(text)}</title>"
        )

    def _below(self, wide: float, floor: float) -> list[str]:
        """Returns the tick labels of the lower axis, without those that would touch the one before."""
        assert self.x is not None, "called with a scale only"
        found, free = [], -math.inf
        for place, label in self.x.ticks:
            at, half = self.edge + place * wide, len(label) * LETTER / 2
            if at - half < free:
                continue
            free = at + half + 4
            found.append(f'<text x="{at:.1f}" y="{floor + 13:.1f}" text-anchor="middle">{escape(label)}</text>')
        return found


def _title(tooltip: str) -> str:
    return f"<title>{escape(tooltip)}</title>" if tooltip else ""


def _key(trial: str) -> str:
    return f' data-t="{trial}"' if trial else ""


def side_by_side(charts: Sequence[str]) -> str:
    return f'<div class="charts">{"".join(charts)}</div>'
