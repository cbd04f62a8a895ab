"""Two jobs of one cell are told apart everywhere, by the number that commands take."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fts.jobs.actions.registry import by_id
from fts.jobs.status import naming
from fts.jobs.status import summary as glances
from fts.jobs.status.formatting import GB
from fts.jobs.status.log_excerpt import last_lines
from fts.state.values import JobStatus
from fts.tui import pictures
from fts.tui.data.view import CURVES, QUEUE, RESULTS, View
from fts.tui.render.text import as_text
from fts.tui.widgets import event_list, meters
from tests.tui.values import HOUR, NOW, make_event, make_job, make_sample, make_snapshot, make_trial

JOBS = (
    make_job(
        5, "2M", 1, "running", worker_id=1, lease_until=NOW + 50, trials_complete=3, best_value=0.61, best_trial=2
    ),
    make_job(7, "2M", 3),
    make_job(2, "2M", 1, "cancelled", trials_complete=9, ended_at=NOW - HOUR, best_value=0.66, best_trial=1),
)


def view(screen=QUEUE, events=()):
    return View(glances.look(make_snapshot(jobs=JOBS, events=tuple(events)), NOW), screen=screen, job_id=5)


def test_the_queue_numbers_namesakes_and_only_them():
    text = as_text(pictures.frame(view(), 80, 24))
    assert "2M/h1#5" in text
    assert "2M/h1#2" in text
    assert "2M/h3  " in text


def test_a_long_state_does_not_touch_its_bar():
    assert "cancelled █" in as_text(pictures.frame(view(), 80, 24))


def test_an_event_is_about_its_own_job():
    name = JOBS[0].experiment
    told = [make_event(n, NOW, verb, 5, message=text) for n, (verb, text) in enumerate((
        ("claimed", f"worker 2 takes {name}, attempt 1"), ("enqueued", f"{name} is job 5"),
    ))]  # fmt: skip
    seen = view(events=told)
    assert [event_list.event_words(seen, event) for event in told] == [
        "worker 2 takes 2M/h1#5, attempt 1", "2M/h1#5 enqueued",
    ]  # fmt: skip


def test_a_cancelled_job_does_not_stand_for_its_cell_in_the_results():
    text = as_text(pictures.frame(view(RESULTS), 80, 24))
    assert ".6100" in text.split("value against size")[0]
    assert ".6600" not in text.split("value against size")[0]


def test_the_verdict_names_the_one_it_is_about():
    assert naming.names_of(JOBS) == {5: "2M/h1#5", 7: "2M/h3", 2: "2M/h1#2"}


def test_what_cancelling_costs_names_the_one_it_is_about():
    snapshot = make_snapshot(jobs=JOBS, trials=(make_trial(9, 5, 3, "running", epochs=4),))
    assert "t3 of 2M/h1#5 (epoch 4) stops" in by_id("cancel").price(snapshot, [JOBS[0]])


def test_last_words_name_the_one_they_are_of(tmp_path):
    ended = make_event(1, NOW, "failed", 5, data={"log_tail": "one\ntwo"})
    failed = replace(JOBS[0], status=JobStatus.FAILED)
    said = last_lines(failed, (), (ended,), tmp_path, name=naming.names_of(JOBS)[5])
    assert said.title.startswith("2M/h1#5 ")


def left(*free_gb: float) -> str:
    past = [make_sample(at=NOW - (len(free_gb) - n) * HOUR, disk_free=int(gb * GB)) for n, gb in enumerate(free_gb)]
    return meters._disk(past[-1], past).limits[0] if meters._disk(past[-1], past).limits else ""


def test_a_disk_that_fills_up_says_when_it_is_full():
    assert left(104, 103, 102, 101, 100) == "4 days left at this rate"
    assert left(14, 13, 12, 11, 10) == "10 h left at this rate"


def test_one_large_file_is_no_rate():
    assert left(100, 100, 100, 40, 40, 40) == ""
    assert left(100, 40) == ""


TASKS = (
    make_job(1, "2M", 1, "done", trials_complete=9, best_value=0.61, best_trial=2, task="threshold_1pct"),
    make_job(2, "2M", 1, "done", trials_complete=9, best_value=0.72, best_trial=3, task="threshold_2pct"),
    make_job(3, "200M", 3, task="threshold_1pct"),
    make_job(4, "200M", 3, task="threshold_2pct_close"),
    make_job(5, "200M", 3, task="threshold_2pct_close"),
    make_job(6, "20M", 5),
)


def of_two_tasks(screen=QUEUE, job_id=2):
    return View(glances.look(make_snapshot(jobs=TASKS), NOW), screen=screen, job_id=job_id)


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (109, 30), (110, 30), (120, 40), (200, 60)])
def test_cells_of_two_tasks_say_which_they_are_and_are_never_cut_to_the_same(size):
    text = as_text(pictures.frame(of_two_tasks(), *size))
    rows = [row for row in text.splitlines() if "/h1 " in row or "/h3 " in row]
    for name in ("2M/h1 1pct", "2M/h1 2pct", "200M/h3 1pct"):
        assert sum(name in row for row in rows) >= 1
    assert "#4 " in text
    assert "#5 " in text
    assert all(len(row) <= size[0] for row in text.splitlines())


def test_columns_stay_below_their_headings_when_names_take_more():
    rows = as_text(pictures.frame(of_two_tasks(), 120, 40)).splitlines()
    heading = next(row for row in rows if "trials" in row and "now / why" in row)
    done = next(row for row in rows if "2M/h1 1pct" in row and "done" in row)
    assert heading.index("state") == done.index("done")
    assert heading.index("now / why") == done.index("best t2")


def test_small_curves_show_the_cells_of_the_selected_task():
    of_two, of_one = (as_text(pictures.frame(of_two_tasks(CURVES, number), 200, 50)) for number in (2, 1))
    assert "2M/h1 .7200" in of_two
    assert ".6100" not in of_two
    assert "best curve of each cell · 2pct" in of_two
    assert "2M/h1 .6100" in of_one


def test_results_at_home_say_whose_they_are():
    assert "results of 2pct · best" in as_text(pictures.frame(of_two_tasks(), 200, 60))
