"""Which rows are shown: windows that keep the cursor in sight, running rows that stay."""

import pytest

from tests.tui.values import make_job
from tui import selection


@pytest.mark.parametrize("height", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("rows", [1, 2, 5, 20, 21, 100])
def test_the_cursor_is_always_in_the_window(rows, height):
    for cursor in range(rows):
        first, last = selection.window(rows, height, cursor)
        assert 0 <= first <= cursor < last <= rows
        assert last - first == min(rows, height)


def test_most_steps_do_not_move_the_window():
    starts = [selection.window(1000, 20, cursor)[0] for cursor in range(200)]
    assert len(set(starts)) <= 21


def test_pinned_rows_stay_and_the_count_is_kept():
    rows = [make_job(n) for n in range(40)]
    rows[30] = make_job(30, status="running")
    for cursor in (0, 10, 39):
        shown = selection.pinned_window(rows, 12, cursor)
        assert len(shown) == 12
        assert {30, cursor} <= set(shown)
        assert shown == sorted(shown)


@pytest.mark.parametrize(
    ("query", "found"),
    [("", True), ("two", True), ("TWO one", True), ("three", False), ("!three", True), ("!two", False),
     ("state:done", True), ("state:failed", False), ("!state:done", False), ("unknown:done", False)],
)  # fmt: skip
def test_filter_words(query, found):
    assert selection.matches(query, "one two", {"state": "done"}) is found


def test_jobs_stand_in_the_order_of_time():
    jobs = (
        make_job(1, status="running"), make_job(2), make_job(3, status="done", ended_at=20.0),
        make_job(4, status="failed", ended_at=10.0),
    )  # fmt: skip
    assert [job.id for job in selection.in_order(jobs)] == [4, 3, 1, 2]
