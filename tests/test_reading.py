"""docs/reading.md, followed literally on a study that ran; the notebook, cell by cell; the picture of the dashboard."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fts.state import transitions
from tests.browser import CHROMIUM
from tests.cli.toy import claim, make_toy, run_trial
from tests.fts_process import QUICK, ROOT
from tests.test_guide import Step, pattern, plain, steps

PAGE = (ROOT / "docs" / "reading.md").read_text()
NOTEBOOK = ROOT / "examples" / "notebook" / "reading.ipynb"
NEEDS = {"ask.py": "duckdb", "tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb", "python": "pandas"}


def lacks(step: Step) -> str:
    """What this command needs and this machine has not; empty: nothing."""
    if step.command.startswith("Rscript"):
        return "" if shutil.which("Rscript") else "Rscript"
    needed = next((NEEDS[word] for word in reversed(step.command.split()) if word in NEEDS), "")
    return needed if needed and importlib.util.find_spec(needed) is None else ""


@pytest.mark.slow  # a worker, and libraries of seconds
def test_what_the_page_says_is_what_happens(tmp_path: Path) -> None:
    scripts, home = tmp_path / "bin", tmp_path / "home"
    scripts.mkdir()
    home.mkdir()
    (scripts / "fts").write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m fts.jobs.cli "$@"\n')
    (scripts / "fts").chmod(0o755)
    (scripts / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (scripts / "python").chmod(0o755)
    (home / "examples").symlink_to(ROOT / "examples")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FTS_")}
    environ = clean | QUICK | {"PATH": f"{scripts}:{clean['PATH']}", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done: list[str] = []
    for step in steps(PAGE):
        if step.file:
            (home / step.file).write_text(step.said)
            continue
        if lacks(step):
            continue
        ran = subprocess.run(
            ["bash", "-c", step.command], cwd=home, env=environ, stdin=subprocess.DEVNULL, text=True,
            capture_output=True, timeout=240,
        )  # fmt: skip
        assert ran.returncode == 0, f"line {step.line}, {step.command}: {ran.stdout}{ran.stderr}"
        if step.said:
            assert re.fullmatch(pattern(step.said), plain(ran.stdout)), (
                f"line {step.line}, {step.command}:\n{ran.stdout}"
            )
        done.append(step.command)
    assert len(done) >= 5, done


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the notebook reads: two cells of the example, their trials recorded without a worker."""
    monkeypatch.chdir(tmp_path)
    db = make_toy(tmp_path, trials=3, axes={"activation": ["relu", "tanh"]}, metric="accuracy")
    for best in (0.8, 0.9):
        claimed = claim(db)
        for number in range(3):
            run_trial(db, claimed, number, best - 0.1 * number, {"lr": 0.01 * (number + 1), "width": 0.5})
        transitions.finish_job(db, claimed)
    db.close()
    monkeypatch.setenv("FTS_DB", str(tmp_path / "outputs" / "fts.db"))
    return tmp_path


def test_every_cell_of_the_notebook_runs(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    names: dict[str, object] = {}
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None, "a notebook is kept without its outputs"
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)  # as Jupyter does
    assert len(names["trials"]) == 6 and len(names["best"]) == 2  # type: ignore[arg-type]
    assert capsys.readouterr().out == "0 0.8\n"
    matplotlib.pyplot.close("all")


@pytest.mark.slow  # a kernel
def test_jupyter_runs_the_notebook(study: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: `pip install nbclient ipykernel`")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed: `pip install nbclient ipykernel`")
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    os.environ["PYTHONPATH"] = str(ROOT)
    try:
        nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    finally:
        del os.environ["PYTHONPATH"]
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in shown), "the curves are drawn"


@pytest.mark.slow  # a worker and a browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_optuna_dashboard_draws_an_exported_study(tmp_path: Path) -> None:
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed: `pip install optuna-dashboard`")
    from tests.dashboard import exported, picture

    png, said = asyncio.run(picture(exported(tmp_path / "study", 8), tmp_path))
    assert png.startswith(b"\x89PNG") and len(png) > 20_000
    assert "branches" in said and "History" in said and "Hyperparameter Importance" in said
