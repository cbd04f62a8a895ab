"""Every file of examples/ runs through queue and worker, as its first lines say."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.study_file import keys
from tests.fts_process import fts as run_fts
from tests.libraries.kinds import ENVIRON, KINDS, PYTHON, lacking

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
QUICK = {  # file -> trials that the suite has time for
    "function/branches.py": 2,
    "function/warm.py": 3,
    "sklearn/forest.py": 1,
    "command/descent.sh": 1,
    "command/descent.c": 1,
    "command/descent.R": 1,
}
COMPILERS = {".c": "cc", ".R": "Rscript"}
FILES = sorted(  # the other folders have tests of their own
    str(path.relative_to(EXAMPLES))
    for path in EXAMPLES.rglob("*.*")
    if path.parent.name not in ("__pycache__", "study", "flagship", "notebook")
)
NEEDS = {kind.file: kind for kind in KINDS.values()}


def lines_of(file: str) -> list[list[str]]:
    """The commands in the first lines of an example."""
    text = (EXAMPLES / file).read_text().replace("\\\n", " ").replace("\n#", "\n").replace("\n *", "\n")
    found = re.findall(r"^ *((?:[A-Z_]+=\S+ )?(?:fts|cc) .*)$", text.partition('"""\n\n')[0], re.MULTILINE)
    return [[word for word in shlex.split(line) if not re.fullmatch("[A-Z_]+=.*", word)] for line in found]


def run(words: list[str], folder: Path) -> str:
    environ = {**os.environ, **ENVIRON, "FTS_DB": str(folder / "outputs" / "fts.db")}
    if words[0] == "fts":
        said = run_fts(words[1:], folder, environ)
        assert said.code == 0, (words, said)
        return said.out
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=environ, timeout=280, check=False)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def put_in_line(file: str, folder: Path, trials: int) -> None:
    """As its first lines say, with so many trials; the worker comes later."""
    for words in lines_of(file):
        if words[0] == "cc":
            run(words, folder)
        if words[:2] == ["fts", "enqueue"]:
            at = words.index("--trials")
            words[at + 1] = str(trials)
            words[at:at] = ["--name", name_of(file)] + (["--python", PYTHON] if file in NEEDS else [])
            run(words, folder)


def name_of(file: str) -> str:
    return re.sub(r"\W", "-", file)


def lacks_language(file: str) -> str:
    """The program that this example needs and this machine has not; empty: none."""
    name = COMPILERS.get(Path(file).suffix, "")
    return name if name and shutil.which(name) is None else ""


def jobs(folder: Path) -> dict[str, dict[str, Any]]:
    listed = json.loads(run(["fts", "queue", "--json"], folder))["jobs"]
    return {job["study"]: job for job in listed}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    (folder / "examples").symlink_to(EXAMPLES)
    return folder


@pytest.fixture(scope="module")
def ended(folder: Path) -> dict[str, dict[str, Any]]:
    """The quick ones through one queue and one worker."""
    for file, trials in QUICK.items():
        if not lacks_language(file):
            put_in_line(file, folder, trials)
    run(["fts", "worker", "--until-empty", "--slots", "1", "--threads", "1"], folder)
    return jobs(folder)


@pytest.mark.parametrize("file", QUICK)
def test_a_quick_example_finds_a_value(ended: dict[str, dict[str, Any]], file: str) -> None:
    if missing := lacks_language(file):
        pytest.skip(f"there is no {missing} here")
    job = ended[name_of(file)]
    assert (job["status"], job["best_value"] is not None) == ("done", True), job


def test_first_trials_of_an_example_are_those_that_it_names(ended: dict[str, dict[str, Any]], folder: Path) -> None:
    cell = ended["function-warm-py"]["cell"]
    first, second, third = json.loads(run(["fts", "trials", cell, "--json"], folder))["trials"]
    assert first["params"] == {"depth": 3, "rate": 0.05} and second["params"]["depth"] == 6
    assert ["warm" in trial["badges"] for trial in (first, second, third)] == [True, True, False]


@pytest.mark.slow  # each imports a library of seconds
@pytest.mark.parametrize("file", [file for file in FILES if file not in QUICK])
def test_an_example_of_another_library_finds_a_value(tmp_path: Path, file: str) -> None:
    if missing := lacking(NEEDS[file]):
        pytest.skip(f"{PYTHON} has no {missing}; FTS_LIBRARIES names an interpreter that has (extra `examples`)")
    (tmp_path / "examples").symlink_to(EXAMPLES)
    put_in_line(file, tmp_path, trials=2)
    run(["fts", "worker", "--until-empty", "--slots", "1", "--threads", "1"], tmp_path)
    (job,) = jobs(tmp_path).values()
    assert (job["status"], job["best_value"] is not None) == ("done", True), job


def test_every_example_says_how_it_is_run() -> None:
    for file in FILES:
        assert [words[:2] for words in lines_of(file)][-2:] == [["fts", "enqueue"], ["fts", "worker"]], file
    assert {Path(file).parent.name for file in FILES} >= {
        "function", "sklearn", "torch", "xgboost", "lightgbm", "lightning", "huggingface", "keras", "command",
    }  # fmt: skip


def fts(folder: Path, *words: str) -> str:
    said = run_fts(["--db", str(folder / "outputs" / "fts.db"), *words], ROOT, os.environ)
    assert said.code == 0, said
    return said.out


def test_a_study_file_with_every_table_runs_with_winner_again_and_baseline(tmp_path: Path) -> None:
    file = ROOT / "examples" / "study" / "study.toml"
    assert set(tomllib.loads(file.read_text())) == set(keys.TABLES)
    cells = json.loads(fts(tmp_path, "enqueue", str(file), "--dry-run", "--json"))["cells"]
    assert [cell["cell"] for cell in cells] == ["sine/S", "sine/M", "sine/L", "steps/S", "steps/M", "line/S"]
    fts(tmp_path, "run", str(file), "--cell", "line/S", "--set", "budget.trials=2")
    trials = json.loads(fts(tmp_path, "trials", "line/S", "--json"))["trials"]
    assert [trial["status"] for trial in trials] == ["complete"] * 4
    assert trials[0]["params"] == {"degree": 2, "lr": 0.1, "optimizer": "plain"}
    assert trials[0]["value"] < trials[2]["value"] / 10, "a line is no mean"
