"""A worker under which the files of fts are replaced says so, blames no study, and leaves."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fts.jobs.supervisor.upgrade_check import OwnCode
from tests.fts_process import ROOT, Study, wait_until


def package(folder: Path) -> Path:
    home = folder / "fts"
    (home / "jobs" / "__pycache__").mkdir(parents=True)
    for name in ("__init__.py", "jobs/__init__.py", "jobs/worker.py"):
        (home / name).write_text("V = 1\n")
    (home / "tui").mkdir()
    (home / "tui" / "app.py").write_text("V = 1\n")
    return home


def replaced_folder(home: Path) -> None:
    (home / "jobs").rename(home / "old")
    shutil.copytree(home / "old", home / "jobs")


CHANGES: dict[str, Callable[[Path], object]] = {
    "changed": lambda home: (home / "jobs" / "worker.py").write_text("V = 2\n"),
    "added": lambda home: (home / "jobs" / "new.py").write_text(""),
    "removed": lambda home: (home / "jobs" / "worker.py").unlink(),
    "moved": replaced_folder,
    "gone": lambda home: shutil.rmtree(home),
    "room": lambda home: shutil.copytree(home / "jobs", home / "room"),
}
NO_CHANGES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda home: None,
    "touched": lambda home: os.utime(home / "jobs" / "worker.py"),
    "copied": lambda home: shutil.copyfile(home / "__init__.py", home / "jobs" / "worker.py"),
    "bytecode": lambda home: (home / "jobs" / "__pycache__" / "worker.pyc").write_text(""),
    "draft": lambda home: (home / "jobs" / ".worker.py.swp.py").write_text(""),
    "monitor": lambda home: (home / "tui" / "app.py").write_text("V = 2\n"),
}


@pytest.mark.parametrize("name", [*CHANGES, *NO_CHANGES])
def test_files_that_were_replaced_are_seen(tmp_path: Path, name: str) -> None:
    home = package(tmp_path)
    code = OwnCode(home)
    assert code.replaced(now=True) is None, "nothing was remembered"
    code.remember()
    (CHANGES | NO_CHANGES)[name](home)
    assert (code.replaced(now=True) is not None) == (name in CHANGES)
    assert (code.replaced() is not None) == (name in CHANGES), "once found it stays so"


FAILS = "    cell: CommandCell = spec.cell\n    raise AttributeError('of another version')\n"


def test_a_worker_under_which_fts_is_replaced_blames_no_study_and_leaves(tmp_path: Path) -> None:
    there = tmp_path / "lib" / "fts"
    shutil.copytree(ROOT / "fts", there, ignore=shutil.ignore_patterns("__pycache__", "tui"))
    study = Study(tmp_path / "w", starts=True, PYTHONPATH=str(there.parent))
    (study.folder / "x.py").write_text("import time\ntime.sleep(0.4)\nprint('{\"loss\": 1}')\n")
    study.ok("enqueue", "--metric", "loss", "--stdout", "--trials", "30", "--", sys.executable, "x.py", "{lr:0.1..1}")
    worker = study.start("worker", "--until-empty")
    wait_until(lambda: study.one("SELECT COUNT(*) FROM trial WHERE status = 'complete'"))
    file = there / "jobs" / "trial" / "command.py"
    file.write_text(file.read_text().replace("    cell: CommandCell = spec.cell\n", FAILS, 1))
    assert worker.wait(60) == 75, "a service starts it again"
    said = (study.folder / "said.txt").read_text()
    assert "of fts" in said and "this worker starts no further trial; start it again" in said
    assert study.one("SELECT COUNT(*) FROM trial WHERE status = 'failed'") == 0
    assert study.query("SELECT status, attempt FROM job") == [{"status": "queued", "attempt": 1}]
    assert study.one("SELECT message FROM event WHERE verb = 'worker_asked'").endswith("by an update of fts")
