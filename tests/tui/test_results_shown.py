"""What a value is worth and what a disk holds: baselines, the sealed test set, checkpoints, a trial's limits."""

from __future__ import annotations

import re
import time

import pytest

from fts.jobs.status import summary as glances
from fts.jobs.status.formatting import GB, MB
from fts.state import queries, transitions
from fts.state.db import open_database
from fts.state.values import Claim, Margin, Opening
from fts.tui import pictures
from fts.tui.data.reader import Reader, ReadRequest
from fts.tui.data.view import EVENTS, QUEUE, RESULTS, Details, View
from fts.tui.render.text import as_text
from tests.state.helpers import live_trial
from tests.tui.values import HOUR, NOW, make_event, make_job, make_snapshot, make_trial


def margin(job_id: int, auc: float, low: float, high: float) -> Margin:
    return Margin(
        job_id=job_id, trial=3, rival="logistic regression", rival_job=9, rival_trial=0, n=640, auc=auc, auc_low=low,
        auc_high=high, loss=0.01, loss_low=-0.01, loss_high=0.03, at=NOW,
    )  # fmt: skip


def frame(size, screen=RESULTS, openings=()):
    jobs = [make_job(n, "2M", h, best_value=0.6 + n / 100, best_trial=3) for n, h in ((1, 1), (2, 3), (3, 5))]
    margins = (margin(1, 0.012, -0.004, 0.028), margin(2, -0.071, -0.119, -0.033))
    glance = glances.look(make_snapshot(jobs=tuple(jobs), margins=margins), NOW)
    view = View(glance, Details(openings=tuple(openings)), screen=screen, job_id=1)
    return as_text(pictures.frame(view, *size))


OPENING = Opening("phase6a_2M_h1_threshold_1pct", 1, 3, "ada@lab", NOW - HOUR, None)


@pytest.mark.parametrize(("size", "screen"), [((80, 24), RESULTS), ((120, 40), RESULTS), ((200, 60), QUEUE)])
def test_a_cell_shows_its_distance_to_the_best_baseline_with_its_interval(size, screen):
    text = frame(size, screen)
    assert "+.012 [-.004, +.028]" in text
    assert "-.071 [-.119, -.033]" in text


def test_in_the_pocket_a_distance_that_may_be_chance_has_a_question_mark():
    text = frame((60, 15))
    assert "+.012?" in text
    assert "-.071?" not in text


def test_the_matrix_says_what_the_second_line_is():
    assert "best baseline's (logistic regression), 95 % interval" in frame((120, 40))


def two_tasks(selected: int) -> str:
    other = {"task": "threshold_2pct", "experiment": "phase6a_2M_h1_threshold_2pct"}
    jobs = (
        make_job(1, "2M", 1, best_value=0.61, best_trial=3),
        make_job(2, "2M", 1, best_value=0.72, best_trial=3, **other),
        make_job(3, "base", 1, kind="baseline", best_value=0.83, best_trial=0),
        make_job(4, "base", 1, kind="baseline", best_value=0.94, best_trial=0, **other),
    )  # fmt: skip
    view = View(glances.look(make_snapshot(jobs=jobs), NOW), Details(), screen=RESULTS, job_id=selected)
    return as_text(pictures.frame(view, 80, 24))


def test_the_matrix_and_its_slope_are_of_the_selected_cells_task_alone():
    text = two_tasks(selected=2)
    assert "results of 2pct" in text and "not in this table: 1pct" in text
    assert ".7200" in text and "AUC .9400" in text
    assert ".6100" not in text and ".8300" not in text
    assert "results of 1pct" in two_tasks(selected=1) and "not in this table: 2pct" in two_tasks(selected=3)


