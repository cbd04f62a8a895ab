"""What happened while nobody was there, and the strip of the night."""

from dataclasses import replace

from fts.jobs.status import formatting, headline
from fts.jobs.status.absence import Timeline, away, timeline
from fts.jobs.status.headline import lines, plain
from fts.jobs.status.sentences import sentences
from fts.jobs.status.summary import look
from tests.tui.values import HOUR, NOW, make_event, make_job, make_snapshot, make_worker, picture


def test_nobody_was_here_before():
    assert away(picture(), NOW, None) is None


def test_the_absence_is_counted_from_the_last_key():
    found = away(picture(), NOW, NOW - 10 * HOUR)
    assert found is not None
    assert (found.done, found.failed, found.lost, found.trials) == (2, 1, 0, 21)
    assert (found.guard_pauses, found.guard_seconds) == (1, 660)
    assert (found.best_before, found.best_after, found.best_cell) == (0.671, 0.6841, "20M/h3")


def test_a_failed_trial_is_told_beside_the_trials_and_is_no_failed_cell():
    ends = ("trial_complete", "trial_failed", "trial_pruned", "trial_failed")
    events = tuple(make_event(n, NOW - 60 + n, verb, 1) for n, verb in enumerate(ends, 1))
    glance = look(make_snapshot(jobs=(make_job(status="queued"),), events=events, last_key_at=NOW - HOUR), NOW)
    assert "+4 trials (2 failed)  0 failed" in "\n".join(map(plain, lines(glance, 120, 40)))
    assert any("4 trials ended (2 of them failed), 0 cells failed" in each for each in sentences(glance))


def test_what_was_seen_is_no_news():
    found = away(picture(), NOW, NOW - HOUR)
    assert found is not None
    assert (found.done, found.failed, found.best_after) == (0, 0, None)


def test_a_pause_that_still_lasts_counts_until_now():
    events = (make_event(1, NOW - 600, "guard", data={"old": "normal", "new": "frozen"}),)
    found = away(make_snapshot(events=events), NOW, NOW - HOUR)
    assert found is not None
    assert (found.guard_pauses, found.guard_seconds) == (1, 600)


def test_an_absence_that_begins_in_the_future_lasts_0_s():
    found = away(make_snapshot(), NOW, NOW + HOUR)
    assert found is not None and found.seconds == 0


def test_guards_of_two_workers_are_one_pause_that_the_last_one_or_its_death_ends():
    on, off = {"old": "normal", "new": "frozen"}, {"old": "frozen", "new": "normal"}
    told = [(1, "guard", on), (2, "guard", on), (1, "guard", off)]
    for verb, data in (("guard", off), ("worker_lost", {}), ("worker_stopped", {})):
        steps = [*told, (2, verb, data)]
        events = tuple(
            make_event(n, NOW - 500 + 100 * n, what, data={**more, "worker_id": worker})
            for n, (worker, what, more) in enumerate(steps, 1)
        )
        found = away(make_snapshot(events=events), NOW, NOW - HOUR)
        assert found is not None and (found.guard_pauses, found.guard_seconds) == (1, 300)


def strip(events, jobs=(), cells=11):
    """Ten slices of an hour each, and now."""
    return timeline(make_snapshot(jobs=jobs, events=events), NOW - 10 * HOUR, NOW, cells).cells


def test_an_empty_night_is_idle():
    assert strip(()) == "··········►"


def test_a_cell_that_ran_and_ended_is_drawn_from_claim_to_end():
    events = (make_event(1, NOW - 8.5 * HOUR, "claimed", 1), make_event(2, NOW - 5.5 * HOUR, "finished", 1))
    assert strip(events, (make_job(1, status="done"),)) == "·████·····►"


def test_a_cell_that_ran_before_and_still_runs_fills_the_night():
    job = make_job(1, status="running", started_at=NOW - 20 * HOUR)
    assert strip((), (job,)) == "██████████►"


def test_a_cell_of_a_worker_that_died_is_drawn_up_to_its_last_heartbeat():
    job = make_job(1, status="running", started_at=NOW - 20 * HOUR, worker_id=1)
    for died, expected in ((3.5, "███████···►"), (12.0, "··········►")):
        snapshot = make_snapshot(jobs=(job,), workers=(make_worker(heartbeat_at=NOW - died * HOUR),))
        assert timeline(snapshot, NOW - 10 * HOUR, NOW, 11).cells == expected


def test_a_cell_that_was_running_when_the_night_began_is_drawn_up_to_its_end():
    job = make_job(1, status="done", started_at=NOW - 20 * HOUR, ended_at=NOW - 7.5 * HOUR)
    assert strip((make_event(2, NOW - 7.5 * HOUR, "finished", 1),), (job,)) == "███·······►"


def test_the_worst_of_a_slice_is_shown():
    job = make_job(1, status="running", started_at=NOW - 20 * HOUR)
    events = (
        make_event(1, NOW - 8.5 * HOUR, "guard", data={"new": "frozen"}),
        make_event(2, NOW - 7.5 * HOUR, "guard", data={"new": "normal"}),
        make_event(3, NOW - 4.5 * HOUR, "failed", 2),
        make_event(4, NOW - 2.5 * HOUR, "worker_lost"),
    )
    assert strip(events, (job,)) == "█‖‖██✗█↻██►"


def test_a_trial_process_that_died_and_was_started_again_is_a_restart():
    job = make_job(1, status="running", started_at=NOW - 20 * HOUR)
    events = (make_event(1, NOW - 2.5 * HOUR, "trial_restarted", 1),)
    assert strip(events, (job,)) == "███████↻██►"


def test_one_more_hour_shifts_nothing_that_has_happened():
    job = make_job(1, status="running", started_at=NOW - 20 * HOUR)
    events = (make_event(3, NOW - 4.5 * HOUR, "failed", 2),)
    snapshot = make_snapshot(jobs=(job,), events=events)
    assert timeline(snapshot, NOW - 10 * HOUR, NOW, 11).cells.index("✗") == 5
    later = timeline(snapshot, NOW - 10 * HOUR, NOW + HOUR, 12).cells
    assert later.index("✗") == 5


def test_names_stand_where_cells_began():
    found = timeline(picture(), NOW - 10 * HOUR, NOW, 61)
    assert [name for _, name in found.labels] == ["20M/h1", "20M/h5", "20M/h3"]


def test_cells_of_two_tasks_stand_there_by_both_names():
    jobs = (make_job(1), make_job(2, task="threshold_2pct"))
    events = (make_event(1, NOW - 8 * HOUR, "claimed", 1), make_event(2, NOW - 4 * HOUR, "claimed", 2))
    found = timeline(make_snapshot(jobs=jobs, events=events), NOW - 10 * HOUR, NOW, 61)
    assert [name for _, name in found.labels] == ["2M/h1 1pct", "2M/h1 2pct"]


def test_a_night_shorter_than_a_slice_does_not_fail():
    assert timeline(replace(picture(), events=()), NOW, NOW, 2).cells[-1] == "►"


def test_a_strip_with_a_name_of_wide_characters_is_as_wide_as_one_without():
    found = headline._strip_spans(Timeline(NOW - HOUR, NOW, "█" * 40, ((3, "データ/S"), (20, "h1"))), labels=True)
    plain = headline._strip_spans(Timeline(NOW - HOUR, NOW, "█" * 40, ()), labels=True)
    text, without = ("".join(each for each, _ in spans) for spans in (found, plain))
    assert "データ/S" in text and formatting.width(text) == formatting.width(without)
