"""The matrix of the PatchTST study in the enqueue form: cells as `fts enqueue` says, prices as `fts plan`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fts.jobs.api.form import Look
from fts.jobs.cli import main
from fts.jobs.settings import Places
from fts.jobs.status import formatting
from fts.jobs.status.formatting import GB
from fts.state.db import open_database
from fts.study.choices import HORIZONS, SIZES, TASKS
from fts.study.estimate import Allowed, RecordedTrials, Same, plan_cell
from fts.study.form import MatrixOffer
from fts.study.matrix import make_cells
from fts.study.preview import CellCost, Preview, cost_of, sentences, time_of, trials_left
from tests.chaos import study

FIELDS = {"split": {"train": 0.6, "val": 0.3}, "min_positives": 3, "context": 20}
TYPED = {"tier": "a20", "task": TASKS[-1], "trials": "4", "min_positives": "3", "context": "20"}
COST = CellCost(trial_s=360.0, low=GB, high=3 * GB, shapes=80, too_large=0, waiting=0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study.make_data(tmp_path_factory.mktemp("preview") / "data")


@pytest.fixture
def places(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setenv("FTS_DATA", str(data))
    monkeypatch.setenv("FTS_MEMORY_LIMIT", "8GB")
    monkeypatch.chdir(tmp_path)
    return Places(tmp_path / "outputs" / "fts.db", data)


def look(places: Places, **typed: str) -> Look:
    return MatrixOffer(places, Path.cwd()).look({**TYPED, **typed})[0]


def test_every_size_and_horizon_is_a_cell_and_baselines_are_asked_for(places: Places) -> None:
    offer = MatrixOffer(places, Path.cwd())
    found, seen = offer.look(TYPED)
    assert not found.problem and [cell.name for cell in found.cells] == [f"{b}/h{h}" for b in SIZES for h in HORIZONS]
    fields = {field.name: field for field in found.fields}
    assert fields["baselines"].default == "--baselines" and fields["task"].choices == TASKS
    assert fields["trials"].default == "50" and not {"whole", "budgets_", "horizons"} & set(fields)
    price = offer.cost(TYPED, seen, ["tiny/h1", "2B/h3"])
    assert price.trials == 8 and price.words[:3] == ("enqueue", "tiny/h1", "2B/h3") and "--baselines" in price.words
    assert "2B 8." in " ".join(price.sentences) or "do not fit this machine" in " ".join(price.sentences)
    assert "walk-forward cost as much as 5 trials" in price.sentences[0]
    assert "folds is '4o', expected KofN" in look(places, winner_folds="4o").problem
    assert offer.look({**TYPED, "winner_folds": "none", "winner_seeds": "1"})[1].after == 0.0


def test_cells_are_what_the_dry_run_of_the_command_says(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--tier", "a20", "--task", TASKS[-1], "--min-positives", "3", "--context", "20", "--no-check"]
    base = ["--db", str(places.db), "enqueue", "tiny/h1", "tiny/h3", "2M/h1", *words]
    assert main([*base[: -len(words) - 1], "--trials", "4", *words]) == 0
    db = open_database(places.db)
    db.execute_sql("UPDATE job SET status = 'done' WHERE id = 2")
    db.close()
    for trials in ("2", "4", "9"):
        capsys.readouterr()
        assert main([*base, "--trials", trials, "-n", "--json"]) == 0
        said = {line["cell"]: line for line in json.loads(capsys.readouterr().out)["enqueued"]}
        now = {cell.name: cell for cell in look(places, trials=trials).cells if cell.name in said}
        assert {name: cell.told for name, cell in now.items()} == {name: line["told"] for name, line in said.items()}
        extended = {name for name, line in said.items() if line["extended_from"] is not None}
        assert {name for name, cell in now.items() if cell.state == "extends"} == extended
        assert all(cell.more == 5 for name, cell in now.items() if name in extended)


def test_without_data_the_sentence_of_the_command_is_the_problem(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "fts data build" in look(Places(places.db, tmp_path / "none")).problem


def test_seconds_of_a_trial_are_those_of_the_plan(places: Places) -> None:
    cell = make_cells(places, ["2M"], [1], 2, 20, "threshold_1pct", "a20", **FIELDS)[0]
    plan = plan_cell(places, RecordedTrials(None, "cpu", 1), cell, Allowed(8 << 30, 8 << 30), "cpu")
    assert cost_of(plan).trial_s == pytest.approx(plan.trial_s)
    assert cost_of(plan).shapes == len(plan.shapes)


def test_the_sentences_name_time_memory_and_what_does_not_fit() -> None:
    huge = CellCost(trial_s=None, low=9 * GB, high=9 * GB, shapes=75, too_large=75, waiting=0)
    plan = Preview({("2M", 1): COST, ("2B", 1): huge}, 1, 8 * GB, "cpu", "12 trials recorded here", recorded=True)
    text = "\n".join(sentences(plan, [("2M", 1), ("2B", 1)], 50))
    assert f"time: about {formatting.spell(50 * 360)} (80 %: 3.2 to 7.8 h) with 1 slot" in text
    assert "and 1 cell of unknown duration; from 12 trials recorded here" in text
    assert "2B: 75 of 75 architectures do not fit this machine" in text and "2M 1.0 to 3.0 GB" in text
    assert "with halving, 50 trials cost as much as 11 whole ones" in sentences(plan, [("2M", 1)], 50, "halving")[0]


def test_a_cell_runs_on_one_slot_and_what_is_there_costs_nothing() -> None:
    has_50 = replace(COST, same=(Same(4, "done", 50),))
    plan = Preview({("2M", 1): COST, ("2M", 3): has_50}, 2, 8 * GB, "cpu", "12 trials", recorded=True)
    one, two = (time_of(plan, cells, 50) for cells in ([("2M", 1)], [("2M", 1), ("2M", 3)]))
    assert one == two and "about 5 h" in one
    assert trials_left(has_50, 75) == 25 and time_of(plan, [("2M", 3)], 50) == "nothing to run"
    judged = sentences(plan, [("2M", 1), ("2M", 3)], 50, after=5.1)[0]
    assert f"about {formatting.spell(55.1 * 360)} " in judged and "walk-forward cost as much as 5 trials" in judged
    assert "walk-forward" not in sentences(plan, [("2M", 3)], 50, after=5.1)[0], "it is there"
