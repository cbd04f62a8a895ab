"""Nodes in the monitor: how many and how busy in one line, each with its state and machine in full."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from fts.jobs.executors.node_history import NodeHistory
from fts.jobs.sensors.reading import Reading
from fts.jobs.status import formatting
from fts.jobs.status import summary as glances
from fts.state.rows import is_node_history
from fts.state.values import Node, NodeState
from fts.tui.data.view import View
from fts.tui.render import text
from fts.tui.widgets import node_charts, nodes
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
                      "quarantined: it runs another fts", "gpu6: lost", "no message yet"):  # fmt: skip
            assert all(word in told for word in words.split()), (width, words)
        assert "…" not in told


def test_memory_heat_and_gpu_are_charts_that_break_where_it_is_narrow():
    past = tuple((NOW - 600 + 60 * n, n / 10, 40.0 + 5 * n, None) for n in range(10))
    hot, cold = replace(UP, past=past), replace(UP, past=past[:1])
    (row,) = node_charts.rows(hot, 120)
    assert "".join(part for part, _ in row).split()[::3] == ["mem", "heat"] and said([row]).endswith("▇ 85°C")
    assert "90%" in said([row]) and ("running" in {role for _, role in row}) and row[-1][1] == "look"
    assert len(node_charts.rows(hot, 40)) == 2 and node_charts.rows(cold, 120) == [] == node_charts.rows(UP, 120)
    assert "heat" in said(nodes.rows(view(hot, SILENT), 120))


def test_what_another_version_wrote_of_the_past_is_no_chart():
    good = [[1.0, 0.5, None, 3]]
    assert is_node_history(good) and is_node_history([])
    for wrong in (None, {}, [1], [[1.0, 2.0]], [[None, 1, 1, 1]], [["x", 1, 1, 1]], [[1.0, True, None, None]]):
        assert not is_node_history(wrong), wrong


def test_a_day_of_a_node_is_a_few_points():
    past = NodeHistory()
    for n in range(6000):
        points = past.add(Reading(at=1000.0 + 15 * n, total=100, available=100 - n % 100, temperature=50.0))
    gaps = {after[0] - before[0] for before, after in pairwise(points)}
    assert 24 <= len(points) <= 48 and gaps == {240.0} and points[-1][0] > 1000 + 15 * 5980


def test_an_idle_screen_stays_still():
    """Nothing that counts seconds while all is well."""
    before, after = nodes.sentence(UP, NOW), nodes.sentence(UP, NOW + 7)
    assert before == after
