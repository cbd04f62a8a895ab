"""The first lines answer three questions at every size, in exactly the columns there are."""

import math
import os
import re
import time
from dataclasses import replace

import pytest

from fts.jobs.actions import by_id
from fts.jobs.cli.status import job_line
from fts.jobs.status import formatting
from fts.jobs.status import headline as glance_lines
from fts.jobs.status import summary as glances
from fts.jobs.status.sentences import finish
from tests.tui.values import NOW, make_job, make_snapshot, make_worker, picture

TABS = ("Queue", "Trials", "Curves", "Hardware", "Logs", "Results", "Events")


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    monkeypatch.setitem(os.environ, "TZ", "UTC")
    time.tzset()


def lines(width, height, snapshot=None, **facts):
    found = glances.look(snapshot or picture(), NOW, title="spark · patchtst-a20", **facts)
    return glance_lines.lines(found, width, height, TABS, 0)


@pytest.mark.parametrize(
    ("width", "height", "count"), [(39, 7, 1), (60, 15, 2), (80, 24, 3), (120, 40, 5), (200, 60, 4)]
)
def test_each_size_has_its_number_of_lines_of_exactly_its_width(width, height, count):
    found = lines(width, height)
    assert len(found) == count
    assert {sum(formatting.width(text) for text, _ in line) for line in found} == {width}


def test_a_pipe_has_no_edge_at_which_a_line_is_cut():
    long = "a reason that is long " * 12
    held = make_snapshot(jobs=(make_job(1, hold_reason=long), make_job(2)), workers=(make_worker(),))
    found = [glance_lines.plain(line) for line in lines(formatting.ENDLESS, 40, held, problem=long, read_age_s=60.0)]
    assert len(found) == 5
    assert long.strip() in found[1] and "…" not in "".join(found)
    assert found[0].startswith("fts  spark · patchtst-a20  ") and found[0].endswith(formatting.day_clock(NOW))
    assert max(map(formatting.width, found[2:])) <= 120, "nothing is padded, and the strip is as long as it was"


@pytest.mark.parametrize("width", range(20, 220, 3))
def test_no_width_breaks_a_line(width):
    for height in (5, 15, 24, 40, 60):
        for line in lines(width, height):
            assert sum(formatting.width(text) for text, _ in line) == width


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 60)])
def test_verdict_finish_and_absence_are_there_at_every_size(size):
    text = "\n".join("".join(part for part, _ in line) for line in lines(*size))
    assert "LOOK" in text
    assert "20M/h5 failed" in text
    assert "done 31 Jul" in text or "finish 31 Jul" in text
    assert "+2 done" in text
    assert "1 failed" in text
    assert "live" in text


def test_old_data_say_so_in_the_first_line():
    first = "".join(text for text, _ in lines(80, 24, read_age_s=40)[0])
    assert "stale 40 s" in first
    assert "live" not in first


def test_what_was_never_read_is_neither_live_nor_idle():
    for size in ((39, 7), (60, 15), (80, 24), (120, 40), (200, 60)):
        facts = {"read_age_s": math.inf, "problem": "fts.db is damaged"}
        text = "\n".join("".join(part for part, _ in line) for line in lines(*size, make_snapshot(), **facts))
        assert text.strip() and "BLIND fts.db is damaged" in " ".join(text.split())
        assert not {"live", "IDLE", "done:", "inf"} & set(re.split(r"[\s,]+", text)), text


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 60)])
def test_nothing_counts_down_while_the_data_are_old(size):
    alone = replace(picture(), workers=())
    for snapshot in (picture(), alone):
        facts = [{"read_age_s": age, "problem": "no disk"} for age in (40, 100)]
        looks = [glances.look(snapshot, NOW + fact["read_age_s"], title="spark", **fact) for fact in facts]
        first, later = (["".join(t for t, _ in line) for line in glance_lines.lines(found, *size)] for found in looks)
        assert "BLIND" in "".join(first)
        assert first[1:] == later[1:]
        assert "started now" not in "".join(first) and "starts now" not in "".join(first)
        assert looks[0].now == NOW, "the times are those of the last good frame"


def test_an_empty_database_has_a_glance_too():
    for size in ((60, 15), (80, 24), (120, 40), (200, 60)):
        text = "\n".join("".join(part for part, _ in line) for line in lines(*size, snapshot=make_snapshot()))
        assert "IDLE" in text


