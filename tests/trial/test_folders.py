"""The code of a trial keeps to its own folder, and removes nothing that the study keeps."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.trial.harness import cell_of, log_of, run_one

BODY = """
import os, shutil
from pathlib import Path
import fts
def objective(trial):
    checkpoint = fts.checkpoint(trial)
    checkpoint.save({{"n": 1}})
    out = Path("outputs").absolute()
    {what}
    checkpoint.save({{"n": 2}})
    return 1.0
"""
KEPT = ("fts.db", "trials/j/trial_0001/checkpoint/x", "logs/t1.log", "mine/x")
REFUSED = {
    "shutil.rmtree('outputs')": "outputs holds trials or logs of the study (train.py line 9); remove by name",
    "shutil.rmtree(out, ignore_errors=True)": "outputs holds trials",
    "shutil.rmtree(out.resolve())": "holds trials",
    "shutil.rmtree('..', ignore_errors=True)": "holds trials",
    "shutil.rmtree(out / 'trials')": "trials holds trials",
    "shutil.rmtree(out / 'trials' / 'j')": "j holds trials",
    "shutil.rmtree(out / 'trials' / 'j' / 'trial_0001')": "j/trial_0001 is in the folder of another trial",
    "os.chdir(out / 'trials' / 'j'); shutil.rmtree('trial_0001')": "j/trial_0001 is in the folder of another trial",
    "shutil.rmtree(out / 'logs')": "logs holds trials or logs",
    "os.remove(out / 'logs' / 't1.log')": "t1.log holds trials or logs",
    "os.remove(out / 'fts.db')": "fts.db is the database of the study (train.py line 9); only fts may write it",
    "open(out / 'fts.db', 'w')": "fts.db is the database",
    "os.replace(__file__, out / 'fts.db')": "fts.db is the database",
    "os.rename(out, 'gone')": "outputs holds trials",
    "shutil.move('outputs', 'gone')": "outputs holds trials",
}
ALLOWED = (
    "shutil.rmtree(checkpoint.dir)",
    "shutil.rmtree(checkpoint.dir.parent)",
    "shutil.rmtree(out / 'mine')",
    "os.mkdir('t'); os.mkdir('t/trial_0001'); open('t/fts.db', 'w').close(); os.chdir(out / 'trials' / 'j');"
    " shutil.rmtree(out.parent / 't')",
)


def written(folder: Path, linked: bool) -> None:
    there = folder / "outputs"
    if linked:
        (folder / "disk").mkdir()
        there.symlink_to(folder / "disk")
    for name in KEPT:
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_text("x")


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("what", REFUSED)
def test_a_function_cannot_remove_what_the_study_keeps(tmp_path: Path, what: str, linked: bool) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    written(folder, linked)
    record = run_one(cell_of(folder, BODY.format(what=what)))
    assert record.end["fact"] == "failed" and REFUSED[what] in record.end["message"]
    assert all((folder / "outputs" / name).read_text() == "x" for name in KEPT)


@pytest.mark.skipif(sys.platform != "linux", reason="the folder behind a descriptor is listed there")
@pytest.mark.parametrize("what", ALLOWED)
def test_a_function_removes_what_it_has_made(tmp_path: Path, what: str) -> None:
    written(tmp_path, linked=False)
    cell = cell_of(tmp_path, BODY.format(what=what))
    assert run_one(cell).end["fact"] == "result", log_of(cell)
    assert all((tmp_path / "outputs" / name).exists() for name in KEPT[:3])


def test_a_link_in_place_of_the_checkpoints_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "checkpoint-000001").write_text("of somebody")
    what = "there = checkpoint.dir; shutil.rmtree(there); os.symlink(out.parent / 'away', there)"
    record = run_one(cell_of(tmp_path, BODY.format(what=what)))
    assert record.end["fact"] == "failed" and "is not followed" in record.end["message"]
    assert (tmp_path / "away" / "checkpoint-000001").read_text() == "of somebody"
