"""Reads what a sampler or pruner needs from a job: curves, draws, distributions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fts.state.models import ALL, DrawRow, EpochRow, TrialRow
from fts.state.queries.trial_rows import by_trial, from_number, trials
from fts.state.rows import as_params, to_distribution, to_draw, to_epoch, to_object  # fmt: skip
from fts.state.values import Cause, Curve, Draw, Epoch, Trial

if TYPE_CHECKING:
    from fts.state.db import Database


def history(db: Database, job_id: int) -> tuple[tuple[Trial, tuple[Epoch, ...]], ...]:
    """Returns a job's trials by number, each with its epochs, read in one transaction."""
    with db.read():
        found = trials(db, job_id)
        by_trial: dict[int, list[Epoch]] = {trial.id: [] for trial in found}
        of_job = TrialRow.select(TrialRow.id).where(TrialRow.job_id == job_id)
        query = EpochRow.select(ALL).where(EpochRow.trial_id.in_(of_job)).order_by(EpochRow.trial_id, EpochRow.epoch)
        for row in db.rows(query):
            by_trial[row["trial_id"]].append(to_epoch(row))
    return tuple((trial, tuple(by_trial[trial.id])) for trial in found)


# Causes of failure from which a sampler may learn that the parameters are bad
BAD_REGION = (Cause.DIVERGED, Cause.TIME_LIMIT, Cause.OUT_OF_MEMORY, Cause.CANNOT_FIT)


def curves(
    db: Database, job_id: int, first: int = 0, known: dict[str, dict[str, Any]] | None = None
) -> tuple[Curve, ...]:
    """Returns what a sampler or pruner needs of a job's trials from number `first` on, by number.

    Takes a fifth of the time of `history`, for jobs of many trials. `known`: the distributions of earlier calls by
    their JSON, so that equal ones are one object; the new ones are added.
    """
    reported: dict[int, dict[int, float]] = {}
    value = EpochRow.value
    kept = ("id", "number", "params", "status", "value", "cause", "facts")
    chosen = [getattr(TrialRow, name) for name in kept]
    with db.read():
        rows = db.rows(TrialRow.select(*chosen).where(*from_number(job_id, first)).order_by(TrialRow.number))
        of_job = TrialRow.select(TrialRow.id).where(*from_number(job_id, first))
        epochs = EpochRow.select(EpochRow.trial_id, EpochRow.epoch, value)
        of_these = epochs.where(EpochRow.trial_id.in_(of_job), value.is_null(False))
        for row in db.each_row(of_these.order_by(EpochRow.trial_id, EpochRow.epoch)):
            if math.isfinite(row["value"]):
                reported.setdefault(row["trial_id"], {})[row["epoch"]] = row["value"]
        drawn = _distributions(db, of_job, {} if known is None else known)
    return tuple(
        Curve(
            row["number"],
            as_params(row),
            row["status"],
            row["value"],
            reported.get(row["id"], {}),
            diverged=row["status"] == "failed" and row["cause"] in BAD_REGION,
            distributions=drawn.get(row["id"], {}),
            **_of_search(row["facts"]),
        )
        for row in rows
    )


FACTS_OF_SEARCH = {  # fact -> field of a Curve
    "metrics": "metrics", "constraints": "constraints", "sampler": "kept", "attrs": "attributes",
}  # fmt: skip


def _of_search(facts: str) -> dict[str, dict[str, Any]]:
    """Returns the Curve fields from a trial's facts. Parses only facts that contain any: most do not."""
    if not any(f'"{name}":' in facts for name in FACTS_OF_SEARCH):
        return {}
    read = to_object(facts)
    return {field: read[name] for name, field in FACTS_OF_SEARCH.items() if isinstance(read.get(name), dict)}


def _distributions(db: Database, trials: Any, read: dict[str, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Returns trial id -> parameter -> its distribution; empty for cells that declare their space.

    `read`: parsed distributions by their JSON, because most trials draw from the same ones.
    """
    found: dict[int, dict[str, Any]] = {}
    draws = DrawRow.select(DrawRow.trial_id, DrawRow.k, DrawRow.name, DrawRow.distribution)
    for row in db.each_row(draws.where(DrawRow.trial_id.in_(trials)).order_by(DrawRow.trial_id, DrawRow.k)):
        text = row["distribution"]
        if text not in read:
            read[text] = to_distribution(row)
        found.setdefault(row["trial_id"], {})[row["name"]] = read[text]
    return found


def draws(db: Database, trial_id: int) -> tuple[Draw, ...]:
    """Returns a trial's draws in order. Raises UnreadableHistory for an unreadable row."""
    query = DrawRow.select(ALL).where(DrawRow.trial_id == trial_id).order_by(DrawRow.k)
    return tuple(to_draw(row) for row in db.rows(query))


def drawn(db: Database, job_id: int) -> dict[int, tuple[Draw, ...]]:
    """Returns the draws of each trial of a job, in order, by trial id."""
    of_job = TrialRow.select(TrialRow.id).where(TrialRow.job_id == job_id)
    query = DrawRow.select(ALL).where(DrawRow.trial_id.in_(of_job)).order_by(DrawRow.trial_id, DrawRow.k)
    return by_trial(db.rows(query), to_draw)
