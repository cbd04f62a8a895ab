"""`fts plan --memory`: what each cell would need on this machine: recipe, batch, bytes and seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fts.jobs.cli.app import here
from fts.jobs.cli.errors import NothingThere
from fts.jobs.cli.output import emit_json, emit_table, say
from fts.jobs.cli.selection import choose
from fts.jobs.settings import worker_settings
from fts.jobs.status.formatting import count, in_gb
from fts.jobs.supervisor.admission import usual_limit
from fts.state.db import open_for_reading
from fts.state.location import has_study
from fts.state.values import JobStatus
from fts.study import choices
from fts.study.cell import TRAINS, CellSpec
from fts.study.cli.enqueue import parse_cell, specs_of
from fts.study.estimate import Allowed, CellPlan, RecordedTrials, ShapePlan, plan_cell
from fts.study.own import own_jobs

if TYPE_CHECKING:
    from fts.state.db import Database

LIVE = (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PAUSED)


def plan_memory(
    cells: tuple[str, ...],
    whole: bool,
    budgets: tuple[str, ...] | None,
    each: bool,
    task: str,
    slots: int | None,
    threads: int | None,
    device: str | None,
    memory_limit: int | None,
    as_json: bool,
    **fields: Any,
) -> None:
    """Prints the plan of the named cells; without names, of the queue, or of the whole matrix if it is empty."""
    settings = worker_settings(slots=slots, threads=threads, device=device, planning=True)
    most = memory_limit or usual_limit(here().outputs, 1, settings.device)
    if most is None:
        raise click.UsageError(
            f"this machine does not report the memory of {settings.device}; give it with --memory-limit"
        )
    allowed = Allowed(memory_limit or most // settings.slots, most)
    db = open_for_reading(here().db) if has_study(here().db) else None
    try:
        wanted = _wanted(db, cells, whole or bool(budgets), budgets or choices.BUDGETS, task, fields)
        known = RecordedTrials(db, settings.device, settings.threads)
        plans = [plan_cell(here(), known, cell, allowed, settings.device) for cell in wanted]
    finally:
        if db is not None:
            db.close()
    machine = {name: getattr(settings, name) for name in ("slots", "threads", "device")}
    machine |= {"limit": allowed.share, "most": allowed.most}
    if as_json:
        return emit_json("plan", machine | {"rate": known.rate(), "cells": plans})
    each_gets = (
        f"{in_gb(allowed.share)} and {count(settings.threads, 'thread')} for each of {count(settings.slots, 'slot')} "
        f"on {settings.device}"
    )
    say(f"{each_gets}; seconds from {known.rate().source}")
    return _each(plans) if each else _table(plans)


def _wanted(
    db: Database | None,
    cells: tuple[str, ...],
    whole: bool,
    budgets: tuple[str, ...],
    task: str,
    fields: dict[str, Any],
) -> list[CellSpec]:
    """Returns the named cells, or all queued ones; else new cells of the matrix."""
    jobs = [] if db is None else [j for j in own_jobs(db, LIVE) if j.kind in TRAINS]
    if whole or not (cells or jobs):
        matrix_cells = [(b, h, task) for b in budgets for h in choices.HORIZONS]
        return specs_of(matrix_cells, **fields)
    if not cells:
        return [CellSpec.from_json(job.spec) for job in jobs]
    found = []
    for word in cells:
        try:
            found += [CellSpec.from_json(job.spec) for job in choose(jobs, [word]).jobs]
        except NothingThere:
            found += specs_of([parse_cell(word, task)], **fields)
    return found


def _table(plans: list[CellPlan]) -> None:
    columns = ("cell", "shapes", "usual recipe", "bytes", "s/step", "s/epoch", "trial", "wait for room", "too large")
    rows = [
        (
            f"{cell.budget}/h{cell.horizon}",
            len(cell.shapes),
            cell.usual_recipe or "none fits",
            _span([shape.predicted_bytes for shape in cell.fitting or cell.shapes], in_gb),
            _span([shape.step_s or 0.0 for shape in cell.fitting], _short),
            _span([shape.epoch_s or 0.0 for shape in cell.fitting], _short),
            _duration(cell.trial_s),
            sum(shape.beyond_share for shape in cell.shapes),
            _names(cell.too_large),
        )
        for cell in plans
    ]
    emit_table(columns, rows, right=("shapes", "s/step", "s/epoch", "trial", "wait for room"))


def _each(plans: list[CellPlan]) -> None:
    columns = ("cell", "architecture", "params", "recipe", "bytes", "s/step", "s/epoch")
    rows = [
        (
            f"{cell.budget}/h{cell.horizon}",
            shape.architecture,
            f"{shape.n_params:,}",
            shape.recipe or "does not fit",
            in_gb(shape.predicted_bytes),
            "" if shape.step_s is None else _short(shape.step_s),
            "" if shape.epoch_s is None else _short(shape.epoch_s),
        )
        for cell in plans
        for shape in cell.shapes
    ]
    emit_table(columns, rows, right=("params", "bytes", "s/step", "s/epoch"))


def _span(values: list[Any], word: Any) -> str:
    if not values:
        return ""
    low, high = word(min(values)), word(max(values))
    return low if low == high else f"{low} - {high}"


def _short(seconds: float) -> str:
    return f"{seconds:.2g}" if seconds < 10 else f"{seconds:.0f}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _names(shapes: tuple[ShapePlan, ...]) -> str:
    if not shapes:
        return ""
    least = min(shapes, key=lambda shape: shape.predicted_bytes)
    return f"{len(shapes)}: from {least.architecture}, {in_gb(least.predicted_bytes)}"
