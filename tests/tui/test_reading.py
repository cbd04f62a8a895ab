"""What is read again when something changes, and what is not."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from contextlib import closing
from dataclasses import replace

import pytest

from benchmarks.monitor import add_jobs
from fts.jobs.status import summary as glances
from fts.jobs.status.formatting import GB
from fts.state import queries, transitions
from fts.state.db import open_database
from fts.state.errors import NoDatabase
from fts.state.transitions.base import emit
from fts.state.values import Claim, Job, Verb
from fts.tui.data import cells
from fts.tui.data.log_tail import LONGEST, MOST_AT_ONCE, Tail
from fts.tui.data.reader import Reader, ReadRequest
from fts.tui.data.trial_store import TrialStore
from fts.tui.data.view import CURVES, EVENTS, HARDWARE, LOGS, View, jobs_by_id
from fts.tui.render.text import as_text
from fts.tui.screens.hardware import day
from fts.tui.widgets import learning_curve
from fts.tui.widgets.meters import meters
from tests.state.helpers import live_trial
from tests.tui import study
from tests.tui.stories import monitor, press, rest, shown, until
from tests.tui.values import make_snapshot, make_worker


@pytest.fixture
def reader(db_path):
    made = Reader(db_path)
    yield made
    made.close()


def claim_of(db, job_id):
    job = queries.job(db, job_id)
    return Claim(job, job.token, job.attempt, job.worker_id)


def test_nothing_is_read_while_nobody_writes(reader):
    request = ReadRequest(user=study.USER, job_id=6)
    assert reader.read(request) is not None
    assert reader.read(request) is None


def test_an_old_event_that_was_undone_since_is_read_again(reader, db_path):
    with closing(open_database(db_path)) as db, db.write():
        failed = next(job.id for job in queries.jobs(db) if job.status == "failed")
        transitions.retry(db, [failed], who=study.USER)
        for n in range(queries.EVENTS_IN_SNAPSHOT):
            transitions.note(db, f"note {n}")

    def retried():
        request = ReadRequest(user=study.USER, job_id=6)
        return [event for event in reader.read(request).snapshot.older if event.verb == "retried"][-1]

    before = retried()
    with closing(open_database(db_path)) as db:
        undone = transitions.undo(db)[0].event_id
    assert (before.undone_by, retried().undone_by) == (None, undone)


def test_a_change_by_somebody_else_is_seen(reader, db_path):
    request = ReadRequest(user=study.USER, job_id=6)
    reader.read(request)
    db = open_database(db_path)
    transitions.operator.note(db, "hello")
    db.close()
    found = reader.read(request)
    assert found is not None
    assert found.snapshot.events[-1].message == "hello"
    assert found.details.events[-1].message == "hello"


def test_another_cell_costs_no_new_snapshot(reader):
    first = reader.read(ReadRequest(job_id=6))
    second = reader.read(ReadRequest(job_id=1))
    assert second.snapshot is first.snapshot
    assert len(second.details.trials) == study.TRIALS
    assert set(second.details.curves) == {trial.id for trial in second.details.trials}


@pytest.mark.parametrize("more", [0, 300])
def test_a_write_has_nothing_cleaned_that_was_clean(reader, db_path, more):
    if more:
        add_jobs(db_path, more)
    request = ReadRequest(user=study.USER)
    reader.read(request)
    db = open_database(db_path)
    transitions.operator.note(db, "hello")
    db.close()
    calls = Counter()
    sys.setprofile(lambda frame, event, _: calls.update([frame.f_code.co_name] if event == "call" else []))
    try:
        reader.read(request)
    finally:
        sys.setprofile(None)
    assert 0 < calls["_clean"] < 1500, "however many jobs wait"


def test_jobs_that_a_write_leaves_as_they_were_are_the_same_objects(reader, db_path):
    request = ReadRequest(user=study.USER, job_id=6)
    first = reader.read(request).snapshot.jobs
    db = open_database(db_path)
    transitions.operator.note(db, "hello")
    assert reader.read(request).snapshot.jobs is first
    transitions.operator.pause(db, [7])
    db.close()
    second = reader.read(request).snapshot.jobs
    before, after = ({job.id: job for job in jobs} for jobs in (first, second))
    assert [id for id in after if after[id] is not before[id]] == [7]
    assert after[7].status == "paused"


async def test_a_monitor_keeps_no_job_of_an_older_snapshot(db_path):
    """Two thousand of them are 7 MB, and every screen that is not shown could keep a set of its own."""
    gc.collect()
    others = [each for each in gc.get_objects() if type(each) is Job]
    known = set(map(id, others))
    db = open_database(db_path)
    async with monitor(db_path, size=(120, 40)) as (app, pilot):
        for round, key in enumerate(["2", "3", "6", "1", "question_mark", "escape", "colon", "escape", "D", "escape"]):
            await press(pilot, key)
            (transitions.operator.resume if round % 2 else transitions.operator.pause)(db, [7, 8, 9])
            status = "queued" if round % 2 else "paused"
            await until(lambda: jobs_by_id(app.readings.snapshot)[9].status == status, pilot)  # noqa: B023  # now
        app.tick()
        await rest(app, pilot)
        now = set(map(id, app.readings.snapshot.jobs))
        gc.collect()
        kept = [each for each in gc.get_objects() if type(each) is Job and id(each) not in known | now]
        assert [(job.id, str(job.status)) for job in kept] == []
    db.close()


def test_a_trial_that_ends_is_added_without_reading_the_others(reader, db_path, monkeypatch):
    request = ReadRequest(job_id=6)
    before = reader.read(request).details
    db = open_database(db_path)
    claim = claim_of(db, 6)
    trial = live_trial(db, 6)
    transitions.finish_trial(db, claim, trial.id, "complete", "finished", value=0.7, best_epoch=4, last_value=0.7)
    study.start_trial(db, study.Clock(0.0), claim, 7)
    db.close()
    monkeypatch.setattr(cells, "_read_cell", lambda *_: pytest.fail("everything was read again"))
    after = reader.read(request).details
    assert [t.number for t in after.trials] == list(range(8))
    assert after.trials[6].value == 0.7
    assert after.trials[0] is before.trials[0]


def test_of_a_cell_that_is_followed_for_weeks_as_much_is_kept_as_of_one_that_is_opened(reader, db_path, monkeypatch):
    monkeypatch.setattr(cells, "MANY_TRIALS", 9)
    monkeypatch.setattr(cells, "MANY_CURVES", 4)
    request = ReadRequest(job_id=6, screen=CURVES)
    assert not isinstance(reader.read(request).details.trials, TrialStore)
    db = open_database(db_path)
    claim = claim_of(db, 6)
    monkeypatch.setattr(cells, "_read_cell", lambda *_: pytest.fail("everything was read again"))
    for number in range(7, 20):
        transitions.finish_trial(db, claim, live_trial(db, 6).id, "complete", "finished", value=0.7)
        study.start_trial(db, study.Clock(0.0), claim, number)
        followed = reader.read(request).details
    db.close()
    monkeypatch.undo()
    monkeypatch.setattr(cells, "MANY_TRIALS", 9)
    monkeypatch.setattr(cells, "MANY_CURVES", 4)
    with closing(Reader(db_path)) as other:
        opened = other.read(request).details
    assert isinstance(followed.trials, TrialStore)
    assert list(followed.trials) == list(opened.trials)
    assert followed.curves == opened.curves and len(opened.curves) == 4 + 1, "the latest and the best one"


def test_of_many_trials_the_curves_of_the_best_and_of_the_chosen_one_are_read(reader, monkeypatch):
    monkeypatch.setattr(cells, "MANY_TRIALS", 3)
    monkeypatch.setattr(cells, "MANY_CURVES", 1)
    found = reader.read(ReadRequest(job_id=4, screen=CURVES))
    job = next(job for job in found.snapshot.jobs if job.id == 4)
    best, first = found.details.trials[job.best_trial], found.details.trials[0]
    assert first.number != job.best_trial and len(found.details.trials) > 3
    assert len(found.details.curves[best.id]) == best.epochs and first.id not in found.details.curves
    chosen = reader.read(ReadRequest(job_id=4, screen=CURVES, trial_id=first.id)).details
    assert len(chosen.curves[first.id]) == first.epochs and best.id in chosen.curves and len(chosen.curves) == 3
    here = reader.read(ReadRequest(job_id=4, trial_id=first.id)).details
    assert list(here.curves) == [best.id] and here.job_id == 4, "the Queue shows the best curve"
    view = View(glances.look(found.snapshot, study.NOW), found.details, screen=CURVES, job_id=4, trial_id=first.id)
    painted = as_text(learning_curve.chart(view, 80, 12))
    assert "reading the curve of t0" in painted and "no epoch" not in painted + learning_curve.summary(view)


def test_the_limits_of_a_trial_that_runs_for_days_are_read_once(reader, db_path, monkeypatch):
    request = ReadRequest(job_id=6)
    db = open_database(db_path)
    trial = live_trial(db, 6)
    emitted = {"job_id": 6, "trial_id": trial.id}
    with db.write():
        emit(db, Verb.TRIAL_FACTS, "worker 1", "runs", data={"memory_soft": 5, "memory_hard": 9}, **emitted)
    for _ in range(300):
        transitions.note(db, "later", who="soak")
    assert reader.read(request).details.limits == {trial.id: (5, 9)}
    real, asked = queries.events, []

    def counted(db, since=None, *more, **named):
        asked.append((since, named.get("trial_id")))
        return real(db, since, *more, **named)

    monkeypatch.setattr(queries, "events", counted)
    transitions.note(db, "one more", who="soak")
    newest = real(db, limit=1)[0].id
    assert reader.read(request).details.limits == {trial.id: (5, 9)}
    assert [since for since, of in asked if of is not None] == [newest - 1]
    with db.write():
        emit(db, Verb.TRIAL_FACTS, "worker 1", "runs again", data={"memory_soft": 4, "memory_hard": 8}, **emitted)
    assert reader.read(request).details.limits == {trial.id: (4, 8)}
    db.close()


def test_an_undone_event_is_shown_as_undone(reader, db_path):
    request = ReadRequest(job_id=6)
    db = open_database(db_path)
    transitions.operator.pause(db, [7])
    reader.read(request)
    transitions.undo(db, 1)
    db.close()
    events = reader.read(request).details.events
    assert next(e for e in events if e.verb == "paused" and e.job_id == 7).undone_by is not None


def test_a_log_is_read_from_where_it_was_left(reader, db_path):
    request = ReadRequest(job_id=6, screen=LOGS, with_log=True)
    lines = reader.read(request).details.log
    assert reader.read(request) is None
    log = next((db_path.parent / "logs").glob("*_6_*.log"))
    with log.open("a") as file:
        file.write("half a li")
    assert reader.read(request).details.log == lines
    with log.open("a") as file:
        file.write("ne\nand another\n")
    assert reader.read(request).details.log == (*lines, "half a line", "and another")


def test_a_log_that_was_cut_is_read_anew(reader, db_path):
    request = ReadRequest(job_id=6, screen=LOGS, with_log=True)
    reader.read(request)
    log = next((db_path.parent / "logs").glob("*_6_*.log"))
    log.write_text("fresh\n")
    assert reader.read(request).details.log == ("fresh",)


def test_a_missing_file_is_a_sentence_and_then_read_when_it_comes_back(reader, db_path):
    reader.read(ReadRequest())
    away = db_path.rename(db_path.with_suffix(".away"))
    with pytest.raises(NoDatabase):
        reader.read(ReadRequest())
    away.rename(db_path)
    assert reader.read(ReadRequest()) is not None


def test_of_a_log_that_grew_by_much_the_end_is_shown_and_of_an_endless_line_little_is_kept(tmp_path):
    path, tail = tmp_path / "trial.log", Tail()
    path.write_text("begin\n")
    tail.read(path)
    with path.open("a") as file:
        file.write(f"{'x' * 99}\n" * (MOST_AT_ONCE // 100 + 1) + "the end\n")
    assert tail.changed()
    tail.read(path)
    assert tail.lines[-1] == "the end" and {len(line) for line in tail.lines} == {7, 99}
    with path.open("a") as file:
        for _ in range(3):
            file.write("\r 50% █████" * 30_000)
            file.flush()
            tail.read(path)
    assert len(tail._rest) <= LONGEST


def test_what_a_replay_has_cut_is_read_again(reader, monkeypatch):
    monkeypatch.setattr(cells, "MANY_TRIALS", 0)  # of such cells only the last one is kept
    live = ReadRequest(user=study.USER, job_id=1, screen=CURVES)
    whole = reader.read(live).details.curves
    at = list(whole.values())[3][2].at  # in the middle of a trial that has ended since
    cut = reader.read(replace(live, at=at)).details.curves
    assert cut != whole
    assert reader.read(live).details.curves == whole


def test_a_replay_leaves_the_journal_as_long_as_it_was(reader, db_path, monkeypatch):
    monkeypatch.setattr(queries, "EVENTS_IN_SNAPSHOT", 5)  # of a replay, whose journal is longer
    request = ReadRequest(user=study.USER, screen=EVENTS)
    journal = reader.read(request).details.events
    then = tuple(event for event in journal if event.at <= journal[30].at)
    assert reader.read(replace(request, at=journal[30].at)).details.events == then != journal
    db = open_database(db_path)
    transitions.operator.note(db, "hello")
    db.close()
    assert reader.read(request).details.events[:-1] == journal


def test_a_peak_between_two_of_the_drawn_samples_is_the_days_peak(db_path):
    """A day is drawn from one sample per three minutes; a minute of 93 °C and of little memory lies between two."""
    clock = study.Clock(study.NOW - 1700)
    db = study.open_at(db_path, clock)
    worker = queries.workers(db)[0].id
    for n in range(170):
        hot, full = 60 <= n < 64, 61 <= n < 65
        transitions.add_sample(
            db, worker, temperature=93.0 if hot else 60.0, total=128 * GB, available=(2 if full else 60) * GB
        )
        clock.pass_s(10)
    db.close()
    reader = Reader(db_path)
    details = reader.read(ReadRequest(screen=HARDWARE, with_day=True, now=study.NOW)).details
    reader.close()
    latest = [sample for sample in details.samples if sample.at > study.NOW - 1700]
    assert {(s.temperature, s.available) for s in latest} == {(60.0, 60 * GB)}, "the peaks are in none of them"
    peaks = [sample for sample in details.peaks if sample.at > study.NOW - 1700]
    assert max(sample.temperature for sample in peaks) == 93.0
    assert min(sample.available for sample in peaks) == 2 * GB
    assert [sample.at for sample in details.peaks] == sorted(sample.at for sample in details.peaks)
    snapshot = make_snapshot(samples=(latest[-1],), workers=(make_worker(id=worker),))
    view = View(glances.look(snapshot, study.NOW), details, screen=HARDWARE)
    (heat,) = [meter for meter in meters(view) if meter.name == "temp"]
    assert "max 93 at " in heat.limits[0]
    assert "most 126 " in as_text(day(view, 100, 30)).splitlines()[0]


async def test_every_screen_is_read_at_every_width(db_path):
    """Below 70 columns the queue has no curve, and trials, curves and logs were never read on their own screens."""
    for size in ((45, 12), (60, 15), (60, 18), (69, 40), (80, 24)):
        async with monitor(db_path, size) as (app, pilot):
            await press(pilot, "2")
            job = app.view().job
            begun = job.trials_ended + 1  # one runs
            await until(lambda begun=begun: len(app.view().trials) == begun and "complete" in shown(app), pilot)
            for key, words in (("3", "●"), ("5", "log phase6a"), ("6", "★")):
                await press(pilot, key)
                await until(lambda words=words: words in shown(app), pilot)
