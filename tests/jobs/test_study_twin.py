"""fts.Study holds what study.toml holds: the same tables, the same cells, the same faults, there and back."""

from __future__ import annotations

import contextlib
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fts
from fts.jobs.api.spec import BadSpec
from fts.jobs.study_file import keys, toml
from fts.jobs.study_file.study import StudyFile
from fts.state import queries
from fts.state.db import open_for_reading
from tests.jobs.test_study_file import FAULTS, WHOLE, study

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
SCALARS = st.one_of(
    TEXT, st.booleans(), st.integers(), st.floats(allow_nan=False), st.sampled_from(["a\nb", "'''", '"""', "\\", "# x"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)
TABLE = st.dictionaries(TEXT, VALUES, max_size=4)
TABLES = st.dictionaries(TEXT, st.one_of(TABLE, st.lists(TABLE, min_size=1, max_size=2)), max_size=4)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TABLES)
def test_what_is_written_as_toml_reads_back_equal_digit_for_digit(tables: dict[str, Any]) -> None:
    back = tomllib.loads(toml.written(tables))
    assert back == tables
    assert json.dumps(back) == json.dumps(tables), "the same order and types, 1 and 1.0 and true told apart"


def twin(folder: Path, text: str) -> fts.Study:
    tables = tomllib.loads(text)
    return fts.Study(**tables.pop("study", {}), folder=folder, **tables)


def test_the_twin_of_a_whole_file_has_its_cells_and_its_text_makes_it_again(tmp_path: Path) -> None:
    file = study(tmp_path, WHOLE)
    made = twin(tmp_path, WHOLE)
    assert made.tables == file.tables
    (tmp_path / "study.toml").write_text(made.to_toml())
    again = fts.Study.read(tmp_path / "study.toml")
    assert again == made and again.to_toml() == made.to_toml()
    assert StudyFile.read(tmp_path / "study.toml").cells() == file.cells()
    assert made.check(tmp_path / "outputs" / "fts.db") == [
        "mnist/S", "mnist/M", "cifar10/S", "cifar10/M", "cifar10/L", "svhn/S",
    ]  # fmt: skip


def is_toml(text: str) -> bool:
    with contextlib.suppress(tomllib.TOMLDecodeError):
        return bool(tomllib.loads(text)) and text != 'name = "x"\n[study]'  # a key outside of the tables
    return False


@pytest.mark.parametrize(("text", "sentence"), [row for row in FAULTS if is_toml(row[0])][::6])
def test_the_twin_refuses_what_the_file_refuses(tmp_path: Path, text: str, sentence: str) -> None:
    study(tmp_path, "")
    tables = tomllib.loads(text)
    if unknown := set(tables) - set(keys.TABLES):
        assert unknown == {"metric"}
        sentence = "study.metric is an unknown key of [study]"
    if not sentence:
        return
    with pytest.raises(BadSpec) as caught:
        twin(tmp_path, text).check(tmp_path / "outputs" / "fts.db")
    place = sentence.removeprefix("study.toml ").partition(": ")[2] if "line " in sentence else sentence
    assert place in str(caught.value) and "study.toml" not in str(caught.value)


def objective(trial: Any) -> float:
    return float(trial.suggest_float("lr", 0.0, 1.0))


def test_values_of_python_become_what_toml_can_hold(tmp_path: Path) -> None:
    made = fts.Study(
        objective, name="s", seed=np.int64(3), matrix={"size": ("S", "M")}, folder=Path(__file__).parent,
        space={"lr": {"low": np.float32(0.5), "high": 1.0}}, code=[Path("toy.py")],
    )  # fmt: skip
    assert made.tables == {
        "study": {"objective": "test_study_twin.py:objective", "name": "s", "seed": 3, "code": ["toy.py"]},
        "matrix": {"size": ["S", "M"]},
        "space": {"lr": {"low": 0.5, "high": 1.0}},
    }
    assert made.check(tmp_path / "fts.db") == ["S", "M"]


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ({"space": {"lr": {"low": None}}}, r"space\.lr\.low is None of type NoneType, .*; leave the key out"),
        ({"space": {"lr": [object()]}}, r"space\.lr is <object object .* of type object, expected what TOML can hold"),
        ({"space": {3: [1]}}, "space has the key 3, expected text"),
        ({"name": "\ud800"}, r"study\.name is '\\ud800', expected text that UTF-8 can hold"),
        ({"objective": lambda trial: 1}, "the objective is a lambda"),
    ],
)
def test_what_toml_cannot_hold_is_refused_by_name(tables: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadSpec, match=sentence):
        fts.Study(**tables)


def test_the_twin_puts_its_cells_in_line_once(tmp_path: Path) -> None:
    study(tmp_path, "")
    db = tmp_path / "outputs" / "fts.db"
    made = fts.Study("train:objective", matrix={"size": ["S", "M"]}, budget={"trials": 3}, folder=tmp_path)
    assert [each.state for each in made.enqueue(db, dry_run=True)] == ["new", "new"]
    assert not db.exists()
    assert [(each.cell, each.job_id, each.state) for each in made.enqueue(db)] == [("S", 1, "new"), ("M", 2, "new")]
    (same,) = made.enqueue(db, cells=["M"])
    assert (same.state, str(same)) == ("queued", "M is queued: job 2, 0 of 3 trials ended; `fts worker` runs it")
    opened = open_for_reading(db)
    assert [job.trials_wanted for job in queries.jobs(opened)] == [3, 3]
    opened.close()
