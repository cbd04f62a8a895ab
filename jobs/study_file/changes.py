"""Compares a cell with its earlier job, and describes the differences by the keys of the study file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fts.jobs.api.bare_cell import MORE, default_of
from fts.jobs.api.study import LEARN
from fts.jobs.status import formatting

if TYPE_CHECKING:
    from fts.jobs.api.bare_cell import BareCell

Spec = Mapping[str, Any]

NAMES = {  # field of a specification -> key of the study file
    "steps": "budget.epochs", "timeout_s": "budget.timeout", "trial_timeout_s": "budget.trial_timeout",
    "seeds": "budget.seeds", "trials": "budget.trials", "memory_bytes": "resources.memory",
    "memory": "resources.memory",
    "on_oom": "resources.on_oom", "stall_s": "resources.stall",
    "stall": "resources.stall", "gpu": "resources.gpu", "threads": "resources.threads",
    "process": "resources.process",
    "sampler": "search.sampler", "pruner": "search.pruner", "halving": "search.halving",
    "percentile": "search.percentile", "prune_by": "search.prune_by", "parallel": "search.parallel",
    "diverged": "search.diverged", "warm_start": "search.warm_start",
    "baseline": "baseline.objective", "metric": "the metric", "direction": "its goal",
    "goals": "metrics", "constraints": "metrics", "seed": "study.seed", "objective": "study.objective",
    "command": "study.command", "python": "study.python", "env": "study.env", "code": "study.code",
    "sync": "study.sync", "data": "study.data",
    "grace_s": "study.grace", "folder": "the folder", "regex": "metrics regex",
}  # fmt: skip
FOLLOWS = ("experiment", "study", "axes", "kind", "goal_names", "streams", "program", "script")  # follow from others
PLACES = ("folder", "python")  # the only fields that differ after a study was moved
TIMES = ("timeout_s", "trial_timeout_s", "stall_s", "grace_s")
SHOWN = 60  # characters of a value
MOST = 6  # differences in one sentence


def taken_over(cell: BareCell, spec: Spec) -> list[str]:
    """Returns the changed fields of how trials run. Counts such as `trials` are excluded: they extend a job."""
    mine = _plain(cell)
    changes = [name for name in cell.no_question if name not in (*FOLLOWS, *MORE)]
    return [name for name in changes if mine.get(name) != spec.get(name)]


def with_fields(cell: BareCell, spec: Spec, fields: Iterable[str]) -> dict[str, Any]:
    """Returns the specification with the cell's values of these fields, without fields that have their default."""
    mine, fields = _plain(cell), list(fields)
    kept = {name: value for name, value in spec.items() if name not in fields}
    return kept | {name: mine[name] for name in fields if name in mine}


def question_differs(cell: BareCell, spec: Spec) -> list[str]:
    """Returns the changed fields that decide a trial's results."""
    mine = _plain(cell)
    decides = [name for name in dict.fromkeys([*mine, *spec]) if name not in cell.no_question]
    return [name for name in decides if not alike(mine.get(name), spec.get(name))]


def alike(one: Any, other: Any) -> bool:
    """Are two values of a specification the same for its md5? To Python 1, 1.0 and True are equal."""
    return one == other and json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def in_words(cell: BareCell, spec: Spec, fields: Iterable[str]) -> str:
    """Returns changes in words: `space.lr.high 0.1 -> 1.0, search.sampler tpe -> random`."""
    mine = _plain(cell)
    differences: list[str] = []
    fields = list(fields)
    if {"memory", "memory_bytes"} <= set(fields):  # one key of the study file
        fields.remove("memory")
    if {"stall", "stall_s"} <= set(fields):  # the same
        fields.remove("stall" if mine.get("stall_s") or not mine.get("stall") else "stall_s")
    for name in fields:
        if name == "code_md5" and spec.get("code", []) != mine.get("code", []):
            differences.append(f"study.code {_shown('code', spec.get('code'))} -> {_shown('code', mine.get('code'))}")
        elif name == "code_md5":
            differences.append(f"{cell.file or 'the script'}{' or code beside it' if cell.code else ''} has changed")
        elif name == "space":
            differences += _of_table("space", spec.get("space") or {}, mine.get("space") or {})
        elif name in ("forbid", "goals", "constraints", "env", "halving"):
            differences += _of_table(NAMES.get(name, name), spec.get(name) or {}, mine.get(name) or {})
        elif name == "warm_start" and len(spec.get(name) or ()) == len(mine.get(name) or ()):
            differences += _of_first(spec[name], mine[name])
        elif name not in FOLLOWS:
            differences.append(
                f"{NAMES.get(name, name)} {_value_of(cell, name, spec)} -> {_value_of(cell, name, mine)}"
            )
    more = f" and {len(differences) - MOST} more" if len(differences) > MOST else ""
    return ", ".join(differences[:MOST]) + more


def _of_table(at: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    differences = []
    for name in dict.fromkeys([*old, *new]):
        here, before, now = f"{at}.{name}", old.get(name), new.get(name)
        if alike(before, now):
            continue
        if name not in old or name not in new:
            differences.append(f"{here} is {'gone' if name in old else 'new'}")
        elif isinstance(before, Mapping) and isinstance(now, Mapping):
            differences += _of_table(here, before, now)
        else:
            differences.append(f"{here} {_shown(name, before)} -> {_shown(name, now)}")
    return differences


def _of_first(old: list[Spec], new: list[Spec]) -> list[str]:
    """Returns the changes of equally many first trials: `search.warm_start.0.lr 0.1 -> 0.2`."""
    at = NAMES["warm_start"]
    return [one for k, pair in enumerate(zip(old, new, strict=True)) for one in _of_table(f"{at}.{k}", *pair)]


def _value_of(cell: BareCell, name: str, spec: Spec) -> str:
    """Returns a field's value in words, or its default if the specification does not have it."""
    if name in ("memory", "memory_bytes"):
        found = next((one for one in ("memory_bytes", "memory") if spec.get(one) is not None), None)
        return LEARN if found is None else _shown(found, spec[found])
    return _shown(name, spec[name] if name in spec else default_of(cell, name))


def _shown(name: str, value: Any) -> str:
    if value is None or value in ([], {}):
        return "none"
    if name == "warm_start":
        return formatting.count(len(value), "trial")
    if name in TIMES:
        return formatting.spell(float(value))
    if name == "memory_bytes":
        return f"{value / 2**30:.3g} GB"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return formatting.cut(text, 4 * SHOWN if name in PLACES else SHOWN)  # folders differ at their end


def _plain(cell: BareCell) -> dict[str, Any]:
    """Returns the cell as after a round trip through JSON, which turns tuples into lists."""
    found: dict[str, Any] = json.loads(json.dumps(cell.to_json()))
    return found
