"""Who has no study yet is led to `fts init` and `fts check`, whatever was typed first."""

from __future__ import annotations

from pathlib import Path

import pytest

from fts.jobs.cli import main
from fts.jobs.cli.newcomer import objective_in


def test_fts_alone_in_an_empty_folder_says_how_to_begin(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([]) == 2
    first, *steps, last = capsys.readouterr().err.splitlines()
    assert (first, last) == ("There is no study in this folder yet. To begin:", "All commands: fts --help")
    assert [line.split("  ")[1] for line in steps] == ["fts init", "fts enqueue study.toml", "fts worker"]
    (tmp_path / "tune.py").write_text("def helper(x):\n    return x\ndef goal(trial):\n    return 1.0\n")
    main([])
    assert "fts check tune.py:goal" in capsys.readouterr().err


def test_the_objective_of_a_folder_is_found_without_running_anything(tmp_path: Path):
    (tmp_path / "a.py").write_text("raise SystemExit\n")
    (tmp_path / "b.py").write_text("this is no Python")
    assert objective_in(tmp_path) is None
    (tmp_path / "c.py").write_text("def other(trial): ...\ndef objective(t): ...\n")
    assert objective_in(tmp_path) == "c.py:objective"


@pytest.mark.parametrize("name", ["enqueue", "check"])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "name"),
        (["train.py"], "such as train.py:goal"),
        (["study.toml"], "`fts init` writes one with an example"),
        (["python", "train.py"], "behind --, with the name of its metric"),
        (["--trials", "5", "bash", "train.sh"], "-- bash train.sh"),
    ],
)
def test_a_first_try_that_nothing_understands_gets_one_sentence(
    tmp_path: Path, monkeypatch, capsys, name: str, words: list[str], expected: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("def goal(trial):\n    return 1.0\n")
    assert main([name, *words]) == 2
    said = capsys.readouterr()
    assert said.out == "" and expected in said.err and said.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]
