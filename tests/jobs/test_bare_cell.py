"""A specification keeps its md5 when later versions add fields, and the later fields come back from JSON."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from fts.jobs.api.bare_cell import LATER, RUNNING, BareCell
from fts.jobs.api.command import CommandCell
from fts.jobs.api.function import FunctionCell
from fts.jobs.api.goals import goals_of
from fts.jobs.api.spec import BadSpec

RANGE = {"kind": "float", "low": 0.0, "high": 1.0, "log": False}
CELLS: dict[str, BareCell] = {
    "function": FunctionCell("s", "s_a", "train.py:f", "/x", "0" * 32, trials=5, axes={"a": 1}, env={"A": "b"}),
    "command": CommandCell(
        "s", "s_a", ("python", "t.py", "{lr}"), "/x", "", trials=5, metric="loss", space={"lr": RANGE}
    ),
}
# of version 0.1.0, which had none of the fields in LATER
MD5 = {
    "function": ("bb4c9b21e2a13ead9fe4c2dffd4358ca", "c4854cb96821e7bdba1bcb8d43ce6746"),
    "command": ("dcd6ef0acda4978408960c1715d5ef94", "b866e6af1b818152a636d57f989d3aee"),
}
OTHER: dict[str, Any] = {
    "memory": "learn",
    "memory_bytes": 2**30,
    "on_oom": "fail",
    "stall": "learn",
    "stall_s": 60.0,
    "trial_timeout_s": 60.0,
    "timeout_s": 60.0,
    "gpu": 1,
    "threads": 2,
    "parallel": 4,
    "seeds": 3,
    "baseline": "train.py:mean",
    "code": ("model",),
    "sync": ("train.py",),
    "data": ("prices.parquet",),
    "forbid": {"large": "lr > 0.5"},
    "goals": {"loss": "minimize", "latency": "minimize"},
    "goal_names": ("loss", "latency"),
    "constraints": {"n_params": "<= 2e6"},
    "prune_by": "loss",
    "percentile": 40.0,
    "process": "reused",
    "csv": "{folder}/metrics.csv",
    "tensorboard": "{folder}/logs",
    "results": "{folder}/results.json",
}
OF_COMMANDS = ("csv", "tensorboard", "results")
TOGETHER = {"metric": "loss", "space": {"lr": RANGE}, "streams": "name"}  # what some of them need
GOALS = {"goal_names": OTHER["goals"], "prune_by": OTHER["goals"]}


@pytest.mark.parametrize("kind", CELLS)
def test_a_cell_without_later_fields_keeps_its_md5(kind):
    cell = CELLS[kind]
    assert (cell.identity, cell.question) == MD5[kind]
    assert not set(cell.to_json()) & set(LATER)


def test_every_later_field_is_tried():
    assert set(OTHER) == set(LATER) < {one.name for one in (*fields(BareCell), *fields(CommandCell))}


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("name", LATER)
def test_a_later_field_comes_back_from_json_and_changes_the_question_unless_it_only_says_how_to_run(kind, name):
    plain = replace(CELLS["command" if name in OF_COMMANDS else kind], **TOGETHER, goals=GOALS.get(name, {}))
    spec = plain.to_json() | {name: OTHER[name]}
    if (kind, name) == ("command", "process"):
        with pytest.raises(BadSpec, match="expected fresh"):
            type(plain).from_json(spec)
        return
    changed = type(plain).from_json(json.loads(json.dumps(spec)))
    assert getattr(changed, name) == OTHER[name]
    assert json.loads(json.dumps(changed.to_json())) == json.loads(json.dumps(spec))
    assert changed.identity != plain.identity
    asks_the_same = name in (*RUNNING, "seeds", "baseline", "code")
    assert (changed.question == plain.question) is asks_the_same


def test_an_older_specification_keeps_its_stream_and_a_new_one_asks_the_same_question():
    new = CELLS["command"]
    assert (new.streams, new.to_json()["streams"]) == ("name", "name")
    old = CommandCell.from_json({name: value for name, value in new.to_json().items() if name != "streams"})
    assert (old.streams, "streams" in old.to_json()) == ("trial", False)
    assert (old.question, old.identity) == (new.question, new.identity)


def test_the_order_of_three_goals_outlives_json_with_sorted_names():
    goals = {"loss": "minimize", "size": "minimize", "acc": "maximize"}
    cell = replace(CELLS["command"], goals=goals)
    again = CommandCell.from_json(json.loads(json.dumps(cell.to_json(), sort_keys=True)))
    assert list(goals_of(again)) == ["loss", "size", "acc"]
