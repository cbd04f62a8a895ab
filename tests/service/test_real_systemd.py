"""A real `systemd --user` in a name space of its own keeps the worker: through kill -9, and until it is stopped."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fts_process import ROOT

SYSTEMD = Path("/lib/systemd/systemd")
TRAIN = """
import time, fts
def objective(trial):
    x, checkpoint = trial.suggest_float("x", 0, 1), fts.checkpoint(trial)
    for step in range((checkpoint.load() or {"step": -1})["step"] + 1, 8):
        trial.report(x * step, step)
        checkpoint.save({"step": step})
        time.sleep(0.3)
    return x
"""
# systemd asks for a machine that was booted with it, and a folder of its own in /run: a mount that only this shell sees
MANAGED = """
set -e
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system /run/user/0
export XDG_RUNTIME_DIR=/run/user/0
/lib/systemd/systemd --user > manager.log 2>&1 &
manager=$!
trap 'kill -9 $manager' EXIT
until systemctl --user is-system-running; do kill -0 $manager; sleep 0.2; done
value() { systemctl --user show "$name" --property="$1" --value; }
fts enqueue train.py:objective --trials 4
fts service install
name=$(basename "$HOME"/.config/systemd/user/*.service)
sed -i s/^RestartSec=.*/RestartSec=1/ "$HOME/.config/systemd/user/$name"; systemctl --user daemon-reload
fts service status
first=$(value MainPID); test "$first" -gt 1
until fts events | grep -q trial_started; do sleep 0.2; done
kill -9 "$first"
until [ "$(value MainPID)" -gt 1 ] && [ "$(value MainPID)" != "$first" ]; do sleep 0.2; done
echo "restarts $(value NRestarts)"
until fts queue | grep -q done; do fts service status; sleep 0.5; done
fts service remove
echo "ended $(value Result) $(value ExecMainStatus)"
"""


def may_run() -> bool:
    words = ["unshare", "--mount", "--propagation", "private", "mount", "-t", "tmpfs", "tmpfs", "/run"]
    tools = SYSTEMD.exists() and shutil.which("systemctl") and shutil.which("unshare")
    return bool(tools) and os.getuid() == 0 and subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not may_run(), reason="no systemd here, or no right to mount")
def test_the_service_outlives_its_worker_and_ends_at_a_checkpoint(tmp_path: Path) -> None:
    folder, home = tmp_path / "my study 100%", tmp_path / "home"
    folder.mkdir()
    (home / "bin").mkdir(parents=True)
    (folder / "train.py").write_text(TRAIN)
    (home / "bin" / "fts").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m fts.jobs.cli "$@"\n')
    (home / "bin" / "fts").chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FTS_", "XDG_", "DBUS_"))}
    environ = clean | {"HOME": str(home), "PATH": f"{home / 'bin'}:{clean['PATH']}", "PYTHONPATH": str(ROOT)}
    words = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
    done = subprocess.run(
        [*words, "bash", "-c", MANAGED],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done
    assert "restarts 1" in done.stdout and "ended success 0" in done.stdout, done
    assert not list(home.glob(".config/systemd/user/*.service"))
