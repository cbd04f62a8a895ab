"""The end has slipped: later, for the same work, than a person was told when they last pressed `a`."""

from dataclasses import replace

import pytest

from fts.jobs.status import headline as glance_lines
from fts.jobs.status import summary as glances
from fts.jobs.status.concern import Word
from fts.jobs.status.forecast import as_data, forecast, seen_forecast, slip
from fts.jobs.status.verdict import judge
from fts.state.values import SeenForecast
from tests.tui.values import HOUR, NOW, make_job, make_sample, make_snapshot, make_worker


def study(trial_s=72.0, ended=25, **changes):
    """One cell of 50 trials that has been running, at a pace; one that waits."""
    running = make_job(
        1, "20M", 3, "running", worker_id=1, lease_until=NOW + 50, attempt=1,
        trials_complete=ended, started_at=NOW - (ended + 0.5) * trial_s,
    )  # fmt: skip
    jobs = (running, make_job(2, "20M", 5))
    return make_snapshot(**{"jobs": jobs, "workers": (make_worker(),), "samples": (make_sample(),)} | changes)


def seen_by(snapshot, at=NOW, **changes):
    return replace(seen_forecast(replace(snapshot, taken_at=at)), **changes)


def test_the_end_that_was_told_is_the_end_that_is_shown():
    snapshot = study()
    assert seen_forecast(snapshot).finish_at == forecast(snapshot, NOW).finish_at
    assert seen_forecast(snapshot).jobs == (1, 2)


def test_without_an_end_there_is_nothing_to_keep():
    assert seen_forecast(make_snapshot(jobs=(make_job(),))) is None


@pytest.mark.parametrize(("slower", "word"), [(1.0, Word.WELL), (1.2, Word.WELL), (1.4, Word.LOOK)])
def test_a_quarter_later_is_a_decision(slower, word):
    snapshot = study(trial_s=72.0 * slower, seen=seen_by(study(trial_s=72.0)))
    assert judge(snapshot, NOW).word is word


def test_the_reason_says_from_when_to_when_by_how_much_and_why():
    found = judge(study(trial_s=144.0, seen=seen_by(study(trial_s=72.0))), NOW)
    assert found.key == "a"
    for part in ("finish slipped", "→", "(+100%", "since seen", "a 20M trial takes 144 s, not 72 s"):
        assert part in found.reason.replace("2 min", "144 s"), found.reason
    assert found.short.startswith("finish slipped by")


def test_time_without_work_slips_too():
    past = make_job(
        9, "20M", 1, "done", trials_complete=50, started_at=NOW - 3 * HOUR, ended_at=NOW - 2 * HOUR,
    )  # fmt: skip
    waiting = study(jobs=(make_job(1, "20M", 3), past))
    waiting = replace(waiting, seen=seen_by(waiting))
    assert slip(waiting, NOW + HOUR / 2).part == pytest.approx(0.5)
    assert slip(waiting, NOW + HOUR / 2).cause == ""


def test_fewer_slots_are_named_as_the_cause():
    then = seen_by(study(workers=(make_worker(slots=2),)))
    assert slip(study(seen=then), NOW).cause == "1 of 2 slots left"


def test_work_that_was_added_is_no_slip():
    snapshot = study(seen=seen_by(study()))
    more = replace(snapshot, jobs=(*snapshot.jobs, *(make_job(n, "20M", 1) for n in range(3, 9))))
    assert judge(more, NOW).word is Word.WELL
    assert slip(more, NOW).part == pytest.approx(0)


def test_trials_that_were_added_to_a_job_are_no_slip():
    snapshot = study(seen=seen_by(study()))
    more = replace(snapshot, jobs=tuple(replace(job, trials_wanted=3 * job.trials_wanted) for job in snapshot.jobs))
    assert judge(more, NOW).word is Word.WELL
    assert slip(more, NOW).part == pytest.approx(0)


def test_of_a_job_that_only_has_added_trials_left_nothing_can_slip():
    snapshot = study(seen=seen_by(study(ended=49)))
    first = replace(snapshot.jobs[0], trials_wanted=100, trials_complete=60)
    assert slip(replace(snapshot, jobs=(first,)), NOW) is None


def test_a_forecast_that_was_kept_without_trials_is_read():
    """By a version before."""
    snapshot = study(seen=seen_by(study(), trials={}))
    assert slip(snapshot, NOW).part == pytest.approx(0)


def test_a_few_minutes_are_no_slip():
    short = seen_by(study(trial_s=2.0), at=NOW)
    assert judge(study(trial_s=4.0, seen=short), NOW).word is Word.WELL


def test_work_that_has_ended_cannot_slip():
    snapshot = study(seen=SeenForecast(NOW - HOUR, NOW - 60, (77,)))
    assert slip(snapshot, NOW) is None


def test_a_failed_cell_comes_before_a_slip_and_both_are_decisions():
    snapshot = study(trial_s=144.0, seen=seen_by(study()))
    snapshot = replace(snapshot, jobs=(*snapshot.jobs, make_job(3, "2M", 1, "failed", ended_at=NOW - 60)))
    found = judge(snapshot, NOW)
    assert "2M/h1 failed" in found.reason
    assert found.decisions == 2


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 60)])
def test_the_first_lines_say_it_at_every_size(size):
    snapshot = study(trial_s=144.0, seen=seen_by(study()))
    text = "\n".join(glance_lines.plain(row) for row in glance_lines.lines(glances.look(snapshot, NOW), *size))
    assert "LOOK" in text
    assert "finish slipped" in text


def test_the_json_says_what_was_seen_and_how_far_it_slipped():
    snapshot = study(trial_s=144.0, seen=seen_by(study()))
    found = glances.as_dict(glances.look(snapshot, NOW))["acknowledged"]
    assert found["slipped"] == pytest.approx(1.0)
    assert found["at"] == NOW


def test_what_the_event_keeps_is_plain_data():
    assert as_data(seen_forecast(study()))["jobs"] == [1, 2]
