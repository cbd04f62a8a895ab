"""A field of a report or result that cannot be recorded costs neither the others nor the trial; the log names it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fts.jobs.api.command import CommandCell
from fts.jobs.api.protocol import MAX_LINE, encode
from fts.jobs.supervisor.trial_end import MAX_ATTRIBUTES
from fts.jobs.trial.reports import Reports
from fts.jobs.trial.running import LONGEST_NAME, MAX_METRICS, metrics_of
from fts.state.errors import BadRow
from fts.state.transitions.reported_facts import checked_epoch, checked_facts
from tests.trial.harness import cell_of, log_of, run_one

ODD = {  # what cannot be recorded -> what the log says
    "b'x'": "the metric odd is b'x' of type bytes, expected a number; it is not recorded",
    "{1, 2}": "the metric odd is {1, 2} of type set",
    "CIRCULAR": "the metric odd is [[...]] of type list",
    "DEEP": "the metric odd is a value that cannot be shown of type list",
    "'x' * 10**7": "of type str, expected a number",
    "10**400": "the metric odd is a whole number of 1329 bits, expected at most 1.8e308",
    "None": "the metric odd is None of type NoneType",
    "np.zeros(3_000_000)": "of type ndarray, expected a number",
    "Rude()": "the metric odd is a value that cannot be shown of type Rude",
}
KEPT = {"float('nan')": None, "float('inf')": None, "True": 1.0, "np.float32(0.5)": 0.5, "10**30": 1e30}
BODY = """
import numpy as np
import fts
CIRCULAR = []
CIRCULAR.append(CIRCULAR)
DEEP = []
for _ in range(5000):
    DEEP = [DEEP]
class Rude:
    def __float__(self):
        raise KeyError
    __repr__ = __float__
def objective(trial):
    trial.report(0.5, 1, {{"good": 7, "odd": {odd}, "last": 8}})
    fts.report(trial, 2, value=0.25, odd={odd}, last=8)
    return {{"value": 1, "good": 7, "odd": {odd}, "last": 8}}
