"""In a folder with a person's own jobs.py, state.py or torch.py every command runs our code, in every process."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fts.jobs.cli.app import entries
from fts.jobs.python import python
from tests.chaos.study import make_data, make_study
from tests.fts_process import QUICK, ROOT, Said, wait_until
from tests.tui.served import monitors, started
from tests.tui.terminal import Terminal

# names of ours, of what we import early, of what we import late, and of the standard library
NAMES = (
    "jobs", "state", "fts", "tui", "click", "huey", "peewee", "torch", "numpy", "pandas", "optuna", "psutil", "textual",
    "aiohttp", "sklearn", "safetensors", "json", "queue", "types", "random", "resource", "multiprocessing", "sqlite3",
)  # fmt: skip
TRAPPED = "a foreign file was imported"
TRAP = f"raise SystemExit('{TRAPPED}: ' + __file__)\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("foreign") / "data")


@pytest.fixture
def folder(tmp_path: Path, data: Path) -> Path:
    """A study's folder full of traps, as modules and, for two of them, as packages."""
    made = tmp_path / "mine"
    make_study(made, data, trials=1, epochs=1)
    for name in NAMES:
        path = made / f"{name}.py" if name not in ("tui", "torch") else made / name / "__init__.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(TRAP)
    return made


def environ(data: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FTS_", "PYTHON"))}
    return clean | QUICK | {"FTS_DATA": str(data), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def fts(folder: Path, data: Path, *words: str, program: tuple[str, ...] = ("-m", "fts.jobs.cli")) -> Said:
    """`fts WORDS` in that folder; the installed script has no current folder in its path either."""
    done = subprocess.run(
        python(*program, *words),
        cwd=folder, env=environ(data), capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert TRAPPED not in done.stdout + done.stderr, (words, done)
    return Said(done.returncode, done.stdout, done.stderr)


def test_a_worker_runs_its_trials_there(folder: Path, data: Path):
    assert fts(folder, data, "worker", "--detach", "--until-empty", "--slots", "1").code == 0
    wait_until(lambda: not (folder / "outputs" / "worker.pid").exists(), 200, every_s=0.5)
    logs = "".join(path.read_text() for path in (folder / "outputs").rglob("*.log"))
    assert TRAPPED not in logs
    assert fts(folder, data, "queue", "state:done").out.count("tiny/h") == 2, logs


@pytest.mark.parametrize("name", list(entries()))
@pytest.mark.slow
def test_every_command_answers_there(folder: Path, data: Path, name: str):
    assert fts(folder, data, name, "--help").code == 0
    if name not in ("worker", "tui", "demo", "serve", "watch"):
        fts(folder, data, name)


@pytest.mark.slow
def test_a_cell_is_tried_there_and_its_script_runs(folder: Path, data: Path):
    said = fts(folder, data, "script", "tiny/h1", "--tier", "a20", "--out", ".")
    assert said.code == 0, said
    (path,) = said.out.split()
    done = subprocess.run(
        [sys.executable, path, "--dry-run"], cwd=folder, env=environ(data), capture_output=True, text=True, timeout=240
    )
    assert TRAPPED not in done.stdout + done.stderr
    assert "dry run, nothing was written" in done.stdout, done


def test_the_monitor_starts_there_on_a_terminal_and_in_a_browser(folder: Path):
    db = folder / "outputs" / "fts.db"
    code = f"import os, runpy, sys; os.chdir({str(folder)!r}); sys.argv[0] = 'fts-tui'; " + (
        "sys.path[:] = [entry for entry in sys.path if entry]; runpy.run_module('tui', run_name='__main__')"
    )
    terminal = Terminal(db, code=code)
    try:
        wait_until(lambda: b"tiny/h3" in terminal.screen, 60)
        assert TRAPPED.encode() not in terminal.screen
    finally:
        os.kill(terminal.pid, signal.SIGKILL)
        terminal.reading = False
        os.waitpid(terminal.pid, 0)
    server, address = started(db, cwd=folder)
    try:
        assert address.startswith("http://127.0.0.1:")
    finally:
        left = monitors(server.pid)
        server.send_signal(signal.SIGTERM)
        server.wait(20)
    assert not left


def starts_of_python(path: Path) -> list[int]:
    """Lines that use the interpreter's path or let another module start one: spawn puts the current folder in, too."""
    tree = ast.parse(path.read_text())
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("executable", "_base_executable"):
            lines.append(node.lineno)
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(alias.name for alias in node.names)]
        if any(
            name.split(".")[0] in ("multiprocessing", "ProcessPoolExecutor", "runpy", "executable") for name in names
        ):
            lines.append(node.lineno)
    return lines


def test_every_child_of_ours_is_started_without_the_current_folder():
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for package in ("fts", "state", "jobs", "tui")
        for path in sorted((ROOT / package).rglob("*.py"))
        for line in starts_of_python(path)
    }
    isolated = "state/damage.py"  # checks a file with `-I`, which leaves out the folder and the environment as well
    on_a_node = "jobs/executors/ray_slot.py"  # has no fts to ask; puts its interpreter before the words of python()
    a_line_to_type = "fts/installing.py"
    files = {place.rpartition(":")[0] for place in found}
    assert files == {"jobs/python.py", isolated, on_a_node, a_line_to_type}, found
    assert '[sys.executable, "-I", ' in (ROOT / isolated).read_text()
    assert python("-m", "x") == [sys.executable, "-Pm", "x"]
