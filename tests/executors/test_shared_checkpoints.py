"""Checkpoints that stay on a shared file system: found by the next attempt, and gone with their trial."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.executors.frames import FrameKind
from fts.jobs.executors.incoming_files import IncomingFiles
from fts.jobs.executors.outgoing_files import CheckpointStore, OutgoingFiles
from fts.jobs.supervisor import shared_checkpoints
from fts.jobs.supervisor.staged_files import LIST
from tests.executors.crew import Crew
from tests.fts_process import wait_until

TRIAL = "shared/crew-0123abcd/00001_a/trial_0000"
OLD, LIVE, DEAD = (f"{n}-0123abcd" for n in range(3))


def test_a_checkpoint_that_stays_is_found_by_the_next_node_and_goes_with_its_trial(tmp_path: Path) -> None:
    """Two nodes that share a folder; each loses a trial. The last attempt is on this machine.

    What an agent has kept, and could not tell of before it was killed, goes with its attempt.
    """
    for name in ("peace", "crew", "shared"):
        (tmp_path / name).mkdir()
    crew, peace, shared = Crew(tmp_path / "crew", pause_s=0.15, trials=1), Crew(tmp_path / "peace", trials=1), []
    for one in (crew, peace):
        train = (one.folder / "train.py").read_text()
        train = train.replace("write_text(repr(loss))", "write_text(repr(loss).ljust(2 << 20))")
        (one.folder / "train.py").write_text(train.replace(".read_text() ==", ".read_text().strip() =="))
        one.put_in_line()
    peace.study.ok("worker", "--until-empty", "--slots", "2", "--threads", "1")
    crew.study.environ["FTS_CHECKPOINT_HOME"] = "1MB"
    worker = crew.start("a:1,b:1", "--checkpoints", str(tmp_path / "shared"))
    for _ in range(2):
        known = crew.epochs()
        wait_until(lambda known=known: crew.epochs() >= known + 2)
        crew.strike(signal.SIGKILL)
    wait_until(lambda: list((tmp_path / "shared").rglob("*/*/*/*/[0-9]*")))
    shared = [path for path in (tmp_path / "shared").rglob("*") if path.is_file()]
    assert shared and not list(crew.study.outputs.rglob("weights.txt"))
    at = crew.study.one("SELECT json_extract(facts, '$.kept_at') FROM trial WHERE facts LIKE '%kept_at%'")
    assert Path(at).parents[2] == tmp_path / "shared" and at.endswith("/trial_0000")
    untold = wait_until(lambda: stored_untold(crew, tmp_path / "shared"))
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(60) == 0, crew.said()
    assert not untold.exists()
    for home in (crew.study.outputs / "trials").glob(
        "*/trial_0000"
    ):  # as if the worker was killed while it moved files
        (home / ".arriving.0123456789ab").mkdir()
        (home / ".arriving.0123456789ab" / "0").write_text("moved")
        (home / ".arriving.0123456789ab" / LIST).write_text('{"files": [["artifacts/late", "0"]], "gone": []}')
    crew.study.ok("worker", "--until-empty", "--slots", "2", "--threads", "1")
    assert crew.record() == peace.record() and crew.files() == peace.files(), crew.said()
    assert "resumed from" in crew.printed()
    moved = {path.read_text() for path in (crew.study.outputs / "trials").glob("*/trial_0000/artifacts/late")}
    assert moved == {"moved"}, "before the trial went on here"
    crew.study.ok("gc", "--yes")
    assert not list((tmp_path / "shared").iterdir())
    assert crew.leftovers() == []


OPEN = (
    "SELECT a.n, a.host, t.job_id FROM attempt a JOIN trial t ON t.id = a.trial_id JOIN epoch e ON e.trial_id = t.id "
    "WHERE a.ended_at IS NULL AND e.at > a.began_at"
)


def stored_untold(crew: Crew, shared: Path) -> Path | None:
    """A file of an attempt that runs, to which no pointer comes home; None: none runs, or it has just ended."""
    for row in crew.study.query(OPEN):
        for attempt in shared.glob(f"*/{row['job_id']:05}_*/trial_0000/*"):
            (attempt / "99").touch()
            lives = row in crew.study.query(OPEN) and crew.agents(row["host"])
            return attempt / "99" if lives else None
    return None


def pointer_to(path: Path, body: bytes, shared: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    source = path.with_name("source")
    source.write_bytes(body)
    fd = os.open(source, os.O_RDONLY)
    size, md5 = shared_checkpoints.store(fd, shared, shared.parents[2], lambda: None)
    os.close(fd)
    source.unlink()
    shared_checkpoints.write(
        path.with_name(path.name + shared_checkpoints.SUFFIX),
        shared_checkpoints.Pointer(str(shared), size, md5),
        path.parent,
    )


def test_only_what_no_pointer_names_is_removed_and_what_is_under_way_stays(tmp_path: Path) -> None:
    home, trial = tmp_path / "home", tmp_path / TRIAL
    pointer_to(home / "checkpoint" / "a", b"a", trial / OLD / "0")
    pointer_to(home / "checkpoint" / "b", b"b", trial / LIVE / "3")
    for name in (f"{OLD}/1", f"{DEAD}/0", f"{LIVE}/2", f"{LIVE}/4"):
        (trial / name).parent.mkdir(exist_ok=True)
        (trial / name).touch()
    shared_checkpoints.sweep(trial, home, LIVE)
    assert sorted(str(path.relative_to(trial)) for path in trial.rglob("?")) == [f"{OLD}/0", f"{LIVE}/3", f"{LIVE}/4"]


def test_a_pointer_to_anything_else_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / "precious" / "0").mkdir(parents=True)
    (tmp_path / "precious" / "0" / "1").touch()
    pointer = shared_checkpoints.Pointer(str(tmp_path / "precious" / "0" / "1"), 0, "d41d8cd98f00b204e9800998ecf8427e")
    shared_checkpoints.write(tmp_path / "home" / f"x{shared_checkpoints.SUFFIX}", pointer, tmp_path)
    shared_checkpoints.forget(tmp_path / "home")
    assert (tmp_path / "precious" / "0" / "1").exists()


def test_a_pointer_or_a_file_that_cannot_be_read_now_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, trial = tmp_path / "home", tmp_path / TRIAL
    pointer_to(home / "checkpoint" / "a", b"a", trial / OLD / "0")

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    for at in ("pathlib.Path.read_text", "os.scandir", "os.open"):  # the pointer, its folder, the file itself
        with monkeypatch.context() as trouble:
            trouble.setattr(at, refused)
            with pytest.raises(OSError, match="Input/output error"):
                shared_checkpoints.bring_home(home, home)
            if at != "os.open":
                with pytest.raises(OSError, match="Input/output error"):
                    shared_checkpoints.sweep(trial, home, None)
    assert shared_checkpoints.bring_home(home, home) == [] and (home / "checkpoint" / "a").read_bytes() == b"a"


def test_what_is_gone_or_changed_there_is_not_taken_for_the_checkpoint(tmp_path: Path) -> None:
    home, trial = tmp_path / "home", tmp_path / TRIAL
    for number, name in enumerate("abc"):
        pointer_to(home / name, name.encode(), trial / OLD / str(number))
    (trial / OLD / "0").unlink()
    (trial / OLD / "1").write_bytes(b"x")
    missing = shared_checkpoints.bring_home(home, home)
    assert len(missing) == 2 and "cannot be read" in missing[0] and "its md5" in missing[1]
    assert (home / "c").read_bytes() == b"c" and not (home / "b").exists()
    assert sorted(path.name for path in home.iterdir()) == ["a.fts-elsewhere", "b.fts-elsewhere", "c"]


def test_what_stays_keeps_its_executable_bit_and_a_name_without_room_for_a_pointers_travels(tmp_path: Path) -> None:
    there, here, shared = tmp_path / "there", tmp_path / "here", tmp_path / "shared"
    (there / "checkpoint").mkdir(parents=True)
    shared.mkdir()
    names = ["checkpoint/" + name for name in ("run.sh", "weights", "x" * 250)]
    for name in names:
        (there / name).write_bytes(name.encode().ljust(1 << 20))
    (there / names[0]).chmod(0o755)
    store = CheckpointStore(shared / "study-01234567" / "00001_a" / "trial_0000" / OLD, shared, 1, lambda: None)
    sent, arriving = Sent(), IncomingFiles(here, tmp_path)
    OutgoingFiles(there, store).send(sent, {})  # type: ignore[arg-type]
    for kind, meta, body in sent:
        if kind is FrameKind.FILES:
            arriving.commit(meta["gone"])
        elif "stays" in meta:
            arriving.add_pointer(meta, store.folder / str(meta["stays"]))
        else:
            arriving.part(meta, body)
    assert sorted(path.name for path in (here / "checkpoint").iterdir()) == [
        f"run.sh{shared_checkpoints.SUFFIX}", f"weights{shared_checkpoints.SUFFIX}", "x" * 250
    ]  # fmt: skip
    assert shared_checkpoints.bring_home(here, tmp_path) == []
    for name in names:
        assert (here / name).read_bytes() == (there / name).read_bytes()
        assert os.access(here / name, os.X_OK) == os.access(there / name, os.X_OK)


class Sent(list[tuple[FrameKind, dict[str, Any], bytes]]):
    def send(self, kind: FrameKind, meta: dict[str, Any], body: bytes = b"") -> None:
        self.append((kind, meta, body))


def test_a_shared_folder_that_is_not_there_or_full_is_no_fault_of_the_node(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(shared_checkpoints.CannotKeep, match="is no folder on"):
        shared_checkpoints.keep(fd, tmp_path / "x" / "t" / "0", tmp_path / "x", lambda: None)
    (tmp_path / "t").touch()
    with pytest.raises(shared_checkpoints.CannotKeep, match="a checkpoint cannot be kept"):
        shared_checkpoints.keep(fd, tmp_path / "t" / "0", tmp_path, lambda: None)
    os.close(fd)
