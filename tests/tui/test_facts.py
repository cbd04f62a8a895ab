"""What a value rests on, as Trials and Results say it."""

from tests.tui.values import make_job, make_trial
from tui.screens.results import facts


def test_the_share_of_positives_is_that_of_the_validation_windows_not_of_all_labels():
    trial = make_trial(1, 1, 0, n_val=641, n_pos=305, base_rate=0.588)
    said = " ".join("".join(text for text, _ in line) for line in facts(trial, make_job(1, "2M", 5, "done")))
    assert "641 windows, 305 (47.6%) positive" in " ".join(said.split())
