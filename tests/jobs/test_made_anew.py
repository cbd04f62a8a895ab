"""A container that is made anew has another host name: its worker goes on with what the one before it was killed in."""

import os
import shutil
import signal
import sqlite3
from pathlib import Path

from tests.fts_process import wait_until
from tests.jobs import toy

TRIALS = 4


def test_a_worker_that_leaves_when_empty_waits_for_the_lease_of_a_silent_one_elsewhere(tmp_path: Path) -> None:
    study = toy.write(tmp_path, keeps=True)
    study.ok("enqueue", "train.py:objective", "--trials", str(TRIALS), "--name", "train", "-m", "size=S")
    (study.folder / "kills" / "slow").write_text("0.3")
    first = study.start("worker", "--until-empty", "--slots", "1")
    wait_until(lambda: study.outputs.joinpath("fts.db").exists() and study.query("SELECT 1 FROM epoch"))
    with sqlite3.connect(study.outputs / "fts.db", timeout=60) as db:
        db.execute("UPDATE worker SET host = 'elsewhere'")
    db.close()
    (study.outputs / "slot-0.lock").unlink()  # one of another machine holds none here

    said = study.fts("worker", "--until-empty", "--slots", "1")
    assert (said.code, study.one("SELECT status FROM job")) == (0, "running"), "one that lives there keeps its job"
    assert "is with worker 1 on elsewhere: if that stays silent, its lease ends and the job comes here" in said.err

    trial = study.one("SELECT pid FROM trial WHERE status = 'running'")
    os.kill(first.pid, signal.SIGKILL)
    first.wait(60)
    os.kill(trial, signal.SIGKILL)
    (study.folder / "kills" / "slow").unlink()
    study.ok("worker", "--until-empty", "--slots", "1")
    assert study.one("SELECT status FROM job") == "done"
    (cell,) = toy.recorded(study).values()
    assert cell == toy.plain_optuna(study.folder, "S", TRIALS, "tpe", "none")
    assert study.one("SELECT count(*) FROM event WHERE verb = 'worker_lost'") == 1


def test_a_copy_of_a_running_study_is_finished_beside_the_original(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    study, other = toy.write(tmp_path / "one", keeps=True), toy.write(tmp_path / "two", keeps=True)
    study.ok("enqueue", "train.py:objective", "--trials", str(TRIALS), "--name", "train", "-m", "size=S")
    (study.folder / "kills" / "slow").write_text("0.3")
    first = study.start("worker", "--until-empty", "--slots", "1")
    wait_until(lambda: study.outputs.joinpath("fts.db").exists() and study.query("SELECT 1 FROM epoch"))
    shutil.copytree(study.outputs, other.outputs)
    told = other.fts("worker", "--until-empty", "--slots", "1")
    assert (told.code, other.one("SELECT status FROM job")) == (0, "done"), told.err
    (study.folder / "kills" / "slow").unlink()
    assert first.wait(60) == 0 and study.one("SELECT status FROM job") == "done"
    assert [*toy.recorded(study).values()] == [*toy.recorded(other).values()]