def test_the_json_twin_says_the_same():
    found = glances.as_dict(glances.look(picture(), NOW))
    assert found["verdict"] == "LOOK"
    assert found["away"]["done"] == 2
    assert found["finish"]["low"] < found["finish"]["at"] < found["finish"]["high"]


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 60)])
def test_without_a_worker_the_finish_says_that_it_needs_one(size):
    alone = replace(picture(), workers=())
    text = "\n".join("".join(part for part, _ in line) for line in lines(*size, alone))
    assert "done 31 Jul" not in text
    assert "if started now" in text or "if a worker starts now" in text
    assert "if" not in "\n".join("".join(part for part, _ in line) for line in lines(*size)).split()


def test_jobs_that_wait_for_a_person_are_left_to_run():
    paused, held = make_job(1, status="paused"), make_job(2, hold_reason="needs 91 GB")
    done = make_job(3, status="done", ended_at=NOW)
    for jobs, expected in (
        ((done,), "nothing is left to run"),
        ((done, paused), "no end: 1 job paused"),
        ((paused, held), "no end: 1 job paused and 1 job held"),
    ):
        assert said(make_snapshot(jobs=jobs))[2].startswith(expected)


def test_the_time_of_a_job_that_nobody_works_on_is_no_moment():
    """`in 2h` is when it ends, `takes 2h` how long it needs."""
    waiting = next(job for job in picture().jobs if job.status == "queued")
    for changed, word in (
        ({}, " in "),
        ({"queue_paused": True}, " takes "),
        ({"workers": ()}, " takes "),
    ):
        glance = glances.look(replace(picture(), **changed), NOW)
        assert word in job_line(waiting, glance), changed


def said(snapshot, width=120, height=40, **facts):
    return ["".join(text for text, _ in line).rstrip() for line in lines(width, height, snapshot, **facts)]


def with_worker(asked):
    return replace(picture(), workers=(make_worker(asked=asked),))


def test_workers_that_leave_before_the_end_are_not_said_to_reach_it():
    """After the trial, after the job with others waiting, at once; not if another worker stays or nothing is left."""
    alone = (make_job(1, status="running", worker_id=1, lease_until=NOW + 50, trials_wanted=50, trials_complete=9,
                      started_at=NOW - 3600, spec=picture().jobs[0].spec),)  # fmt: skip
    for asked, changed, reaches in (
        (None, {}, True),
        ("drain_trial", {}, False),
        ("drain_job", {}, False),
        ("stop", {}, False),
        ("drain_job", {"jobs": alone}, True),
        ("drain_trial", {"jobs": alone}, False),
        ("drain_trial", {"workers": (make_worker(asked="drain_trial"), make_worker(2))}, True),
        ("drain_trial", {"workers": (make_worker(asked="drain_trial"), make_worker(2, gone=True))}, False),
    ):
        glance = glances.look(replace(with_worker(asked), **changed), NOW)
        assert glance.will_go_on is reaches and glances.as_dict(glance)["finish"]["will_go_on"] is reaches
        if glance.forecast.finish_at is not None:
            assert finish(glance).startswith("the work will be done") is reaches
    assert "if a worker continues after the drain" in "\n".join(said(with_worker("drain_trial")))


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_draining_tells_the_latest_end_of_the_trial(size):
    """Eleven epochs of a minute each are left at 08:14."""
    assert "DRAINING 08:25  live" in said(with_worker("drain_trial"), *size)[0]


def test_draining_after_the_job_tells_the_end_of_the_job():
    left = glances.look(picture(), NOW).forecast.seconds_left[5]
    assert f"DRAINING {formatting.when(NOW + left, NOW)}  live" in said(with_worker("drain_job"))[0]


def test_draining_has_no_time_before_the_first_epoch():
    assert "DRAINING  live" in said(replace(with_worker("drain_trial"), epochs=()))[0]


