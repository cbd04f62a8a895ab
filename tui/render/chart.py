"""Draws lines and points with an axis at the left, without a plotting library.

The main line is drawn in braille, two by four dots per character. The other lines use one sign each, so that lines can
be told apart without colour. In ASCII braille becomes - _ ' by the height of its dots
(fts.jobs.status.formatting.to_ascii), a dashed line = and a dotted one ~.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.status import formatting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.tui.render.text import Line, Span

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # [row][column] of a braille cell
LABEL = 6  # columns of the axis labels
LABELS = 6  # labels of the y axis at most
STYLES = {"solid": "●", "dashed": "╌", "dotted": "┈"}  # sign of a line's style; a solid line has it at its end only
WEAK = " ░▁╌┈"  # signs that braille replaces in the same cell


@dataclass(frozen=True)
class Series:
    """A line through points (x, y) in data units, with gaps where y is nan. Later series cover earlier ones."""

    points: tuple[tuple[float, float], ...]
    role: str
    style: str = "solid"  # a key of STYLES, different for each line of a chart
    name: str = ""
    ends: bool = False  # draw its sign at the last point


@dataclass(frozen=True)
class Band:
    """The area between two lines: (x, low, high)."""

    points: tuple[tuple[float, float, float], ...]
    role: str = "band"


@dataclass(frozen=True)
class Dots:
    """Points that are drawn with one sign. Later points cover earlier ones."""

    points: tuple[tuple[float, float], ...]
    sign: str
    role: str


@dataclass(frozen=True)
class Plot:
    """What to draw, and the ranges of the axes."""

    series: tuple[Series, ...]
    x: tuple[float, float]
    y: tuple[float, float]
    band: Band | None = None
    level: float | None = None  # y of a horizontal line: prune line or limit
    level_role: str = "prune"
    log_y: bool = False
    notes: tuple[tuple[int, str, str], ...] = ()  # (row, text, role), written at the right edge
    dots: tuple[Dots, ...] = ()


def paint(
    plot: Plot, width: int, height: int, axis: bool = True, ticks: Sequence[tuple[float, str]] = ()
) -> list[Line]:
    """Draws a plot in `height` lines. With `ticks`, (x in data units, label), the last two lines are the x axis."""
    rows = height - 2 if ticks and height >= 6 else height
    left = LABEL + 1 if axis else 0
    columns = max(width - left, 1)
    cells = _Cells(columns, max(rows, 1))
    scale = _Scale(plot, columns, max(rows, 1))
    if plot.band:
        _draw_band(cells, scale, plot.band)
    if plot.level is not None:
        _draw_level(cells, scale, plot.level, plot.level_role)
    for series in plot.series:
        _draw_line(cells, scale, series)
    for each in plot.dots:
        _draw_dots(cells, scale, each)
    _write_notes(cells, plot.notes, rows)
    labels = _labels(scale, max(rows, 1)) if axis else {}
    lines: list[Line] = [
        (*_axis(labels.get(row, "")), *cells.spans(row)) if axis else tuple(cells.spans(row))
        for row in range(max(rows, 1))
    ]
    if ticks and rows < height:
        lines.extend(_x_axis(scale, ticks, left, columns))
    return lines


def value_range(values: Sequence[float], least: float = 1e-3) -> tuple[float, float]:
    """Returns smallest and largest finite value with a margin; (0, 1) if there is none."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    air = max((high - low) * 0.06, min(least, max(abs(low), abs(high)) * 0.05 or least))  # also for losses of 1e-6
    return low - air, high + air


class _Scale:
    """Converts data units to dots and back."""

    def __init__(self, plot: Plot, columns: int, rows: int) -> None:
        self.log = plot.log_y and plot.y[0] > 0
        self.x0, self.x1 = plot.x
        self.y0, self.y1 = (math.log(plot.y[0]), math.log(plot.y[1])) if self.log else plot.y
        self.wide, self.high = columns * 2 - 1, rows * 4 - 1

    def dot(self, x: float, y: float) -> tuple[int, int] | None:
        """Returns (column, row) of the dot of a point; None outside the x range or if y is not a finite number."""
        if not math.isfinite(y) or not self.x0 <= x <= self.x1 or (self.log and y <= 0):
            return None
        y = math.log(y) if self.log else y
        part_x = (x - self.x0) / (self.x1 - self.x0) if self.x1 > self.x0 else 0.5
        part_y = (y - self.y0) / (self.y1 - self.y0) if self.y1 > self.y0 else 0.5
        row = self.high - round(part_y * self.high)
        return round(part_x * self.wide), min(max(row, 0), self.high)

    def value(self, row: int) -> float:
        """Returns the data value at the middle of a text row."""
        part = 1 - (row * 4 + 1.5) / self.high
        y = self.y0 + part * (self.y1 - self.y0)
        return math.exp(y) if self.log else y


