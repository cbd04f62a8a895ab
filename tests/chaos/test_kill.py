"""Worker, trial, or both are killed again and again, and in the end the study is the undisturbed one, to the bit."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import study
from tests.chaos.harness import Harness, RunningWorker, seeded, until

# moment -> up to which time it comes round while one trial runs
OF_WORKER = {
    "register_worker": 5, "reconcile": 5, "take": 4, "claim": 7, "start_trial": 8, "resume_trial": 6,
    "record_progress": 4, "record_started": 6, "record_epoch": 30, "record_checkpoint": 6, "finish_trial": 12,
    "finish_job": 8, "missing_tickets": 5, "beat": 8, "fsync": 6, "replace": 5, "write": 60, "sql": 200,
}  # fmt: skip
OF_TRIAL = {"fsync": 25, "rename": 8, "replace": 1, "mkdir": 3, "fact": 20}


def test_a_dozen_kills_change_nothing(make_harness: Callable[..., Harness], undisturbed: Any, tmp_path: Path) -> None:
    kill_and_compare(make_harness(), 12, seeded("kill rounds", 1), undisturbed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 110))
def test_two_hundred_kills_change_nothing(
    seed: int, make_harness: Callable[..., Harness], undisturbed: Any, tmp_path: Path
) -> None:
    kill_and_compare(make_harness(), 20, seeded("kill rounds", seed), undisturbed, tmp_path)


def kill_and_compare(harness: Harness, rounds: int, rng: random.Random, undisturbed: Any, scratch: Path) -> None:
    told = []
    for number in range(rounds):
        told.append(f"round {number}: {kill_round(harness, rng)}")
        wrong = study.broken(harness.places, harness.journal)
        assert wrong == [], "\n".join([*wrong, *told])
    harness.finish()
    print("\n".join(told))
    kills = len(harness.fired()) + sum("outside" in line for line in told)
    print(f"{kills} kills; at named moments:", ", ".join(harness.fired()))
    assert kills >= 0.75 * rounds, "the study ended before the kills did"  # a fast machine is done sooner
    assert study.broken(harness.places, harness.journal) == []
    assert study.finished(harness.places), "jobs were lost"
    assert study.difference(undisturbed, study.identity(harness.places)) is None
    assert study.unequal_exports(harness.places, scratch / "scratch") == []
    assert study.damage(harness.places) == []
    until(lambda: not harness.trial_processes(), 30)


def kill_round(harness: Harness, rng: random.Random) -> str:
    """One worker's life, up to its kill; returns what was done to it."""
    faults = [draw(rng, "trial", OF_TRIAL) for _ in range(rng.choice((0, 0, 1, 2)))]
    if rng.random() < 0.7:
        faults.append(draw(rng, "worker", OF_WORKER))
    worker = harness.start(faults)
    left_s = rng.uniform(0.2, 1.8)
    code = killed_by_itself(worker, left_s)
    if code is None:
        if rng.random() < 0.3:
            for trial in harness.trial_processes():
                trial.kill()
        worker.kill()
    return f"{faults} " + (f"killed from outside after {left_s:.2f} s" if code is None else f"exit {code}")


def killed_by_itself(worker: RunningWorker, within_s: float) -> int | None:
    end = time.monotonic() + within_s
    while (code := worker.poll()) is None and time.monotonic() < end:
        time.sleep(0.02)
    assert code in (None, 0, -signal.SIGKILL), f"exit code {code}\n{worker.talk()}"
    return code


def draw(rng: random.Random, role: str, moments: dict[str, int]) -> str:
    site = rng.choice(sorted(moments))
    action = "kill" if role == "trial" else rng.choice(("kill", "kill", "kill-all"))
    return f"{role}:{site}:{rng.randint(1, moments[site])}:{action}"
