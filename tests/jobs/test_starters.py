"""`fts init`: what it writes is checked, put in line, run by a worker, and its best trial is what it says."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fts.jobs.cli.init import begin_with
from fts.jobs.starters.kinds import KINDS
from fts.jobs.study_file.study import StudyFile
from tests.fts_process import ROOT, Study

EXAMPLES = ROOT / "examples"


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_writes_is_a_study_that_the_reader_takes(tmp_path: Path, kind: str) -> None:
    for name, text in KINDS[kind].files.items():
        (tmp_path / name).write_text(text)
    compile(KINDS[kind].script, "train.py", "exec")
    study = StudyFile.read(tmp_path / "study.toml")
    cells = study.cells()
    assert {cell.study for cell in cells} == {study.tables["study"]["name"]}
    assert all(cell.steps and 3 <= cell.trials * len(cells) <= 12 for cell in cells)


@pytest.mark.parametrize(
    ("kind", "example"),
    [("xgboost", "xgboost/boosting.py"), ("lightning", "lightning/digits.py"), ("hf", "huggingface/tiny_bert.py")],
)
def test_the_script_is_the_example_that_is_compared_with_plain_optuna(kind: str, example: str) -> None:
    without_docstring = [text.split('"""\n\n', 1)[1] for text in (KINDS[kind].script, (EXAMPLES / example).read_text())]
    assert without_docstring[0] == without_docstring[1]


@pytest.mark.slow  # tests/test_guide.py goes the same way
@pytest.mark.parametrize("kind", ["function", "command", "sklearn"])
def test_from_init_to_the_best_trial(tmp_path: Path, kind: str) -> None:
    study = Study(tmp_path / "new")
    said = study.fts("init", kind)
    assert said.code == 0 and said.out == ""
    steps = [line.split()[1:] for line in said.err.splitlines() if line.startswith("  fts ")]
    assert [step[0] for step in steps] == ["check", "enqueue", "worker"]
    first = study.folder / "study.toml"
    cells = tomllib.loads(first.read_text())["matrix"]
    (values,) = cells.values()
    checked = study.json(*steps[0], "--cell", values[0])["check"]
    assert checked["well"] and [one["repeatable"] and one["resumable"] for one in checked["cells"]] == [True]
    shown = study.json(*steps[0], "--cell", values[0], "--show", "3")["trials"]
    study.ok(*steps[1], "--set", "budget.trials=3", "--cell", values[0])
    study.ok(*steps[2])
    recorded = study.json("trials", "1")["trials"]
    assert [trial["params"] for trial in recorded] == [one["params"] for one in shown]
    assert recorded[0]["value"] == checked["cells"][0]["value"]
    best = study.json("best", values[0])["best"]
    assert best["params"] == recorded[best["trial"]]["params"]
    line = study.ok("best", values[0])
    if kind == "command":  # run again, it gives the same number
        done = subprocess.run(line, shell=True, cwd=study.folder, env=study.environ, capture_output=True, text=True)
        assert float(done.stdout.split("loss=")[-1]) == best["value"], done
    else:
        assert line.startswith("--") and study.ok("best", values[0], "--python").startswith("dict(")


def test_nothing_is_overwritten_and_both_files_or_none_are_written(tmp_path: Path) -> None:
    study = Study(tmp_path / "mine")
    (study.folder / "train.py").write_text("mine")
    said = study.fts("init", "command")
    assert said.code == 2 and "train.py is here already" in said.err and said.err.count("\n") == 1
    assert [path.name for path in study.folder.iterdir()] == ["train.py"]
    assert study.fts("init", "command", "--to", "new").code == 0
    assert sorted(path.name for path in (study.folder / "new").iterdir()) == ["study.toml", "train.py"]
    assert (study.folder / "train.py").read_text() == "mine"


@pytest.mark.parametrize(
    ("kind", "code", "expected"),
    [
        ("comand", 2, "did you mean command? there are function, command, sklearn, xgboost"),
        ("patchtst", 0, "patchtst needs no study.toml.\nNext:\n"),
    ],
)
def test_another_word_says_what_there_is(tmp_path: Path, kind: str, code: int, expected: str) -> None:
    study = Study(tmp_path / "new")
    said = study.fts("init", kind)
    assert said.code == code and expected in said.err
    assert list(study.folder.iterdir()) == []


def test_a_study_without_its_packages_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    begin_with("patchtst")
    assert re.search(r"^Install first: .*pip install .*'fts-hpo\[patchtst\]'$", capsys.readouterr().err, re.MULTILINE)
