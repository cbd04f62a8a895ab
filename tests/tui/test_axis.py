"""The axis of a chart: neighbouring labels differ, however small the range is."""

from __future__ import annotations

import pytest

from jobs.glance import glance as glances
from jobs.glance.words import GB, MB
from tests.tui.values import NOW, make_sample, make_snapshot
from tui.screens import hardware
from tui.view import Details, View
from tui.widgets.curve import LABEL, Plot, Series, paint


def labels(lines):
    return [text for row in lines for text, role in row[:1] if role == "axis" and "└" not in text and "┬" not in text]


def axis(low, high, height=10, digits=3):
    plot = Plot((Series(((0.0, low), (1.0, high)), "live"),), (0.0, 1.0), (low, high), digits=digits)
    return labels(paint(plot, 40, height))


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.65, 0.651), (4.05, 4.15), (0.5, 0.9), (61.0, 61.4), (-0.02, 0.02), (0.0, 2e-5), (122.4, 122.5), (99.99, 100.1)],
)
def test_no_two_neighbouring_labels_are_alike(low, high):
    found = axis(low, high)
    assert len(found) == 10
    assert all(one != two or not one.strip() for one, two in zip(found, found[1:], strict=False))
    assert found[0].strip()
    assert all(len(label) == LABEL and "…" not in label for label in found)


def test_a_wide_range_keeps_its_digits():
    assert axis(0.5, 0.9)[0] == "0.885 "
    assert axis(0.0, 100.0, digits=0)[0] == "96    "


def test_the_chart_of_a_quiet_day_says_what_its_rows_are():
    samples = tuple(make_sample(at=NOW - 3600 + 60 * n, available=124 * GB + n % 3 * MB) for n in range(60))
    view = View(glances.look(make_snapshot(samples=samples), NOW), Details(samples=samples))
    found = labels(hardware.day(view, 80, 30)[1:14])
    assert len(found) == len(set(found)) >= 10
