"""A trial runs the modules whose md5 is on record: no bytecode of an earlier edit, and no later edit."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fts.jobs.api.code import whole_md5
from tests.trial.harness import Record, attempt, cell_of, run_one, spec_of
from tests.trial.test_command import cell_of as command_of
from tests.trial.test_command import ran

CACHES = "import sys\nsys.dont_write_bytecode = False\nimport helper\ndef objective(trial): return helper.VALUE\n"


def edit(path: Path, value: int, at: float) -> None:
    """Gives a module a value, with a time and a size that tell no two edits apart."""
    path.write_text(f"VALUE = {value}\n")
    os.utime(path, (at, at))


@pytest.mark.parametrize("forked", [True, False])
def test_a_module_that_was_edited_within_a_second_is_compiled_again(tmp_path: Path, forked: bool) -> None:
    now, written = time.time(), []
    for value in (1, 2, 2, 3):
        edit(tmp_path / "helper.py", value, now)
        assert run_one(cell_of(tmp_path, CACHES, code=("helper.py",)), forked=forked).end["value"] == value
        (cache,) = (tmp_path / "__pycache__").glob("helper.*.pyc")
        written.append(cache.stat().st_ino)
    assert written[1] == written[2], "what is right is kept"
    hashed = importlib.util.source_hash((tmp_path / "helper.py").read_bytes())
    assert cache.read_bytes()[:16] == importlib.util.MAGIC_NUMBER + b"\3\0\0\0" + hashed, (
        "as Python writes it (PEP 552)"
    )
    code = "import sys; sys.dont_write_bytecode = True; import helper; print(helper.VALUE)"
    edit(tmp_path / "helper.py", 4, now)
    assert subprocess.check_output([sys.executable, "-c", code], cwd=tmp_path) == b"4\n", "Python reads it, too"


def test_bytecode_of_a_folder_that_was_moved_names_the_new_one(tmp_path: Path) -> None:
    body = CACHES.replace("helper.VALUE", "helper.name() == helper.__file__")
    folder = tmp_path / "before"
    folder.mkdir()
    (folder / "helper.py").write_text("def name(): return name.__code__.co_filename\n")
    for name in ("before", "after"):
        folder = folder.rename(tmp_path / name)
        assert run_one(cell_of(folder, body, code=("helper.py",))).end["value"] == 1


def test_a_module_that_is_imported_late_is_that_of_the_start(tmp_path: Path) -> None:
    """Through a link, in a package without __init__.py, and below a folder that is a link."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "study" / "space").mkdir(parents=True)
    folder, names = tmp_path / "study", ("late", "link", "space.inner", "linked.inner")
    (folder / "link.py").symlink_to("../elsewhere/real.py")
    (folder / "linked").symlink_to("../elsewhere")
    files = [folder / f"{name.replace('.', '/')}.py" for name in names]
    for path in files:
        path.write_text("VALUE = 1\n")
    body = f"""
    import importlib
    from pathlib import Path
    def objective(trial):
        for name in {[str(path) for path in files]}:
            Path(name).write_text("VALUE = 2")
        return sum(importlib.import_module(name).VALUE for name in {names})
    """
    cell = cell_of(folder, body, code=tuple(os.path.relpath(path, folder) for path in files), process="reused")
    record = Record(0)
    attempt(spec_of(cell, record, ()), record)
    assert record.end["value"] == 4
    (started,) = (fact for fact in record.told if fact["fact"] == "started")
    assert started["code_md5"] != whole_md5(cell.code_md5, folder, cell.code), "the files are edited"
    assert run_one(cell, 1).end["value"] == 8


def test_a_command_runs_no_bytecode_of_an_earlier_edit(tmp_path: Path) -> None:
    script = "import os, helper\nprint(helper.VALUE, file=open(os.environ['FTS_REPORT'], 'w'))\n"
    (tmp_path / "train.py").write_text(script)
    words, now = ("env", "-u", "PYTHONDONTWRITEBYTECODE", sys.executable, "train.py"), time.time()
    for value in (1, 2):
        edit(tmp_path / "helper.py", value, now)
        cell = command_of(tmp_path, *words, code=("helper.py",), space={"lr": {"kind": "choice", "choices": [0.25]}})
        assert ran(cell, Record(value)).end["value"] == value
