"""Nodes in the monitor: how many and how busy in one line, each with its state and machine in full."""

from __future__ import annotations

from dataclasses import replace

from fts.jobs.status import formatting
from fts.jobs.status import summary as glances
from fts.state.values import Node, NodeState
from fts.tui.data.view import View
from fts.tui.render import text
from fts.tui.widgets import nodes
from tests.tui.values import NOW, make_snapshot

UP = Node(
    "gpu3", NodeState.UP, NOW - 5, host="gpu3.example", slots=4, gpus=("H100",), memory=80 * formatting.GB,
    heard_at=NOW - 5, trials=("20M/h3 t5", "20M/h5 t2"), vitals={"temperature": 61.0},
)  # fmt: skip
SILENT = replace(UP, id="gpu4", state=NodeState.SILENT, heard_at=NOW - 40, trials=(), vitals={})
BAD = replace(UP, id="gpu5", state=NodeState.QUARANTINED, reason="it runs another fts", trials=())
NEVER = Node("gpu6", NodeState.LOST, NOW)


def view(*found: Node) -> View:
    return View(glances.look(make_snapshot(nodes=found), NOW))


def said(lines: list[text.Line]) -> str:
    return " ".join("".join(part for part, _ in row) for row in lines)


def test_one_line_counts_them_and_says_where_each_is_shown():
    (line,) = nodes.brief(view(UP, SILENT, BAD), 120)
    told = "".join(part for part, _ in line)
    assert told.startswith("3 nodes, 2/8 slots, 1 silent 40 s, 1 quarantined: it runs another fts")
    assert told.endswith("(4 shows each)")
    assert nodes.brief(view(), 120) == [] == nodes.rows(view(), 120)


def test_each_is_told_whole_at_any_width():
    for width in (40, 52, 120):
        told = said(nodes.rows(view(UP, SILENT, BAD, NEVER), width))
        for words in ("gpu3 (gpu3.example): up", "2 of 4 slots: 20M/h3 t5, 20M/h5 t2", "61°C", "gpu4", "silent 40 s",
                      "quarantined: it runs another fts", "gpu6: lost", "never heard of"):  # fmt: skip
            assert all(word in told for word in words.split()), (width, words)
        assert "…" not in told


def test_an_idle_screen_stays_still():
    """Nothing that counts seconds while all is well."""
    before, after = nodes.sentence(UP, NOW), nodes.sentence(UP, NOW + 7)
    assert before == after
