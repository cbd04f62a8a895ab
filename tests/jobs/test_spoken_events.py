"""What a screen reader is given of each event: one whole sentence that says who did what to which cell."""

from __future__ import annotations

import re

import pytest

from fts.jobs.status.event_sentences import CLAUSES, event_sentence
from fts.state import queries
from fts.state.db import open_for_reading
from fts.state.values import Verb
from tests.jobs.test_spoken import is_speakable
from tests.tui import any_study, study
from tests.tui.values import NOW, make_event, make_job, make_snapshot

JOB = make_job(7, "2B", 3, "paused")
HERE = make_snapshot(jobs=(JOB,))
NAMED = f"job 7 ({JOB.experiment})"
EXPERIMENT = JOB.experiment
CLOCK = re.compile(r"(?:On \d+ \w+ at|At) \d\d:\d\d:\d\d, ")

# verb, who, message of the transition, data -> sentence after the time
KINDS = [
    (Verb.ENQUEUED, "you@spark", f"{EXPERIMENT} is job 7, held: needs 91 GB", {},
     'you@spark enqueued 2B/h3; it is held with the reason "needs 91 gigabytes".'),
    (Verb.CHANGED, "you@spark", f"{EXPERIMENT}: seeds 2 instead of 1", {},
     "you@spark changed 2B/h3; seeds 2 instead of 1."),
    (Verb.EXTENDED, "you@spark", f"{EXPERIMENT}: 20 trials instead of 10; it was done and is back in line", {},
     "you@spark extended 2B/h3; 20 trials instead of 10; it was done and is back in line."),
    (Verb.CLAIMED, "worker 1", f"worker 1 takes {EXPERIMENT}, attempt 1", {}, "worker 1 takes 2B/h3, attempt 1."),
    (Verb.PASSED_OVER, "worker 1", "jobs 3, 4: it needs 1 GPU besides a slot; later jobs may start before it", {},
     "jobs 3, 4; it needs 1 GPU besides a slot; later jobs may start before it."),
    (Verb.RELEASED, "sweep", "released: lost_worker, worker 1 on spark was lost: no heartbeat", {},
     '2B/h3 is back in the queue; the cause is "lost worker, worker 1 on spark was lost: no heartbeat".'),
    (Verb.PARKED, "worker 1", "3 attempts without an epoch; `fts retry 7` continues the same trials", {},
     "2B/h3 failed before it began; the cause is \"3 attempts without an epoch; 'fts retry 7' continues the same"
     ' trials".'),
    (Verb.HELD, "worker 1", "needs 91 GB, 20 GB allowed", {},
     '2B/h3 is held with the reason "needs 91 gigabytes, 20 gigabytes allowed".'),
    (Verb.UNHELD, "you@spark", f"{NAMED}: no longer held (needs 91 GB)", {},
     'you@spark lets 2B/h3 start, which was held with the reason "needs 91 gigabytes".'),
    (Verb.FINISHED, "worker 1", "all trials have ended", {}, "2B/h3 is done; all trials have ended."),
    (Verb.FAILED, "worker 1", "ValueError: a: b", {}, '2B/h3 failed; the cause is "ValueError: a: b".'),
    (Verb.MOVED, "you@spark", "job 7 moved to place 1", {}, "you@spark moved 2B/h3 to place 1."),
    (Verb.PAUSED, "you@spark", f"{NAMED}: paused", {}, "you@spark paused 2B/h3."),
    (Verb.PAUSED, "worker 1", "paused: paused", {"asked_by": "you@spark"}, "2B/h3 is paused now, as you@spark asked."),
    (Verb.PAUSE_ASKED, "you@spark", f"{NAMED}: asked to pause at its next step, with a checkpoint", {},
     "you@spark asked 2B/h3 to pause at its next step, with a checkpoint."),
    (Verb.RESUMED, "you@spark", f"{NAMED}: back in line", {}, "you@spark put 2B/h3 back in the queue."),
    (Verb.RESUMED, "you@spark", f"{NAMED}: continues: the request to pause was withdrawn", {},
     "you@spark withdrew the request to pause 2B/h3, which continues."),
    (Verb.CANCELLED, "you@spark", f"{NAMED}: cancelled; 4 trials kept", {},
     "you@spark cancelled 2B/h3; 4 trials are kept."),
    (Verb.CANCELLED, "you@spark", f"{NAMED}: cancelled; 1 trial kept", {},
     "you@spark cancelled 2B/h3; 1 trial is kept."),
    (Verb.CANCELLED, "worker 1", f"{NAMED}: cancelled, another search won", {},
     '2B/h3 is cancelled now; the cause is "another search won".'),
    (Verb.CANCEL_ASKED, "you@spark", f"{NAMED}: asked to stop at its next step: 3 of 6 trials will be missing", {},
     "you@spark asked 2B/h3 to stop at its next step; 3 of 6 trials will be missing."),
    (Verb.RETRIED, "you@spark", f"{NAMED}: retried: 1 trial runs again (t3), then 2 more; 4 trials kept", {},
     "you@spark retried 2B/h3; 1 trial runs again (trial 3), then 2 more; 4 trials kept."),
    (Verb.RETRIED, "you@spark", f"{NAMED}: retried with 4 trials kept; continues it with 2 trials to run", {},
     "you@spark retried 2B/h3 with 4 trials kept; this continues it with 2 trials to run."),
    (Verb.TRIAL_STARTED, "worker 1", f"trial 3 of {EXPERIMENT} starts: d64-L2", {"number": 3},
     "trial 3 of 2B/h3 starts."),
    (Verb.TRIAL_RESUMED, "worker 1", f"trial 3 of {EXPERIMENT} runs again: it had failed (oom)", {},
     "trial 3 of 2B/h3 runs again; it had failed (oom)."),
    (Verb.TRIAL_FACTS, "worker 1", "trial 3: n_val 442, device cpu", {},
     "trial 3 of 2B/h3 reports n_val 442, device cpu."),
    (Verb.TRIAL_COMPLETE, "worker 1", "trial 3 complete: finished, 0.6372", {"number": 3, "value": 0.6372},
     "trial 3 of 2B/h3 is complete with AUC 0.6372."),
    (Verb.TRIAL_COMPLETE, "worker 1", "trial 3 complete: finished", {"number": 3},
     "trial 3 of 2B/h3 is complete, without a value."),
    (Verb.TRIAL_PRUNED, "worker 1", "trial 3 pruned: pruned, 0.5", {"number": 3, "value": 0.5},
     "trial 3 of 2B/h3 was ended early with AUC 0.5000."),
    (Verb.TRIAL_FAILED, "worker 1", "trial 3 failed: code_error", {"number": 3, "message": "ValueError: x: y."},
     'trial 3 of 2B/h3 failed; the cause is "ValueError: x: y.".'),
    (Verb.TRIAL_INTERRUPTED, "worker 1", "trial 3 interrupted after epoch 5: lost_worker", {},
     'trial 3 of 2B/h3 was interrupted after epoch 5; the cause is "lost worker".'),
    (Verb.NEW_BEST, "worker 1", "new best", {"number": 3, "value": 0.6, "before": 0.5},
     "trial 3 of 2B/h3 is the new best with AUC 0.6000; the best before was 0.5000."),
    (Verb.RESUME_MISMATCH, "worker 1", "epoch 3 of trial 4 differs from its first result: loss 1 -> 2", {},
     "epoch 3 of trial 4 of 2B/h3 differs from its first result; loss 1 -> 2."),
    (Verb.QUEUE_PAUSED, "you@spark", "queue paused: night", {"reason": "night"},
     'you@spark paused the queue with the reason "night".'),
    (Verb.QUEUE_RESUMED, "you@spark", "queue resumed (it was paused: night)", {"reason": "night"},
     'you@spark resumed the queue, which was paused with the reason "night".'),
    (Verb.WORKER_STARTED, "worker 1", "worker 1 starts on spark with 1 slot, pid 42", {},
     "worker 1 starts on spark with 1 slot, pid 42."),
    (Verb.WORKER_STOPPED, "worker 1", "worker 1 left", {}, "worker 1 left."),
    (Verb.WORKER_LOST, "sweep", "worker 1 on spark was lost: no heartbeat for the whole lease", {},
     "worker 1 on spark was lost; no heartbeat for the whole lease."),
    (Verb.WORKER_BACK, "worker 1", "worker 1 was marked lost, but sends heartbeats again", {},
     "worker 1 was marked lost, but sends heartbeats again."),
    (Verb.WORKER_ASKED, "a signal", "worker 1 asked to stop after this trial by a signal", {},
     "a signal asked worker 1 to stop after this trial."),
    (Verb.WORKER_ASKED, "you@spark", "workers 1, 2 continues: the request to stop was withdrawn", {},
     "you@spark withdrew the request to stop workers 1, 2, which continue."),
    (Verb.GUARD, "watchdog of worker 1", "worker 1: normal -> frozen",
     {"worker_id": 1, "old": "normal", "new": "frozen"},
     "the heat guard of worker 1 is frozen now, normal before."),
    (Verb.NOTED, "you@spark", "fan cleaned: twice", {}, 'you@spark noted "fan cleaned: twice" about 2B/h3.'),
    (Verb.ACKNOWLEDGED, "you@spark", "job 7 acknowledged", {}, "you@spark acknowledged 2B/h3."),
    (Verb.UNDONE, "you@spark", f"undo of '{NAMED}: paused' by me@spark: job 7: paused -> queued", {},
     'you@spark undid the change "2B/h3: paused" by me@spark; 2B/h3 goes from paused to queued.'),
    (Verb.REDONE, "you@spark", f"redo of '{NAMED}: paused' by me@spark: job 7: back to its place in line", {},
     'you@spark redid the change "2B/h3: paused" by me@spark; 2B/h3 is back to its place in line.'),
    (Verb.PRUNED_ROWS, "retention", "50 old hardware samples removed", {}, "50 old hardware samples were removed."),
    (Verb.COMPARED, "worker 1", "trial 4 against momentum: AUC +0.012 [+0.001, +0.020]", {},
     "trial 4 of 2B/h3 was compared with momentum; the difference is AUC +0.012 (between +0.001 and +0.020)."),
    (Verb.UNSEALED, "you@spark", f"you@spark opened the test set of {EXPERIMENT} for trial 4", {},
     "you@spark opened the test set of 2B/h3 for trial 4."),
    (Verb.TESTED, "you@spark", f"{EXPERIMENT} on its test set: auc 0.6", {},
     "2B/h3 was evaluated on its test set with auc 0.6."),
    (Verb.NODE_LOST, "worker 1", "node gpu4: its channel ended", {},
     'node gpu4 is lost; the cause is "its channel ended".'),
    (Verb.NODE_QUARANTINED, "worker 1",
     "node gpu4: 3 losses in a row; nothing is placed there until `fts nodes release gpu4`", {},
     "node gpu4 is quarantined; the cause is \"3 losses in a row\"; nothing is placed there until 'fts nodes release"
     " gpu4'."),
    (Verb.NODE_ASKED, "you@spark", "node gpu4 may run trials again", {},
     "node gpu4 may run trials again, as you@spark asked."),
    (Verb.NOT_SENT, "notify", "a message could not be sent: no route", {}, "a message could not be sent; no route."),
    (Verb.DRIFTED, "worker 1", "trial 4 drew lr = 1 as its draw 0, and would now draw lr = 2; the recorded value stays",
     {}, "trial 4 of 2B/h3 drew lr = 1 as its draw 0, and would now draw lr = 2; the recorded value stays."),
    ("killed", "watchdog of 2B/h3", "stalled for 300 s: no epoch", {},
     'the watchdog of 2B/h3 reports "stalled for 300 seconds: no epoch".'),
    ("waits", "worker 1", "waits for 3 GB", {}, 'worker 1 reports of 2B/h3 "waits for 3 gigabytes".'),
]  # fmt: skip


