"""A real file system of a few megabytes that really fills up, in a mount namespace of our own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import study
from tests.chaos.harness import ROOT
from tests.namespaces import IN_NAMESPACE, can_mount


@pytest.mark.skipif(sys.platform != "linux" or not can_mount(), reason="no user and mount namespaces here")
def test_a_full_disk_pauses_the_queue_and_changes_nothing(tmp_path: Path, data: Path, undisturbed_small: Any) -> None:
    """Runs small_disk.py, which fills the disk at three moments and ends with the comparison."""
    wanted = tmp_path / "identity.json"
    wanted.write_text(study.as_text(undisturbed_small))
    done = subprocess.run(
        [*IN_NAMESPACE, sys.executable, "-m", "tests.chaos.small_disk", str(tmp_path), str(data), str(wanted)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "identical" in done.stdout, done.stdout