class _Cells:
    """A grid of characters. Dots of several lines add up in a cell; the last one sets its role."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns = columns
        self.bits = [[0] * columns for _ in range(rows)]
        self.roles = [[""] * columns for _ in range(rows)]
        self.texts: list[list[str]] = [[" "] * columns for _ in range(rows)]

    def set(self, x: int, y: int, role: str) -> None:
        row, column = y // 4, x // 2
        if 0 <= row < len(self.bits) and 0 <= column < self.columns:
            self.bits[row][column] |= DOTS[y % 4][x % 2]
            self.roles[row][column] = role

    def shade(self, column: int, row: int, char: str, role: str) -> None:
        if 0 <= row < len(self.bits) and 0 <= column < self.columns:
            self.texts[row][column] = char
            if not self.bits[row][column]:
                self.roles[row][column] = role

    def put(self, column: int, row: int, char: str, role: str) -> None:
        """Puts a character into a cell in place of what is there."""
        if 0 <= row < len(self.bits) and 0 <= column < self.columns:
            self.texts[row][column], self.roles[row][column], self.bits[row][column] = char, role, 0

    def spans(self, row: int) -> list[Span]:
        spans: list[Span] = []
        for bits, text, role in zip(self.bits[row], self.texts[row], self.roles[row], strict=True):
            char = text if text not in WEAK or not bits else chr(0x2800 + bits)
            role = role if char != " " else ""
            if spans and spans[-1][1] == role:
                spans[-1] = (spans[-1][0] + char, role)
            else:
                spans.append((char, role))
        return spans


def _draw_line(cells: _Cells, scale: _Scale, series: Series) -> None:
    previous: tuple[int, int] | None = None
    sign = "" if series.style == "solid" else STYLES[series.style]
    for x, y in series.points:
        here = scale.dot(x, y)
        for dot in () if here is None else (here,) if previous is None else _between(previous, here):
            if sign:
                cells.shade(dot[0] // 2, dot[1] // 4, sign, series.role)
            else:
                cells.set(*dot, series.role)
        previous = here
    if series.ends:
        known = tuple((x, y) for x, y in series.points[-1:] if math.isfinite(y))
        _draw_dots(cells, scale, Dots(known, STYLES[series.style], series.role))


def _draw_dots(cells: _Cells, scale: _Scale, dots: Dots) -> None:
    for x, y in dots.points:
        dot = scale.dot(x, y)
        if dot is not None:
            cells.put(dot[0] // 2, dot[1] // 4, dots.sign, dots.role)


def _between(a: tuple[int, int], b: tuple[int, int]) -> list[tuple[int, int]]:
    """Returns the dots of a straight line from a to b, without a."""
    steps = max(abs(b[0] - a[0]), abs(b[1] - a[1]))
    return [
        (round(a[0] + (b[0] - a[0]) * n / steps), round(a[1] + (b[1] - a[1]) * n / steps)) for n in range(1, steps + 1)
    ]


def _draw_band(cells: _Cells, scale: _Scale, band: Band) -> None:
    for (x0, low0, high0), (x1, low1, high1) in zip(band.points, band.points[1:], strict=False):
        start, end = scale.dot(x0, low0), scale.dot(x1, low1)
        top, top_end = scale.dot(x0, high0), scale.dot(x1, high1)
        if start is None or end is None or top is None or top_end is None:
            continue
        for column in range(start[0] // 2, end[0] // 2 + 1):
            part = (column * 2 - start[0]) / max(end[0] - start[0], 1)
            part = min(max(part, 0.0), 1.0)
            upper = top[1] + (top_end[1] - top[1]) * part
            lower = start[1] + (end[1] - start[1]) * part
            for row in range(round(upper) // 4, round(lower) // 4 + 1):
                cells.shade(column, row, "░", band.role)


def _draw_level(cells: _Cells, scale: _Scale, level: float, role: str) -> None:
    dot = scale.dot(scale.x0, level)
    if dot is not None:
        for column in range(cells.columns):
            cells.shade(column, dot[1] // 4, "▁", role)


def _write_notes(cells: _Cells, notes: Sequence[tuple[int, str, str]], rows: int) -> None:
    """Writes short texts at the right edge, over the drawing."""
    for row, text, role in notes:
        if not 0 <= row < rows:
            continue
        text = formatting.cut(text, cells.columns)
        column = cells.columns - formatting.width(text)
        for char in text:
            columns = formatting.width(char)
            if not columns:  # an accent joins the character before it
                cells.texts[row][max(column - 1, 0)] += char
                continue
            for n in range(columns):  # the second column of a wide character stays empty
                cells.put(column + n, row, "" if n else char, role)
            column += columns


def _axis(label: str) -> list[Span]:
    return [(formatting.fit(label, LABEL), "axis"), ("┤" if label else "│", "axis")]


def value_ticks(low: float, high: float, wanted: int) -> list[tuple[float, str]]:
    """Returns at most `wanted` round values for an x axis, with labels."""
    values = _round_values(low, high, max(wanted, 1))
    return list(zip(values, _written(values), strict=True))


def _labels(scale: _Scale, rows: int) -> dict[int, str]:
    """Returns the labels of the y axis by row: a few round values."""
    low, high = (math.exp(end) if scale.log else end for end in (scale.y0, scale.y1))
    for wanted in range(min(max(rows // 2, 2), LABELS), 0, -1):
        values = (_round_powers(low, high, wanted) if scale.log else None) or _round_values(low, high, wanted)
        texts = _written(values)
        if len(set(texts)) == len(texts):
            break
    found: dict[int, str] = {}
    for value, text in zip(values, texts, strict=True):
        dot = scale.dot(scale.x0, value)
        if dot is not None and dot[1] // 4 not in found:
            found[dot[1] // 4] = text
    return found


def _round_powers(low: float, high: float, wanted: int) -> list[float] | None:
    """Returns at most `wanted` ticks of a logarithmic axis: powers of ten, with 3 or 2 and 5 between if they fit.

    None if the range is less than a factor of ten.
    """
    if not 0 < low < high or high / low < 10:
        return None
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for digits in ((1, 2, 5), (1, 3), (1,)):
        found = [digit * 10.0**power for power in range(first, last + 1) for digit in digits]
        found = [value for value in found if low <= value <= high]
        if 0 < len(found) <= wanted:
            return found
    step = -(-(last - first + 1) // wanted)
    return [10.0**power for power in range(first, last + 1, step) if low <= 10.0**power <= high] or None


def _round_values(low: float, high: float, wanted: int) -> list[float]:
    """Returns 1 to `wanted` multiples of 1, 2 or 5 times a power of ten between two values."""
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / wanted))
    for step in (power * factor for factor in (1, 2, 5, 10, 20, 50)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if 0 < last - first + 1 <= wanted:
            return [n * step for n in range(first, last + 1)]
    return [low]


def _written(values: Sequence[float]) -> list[str]:
    """Formats values in one number format, exact and as short as possible; rounded if LABEL columns are too few."""
    if len(values) > 1 and min(values) > 0 and max(values) / min(values) >= 1000:
        return [
            formatting.cut(_brief(f"{value:.0e}") if not 0.01 <= value < 1e5 else f"{value:g}", LABEL, "")
            for value in values
        ]
    forms = [*(f".{digits}f" for digits in range(LABEL)), ".0e", ".1e", ".2e"]
    for form in forms:
        texts = [_brief(f"{value:{form}}") for value in values]
        exact = all(
            math.isclose(float(text), v, rel_tol=1e-6, abs_tol=1e-15) for text, v in zip(texts, values, strict=True)
        )
        if exact and max(map(len, texts)) <= LABEL:
            return texts
    return [formatting.cut(_brief(f"{value:.0e}"), LABEL, "") for value in values]


def _brief(text: str) -> str:
    """Shortens an exponent: 1e6 for 1e+06."""
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else text


def _x_axis(scale: _Scale, ticks: Sequence[tuple[float, str]], left: int, columns: int) -> list[Line]:
    edge = ["─"] * columns
    labels = [" "] * (left + columns)
    free = 0
    for x, label in ticks:
        dot = scale.dot(x, math.exp(scale.y0) if scale.log else scale.y0)
        if dot is None:
            continue
        column = dot[0] // 2
        edge[column] = "┬"
        start = min(max(left + column - len(label) // 2, free), left + columns - len(label))
        if start >= free:
            labels[start : start + len(label)] = label
            free = start + len(label) + 1
    corner = " " * max(left - 1, 0) + "└" if left else ""
    return [((corner + "".join(edge), "axis"),), (("".join(labels), "axis"),)]
