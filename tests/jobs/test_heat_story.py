"""A hot day: 60, 88, 72, 97, 65 degrees. The trial freezes, thaws, is stopped, resumes by itself, and loses nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from fts.jobs.settings import Places
from fts.state import queries
from fts.state.db import open_database
from tests.chaos import study
from tests.jobs import patient_function
from tests.jobs.watched import Watched, make_study


def of_a_function(folder: Path) -> Places:
    own = patient_function.write(folder, epochs=300)
    own.ok("enqueue", "patient.py:objective", "--trials", "1")
    return Places(own.outputs / "fts.db", folder)


def reported(places: Places) -> list[tuple[Any, ...]]:
    """Parameters and value of the trial, and what it reported at each epoch."""
    db = open_database(places.db, readonly=True)
    try:
        (trial,) = queries.trials(db, 1)
        return [(trial.params, trial.value), *((e.epoch, e.value) for e in queries.epochs(db, trial.id))]
    finally:
        db.close()


def of_the_flagship(folder: Path) -> Places:
    return make_study(folder, study.make_data(folder / "data"), epochs=50)


@pytest.mark.parametrize(
    ("make", "record"),
    [(of_a_function, reported), pytest.param(of_the_flagship, study.identity, marks=pytest.mark.slow)],
)
def test_a_hot_day_changes_no_number(
    tmp_path: Path, make: Callable[[Path], Places], record: Callable[[Places], Any]
) -> None:
    calm = make(tmp_path / "calm")
    with Watched(calm, PAUSE_S="0") as undisturbed:
        undisturbed.until_over()
    hot = make(tmp_path / "hot")
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
    assert record(calm) == record(hot)


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
