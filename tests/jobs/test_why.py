"""`fts why` of a running job: the first sentence says whether it really runs."""

from dataclasses import replace

from fts.jobs.status.explain import why
from fts.state.values import Cause
from tests.tui.values import HOUR, NOW, make_event, make_job, make_snapshot, make_trial, make_worker

JOB = make_job(1, status="running", worker_id=1, lease_until=NOW + 50, attempt=2, started_at=NOW - HOUR)
SNAPSHOT = make_snapshot(jobs=(JOB,), workers=(make_worker(asked="drain_trial", guard="frozen"),))
WAIT = make_event(
    7, NOW - 20, "waits", 1, trial_id=3,
    message="t3 runs again in 40 s: CUDA error: unknown error; 3 of 10 tries without progress, after the last one "
    "the job fails",
)  # fmt: skip


def test_a_slot_of_another_worker_that_leaves_or_died_is_not_the_free_one():
    waits, free = make_job(2), make_worker(2)
    for other in (make_worker(asked="drain_trial"), make_worker(gone=True)):
        (told,) = why(waits, replace(SNAPSHOT, jobs=(JOB, waits), workers=(other, free)))
        assert told == "job 2 (2M/h1) is next and a slot is free: the worker starts it within seconds"
        busy = replace(JOB, worker_id=2)
        (told,) = why(waits, replace(SNAPSHOT, jobs=(busy, waits), workers=(other, free)))
        assert told.endswith("it is next, and 1 slot of 1 worker is taken")


def test_a_heartbeat_from_before_the_clock_was_set_back_is_no_silence_of_0_s():
    ahead = make_worker(heartbeat_at=NOW + HOUR)
    told = why(make_job(2), replace(SNAPSHOT, jobs=(make_job(2),), workers=(ahead,)))
    assert told[1] == "worker 1 on spark has been silent since the clock was set back"


def test_a_job_that_runs_names_its_worker_and_what_holds_it_up():
    told = why(JOB, SNAPSHOT)
    assert told[:3] == ["job 1 (2M/h1) is running", "worker 1 runs it, attempt 2", "its lease ends in 50 s"]
    assert told[3].startswith("DRAINING: worker 1") and told[4].startswith("the heat guard of its worker is frozen")


def test_a_job_whose_worker_has_died_does_not_run():
    first, second, *rest = why(JOB, replace(SNAPSHOT, workers=(replace(SNAPSHOT.workers[0], gone=True),)))
    assert first == (
        "job 1 (2M/h1) is not running: worker 1 has died; a new worker on its machine takes over the job at once"
    )
    assert second == "worker 1 ran it, attempt 2" and not any("DRAINING" in text or "guard" in text for text in rest)


def test_a_job_whose_worker_is_silent_is_not_said_to_run():
    for silent, how in (
        (make_worker(heartbeat_at=NOW - 600, guard="frozen"), "for 10 min"),
        (make_worker(heartbeat_at=NOW + HOUR), "since the clock was set back"),
    ):
        told = why(JOB, replace(SNAPSHOT, workers=(silent,)))
        assert told[0] == f"not known whether job 1 (2M/h1) is running: worker 1 on spark is silent {how}"
        assert told[1] == "worker 1 ran it, attempt 2" and not any("guard" in one for one in told)


def test_a_trial_that_pauses_after_a_fault_of_the_machine_is_told_of_until_it_runs_again():
    events = (make_event(6, NOW - 30, "trial_resumed", 1, trial_id=3), WAIT, make_event(8, NOW - 5, "worker_asked", 1))
    first, *rest = why(JOB, replace(SNAPSHOT, events=events))
    assert first == f"job 1 (2M/h1) is running, but its trial waits since 08:13:40: {WAIT.message}"
    assert rest[-1] == "`fts doctor` checks the machine; `fts pause 1` ends the wait and frees the slot"
    node = replace(WAIT, message="t3 waits for a node: srun says: job 4711 waits in Slurm: Resources")
    assert why(JOB, replace(SNAPSHOT, events=(node,)))[-1].startswith("`fts nodes` lists the nodes;")
    for later in (make_event(9, NOW, "trial_restarted", 1, trial_id=3), make_event(9, NOW, "claimed", 1)):
        assert why(JOB, replace(SNAPSHOT, events=(*events, later)))[0] == "job 1 (2M/h1) is running"


def test_a_job_parked_after_faults_of_the_machine_gives_the_command_and_the_cause():
    said = "t3 was tried 10 times without progress; the last time: CUDA error: unknown error"
    job = make_job(1, status="failed", cause=Cause.MACHINE_ERROR, message=said, ended_at=NOW)
    first, second = why(job, make_snapshot(jobs=(job,)))
    assert "machine error" in first and "`fts retry 1`" in first and said in second


def test_a_job_with_several_trials_at_once_names_them_and_what_the_next_one_waits_for():
    job = replace(JOB, spec={**JOB.spec, "parallel": 4})
    trials = tuple(make_trial(n, 1, n, "running") for n in (3, 5))
    told = why(job, replace(SNAPSHOT, jobs=(job,), trials=trials))
    assert told[2] == "2 of at most 4 trials at once: t3, t5"
    told = why(job, replace(SNAPSHOT, jobs=(job,), trials=(*trials, replace(trials[0], id=6, number=6))))
    assert told[2] == "3 of at most 4 trials at once: t3, t5, t6; t7 knows t3, so it starts when t3 has ended"
