"""A link inside outputs is neither written through nor deleted through, whichever folder it stands for."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fts.jobs.api.spec import trial_folder
from fts.jobs.maintenance import doctor
from fts.jobs.records import exports
from fts.jobs.worker.startup import clean_up_after_dead_workers
from fts.state.backup import backup
from fts.state.db import Database
from fts.state.files import CannotWrite
from fts.training.checkpoint import has_checkpoint, read_checkpoint, write_checkpoint
from tests.cli.conftest import *  # noqa: F403  # its fixtures: a study, and `fts` on it
from tests.cli.study import Said, finished_cell, places_of

CELL = "phase6a_2M_h1_threshold_1pct"
FOREIGN = (
    "thesis.txt", "checkpoint-000001/state.json", ".writing-mine/x", ".deleting-mine/x", ".x.json.0123456789ab.part",
    "trials/trial_9999.json", "trial_9999.json", "best_params.json", f"{CELL}/trials/trial_9999.json",
    f"{CELL}/best_params.json", f"00001_{CELL}/trial_0000/checkpoint/checkpoint-000001/state.json", "STOP_HPO",
    "fts-20200101-000000.db", "fts-20200101-000000.part",
)  # fmt: skip


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Somebody else's folder, which looks like ours and is old."""
    folder = tmp_path / "outside"
    for name in FOREIGN:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("precious")
        os.utime(path, (0, 0))
    return folder


def listing(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


TRIAL = f"trials/00001_{CELL}/trial_0000"
KINDS = (
    "hpo", f"hpo/{CELL}", f"hpo/{CELL}/trials", "trials", f"trials/00001_{CELL}", TRIAL, f"{TRIAL}/checkpoint", "logs",
    "models", "report", "report/figures", "backups", "scripts",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_no_command_and_no_start_touches_what_a_link_leads_to(
    fts: Callable[..., Said], db: Database, tmp_path: Path, outside: Path, kind: str
):
    places = places_of(tmp_path)
    finished_cell(db)
    link(places.outputs / kind, outside)
    before = listing(outside)
    commands = [
        ("export",),
        ("gc", "-y"),
        ("gc", "--only-best", "-y"),
        ("doctor", "--fix"),
        ("export", "1"),
        ("status",),
    ]
    commands += [("report",)] if kind == "report/figures" else [("script", "2M/h1")] if kind == "scripts" else []
    for words in commands:
        said = fts(*words)
        assert "a fault in fts itself" not in said.err and "Traceback" not in said.err, said
    for start in (clean_up_after_dead_workers, exports.catch_up):
        try:
            start(db, places)
        except CannotWrite as refused:
            assert "is not followed: inside" in str(refused)
    assert listing(outside) == before


@pytest.mark.parametrize("kind", ["hpo", f"hpo/{CELL}", f"hpo/{CELL}/trials"])
def test_export_refuses_a_link_in_one_sentence(
    fts: Callable[..., Said], db: Database, tmp_path: Path, outside: Path, kind: str
):
    finished_cell(db)
    link(places_of(tmp_path).outputs / kind, outside)
    said = fts("export")
    assert said.code == 1 and said.err.count("\n") == 1, said
    assert "fts does not write or delete through links" in said.err


@pytest.mark.parametrize("kind", ["logs", "trials"])
def test_a_worker_does_not_start_where_its_files_would_lie_elsewhere(
    db: Database, tmp_path: Path, outside: Path, kind: str
):
    places = places_of(tmp_path)
    link(places.outputs / kind, outside)
    with pytest.raises(CannotWrite, match=f"{kind} .*is not followed"):
        clean_up_after_dead_workers(db, places)


def test_an_outputs_folder_on_another_disk_works_through_its_link(
    fts: Callable[..., Said], db: Database, tmp_path: Path
):
    places = places_of(tmp_path)
    finished_cell(db)
    db.close()
    places.outputs.rename(tmp_path / "big disk")
    places.outputs.symlink_to(tmp_path / "big disk")
    checkpoint = trial_folder(places.outputs, CELL, 1, 0) / "checkpoint" / "checkpoint-000001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.json").write_text("x" * 1000)
    assert fts("export").code == 0 and fts("gc", "-y").code == 0
    assert not checkpoint.parent.exists(), "gc works there, too"
    assert json.loads((tmp_path / "big disk" / "hpo" / CELL / "best_params.json").read_text())["job"] == 1


def test_backups_behind_a_link_are_added_to_and_never_thinned(db: Database, tmp_path: Path, outside: Path):
    """A folder of backups on another disk is a good idea, and may hold those of other studies."""
    link(places_of(tmp_path).backups, outside)
    before = listing(outside)
    made = backup(db, places_of(tmp_path).backups, keep=1)
    made.unlink()
    assert listing(outside) == before


@pytest.mark.parametrize("where", ["checkpoint", "checkpoint/fold_0"])
def test_a_checkpoint_is_not_written_read_aside_or_swept_through_a_link(tmp_path: Path, outside: Path, where: str):
    folder = tmp_path / where
    link(folder, outside)
    before = listing(outside)
    tensors = {"w": torch.zeros(3)}
    with pytest.raises(CannotWrite, match="is not followed"):
        write_checkpoint(folder, lambda: iter(tensors.items()), {})
    assert has_checkpoint(folder)
    with pytest.raises(RuntimeError, match="is damaged"):
        read_checkpoint(folder)
    assert listing(outside) == before


def test_a_trial_with_a_linked_checkpoint_folder_is_stopped_by_the_machine_not_failed(tmp_path: Path, outside: Path):
    from fts.jobs.trial.cause import cause_of
    from fts.jobs.trial.process import refuse_linked_folder

    class Spec:
        folder = str(tmp_path / "outputs" / TRIAL)

    link(Path(Spec.folder) / "checkpoint", outside)
    with pytest.raises(CannotWrite, match="is not followed") as refused:
        refuse_linked_folder(Spec())  # type: ignore[arg-type]  # only its folder is asked for
    assert cause_of(refused.value) == "disk"


# -- who may read them


def test_everything_exported_is_its_owners_only_and_doctor_names_what_is_not(
    fts: Callable[..., Said], db: Database, tmp_path: Path
):
    places = places_of(tmp_path)
    finished_cell(db)
    before = os.umask(0o022)
    try:
        assert fts("export").code == 0
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in places.outputs.rglob("*")}
    assert not {path: oct(mode) for path, mode in modes.items() if mode & 0o077}
    assert [finding.state for finding in doctor.exposed(places)] == ["ok"]
    assert [finding.text for finding in doctor.slots(places)] == ["no worker of this study on this machine"]
    places.outputs.chmod(0o755)
    (told,) = doctor.exposed(places)
    assert told.state == "warn" and "other users can list" in told.text and "chmod 700" in str(told.cure)
    places.results_csv.chmod(0o644)
    (told,) = doctor.exposed(places)
    assert told.state == "warn" and "experiment_results.csv" in told.text and "chmod -R go-rwx" in str(told.cure)


def test_doctor_says_so_of_links_inside_outputs(fts: Callable[..., Said], db: Database, tmp_path: Path, outside: Any):
    link(places_of(tmp_path).exports, outside)
    said = fts("doctor")
    assert f"{places_of(tmp_path).exports}" in said.out and "link" in said.out
