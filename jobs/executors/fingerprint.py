"""Describes what affects the last bits of results on a machine: processor, GPUs, torch, numpy, python, our code."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fts import __version__
from fts.frozen import dataclass
from fts.jobs.api.spec import md5_of
from fts.jobs.sensors.gpus import list_gpus

FLAGS = ("avx2", "avx512f", "amx_tile", "avx512_bf16", "fma", "asimd", "sve")  # libraries choose kernels by these
NO_TRIAL = {"tui", "__pycache__"}  # folders of our package that no trial uses


@dataclass(frozen=True)
class Fingerprint:
    """Hardware and libraries of a machine; machines with equal ones compute equal numbers."""

    cpu: str
    flags: tuple[str, ...]
    gpus: tuple[str, ...]  # models, not their number: that is a setting of the trial and recorded with it
    torch: str
    numpy: str
    python: str

    @property
    def md5(self) -> str:
        return md5_of(asdict(self))

    @property
    def words(self) -> str:
        """The fingerprint as text for people."""
        torch = f"torch {self.torch}" if self.torch else "no torch"
        gpus = ", ".join(self.gpus) or "no GPU"
        return f"{self.cpu}, {gpus}, {torch}, python {self.python}"


def of_this_machine() -> Fingerprint:
    model, flags = processor()
    return Fingerprint(
        model, flags, tuple(sorted(set(gpu_models()))), version("torch"), version("numpy"), platform.python_version()
    )


def processor() -> tuple[str, tuple[str, ...]]:
    """Returns the processor's model and those of FLAGS that it has."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # macOS
        return platform.processor() or platform.machine(), ()
    info = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    known = set(info.get("flags", info.get("Features", "")).split())
    return info.get("model name") or platform.machine(), tuple(flag for flag in FLAGS if flag in known)


def gpu_models() -> tuple[str, ...]:
    """Returns the models from NVML; without NVML "GPU" for each GPU of FTS_GPUS."""
    try:
        import pynvml  # here: only machines with a driver need it

        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(n) for n in range(pynvml.nvmlDeviceGetCount())]
        names = [pynvml.nvmlDeviceGetName(handle) for handle in handles]
        return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)
    except Exception:  # noqa: BLE001  # no driver, no library, or one that is broken: there is no GPU to use
        return tuple("GPU" for _ in list_gpus())


def version(package: str) -> str:
    """Returns "" if the package is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


@functools.lru_cache(maxsize=1)
def code_md5() -> str:
    """Returns the md5 of all files of our package that a trial or its agent may run."""
    home = Path(sys.modules["fts"].__path__[0])
    digest = hashlib.md5(usedforsecurity=False)
    for root, folders, names in os.walk(home, followlinks=True):
        folders[:] = sorted(name for name in folders if name not in NO_TRIAL and not name.startswith("."))
        for name in sorted(names):
            if name.endswith(".py"):
                path = Path(root) / name
                digest.update(f"{path.relative_to(home)}\n".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def other_code(hello: dict[str, Any]) -> str | None:
    """Says how the fts of a node differs from ours; None: it is the same."""
    if hello.get("code") == code_md5():
        return None
    theirs = str(hello.get("version") or "of another version")[:40]
    here = "with other files than here" if theirs == __version__ else f"here {__version__}"
    return f"it runs another fts: {theirs}, {here}"
