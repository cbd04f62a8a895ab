"""The monitor on studies of functions: their own axes, metrics and words, and nothing of the study of daily bars."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from fts.jobs.api.function import FunctionStudy
from fts.jobs.functions import declaration
from fts.jobs.mirrors import runs
from fts.jobs.records import columns
from fts.jobs.status import absence
from fts.jobs.status import summary as glances
from fts.state import queries, transitions
from fts.state.db import open_database
from fts.state.values import Cause
from fts.tui import pictures
from fts.tui.data.table_rows import jobs_of, trials_of
from fts.tui.data.trial_time import seconds_of
from fts.tui.data.view import QUEUE, RESULTS, SCREENS, TRIALS, Details, View
from fts.tui.render.text import as_text
from fts.tui.widgets import attempts, front_chart, learning_curve, matrix, slices, trial_table
from tests.tui import any_study
from tests.tui.stories import monitor, press, shown, until
from tests.tui.study import Clock, open_at
from tests.tui.test_golden import check
from tests.tui.values import HOUR, NOW, make_job, make_snapshot

SIZES = ((80, 24), (120, 40))
FOREIGN = re.compile(
    r"\bh0\b|AUC|\bloss\b|prior|vs base|baseline|n_val|windows|sealed|\bnan\b|None|horizon|architecture"
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "work" / "outputs" / "fts.db"
    path.parent.mkdir(parents=True)
    any_study.build(path)
    return path


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    path = tmp_path_factory.mktemp("train") / "work" / "outputs" / "fts.db"
    path.parent.mkdir(parents=True)
    any_study.build(path, only="train")
    return path


def picture(path, screen, size):
    found = pictures.render(path, screen, size, now=NOW, user=any_study.USER, title="spark · work")
    return found.text.replace(str(path.parent.parent), "")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("screen", ["queue", "trials", "curves", "results"])
def test_several_studies_look_as_they_did(path, screen, size):
    check(f"any-{screen}-{size[0]}x{size[1]}", picture(path, screen, size))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("screen", ["queue", "results"])
def test_a_single_study_looks_as_it_did(train, screen, size):
    check(f"one-{screen}-{size[0]}x{size[1]}", picture(train, screen, size))


@pytest.mark.parametrize("size", [*SIZES, (60, 15), (200, 60)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("screen", [name.lower() for name in SCREENS])
def test_no_screen_has_words_of_another_study(path, screen, size):
    text = picture(path, screen, size)
    assert not FOREIGN.findall(text), text


def test_a_cell_without_trials_has_no_words_of_another_study(path):
    snapshot = pictures.look(path, "trials", (120, 40), now=NOW).snapshot
    waiting = [job for job in snapshot.jobs if job.status == "queued" and not job.trials_ended]
    assert waiting
    for job in waiting:
        seen = pictures.look(path, "trials", (120, 40), now=NOW, job_id=job.id)
        text = as_text(pictures.frame(seen, 120, 40))
        assert "has no trial yet" in text
        assert not FOREIGN.findall(text), text


async def test_the_cursor_walks_over_the_headings_of_studies(path):
    async with monitor(path, (120, 40), user=any_study.USER, readonly=True) as (app, pilot):
        await press(pilot, "g")
        seen = [app.navigation.job_id]
        for _ in range(7):
            await press(pilot, "j")
            seen.append(app.navigation.job_id)
        assert sorted(seen) == sorted(job.id for job in app.readings.snapshot.jobs), "every job once, no heading"
        rows = shown(app).splitlines()
        heads = [row for row in rows if re.match(r"   (train|peak|fit) ", row)]
        assert [row.split()[0] for row in heads] == ["peak", "train", "fit"]
        row = next(n for n, text in enumerate(rows) if "cifar/M" in text)
        await pilot.click(offset=(10, row))
        assert app.view().name == "cifar/M", "a click meets the row it was made on"


async def test_m_goes_through_the_metrics_and_back(path):
    async with monitor(path, (120, 40), user=any_study.USER, readonly=True) as (app, pilot):
        await press(pilot, "3")
        await until(lambda: "value ↓ by epoch" in shown(app) and "prune line" in shown(app), pilot)
        for metric in ("accuracy", "grad_norm"):
            await press(pilot, "m")
            await until(lambda metric=metric: f"{metric} by epoch" in shown(app), pilot)
            assert "prune line" not in shown(app), "only the metric that decides has one"
        await press(pilot, "m")
        await until(lambda: "value ↓ by epoch" in shown(app), pilot)


async def test_results_follow_the_selected_study(path):
    async with monitor(path, (120, 40), user=any_study.USER, readonly=True) as (app, pilot):
        await press(pilot, "6")
        assert app.navigation.screen == RESULTS
        wanted = {"train": ("mnist", "cifar", "S  ", " M\n"), "peak": ("height ↑",), "fit": ("4", "16", "64")}
        for study, words in wanted.items():
            app.navigation.job_id = next(job.id for job in app.readings.snapshot.jobs if job.study == study)
            app.paint()
            text = shown(app)
            assert f"results of {study}" in text
            assert all(word in text for word in words)
            assert "★ best of the study" in text


async def test_a_branch_that_drew_no_momentum_has_a_dot(path):
    async with monitor(path, (120, 40), user=any_study.USER, readonly=True) as (app, pilot):
        app.navigation.job_id = next(job.id for job in app.readings.snapshot.jobs if job.cell == "mnist/S")
        await press(pilot, "2")
        assert app.navigation.screen == TRIALS
        await until(lambda: "momentum" in shown(app), pilot)
        rows = [row for row in shown(app).splitlines() if " complete " in row or " pruned " in row]
        assert len(rows) == any_study.TRIALS
        assert all(("·" in row.split("│")[0]) == ("adam" in row.split("│")[0]) for row in rows)


async def test_the_sort_by_cell_and_by_best_follow_axes_and_goal(path):
    async with monitor(path, (120, 40), user=any_study.USER, readonly=True) as (app, pilot):
        assert app.navigation.screen == QUEUE
        await press(pilot, "o", "c")
        names = [job.cell for job in jobs_of(app.view())]
        assert names == ["peak", "mnist/S", "mnist/M", "cifar/S", "cifar/M", "width=16", "width=4", "width=64"]
        await press(pilot, "o", "b")
        names = [job.cell for job in jobs_of(app.view())]
        assert names[:3] == ["peak", "mnist/S", "mnist/M"], "the smallest loss first"


async def test_c_folds_a_study_to_the_row_that_runs_and_unfolds_it(path):
    async with monitor(path, (120, 40), user=any_study.USER, readonly=True) as (app, pilot):
        app.navigation.job_id = next(job.id for job in app.readings.snapshot.jobs if job.cell == "cifar/M")
        await press(pilot, "c")
        await until(lambda: "3 folded, c unfolds" in shown(app), pilot)
        rows = shown(app).split("─ mnist/M t6")[0]
        assert "mnist/M" in rows and "cifar/S" not in rows, "what runs stands for its study"
        assert app.view().name == "mnist/M"
        await press(pilot, "c")
        await until(lambda: "cifar/S" in shown(app), pilot)


def made_front(folder, cells=2, beside=0):
    path = folder / "work" / "outputs" / "fts.db"
    path.parent.mkdir(parents=True)
    any_study.build_front(path, cells=cells, beside=beside)
    return path


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_of_several_goals_the_results_list_the_front(tmp_path, size):
    path = made_front(tmp_path)
    text = pictures.render(path, "results", size, now=NOW, job_id=1, title="here").text
    assert "best loss ↓, the first of 2 goals" in text and "front of width=0" in text
    assert re.findall(r"^ +(t\d) +([\d.]+) +([\d.]+) ", text, re.M) == [
        ("t0", "1.0000", "9.0000"),
        ("t1", "2.0000", "5.0000"),
        ("t3", "4.0000", "2.0000"),
        ("t5", "6.0000", "1.0000"),
    ]
    assert "this is the best one" not in pictures.render(path, "trials", size, now=NOW, job_id=1, title="here").text
    waiting = pictures.render(path, "results", size, now=NOW, job_id=2, title="here").text
    assert "no result yet" in waiting


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_row_of_the_selected_cell_is_in_sight_among_many(tmp_path, size):
    path = made_front(tmp_path, cells=90)
    for job in (1, 44, 90):
        text = pictures.render(path, "results", size, now=NOW, job_id=job, title="here").text
        assert "worst" in text and "█" in text, "signs, and a scrollbar"
        assert re.search(rf"^(width=)?{job - 1} +►", text, re.M)


async def test_the_details_are_those_of_the_trial_under_the_cursor(tmp_path):
    """Of trials without steps, too, before any key was pressed."""
    path = made_front(tmp_path)
    async with monitor(path, (120, 40), user=any_study.USER, readonly=True) as (app, pilot):
        app.navigation.job_id = 1
        await press(pilot, "2")
        await until(lambda: "t5 against the best loss ↓" in shown(app), pilot)
        await press(pilot, "j")
        await until(lambda: "t4 against the best loss ↓" in shown(app), pilot)


def test_an_absence_counts_what_joined_the_front(tmp_path):
    db = open_database(made_front(tmp_path))
    found = absence.away(queries.snapshot(db), NOW, NOW - 2 * HOUR)
    db.close()
    assert found is not None and found.joined == 4 and found.metric == "front" and found.best_after is None


def test_the_line_of_a_study_has_its_sums(tmp_path, path):
    """Cells done, best, time left; of several goals the front."""
    rows = picture(made_front(tmp_path, beside=1), "queue", (120, 40)).splitlines()
    heads = [row.strip() for row in rows if re.match(r"   (net|peak) ", row)]
    assert heads[0].startswith("net  width · front of loss ↓, latency ↓ · 1 of 2 cells done · ")
    assert heads[1] == "peak  best height ↑ · 0 of 1 cell done"
    rows = picture(path, "queue", (120, 40)).splitlines()
    assert any("train  data / size · best value ↓ .2375 (mnist/S) · 1 of 4 cells done · " in row for row in rows)
    narrow = picture(path, "queue", (60, 15)).splitlines()
    assert any(row.startswith("   train  ") and "1 of 4 cells done" in row and "…" not in row for row in narrow)


def test_m_on_results_shows_another_metric_of_the_best_trials(tmp_path):
    view = pictures.look(made_front(tmp_path), "results", (120, 40), now=NOW, job_id=1)
    assert learning_curve.next_metric(view) == ("latency", "")
    other = replace(view, metric="latency")
    assert "latency ↓ of the trial with the best loss ↓" in as_text(pictures.frame(other, 120, 40))
    assert re.search(r"latency ↓\s+width=0 +►9.000 ", as_text(matrix.matrix(other, 100)))
    assert learning_curve.next_metric(other) == ("", "")


def test_the_picture_of_a_front_tells_its_kinds_apart_without_colour(tmp_path):
    view = pictures.look(made_front(tmp_path), "results", (120, 40), now=NOW, job_id=1)
    text = as_text(front_chart.front(view, 80, 20))
    assert "latency ↓ (up) by loss ↓ (across)" in text
    assert "● 4 on the front   · 2 beaten" in text
    body = text.split("beaten", 1)[1]
    assert (body.count("●"), body.count("·"), body.count("✗")) == (4, 2, 0)
    bad = [replace(t, badges=("infeasible",)) if t.number == 2 else t for t in view.details.trials]
    worse = replace(view, details=replace(view.details, trials=tuple(bad)))
    assert "✗ 1 violates a constraint" in as_text(front_chart.front(worse, 80, 20))
    assert not front_chart.front(replace(view, job_id=3), 80, 20), "a cell without a trial has no picture"


def test_slices_show_choices_as_columns_and_powers_of_ten_as_such(path):
    view = pictures.look(path, "results", (120, 40), now=NOW, job_id=2)
    text = as_text(slices.slices(view, 110, 14))
    assert "value ↓ by parameter, 12 trials" in text and "★ best  ● complete  · pruned" in text
    assert "adam" in text and "sgd" in text
    assert text.count("★") >= 2, "the best trial in each picture, and in the legend"
    assert not slices.slices(view, 20, 14) and not slices.slices(view, 110, 4), "no room, no picture"


def test_trials_without_steps_have_a_curve_of_their_values(path):
    peak = pictures.look(path, "curves", (120, 40), now=NOW, job_id=1)
    text = as_text(pictures.frame(peak, 120, 40))
    assert "peak  height ↑ by trial" in text and "● best height ↑ so far 1000.0" in text
    assert "12 trials without epochs, one value each" in text
    assert " ep " not in as_text(trial_table.trials(replace(peak, screen=TRIALS), 100, 10)), "no column of zeros"


def test_attempts_say_when_how_long_why_and_where(tmp_path):
    at = tmp_path / "work" / "outputs" / "fts.db"
    at.parent.mkdir(parents=True)
    any_study.build_attempts(at)
    view = pictures.look(at, "trials", (120, 40), now=NOW, job_id=1)
    text = " ".join(as_text(attempts.attempts(view, view.details.trials[-1], 70)).split())
    assert "3 attempts" in text
    assert "1 07:14:00 for 10 min on spark (pid 100), its worker was lost" in text
    assert "2 07:34:00 for 5 min on spark (pid 101), killed by signal 9" in text
    assert re.search(r"3 07:3\d:\d\d for \d+ min on spark \(pid 102\), has not ended", text)


def test_the_time_of_a_trial_is_that_of_its_processes(tmp_path):
    """Not the time in between, in which nobody worked on it."""
    at = tmp_path / "work" / "outputs" / "fts.db"
    at.parent.mkdir(parents=True)
    any_study.build_attempts(at)
    view = pictures.look(at, "trials", (120, 40), now=NOW, job_id=1)
    (trial,) = view.details.trials
    told = replace(trial, value=0.5, epochs=3)
    worked = seconds_of(view, view.job, told)
    assert worked == 600 + 300 + 35 * 60 < NOW - told.started_at
    longer = replace(told, id=told.id + 1, number=1, ended_at=told.started_at + worked + 1)
    both = replace(view, details=replace(view.details, trials=(longer, told)), sort="minutes")
    assert [trial.number for trial in trials_of(both)] == [0, 1], "sorted by what is shown"


def test_of_many_trials_the_results_and_the_rows_are_whole(tmp_path):
    """More than are read for every screen: front, picture, importance and counts are not those of a few."""
    at = made_front(tmp_path)
    any_study.add_trials(at, 2600)
    view = pictures.look(at, "results", (120, 40), now=NOW, job_id=1)
    text = as_text(pictures.frame(view, 120, 40))
    assert "● 4 on the front" in text and "latest 2000" in text
    assert "importance · 1000 trials" in text
    queue = pictures.look(at, "queue", (200, 60), now=NOW, job_id=1)
    text = as_text(pictures.frame(queue, 200, 60))
    assert "2606/2606 " in text, "a number that is cut would be another one"
    assert "2605 more trials: 2 shows them" in text


def test_what_a_silent_worker_did_is_lost_on_every_screen_and_its_time_stops(path):
    """Four hours later nobody has heard of it: no sign of a running job, no time that goes on."""
    late = NOW + 4 * HOUR
    for screen, row in (
        ("queue", "mnist/M "),
        ("trials", "    6 lost"),
        ("results", "mnist "),
        ("curves", "mnist/M .5375"),
    ):
        text = pictures.render(path, screen, (120, 40), now=late, job_id=3).text
        lines = [line for line in text.splitlines() if row in line]
        assert lines and all("►►" not in line and "6►" not in line for line in lines), (screen, lines)
        assert any("?" in line for line in lines), (screen, lines)
    early, later = (pictures.look(path, "trials", (120, 40), now=at, job_id=3) for at in (NOW + HOUR, late))
    trial = next(t for t in later.trials if t.number == 6)
    took = seconds_of(early, early.job, trial)
    assert took == seconds_of(later, later.job, trial) < HOUR
    (told,) = attempts.attempts(later, trial, 200)[2:]
    assert "".join(text for text, _ in told).endswith("then its worker fell silent")


def test_a_very_long_name_hides_neither_the_verdict_nor_what_happened(tmp_path):
    path = tmp_path / "work" / "outputs" / "fts.db"
    path.parent.mkdir(parents=True)
    any_study.build(path, only="peak")
    db = open_database(path)
    with db.write():
        db.execute_sql("UPDATE job SET cell = ?, experiment = ?", ("L" * 200, "peak_" + "L" * 200))
    db.close()
    text = pictures.render(path, "queue", (80, 24), now=NOW, user=any_study.USER).text
    assert re.search(r"\d\d:\d\d L+…L+ .*(done|complete|best)", text.split("─ events")[1]), "cut in its middle"
    failed = make_job(1, cell="L" * 200, study="x", labels={}, status="failed", cause=Cause.OUT_OF_MEMORY)
    verdict = glances.look(make_snapshot(jobs=(failed,)), NOW).verdict
    assert "…" in verdict.reason and "failed" in verdict.reason and len(verdict.reason) < 120


async def test_o_offers_only_columns_that_the_trials_have(tmp_path):
    path = tmp_path / "work" / "outputs" / "fts.db"
    path.parent.mkdir(parents=True)
    any_study.build(path, only="peak")
    async with monitor(path, (120, 40)) as (app, pilot):
        await press(pilot, "2", "o")
        assert "t number" in app.toast[0] and "v value" in app.toast[0] and "1 x" in app.toast[0]
        assert "architecture" not in app.toast[0], "no trial of a function has one"
        assert "epochs" not in app.toast[0], "no trial of this study reports steps"
        await press(pilot, "a")
        assert "no column a" in app.toast[0] and app.view().sort == ""


def test_a_number_without_a_name_is_the_deciding_metric_whatever_its_name(tmp_path):
    """`trial.report(number, step)` of metrics named as a column of the study of daily bars, and with --prune-by."""
    path = tmp_path / "work" / "outputs" / "fts.db"
    path.parent.mkdir(parents=True)
    goals = {"loss": "minimize", "latency": "maximize"}
    cells = [any_study.cell(name, 1, metric=name) for name in ("val_loss", "seconds", "step", "value", "loss")]
    judged = {"metric": "loss", "goals": goals, "prune_by": "latency", "pruner": "median"}
    cells += [any_study.cell(name, 1, **judged) for name in ("bare", "named")]
    db = open_at(path, Clock(NOW - HOUR))
    with db.write():
        worker = transitions.register_worker(db, "spark", 4242, NOW, 1)
        for cell in cells:
            transitions.enqueue(db, [FunctionStudy(cell.study).row(cell)], who=any_study.USER)
            transitions.declare_study(db, cell.study, declaration([cell]))
            claim = any_study.claimed(db, worker)
            trial = any_study.begin(db, claim, 0, {"x": 0.5})
            for step in range(4):
                metrics = {"loss": 0.1, "latency": 7.0 + step} if cell.study == "named" else {}
                transitions.record_epoch(db, claim, trial, {"epoch": step, "value": 7.0 + step, "metrics": metrics})
            any_study.end(db, claim, trial, "complete", "finished", 7.0)
            transitions.finish_job(db, claim)
    db.close()
    db = open_database(path, readonly=True)
    snapshot, studies = queries.snapshot(db, NOW), queries.studies(db)
    for job, cell in zip(queries.jobs(db), cells, strict=True):
        decides = cell.prune_by or cell.metric
        (trial,) = queries.trials(db, job.id)
        curve, study = queries.epochs(db, trial.id), columns.declared(job.study, studies[job.study])
        view = View(glances.look(snapshot, NOW), Details(job.id, (trial,), {trial.id: curve}), job_id=job.id)
        view = replace(view, trial_id=trial.id, metric=decides)
        assert decides in learning_curve.title(view), cell
        assert [y for _, y in learning_curve.comparison_of(view, trial).live] == [7.0, 8.0, 9.0, 10.0], cell
        assert columns.of_steps(job, curve, study)[0].label == f"{decides} {'↑' if cell.prune_by else '↓'}", cell
        assert [columns.step_tree(each, job)["metric"] for each in curve] == [decides] * 4
        sent = runs.run_of(runs.cells(db, [job])[job.id], trial, curve, (), study).points[0].values
        assert sent == {decides: 7.0} | ({"loss": 0.1} if cell.study == "named" else {}), cell
        if cell.study == "bare":
            assert learning_curve.metrics_of(view, trial) == ["latency"], "no step has a loss"
    db.close()


async def test_a_chart_of_one_value_per_trial_offers_no_keys_of_curves(path):
    peak = next(job.id for job in queries.jobs(open_database(path, readonly=True)) if job.study == "peak")
    async with monitor(path, (120, 40), user=any_study.USER) as (app, pilot):
        app.navigation.choose(peak)
        await press(pilot, "3")
        await until(lambda: "by trial" in shown(app), pilot)
        words = " ".join(f"{hint.key} {hint.label}" for hint in app.view().hints)
        assert words == "y log y w write : command" and "+/-" not in shown(app).split("\n")[5]
        for key in ("+", "-", "h", "l", "s"):
            await press(pilot, "escape", key)
            assert "there is no curve to zoom" in app.view().toast, key
