"""Options of `fts enqueue` that say what a trial may take: memory, time, GPUs, threads; for functions and commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from fts.jobs.api.amounts import read_duration, read_size
from fts.jobs.api.bare_cell import CHOICES, LIMITS, OBJECTIVE
from fts.jobs.api.spec import BadSpec
from fts.jobs.api.study import LEARN
from fts.jobs.cli.app import Whole

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST = 16 << 20  # bytes; a smaller promise lacks its unit
DURATIONS = {"stall_s": "--stall", "trial_timeout_s": "--trial-timeout", "timeout_s": "--timeout"}


def whole(name: str) -> Whole:
    low, high = LIMITS[name]
    return Whole(int(low), int(high))


OPTIONS = (
    click.option("--memory", metavar="SIZE", help="8GB: a promise; learn; FILE.py:FUNCTION  [default: learn]"),
    click.option(
        "--on-oom",
        "on_oom",
        type=click.Choice(CHOICES["on_oom"]),
        default="alone",
        show_default=True,
        help="a trial out of memory: runs once more alone, takes less, fails, or is pruned",
    ),
    click.option(
        "--stall", "stall_s", metavar="TIME", help="without a report for 10m it is stuck; learn  [default: when idle]"
    ),
    click.option(
        "--trial-timeout",
        "trial_timeout_s",
        metavar="TIME",
        help="of work, then a trial has failed: 2h  [default: no limit]",
    ),
    click.option(
        "--timeout",
        "timeout_s",
        metavar="TIME",
        help="of work on a cell, then no trial begins: 36h  [default: no limit]",
    ),
    click.option(
        "--gpu",
        type=whole("gpu"),
        default=0,
        show_default=True,
        metavar="N",
        help="GPUs of each trial, that it alone sees",
    ),
    click.option("--threads", type=whole("threads"), metavar="N", help="of each trial  [default: a share]"),
)
MEMORY = {"memory", "memory_bytes"}  # --memory says both: one takes the place of the other
STALL = {"stall", "stall_s"}  # so does --stall
NAMES = ("memory", "on_oom", *DURATIONS, "gpu", "threads")


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def read(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a cell, from what was typed. Raises BadSpec."""
    found = dict(fields)
    if found.get("stall_s") == LEARN:
        found |= {"stall": LEARN, "stall_s": None}
    for name, flag in DURATIONS.items():
        if (text := found.get(name)) is not None:
            found[name] = read_duration(text, flag)
    if (memory := found.pop("memory", None)) is not None:
        found |= memory_of(memory)
    return found


def typed() -> frozenset[str]:
    """The fields of a cell that stand on the command line, also as their defaults."""
    context = click.get_current_context()
    names = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    return frozenset(names | (MEMORY if "memory" in names else set()) | (STALL if "stall_s" in names else set()))


def memory_of(text: str) -> dict[str, Any]:
    """`learn`, `8GB` or `train.py:memory` as fields of a cell. Raises BadSpec."""
    if text == LEARN:
        return {}  # as without it: the same cell
    if OBJECTIVE.fullmatch(text):
        return {"memory": text}
    try:
        size = read_size(text, "--memory")
    except BadSpec as error:
        raise BadSpec(f"{error}, {LEARN}, or a function such as train.py:memory") from None
    if size < LEAST:
        raise BadSpec(
            f"--memory is {text!r}, but a trial takes 16 MB before it does anything; write a size such as 8GB"
        )
    return {"memory_bytes": size}
