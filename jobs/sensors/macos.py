"""Reads heat on macOS, where psutil has none: thermal pressure without root, degrees from macmon or powermetrics.

Each tool takes up to a second, so a thread runs them every few seconds. `read` returns the latest values; values older
than STALE_S are unknown.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
from typing import Any

from fts.jobs.sensors.reading import PRESSURES, as_number, believable
from fts.jobs.threads import repeat

EVERY_S = 5.0
STALE_S = 30.0  # after a sleep the stored values are old
TOOL_LIMIT_S = 5.0
NOTIFY_KEY = "com.apple.system.thermalpressurelevel"  # thermald publishes its level here, readable by everyone


class MacPart:
    """The latest values of macOS's tools; none of them is required."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._found: dict[str, Any] = {}
        self._found_at = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._ask_on, name="mac sensors", daemon=True)
        self._thread.start()

    def read(self) -> dict[str, Any]:
        """Returns the latest values; empty if they are older than STALE_S."""
        found, at = self._found, self._found_at
        return found if time.time() - at < STALE_S else {}

    def close(self) -> None:
        self._closing.set()
        self._thread.join(TOOL_LIMIT_S)

    def _ask_on(self) -> None:
        powermetrics = may_run_powermetrics()

        def ask() -> float:
            asked_at = time.time()
            self._found = ask_all(powermetrics)
            self._found_at = asked_at
            return self._every_s

        repeat(ask, self._closing, "the sensors of this Mac", self._every_s)


def ask_all(powermetrics: bool) -> dict[str, Any]:
    """Returns the fields from all tools on this Mac; later, better sources overwrite earlier ones."""
    found = parse_pressure(output_of("notifyutil", "-g", NOTIFY_KEY))
    if "thermal_pressure" not in found:
        found |= parse_therm(output_of("pmset", "-g", "therm"))
    if powermetrics:
        found |= parse_powermetrics(powermetrics_sample("thermal,smc,cpu_power,gpu_power") or powermetrics_sample())
    return found | parse_macmon(output_of("macmon", "pipe", "-s", "1"))


def powermetrics_sample(samplers: str = "thermal,cpu_power,gpu_power") -> str | None:
    """Returns one text sample. Only Intel has the smc sampler, which reports degrees; Apple silicon rejects it."""
    return output_of("sudo", "-n", "powermetrics", "-n", "1", "-i", "200", "--samplers", samplers)


def may_run_powermetrics() -> bool:
    return bool(shutil.which("powermetrics")) and output_of("sudo", "-n", "true") is not None


def output_of(tool: str, *arguments: str) -> str | None:
    """Returns what a tool prints; None when it is missing, fails or takes too long."""
    path = shutil.which(tool)
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=TOOL_LIMIT_S,
            start_new_session=True,  # a Ctrl-C meant for the worker must not end it
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def parse_pressure(text: str | None) -> dict[str, Any]:
    """Parses `notifyutil -g`: the key and its level, 0 (nominal) to 4 (sleeping)."""
    match = re.search(rf"{re.escape(NOTIFY_KEY)}\s+(\d+)", text or "")
    level = int(match.group(1)) if match else -1
    return {"thermal_pressure": PRESSURES[level]} if 0 <= level < len(PRESSURES) else {}


def parse_therm(text: str | None) -> dict[str, Any]:
    """Parses `pmset -g therm`: a speed limit below 100 % means throttling (Intel). Without a limit: unknown."""
    match = re.search(r"CPU_Speed_Limit\s*=\s*(\d+)", text or "")
    if not match:
        return {}
    limit = int(match.group(1))
    return {"thermal_pressure": "nominal" if limit >= 100 else "moderate" if limit >= 70 else "heavy"}


def parse_powermetrics(text: str | None) -> dict[str, Any]:
    """Parses degrees (Intel), pressure, power and GPU use from one text sample."""
    found: dict[str, Any] = {}
    if pressure := re.search(r"Current pressure level:\s*(\w+)", text or ""):
        word = pressure.group(1).lower()
        found |= {"thermal_pressure": word} if word in PRESSURES else {}
    degrees = [believable(value) for value in re.findall(r"(?:CPU|GPU) die temperature:\s*([-\d.]+)", text or "")]
    if known := [value for value in degrees if value is not None]:
        found |= {"temperature": max(known), "temperature_source": "powermetrics"}
    if power := re.search(r"Combined Power \(.*?\):\s*([\d.]+)\s*mW", text or ""):
        found["power_w"] = float(power.group(1)) / 1000
    if gpu := re.search(r"GPU (?:HW )?active residency:\s*([\d.]+)%", text or ""):
        found["gpu_percent"] = float(gpu.group(1))
    return found


def parse_macmon(text: str | None) -> dict[str, Any]:
    """Parses one line of `macmon pipe`: average degrees of processor and GPU, watts, GPU use as a fraction."""
    try:
        raw = json.loads((text or "").strip().splitlines()[0])
        temp, gpu, power = raw.get("temp") or {}, raw.get("gpu_usage") or [], raw.get("all_power")
        degrees = [believable(temp.get(name)) for name in ("cpu_temp_avg", "gpu_temp_avg")]
        share = as_number(gpu[1]) if len(gpu) > 1 else None
    except (ValueError, IndexError, AttributeError, TypeError, KeyError):
        return {}
    found: dict[str, Any] = {}
    if known := [value for value in degrees if value is not None]:
        found |= {"temperature": max(known), "temperature_source": "macmon"}
    if share is not None:
        found["gpu_percent"] = 100 * share
    if (watts := as_number(power)) is not None:
        found["power_w"] = watts
    return found