def test_an_interval_within_one_minute_does_not_show_that_minute_twice():
    found = glances.look(picture(), NOW)
    at = found.forecast.finish_at
    near = replace(found, forecast=replace(found.forecast, finish_at=at, low=at // 60 * 60, high=at // 60 * 60 + 50))
    text = "".join(text for text, _ in glance_lines.lines(near, 120, 40, TABS, 0)[2])
    assert "(80%: within the same minute;" in text


def test_without_an_estimate_the_line_names_the_sizes_that_have_not_run():
    waiting = (make_job(1, "20M"), make_job(2, "20M", 3), make_job(3, "2B"))
    assert said(make_snapshot(jobs=waiting))[2].startswith("finish not known: no cell of 20M, 2B has run yet")


def test_a_paused_queue_has_no_end():
    waiting = tuple(make_job(n) for n in range(1, 9))
    paused = make_snapshot(jobs=waiting, queue_paused=True)
    assert said(paused)[2].startswith("no end while the queue is paused: 8 wait ")
    assert "no end while the queue is paused: 8 wait" in said(paused, 200, 60)[1]
    assert said(paused, 80, 24)[1] == "IDLE  the queue is paused, 8 wait"
    assert glance_lines.finish_text(glances.look(paused, NOW)) == "no end while the queue is paused: 8 wait"


def test_a_cell_that_runs_on_while_the_queue_is_paused_is_not_all_there_is():
    paused = replace(picture(), queue_paused=True)
    assert said(paused)[2].startswith("no end while the queue is paused: 4 wait ")
    assert "no end: queue paused" in said(paused, 80, 24)[1]
    assert "31 Jul" not in "".join(said(paused) + said(paused, 80, 24))


@pytest.mark.parametrize("size", [(120, 40), (160, 50), (200, 60)])
def test_the_gain_names_its_cell_where_it_fits(size):
    line = next(row for row in said(picture(), *size) if row.startswith("away"))
    assert "(20M/h3)" in line
    assert "AUC .671→.684" in line


def test_where_it_does_not_fit_the_gain_itself_is_kept():
    for width in range(100, 120):
        line = next(row for row in said(picture(), width) if row.startswith("away"))
        assert "AUC .671→.684" in line
        assert "(20M/h3" not in line or "(20M/h3)" in line


def test_the_absence_began_with_a_key_or_with_an_acknowledgement_so_neither_is_claimed():
    line = said(picture(), 200, 60)[2]
    assert "(since 22:12)" in line
    assert "last key" not in line


def test_a_lost_claim_counts_down_only_while_it_can_be_seen():
    jobs = tuple(replace(job, lease_until=NOW + 110) for job in picture().jobs)
    silent = replace(picture(), jobs=jobs, workers=(make_worker(heartbeat_at=NOW - 60),))
    job = silent.jobs[0]
    assert glances.look(picture(), NOW).lost(job) == ""
    assert glances.look(silent, NOW).lost(job) == "worker silent, free in 2m"
    assert glances.look(silent, NOW + 111).lost(job) == "worker silent"
    died = glances.look(replace(silent, workers=(make_worker(heartbeat_at=NOW - 60, gone=True),)), NOW)
    assert died.lost(job) == "worker died, free here now", "a new worker on this machine does not wait"
    assert "takes over at once" in died.verdict.reason and "lease" not in died.verdict.reason
    assert (
        glances.look(silent, NOW + 40, read_age_s=40, problem="no disk").lost(job) == "worker silent, free at 08:15:50"
    )
    assert glances.look(silent, NOW, locked_by="process 7").lost(job) == "", "it only waits"
    assert glances.look(silent, NOW).lost(silent.jobs[1]) == "", "a cell in line has no claim to lose"


def test_a_gain_of_two_small_values_is_whole_at_every_size_and_shows_a_change():
    found = glances.look(picture(), NOW)
    assert found.away is not None
    for before, after, at_80 in ((4.378e-4, 4.295e-4, "4.38e-4→4.29e-4"), (1.0042e-4, 1.0018e-4, "1.004e-4→1.002e-4")):
        away = replace(found.away, seconds=120, best_before=before, best_after=after, best_cell=None, metric="value ↓")
        for size in ((80, 24), (120, 40)):
            told = map(glance_lines.plain, glance_lines.lines(replace(found, away=away), *size))
            (line,) = [row for row in told if row.startswith("away")]
            assert at_80 in line and "…" not in line, size


def test_a_database_that_was_never_read_has_no_strip_of_idle_hours():
    for size in ((80, 24), (120, 40), (200, 60)):
        found = glances.look(make_snapshot(), NOW, problem="fts.db is damaged", read_age_s=math.inf)
        text = "\n".join(map(glance_lines.plain, glance_lines.lines(found, *size, TABS)))
        assert "database not read yet" in text and "····" not in text and "█" not in text


def test_the_step_of_a_trial_is_the_one_that_it_reported_last():
    """A function counts from 0: after 7 epochs the rows say `ep 6`; verdict and questions said 7."""
    for first, said_step in ((0, 8), (1, 9)):
        epochs = tuple(replace(one, epoch=one.epoch - 1 + first) for one in picture().epochs)
        silent = replace(picture(), epochs=epochs, workers=(make_worker(heartbeat_at=NOW - 400),))
        assert f", t23 ep {said_step}" in glances.look(silent, NOW).verdict.reason, first
        price = by_id("cancel").price(replace(picture(), epochs=epochs), [picture().jobs[0]])
        assert f"t23 of 20M/h3 (epoch {said_step}) stops" in price
    mute = replace(picture(), epochs=(), trials=tuple(replace(trial, epochs=0) for trial in picture().trials))
    assert "t23 of 20M/h3 stops" in by_id("cancel").price(mute, [picture().jobs[0]]), "it reports no steps"
