"""Collects the facts that a trial reported, by name, and formats values, for tables and screens."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from fts.jobs.api.goals import CONSTRAINTS
from fts.jobs.status import formatting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fts.jobs.status.declared import Declared
    from fts.state.values import Trial

NOT_DRAWN = "·"
WITH_COLUMN = (  # facts with their own database column
    "architecture", "n_params", "val_loss", "val_auc", "auc_low", "auc_high", "n_train", "n_val", "n_pos",
    "prior_loss", "label_md5", "base_rate", "data_md5", "micro_batch", "accumulation", "predicted_bytes",
)  # fmt: skip
IN_METRICS, IN_ATTRS = "metrics", "attrs"  # facts with the numbers a function returned, and its user attributes
NOT_TOLD = (IN_METRICS, IN_ATTRS, CONSTRAINTS, "sampler")  # facts that are shown elsewhere, or not for people


def metrics_of(trial: Trial) -> dict[str, Any]:
    """Returns the numbers that the trial's function returned, by name."""
    found = trial.facts.get(IN_METRICS)
    return found if isinstance(found, dict) else {}


def facts_of(trial: Trial) -> dict[str, Any]:
    """Returns all other facts by name, those with their own column first."""
    kept = {name: value for name in WITH_COLUMN if (value := getattr(trial, name)) not in (None, "")}
    return kept | own_facts_of(trial)


def violations_of(trial: Trial) -> dict[str, float]:
    """Returns by name how much the trial violates each constraint; 0 or less if it meets it."""
    found = trial.facts.get(CONSTRAINTS)
    return found if isinstance(found, dict) else {}


def attributes_of(trial: Trial) -> dict[str, Any]:
    """Returns what the function set with trial.set_user_attr."""
    found = trial.facts.get(IN_ATTRS)
    return found if isinstance(found, dict) else {}


def own_facts_of(trial: Trial) -> dict[str, Any]:
    """Returns the facts without their own column."""
    own = {name: value for name, value in trial.facts.items() if name not in NOT_TOLD}
    own |= {f"violation.{name}": value for name, value in violations_of(trial).items()}
    return attributes_of(trial) | own


def declared_facts(study: Declared, trial: Trial, where: str) -> list[tuple[str, str]]:
    """Returns (label, value with unit) of the facts that the study shows at `where` and the trial has reported."""
    told = facts_of(trial)
    return [
        (fact.label or fact.name, f"{text} {fact.unit}".strip())
        for fact in study.facts
        if where in fact.shown and (text := formatted(told.get(fact.name), fact.format or "number")) is not None
    ]


def drawn(params: Mapping[str, Any], name: str) -> str:
    """Formats a parameter of a trial: None may be a drawn value; a dot if its branch does not have it."""
    return formatting.number(params[name]) if name in params else NOT_DRAWN


def formatted(value: Any, spec: str) -> str | None:
    """Formats a value with the format of its column."""
    if spec == "interval":
        return formatting.interval(*value)
    if spec == "times":
        return f"{value[0]}x{value[1]}" if value[0] else None
    if spec == "parameters":
        return formatting.parameters(value)
    if value is None:
        return None
    if spec == "number":
        return formatting.number(value)
    if spec in ("score", "score3"):
        return formatting.score(value, 3 if spec == "score3" else 4)
    if spec == "minutes":
        return f"{value / 60:.1f}"
    if not spec or isinstance(value, bool) or not isinstance(value, int | float):
        return formatting.number(value) if isinstance(value, float) else str(value)
    if spec == "count":
        return str(value) if value else None
    if spec == ".4f":
        return number(value)
    try:
        text = format(value, spec) if PLAIN.fullmatch(spec) else ""
    except ValueError:
        text = ""
    shows = text and (value == 0 or not math.isfinite(value) or re.search("[1-9]", text))  # false for 1e-7 as .3f
    return text if shows else formatting.number(value)


PLAIN = re.compile(r"[,_]?(\.\d)?[defg%]?")  # formats that a declaration may have: .3f, ",", .1%


def number(value: float) -> str:
    """Formats a metric of any size: 0.6841, 24, 3.127e-6, 1.234e+07."""
    if not math.isfinite(value):
        return formatting.score(value)
    if value == int(value) and abs(value) < 1e9:
        return f"{value:.0f}"
    return formatting.score(value) if abs(value) < 1e4 else formatting.number(float(value))
