"""One word first: do I have to act? A table of situations, worst first."""

import math
from dataclasses import replace

import pytest

from fts.jobs.status.concern import About, Word
from fts.jobs.status.conditions import silent_worker
from fts.jobs.status.disk_usage import Kept
from fts.jobs.status.formatting import MB
from fts.jobs.status.headline import verdict_spans
from fts.jobs.status.summary import look
from fts.jobs.status.verdict import EXIT_CODES, judge
from fts.state.scheduling import FULL_DISK
from fts.state.values import Cause, Node, NodeState
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

RUNNING = {"worker_id": 1, "lease_until": NOW + 50, "attempt": 1, "started_at": NOW - HOUR}


def healthy(**changes):
    """One worker, one running cell, one waiting."""
    jobs = (make_job(1, status="running", **RUNNING), make_job(2, horizon=3))
    return make_snapshot(**{"jobs": jobs, "workers": (make_worker(),), "samples": (make_sample(),)} | changes)


def failed(**changes):
    return make_job(3, "20M", 5, "failed", ended_at=NOW - HOUR, cause=Cause.OUT_OF_MEMORY, **changes)


def restarts(n, job=1, ago=60.0):
    return tuple(make_event(10 * job + i, NOW - ago + i, "trial_restarted", job, trial_id=7) for i in range(n))


