"""What the machine feels like now: heat, memory, processors, disk, each known or None. None is unknown, never "normal".

    sensors = from_env(disk=Path("outputs"))
    sensors.read().temperature  # Celsius, or None

`FTS_SENSORS` chooses: `auto` (default), `none` (no temperature), or `file:PATH` (JSON or key=value lines with any
fields of Reading, read anew each time; for tests, and for machines whose thermometer only a script of yours can read).
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psutil

from fts.jobs.cgroups import memory_groups
from fts.jobs.sensors.macos import MacPart
from fts.jobs.sensors.rapl import Rapl
from fts.jobs.sensors.reading import Reading, Sensors, believable, parse_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CPU_CHIPS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal", "x86_pkg_temp", "acpitz")
CPU_LEAST_S = 0.2  # over a shorter time the processors' load is a guess, mostly 0
FRESH_S = 0.4  # several slots share one reading


class Part(Protocol):
    """One source of some of the fields: `read` returns field name -> value, leaving out what it does not know."""

    def read(self) -> dict[str, Any]: ...

    def close(self) -> None: ...


class Machine:
    """Sensors made of parts, asked in turn; of several temperatures the hottest is taken, powers add up."""

    def __init__(self, parts: list[Part]) -> None:
        self.parts = parts
        self._lock = threading.Lock()
        self._latest: Reading | None = None
        self._read_at = -math.inf

    def read(self) -> Reading:
        """The reading of this moment (at most 0.4 s old, shared between slots)."""
        with self._lock:
            if self._latest is None or time.monotonic() - self._read_at > FRESH_S:
                self._latest = merge([part.read() for part in self.parts])
                self._read_at = time.monotonic()
            return self._latest

    def close(self) -> None:
        for part in self.parts:
            part.close()


def from_env(disk: Path, environ: Mapping[str, str] = os.environ, gpu: int = 0) -> Sensors:
    """The sensors that FTS_SENSORS asks for, of the GPU that torch calls cuda:`gpu`.

    Raises ValueError when it asks for something else than the three.
    """
    choice = environ.get("FTS_SENSORS", "").strip() or "auto"
    base = SystemPart(disk)
    if choice.startswith("file:"):
        return FileSensors(Path(choice.removeprefix("file:")), base)
    if choice == "none":
        return Machine([base])
    if choice != "auto":
        raise ValueError(f"FTS_SENSORS is {choice!r}; expected auto, none or file:PATH")
    if sys.platform == "darwin":
        return Machine([base, MacPart()])
    return Machine([base, LinuxHeat(), Rapl(), Nvml(gpu=gpu)])


def merge(parts: list[dict[str, Any]]) -> Reading:
    """One reading out of what each part knows."""
    merged: dict[str, Any] = {}
    for part in parts:
        hotter = merged if (merged.get("temperature") or 0) > (part.get("temperature") or 0) else part
        kept: dict[str, Any] = {name: hotter[name] for name in ("temperature", "temperature_source") if name in hotter}
        if "power_w" in merged and "power_w" in part:
            kept["power_w"] = merged["power_w"] + part["power_w"]  # processor and GPU
        merged |= part | kept
    return Reading(at=time.time(), **merged)


class SystemPart:
    """Memory, swap, processors and disk by psutil, within the limits of the control group that holds us."""

    def __init__(self, disk: Path) -> None:
        self.disk = disk
        self.groups = memory_groups()
        psutil.cpu_percent()  # the first call has nothing to compare with and says 0.0
        self._cpu_from = time.monotonic()

    def read(self) -> dict[str, Any]:
        memory = psutil.virtual_memory()
        total, available = memory.total, memory.available
        for group in self.groups:
            total, available = group.within(total, available)
        found: dict[str, Any] = {"total": total, "available": available}
        if time.monotonic() - self._cpu_from >= CPU_LEAST_S:
            found["cpu_percent"] = psutil.cpu_percent()
        for name, ask in (("swap_used", used_swap), ("disk_free", lambda: free_disk(self.disk))):
            try:
                found[name] = ask()
            except (OSError, RuntimeError):  # swap_memory fails where /proc is restricted, disk_usage on a lost mount
                continue
        return found

    def close(self) -> None:
        pass


def used_swap() -> int:
    return psutil.swap_memory().used


def free_disk(path: Path) -> int:
    """Bytes free for us on the file system of `path`, or of its nearest parent that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return psutil.disk_usage(str(path)).free


