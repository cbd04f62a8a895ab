"""docs/faq.md and docs/comparison.md: each command in them is typed, each option is given to `fts enqueue`."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import optuna
import pytest

from fts.state import transitions
from fts.state.backup import backup
from fts.state.values import Cause
from tests.cli.toy import claim, fail_trial, make_toy
from tests.fts_process import ROOT

PAGES = [(ROOT / "docs" / name).read_text() for name in ("faq.md", "comparison.md", "concepts.md")]
CODE = sorted({each for page in PAGES for each in re.findall(r"`((?:fts |--)[^`]*)`", page)})
ELSEWHERE = {"fts worker", "fts check", "fts check train.py:objective"}  # processes of seconds: docs/guide.md has them
OF_A_COMMAND = "--seed {seed}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two failed jobs, two that wait, a backup, a study of Optuna's, and a project's interpreter."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FTS_NOTIFY", str(tmp_path / "notify.toml"))
    db = make_toy(tmp_path)
    for _ in range(2):
        claimed = claim(db)
        fail_trial(db, claimed, 0)
        transitions.fail_job(db, claimed, Cause.CODE_ERROR, "it broke")
        transitions.stop_worker(db, claimed.worker_id)
    backup(db)
    db.close()
    study = optuna.create_study(storage="sqlite:///optuna.db", study_name="old")
    project = tmp_path / ".venv" / "bin" / "python"
    project.parent.mkdir(parents=True)
    project.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    project.chmod(0o755)
    study.add_trial(optuna.trial.create_trial(value=1.0, params={}, distributions={}))
    return tmp_path


def test_each_command_and_option_is_taken(fts, folder: Path) -> None:
    assert {"fts retry JOB", "fts restore", OF_A_COMMAND} <= set(CODE) and len(CODE) > 15
    for code in CODE:
        words = shlex.split(code.replace("JOB", "1"))
        if code == OF_A_COMMAND:
            words = [
                "fts",
                "enqueue",
                "-n",
                "--metric",
                "loss",
                "--",
                "python",
                "train.py",
                "--lr",
                "{lr:0..1}",
                *words,
            ]
        elif words[0] != "fts":
            words = ["fts", "enqueue", "train.py:objective", "-n", "--name", "other", *words]
        if code == "fts restore":
            words.append("-y")  # what a person answers
        if code not in ELSEWHERE:
            done = fts(*words[1:])
            assert done.code == 0, (code, done)
