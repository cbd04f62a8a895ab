"""Event files, read by TensorBoard itself: the same whenever they are written, and whole after any kill."""

from __future__ import annotations

import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.mirrors.follow import Mirror
from fts.jobs.mirrors.tensorboard import MARK
from fts.jobs.trial.tensorboard import EventFile
from fts.state.db import Database
from tests.cli.study import Said
from tests.fts_process import ROOT, Study, wait_until
from tests.mirrors.made import Made, end, everything, files_of, report
from tests.namespaces import IN_NAMESPACE, can_mount

pytest.importorskip("tensorboard", reason="tensorboard is not installed: `pip install tensorboard`")

FILE = "train/train_mnist_S/t0004/events.out.tfevents.fts"


def mirror(folder: Path) -> Mirror:
    from fts.jobs.mirrors.tensorboard import TensorBoard

    return Mirror(TensorBoard(folder), everything)


def written(db: Database, folder: Path) -> dict[str, bytes]:
    mirror(folder).bring_up_to_date(db)
    return files_of(folder)


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    return found


def test_tensorboard_reads_curves_parameters_state_and_facts(made: Made, tmp_path: Path) -> None:
    db, _, _ = made
    written(db, tmp_path / "tb")
    cell = tmp_path / "tb" / "train" / "train_mnist_S"
    pruned = read(cell / "t0003")
    steps = [(event.step, event.value) for event in pruned.Scalars("acc")]
    assert steps == [(n, pytest.approx(0.1 + 0.7 * n / 9)) for n in range(4)]
    assert [event.step for event in pruned.Scalars("train/f1")] == [0, 1, 2, 3]
    from tensorboard.plugins.hparams import metadata

    content = pruned.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    params = metadata.parse_session_start_info_plugin_data(content).hparams
    assert params["lr"].number_value == 0.02 and params["data"].string_value == "mnist"
    for name, status in (("t0001", 1), ("t0002", 2), ("t0003", 0)):  # success, failure, unknown
        content = read(cell / name).summary_metadata["_hparams_/session_end_info"].plugin_data.content
        assert metadata.parse_session_end_info_plugin_data(content).status == status, name
    table = pruned.Tensors("trial")[0].tensor_proto.string_val[0].decode()
    assert "| status | pruned |" in table and "| goal | maximize acc |" in table
    assert "a \\| b c" in read(cell / "t0000").Tensors("trial")[0].tensor_proto.string_val[0].decode()
    assert read(cell / "t0001").Scalars("final/loss")[0].value == pytest.approx(0.2)
    live = read(cell / "t0004")
    assert len(live.Scalars("acc")) == 5 and "trial" not in live.Tags()["tensors"]
    ours = [(step, tag) for step, tag, _ in EventFile(cell / "t0003" / FILE.rpartition("/")[2]).new() if tag == "acc"]
    assert ours == [(n, "acc") for n in range(4)], "and so does our own reader"


def test_again_writes_nothing_and_a_live_trial_grows_by_appending(made: Made, tmp_path: Path) -> None:
    db, claimed, live = made
    first = written(db, tmp_path / "tb")
    inode = (tmp_path / "tb" / FILE).stat().st_ino
    assert mirror(tmp_path / "tb").bring_up_to_date(db).written == 0 and files_of(tmp_path / "tb") == first
    report(db, claimed, live, 5, 9)
    end(db, claimed, live)
    now = written(db, tmp_path / "tb")
    assert now[FILE].startswith(first[FILE]) and (tmp_path / "tb" / FILE).stat().st_ino == inode
    assert now == written(db, tmp_path / "fresh")


