"""People name cells, not numbers of jobs."""

from dataclasses import replace

import pytest

from fts.jobs.status import summary as glances
from fts.jobs.status.naming import is_named, name_cells
from fts.tui.data.view import View
from fts.tui.widgets.event_list import event_words
from tests.tui.values import NOW, make_event, make_job, make_snapshot

JOBS = [make_job(7, "200M", 1), make_job(8, "200M", 3), make_job(11, "2M", 1), make_job(12, "2M", 1)]
LONG = "phase6a_200M_h1_threshold_1pct"


@pytest.mark.parametrize(("text", "said"), [
    (f"job 7 ({LONG}): paused", "200M/h1: paused"),
    ("jobs 7, 8 acknowledged", "200M/h1, 200M/h3 acknowledged"),
    ("jobs 7, 8 and 2 more", "200M/h1, 200M/h3 and 2 more"),
    ("job 8 is running and cannot be moved", "200M/h3 is running and cannot be moved"),
    (f"new best of {LONG}: val_auc 0.6", "new best of 200M/h1: val_auc 0.6"),
    ("job 99 is not there", "job 99 is not there"),
    ("jobs 7, 99 moved", "jobs 7, 99 moved"),
    ("job 11 moved", "2M/h1#11 moved"),
    ("the joblist has 7 entries", "the joblist has 7 entries"),
])  # fmt: skip
def test_cells_are_named(text, said):
    assert name_cells(text, JOBS) == said


@pytest.mark.parametrize("study", ["e", "t", "trial", "worker", "best", "test", "of", "job", "1", "new.best"])
def test_a_study_with_a_short_or_common_name_changes_no_other_word(study):
    """Two searches of one study: the names are `e#1` and `e#2`."""
    jobs = [replace(make_job(n, "2M", 1), experiment=study, cell=study, study=study) for n in (1, 2)]
    name = f"{study}#2"
    for text, said in (
        (f"trial 3 of {study} starts: trial of a test", f"trial 3 of {name} starts: trial of a test"),
        (f"new best of {study}: value .5 (trial 3)", f"new best of {name}: value .5 (trial 3)"),
        (f"worker 1 takes {study}, attempt 1", f"worker 1 takes {name}, attempt 1"),
        (f"trial 3 joins the front of {study}: loss .5", f"trial 3 joins the front of {name}: loss .5"),
        (f"ada opened the test set of {study} for trial 3", f"ada opened the test set of {name} for trial 3"),
        (f"{study} on its test set: loss .5", f"{name} on its test set: loss .5"),
        (f"{study} is job 2", f"{name} enqueued"),
        (f"{study}: 4 trials instead of 3", f"{name}: 4 trials instead of 3"),
        (f"job 2 ({study}): paused", f"{name}: paused"),
    ):
        assert name_cells(text, jobs, 2) == said
        assert is_named(text, jobs[1])
    for text in ("t3 starts over: crashed, the best test of a trial", "trial 3 failed: a worker ended 1 job of ten"):
        assert name_cells(text, jobs, 2) == text
        assert not is_named(text, jobs[1])


def test_undo_quotes_a_change_with_the_name_of_its_cell():
    jobs = [replace(make_job(2), experiment=LONG, cell="200M/h1")]
    for text in (f"undo of '{LONG} is job 2' by ada", f"redo of '{LONG}: 4 trials instead of 3' by ada",
                 f"u: cannot undo '{LONG}: 4 trials': it runs", f"something else was changed since ({LONG}: 4 trials)",
                 f"u: the latest change is another one, {LONG} is job 2: 9 s ago by ada"):  # fmt: skip
        assert name_cells(text, jobs, 2) == text.replace(LONG, "200M/h1").replace("is job 2", "enqueued")


def test_a_cell_with_an_odd_name_is_replaced_once():
    for cell in ("job 1", "best of e", "trial 3 of e", r"\g<0>", "a.*b (", "ü ö"):
        jobs = [replace(make_job(n), experiment="e", cell=cell, study="e") for n in (1, 2)]
        assert (
            name_cells("trial 3 of e starts, job 1 (e) waits", jobs, 2) == f"trial 3 of {cell}#2 starts, {cell}#1 waits"
        )


def test_a_note_is_shown_as_a_person_wrote_it():
    job = replace(make_job(2), experiment="e", cell="2M/h1", study="e")
    text, snapshot = "best of e: look at job 2", make_snapshot(jobs=(job,))
    view = View(glances.look(snapshot, NOW))
    for of, told in ((None, text), (2, f"2M/h1 {text}")):
        assert event_words(view, make_event(9, NOW, "noted", of, message=text)) == told
    assert event_words(view, make_event(9, NOW, "guard", None, message=text)) == "best of 2M/h1: look at 2M/h1"


def test_a_gain_that_four_decimals_would_show_as_zero_keeps_its_digits():
    job, text = replace(make_job(2), cell="2M/h1"), "new best of e: value .5 (trial 3)"
    view = View(glances.look(make_snapshot(jobs=(job,)), NOW))
    for before, gain in ((0.5000082, "(-8.2e-6)"), (0.4968, "(+.0032)"), (13.0, "(-12.5)")):
        data = {"number": 3, "value": 0.5, "before": before}
        told = event_words(view, make_event(9, NOW, "new_best", 2, message=text, data=data))
        assert told.endswith(gain), told
