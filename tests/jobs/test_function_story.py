"""A toy study, killed and ordered about at every moment, ends as plain Optuna does with the same sampler."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psutil
import pytest

from tests.fts_process import Study, wait_until
from tests.jobs import toy

BOTH = "worker trial"
S, M = "00001_train_S", "00002_train_M"
KILLS = {  # moment -> who dies there
    f"{S} t0 drew kind": "trial",  # the draw is told, and nothing made of it
    f"{S} t1 drew all": BOTH,
    f"{S} t1 reported 2": "worker",  # before the pruner's verdict
    f"{S} t2 reported 1 write 3": BOTH,  # in the middle of a checkpoint
    f"{S} t4 saved 3": BOTH,  # the checkpoint knows a draw and an epoch that nobody has written down
    f"{S} t6 pruned": "trial",
    f"{S} t10 drew kind": BOTH,
    f"{M} t0 reported 0": "worker",
    f"{M} t1 judged 1": "trial",
}


def put_in_line(study: Study, **trials: int) -> None:
    """One cell per size."""
    for size, count in trials.items():
        study.ok("enqueue", "train.py:objective", "-m", f"size={size}", "--trials", str(count))


def assert_equal_to_plain_optuna(study: Study, sampler: str = "tpe") -> None:
    for size, found in toy.recorded(study).items():
        assert found == toy.plain_optuna(study.folder, size, len(found), sampler)


def test_a_study_killed_at_every_kind_of_moment_ends_as_plain_optuna_does(tmp_path: Path) -> None:
    study = toy.write(tmp_path / "study", keeps=True)
    put_in_line(study, S=12, M=2)
    for moment, who in KILLS.items():
        (study.folder / "kills" / moment).write_text(who)
    toy.run(study)
    assert_equal_to_plain_optuna(study)
    assert {found.status for found in toy.recorded(study)["S"]} == {"complete", "pruned"}
    assert toy.killed(study) >= len(KILLS) - 1  # t6 need not be pruned
    assert not study.query("SELECT * FROM event WHERE verb IN ('drifted', 'resume_mismatch')")


def test_a_study_without_checkpoints_begins_its_trials_anew_and_ends_equal(tmp_path: Path) -> None:
    study = toy.write(tmp_path / "study", keeps=False)
    study.ok("enqueue", "train.py:objective", "-m", "size=S", "--trials", "3", "--sampler", "random")
    for moment, who in {"t0 judged 4": BOTH, "t1 reported 3": "worker", "t2 drew all": "trial"}.items():
        (study.folder / "kills" / f"{S} {moment}").write_text(who)
    toy.run(study)
    assert toy.killed(study) == 3
    assert_equal_to_plain_optuna(study, "random")


@pytest.mark.parametrize("keeps", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_pause_cancel_undo_drain_and_stop_change_no_number(tmp_path: Path, keeps: bool) -> None:
    study = toy.write(tmp_path / "study", keeps)
    put_in_line(study, S=5)
    (study.folder / "kills" / "slow").write_text("0.1")
    worker = study.start("worker", "--slots", "1")
    for order, back in ((["pause", "1"], ["resume", "1"]), (["cancel", "1"], ["undo"])):
        wait_for_next_epoch(study)
        study.ok(*order, *(["--yes"] if order[0] == "cancel" else []))
        wait_until(lambda: study.one("SELECT status FROM job") in ("paused", "cancelled"))
        study.ok(*back)
    wait_for_next_epoch(study)
    leave(study, worker, "drain")
    worker = study.start("worker", "--slots", "1")
    wait_for_next_epoch(study)
    leave(study, worker, "stop")
    (study.folder / "kills" / "slow").unlink()
    toy.run(study)
    assert_equal_to_plain_optuna(study)


def wait_for_next_epoch(study: Study) -> None:
    before = study.one("SELECT count(*) FROM epoch")
    wait_until(lambda: study.one("SELECT count(*) FROM epoch") > before)


def leave(study: Study, worker: subprocess.Popen[str], how: str) -> None:
    study.ok(how)
    wait_until(lambda: worker.poll() is not None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "keeps", "kills"), [("tpe", True, 40), ("tpe", False, 25), ("random", True, 20), ("gp", True, 15)]
)
def test_a_storm_of_a_hundred_kills_changes_nothing(tmp_path: Path, sampler: str, keeps: bool, kills: int) -> None:
    study = toy.write(tmp_path / "study", keeps)
    study.ok("enqueue", "train.py:objective", "-m", "size=S,M", "--trials", "12", "--sampler", sampler)
    toy.plan(study, [S, M], trials=12, count=2 * kills, seed=kills, keeps=keeps)  # half of the moments never come
    toy.run(study)
    assert toy.killed(study) >= kills // 2
    assert_equal_to_plain_optuna(study, sampler)


CHANGES = """\
import os, signal
from pathlib import Path

LOW = 0.0

def objective(trial):
    x = trial.suggest_float("x", LOW, LOW + 1.0)
    if LOW == 0.0:
        Path(__file__).write_text(Path(__file__).read_text().replace("LOW = 0.0", "LOW = 5.0", 1))
        os.kill(os.getpid(), signal.SIGKILL)
    return x
"""


def test_code_that_changes_between_two_attempts_of_a_worker_gets_what_the_trial_has_drawn(tmp_path: Path) -> None:
    study = Study(tmp_path)
    (tmp_path / "train.py").write_text(CHANGES)
    study.ok("enqueue", "train.py:objective", "--trials", "1", "--sampler", "random")
    study.ok("worker", "--slots", "1", "--until-empty")
    (trial,) = study.query("SELECT value, json_extract(params, '$.x') AS x FROM trial")
    assert trial["value"] == trial["x"] < 1.0, "what is on record is what was tried"
    assert study.one("SELECT count(*) FROM attempt") == 2
    told = study.one("SELECT message FROM event WHERE verb = 'drifted'")
    assert told.startswith(f"trial 0 drew x = {trial['x']!r} from ") and '"high":6.0' in told


SLEEPS = """\
import time
from fts.jobs.trial import process

process.ORPHAN_S = 0.2

def objective(trial):
    x = trial.suggest_float("x", 0.0, 1.0)
    time.sleep(600)
"""


def test_a_trial_whose_worker_died_leaves_although_no_step_ends(tmp_path: Path) -> None:
    study = Study(tmp_path)
    (tmp_path / "train.py").write_text(SLEEPS)
    study.ok("enqueue", "train.py:objective", "--trials", "1", "--sampler", "random")
    worker = study.start("worker", "--slots", "1")
    wait_until(lambda: study.query("SELECT * FROM draw"))
    trial = psutil.Process(study.one("SELECT pid FROM trial"))
    worker.kill()
    worker.wait()
    wait_until(lambda: not trial.is_running() or trial.status() == psutil.STATUS_ZOMBIE)
