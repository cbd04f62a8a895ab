"""What a value rests on, as Trials and Results say it."""

from jobs.glance import glance as glances
from tests.tui.values import NOW, make_epochs, make_job, make_snapshot, make_trial
from tui.screens.results import facts
from tui.screens.trials import detail
from tui.view import Details, View


def test_the_share_of_positives_is_that_of_the_validation_windows_not_of_all_labels():
    trial = make_trial(1, 1, 0, n_val=641, n_pos=305, base_rate=0.588)
    said = " ".join("".join(text for text, _ in line) for line in facts(trial, make_job(1, "2M", 5, "done")))
    assert "641 windows, 305 (47.6%) positive" in " ".join(said.split())


def test_a_running_trial_has_the_scores_of_its_best_epoch_until_its_row_gets_them():
    job, none = make_job(1, status="running"), {"ended_at": None, "value": None, "val_auc": None, "val_loss": None}
    trial = make_trial(1, 1, 0, "running", objective="val_loss", best_epoch=None, epochs=0, **none)
    epochs = make_epochs(1, 3, 0.7, NOW)
    snapshot = make_snapshot(jobs=(job,), trials=(trial,), epochs=epochs)
    view = View(glances.look(snapshot, NOW), Details(job_id=1, trials=(trial,)), job_id=1, trial_id=1)
    said = " ".join(" ".join("".join(text for text, _ in line) for line in detail(view, 80, 40)).split())
    assert "t0 running, best epoch 3 of 3" in said
    assert f"loss {epochs[-1].val_loss:.4f}" in said and f"AUC {epochs[-1].val_auc:.4f}" in said
