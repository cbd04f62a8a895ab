"""Finds which devices trials can use on this machine, and refuses others before anything starts.

Importing torch would cost the worker 2 s and 300 MB, so a separate process does it; cpu needs no check.
"""

from __future__ import annotations

import json
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.python import python
from fts.jobs.status.formatting import count, in_gb

if TYPE_CHECKING:
    from collections.abc import Sequence

DEVICE = re.compile(r"cpu|mps|cuda(:(0|[1-9]\d{0,2}))?")
EXPECTED = "expected cpu, cuda, cuda:N or mps"
PROBE_S = 120.0  # importing torch from a slow disk takes a minute
PROBE = """
import json, torch
cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
print(json.dumps({"cuda": cuda, "mps": torch.backends.mps.is_available(), "built": torch.backends.cuda.is_built()}))
"""


class BadSetting(ValueError):
    """An environment variable or option has an invalid value; the message names it."""


@dataclass(frozen=True)
class FoundDevices:
    """The devices that torch finds on this machine."""

    cuda: int = 0  # number of GPUs
    mps: bool = False
    trouble: str | None = None  # why it finds no GPU

    @property
    def names(self) -> tuple[str, ...]:
        gpus = tuple(f"cuda:{index}" for index in range(self.cuda))
        return ("cpu", *gpus, *(("mps",) if self.mps else ()))


GPU_SHARE = 0.95  # fraction of a GPU's memory that trials may share; the driver needs the rest


@dataclass(frozen=True)
class Gpu:
    """One GPU as CUDA_VISIBLE_DEVICES names it."""

    name: str  # GPU-5c8a..., or an index
    memory: int | None = None  # bytes; None: unknown
    identity: str = ""  # its UUID, the same in all processes of the machine; empty: use the name

    @property
    def key(self) -> str:
        return self.identity or self.name

    @property
    def usable(self) -> int | None:
        """Returns the bytes that trials may take of it; None: unknown."""
        return None if self.memory is None else int(GPU_SHARE * self.memory)

    def holds(self, needed: int) -> bool:
        """Has it so many bytes for trials? True if its memory is unknown."""
        return self.usable is None or needed <= self.usable


def gpus_in_words(gpus: Sequence[Gpu]) -> str:
    """Returns `2 GPUs for trials, each with room for 22.8 GB`; without the amount if it is unknown."""
    amounts = " or ".join(in_gb(size) for size in sorted({gpu.usable for gpu in gpus if gpu.usable is not None}))
    return f"{count(len(gpus), 'GPU')} for trials" + (
        f", {'each ' if len(gpus) > 1 else ''}with room for {amounts}" if amounts else ""
    )


def kind_of(device: str) -> str:
    """Returns `cuda` for cuda:1."""
    return device.partition(":")[0]


def index_of(device: str) -> int:
    """Returns 1 for cuda:1; 0 for a device without a number."""
    return int(device.partition(":")[2] or 0)


def check_name(device: str, origin: str) -> str:
    """Returns the device if its name is valid. Raises BadSetting with the devices of this machine."""
    if not DEVICE.fullmatch(device):
        has = ", ".join(look().names) if may_have_more() else "cpu"
        raise BadSetting(f"{origin} is {device[:40]!r}, {EXPECTED}; this machine has: {has}")
    return device


def check_here(device: str, origin: str) -> str:
    """Returns the device if this machine has it. Raises BadSetting with the devices of this machine, and why."""
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
    """Is there any sign of a GPU? Without one, torch need not be imported."""
    signs = ("/dev/nvidia0", "/proc/driver/nvidia/version", "/dev/kfd")
    return sys.platform == "darwin" or any(Path(sign).exists() for sign in signs)


@lru_cache(maxsize=1)
def look() -> FoundDevices:
    """Asks torch in a separate process; if torch cannot be imported, only cpu is found."""
    import subprocess  # here, not above: `fts status` imports this module and starts no process

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
        return FoundDevices(trouble=f"torch did not answer: {error}")
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return FoundDevices(trouble=f"torch cannot be imported: {lines[-1][:200]}")
    try:
        seen = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return FoundDevices(trouble="torch gave an unreadable answer")
    trouble = None if seen["cuda"] or seen["built"] else "torch is built without CUDA"
    return FoundDevices(int(seen["cuda"]), bool(seen["mps"]), trouble)
