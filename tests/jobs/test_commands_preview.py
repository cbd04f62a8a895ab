"""The preview of an order says what `fts plan --memory` says, because it is what it says."""

import json
from pathlib import Path

import pytest

from fts.jobs.actions.handlers import CommandFailed
from fts.jobs.cli import main
from fts.jobs.settings import Places
from fts.jobs.status import formatting
from fts.study.estimate import Allowed, Known, plan_cell
from fts.study.matrix import make_cells
from fts.study.preview import DataList, Question, SearchSettings, cost_of, read, read_data_list, sentences
from tests.chaos import study

FIELDS = {"split": {"train": 0.6, "val": 0.3}, "min_positives": 3, "context": 20}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study.make_data(tmp_path_factory.mktemp("preview") / "data")


@pytest.fixture
def places(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setenv("FTS_DATA", str(data))
    return Places(tmp_path / "outputs" / "fts.db", data)


@pytest.fixture
def said(places: Places, capsys: pytest.CaptureFixture[str]) -> str:
    asked = ["--db", str(places.db), "plan", "--memory", "2M/h1", "2B/h1", "--tier", "a20", "--context", "20"]
    assert main([*asked, "--min-positives", "3", "--memory-limit", "8GB", "--slots", "1", "--json"]) == 0
    return capsys.readouterr().out


def test_seconds_of_a_trial_are_those_of_the_plan(places: Places, said: str):
    cell = make_cells(places, ["2M"], [1], 2, 20, "threshold_1pct", "a20", **FIELDS)[0]
    plan = plan_cell(places, Known(None, "cpu", 1), cell, Allowed(8 << 30, 8 << 30), "cpu")
    as_json = json.loads(json.dumps({
        "epochs": plan.epochs, "shapes": [shape.__dict__ for shape in plan.shapes],
    }))  # fmt: skip
    assert cost_of(as_json).trial_s == pytest.approx(plan.trial_s)
    assert read(said).cells["2M", 1].shapes == len(plan.shapes)


def test_the_sentences_name_time_memory_and_what_does_not_fit(said: str):
    found = read(said)
    text = "\n".join(sentences(found, [("2M", 1), ("2B", 1)], 50))
    small, large = found.cells["2M", 1], found.cells["2B", 1]
    assert large.too_large > 0
    assert f"2B: {large.too_large} of {large.shapes} architectures do not fit this machine" in text
    assert "memory, 8.0 GB for each slot" in text
    assert formatting.size(small.high) in text
    hours = sum(50 * cost.trial_s for cost in (small, large) if cost.trial_s is not None)
    assert f"about {formatting.spell(hours)} on 1 slot" in text
    assert sentences(found, [], 50) == ["no cell is chosen"]
    assert "unknown duration" in "\n".join(sentences(found, [("2M", 1), ("2M", 5)], 50))


def test_twice_the_trials_take_twice_as_long(said: str):
    found = read(said)
    once, twice = (sentences(found, [("2M", 1)], trials)[1] for trials in (50, 100))
    assert once != twice


def test_without_data_the_sentence_of_the_command_is_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FTS_DATA", str(tmp_path / "none"))
    with pytest.raises(CommandFailed, match="fts data build"):
        Question(tmp_path / "outputs" / "fts.db", SearchSettings(20)).answer()


def test_who_stops_listening_waits_for_nothing(tmp_path: Path):
    question = Question(tmp_path / "outputs" / "fts.db", SearchSettings(20))
    question.stop()
    with pytest.raises(CommandFailed):
        question.answer()
    question.stop()


def test_the_data_sets_are_those_of_the_command(places: Places):
    assert DataList(places.db).answer() == {"a20": ("CHAOS.dataset.a20",)}


@pytest.mark.parametrize("odd", ["", "[]", "{}", '{"plan": {"cells": [1]}}', '{"plan": {"cells": [], "rate": 7}}'])
def test_an_answer_of_another_form_is_an_error_in_words(odd: str):
    with pytest.raises(CommandFailed, match="this window cannot read the answer"):
        read(odd)
    with pytest.raises(CommandFailed, match="this window cannot read the answer"):
        read_data_list(odd)
