"""Options of `fts enqueue` that limit a trial of a function or command: memory, time, GPUs, threads."""

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

LEAST = 16 << 20  # bytes; a smaller --memory has probably lost its unit
DURATIONS = {"stall_s": "--stall", "trial_timeout_s": "--trial-timeout", "timeout_s": "--timeout"}


def whole(name: str) -> Whole:
    low, high = LIMITS[name]
    return Whole(int(low), int(high))


OPTIONS = (
    click.option(
        "--memory", metavar="SIZE", help="memory of a trial: 8GB, learn, or FILE.py:FUNCTION  [default: learn]"
    ),
    click.option(
        "--on-oom",
        "on_oom",
        type=click.Choice(CHOICES["on_oom"]),
        default="alone",
        show_default=True,
        help="what a trial out of memory does: run again alone, take less memory, fail, or be pruned",
    ),
    click.option(
        "--stall",
        "stall_s",
        metavar="TIME",
        help="time without a report after which a trial is stuck: 10m, or learn  [default: when idle]",
    ),
    click.option(
        "--trial-timeout",
        "trial_timeout_s",
        metavar="TIME",
        help="worked time after which a trial fails: 2h  [default: no limit]",
    ),
    click.option(
        "--timeout",
        "timeout_s",
        metavar="TIME",
        help="worked time of a cell after which no new trial begins: 36h  [default: no limit]",
    ),
    click.option(
        "--gpu",
        type=whole("gpu"),
        default=0,
        show_default=True,
        metavar="N",
        help="GPUs per trial; no other trial sees them",
    ),
    click.option("--threads", type=whole("threads"), metavar="N", help="threads per trial  [default: a share]"),
)
MEMORY = {"memory", "memory_bytes"}  # fields that --memory sets
STALL = {"stall", "stall_s"}  # fields that --stall sets
NAMES = ("memory", "on_oom", *DURATIONS, "gpu", "threads")


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def read(fields: dict[str, Any]) -> dict[str, Any]:
    """Converts the options to fields of a cell. Raises BadSpec."""
    found = dict(fields)
    if found.get("stall_s") == LEARN:
        found |= {"stall": LEARN, "stall_s": None}
    for name, flag in DURATIONS.items():
        if (text := found.get(name)) is not None:
            found[name] = read_duration(text, flag)
    if (memory := found.pop("memory", None)) is not None:
        found |= memory_of(memory)
    return found


def typed_fields() -> frozenset[str]:
    """Returns the fields of a cell that were given on the command line, even with their default values."""
    context = click.get_current_context()
    names = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    return frozenset(names | (MEMORY if "memory" in names else set()) | (STALL if "stall_s" in names else set()))


def memory_of(text: str) -> dict[str, Any]:
    """Converts `learn`, `8GB` or `train.py:memory` to fields of a cell. Raises BadSpec."""
    if text == LEARN:
        return {}  # the default: the cell stays the same as without the option
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
