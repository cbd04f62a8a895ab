"""The limits stand in the meters: as marks at their place, and in words that are never cut."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from fts.jobs.actions.run import memory_marks
from fts.jobs.status import formatting
from fts.jobs.status import summary as glances
from fts.jobs.status.formatting import GB
from fts.tui import pictures
from fts.tui.data.gaps import unbroken_runs
from fts.tui.data.view import HARDWARE, Details, View
from fts.tui.render.text import as_text
from fts.tui.screens.hardware import day
from fts.tui.widgets import meters
from tests.tui.values import NOW, make_event, make_job, make_sample, make_snapshot, make_trial, make_worker


def test_in_60_columns_the_title_of_the_memory_chart_is_whole():
    samples = tuple(make_sample(at=NOW - 60 * n, available=120 * GB, temperature=None) for n in range(30, 0, -1))
    view = View(glances.look(make_snapshot(samples=samples), NOW), Details(samples=samples), screen=HARDWARE)
    for width in (60, 80, 120):
        assert as_text(day(view, width, 9)).startswith("─ memory used, GB ─"), width


def view(sample=None, events=(), **worker):
    sample = sample or make_sample()
    snapshot = make_snapshot(samples=(sample,), workers=(make_worker(**worker),), events=tuple(events))
    return View(glances.look(snapshot, NOW), Details(samples=(sample,), events=tuple(events)))


def text_of(lines):
    return as_text(list(lines))


def named(seen, name):
    return next(m for m in meters.meters(seen) if m.name == name)


def test_soft_and_hard_memory_limits_are_those_of_the_guard():
    soft, hard = memory_marks(128 * GB)
    assert (128 * GB) * 0.95 < soft < hard < (128 * GB)
    assert memory_marks(8 * GB)[0] == pytest.approx(8 * GB - 2**29)


def test_the_bar_carries_the_limits_at_their_place():
    found = named(view(), "mem")
    bar = "".join(text for text, _ in meters.bar(found, 40))
    soft, hard = memory_marks(128 * GB)
    assert bar.index(meters.SOFT) == int(soft / (128 * GB) * 40)
    assert bar.index(meters.HARD) == int(hard / (128 * GB) * 40)
    assert len(bar) == 40


def test_a_short_bar_shows_the_hard_limit_where_both_fall_together():
    bar = "".join(text for text, _ in meters.bar(named(view(), "mem"), 10))
    assert bar.endswith(meters.HARD)
    assert formatting.width(bar) == 10


def test_the_limits_of_heat_are_pause_and_stop():
    bar = "".join(text for text, _ in meters.bar(named(view(), "temp"), 20))
    assert bar[int(85 / 95 * 20)] == meters.SOFT
    assert bar[-1] == meters.HARD


@pytest.mark.parametrize(("width", "parts"), [
    (117, ("soft 123 ┊ hard 125 GB", "headroom", "trials 40 GB", "pause 85 ┊ resume 75 ┃ stop 95", "max 61")),
    (47, ("soft 123", "pause 85")),
])  # fmt: skip
def test_the_words_beside_a_meter_are_the_longest_that_fit_whole(width, parts):
    text = text_of(meters.rows(view(make_sample(total=128 * GB)), width, 5 if width < 60 else 24, ("mem", "temp")))
    assert "…" not in text
    for part in parts:
        assert part in text
    assert all(formatting.width(row) <= width for row in text.splitlines())


def test_without_colour_and_in_ascii_the_limits_are_still_there():
    text = formatting.to_ascii(text_of(meters.rows(view(), 117, 24, ("mem", "temp"))))
    assert text.isascii()
    assert "!" in text
    assert "|" in text
    assert "soft" in text
    assert "hard" in text


def test_a_limit_that_is_crossed_changes_the_role():
    full = make_sample(available=1 * GB)
    assert named(view(full), "mem").role == "failed"
    assert named(view(make_sample(available=4 * GB)), "mem").role == "retrying"
    assert named(view(), "mem").role == ""


def test_a_machine_whose_memory_is_unknown_has_no_limits():
    assert named(view(replace(make_sample(), total=None)), "mem").marks == ()


@pytest.mark.parametrize("width", [30, 47, 60, 117])
def test_the_line_of_the_guard_is_never_cut_without_a_shorter_one(width):
    events = (
        make_event(1, NOW - 7200, "guard", data={"new": "frozen", "worker_id": 1}),
        make_event(2, NOW - 6600, "guard", data={"new": "normal", "worker_id": 1}),
    )
    for seen in (view(), view(events=events), view(guard="frozen", guard_message="88°C > 85°C"), view(guard="unknown")):
        said = meters.guard_line(seen, width)
        assert formatting.width(said) <= width
        assert width == 30 or "…" not in said


def test_no_line_is_drawn_through_hours_in_which_nobody_measured():
    points = ((0.0, 1.0), (60.0, 2.0), (4000.0, 3.0), (4060.0, 2.0))
    assert unbroken_runs(points) == [points[:2], points[2:]]


def test_idle_time_of_the_gpu_is_told_of_the_time_that_was_measured():
    busy = [make_sample(at=NOW - 180 * n) for n in reversed(range(480))]
    seen = view()
    assert named_limits(seen, busy) == ("idle 0 min of 24 h",)
    idle = [replace(sample, gpu_percent=1.0) if 100 <= n < 105 else sample for n, sample in enumerate(busy)]
    assert named_limits(seen, idle) == ("idle 15 min of 24 h",)
    assert named_limits(seen, idle[:200] + idle[400:]) == ("idle 15 min of 14 h",)  # without a worker nobody measures
    assert named_limits(seen, busy[-10:]) == ()
    kept = [replace(sample, gpu_memory=20 * GB) for sample in busy]
    assert named_limits(seen, kept)[0] == "idle 0 min of 24 h  memory 20 GB"


def named_limits(seen, samples):
    shown = replace(seen, details=replace(seen.details, samples=tuple(samples)))
    latest = replace(seen.snapshot, samples=(samples[-1],))
    shown = replace(shown, glance=replace(seen.glance, snapshot=latest))
    return named(shown, "gpu").limits


def test_without_a_worker_it_is_said_that_nobody_measures():
    def told(*workers, samples=()):
        snapshot = make_snapshot(workers=workers, samples=samples)
        return [found.text for found in meters.meters(View(glances.look(snapshot, NOW), Details()))]

    silent, dead = make_worker(heartbeat_at=NOW - 90), make_worker(gone=True)
    stopped = make_worker(status="stopped", stopped_at=NOW - 60)
    for workers, why in (
        ((), "no worker"),
        ((stopped,), "no worker"),
        ((silent,), "worker silent"),
        ((dead,), "worker died"),
    ):
        assert told(*workers, samples=(make_sample(at=NOW - 45),)) == [f"unknown, {why}"] * 5
    assert told(make_worker())[0] == "not measured yet"
    blind = make_sample(temperature=None, power_w=None)
    assert named(view(blind), "temp").text == "not available here"
    assert named(view(blind), "power").text == "not available here"


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_that_nobody_measures_is_never_cut(size):
    for screen in (0, 3):
        shown = View(glances.look(make_snapshot(jobs=(make_job(),)), NOW), Details(), screen=screen, job_id=1)
        text = as_text(pictures.frame(shown, *size))
        assert re.search("mem:? +unknown, no worker", text)
        assert "unknown, …" not in text
        assert "no worker …" not in text


def test_what_is_not_known_of_a_trial_yet_is_left_out():
    from fts.tui.screens import hardware

    facts = {"predicted_bytes": None, "micro_batch": None, "accumulation": None}
    job = make_job(1, "tiny", 3, status="running")

    def told(sample=(), **changes):
        trial = make_trial(1, 1, 0, status="running", **{**facts, **changes})
        snapshot = make_snapshot(jobs=(job,), trials=(trial,), samples=sample, workers=(make_worker(),))
        return hardware._trials(View(glances.look(snapshot, NOW), Details()))

    assert told() == ["tiny/h3 t0: no memory figures yet"]
    assert told((make_sample(),)) == ["tiny/h3 t0: 40 GB now"]
    assert told(micro_batch=64, accumulation=4) == ["tiny/h3 t0: batch 64x4 = 256 windows"]
    assert told(predicted_bytes=2 * GB) == ["tiny/h3 t0: predicted 2.0 GB"]


def test_a_worker_measures_its_trials_together_and_an_old_sample_is_not_now():
    from fts.tui.screens import hardware

    jobs = (make_job(1, "tiny", 1, status="running"), make_job(2, "tiny", 3, status="running"))
    trials = tuple(make_trial(n, n, 0, status="running", micro_batch=None, accumulation=None) for n in (1, 2))

    def told(*samples):
        workers = (make_worker(), make_worker(2))
        snapshot = make_snapshot(jobs=jobs, trials=trials, samples=samples, workers=workers)
        return hardware._trials(View(glances.look(snapshot, NOW), Details()))[2:]

    one, other = make_sample(trial_rss=3 * GB), replace(make_sample(trial_rss=2 * GB), worker_id=2)
    assert told(one, other) == ["the running trials together: 5.0 GB now"]
    assert told(one, replace(other, at=NOW - 3600)) == ["the running trials together: 3.0 GB now"]
    assert told(replace(one, at=NOW - 3600)) == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [({}, "unknown, worker silent"), ({"gone": True}, "off, worker died"), ({"status": "stopped"}, "off, no worker")],
)
def test_a_silent_worker_may_still_guard(changes, word):
    assert meters.guard_word(view(heartbeat_at=NOW - 60, **changes)) == word