SITUATIONS = {
    "all is well": (healthy(), Word.WELL, "running"),
    "no database rows": (make_snapshot(), Word.IDLE, "empty"),
    "a failed cell nobody has seen": (healthy(jobs=(*healthy().jobs, failed())), Word.LOOK, "20M/h5 failed"),
    "a failed cell somebody has seen": (
        healthy(jobs=(*healthy().jobs, failed(acknowledged_at=NOW))), Word.WELL, "running"),
    "a cell that can never fit": (
        healthy(jobs=(*healthy().jobs, make_job(4, "2B", hold_reason="needs 91 GB"))), Word.LOOK, "needs 91 GB"),
    "a node that fts has quarantined": (
        healthy(nodes=(Node("gpu5", NodeState.QUARANTINED, NOW - 9, reason="it runs another fts"),)),
        Word.LOOK, "gpu5 is quarantined: it runs another fts; `fts nodes release gpu5` opens it"),
    "a node that a person has quarantined, and one that was lost once": (
        healthy(nodes=(Node("a", NodeState.QUARANTINED, NOW, reason="by me"), Node("b", NodeState.LOST, NOW))),
        Word.WELL, "running"),
    "a quarantined node that somebody has seen": (
        healthy(nodes=(Node("gpu5", NodeState.QUARANTINED, NOW - 9, reason="two losses"),),
                events=(make_event(1, NOW - 5, "acknowledged"),)),
        Word.WELL, "running"),
    "a launch command that starts no agent": (
        healthy(nodes=(Node("srun", NodeState.LOST, NOW, reason="no agent comes up on srun: no such partition",
                            failures=3),)),
        Word.LOOK, "no such partition (3 times)"),
    "a silent worker while a cell runs": (
        healthy(workers=(make_worker(heartbeat_at=NOW - 180),)), Word.ACT, "silent for 3 min"),
    "a worker that died before the clock was set back": (
        healthy(workers=(make_worker(heartbeat_at=NOW + 3 * HOUR),)), Word.ACT, "silent since the clock was set back"),
    "a guard that was cooling when its worker died": (
        healthy(workers=(make_worker(heartbeat_at=NOW - 600, guard="cooling", guard_message="86 °C"),)),
        Word.ACT, "silent for 10 min"),
    "restarts of yesterday, after the clock was set back": (
        healthy(events=restarts(4, ago=-24 * HOUR)), Word.WELL, "running"),
    "a silent worker with nothing to do": (
        make_snapshot(jobs=(make_job(status="done", ended_at=NOW - 5),),
                      workers=(make_worker(heartbeat_at=NOW - 999),)),
        Word.IDLE, "finished"),
    "one of two workers silent": (
        healthy(workers=(make_worker(), make_worker(2, heartbeat_at=NOW - 999))), Word.WELL, "running"),
    "a disk that is almost full": (healthy(samples=(make_sample(disk_free=212 * MB),)), Word.ACT, "212 MB free"),
    "a disk nobody can measure": (healthy(samples=(make_sample(disk_free=None),)), Word.WELL, "running"),
    "a guard that paused just now": (
        healthy(workers=(make_worker(guard="frozen", guard_message="88°C > 85"),)), Word.LOOK, "88°C"),
    "a guard that paused 40 minutes ago": (
        healthy(workers=(make_worker(guard="frozen"),),
                events=(make_event(1, NOW - 2400, "guard", data={"new": "frozen", "worker_id": 1}),)),
        Word.ACT, "guard frozen"),
    "three workers lost within an hour": (
        healthy(events=tuple(make_event(n, NOW - n * 600, "worker_lost") for n in range(3, 0, -1))),
        Word.ACT, "crash loop"),
    "three workers lost, and all jobs are done": (
        make_snapshot(jobs=(make_job(status="done", ended_at=NOW - 5),),
                      events=tuple(make_event(n, NOW - n * 600, "worker_lost") for n in range(3, 0, -1))),
        Word.IDLE, "finished"),
    "a slot that is stuck": (
        healthy(events=(make_event(1, NOW - 600, "slot_stuck",
                                   data={"worker_id": 1, "slot": 0, "quiet_s": 1200, "place": "in f (x, line 3)"}),)),
        Word.ACT, "worker 1: slot 0 has done nothing for 30 min: it is in f (x, line 3). `kill -9"),
    "a slot that works again": (
        healthy(events=tuple(make_event(n, NOW - 600 + n, verb, data={"worker_id": 1, "slot": 0})
                             for n, verb in ((1, "slot_stuck"), (2, "slot_works")))),
        Word.WELL, "running"),
    "another slot that works again": (
        healthy(events=tuple(make_event(n, NOW - 600 + n, verb, data={"worker_id": 1, "slot": n})
                             for n, verb in ((1, "slot_stuck"), (2, "slot_works")))),
        Word.ACT, "slot 1 has done nothing for"),
    "a stuck slot of a worker that was ended": (
        healthy(workers=(make_worker(2),),
                events=(make_event(1, NOW - 600, "slot_stuck", data={"worker_id": 1, "slot": 0}),)),
        Word.WELL, "running"),
    "two workers lost": (
        healthy(events=tuple(make_event(n, NOW - n * 600, "worker_lost") for n in (2, 1))), Word.WELL, "running"),
    "a trial process that keeps dying": (
        healthy(trials=(make_trial(7, 1, 4, "running"),), events=restarts(4)),
        Word.ACT, "crash loop: t4 of 2M/h1 restarted 4 times within an hour"),
    "two restarts of one trial": (healthy(events=restarts(2)), Word.WELL, "running"),
    "restarts of two cells": (
        healthy(events=(*restarts(2), *restarts(2, job=2))), Word.WELL, "running"),
    "restarts of long ago": (healthy(events=restarts(4, ago=HOUR + 300)), Word.WELL, "running"),
    "a cell that is over and restarted before": (
        healthy(jobs=(*healthy().jobs, make_job(3, status="done", ended_at=NOW - 9)), events=restarts(4, job=3)),
        Word.WELL, "running"),
    "failed again after a retry": (
        healthy(jobs=(*healthy().jobs, failed()),
                events=(make_event(1, NOW - 9000, "failed", 3), make_event(2, NOW - 8000, "retried", 3),
                        make_event(3, NOW - HOUR, "failed", 3))),
        Word.ACT, "again"),
    "retried but not failed again": (
        healthy(jobs=(*healthy().jobs, replace(failed(), status=make_job().status)),
                events=(make_event(1, NOW - 9000, "failed", 3), make_event(2, NOW - 8000, "retried", 3))),
        Word.WELL, "running"),
    "no progress for long": (
        healthy(trials=(make_trial(1, 1, 4, "running", epochs=5),), epochs=make_epochs(1, 5, 0.68, NOW - 1500)),
        Word.LOOK, "no epoch for 25 min"),
    "slow but usual": (
        healthy(trials=(make_trial(1, 1, 4, "running", epochs=5),),
                epochs=make_epochs(1, 5, 0.68, NOW - 1500, seconds=1200.0)), Word.WELL, "running"),
    "waiting without any worker": (make_snapshot(jobs=(make_job(),)), Word.LOOK, "no worker"),
    "waiting after a drain": (
        make_snapshot(jobs=(make_job(),),
                      workers=(make_worker(status="stopped", asked="drain_trial", stopped_at=NOW - 60),)),
        Word.LOOK, "drained"),
    "waiting after a lost worker": (
        make_snapshot(jobs=(make_job(),), workers=(make_worker(status="lost"),)), Word.ACT, "worker lost"),
    "a paused queue": (
        make_snapshot(jobs=(make_job(),), queue_paused=True, queue_paused_reason="by hand"), Word.IDLE, "paused"),
    "a worker paused the queue": (
        make_snapshot(jobs=(make_job(),), queue_paused=True, queue_paused_reason="disk: 3 MiB left"),
        Word.ACT, "paused by a worker, disk: 3 MiB left. Make room, then P resumes it"),
    "a worker met a link": (
        make_snapshot(jobs=(make_job(),), queue_paused=True, queue_paused_reason="disk: trials is not followed"),
        Word.ACT, "disk: trials is not followed. Fix that, then P resumes it"),
    "a worker met a disk that fails": (
        healthy(jobs=(make_job(),), queue_paused=True, queue_paused_reason="disk: /o reports an input/output error"),
        Word.ACT, "reports an input/output error. Fix that, then P resumes it"),
    "a worker met a disk without inodes, which has bytes left": (
        healthy(jobs=(make_job(),), samples=(make_sample(disk_free=43 * MB),), queue_paused=True,
                queue_paused_reason="disk: a checkpoint needs 1.1 MB; it has 43 MB free but no free inodes"),
        Word.ACT, "43 MB free but no free inodes. Make room, then the worker continues by itself (P: at once)"),
    "everything paused": (make_snapshot(jobs=(make_job(status="paused"),)), Word.IDLE, "1 paused"),
    "everything done": (
        make_snapshot(jobs=(make_job(status="done", ended_at=NOW - 60),)), Word.IDLE, "finished"),
    "done, and some were cancelled": (
        make_snapshot(jobs=(make_job(status="done", ended_at=NOW), make_job(2, status="cancelled", ended_at=NOW),
                            make_job(3, status="cancelled", ended_at=NOW))),
        Word.IDLE, ": 1 result, 2 cancelled; w writes it"),
    "the picture of the specification": (picture(), Word.LOOK, "20M/h5 failed"),
}  # fmt: skip


