"""What a screen reader is given: whole sentences, true ones, without signs, columns or units in letters."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from fts.jobs.status import formatting
from fts.jobs.status import sentences as spoken
from fts.jobs.status import summary as glances
from fts.jobs.status.surface import Surface
from fts.state.values import JobStatus, Node, NodeState
from tests.jobs.test_surfaces import STATES
from tests.tui.values import HOUR, NOW, make_job, make_snapshot, make_trial, make_worker, picture

SIGNS = "".join((*formatting.GLYPHS.values(), "★●•·↑↓→█▓▒░┊┃…±°↵▏▕`"))
LETTERS = re.compile(r"\d ?(?:GB|MB|kB|TB|°C|%|s|h|m|d|min|ep)\b|\d%|\bt\d+\b|\bOOM\b| \.\d| {2}")


def told(snapshot, now=NOW) -> list[str]:
    return spoken.sentences(glances.look(snapshot, now, surface=Surface.COMMAND_LINE))


def is_speakable(text: str) -> bool:
    whole = text.endswith((".", "!", "?")) and not text.endswith("..") and text[0] == text[0].upper()
    return whole and not set(text) & set(SIGNS) and not LETTERS.search(text)


@pytest.mark.parametrize("name", STATES)
def test_the_status_of_every_state_can_be_read_aloud(name):
    for text in told(STATES[name]):
        assert is_speakable(text), text


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("88°C > 85°C", "88 degrees, more than 85 degrees"),
        ("212 MB free < 2 GB", "212 megabytes free, less than 2 gigabytes"),
        ("gap 02:10–06:40: 4 h without work", "gap 02:10 to 06:40: 4 hours without work"),
        ("silent for 1 s (last 08:11:02, t23 ep 9)", "silent for 1 second (last 08:11:02, trial 23 epoch 9)"),
        ("Sat 14:20 → Sun 09:00 (+25%)", "Sat 14:20 to Sun 09:00 (+25 percent)"),
        ("best val_loss ↓ .6841 · 6h12", "best val_loss 0.6841, 6 hours 12 minutes"),
        ("`fts retry 6` retries", '"fts retry 6" retries'),
        ("t5-small/h1 and S/t5 keep their names", "t5-small/h1 and S/t5 keep their names"),
        ("lr=.5 and 1.5", "lr=0.5 and 1.5"),
    ],
)
def test_signs_and_units_become_words(short, long):
    assert spoken.aloud(short) == long


def test_a_cell_is_told_with_its_goal_its_trial_and_what_is_left():
    text = next(text for text in told(picture()) if text.startswith("Cell 20M/h3"))
    assert "is running: 22 of 50 trials, best AUC 0.6841 (larger is better), trial 23 has done 9 epochs of 20" in text


def test_several_trials_of_a_cell_are_each_told():
    job = make_job(1, status="running", worker_id=1, lease_until=NOW + 50, started_at=NOW - HOUR)
    trials = tuple(make_trial(n, 1, n, "running", epochs=n) for n in (3, 2))
    (text,) = [t for t in told(make_snapshot(jobs=(job,), trials=trials, workers=(make_worker(),))) if "Cell" in t]
    assert "trial 2 has done 2 epochs of 20, trial 3 has done 3 epochs of 20" in text


def test_what_has_no_end_is_not_told_as_endless():
    done = make_job(1, status="done", ended_at=NOW, trials_complete=50, best_value=0.6, best_trial=1)
    assert "All jobs have ended." in told(make_snapshot(jobs=(done,)))
    held = replace(done, status=JobStatus.QUEUED, ended_at=None, hold_reason="needs 91 GB")
    assert "Nothing else can run: 1 job is held." in told(make_snapshot(jobs=(held,)))
    waiting = replace(held, hold_reason=None)
    paused = make_snapshot(jobs=(waiting,), queue_paused=True)
    assert "There is no end while the queue is paused: 1 job waits." in told(paused)


def test_of_many_jobs_the_most_important_are_told_and_the_others_counted():
    jobs = tuple(make_job(n, "2M", n, "queued") for n in range(1, 2001))
    found = told(make_snapshot(jobs=jobs))
    assert sum(text.startswith("Cell ") for text in found) == spoken.MOST
    assert found[-1] == f"In addition, {2000 - spoken.MOST} jobs queued."


def test_nodes_are_told_and_those_that_take_no_part_by_name():
    up = Node("gpu3", NodeState.UP, NOW, slots=4, heard_at=NOW, trials=("20M/h3 t5",))
    bad = Node("gpu4", NodeState.QUARANTINED, NOW, slots=4, heard_at=NOW, reason="it runs another fts")
    silent = replace(up, id="gpu5", state=NodeState.SILENT, heard_at=NOW - 40, trials=())
    found = told(make_snapshot(nodes=(up, bad, silent)))
    assert found[-3:] == [
        "3 nodes: 1 of 12 slots taken.",
        "Node gpu4 is quarantined: it runs another fts.",
        "Node gpu5 is silent 40 seconds.",
    ]
    assert all(map(is_speakable, found))


def test_a_look_at_the_past_says_so_first():
    past = glances.look(make_snapshot(), NOW, mode="REPLAY 03:12", surface=Surface.COMMAND_LINE)
    assert spoken.sentences(past)[0] == "This is how it was on 23 July at 08:14."