"""


@pytest.mark.parametrize("odd", [*ODD, *KEPT])
def test_an_odd_metric_costs_no_other(tmp_path: Path, odd: str) -> None:
    cell = cell_of(tmp_path, BODY.format(odd=odd))
    record = run_one(cell)
    assert record.end["fact"] == "result", record.end
    own = {"odd": KEPT[odd]} if odd in KEPT else {}
    assert record.end["metrics"] == {"value": 1, "good": 7, "last": 8} | own
    assert record.epochs[1]["metrics"] == {"good": 7, "last": 8} | own
    assert record.epochs[2]["metrics"] == {"value": 0.25, "last": 8} | own
    assert log_of(cell).count("it is not recorded") == (odd in ODD), "once"
    assert ODD.get(odd, "") in log_of(cell)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("{'value': b'x', 'good': 1}", "the metric value is b'x' of type bytes, expected a number"),
        ("{'first': None, 'good': 1}", "the metric first is None of type NoneType, expected a number"),
        ("b'x'", "what objective returned is b'x' of type bytes"),
    ],
)
def test_a_trial_whose_value_is_no_number_fails(tmp_path: Path, returned: str, said: str) -> None:
    record = run_one(cell_of(tmp_path, f"def objective(trial):\n    return {returned}"))
    assert record.end["fact"] == "failed" and said in record.end["message"]


def test_odd_names_of_metrics_cost_no_other(tmp_path: Path) -> None:
    body = """
    def objective(trial):
        odd = {"x" * 1000: 1, "": 1, "a\\nb": 1, 3: 4, "last": 8}
        trial.report(0.5, 1, odd)
        return {"value": 1} | odd
    """
    cell = cell_of(tmp_path, body)
    record = run_one(cell)
    assert record.epochs[1]["metrics"] == {"3": 4, "last": 8}
    assert record.end["metrics"] == {"value": 1, "3": 4, "last": 8}
    assert "a metric is called 'xxxx" in log_of(cell) and "expected 1 to 100 printable characters" in log_of(cell)


def test_odd_fields_of_a_command_cost_no_other() -> None:
    said: list[str] = []
    cell = CommandCell("s", "s_a", ("true",), "/", "", metric="loss", trials=1)
    line = json.dumps({"epoch": 1, "odd": [1], "x" * 1000: 1, "": 1, "a\nb": 1, "huge": 10**400, "loss": 2, "last": 8})
    report = Reports(cell, said.append).take(0, line)
    assert report is not None and report.metrics == {"loss": 2, "last": 8}
    assert len(said) == 3 and all("expected 1 to 100 printable characters" in one for one in said)


@pytest.mark.parametrize(
    ("regex", "line", "metrics"),
    [
        ("loss=([0-9.]+)", "loss=1.5e-05", {"loss": 1.5e-05}),
        (r"(?P<epoch>\d+) (?P<loss>\d\.\d) acc (?P<acc>\d+)", "3 1.5E+2, acc 1", {}),
        (r"(?P<loss>\d\.\d+).* acc (?P<acc>[\d.]+)", "1.5E+2, acc 2e1, end", {"loss": 150.0, "acc": 20.0}),
        (r"epoch (?P<epoch>\d+) loss=(?P<loss>[-\d.]+)", "epoch 3e1 loss=-2.", {}),
        (r"loss=([\d.]+)", "loss=0.5e1a", {"loss": 0.5}),
        (r"loss=(1e-3)", "loss=1e-3e4", {"loss": 1e-3}),
        (r"loss=(\d+)", "loss=12 e5", {"loss": 12.0}),
    ],
)
def test_a_group_that_ends_before_the_exponent_of_a_number_reads_it(
    regex: str, line: str, metrics: dict[str, float]
) -> None:
    """`loss=([0-9.]+)` made 1.5 of 1.5e-05, without a word."""
    cell = CommandCell("s", "s_a", ("true",), "/", "", metric="loss", trials=1, regex=regex)
    report = Reports(cell, lambda _: None).take(0, line)
    assert (report.metrics if report is not None else {}) == metrics


@pytest.mark.parametrize(
    ("lines", "steps"),
    [
        (["{'loss': 1.5, 'epoch': 0.5}", "{'loss': 2, 'epoch': 1.0}", "{'loss': 3, 'epoch': 1.5}"], [0, 1, 2]),
        (["Epoch 0: loss=1", "Epoch 0.25: loss=2", "Epoch 0.5: loss=3", "Epoch 1: loss=4"], [0, 1, 2, 3]),
        (["epoch 1.0 loss=1", "epoch 2.0 loss=2", "epoch 4. loss=3"], [1, 2, 4]),
        (["epoch 7/10 loss=1", "epoch [8] loss=2", "loss=3"], [7, 8, 0]),
        (["step 10 epoch 0.5 loss=1", "step 20 epoch 1 loss=2"], [10, 20]),
    ],
)
def test_reports_of_fractions_of_an_epoch_are_all_kept(lines: list[str], steps: list[int]) -> None:
    """The Trainer of transformers prints 'epoch': 0.25: each report of an epoch replaced the one before it."""
    said: list[str] = []
    cell = CommandCell("s", "s_a", ("true",), "/", "", metric="loss", trials=1, regex=r"loss'?[=:] ?([\d.]+)")
    reports = Reports(cell, said.append)
    taken = [reports.take(0, line) for line in lines]
    assert [report.step for report in taken if report is not None] == steps
    assert len(said) == any("0.5" in line or "0.25" in line for line in lines[:2]) - lines[0].startswith("step")


def test_an_epoch_that_is_a_fraction_leaves_the_step_beside_it() -> None:
    cell = CommandCell("s", "s_a", ("true",), "/", "", metric="loss", trials=1)
    reports = Reports(cell, lambda _: None)
    for line in ('{"epoch": 0.5, "step": 10, "loss": 1}', '{"epoch": 1.0, "step": 20, "loss": 2}', '{"loss": 3}'):
        reports.take(0, line)
    assert [(one.step, one.value) for one in reports.epochs] == [(10, 1.0), (20, 2.0), (21, 3.0)]
    assert reports.epochs[0].metrics == {"epoch": 0.5, "loss": 1.0}


def test_a_number_beyond_any_float_is_refused_where_a_row_would_be_written() -> None:
    with pytest.raises(BadRow, match="loss is a whole number of 1329 bits"):
        checked_epoch({"epoch": 1, "value": 1.0, "metrics": {"loss": 10**400}}, general=True)


def test_a_thousand_metrics_of_the_longest_names_are_recorded() -> None:
    most = {f"{number:03}" + '"' * (LONGEST_NAME - 3): -1.2345678901234567e-100 for number in range(MAX_METRICS)}
    assert len(metrics_of(most)) == MAX_METRICS, "what a function may report"
    row = checked_epoch({"epoch": 1, "value": 1.0, "metrics": most}, general=True)
    assert json.loads(row["metrics"]) == most
    facts = checked_facts({"metrics": most, "attrs": {"text": "x" * MAX_ATTRIBUTES}})
    assert json.loads(facts["facts"])["metrics"] == most
    assert len(encode({"fact": "epoch", "number": 1, "epoch": 1, "value": 1.0, "metrics": most})) < MAX_LINE


@pytest.mark.parametrize(
    ("returned", "goals", "said"),
    [
        ("1e300", {}, "objective returned 1e+300, expected a finite number, at most 1e+100"),
        ("float('nan')", {}, "objective returned nan, expected a finite number"),
        ("(1, 1e300)", {"a": "minimize", "b": "minimize"}, "objective returned b = 1e+300, expected a finite number"),
        ("{'a': -1e300, 'b': 1}", {"a": "minimize", "b": "minimize"}, "objective returned a = -1e+300, expected a"),
    ],
)
def test_a_value_beyond_every_column_is_named_as_it_was_returned(
    tmp_path: Path, returned: str, goals: dict[str, str], said: str
) -> None:
    named = {"goals": goals, "metric": "a", "direction": "minimize"} if goals else {}
    cell = cell_of(tmp_path, f"def objective(trial):\n    return {returned}", **named)
    assert said in run_one(cell).end["message"]


def test_a_bare_number_is_the_goal_that_prunes_and_never_another(tmp_path: Path) -> None:
    goals = {"goals": {"a": "minimize", "b": "minimize"}, "metric": "a", "direction": "minimize", "prune_by": "b"}
    named = "import fts\ndef objective(trial):\n    fts.report(trial, 0, a=1.0, b=7.0)\n"
    end = run_one(cell_of(tmp_path, named, **goals)).end
    assert (end["value"], end["last_value"], end["metrics"]) == (1.0, 1.0, {"a": 1.0, "b": 7.0})
    end = run_one(cell_of(tmp_path, "def objective(trial):\n    trial.report(7.0, 0)", **goals)).end
    assert end["fact"] == "failed" and "the metrics are b, expected a among them" in end["message"]
