"""Whether a test may mount a file system of its own here, and the words before its command."""

from __future__ import annotations

import subprocess

IN_NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]


def can_mount() -> bool:
    try:
        return subprocess.run([*IN_NAMESPACE, "true"], capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