@pytest.mark.parametrize(("snapshot", "word", "part"), SITUATIONS.values(), ids=SITUATIONS.keys())
def test_the_verdict(snapshot, word, part):
    found = judge(snapshot, NOW)
    assert (found.word, part in found.reason) == (word, True), found.reason


@pytest.mark.parametrize(
    ("who", "order", "how"),
    [
        ("SIGINT to process 7", "stop", "stopped by Ctrl-C"),
        ("SIGTERM to process 7", "stop", "stopped by SIGTERM"),
        ("SIGUSR1 to process 7", "drain_trial", "drained"),
        ("you@spark", "stop", "stopped by you@spark"),
        ("you@spark", "drain_job", "drained"),
    ],
)
def test_a_worker_that_left_says_how_it_came_to(who, order, how):
    asked = make_event(1, NOW - 90, "worker_asked", who=who, data={"workers": [1], "asked": order})
    left = make_event(2, NOW - 60, "worker_stopped", who="worker 1", data={"worker_id": 1, "asked": order})
    gone = make_worker(status="stopped", stopped_at=NOW - 60)
    verdict = judge(make_snapshot(jobs=(make_job(),), workers=(gone,), events=(asked, left)), NOW)
    assert f"worker {how} at" in verdict.reason


def test_old_data_blind_whatever_they_say():
    assert judge(healthy(), NOW, read_age_s=15.5).word is Word.BLIND
    assert judge(healthy(), NOW, read_age_s=14).word is Word.WELL


