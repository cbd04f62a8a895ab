"""A machine that slept is told apart from a trial that was paused."""

from __future__ import annotations

from dataclasses import replace

from fts.jobs.status.absence import IDLE, TRAINING, timeline
from fts.jobs.status.concern import Word
from fts.jobs.status.gaps import gaps
from fts.jobs.status.verdict import judge
from fts.state.values import Snapshot
from tests.tui.values import HOUR, NOW, make_epochs, make_event, make_job, make_sample, make_snapshot, make_trial
from tests.tui.values import make_worker as worker


def slept(*events, hours: float = 4.0) -> Snapshot:
    """A trial with an epoch a minute, which wrote nothing for some hours; it woke half an hour ago."""
    epochs = make_epochs(7, 30, 0.69, NOW - 1)
    epochs = tuple(replace(e, at=e.at - hours * HOUR) if e.epoch <= 5 else e for e in epochs)
    running = {"worker_id": 1, "lease_until": NOW + 50, "attempt": 1, "started_at": NOW - 6 * HOUR}
    claimed = make_event(1, NOW - 6 * HOUR, "claimed", 1)
    return make_snapshot(
        jobs=(make_job(1, status="running", **running),), workers=(worker(),), samples=(make_sample(),),
        trials=(make_trial(7, 1, 0, "running", ended_at=None),), epochs=epochs, events=(claimed, *events),
    )  # fmt: skip


def test_a_machine_that_slept_is_told_with_its_hours():
    (gap,) = gaps(slept())
    assert (gap.trial, gap.epoch, round(gap.seconds / HOUR)) == (0, 6, 4)
    found = judge(slept(), NOW)
    assert found.word is Word.LOOK
    assert found.reason.startswith("gap ")
    assert "machine slept or its clock jumped, 4 h without work (t0 ep 6)" in found.reason


def test_slow_epochs_are_no_gap():
    assert not gaps(slept(hours=0.1))


def test_an_interruption_in_the_journal_explains_it():
    assert not gaps(slept(make_event(2, NOW - 2 * HOUR, "trial_resumed", 1)))


def test_a_journal_that_does_not_reach_so_far_back_says_nothing():
    assert not gaps(replace(slept(), events=(make_event(900, NOW - 60, "noted"),)))


def test_once_acknowledged_it_is_no_decision_any_more():
    assert judge(slept(make_event(2, NOW - 60, "acknowledged")), NOW).word is Word.WELL


def test_the_strip_shows_nothing_where_the_machine_slept():
    strip = timeline(slept(), NOW - 6 * HOUR, NOW, 60).cells
    assert strip[0] == TRAINING
    assert set(strip[20:50]) == {IDLE}
    assert strip[-3] == TRAINING