@pytest.mark.parametrize(("verb", "who", "message", "data", "said"), KINDS)
def test_every_kind_of_event_is_one_whole_sentence(verb, who, message, data, said):
    event = make_event(1, NOW, str(verb), 7, who=who, message=message, data=data)
    text = event_sentence(event, HERE)
    assert CLOCK.sub("", text) == said
    assert_is_whole(text)


def test_no_kind_of_event_is_left_out():
    assert {str(verb) for verb, *_ in KINDS} >= {str(verb) for verb in Verb} >= {str(verb) for verb in CLAUSES}


@pytest.mark.parametrize("built", [any_study, study])
def test_every_event_of_a_real_journal_can_be_read_aloud_and_names_its_cell(tmp_path, built):
    path = tmp_path / "work" / "outputs" / "fts.db"
    path.parent.mkdir(parents=True)
    built.build(path)
    db = open_for_reading(path)
    snapshot, events = queries.snapshot(db), queries.events(db, limit=1000)
    db.close()
    seen = set()
    for event in events:
        text = event_sentence(event, snapshot)
        assert_is_whole(text)
        job = next((job for job in snapshot.jobs if job.id == event.job_id), None)
        assert job is None or job.cell in text or job.study in text or job.task, (
            "two slots may both be at their trial 5"
        )
        seen.add(str(event.verb))
    assert {"trial_complete", "trial_pruned", "new_best", "enqueued", "claimed", "guard"} <= seen


def test_an_event_of_a_job_that_is_gone_is_told_by_its_number():
    event = make_event(1, NOW, "trial_complete", 77, data={"number": 3, "value": 0.25})
    assert "trial 3 of job 77 is complete with value 0.2500." in event_sentence(event)


def assert_is_whole(text: str) -> None:
    """With a time, and without a colon outside of quoted words: a reader with a synthetic voice pauses at each."""
    assert is_speakable(text.replace('"."', '"').replace('."', '"')), text
    assert CLOCK.match(text), text
    assert ":" not in re.sub(r'"[^"]*"', "", CLOCK.sub("", text)), text
