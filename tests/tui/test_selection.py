"""Which rows are shown: windows that keep the cursor in sight, running rows that stay."""

import pytest

from fts.jobs.status import summary as glances
from fts.tui.data import table_rows
from fts.tui.data.view import TRIALS, View
from fts.tui.widgets import queue_table, trial_table
from tests.tui.values import NOW, make_job, make_snapshot, make_trial


@pytest.mark.parametrize("height", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("rows", [1, 2, 5, 20, 21, 100])
def test_the_cursor_is_always_in_the_window(rows, height):
    for cursor in range(rows):
        first, last = table_rows.window(rows, height, cursor)
        assert 0 <= first <= cursor < last <= rows
        assert last - first == min(rows, height)


def test_most_steps_do_not_move_the_window():
    starts = [table_rows.window(1000, 20, cursor)[0] for cursor in range(200)]
    assert len(set(starts)) <= 21


def test_pinned_rows_stay_and_the_count_is_kept():
    rows = [make_job(n) for n in range(40)]
    rows[30] = make_job(30, status="running")
    for cursor in (0, 10, 39):
        shown = table_rows.pinned_window(rows, 12, cursor)
        assert len(shown) == 12
        assert {30, cursor} <= set(shown)
        assert shown == sorted(shown)


@pytest.mark.parametrize(
    ("query", "found"),
    [("", True), ("two", True), ("TWO one", True), ("three", False), ("!three", True), ("!two", False),
     ("state:done", True), ("state:failed", False), ("!state:done", False), ("unknown:done", False),
     ("size:l", True), ("SIZE:x", True), ("size:s", False), ("!size:s", True), ("n:1", True), ("n:2", False),
     ("lr:0.5", True), ("lr:0.50", False), ("on:true", True), ("state:own", True), ("state:gone", False)],
)  # fmt: skip
def test_filter_words(query, found):
    own = {"size": "XL", "n": 1, "lr": 0.5, "on": True, "state": "My own"}
    assert table_rows.matches(query, "one two", {"state": "done"}, own) is found


def test_jobs_stand_in_the_order_of_time():
    jobs = (
        make_job(1, status="running"), make_job(2), make_job(3, status="done", ended_at=20.0),
        make_job(4, status="failed", ended_at=10.0),
    )  # fmt: skip
    assert [job.id for job in table_rows.in_order(jobs)] == [4, 3, 1, 2]


def seen(jobs, trials=(), **asked):
    return View(glances.look(make_snapshot(jobs=tuple(jobs), trials=tuple(trials)), NOW), **asked)


@pytest.mark.parametrize("reverse", [False, True])
def test_rows_without_a_value_stand_last_in_both_directions(reverse):
    jobs = [make_job(1), make_job(2, best_value=0.6), make_job(3), make_job(4, best_value=0.7)]
    found = [job.id for job in table_rows.jobs_of(seen(jobs, sort="best", reverse=reverse))]
    assert found == ([2, 4, 1, 3] if reverse else [4, 2, 1, 3])
    trials = [make_trial(1, 1, 0), make_trial(2, 1, 1, value=0.6), make_trial(3, 1, 2, value=0.7)]
    view = seen(jobs, trials, screen=TRIALS, job_id=1, sort="value", reverse=reverse)
    assert [trial.id for trial in table_rows.trials_of(view)] == ([2, 3, 1] if reverse else [3, 2, 1])


def test_the_best_loss_is_the_smallest():
    jobs = [make_job(n, best_value=n / 10, spec={"objective": "val_loss"}) for n in (3, 1, 2)]
    assert [job.id for job in table_rows.jobs_of(seen(jobs, sort="best"))] == [1, 2, 3]


def test_the_heading_names_the_objective_of_all_jobs_whatever_the_filter_shows():
    losses = [make_job(n, best_value=0.5, spec={"objective": "val_loss"}) for n in (1, 2)]
    assert "best loss" in heading(seen(losses))
    assert "best loss" in heading(seen(losses, filter="nothing like it"))
    assert "best AUC" in heading(seen([make_job(1)], filter="nothing like it"))
    assert "best  " in heading(seen([*losses, make_job(3)]))
    trial = make_trial(1, 1, 0, objective="val_loss", value=0.5)
    shown = trial_table.trials(seen(losses, [trial], screen=TRIALS, job_id=1, filter="nothing like it"), 80, 5)
    assert " loss " in "".join(text for text, _ in shown[0])


def heading(view):
    return "".join(text for text, _ in queue_table.paint(view, 80, 14)[0])


def test_every_bar_of_the_grid_is_whole():
    jobs = [make_job(n, status=status) for n, status in enumerate(("queued", "cancelled", "running"), 1)]
    for row in queue_table.paint(seen(jobs), 80, 14)[1:]:
        text = "".join(part for part, _ in row)
        assert " ·········· " in text, text


@pytest.mark.parametrize("width", [50, 60, 80, 120, 200])
@pytest.mark.parametrize(
    ("wanted", "best"),
    [(6, 0.5), (50, 1.229e-6), (100, 1.229e-6), (100, -1.229e-6), (1000, 12345.6), (12345, 1.229e-6)],
)
def test_the_number_of_trials_never_runs_into_the_best_value(width, wanted, best):
    job = make_job(1, status="done", trials_wanted=wanted, trials_complete=wanted, best_value=best, best_trial=0)
    view = seen([job])
    rows = ["".join(part for part, _ in row) for row in queue_table.paint(view, width, 14)]
    assert any(f" {wanted}/{wanted} " in row for row in rows), rows


def test_equal_cells_are_all_the_best_whatever_the_order_of_the_queue():
    jobs = [make_job(n, budget, best_value=0.5, best_trial=0) for n, budget in ((1, "2M"), (2, "20M"))]
    worse = make_job(3, "200M", best_value=0.5 - 1e-9, best_trial=0)
    other = make_job(4, study="train", labels={})
    for order in ([*jobs, worse, other], [worse, *jobs[::-1], other]):
        view = seen(order)
        assert queue_table.best_ids(view) == {1, 2}
        heading = "".join(text for row in queue_table.paint(view, 120, 14) for text, _ in row)
        assert "(2M/h1 and 1 more)" in heading


@pytest.mark.parametrize("width", [60, 73, 80])
def test_how_a_waiting_cell_gets_its_first_trial_can_be_read_whole(width):
    view = seen([make_job(8, "200M", 3, kind="seeds")], screen=TRIALS, job_id=8)
    text = "\n".join("".join(part for part, _ in line) for line in trial_table.trials(view, width, 10))
    assert "t runs it next (`fts next 8`)." in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_places_of_a_thousand_jobs_leave_the_columns_straight(width):
    jobs = [make_job(n, labels={"budget": f"x{n}"}, cell=f"x{n}") for n in range(1, 1001)]
    painted = queue_table.paint(seen(jobs, job_id=1000), width, 14)
    rows = ["".join(part for part, _ in row) for row in painted if "►" in row[0][0] or row[0][0] == " "]
    assert len({row.index(" x") for row in rows if " x" in row}) == 1, rows
