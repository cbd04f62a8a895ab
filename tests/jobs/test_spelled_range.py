"""The ends of an interval of time stand in one unit."""

from __future__ import annotations

import re

import pytest

from fts.jobs.status import formatting


@pytest.mark.parametrize(("low", "high", "text"), [
    (83, 120, "1.4 to 2 min"), (20, 80, "20 to 80 s"), (1800, 3000, "30 to 50 min"), (600, 30 * 3600, "0.2 to 30 h"),
    (3600, 90 * 3600, "under 0.1 to 3.8 days"), (0, 0, "0 to 0 s"), (90, 40, "90 to 90 s"),
])  # fmt: skip
def test_both_ends_of_an_interval_have_the_unit_of_the_longer_one(low, high, text):
    found = formatting.spell_range(low, high)
    assert len(re.findall(r"\b(s|min|h|days)\b", found)) == 1
    if low <= high:
        assert found == text
