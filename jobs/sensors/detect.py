"""Reads heat, memory, processors and disk of the machine. None means unknown, never "normal".

    sensors = from_env(disk=Path("outputs"))
    sensors.read().temperature  # Celsius, or None

`FTS_SENSORS` chooses: `auto` (default), `none` (no temperature), or `file:PATH` (JSON or key=value lines with any
fields of Reading, read each time; for tests, and for machines with a thermometer that only your own script can read).
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import stat
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Protocol

import psutil

from fts.jobs.cgroups import memory_groups
from fts.jobs.sensors.macos import MacPart
from fts.jobs.sensors.rapl import Rapl
from fts.jobs.sensors.reading import Reading, Sensors, believable, parse_fields
from fts.jobs.status.formatting import spell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CPU_CHIPS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal", "x86_pkg_temp", "acpitz")
CPU_LEAST_S = 0.2  # over a shorter time the measured processor load is mostly 0
CPU_BACK_S = 1.0  # Linux counts a wait for a disk down again; more than that is a processor that went offline
OLD_FILE_S = 600.0  # a file of FTS_SENSORS that is older tells nothing about now
FRESH_S = 0.4  # several slots share one reading
OF_SEVERAL: tuple[tuple[str, Callable[[list[float]], float]], ...] = (("power_w", sum), ("gpu_percent", fmean))
GPU_NAME = re.compile(r"\d+|(?:GPU|MIG)-.+", re.ASCII)  # in CUDA_VISIBLE_DEVICES; another word hides all after it


class Part(Protocol):
    """A source of some fields: `read` returns field name -> value, without those that it does not know."""

    def read(self) -> dict[str, Any]: ...

    def close(self) -> None: ...


class Machine:
    """Combines several parts into one reading: the highest temperature, the sum of the powers."""

    def __init__(self, parts: list[Part]) -> None:
        self.parts = parts
        self._lock = threading.Lock()
        self._latest: Reading | None = None
        self._read_at = -math.inf

    def read(self) -> Reading:
        """Returns a reading that is at most 0.4 s old; slots share it."""
        with self._lock:
            if self._latest is None or time.monotonic() - self._read_at > FRESH_S:
                self._latest = merge([part.read() for part in self.parts])
                self._read_at = time.monotonic()
            return self._latest

    def watch_gpus(self, given: Callable[[], Sequence[str]]) -> None:
        """From now on measures heat, power and use of the GPUs that `given` names, while it names any."""
        for part in self.parts:
            if isinstance(part, Nvml):
                part.given = given

    def close(self) -> None:
        for part in self.parts:
            part.close()


def from_env(disk: Path, environ: Mapping[str, str] = os.environ, gpu: int = 0) -> Sensors:
    """Returns the sensors that FTS_SENSORS names, with the GPU that torch calls cuda:`gpu`.

    Raises ValueError for another value of FTS_SENSORS.
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
    """Merges the fields of all parts into one reading."""
    merged: dict[str, Any] = {}
    for part in parts:
        hotter = merged if (merged.get("temperature") or 0) > (part.get("temperature") or 0) else part
        kept: dict[str, Any] = {name: hotter[name] for name in ("temperature", "temperature_source") if name in hotter}
        if "power_w" in merged and "power_w" in part:
            kept["power_w"] = merged["power_w"] + part["power_w"]  # processor and GPU
        merged |= part | kept
    return Reading(at=time.time(), **merged)


class SystemPart:
    """Memory, swap, processors and disk from psutil, within the limits of our control groups."""

    def __init__(self, disk: Path) -> None:
        self.disk = disk
        self.groups = memory_groups()
        self._cpu_from, self._cpu_before = time.monotonic(), cpu_seconds()
        self._load: float | None = None  # of all processors, 0 to 1; None: unknown

    def read(self) -> dict[str, Any]:
        memory = psutil.virtual_memory()
        total, available = memory.total, memory.available
        for group in self.groups:
            total, available = group.within(total, available)
        found: dict[str, Any] = {"total": total, "available": available}
        if time.monotonic() - self._cpu_from >= CPU_LEAST_S:
            self._load = self._busy_share()
        if self._load is not None:
            found["cpu_percent"] = round(100 * self._load, 1)
        for name, ask in (("swap_used", used_swap), ("disk_free", lambda: free_disk(self.disk))):
            try:
                found[name] = ask()
            except (OSError, RuntimeError):  # swap_memory fails where /proc is restricted, disk_usage on a lost mount
                continue
        return found

    def _busy_share(self) -> float | None:
        """Returns how much of the processors' time since the last call was busy; None if unknown or no time has passed.

        Not psutil.cpu_percent: it remembers the last call of each thread, so the first one of a thread returns 0.0.
        """
        before, now = self._cpu_before, cpu_seconds()
        self._cpu_from, self._cpu_before = time.monotonic(), now
        if before is None or now is None:
            return None
        busy, idle = (new - old for old, new in zip(before, now, strict=True))
        if min(busy, idle) < -CPU_BACK_S:
            return None
        busy, idle = max(busy, 0.0), max(idle, 0.0)
        return busy / (busy + idle) if busy + idle > 0 else None

    def close(self) -> None:
        pass


def cpu_seconds() -> tuple[float, float] | None:
    """Returns the seconds since boot that all processors were busy and idle; waiting for a disk is idle.

    None where /proc is restricted.
    """
    try:
        spent = psutil.cpu_times()._asdict()
    except (OSError, RuntimeError):
        return None
    idle = spent["idle"] + spent.get("iowait", 0.0)
    counted_twice = ("guest", "guest_nice")  # Linux has them in user and nice, too
    return sum(seconds for name, seconds in spent.items() if name not in counted_twice) - idle, idle


def used_swap() -> int:
    return psutil.swap_memory().used


