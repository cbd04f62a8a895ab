"""What a value rests on, as Trials and Results say it."""

from dataclasses import replace

from fts.jobs.status import summary as glances
from fts.tui.data.view import Details, View
from fts.tui.screens.events import full
from fts.tui.screens.trials import detail
from fts.tui.widgets.queue_table import _done_by
from fts.tui.widgets.trial_facts import facts
from tests.tui.values import NOW, make_epochs, make_event, make_job, make_snapshot, make_trial, make_worker


def test_the_share_of_positives_is_that_of_the_validation_windows_not_of_all_labels():
    trial = make_trial(1, 1, 0, n_val=641, n_pos=305, base_rate=0.588)
    view = View(glances.look(make_snapshot(jobs=(make_job(1),)), NOW), job_id=1)
    said = " ".join("".join(text for text, _ in line) for line in facts(view, trial))
    assert "641 windows, 305 (47.6%) positive" in " ".join(said.split())


def test_a_running_trial_has_the_scores_of_its_best_epoch_until_its_row_gets_them():
    job, none = (
        make_job(1, status="running", worker_id=1),
        {"ended_at": None, "value": None, "val_auc": None, "val_loss": None},
    )
    trial = make_trial(1, 1, 0, "running", objective="val_loss", best_epoch=None, epochs=0, **none)
    epochs = make_epochs(1, 3, 0.7, NOW)
    worker = make_worker(heartbeat_at=NOW - 2)
    snapshot = make_snapshot(jobs=(job,), trials=(trial,), epochs=epochs, workers=(worker,))
    view = View(glances.look(snapshot, NOW), Details(job_id=1, trials=(trial,)), job_id=1, trial_id=1)
    said = " ".join(" ".join("".join(text for text, _ in line) for line in detail(view, 80, 40)).split())
    assert "t0 running, best epoch 3 of 3" in said
    assert f"loss {epochs[-1].val_loss:.4f}" in said and f"AUC {epochs[-1].val_auc:.4f}" in said


def test_a_job_that_waits_in_a_paused_queue_has_no_end_and_one_of_a_dead_worker_no_speed():
    jobs = (make_job(1, status="running", worker_id=1), make_job(2, horizon=3))
    trial = make_trial(1, 1, 0, "running", ended_at=None)

    def told(job, beat_s=2.0, **paused):
        snapshot = make_snapshot(
            jobs=jobs,
            trials=(trial,),
            epochs=make_epochs(1, 3, 0.7, NOW),
            workers=(make_worker(heartbeat_at=NOW - beat_s),),
        )
        glance = glances.look(replace(snapshot, **paused), NOW)
        forecast = replace(glance.forecast, seconds_left={1: 60.0, 2: 120.0})
        return _done_by(View(replace(glance, forecast=forecast), Details()), job)

    assert told(jobs[1]).strip() and not told(jobs[1], queue_paused=True).strip()
    assert told(jobs[0]).split()[-1].isdigit() and not told(jobs[0], 600.0).strip()


def test_the_event_of_a_trials_facts_says_each_of_them_once():
    data = {"n_val": 442, "device": "cpu", "threads": 2}
    event = make_event(1, NOW - 60, "trial_facts", 1, message="trial 0: n_val 442, device cpu", data=data)
    view = View(glances.look(make_snapshot(jobs=(make_job(1),), events=(event,)), NOW), Details(events=(event,)))
    text = "".join(text for line in full(view, 120, 5)[1:] for text, _ in line)
    assert text == "trial 0: n_val 442, device cpu · threads 2"
