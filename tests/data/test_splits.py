"""No window and no label crosses a border of the split, whatever the sizes."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fts.data.splits import BadSplit, DateSplit, FractionSplit, SplitTooSmall, borders, check_counts, parse, window_ends


def days(first: str, last: str) -> np.ndarray:
    return np.arange(np.datetime64(first, "D"), np.datetime64(last, "D") + 1)


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 120), st.integers(1, 20))
def test_a_window_and_its_horizon_lie_wholly_inside(start, length, context, horizon):
    stop = start + length
    ends = window_ends(start, stop, context, horizon)
    slow = [e for e in range(stop) if e - context + 1 >= start and e + horizon <= stop - 1]
    assert ends.dtype == np.int64
    assert ends.tolist() == slow


@settings(deadline=None)
@given(st.integers(5, 3000), st.floats(0.05, 0.9), st.floats(0.05, 0.9), st.integers(1, 90), st.integers(1, 9))
def test_parts_share_no_day_not_even_through_labels(rows, train, val, context, horizon):
    if train + val > 1 or int(rows * train) == 0:
        return
    try:
        cut = borders(days("2000-01-01", "2030-01-01")[:rows], FractionSplit(train, val))
    except BadSplit:
        return
    seen: list[set[int]] = []
    for part in ("train", "val", "test"):
        ends = window_ends(*cut.part(part), context, horizon)
        seen.append({r for e in ends for r in (e - context + 1, e, e + 1, e + horizon)})
    assert not (seen[0] & seen[1] or seen[1] & seen[2] or seen[0] & seen[2])
    assert 0 < cut.train_stop < cut.val_stop <= rows


def test_a_long_history_is_split_by_the_default_dates():
    d = days("2000-01-01", "2025-06-30")
    cut = borders(d)
    assert str(d[cut.train_stop - 1]) == "2022-12-31" and str(d[cut.val_stop - 1]) == "2024-12-31"
    assert cut.text.startswith("by date (the default): train 2000-01-01..2022-12-31")


@pytest.mark.parametrize("last", ["2018-12-31", "2023-06-30", "2024-12-31"])
def test_a_history_that_ends_earlier_is_split_by_fraction_and_says_so(last):
    d = days("1999-01-01", last)
    cut = borders(d)
    assert (cut.train_stop, cut.val_stop) == (int(len(d) * 0.7), int(len(d) * 0.85))
    assert f"by fraction 70% / 15% / 15% (the data ends on {last}, so" in cut.text


def test_a_history_that_begins_late_is_split_by_fraction_and_says_so():
    assert "the data begins on 2023-02-01" in borders(days("2023-02-01", "2025-06-30")).text


def test_a_split_survives_json_and_wrong_ones_are_named():
    assert parse({}) is None and parse(None) is None
    assert parse({"train_end": "2010-12-31", "val_end": "2012-12-31"}) == DateSplit(
        date(2010, 12, 31), date(2012, 12, 31)
    )
    assert parse({"train": 0.6, "val": 0.2}) == FractionSplit(0.6, 0.2)
    for wrong in ({"train": 0.6}, {"train": 0.9, "val": 0.2}, {"train_end": "soon", "val_end": "later"}, {"x": 1}):
        with pytest.raises(BadSplit):
            parse(wrong)
    with pytest.raises(BadSplit, match="train must end before"):
        DateSplit(date(2012, 1, 1), date(2011, 1, 1))


def test_an_empty_part_is_refused_with_the_span_of_the_data():
    with pytest.raises(BadSplit, match="the data covers 2000-01-01 to 2001-01-01"):
        borders(days("2000-01-01", "2001-01-01"), DateSplit())


def test_few_positives_are_refused_with_the_numbers():
    y = np.zeros(300, dtype=np.float32)
    y[::10] = 1
    train, val = np.arange(200), np.arange(200, 219)
    with pytest.raises(SplitTooSmall, match="2 positives in 19 windows, at least 30 are needed"):
        check_counts(y, train, val, 30, "by fraction")
    check_counts(y, train, val, 1, "by fraction")
    with pytest.raises(SplitTooSmall, match="0 positives in 0 windows"):
        check_counts(y, train, val[:0], 1, "by fraction")
    with pytest.raises(SplitTooSmall, match="train has 200 positives in 200 windows"):
        check_counts(np.concatenate([np.ones(200, np.float32), y[200:]]), train, val, 1, "by fraction")