def test_what_a_kill_cut_off_is_completed_to_the_byte(made: Made, tmp_path: Path) -> None:
    db, _, _ = made
    whole = written(db, tmp_path / "fresh")
    chance = random.Random(7)
    for round_ in range(12):
        folder = tmp_path / f"cut{round_}"
        shutil.copytree(tmp_path / "fresh", folder)
        for path in [*folder.rglob("events*")]:
            size = path.stat().st_size
            at = chance.choice([0, 1, size // 2, size - 1, chance.randrange(size), size])
            if chance.random() < 0.2:
                shutil.rmtree(path.parent)
            elif chance.random() < 0.2:
                path.write_bytes(chance.randbytes(at))
            else:
                path.write_bytes(path.read_bytes()[:at])
        (next(folder.rglob(MARK)).parent / f".{MARK}.0123456789ab.part").write_text("{")
        assert written(db, folder) == whole, round_


def test_a_trial_that_ran_again_and_one_that_is_gone(made: Made, tmp_path: Path) -> None:
    db, _, _ = made
    folder = tmp_path / "tb"
    written(db, folder)
    with db.atomic():
        db.execute_sql("UPDATE epoch SET value = 0.5 WHERE epoch = 1")
        db.execute_sql("UPDATE trial SET train_seconds = 99.0 WHERE number = 3")
        for table in ("epoch", "draw", "attempt"):
            db.execute_sql(f"DELETE FROM {table} WHERE trial_id = (SELECT id FROM trial WHERE number = 4)")
        db.execute_sql("DELETE FROM trial WHERE number = 4")
    note = folder / "train" / "train_mnist_S" / "t0004" / "mine.txt"
    note.write_text("a file of a person stays")
    done = mirror(folder).bring_up_to_date(db)
    assert done.removed == 1 and note.exists()
    note.unlink()
    assert files_of(folder) == written(db, tmp_path / "fresh")


def test_a_folder_of_somebody_else_is_refused(
    made: Made, fts: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    theirs = tmp_path / "tb" / "train" / "run1" / "events.out.tfevents.1"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"precious")
    said = fts("mirror", "tensorboard", "tb")
    assert said.code == 2 and "holds files that are not a mirror of fts" in said.err, said
    assert fts("mirror", "tensorboard", "other").out == f"{tmp_path / 'other'}: 5 trials, 5 written\n"
    mark = tmp_path / "other" / "train" / "fts-mirror.json"
    mark.write_text(json.dumps(json.loads(mark.read_text()) | {"born": 1.0}))
    said = fts("mirror", "tensorboard", "other")
    assert said.code == 2 and "is the mirror of another study of this name" in said.err, said
    assert list(files_of(tmp_path / "tb")) == ["train/run1/events.out.tfevents.1"]


def test_a_folder_of_other_files_is_refused_and_one_of_event_files_is_not(
    made: Made, fts: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    said = fts("mirror", "tensorboard", ".")
    assert (
        said.code == 2 and "holds other files, such as " in said.err and f"such as {tmp_path}/tensorboard" in said.err
    )
    assert sorted(tmp_path.rglob("*")) == before, "nothing was written"
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "events.out.tfevents.1").write_bytes(b"")
    assert fts("mirror", "tensorboard", "runs").code == 0
    (tmp_path / "runs" / "note.txt").write_text("")
    assert fts("mirror", "tensorboard", "runs").code == 0, "it is a mirror already"


def test_one_process_at_a_time_and_numbers_as_json(made: Made, fts: Callable[..., Said], tmp_path: Path) -> None:
    from fts.jobs.cli.app import fts as group
    from fts.jobs.cli.mirror import _alone
    from tests.cli.study import places_of

    place = str(tmp_path / "tb")
    with group.make_context("fts", [], obj=places_of(tmp_path), resilient_parsing=True) as context:
        context.obj = places_of(tmp_path)
        with _alone("tensorboard", place):
            said = fts("mirror", "tensorboard", place)
            assert said.code == 1 and f"another process mirrors this study to {place}" in said.err, said
    found = json.loads(fts("mirror", "tensorboard", place, "mnist/S", "--json").out)["mirror"]
    assert found == {"place": place, "trials": 5, "written": 5, "removed": 0}


@pytest.mark.skipif(not can_mount(), reason="no file system can be mounted here")
def test_a_study_that_may_only_be_read_is_mirrored(made: Made, tmp_path: Path) -> None:
    from tests.cli.study import places_of

    made[0].close()
    outputs, mirrored = places_of(tmp_path).outputs, tmp_path / "tb"
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    command = [sys.executable, "-m", "fts.jobs.cli", "--db", places_of(tmp_path).db, "mirror", "tensorboard", mirrored]
    words = ["sh", "-c", script, outputs, *command]
    done = subprocess.run([*IN_NAMESPACE, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout == f"{mirrored}: 5 trials, 5 written\n", done


def test_odd_parameters_are_shown(made: Made, tmp_path: Path) -> None:
    db, _, _ = made
    odd = {"big": 2**60, "none": None, "evil\u202e": "x", "yes": True}
    db.execute_sql("UPDATE trial SET params = ? WHERE number = 1", [json.dumps(odd)])
    db.execute_sql("UPDATE trial SET params = '[1]' WHERE number = 0")
    folder = tmp_path / "tb"
    assert written(db, folder) == written(db, tmp_path / "fresh")
    from tensorboard.plugins.hparams import metadata

    found = read(folder / "train" / "train_mnist_S" / "t0001").summary_metadata["_hparams_/session_start_info"]
    params = metadata.parse_session_start_info_plugin_data(found.plugin_data.content).hparams
    assert (
        params["big"].string_value == str(2**60) and params["yes"].bool_value and params["none"].string_value == "null"
    )


@pytest.mark.slow  # a worker, and TensorBoard itself
def test_beside_a_worker_through_kills_and_on_the_page_of_tensorboard(tmp_path: Path) -> None:
    study = Study(tmp_path / "it")
    shutil.copy(ROOT / "examples" / "function" / "branches.py", study.folder)
    study.ok("enqueue", "branches.py:objective", "--trials", "14", "--name", "it")
    worker = study.start("worker", "--until-empty", "--slots", "1", "--threads", "1")
    words = ("mirror", "tensorboard", "tb", "--follow", "--every", "0.05", "--until-idle")
    kills = 0
    follower = study.start(*words)

    def seen() -> int:
        return sum(len(one) for one in files_of(study.folder / "tb").values())

    while worker.poll() is None and kills < 6:
        before = seen()
        wait_until(lambda before=before: seen() > before or worker.poll() is not None, every_s=0.01)
        follower.send_signal(signal.SIGKILL)
        follower.wait()
        kills += 1
        follower = study.start(*words)
    assert worker.wait(120) == 0 and follower.wait(60) == 0, (study.folder / "said.txt").read_text()
    assert kills > 2
    study.ok("mirror", "tensorboard", "fresh")
    assert files_of(study.folder / "tb") == files_of(study.folder / "fresh")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", "--logdir", str(study.folder / "tb"), "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        tags = wait_until(lambda: asked(port, "scalars/tags"))
        trials = study.query("SELECT number, id FROM trial WHERE epochs > 0 ORDER BY number")
        assert sorted(name for name, found in tags.items() if "value" in found) == [
            f"it/it/t{row['number']:04d}" for row in trials
        ]
        for row in trials:
            shown = asked(port, f"scalars/scalars?run=it/it/t{row['number']:04d}&tag=value")
            wanted = study.query(f"SELECT epoch, value FROM epoch WHERE trial_id = {row['id']} ORDER BY epoch")
            assert [step for _, step, _ in shown] == [one["epoch"] for one in wanted]
            assert [value for _, _, value in shown] == pytest.approx([one["value"] for one in wanted])
    finally:
        server.terminate()
        server.wait(20)


def asked(port: int, what: str) -> Any:
    """An answer of TensorBoard's page; None while there is none."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/data/plugin/{what}", timeout=20) as answer:
            return json.load(answer)
    except OSError:
        return None
