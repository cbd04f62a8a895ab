"""Says which devices trials can use on this machine, and refuses any other in one sentence before anything starts.

Importing torch costs a worker 2 s and 300 MB, so a process of its own is asked; for cpu nobody is.
"""

from __future__ import annotations

import json
import re
import sys
from functools import lru_cache
from pathlib import Path

from fts.frozen import dataclass
from fts.jobs.python import python

DEVICE = re.compile(r"cpu|mps|cuda(:(0|[1-9]\d{0,2}))?")
EXPECTED = "expected cpu, cuda, cuda:N or mps"
PROBE_S = 120.0  # importing torch from a slow disk takes a minute
PROBE = """
import json, torch
cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
print(json.dumps({"cuda": cuda, "mps": torch.backends.mps.is_available(), "built": torch.backends.cuda.is_built()}))
"""


class BadSetting(ValueError):
    """An environment variable or flag holds something unusable; the sentence names it."""


@dataclass(frozen=True)
class Found:
    """What torch sees on this machine."""

    cuda: int = 0
    mps: bool = False
    trouble: str | None = None  # why it sees nothing else

    @property
    def names(self) -> tuple[str, ...]:
        gpus = tuple(f"cuda:{index}" for index in range(self.cuda))
        return ("cpu", *gpus, *(("mps",) if self.mps else ()))


@dataclass(frozen=True)
class Gpu:
    """One GPU as CUDA_VISIBLE_DEVICES names it."""

    name: str  # GPU-5c8a..., or an index
    memory: int | None = None  # bytes; None: unknown
    identity: str = ""  # one for all processes of the machine, its UUID; empty: its name is

    @property
    def key(self) -> str:
        return self.identity or self.name


def kind_of(device: str) -> str:
    """`cuda` for cuda:1."""
    return device.partition(":")[0]


def index_of(device: str) -> int:
    """1 for cuda:1; 0 for every device without a number."""
    return int(device.partition(":")[2] or 0)


def check_name(device: str, origin: str) -> str:
    """The device, if there can be one of that name. Raises BadSetting, which says what this machine has."""
    if not DEVICE.fullmatch(device):
        has = ", ".join(look().names) if may_have_more() else "cpu"
        raise BadSetting(f"{origin} is {device[:40]!r}, {EXPECTED}; this machine has: {has}")
    return device


def check_here(device: str, origin: str) -> str:
    """The device, if trials can use it here and now. Raises BadSetting, which says what this machine has and why."""
    check_name(device, origin)
    if device == "cpu":
        return device
    found = look()
    if device in found.names or (device == "cuda" and found.cuda):
        return device
    why = f" ({found.trouble})" if found.trouble and kind_of(device) == "cuda" else ""
    cure = f"; choose with --device {found.names[-1]}"
    raise BadSetting(f"{origin} is {device!r}, but this machine has: {', '.join(found.names)}{why}{cure}")


def may_have_more() -> bool:
    """Is there any sign of a GPU? Without one nobody needs to ask torch."""
    signs = ("/dev/nvidia0", "/proc/driver/nvidia/version", "/dev/kfd")
    return sys.platform == "darwin" or any(Path(sign).exists() for sign in signs)


@lru_cache(maxsize=1)
def look() -> Found:
    """Asks torch in a process of its own; a torch that cannot be imported sees the processor only."""
    import subprocess  # here, not above: `fts status` reads the settings and asks nobody

    try:
        done = subprocess.run(
            python("-c", PROBE),
            capture_output=True,
            text=True,
            timeout=PROBE_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Found(trouble=f"torch did not answer: {error}")
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        return Found(trouble=f"torch cannot be imported: {said[-1][:200] if said else f'exit code {done.returncode}'}")
    try:
        seen = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return Found(trouble="torch gave an unreadable answer")
    trouble = None if seen["cuda"] or seen["built"] else "torch is built without CUDA"
    return Found(int(seen["cuda"]), bool(seen["mps"]), trouble)
