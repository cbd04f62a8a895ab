"""The axis of a chart: few labels, round ones, each beside the row of its value, however small the range is."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest
from rich.cells import cell_len

from fts.jobs.status import formatting
from fts.jobs.status import summary as glances
from fts.jobs.status.formatting import GB, MB
from fts.tui.data.view import Details, View
from fts.tui.render import chart
from fts.tui.render.chart import LABEL, Plot, Series, paint
from fts.tui.render.text import broken
from fts.tui.screens import hardware
from tests.tui.values import NOW, make_sample, make_snapshot

RANGES = [
    (0.65, 0.651), (4.05, 4.15), (0.5, 0.9), (61.0, 61.4), (-0.02, 0.02), (0.0, 2e-5), (122.4, 122.5), (99.99, 100.1),
    (0.0, 100.0), (-5.0, 12345.0), (0.5919, 0.5966), (0.0, 3e6), (1e-9, 2e-9),
]  # fmt: skip


def labels(lines):
    return [text for row in lines for text, role in row[:1] if role == "axis" and "└" not in text and "┬" not in text]


def axis(low, high, height=10, log_y=False):
    plot = Plot((Series(((0.0, low), (1.0, high)), "live"),), (0.0, 1.0), (low, high), log_y=log_y)
    return labels(paint(plot, 40, height))


@pytest.mark.parametrize("height", [4, 7, 10, 30, 55])
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_labels_are_few_and_no_two_are_alike(low, high, height):
    found = axis(low, high, height)
    said = [label.strip() for label in found if label.strip()]
    assert len(found) == height
    assert 1 <= len(said) <= min(max(height // 2, 2), 6)
    assert len(set(said)) == len(said)
    assert all(len(label) == LABEL and "…" not in label for label in found)


@pytest.mark.parametrize("height", [4, 10, 30])
@pytest.mark.parametrize(("low", "high"), RANGES[:-2])
def test_labels_are_round_and_stand_in_the_row_of_their_value(low, high, height):
    found = [(n, float(label)) for n, label in enumerate(axis(low, high, height)) if label.strip()]
    row = (high - low) / height
    for n, value in found:
        assert abs((high - value) / row - n - 0.5) <= 0.8, (value, n)
    steps = {round((b - a) / row, 3) for (_, b), (_, a) in pairwise(found)}
    assert len(steps) <= 1, "the distance between two labels is always the same"
    for (_, above), (_, below) in pairwise(found):
        mantissa = (above - below) / 10 ** math.floor(math.log10(above - below) + 1e-9)
        assert round(mantissa, 3) in (1, 2, 5)


def test_a_logarithmic_axis_has_labels_too():
    assert [label.strip() for label in axis(0.1, 10.0, 20, log_y=True) if label.strip()]


def test_the_chart_of_a_quiet_day_says_what_its_rows_are():
    samples = tuple(make_sample(at=NOW - 3600 + 60 * n, available=124 * GB + n % 3 * MB) for n in range(60))
    view = View(glances.look(make_snapshot(samples=samples), NOW), Details(samples=samples))
    found = [label.strip() for label in labels(hardware.day(view, 80, 30)[1:14]) if label.strip()]
    assert len(found) == len(set(found)) >= 1
    assert all(re.fullmatch(r"-?[\d.]+", label) for label in found)


@pytest.mark.parametrize(("low", "high"), [(0.12, 13.0), (1e-5, 1.0), (3.0, 31.0), (1e-9, 1e9), (2e-3, 2e-1)])
@pytest.mark.parametrize("rows", [4, 8, 30])
def test_a_logarithmic_axis_has_powers_of_ten_few_and_different(low, high, rows):
    scale = chart._Scale(chart.Plot((), (0.0, 1.0), (low, high), log_y=True), 60, rows)
    labels = [text.strip() for text in chart._labels(scale, rows).values()]
    assert 1 <= len(labels) <= chart.LABELS and len(set(labels)) == len(labels)
    values = [float(text) for text in labels]
    assert all(low <= value <= high for value in values)
    assert all(f"{value:e}"[0] in "1235" for value in values), "round ones"


def test_notes_with_wide_and_joined_characters_leave_each_row_its_width():
    notes = ((0, "● best 損失 .12", "best"), (1, "● e\u0301pe\u0301e กั", "best"))
    plot = Plot((Series(((0.0, 0.0), (1.0, 1.0)), "live"),), (0.0, 1.0), (0.0, 1.0), notes=notes)
    for row, end in zip(paint(plot, 40, 5), ("損失 .12", "e\u0301pe\u0301e กั"), strict=False):
        text = "".join(part for part, _ in row)
        assert text.endswith(end) and formatting.width(text) == cell_len(text) == 40


def test_text_is_split_into_rows_of_whole_characters():
    assert broken("", 4) == [""] and broken("abcdefgh", 4) == ["abcd", "efgh"] and broken("ab", 0) == ["a", "b"]
    assert broken("a損失x", 3) == ["a損", "失x"] and broken("損失", 1) == ["損", "失"]
    assert broken("xe\u0301y", 2) == ["xe\u0301", "y"]
