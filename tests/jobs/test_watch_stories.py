"""What the watchdog does to real trials: less memory, killed at a limit, held before the start, stalled three times."""

import sys
from pathlib import Path

import pytest

from fts.jobs.supervisor.child import TrialProcess
from fts.jobs.supervisor.slot import limit_data
from fts.state.values import Cause
from tests.chaos import study
from tests.jobs.watched import GiB, Watched, make_study


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study.make_data(tmp_path_factory.mktemp("watched") / "data")


@pytest.mark.slow  # the same of any study: test_resources.py, `shrink`
def test_short_of_memory_a_trial_goes_on_with_half_the_micro_batch(tmp_path: Path, data: Path) -> None:
    places = make_study(tmp_path, data, epochs=40)  # the second restart comes before the tenth
    with Watched(places, FTS_MEMORY_AVAILABLE_LOW="200M") as worker:
        worker.until_epoch()
        worker.feel(temperature=60, total=2 * GiB, available=150 << 20)  # below what is wanted: asked to shrink
        worker.until_event("soft_memory")
        worker.feel(temperature=60)
        worker.until(lambda: worker.trial.micro_batch == 8, "half the micro-batch")
        epochs = worker.trial.epochs

        worker.until_epoch(epochs + 1)
        worker.feel(temperature=60, total=2 * GiB, available=50 << 20)  # below half of it: killed
        worker.until_event("killed")
        worker.feel(temperature=60)
        worker.until_over()
        trial = worker.trial
        assert (trial.number, trial.status, trial.epochs) == (0, "complete", 40)
        assert (trial.micro_batch, trial.accumulation) == (4, 4)  # the effective batch is still 16
        assert trial.recipe is not None and trial.recipe["micro_batch"] == 4
        assert trial.predicted_bytes and trial.peak_bytes
        restarts = [event.message for event in worker.events("trial_restarted")]
        assert ["now batch=8x2" in restarts[0], "now batch=4x4" in restarts[1]] == [True, True]


def test_what_cannot_fit_is_held_with_its_bytes_before_a_process_starts(tmp_path: Path, data: Path) -> None:
    places = make_study(tmp_path, data)
    with Watched(places, FTS_MEMORY_LIMIT="300M") as worker:
        worker.until_over()
        job = worker.job
        assert job.status == "queued" and job.cause == Cause.CANNOT_FIT
        assert job.hold_reason is not None and "MB at the least" in job.hold_reason
        assert "300 MB allowed" in job.hold_reason
        assert worker.trial.status == "interrupted" and worker.trial.pid is None
        assert not list(places.logs.glob("trial_process_*"))


def test_a_trial_that_is_killed_at_every_batch_is_held(tmp_path: Path, data: Path) -> None:
    places = make_study(tmp_path, data, effective_batch=2)
    with Watched(places, FTS_MEMORY_HARD="100M", FTS_MEMORY_SOFT="100M") as worker:
        worker.until_over()
        assert worker.verbs().count("killed") == 3  # 2x1, 1x2, 1x2 with layers recomputed
        assert worker.job.hold_reason is not None and "no leaner recipe" in worker.job.hold_reason
        assert "hard limit 100 MB" in worker.job.hold_reason


@pytest.mark.slow
def test_a_trial_that_stalls_three_times_fails(tmp_path: Path, data: Path) -> None:
    places = make_study(tmp_path, data, epochs=1000)
    quick = {
        "FTS_STALL_MIN_S": "1.5",
        "FTS_CPU_WINDOW_S": "1",
        "FTS_STALL_FIRST_S": "20",
        "FTS_CHECKPOINT_EVERY_S": "0.2",
    }
    with Watched(places, **quick) as worker:
        pids = set()
        for time in (1, 2, 3):
            worker.until(lambda: worker.trial_process() and worker.trial.pid not in pids, "a new process")
            epochs = worker.trial.epochs
            worker.until_epoch(epochs + 20)  # steps are told twice a second: it must have told one
            pids.add(worker.stop_breathing())
            worker.until_event("killed", time)
        worker.until_over()
        trial = worker.trial
        assert (trial.status, trial.cause) == ("failed", Cause.STALLED)
        assert "no step for" in (trial.message or "")
        assert len(worker.events("trial_restarted")) == 2
        assert all(event.data["cause"] == "stalled" for event in worker.events("killed"))


ALLOCATES = """
import os, sys
fd = int(sys.argv[sys.argv.index("--facts-fd") + 1])
for _ in sys.stdin:
    try:
        held = bytearray(1 << 30)
        os.write(fd, b'{"fact": "held"}\\n')
        del held
    except MemoryError:
        os.write(fd, b'{"fact": "refused"}\\n')
"""


def test_behind_the_watchdog_an_allocation_fails_inside_the_trial_and_the_next_may_have_more(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux limits another process's data")
    with TrialProcess([sys.executable, "-c", ALLOCATES], tmp_path / "trial.log") as child:
        for limit, said in ((1 << 29, "refused"), (None, "held"), (1 << 29, "refused")):
            assert limit_data(child.pid, limit)
            child.send({"do": "allocate"})
            facts: list[dict[str, object]] = []
            while not facts:
                facts = child.facts(1.0)
            assert facts == [{"fact": said}]