def test_an_unknown_schema_blinds_at_once():
    assert judge(healthy(), NOW, problem="the file has schema 9, this fts reads schema 1").word is Word.BLIND


def test_a_busy_database_does_not_blind_for_15_seconds():
    assert judge(healthy(), NOW, read_age_s=4, problem="the database is locked").word is Word.WELL


def test_what_was_never_read_blinds_at_once():
    found = judge(make_snapshot(), NOW, read_age_s=math.inf, problem="fts.db is damaged; restore the newest backup")
    assert (found.word, found.reason) == (Word.BLIND, "fts.db is damaged; restore the newest backup")
    assert [concern.word for concern in found.concerns] == [Word.BLIND], "an empty picture is no empty queue"


def test_blind_accuses_nobody_of_what_it_cannot_see():
    """The worker beat two seconds before the last good read; that was 40 s ago."""
    found = judge(healthy(workers=(make_worker(heartbeat_at=NOW - 42),)), NOW, read_age_s=40, problem="no disk")
    assert [concern.word for concern in found.concerns] == [Word.BLIND]


def test_a_worker_that_waits_for_the_lock_of_another_is_not_silent():
    def locked(silent_s, word):
        snapshot = healthy(workers=(make_worker(heartbeat_at=NOW - silent_s),))
        found = judge(snapshot, NOW, locked_by="process 30943 (python)")
        assert found.word is word
        assert (
            found.reason == "database locked by process 30943 (python): worker 1 (pid 4242) waits, training continues"
        )
        assert len(found.concerns) == 1
        assert found.decisions == 1

    locked(11, Word.LOOK)
    locked(119, Word.LOOK)
    locked(121, Word.ACT)


def test_a_worker_that_a_full_disk_keeps_from_beating_is_not_silent():
    found = judge(healthy(workers=(make_worker(heartbeat_at=NOW - 30),)), NOW, locked_by=FULL_DISK)
    assert (found.word, len(found.concerns)) == (Word.ACT, 1)
    assert found.reason.startswith("disk full: worker 1 waits and continues by itself")


@pytest.mark.parametrize("kept", [None, Kept(10**11, 0), Kept(10**11, 74 * 10**9)])
def test_a_full_disk_names_its_cure_at_80_and_120_columns(kept):
    why = f"disk: /home/a/long/path{'/x' * 40} cannot be written: the disk of /home/a/long is full, 0 bytes are free"
    paused = make_snapshot(jobs=(make_job(),), queue_paused=True, queue_paused_reason=why)
    with_worker = healthy(jobs=(make_job(),), queue_paused=True, queue_paused_reason=why)
    silent = healthy(workers=(make_worker(heartbeat_at=NOW - 30),))
    cure = "fts gc frees" if kept else "Make room"

    def told(snapshot, width, locked_by=None):
        spans = verdict_spans(look(snapshot, NOW, kept=kept, locked_by=locked_by), width)
        return "".join(text for text, _ in spans)

    for width in (80, 120):
        assert cure in told(paused, width) and "P resumes it" in told(paused, width)
        assert (cure if kept else "free space") in told(silent, width, FULL_DISK)
    assert cure in told(with_worker, 120) and "the worker continues by itself" in told(with_worker, 120)
    assert judge(paused, NOW, kept=kept).reason.lower().count("make room") == 1


def test_a_lock_is_asked_about_only_while_a_worker_is_silent():
    assert silent_worker(healthy(), NOW) is None
    assert silent_worker(healthy(workers=(make_worker(heartbeat_at=NOW - 9),)), NOW) is None
    assert silent_worker(healthy(workers=(make_worker(heartbeat_at=NOW - 11),)), NOW).pid == 4242
    assert silent_worker(healthy(workers=(make_worker(heartbeat_at=NOW - 11, status="stopped"),)), NOW) is None
    two = healthy(workers=(make_worker(), make_worker(2, heartbeat_at=NOW - 999)))
    assert silent_worker(two, NOW) is None, "somebody could write a moment ago"


def test_the_worst_comes_first_and_the_others_are_counted():
    both = healthy(jobs=(*healthy().jobs, failed()), samples=(make_sample(disk_free=1),))
    found = judge(both, NOW)
    assert found.word is Word.ACT
    assert found.decisions == 2


