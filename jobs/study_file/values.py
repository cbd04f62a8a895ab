"""Reads the values of a study file: sizes, times, whole numbers and words. Each function raises ValueError."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fts.jobs.api.amounts import read_duration, read_size

Reader = Callable[[Any], Any]
LEAST = 16 << 20  # bytes of memory; a smaller number is probably missing its unit


def text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError
    return value


def texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError
    return tuple(text(each) for each in value)


def words(value: Any) -> str | tuple[str, ...]:
    """One text, or a list of words."""
    if isinstance(value, str):
        return text(value)
    if not isinstance(value, Sequence) or not value:
        raise ValueError
    return text(value[0]), *(argument(each) for each in value[1:])


def argument(value: Any) -> str:
    """One word of a command behind its program, which may be empty or blank: `--separator " "`."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    return value


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def whole(low: int, high: int) -> Reader:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return read


def number(value: Any) -> float | int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return value


def between(low: float, high: float) -> Reader:
    def read(value: Any) -> float:
        found = float(number(value))
        if not low <= found <= high:
            raise ValueError
        return found

    return read


def one_of(*known: str) -> Reader:
    def read(value: Any) -> str:
        if value not in known:
            raise ValueError
        return str(value)

    return read


def seconds(low: float, high: float) -> Reader:
    """Reads `36h`, `10m`, `1h 30m`, or a number of seconds."""

    def read(value: Any) -> float:
        if isinstance(value, str):
            value = sum(read_duration(part, "it") for part in text(value).split())
        if not low <= number(value) <= high:
            raise ValueError
        return float(value)

    return read


def size(value: Any) -> int:
    """Reads `8GB`, `512MB` (powers of 1024), or a number of bytes."""
    if isinstance(value, str):
        value = read_size(value, "it")
    return int(whole(LEAST, 2**50)(value))


def environment(value: Any) -> dict[str, str]:
    """Reads environment variables. Numbers become text."""
    if not isinstance(value, Mapping):
        raise ValueError
    found = {}
    for name, each in value.items():
        if not name or "=" in name or "\0" in name or isinstance(each, bool) or not isinstance(each, str | int | float):
            raise ValueError
        if "\0" in (found_text := str(each)):  # no process can be started with it
            raise ValueError
        found[str(name)] = found_text
    return found


def mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError
    return dict(value)
