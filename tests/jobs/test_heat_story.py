"""A hot day: 60, 88, 72, 97, 65 degrees. The trial freezes, thaws, is stopped, resumes by itself, and loses nothing."""

from pathlib import Path

import psutil
import pytest

from tests.chaos import study
from tests.jobs.watched import Watched, make_study


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study.make_data(tmp_path_factory.mktemp("heat") / "data")


def test_a_hot_day_changes_no_number(tmp_path: Path, data: Path) -> None:
    calm = make_study(tmp_path / "calm", data, epochs=50)
    with Watched(calm) as undisturbed:
        undisturbed.until_over()
    hot = make_study(tmp_path / "hot", data, epochs=50)
    with Watched(hot) as worker:
        live_through_the_heat(worker)
        worker.until_over()
        assert worker.verbs().count("trial_started") == 1
        assert [str(e.verb) for e in worker.events("frozen", "thawed", "overheated", "trial_restarted")] == [
            "frozen", "thawed", "overheated", "trial_restarted"
        ]  # fmt: skip
        words = [event.message for event in worker.events("guard")]
        assert any("88 °C" in word and "frozen" in word for word in words)
        assert any("97 °C" in word and "checkpoint" in word for word in words)
    assert study.difference(study.identity(calm), study.identity(hot)) is None


def live_through_the_heat(worker: Watched) -> None:
    worker.until_epoch()
    assert worker.guard() == "normal"

    worker.feel(temperature=88)
    worker.until(lambda: worker.guard() == "frozen", "the guard to say frozen")
    process = worker.trial_process()
    assert process is not None
    worker.until(lambda: process.status() == psutil.STATUS_STOPPED, "the trial to hold its breath")
    epochs = worker.trial.epochs
    assert worker.job.status == "running"  # its lease is kept

    worker.feel(temperature=72)
    worker.until_event("thawed")
    worker.feel(temperature=97)
    worker.until_event("overheated")
    worker.until(lambda: worker.guard() == "cooling", "the guard to say cooling")
    worker.until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, "the trial to leave")
    assert worker.trial.epochs >= epochs
    assert worker.job.status == "running"

    worker.feel(temperature=65)
    worker.until_event("trial_restarted")