def free_disk(path: Path) -> int:
    """Returns the free bytes on the file system of `path`, or of its nearest existing parent."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return psutil.disk_usage(str(path)).free


class LinuxHeat:
    """The hottest processor sensor from psutil; empty on most virtual machines and on macOS."""

    def read(self) -> dict[str, Any]:
        if not hasattr(psutil, "sensors_temperatures"):
            return {}
        try:
            chips = psutil.sensors_temperatures()
        except (OSError, ValueError, RuntimeError):  # a driver is being unloaded
            return {}
        return hottest(chips)

    def close(self) -> None:
        pass


def hottest(chips: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Returns the hottest believable value of the processor's chips (disks and radios have other limits)."""
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
    """One NVIDIA GPU from NVML, the one that torch calls cuda:`gpu`; empty without a driver, or if all are hidden.

    While trials have GPUs of their own, the hottest of those, the sum of their power, and the mean of their use. The
    heat of a GPU that others use must not pause trials that cannot use it.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ, gpu: int = 0) -> None:
        self._gpu: Any = None
        self.given: Callable[[], Sequence[str]] = tuple  # names of the GPUs that trials have
        if visible_names(environ) == []:
            return
        try:
            import pynvml  # here: 26 ms, and only machines with a driver need it
        except ImportError:
            return
        self._nvml = pynvml
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            self._gpu = gpu_handle(pynvml, visible_gpu(environ, gpu))

    def read(self) -> dict[str, Any]:
        if self._gpu is None:
            return {}
        found = self._fields(self._gpu)
        if names := self.given():
            each = [self._fields(gpu) for gpu in map(self._handle, names)]
            found = {name: found[name] for name in ("gpu_memory", "gpu_memory_total") if name in found}
            found |= {
                name: of([one[name] for one in each]) for name, of in OF_SEVERAL if all(name in one for one in each)
            }
            if degrees := [one["temperature"] for one in each if one.get("temperature") is not None]:
                found["temperature"] = max(degrees)
        if found.get("temperature") is None:
            found.pop("temperature", None)
            return found
        return found | {"temperature_source": "GPU by NVML"}

    def _handle(self, name: str) -> Any:
        try:
            return gpu_handle(self._nvml, name)
        except self._nvml.NVMLError:  # FTS_GPUS may name what NVML does not know
            return None

    def _fields(self, gpu: Any) -> dict[str, Any]:
        """Returns the fields of one GPU, without those that it does not measure."""
        if gpu is None:
            return {}
        nvml = self._nvml
        asks: dict[str, Callable[[], float | None]] = {
            "temperature": lambda: believable(nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)),
            "gpu_percent": lambda: float(nvml.nvmlDeviceGetUtilizationRates(gpu).gpu),
            "gpu_memory": lambda: int(nvml.nvmlDeviceGetMemoryInfo(gpu).used),
            "gpu_memory_total": lambda: int(nvml.nvmlDeviceGetMemoryInfo(gpu).total),
            "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,  # NVML returns milliwatts
        }
        found: dict[str, Any] = {}
        for name, ask in asks.items():
            try:
                found[name] = ask()
            except nvml.NVMLError:  # not every board has every sensor, and a board can fall off the bus
                continue
        return found

    def close(self) -> None:
        if self._gpu is not None:
            self._gpu = None
            try:
                self._nvml.nvmlShutdown()
            except self._nvml.NVMLError:
                return


def visible_gpu(environ: Mapping[str, str], gpu: int) -> str:
    """Returns NVML's index or UUID of the GPU that torch calls cuda:`gpu`: CUDA_VISIBLE_DEVICES renumbers them."""
    visible = visible_names(environ) or []
    return visible[gpu] if gpu < len(visible) else str(gpu)


def visible_names(environ: Mapping[str, str]) -> list[str] | None:
    """Returns the GPUs of CUDA_VISIBLE_DEVICES, as CUDA reads it, to the first word that names none; None: not set."""
    names = environ.get("CUDA_VISIBLE_DEVICES")
    if names is None:
        return None
    return list(takewhile(GPU_NAME.fullmatch, (name.strip() for name in names.split(","))))


def gpu_handle(nvml: Any, wanted: str) -> Any:
    if not wanted.isdecimal() and GPU_NAME.fullmatch(wanted):
        return nvml.nvmlDeviceGetHandleByUUID(wanted)
    return nvml.nvmlDeviceGetHandleByIndex(int(wanted) if wanted.isdecimal() else 0)


class FileSensors:
    """Fields of Reading from a file that is read each time; fields missing there come from the machine.

    A temperature that is missing, cannot be parsed or is not believable is unknown; so is all of a file that nobody has
    written for OLD_FILE_S, because the program that writes it may have ended.
    """

    def __init__(self, path: Path, base: Part) -> None:
        self.path = path
        self.base = base

    def read(self) -> Reading:
        """Returns the file's current fields, completed by the machine's memory, processors and disk."""
        text, age_s = self._text()
        if age_s <= OLD_FILE_S:
            return replace(merge([self.base.read()]), **parse_fields(text))
        why = f"nobody has written the file of FTS_SENSORS for {spell(age_s)}"
        return replace(merge([self.base.read()]), unknown_because=why)

    def _text(self) -> tuple[str, float]:
        """Returns the text, and the seconds since it was written; 0 if it is made when it is read, as in /sys."""
        try:
            with self.path.open("rb") as file:
                data, facts = file.read(65536), os.fstat(file.fileno())
        except OSError:
            return "", 0.0
        is_stored = stat.S_ISREG(facts.st_mode) and facts.st_size == len(data)
        return data.decode(errors="replace"), time.time() - facts.st_mtime if is_stored else 0.0

    def close(self) -> None:
        self.base.close()