def test_the_best_baseline_has_its_name_wherever_it_leads_and_not_the_number_of_a_trial():
    name = "small network (last row)"
    base = make_job(
        9, "base", 1, "done", kind="baseline", trials_wanted=4, trials_complete=4, best_value=0.83, best_trial=2,
        ended_at=NOW - 60, cell="base/h1",
    )  # fmt: skip
    trials = tuple(
        make_trial(
            70 + n, 9, n, value=value, val_auc=value, ended_at=NOW - 90, architecture=name if n == 2 else f"model {n}"
        )
        for n, value in enumerate((0.5, 0.7, 0.83, 0.8))
    )
    events = (
        make_event(1, NOW - 95, "trial_started", 9, trial_id=72, message=f"trial 2 of base starts: {name}",
                   data={"number": 2}),
        make_event(2, NOW - 90, "new_best", 9, trial_id=72, data={"number": 2, "value": 0.83, "before": 0.7}),
        make_event(3, NOW - 60, "finished", 9),
    )  # fmt: skip
    known = make_snapshot(
        jobs=(base, make_job(1, "2M", 1, best_value=0.6, best_trial=3)), trials=(trials[2],), events=events
    )
    for screen, size in ((s, z) for s in (QUEUE, RESULTS, EVENTS) for z in ((60, 18), (80, 24), (120, 40), (200, 60))):
        view = View(glances.look(known, NOW), Details(9, trials), screen=screen, job_id=9, trial_id=72)
        text = as_text(pictures.frame(view, *size))
        assert name[:8] in text or (screen == RESULTS and size[0] < 120), (screen, size, text)  # no room
        assert not re.search(r"best t2|\(t2\)|t2 new best|t2 done|t2: ", text), (screen, size, text)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_a_cell_that_is_done_without_a_best_trial_says_what_became_of_its_trials(size):
    told = "75 trials, all ended early: no complete trial"
    pruned = make_job(1, "2M", 1, "done", trials_wanted=75, trials_pruned=75)

    def shown(*jobs):
        view = View(glances.look(make_snapshot(jobs=jobs), NOW), Details(), screen=RESULTS, job_id=1)
        return " ".join(as_text(pictures.frame(view, *size)).split())

    assert told in shown(pruned) and "has ended yet" not in shown(pruned)
    assert told in shown(pruned, make_job(2, "2M", 3, best_value=0.6, best_trial=3))
    assert told not in shown(make_job(1, "2M", 1, "running", trials_pruned=3))


def test_a_study_of_one_task_names_none():
    assert "results so far" in frame((80, 24)) and "not in this table" not in frame((80, 24))


def test_a_sealed_test_set_is_called_sealed():
    assert "the test set is sealed" in frame((80, 24))


def test_an_opened_test_set_names_who_when_and_for_which_trial():
    text = frame((120, 40), openings=[OPENING])
    assert "test set of 2M/h1 opened 07:14 by ada@lab for t3, not evaluated yet; sealed for every other cell" in text


def test_what_the_one_evaluation_said_stands_beside_it():
    tested = Opening(**{**vars(OPENING), "scores": {"auc": 0.6712, "auc_low": 0.62, "auc_high": 0.72}})
    assert "test AUC .671 [.620, .720]" in frame((120, 40), openings=[tested])
    assert "test set of 2M/h1 opened" in frame((200, 60), QUEUE, [tested])


def test_an_opening_is_read_from_the_database_and_not_before_it_happened(db_path):
    db = open_database(db_path)
    job = queries.job(db, 1)
    transitions.unseal(db, job.id, job.best_trial, who="ada@lab")
    at = db.now()
    time.sleep(0.01)  # the clock of the database counts milliseconds
    transitions.record_test(db, job.experiment, {"auc": 0.61}, "ada@lab")
    db.close()
    reader = Reader(db_path)
    (opened,) = reader.read(ReadRequest(screen=RESULTS)).details.openings
    assert (opened.who, opened.scores) == ("ada@lab", {"auc": 0.61})
    (then,) = reader.read(ReadRequest(screen=RESULTS, at=at)).details.openings
    assert (then.who, then.scores) == ("ada@lab", None)  # opened by then, and not yet evaluated
    assert reader.read(ReadRequest(screen=RESULTS, at=at - 60)).details.openings == ()
    reader.close()


def test_a_full_disk_says_what_checkpoints_weigh_and_what_gc_would_free(db_path):
    trials = db_path.parent / "trials"
    for number, size in ((5, 3 * MB), (6, MB)):
        folder = trials / f"00006_phase6a_20M_h5_threshold_1pct/trial_{number:04d}/checkpoint/checkpoint-000001"
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(b"x" * size)
    db = open_database(db_path)
    transitions.add_sample(db, queries.workers(db)[0].id, available=1, total=2, disk_free=212 * MB)
    db.close()
    reader = Reader(db_path)
    reading = reader.read(ReadRequest())
    reader.close()
    kept = reading.details.kept
    assert (kept.all, kept.freed) == (4 * MB, 3 * MB), "the running trial's checkpoint stays"
    verdict = glances.look(reading.snapshot, NOW, kept=kept).verdict
    assert "disk: 212 MB free < 2.0 GB. Checkpoints 4.0 MB: fts gc frees 3.0 MB" in verdict.reason


def test_the_limits_a_trial_is_kept_within_are_read_from_its_latest_start(db_path):
    db = open_database(db_path)
    job, live = queries.job(db, 6), live_trial(db, 6)
    claim = Claim(job, job.token, job.attempt, job.worker_id)
    marks = {"memory_soft": 2 * GB, "memory_hard": 3 * GB}
    transitions.record_started(db, claim, live.id, {"device": "cpu"}, marks)
    db.close()
    reader = Reader(db_path)
    assert reader.read(ReadRequest(screen=QUEUE)).details.limits == {live.id: (2 * GB, 3 * GB)}
    reader.close()
