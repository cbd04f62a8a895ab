"""What a reader must see without colour: cursor, marks, sort, filter, lines of a chart, gaps, ages and ends."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations

import pytest

from fts.jobs.status import formatting
from fts.jobs.status import summary as glances
from fts.jobs.status.formatting import GB
from fts.state.values import TrialStatus
from fts.tui import clipboard, pictures
from fts.tui.data import gaps
from fts.tui.data.curve_comparison import broken
from fts.tui.data.curve_comparison import points as points_of
from fts.tui.data.view import EVENTS, HARDWARE, LOGS, QUEUE, RESULTS, TRIALS, Details, View
from fts.tui.render import chart
from fts.tui.render.text import as_text
from fts.tui.screens import hardware, queue, trials
from fts.tui.widgets import event_list, learning_curve, meters, queue_table
from tests.tui import any_study
from tests.tui.stories import monitor, press, shown, until
from tests.tui.values import (
    HOUR,
    NOW,
    make_epochs,
    make_event,
    make_job,
    make_sample,
    make_snapshot,
    make_trial,
    make_worker,
    picture,
)

SIZES = [(60, 15), (80, 24), (120, 40), (200, 60)]


def text_of(view: View, size: tuple[int, int]) -> str:
    return as_text(pictures.frame(view, *size))


def looked(screen: int, **changes: object) -> View:
    snapshot = picture()
    trials = tuple(make_trial(n, 5, n, value=0.6 + n / 100, epochs=3, ended_at=NOW - 60) for n in range(1, 6))
    events = snapshot.events[-5:]
    details = Details(job_id=5, trials=trials, events=events)
    chosen = {"job_id": 5, "trial_id": 3, "event_id": events[2].id} | changes
    return View(glances.look(snapshot, NOW), details, screen=screen, **chosen)  # type: ignore[arg-type]


# ---------------------------------------------------------------- cursor, marks, sort, filter


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("screen", "row"), [(QUEUE, 5), (TRIALS, 3), (EVENTS, 0)])
def test_the_cursor_is_seen_beside_a_mark_on_its_own_row(screen, row, size):
    """In plain text: the sign of the cursor begins one row, whether that row is marked or not."""
    plain = looked(screen)
    marks = frozenset({row or plain.event_id or 0})
    for view in (plain, replace(plain, marks=marks)):
        body = text_of(view, size).splitlines()
        assert sum(line.startswith("►") for line in body) == 1
        assert any("•" in line[:9] and line.startswith("►") for line in body) == bool(view.marks)


@pytest.mark.parametrize("size", SIZES)
def test_the_cursor_of_the_results_is_a_sign(size):
    for job, value in ((1, ".6512"), (5, ".6841")):
        assert f"►{value}" in text_of(looked(RESULTS, job_id=job), size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("screen", [QUEUE, TRIALS, EVENTS])
def test_sort_and_filter_stand_whole_at_the_right_edge(screen, size):
    column = {QUEUE: "best", TRIALS: "architecture", EVENTS: "verb"}[screen]
    wanted = {QUEUE: "2", TRIALS: "!7", EVENTS: "!nothing"}[screen]
    rows = text_of(looked(screen, sort=column, filter=wanted), size).splitlines()
    told = [row for row in rows if f"by {column} ↓  /{wanted}" in row]
    assert len(told) == 1
    assert f"by {column} ↑" in text_of(looked(screen, sort=column, reverse=True), size)
    assert " ↓" not in text_of(looked(screen), size)


def test_a_click_meets_its_row_although_a_sort_adds_a_heading():
    view = looked(QUEUE, sort="best")
    rows = as_text(pictures.frame(view, 60, 15)).splitlines()
    y = next(n for n, row in enumerate(rows) if row.startswith("►"))
    assert queue.rows(view, 60, 12)[y - 2] == view.job_id, "two lines of header, twelve of the queue"


# ---------------------------------------------------------------- keys


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_key_bar_offers_only_what_can_be_done(width):
    from fts.tui import bindings

    done = make_job(1, "2M", 1, "done", best_value=0.6, trials_complete=50, ended_at=NOW - 60)
    offered = {hint.label for hint in bindings.hints(QUEUE, width, make_snapshot(jobs=(done,)), [done], readonly=False)}
    assert "open" in offered
    assert not offered & {"cancel", "pause", "resume", "reorder", "retry", "run next", "drain", "stay"}
    nothing = {hint.label for hint in bindings.hints(QUEUE, width, make_snapshot(), [], readonly=False)}
    assert [hint.label for hint in bindings.hints(LOGS, width, make_snapshot(), [], readonly=False)] == ["command"]
    assert "enqueue" in nothing
    assert not nothing & {"open", "copy", "filter", "cancel"}
    failed = make_job(1, status="failed", ended_at=NOW - 60)
    assert "retry" in {h.label for h in bindings.hints(QUEUE, width, make_snapshot(jobs=(failed,)), [failed], False)}


async def test_keys_before_the_first_read_are_kept_and_done_in_their_order(db_path):
    async with monitor(db_path) as (app, pilot):
        app.poller.stop()
        await pilot.pause()  # what it has sent has arrived
        reading, app.readings.reading = app.readings.reading, None  # as it is before the first read has come
        before = app.navigation.job_id
        await press(pilot, "j", "j", "k", "2")
        assert app.navigation.job_id == before
        assert app.navigation.screen == QUEUE
        assert app.toast[0] == "", "nothing is refused"
        app.readings.reading = reading
        app.presence.catch_up()
        await until(lambda: app.navigation.screen == TRIALS, pilot)
        rows = [job.id for job in app.readings.snapshot.jobs if job.status == "queued"]
        assert app.navigation.job_id in rows, "one row below the running one"
        assert app.presence.early == []


async def test_one_can_leave_before_the_first_read(db_path):
    async with monitor(db_path) as (app, pilot):
        app.readings.reading = None
        await press(pilot, "q")
        assert not app.is_running or app._exit


# ---------------------------------------------------------------- copying


@pytest.mark.parametrize("size", SIZES)
def test_a_long_message_is_read_whole(size):
    message = "copied into tmux's buffer, " + "and a long path " * 5 + "/its/end"
    for view in (looked(QUEUE, toast=message), looked(QUEUE, problem=message)):
        lines = pictures.frame(view, *size)
        assert len(lines) == size[1]
        assert all(sum(formatting.width(text) for text, _ in line) == size[0] for line in lines)
        last = " ".join(row.strip().removesuffix("? help").strip() for row in as_text(lines).splitlines()[-4:])
        assert message in last
        assert "…" not in as_text(lines).splitlines()[-1]


async def test_a_copy_is_told_as_what_was_done(db_path, monkeypatch):
    monkeypatch.setattr(clipboard.os, "environ", {})
    monkeypatch.delenv("TMUX", raising=False)
    async with monitor(db_path, (200, 60)) as (app, pilot):
        await press(pilot, "y")
        await until(lambda: "clip.txt" in app.toast[0], pilot)
        assert app.toast[0].startswith("sent to the terminal's clipboard (OSC 52), saved in ")
        assert "copied" not in shown(app)


def test_in_tmux_the_text_goes_to_its_buffer(tmp_path):
    """By a program of the name tmux, which keeps its arguments and its input: a server would need a terminal."""
    fake = tmp_path / "tmux"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncat > {tmp_path}/buffer\n')
    fake.chmod(0o755)
    environ = {"TMUX": "/tmp/tmux-0/default,1,0", "PATH": f"{tmp_path}:/bin:/usr/bin"}
    assert clipboard.load_tmux_buffer("ümläut\t1\n", environ)
    assert (tmp_path / "buffer").read_text() == "ümläut\t1\n"
    assert (tmp_path / "asked").read_text() == "load-buffer -w -\n"
    assert not clipboard.load_tmux_buffer("x", {"PATH": environ["PATH"]})
    assert not clipboard.load_tmux_buffer("x", environ | {"PATH": str(tmp_path / "nowhere")})


# ---------------------------------------------------------------- gaps


def samples(*spans: tuple[float, float]) -> tuple:
    """One sample a minute from so many minutes ago to so many."""
    return tuple(
        make_sample(at=NOW - 60 * n, available=(30 + n % 7) * GB, temperature=60.0 + n % 7)
        for first, last in spans
        for n in range(int(first), int(last) - 1, -1)
    )


GAPPED = samples((60, 50), (36, 0))  # 14 minutes without a worker


def test_a_line_ends_where_nobody_measured():
    points = tuple((s.at, s.temperature) for s in GAPPED)
    assert [len(run) for run in gaps.unbroken_runs(points)] == [11, 37]
    assert gaps.measured_s(points) == 46 * 60
    assert gaps.unbroken_runs(()) == []
    assert gaps.unbroken_runs(points[:1]) == [points[:1]]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_the_columns_of_a_gap_are_empty_in_every_chart_of_the_hardware(size):
    snapshot = make_snapshot(samples=GAPPED[-1:], workers=(make_worker(),))
    view = View(glances.look(snapshot, NOW), Details(samples=GAPPED), screen=HARDWARE)
    for found in (hardware._memory(GAPPED), hardware._heat(GAPPED)):
        lines = hardware._plot(view, "it, unit", found, None, size[0], 16)[1:-2]
        rows = ["".join(text for text, _ in line)[chart.LABEL + 1 :] for line in lines]
        columns = list(zip(*rows, strict=True))
        drawn = [any("⠀" < char <= "⣿" for char in column) for column in columns]
        gap = slice(int(len(drawn) * 11 / 60), int(len(drawn) * 23 / 60))
        assert not any(drawn[gap]), "14 of 60 minutes"
        assert all(drawn[int(len(drawn) * 0.45) : int(len(drawn) * 0.95)])


def test_a_row_of_bars_has_a_gap_too_and_ends_where_the_samples_end():
    old = GAPPED[:-20]  # the newest is 20 minutes old
    for found in meters.meters(View(glances.look(make_snapshot(samples=GAPPED[-1:]), NOW), Details(samples=GAPPED))):
        if found.history:
            row = formatting.spark(gaps.binned(found.history, 30, NOW))
            assert len(row) == 30
            assert row[7:11].strip() == "", found.name
            assert row[13:].count(" ") == 0
            stopped = formatting.spark(gaps.binned(tuple(p for p in found.history if p[0] <= old[-1].at), 30, NOW))
            assert stopped[-8:].strip() == ""


@pytest.mark.parametrize("columns", [1, 5, 24, 400])
def test_any_number_of_columns_is_filled_where_somebody_measured(columns):
    points = tuple((float(at), float(at % 7)) for at in range(0, 3600, 180))
    found = gaps.binned(points, columns, 3600.0)
    assert len(found) == columns
    assert all(value == value for value in found), "nothing is missing in an hour of regular samples"
    assert max(found) == max(value for _, value in points)


def test_energy_is_not_told_of_the_time_without_a_worker():
    both = samples((600, 500), (100, 0))
    snapshot = make_snapshot(samples=both[-1:], workers=(make_worker(),))
    power = next(
        m for m in meters.meters(View(glances.look(snapshot, NOW), Details(samples=both))) if m.name == "power"
    )
    assert power.limits == ("0.2 kWh in 3 h",)


def test_an_old_sample_is_not_shown_as_the_present():
    silent = make_worker(heartbeat_at=NOW - HOUR)
    for at, worker in ((NOW - HOUR, silent), (NOW + HOUR, make_worker())):  # a worker that died; a clock set back
        snapshot = make_snapshot(samples=(make_sample(at=at),), workers=(worker,))
        found = meters.meters(View(glances.look(snapshot, NOW), Details()))
        assert all(each.part is None for each in found)


# ---------------------------------------------------------------- ages


def worker_row(**changes: object) -> str:
    worker = make_worker(2, started_at=NOW - HOUR, **changes)
    return meters.worker_line(View(glances.look(make_snapshot(workers=(worker,)), NOW)), worker)


def test_the_age_of_a_worker_ends_with_it():
    assert "up 60 min" in worker_row() or "up 1h00" in worker_row()
    assert "after 3 min" in worker_row(status="stopped", stopped_at=NOW - 57 * 60)
    assert "after 3 min" in worker_row(status="stopped", heartbeat_at=NOW - 57 * 60)
    assert "was up 20 min" in worker_row(heartbeat_at=NOW - 40 * 60)
    assert "was up 20 min" in worker_row(heartbeat_at=NOW - 40 * 60, gone=True)
    assert "was up 20 min" in worker_row(status="lost", heartbeat_at=NOW - 40 * 60)


def test_a_worker_has_one_name_on_every_screen_and_in_every_state():
    """Its number; the process only beside it."""
    states = [
        {}, {"status": "stopped", "stopped_at": NOW - 60}, {"heartbeat_at": NOW - 999},
        {"heartbeat_at": NOW - 999, "gone": True}, {"status": "lost"}, {"asked": "drain_job"}, {"guard": "unknown"},
    ]  # fmt: skip
    for n, changes in enumerate(states):
        worker = make_worker(2, pid=31337, **changes)
        snapshot = replace(picture(), workers=(worker,), jobs=tuple(replace(j, worker_id=2) for j in picture().jobs))
        for screen in range(7):
            size = SIZES[(screen + n) % len(SIZES)]  # each screen and each state meets each size
            text = text_of(View(glances.look(snapshot, NOW), Details(), screen=screen, job_id=5), size)
            assert not re.search(r"(?i)worker 31337", text)
            assert text.count("31337") == text.count("pid 31337")


def test_a_trial_of_seconds_took_seconds():
    for seconds, said in ((24.0, "24s"), (600.0, "10m"), (9000.0, "2h30"), (0.2, "<1s")):
        trial = make_trial(1, 5, 1, value=0.6, epochs=1, ended_at=NOW, train_seconds=seconds)
        view = replace(looked(TRIALS), details=Details(job_id=5, trials=(trial,)), trial_id=1)
        assert re.search(rf"\s{said}\s", text_of(view, (120, 40)))


def test_a_baseline_is_told_how_long_it_was_fitted():
    job = make_job(5, "baseline", 3, "done", kind="baseline", best_trial=1, best_value=0.6, ended_at=NOW)
    trial = make_trial(
        1, 5, 1, value=0.6, epochs=0, train_seconds=0.0, started_at=NOW - 7, ended_at=NOW, status=TrialStatus.COMPLETE
    )  # fmt: skip
    view = View(
        glances.look(make_snapshot(jobs=(job,)), NOW), Details(5, (trial,)), screen=TRIALS, job_id=5, trial_id=1
    )
    assert re.search(r"\s7s\s", text_of(view, (120, 40)))


# ---------------------------------------------------------------- lines of a chart


def test_no_two_lines_share_a_sign():
    """Nor with what else stands in a chart, in ASCII either: a line of one style consists of its own signs alone."""
    points = ((0.0, 0.0), (1.0, 1.0))
    drawn = {}
    for style in chart.STYLES:
        plot = chart.Plot((chart.Series(points, "live", style, ends=style == "solid"),), (0.0, 1.0), (0.0, 1.0))
        drawn[style] = as_text(chart.paint(plot, 60, 12, axis=False))
    band = chart.Plot((), (0.0, 1.0), (0.0, 1.0), chart.Band(((0.0, 0.2, 0.6), (1.0, 0.3, 0.9))), level=0.1)
    drawn["area and level"] = as_text(chart.paint(band, 60, 12, axis=False))
    for ascii_only in (False, True):
        signs = {
            name: set(formatting.to_ascii(text) if ascii_only else text) - {" ", "\n"} for name, text in drawn.items()
        }
        assert all(not a & b for a, b in combinations(signs.values(), 2)), signs
    assert chart.STYLES["solid"] in drawn["solid"], "the legend's sign stands at the end of the line"


def test_a_line_ends_where_a_metric_was_due_and_not_told():
    def epochs(told: dict[int, float]):
        return [
            replace(
                each, value=told.get(each.epoch), metrics={"x": told[each.epoch]} if each.epoch in told else {"y": 1.0}
            )
            for each in make_epochs(1, 10, 0.7, NOW)
        ]

    every = {n: n / 10 for n in range(1, 11)}
    assert broken(epochs(every), "x", "x") == points_of(epochs(every), "x", "x")
    gap = broken(epochs({n: value for n, value in every.items() if n not in (4, 5)}), "x", "x")
    assert [x for x, y in gap if y != y] == [4.0], "a break between 3 and 6"
    seldom = broken(epochs({n: every[n] for n in (2, 4, 6, 8, 10)}), "x", "x")
    assert all(y == y for _, y in seldom), "told every second step: nothing is missing"
    assert [x for x, y in broken(epochs({n: every[n] for n in (2, 4, 8, 10)}), "x", "x") if y != y] == [5.0]
    assert broken([], "x", "x") == ()


@pytest.mark.parametrize("overlay", [True, False])
def test_every_line_of_the_race_is_in_its_legend_once(overlay):
    trials = tuple(make_trial(n, 5, n, value=0.68, epochs=9, ended_at=NOW - 60) for n in (*range(1, 8), 12))
    curves = {t.id: make_epochs(t.id, 9, 0.68 + t.id / 1000, NOW) for t in trials}
    snapshot = picture()
    view = View(glances.look(snapshot, NOW), Details(5, trials, curves), job_id=5, overlay=overlay)
    found = learning_curve.comparison_of(view, view.trial)
    plot, _ = learning_curve._plot(view, found, 20, True)
    styles = [series.style for series in plot.series]
    assert len(set(styles)) == len(styles) == (3 if overlay else 1)
    legend = [text for _, text, _ in plot.notes]
    for style in styles:
        assert sum(text.startswith(chart.STYLES[style]) for text in legend) == 1


# ---------------------------------------------------------------- the strip and the help


def test_the_strip_of_a_short_study_is_as_long_as_the_study():
    events = (make_event(1, NOW - 120, "enqueued", 1), make_event(2, NOW - 100, "claimed", 1))
    snapshot = make_snapshot(jobs=(make_job(1),), events=events)
    rows = text_of(View(glances.look(snapshot, NOW)), (120, 40)).splitlines()
    assert rows[4].startswith("last 2 min  08:12 ▕")
    assert rows[4].endswith("▏ 08:14")
    assert "night" not in "".join(rows)
    busy = tuple(make_event(1000 + n, NOW - 100 + n, "trial_complete", 1) for n in range(60))
    snapshot = make_snapshot(jobs=(make_job(1, created_at=NOW - 120),), events=busy)
    assert "last 2 min" in text_of(View(glances.look(snapshot, NOW)), (120, 40))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_help_shows_actions_first_and_says_that_it_goes_on(db_path, size):
    from fts.tui.screens.help import Help
    from tests.tui.stories import dialog_text, opened

    async with monitor(db_path, size) as (app, pilot):
        await press(pilot, "?")
        await until(lambda: opened(app, Help), pilot)
        text = dialog_text(app)
        for label in ("enqueue", "pause", "cancel", "drain"):
            assert label in text, "what can be done stands above the fold"
        assert app.screen.query_one("OptionList").show_vertical_scrollbar


def test_the_end_of_a_baseline_names_no_step_because_it_has_none():
    data = {"number": 3, "value": 0.6288, "cause": "finished"}
    view = View(glances.look(make_snapshot(jobs=(make_job(1),)), NOW))
    for epochs, told in ((0, "t3 complete, .6288"), (12, "t3 complete at ep 12, .6288")):
        event = make_event(1, NOW, "trial_complete", 1, data=data | {"epochs": epochs})
        assert event_list.trial_words(view, event) == told


# ---------------------------------------------------------------- nothing is cut for good


def test_a_long_line_of_a_log_takes_several_rows_and_is_not_cut():
    long = "08:14:02 " + "abcdefghij" * 30
    view = replace(looked(QUEUE), details=replace(looked(QUEUE).details, log=("first", long, "last")))
    rows = ["".join(text for text, _ in row) for row in event_list.log(view, 80, 20)]
    assert "".join(rows) == f"first{long}last"
    assert all(formatting.width(row) <= 80 for row in rows)
    few = ["".join(text for text, _ in row) for row in event_list.log(view, 80, 4)]
    assert few[-1] == "last" and any("…" in row for row in few), "in few rows it leaves room for others, and says so"


def test_long_names_and_values_are_whole_in_the_details(tmp_path):
    path = tmp_path / "work" / "outputs" / "fts.db"
    path.parent.mkdir(parents=True)
    any_study.build_long_names(path)
    view = pictures.look(path, "trials", (120, 40), now=NOW, job_id=1)
    failed = next(trial for trial in view.details.trials if trial.status is TrialStatus.FAILED)
    for trial in (view.details.trials[-1], failed):
        text = "".join(as_text(trials.detail(replace(view, trial_id=trial.id), 46, 80)).split())
        assert "learning_rate_of_the_pretrained_backbone" in text
        assert (trial.message or "").replace(" ", "") in text
    best = next(trial for trial in view.details.trials if trial.number == view.job.best_trial)
    text = "".join(as_text(trials.detail(replace(view, trial_id=best.id), 46, 80)).split())
    assert "x" * 60 in text


@pytest.mark.parametrize(("failed", "words"), [(0, "best t7"), (2, "best t7 · 2 failed")])
def test_a_cell_that_is_done_says_how_many_of_its_trials_failed(failed, words):
    job = make_job(1, status="done", trials_complete=50 - failed, trials_failed=failed, best_trial=7, best_value=0.6)
    assert queue_table.why(View(glances.look(make_snapshot(jobs=(job,)), NOW)), job) == words


def test_a_queued_job_whose_trial_waits_for_a_gpu_is_not_said_to_be_next():
    message = "t0 waits until 1 GPU is free; it left its slot to job 9"
    job = make_job(1, status="queued", attempt=1, cause="drained", message=message)
    view = View(glances.look(make_snapshot(jobs=(job,), workers=(make_worker(heartbeat_at=NOW - 2),)), NOW))
    found = [queue_table.why(view, job, room) for room in (60, 30, 26, 20)]
    short = "waits until 1 GPU is free"
    assert found == [message, f"t0 {short}", short, "waits for GPU/node"]
    for message, brief in (
        ("it needs 2 GPUs besides a slot", ["needs 2 GPUs besides a slot", "waits for GPU/node"]),
        ("the study slow has not said yet what its trials need", ["its study does not answer", "no answer"]),
    ):
        whole = f"{message}; later jobs may start before it"
        job = make_job(1, status="queued", message=whole)
        view = View(glances.look(make_snapshot(jobs=(job,), workers=(make_worker(heartbeat_at=NOW - 2),)), NOW))
        found = [queue_table.why(view, job, room) for room in (100, len(message), len(brief[0]), len(brief[1]))]
        assert found == [whole, message, *brief]