def test_each_word_has_its_exit_code():
    assert [EXIT_CODES[word] for word in Word] == [0, 10, 11, 12, 13]


def test_a_verdict_names_the_key_that_deals_with_it():
    assert judge(healthy(events=restarts(3)), NOW).key == "5"
    assert judge(healthy(jobs=(*healthy().jobs, failed())), NOW).key == "r"
    assert judge(make_snapshot(), NOW).key == "e"


def test_a_trial_that_was_just_continued_is_not_called_stuck():
    """Its last step is from before the interruption; of a function whose steps tell no seconds, too."""
    epochs = tuple(replace(e, seconds=float("nan")) for e in make_epochs(23, 9, 0.69, NOW - 3 * HOUR))
    quiet = replace(picture(), epochs=epochs)
    assert "no progress" in [concern.short for concern in judge(quiet, NOW).concerns]
    resumed = make_event(90, NOW - 60, "trial_resumed", 5, trial_id=23)
    again = replace(quiet, events=(*quiet.events, resumed))
    assert "no progress" not in [concern.short for concern in judge(again, NOW).concerns]


def test_of_slow_steps_that_tell_no_seconds_none_is_called_stuck():
    epochs = tuple(
        replace(e, seconds=float("nan"), at=NOW - 600 - (9 - n) * 1200)
        for n, e in enumerate(make_epochs(23, 9, 0.69, NOW), start=1)
    )
    slow = replace(picture(), epochs=epochs)
    late = NOW + 3000
    assert "no progress" not in [concern.short for concern in judge(replace(slow, taken_at=late), late).concerns]


def test_a_lost_worker_after_one_that_stopped_is_one_concern():
    crew = (make_worker(2, status="lost"), make_worker(1, status="stopped", stopped_at=NOW - HOUR))
    found = judge(make_snapshot(jobs=(make_job(1),), workers=crew), NOW)
    assert (found.word, found.decisions, found.reason) == (Word.ACT, 1, "worker lost; 1 waiting. W starts one")


def test_a_job_whose_trial_waits_is_not_said_to_run():
    wait = make_event(7, NOW - 20, "waits", 1, trial_id=3, message="t3 waits for a node: " + "x" * 200)
    found = judge(healthy(events=(wait,)), NOW)
    assert found.word is Word.WELL and found.short == "2M/h1 waits"
    assert found.reason.startswith("2M/h1 since 08:13: t3 waits for a node: x") and "xx…; 1 waiting. " in found.reason
    other = make_job(4, horizon=5, status="running", **RUNNING)
    found = judge(healthy(jobs=(*healthy().jobs, other), events=(wait,)), NOW)
    assert found.reason.startswith("2M/h5 running; 2M/h1 since 08:13: ") and found.short == "2M/h5 running, 2M/h1 waits"
    several = replace(healthy().jobs[0], spec={**healthy().jobs[0].spec, "parallel": 4})
    assert judge(healthy(jobs=(several,), events=(wait,)), NOW).short == "2M/h1 running"


def test_a_guard_is_named_that_a_live_worker_is_and_a_cause_that_is_one():
    """Nobody guards a machine without a worker; `failed: finished` names no cause."""
    gone = make_worker(2, status="stopped", guard="ok")
    dead = make_worker(3, heartbeat_at=NOW - 600, guard="cooling")
    lost = failed(), make_job(4, status="done", ended_at=NOW - HOUR)
    for workers, expected in (
        ((), "No worker, 1 other cell fine."),
        ((gone, dead), "No worker, 1 other cell fine."),
        ((make_worker(guard="ok"), dead), "Worker 1 alive, guard ok, 1 other cell fine."),
    ):
        assert judge(make_snapshot(jobs=lost, workers=workers), NOW).reason.endswith(expected)
    none = replace(failed(), cause=Cause.FINISHED)
    assert judge(make_snapshot(jobs=(none,)), NOW).reason.startswith("20M/h5 failed: no result (")
    assert not [c for c in judge(make_snapshot(jobs=lost, workers=(dead,)), NOW).concerns if c.about is About.GUARD]
