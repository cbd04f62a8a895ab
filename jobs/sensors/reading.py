"""Defines a sensor reading, and parses one from JSON or key=value text."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Any, Protocol

from fts.frozen import dataclass

HOTTEST = 150.0  # Celsius; a higher value, or one not above zero, comes from a broken sensor (-1, 65535, 0)
PRESSURES = ("nominal", "moderate", "heavy", "trapping", "sleeping")  # macOS's names of its levels 0-4


@dataclass(frozen=True)
class Reading:
    """One reading of the machine. Bytes, Celsius, watts, percent of the whole machine; None is unknown."""

    at: float  # seconds since the epoch
    temperature: float | None = None  # the hottest of processor and GPU
    temperature_source: str | None = None
    gpu_percent: float | None = None
    gpu_memory: int | None = None
    gpu_memory_total: int | None = None
    power_w: float | None = None
    available: int | None = None
    total: int | None = None
    swap_used: int | None = None
    cpu_percent: float | None = None
    disk_free: int | None = None
    thermal_pressure: str | None = None  # one of PRESSURES
    unknown_because: str | None = None  # why a source gives no temperature, if it can say that


class Sensors(Protocol):
    """A source of readings. `read` never raises and takes milliseconds; thread-safe."""

    def read(self) -> Reading: ...

    def close(self) -> None: ...


def parse_fields(text: str) -> dict[str, Any]:
    """Parses fields of Reading from JSON or key=value lines; drops unknown names and unbelievable values."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        raw = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        raw = {"temperature": raw}  # the text is a single number
    if not isinstance(raw, dict):
        return {}
    cleaned = {str(name).strip(): clean(str(name).strip(), value) for name, value in raw.items()}
    known = {name: value for name, value in cleaned.items() if value is not None}
    if "temperature" in known:
        known.setdefault("temperature_source", "file")
    return known


def clean(name: str, value: Any) -> Any:
    """Returns a believable value of one field, or None."""
    if name == "temperature":
        return believable(value)
    if name == "thermal_pressure":
        word = str(value).strip().lower()
        return word if word in PRESSURES else None
    if name == "temperature_source":
        return str(value).strip()[:60] or None
    if name in {field.name for field in fields(Reading)} - {"at", "unknown_because"}:
        number = as_number(value)
        if number is None or number < 0:
            return None
        return number if name in ("power_w", "gpu_percent", "cpu_percent") else int(number)
    return None


def believable(value: Any) -> float | None:
    """Returns the value if it is in 0..HOTTEST degrees Celsius, else None."""
    number = as_number(value)
    return number if number is not None and 0 < number <= HOTTEST else None


def as_number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