class LinuxHeat:
    """The hottest processor sensor by psutil; knows nothing on most virtual machines, and on macOS."""

    def read(self) -> dict[str, Any]:
        if not hasattr(psutil, "sensors_temperatures"):
            return {}
        try:
            chips = psutil.sensors_temperatures()
        except (OSError, ValueError, RuntimeError):  # a driver that is going away
            return {}
        return hottest(chips)

    def close(self) -> None:
        pass


def hottest(chips: Mapping[str, list[Any]]) -> dict[str, Any]:
    """The hottest believable value of the processor's chips (disks and radios have other limits)."""
    found = [
        (value, f"{name} {entry.label}".strip())
        for name in CPU_CHIPS
        for entry in chips.get(name, [])
        if (value := believable(entry.current)) is not None
    ]
    if not found:
        return {}
    temperature, source = max(found)
    return {"temperature": temperature, "temperature_source": source}


class Nvml:
    """One NVIDIA GPU by NVML (of CUDA_VISIBLE_DEVICES the one torch numbers `gpu`); knows nothing without a driver."""

    def __init__(self, environ: Mapping[str, str] = os.environ, gpu: int = 0) -> None:
        self._gpu: Any = None
        try:
            import pynvml  # here: 26 ms, and only machines with a driver have a use for it

            self._nvml = pynvml
            pynvml.nvmlInit()
            self._gpu = gpu_handle(pynvml, visible_gpu(environ, gpu))
        except ImportError:
            return
        except pynvml.NVMLError:
            return

    def read(self) -> dict[str, Any]:
        if self._gpu is None:
            return {}
        nvml, gpu = self._nvml, self._gpu
        asks: dict[str, Callable[[], float | None]] = {
            "temperature": lambda: believable(nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)),
            "gpu_percent": lambda: float(nvml.nvmlDeviceGetUtilizationRates(gpu).gpu),
            "gpu_memory": lambda: int(nvml.nvmlDeviceGetMemoryInfo(gpu).used),
            "gpu_memory_total": lambda: int(nvml.nvmlDeviceGetMemoryInfo(gpu).total),
            "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,  # it answers in milliwatts
        }
        found: dict[str, Any] = {}
        for name, ask in asks.items():
            try:
                found[name] = ask()
            except nvml.NVMLError:  # not every board has every sensor, and a board can fall off the bus
                continue
        if found.get("temperature") is None:
            found.pop("temperature", None)
            return found
        return found | {"temperature_source": "GPU by NVML"}

    def close(self) -> None:
        if self._gpu is not None:
            self._gpu = None
            try:
                self._nvml.nvmlShutdown()
            except self._nvml.NVMLError:
                return


def visible_gpu(environ: Mapping[str, str], gpu: int) -> str:
    """How NVML knows the GPU that torch numbers `gpu`: CUDA_VISIBLE_DEVICES renumbers them."""
    visible = [name.strip() for name in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return visible[gpu] if gpu < len(visible) else str(gpu)


def gpu_handle(nvml: Any, wanted: str) -> Any:
    if wanted.startswith(("GPU-", "MIG-")):
        return nvml.nvmlDeviceGetHandleByUUID(wanted)
    return nvml.nvmlDeviceGetHandleByIndex(int(wanted) if wanted.isdigit() else 0)


class FileSensors:
    """Fields of Reading from a file that is read anew each time; what it does not name comes from the machine.

    A temperature the file does not give, or gives in a way that cannot be read or believed, is unknown.
    """

    def __init__(self, path: Path, base: Part) -> None:
        self.path = path
        self.base = base

    def read(self) -> Reading:
        """The file as it is now over the machine's memory, processors and disk."""
        return replace(merge([self.base.read()]), **parse_fields(self._text()))

    def _text(self) -> str:
        try:
            return self.path.read_text(errors="replace")[:65536]
        except OSError:
            return ""

    def close(self) -> None:
        self.base.close()
