"""Frames and files from a node: what is not in order ends with a sentence, and nothing of it takes a place."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fts.jobs.api.protocol import STOPPED
from fts.jobs.executors import incoming_files, outgoing_files
from fts.jobs.executors.channel import MOST_LOG, Channel
from fts.jobs.executors.frames import (
    HEADER,
    MAGIC,
    MOST_BODY,
    NAME,
    VERSION,
    BadFrame,
    Frame,
    FrameKind,
    FrameReader,
    Writer,
    encode,
    last_line,
)
from fts.jobs.executors.incoming_files import IncomingFiles
from fts.jobs.executors.node_trial import NodeTrial
from fts.jobs.executors.outgoing_files import PART, OutgoingFiles, State, open_plain, scan
from fts.jobs.sensors.detect import from_env
from fts.jobs.supervisor import staged_files
from fts.jobs.supervisor.shared_checkpoints import SUFFIX
from fts.jobs.supervisor.staged_files import LIST, BadFile, finish_commit
from fts.jobs.watchdog.policy import HeatPolicy, Thresholds
from fts.state.files import atomic_write, remove
from tests.fts_process import ROOT, wait_until

MD5_OF_A = "0cc175b9c0f1b6a831c399e269772661"


def read(sent: bytes, most: int = 1000) -> list[Frame]:
    """Everything that a reader makes of these bytes."""
    out, into = os.pipe()
    writing = threading.Thread(target=lambda: (os.write(into, sent), os.close(into)))
    writing.start()
    reader, found = FrameReader(out, most), []
    try:
        while (frame := reader.next()) is not None:
            found.append(frame)
    finally:
        writing.join()
        os.close(out)
    return found


def header(kind: int = 13, meta: int = 2, body: int = 0, name: bytes = NAME, version: int = VERSION) -> bytes:
    return HEADER.pack(name, version, kind, meta, body)


def test_what_a_login_shell_prints_is_passed_over() -> None:
    sent = [Frame(FrameKind.FACT, {"a": 1}), Frame(FrameKind.LOG, {}, b"x\x00y")]
    assert read(b"Welcome\nto gpu1\n" + MAGIC + b"".join(map(encode, sent))) == sent


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"HTTP/1.1 200 OK" + bytes(99), "begins with"),
        (header(version=2) + b"{}", "has version 2"),
        (header(meta=1001), "allowed are"),
        (header(body=MOST_BODY + 1), "allowed are"),
        (header() + b"[]\n", "holds a list"),
        (header() + b"{]\n", "cannot be read"),
        (header(kind=77) + b"{}\n", "cannot be read"),
        (header(meta=9) + b"{}", "was cut off: 2 of 9 bytes"),
        (header() + b"{}x", "ends with"),
        (header()[:5], "was cut off: 5 of"),
        (b"", None),
    ],
)
def test_a_frame_that_is_none_ends_the_connection(sent: bytes, words: str | None) -> None:
    if words is None:
        assert read(MAGIC + sent) == []
        return
    with pytest.raises(BadFrame, match=words):
        read(MAGIC + sent)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_at_all_do_anything_but_read_or_refuse(sent: bytes) -> None:
    try:
        read(MAGIC + sent)
    except BadFrame as refused:
        assert str(refused)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([("../x", 1, b"a", MD5_OF_A)], "the name of a file"),
        ([("a/../../x", 1, b"a", MD5_OF_A)], "the name of a file"),
        ([("/x", 1, b"a", MD5_OF_A)], "the name of a file"),
        ([(".arriving.0123456789ab/0", 1, b"a", MD5_OF_A)], "the name of a file"),
        ([("a/.x.0123456789ab.part", 1, b"a", MD5_OF_A)], "the name of a file"),
        ([("a/./x", 1, b"a", MD5_OF_A)], "the name of a file"),
        ([("a\nb", 1, b"a", MD5_OF_A)], "the name of a file"),
        ([("/".join("a" * 13), 1, b"a", MD5_OF_A)], "the name of a file"),
        ([("x", 1, b"ab", MD5_OF_A)], "more bytes than"),
        ([("x", -1, b"", MD5_OF_A)], "the size of x"),
        ([("x", 1 << 60, b"a", None)], "is one too many"),
        ([("x", 1, b"a", "0" * 32)], "does not match its md5"),
        ([("x", 2, b"a", None), ("y", 1, b"a", MD5_OF_A)], "came inside x"),
    ],
)
def test_a_file_that_may_not_come_leaves_nothing(parts: list[tuple], words: str, tmp_path: Path) -> None:  # type: ignore[type-arg]
    home = tmp_path / "trials" / "j" / "t"
    arriving = IncomingFiles(home, tmp_path)
    with pytest.raises(BadFile, match=words):
        for name, size, body, md5 in parts:
            arriving.part({"name": name, "size": size} | ({"md5": md5} if md5 else {}), body)
    arriving.drop()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_no_link_is_followed(tmp_path: Path) -> None:
    home = tmp_path / "outputs" / "t"
    home.mkdir(parents=True)
    (home / "checkpoint").symlink_to(tmp_path)
    with pytest.raises(OSError, match="is not followed"):
        IncomingFiles(home, tmp_path / "outputs").part({"name": "checkpoint/x", "size": 1, "md5": MD5_OF_A}, b"a")
    assert not (tmp_path / "x").exists()
    (tmp_path / "empty").mkdir()
    (tmp_path / "mine").write_text("mine")
    (home / "x").symlink_to(tmp_path / "mine")
    arriving = IncomingFiles(home, tmp_path / "outputs")
    arriving.part({"name": "x", "size": 1, "md5": MD5_OF_A}, b"a")  # of that name: replaced
    arriving.commit(["checkpoint/empty/", "checkpoint/mine"])
    assert (home / "x").read_text() == "a" and not (home / "x").is_symlink()
    assert (tmp_path / "empty").is_dir() and (tmp_path / "mine").read_text() == "mine"


def test_a_set_that_a_kill_cut_short_is_done_whole_or_not_at_all(tmp_path: Path) -> None:
    """Killed before the list is written: nothing; after it, at any file: all."""
    for killed_after in (None, 0, 1):
        home = tmp_path / str(killed_after)
        home.mkdir()
        (home / "old").write_text("old")
        arriving = IncomingFiles(home, tmp_path)
        for name in ("x", "deep/y"):
            arriving.part({"name": name, "size": 1, "md5": MD5_OF_A}, b"a")
        if killed_after is not None:
            names = sorted(arriving.names.items())
            (arriving.staging / LIST).write_text(json.dumps({"files": names, "gone": ["old"]}))
            for name, kept in names[:killed_after]:
                (home / name).parent.mkdir(exist_ok=True)
                (arriving.staging / kept).rename(home / name)
        finish_commit(home, tmp_path)
        found = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
        assert found == (["old"] if killed_after is None else ["deep/y", "x"])


def home_before(home: Path) -> None:
    for name in ("a", "folder/x", "folder/y", "file", f"w{SUFFIX}", "v", "gone/deep/z", "kept"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("old")
    (home / "empty").mkdir()
    (home / "folder").chmod(0o500)


def receive_and_commit(home: Path, root: Path) -> None:
    """Files become folders, folders files, a pointer a file, a file a pointer; folders are emptied."""
    arriving = IncomingFiles(home, root)
    for name in ("a", "folder", "file/inner", "w", "new/deep/b"):
        arriving.part({"name": name, "size": 1, "md5": MD5_OF_A}, b"a")
    arriving.add_pointer({"name": "v", "size": 1, "md5": MD5_OF_A}, Path("/nowhere"))
    arriving.part({"name": "empty/more", "folder": True}, b"")
    arriving.commit(["folder/x", "folder/y", "file", "gone/deep/z", "empty/"])


def killed_at(step: int, work: Callable[[Path, Path], None], *where: Path) -> bool:
    """Does the work in a child that is killed before its change number `step` of the disk; False: it made fewer."""
    pid = os.fork()
    if pid == 0:
        left = step

        def look(event: str, _: object) -> None:
            nonlocal left
            if event in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod"):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(look)
            work(*where)
            os._exit(0)
        finally:  # the child of a test may not return into it
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


def test_a_commit_and_its_completion_that_are_killed_at_any_step_are_done_whole_or_not_at_all(tmp_path: Path) -> None:
    for name in ("before", "after"):
        home_before(tmp_path / name)
    before = tree_of(tmp_path / "before")
    receive_and_commit(tmp_path / "after", tmp_path)
    after, ends, step, killed = tree_of(tmp_path / "after"), [0, 0], 0, True
    while killed:
        step += 1
        home = tmp_path / str(step)
        home_before(home)
        killed = killed_at(step, receive_and_commit, home, tmp_path)
        killed_at(1 + 5 * step % 23, finish_commit, home, tmp_path)
        finish_commit(home, tmp_path)
        found = tree_of(home)
        assert found in (before, after), (step, found)
        ends[found == after] += 1
    assert min(ends) > 5, ends


def test_a_list_that_cannot_be_read_now_is_no_reason_to_drop_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arriving = IncomingFiles(tmp_path / "t", tmp_path)
    arriving.part({"name": "x", "size": 1, "md5": MD5_OF_A}, b"a")
    (arriving.staging / LIST).write_text(json.dumps({"files": sorted(arriving.names.items()), "gone": []}))
    for at in ("pathlib.Path.read_text", "os.scandir"):
        with monkeypatch.context() as trouble:
            trouble.setattr(at, refused)
            with pytest.raises(OSError, match="Too many"):
                finish_commit(tmp_path / "t", tmp_path)
    finish_commit(tmp_path / "t", tmp_path)
    assert (tmp_path / "t" / "x").read_bytes() == b"a"


def test_moves_are_not_done_again_although_their_folder_could_not_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "t"
    arriving = IncomingFiles(home, tmp_path)
    arriving.part({"name": "x", "size": 1, "md5": MD5_OF_A}, b"a")
    with monkeypatch.context() as trouble:
        trouble.setattr("shutil.rmtree", lambda *_, **__: None)  # as it does without a free descriptor
        arriving.commit(["old"])
    (home / "old").touch()  # written by a later attempt
    finish_commit(home, tmp_path)
    assert sorted(path.name for path in home.iterdir()) == ["old", "x"]


def test_a_folder_that_cannot_be_read_now_is_not_taken_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files would be removed on the other side, or a trial would begin there without its checkpoint."""
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "a").touch()
    assert list(scan(tmp_path)) == ["checkpoint/a"]
    for at, look in (("os.scandir", lambda: scan(tmp_path)), ("os.open", lambda: open_plain(tmp_path / "a"))):
        with monkeypatch.context() as trouble:
            trouble.setattr(at, refused)
            with pytest.raises(OSError, match="Too many"):
                look()
    assert open_plain(tmp_path / "gone") is None and scan(tmp_path / "gone") == {}


def refused(*_: object, **__: object) -> None:
    raise OSError(errno.EMFILE, "Too many open files")


def test_a_checkpoint_that_changes_while_it_is_sent_is_taken_back_and_a_log_that_grows_is_not(tmp_path: Path) -> None:
    """Else a trial that writes a line every millisecond would never bring a checkpoint home."""
    there, here = tmp_path / "there", tmp_path / "here"
    (there / "checkpoint").mkdir(parents=True)
    (there / "checkpoint" / "a").write_bytes(b"1" * (3 * MOST_BODY))
    (there / "steps.csv").write_text("1\n")
    out, into = os.pipe()
    outgoing, arriving = OutgoingFiles(there), IncomingFiles(here, tmp_path)
    seen: list[bool] = []

    def take() -> None:
        reader, touched = FrameReader(out, 10_000), False
        while (frame := reader.next()) is not None:
            if frame.kind is FrameKind.FILE:
                with (there / "steps.csv").open("a") as steps:
                    steps.write("2\n")
                if not touched and len(frame.body) == PART:
                    (there / "checkpoint" / "a").write_bytes(b"2" * (3 * MOST_BODY))
                    touched = True
                arriving.part(frame.meta, frame.body)
            else:
                seen.append(frame.meta["whole"])
                arriving.commit(frame.meta["gone"]) if seen[-1] else arriving.drop()

    thread = threading.Thread(target=take)
    thread.start()
    writer = Writer(into, lambda: False)
    writer.begin()
    for _ in range(3):
        outgoing.send(writer, {})
    os.close(into)
    thread.join()
    os.close(out)
    assert seen[:2] == [False, True] and all(seen[1:])
    assert (here / "checkpoint" / "a").read_bytes() == b"2" * (3 * MOST_BODY)
    assert (here / "steps.csv").read_text().startswith("1\n2\n")


def test_an_agent_whose_worker_was_killed_while_it_started_says_so_in_one_line(tmp_path: Path) -> None:
    nobody_reads, its_output = os.pipe()
    os.close(nobody_reads)
    words = [sys.executable, "-m", "fts.jobs.executors.agent", "--scratch", str(tmp_path)]
    agent = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=its_output, stderr=subprocess.PIPE, text=True)
    os.close(its_output)
    assert agent.returncode == STOPPED
    assert agent.stderr == "the worker is gone: [Errno 32] Broken pipe; this agent leaves\n"
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_goes_before_it_is_read_holds_up_no_other(tmp_path: Path) -> None:
    """The fact that names the others follows at once."""
    for name in "ab":
        (tmp_path / name).write_text(name)
    out, into = os.pipe()
    outgoing = OutgoingFiles(tmp_path)
    scan = outgoing._still

    def still() -> dict[str, State]:
        found = scan()
        (tmp_path / "a").unlink(missing_ok=True)
        return found

    outgoing._still = still  # type: ignore[method-assign]
    assert outgoing.send(Writer(into, lambda: False), {}) == 1
    assert list(outgoing.sent) == ["b"]
    os.close(out)
    os.close(into)


def test_a_file_that_is_a_folder_in_the_next_set_makes_room(tmp_path: Path) -> None:
    """And the other way round, also where a killed worker's commit is finished."""
    home = tmp_path / "t"
    for names, gone in ((["out"], []), (["out/x"], ["out"]), (["out"], ["out/x"]), (["out/x/y"], [])):
        arriving = IncomingFiles(home, tmp_path)
        for name in names:
            arriving.part({"name": name, "size": 1, "md5": MD5_OF_A}, b"a")
        arriving.commit(gone)
        finish_commit(home, tmp_path)
        assert [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()] == names


class Sent(list[Frame]):
    """Takes the place of a writer."""

    def send(self, kind: FrameKind, meta: dict[str, Any], body: bytes = b"") -> None:
        self.append(Frame(kind, meta, body))


def received(sent: list[Frame], home: Path, root: Path) -> list[bool]:
    """Whether each of the sets was whole; they are taken out of the list."""
    arriving, whole = IncomingFiles(home, root), list[bool]()
    for frame in sent:
        if frame.kind is FrameKind.FILE:
            arriving.part(frame.meta, frame.body)
        else:
            whole.append(frame.meta["whole"])
            arriving.commit(frame.meta["gone"]) if whole[-1] else arriving.drop()
            finish_commit(home, root)
    sent.clear()
    return whole


def sent_over(outgoing: OutgoingFiles, home: Path, root: Path, again: bool = False) -> list[bool]:
    """Whether each of the sets was whole."""
    sent = Sent()
    outgoing.send(sent, {}, again)  # type: ignore[arg-type]
    return received(sent, home, root)


def tree_of(folder: Path) -> dict[str, object]:
    """Content and executable bit of each file, None for a folder; drafts are left out."""
    paths = {str(path.relative_to(folder)): path for path in folder.rglob("*") if not path.name.endswith(".part")}
    return {
        name: None if path.is_dir() else (path.read_text(), os.access(path, os.X_OK)) for name, path in paths.items()
    }


def test_a_folder_arrives_as_it_was_with_hidden_files_empty_folders_links_and_scripts(tmp_path: Path) -> None:
    """A store of zarr is unreadable without its .zarray, and Lightning names its last checkpoint by a link."""
    there, here = tmp_path / "there", tmp_path / "here"
    store = there / "checkpoint" / "store.zarr"
    (store / "empty").mkdir(parents=True)
    for name in (".zarray", "0.0", ".x.0123456789ab.part"):
        (store / name).write_text(name)
    (store / "run.sh").write_text("#!/bin/sh")
    (store / "run.sh").chmod(0o755)
    (store / "last").symlink_to("0.0")
    outgoing = OutgoingFiles(there)
    sent_over(outgoing, here, tmp_path)
    assert tree_of(here) == tree_of(there) and not (here / "checkpoint/store.zarr/last").is_symlink()
    for name in ("outside", "circle"):
        (store / name).symlink_to("/etc/hostname" if name == "outside" else "circle")
    (store / "0.0").unlink()
    (store / "1.0").write_text("now")
    (store / "last").unlink()
    (store / "empty" / "more").mkdir()
    sent_over(outgoing, here, tmp_path)
    for name in ("outside", "circle"):  # what lies elsewhere is not ours to send
        (store / name).unlink()
    assert tree_of(here) == tree_of(there)
    (store / "empty" / "more").rmdir()
    (store / "empty" / "file").write_text("no longer empty")
    (store / "drafts").mkdir()
    (store / "drafts" / ".x.0123456789ab.part").touch()  # nothing else is in it
    (store / ".zarray").chmod(0o700)
    sent_over(outgoing, here, tmp_path)
    assert tree_of(here) == tree_of(there)


def test_what_takes_the_place_of_a_file_before_it_is_read_is_not_read(tmp_path: Path) -> None:
    """The other files arrive, nothing waits for a writer of a pipe, and no link leads out of the folder."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a").write_text("secret")

    def becomes_a_socket(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as listening, contextlib.chdir(path.parent):  # its path may be too long
            listening.bind(path.name)

    changes = {
        "folder": Path.mkdir,
        "pipe": os.mkfifo,
        "socket": becomes_a_socket,
        "link": lambda path: path.symlink_to(tmp_path / "elsewhere" / "a"),
        "long link": lambda path: path.symlink_to("a lock of process 7 " * 20),
        "linked folder": lambda path: (path.parent.rmdir(), path.parent.symlink_to(tmp_path / "elsewhere")),
    }
    for kind, change in changes.items():
        there, here = tmp_path / kind / "there", tmp_path / kind / "here"
        (there / "checkpoint" / "sub").mkdir(parents=True)
        (there / "checkpoint" / "b").write_text("b")
        (there / "checkpoint" / "sub" / "a").write_text("a")
        outgoing = OutgoingFiles(there)
        scanned = outgoing._still

        def still(
            scanned: Any = scanned, path: Path = there / "checkpoint" / "sub" / "a", change: Any = change
        ) -> dict[str, State]:
            found = scanned()
            if not path.is_symlink() and path.is_file() and not path.parent.is_symlink():
                path.unlink()
                change(path)
            return dict(found)

        outgoing._still = still  # type: ignore[method-assign]
        assert sent_over(outgoing, here, tmp_path) == [True], kind
        assert {path.name: path.read_text() for path in here.rglob("*") if path.is_file()} == {"b": "b"}, kind


def test_a_file_that_cannot_be_opened_is_removed_with_the_next_set_if_it_is_gone_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    (there / "a").write_text("1")
    outgoing = OutgoingFiles(there)
    sent_over(outgoing, here, tmp_path)
    for name in "ab":
        (there / name).write_text("22")
    with monkeypatch.context() as trouble:  # as if it was replaced at every look
        trouble.setattr(
            outgoing_files, "open_inside", lambda folder, name: None if name == "a" else open_plain(folder / name)
        )
        sent_over(outgoing, here, tmp_path)
    assert [(here / name).read_text() for name in "ab"] == ["1", "22"]
    (there / "a").unlink()
    sent_over(outgoing, here, tmp_path)
    assert tree_of(here) == tree_of(there)


def test_a_checkpoint_that_never_stands_still_holds_up_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread may write to it while the trial returns; the predictions arrive before the fact that names them."""
    send_file = outgoing_files.send_file
    for changes, patience_s, expected in (
        (1, 9.0, [False, True]),
        (99, 9.0, [False] * 5 + [True]),
        (99, 0.0, [False, True]),
    ):
        folder = tmp_path / f"{changes} {patience_s}"
        there, here, left = folder / "there", folder / "here", [changes]
        (there / "checkpoint").mkdir(parents=True)
        for name in ("checkpoint/a", "checkpoint/b"):
            (there / name).write_text("1")
        outgoing = OutgoingFiles(there)
        sent_over(outgoing, here, tmp_path)
        (there / "checkpoint" / "a").write_text("22")
        (there / "checkpoint" / "b").unlink()
        (there / "predictions.npz").write_text("p")

        def changing(writer: Any, name: str, *more: Any, there: Path = there, left: list[int] = left) -> Any:
            found = send_file(writer, name, *more)
            if name == "checkpoint/a" and left[0]:
                left[0] -= 1
                with (there / name).open("a") as file:
                    file.write("2")
            return found

        with monkeypatch.context() as trouble:
            trouble.setattr(outgoing_files, "send_file", changing)
            trouble.setattr(outgoing_files, "AGAIN_S", patience_s)
            assert sent_over(outgoing, here, tmp_path, again=True) == expected
        if changes == 1:
            assert tree_of(here) == tree_of(there)
        else:
            kept = {name: (here / name).read_text() for name in ("checkpoint/a", "checkpoint/b", "predictions.npz")}
            assert kept == {"checkpoint/a": "1", "checkpoint/b": "1", "predictions.npz": "p"}
        sent_over(outgoing, here, tmp_path)
        assert tree_of(here) == tree_of(there)


def test_a_checkpoint_that_did_not_leave_its_node_is_not_recorded_and_the_log_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record may not say that the trial can go on from there."""
    sent, scratch = Sent(), tmp_path / "scratch"
    with closing(from_env(tmp_path, {"FTS_SENSORS": "none"})) as sensors:
        trial = NodeTrial(scratch, sent, sensors, HeatPolicy(Thresholds()), lambda: None)  # type: ignore[arg-type]
        trial.begin({"token": "1-a", "job": "j", "trial": "t", "spec": {}})
        assert trial.attempt is not None
        checkpoint = trial.attempt.folder / "checkpoint" / "log"
        checkpoint.parent.mkdir()
        checkpoint.touch()
        (trial.attempt.folder / "predictions.npz").touch()
        send_file = outgoing_files.send_file

        def changing(writer: Any, *more: Any) -> Any:
            with checkpoint.open("a") as log:
                log.write("x")
            return send_file(writer, *more)

        monkeypatch.setattr(outgoing_files, "send_file", changing)
        for fact in ({"fact": "checkpoint", "step": 3}, {"fact": "kept", "name": "predictions.npz"}):
            trial._tell(fact)
        said = [frame.body.decode() for frame in sent if frame.kind is FrameKind.LOG]
        assert len(said) == 1 and "the checkpoint of step 3 stays on this node" in said[0]
        assert [frame.meta["fact"]["fact"] for frame in sent if frame.kind is FrameKind.FACT] == ["kept"]
        monkeypatch.setattr(outgoing_files, "send_file", send_file)
        trial._tell({"fact": "checkpoint", "step": 4})
        assert sent[-1].meta["fact"] == {"fact": "checkpoint", "step": 4}
        trial.close()


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may read everything")
def test_what_a_trial_locks_keeps_nothing_else_and_is_not_removed_at_the_head(tmp_path: Path) -> None:
    less = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    code = f"from pathlib import Path; from {__name__} import with_locks; with_locks(Path({str(tmp_path)!r}))"
    done = subprocess.run(
        [*less, sys.executable, "-c", code],
        capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def with_locks(folder: Path) -> None:
    """Of the test above, for a user who may not read everything."""
    there, here = folder / "there", folder / "here"
    (there / "inner" / "deep").mkdir(parents=True)
    for name in ("a", "b", "inner/c", "inner/deep/d"):
        (there / name).write_text("1")
    outgoing = OutgoingFiles(there)
    sent_over(outgoing, here, folder)
    before = tree_of(here)
    for path, mode in (
        (there / "a", 0o000),
        (there / "inner", 0o000),
        (there / "inner", 0o300),
        (there / "inner", 0o400),
    ):
        path.chmod(mode)
        (there / "b").write_text(f"{mode}")
        sent_over(outgoing, here, folder)
        assert tree_of(here) == before | {"b": (f"{mode}", False)}, oct(mode)
    for path, mode in ((there / "inner", 0o700), (there / "a", 0o600)):
        path.chmod(mode)
    (there / "a").unlink()
    (there / "inner" / "deep" / "d").write_text("22")
    (here / "inner" / "deep").chmod(0o000)  # by an earlier attempt on this machine
    (here / "inner").chmod(0o500)
    sent_over(outgoing, here, folder)
    assert tree_of(here) == tree_of(there)
    (here / "inner" / "deep").chmod(0o000)
    assert remove(here, folder) and not here.exists()


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    """There may be no room in it for the ending of a pointer's name."""
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    (there / ("x" * 255)).write_text("1")
    outgoing = OutgoingFiles(there)
    sent_over(outgoing, here, tmp_path)
    assert tree_of(here) == tree_of(there)
    (there / ("x" * 255)).unlink()
    sent_over(outgoing, here, tmp_path)
    assert tree_of(here) == {}


def test_a_folder_of_many_files_needs_few_descriptors_and_holds_the_write_lock_for_a_short_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most systems allow 1024 of them, and a store of zarr has thousands of files."""
    there, here, allowed = tmp_path / "there", tmp_path / "here", resource.getrlimit(resource.RLIMIT_NOFILE)
    (there / "checkpoint").mkdir(parents=True)
    for n in range(700):
        (there / "checkpoint" / str(n)).write_text(str(n))
    outgoing, sent, calls = OutgoingFiles(there), Sent(), list[str]()
    for name in ("is_empty", "make_room"):
        function = getattr(staged_files, name)
        monkeypatch.setattr(
            staged_files, name, lambda *more, name=name, function=function: (calls.append(name), function(*more))[1]
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (600, allowed[1]))
    try:
        outgoing.send(sent, {})  # type: ignore[arg-type]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, allowed)
    received(sent, here, tmp_path)
    assert tree_of(here) == tree_of(there)
    shutil.rmtree(there / "checkpoint")
    outgoing.send(sent, {})  # type: ignore[arg-type]
    received(sent, here, tmp_path)
    assert tree_of(here) == {} and calls == ["make_room", "is_empty"]


def test_of_many_files_one_that_is_replaced_before_it_is_opened_makes_its_checkpoint_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that is gone by then is left out, unless it belongs to a checkpoint."""
    monkeypatch.setattr(outgoing_files, "AT_ONCE", 1)
    send_file = outgoing_files.send_file
    for name, removed, expected in (
        ("checkpoint/b", False, [False, True]), ("checkpoint/b", True, [False, True]), ("b", True, [True]),
    ):  # fmt: skip
        folder = tmp_path / f"{name.replace('/', ' ')} {removed}"
        there, here = folder / "there", folder / "here"
        (there / "checkpoint").mkdir(parents=True)
        for each in ("a", "b", "checkpoint/a", "checkpoint/b"):
            (there / each).write_text("1")

        def changing(writer: Any, sent: str, *more: Any, path: Path = there / name, removed: bool = removed) -> Any:
            if sent == "a" and path.exists() and path.read_text() == "1":
                path.unlink() if removed else atomic_write(path, "22")
            return send_file(writer, sent, *more)

        monkeypatch.setattr(outgoing_files, "send_file", changing)
        outgoing = OutgoingFiles(there)
        assert sent_over(outgoing, here, tmp_path, again=True) == expected
        assert tree_of(here) == tree_of(there)


def test_a_thousand_folders_in_each_other_end_the_trial_and_not_the_agent(tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        for _ in range(1100):
            os.mkdir("d")  # noqa: PTH102  # the path is longer than Path can remove
            os.chdir("d")
        try:
            with pytest.raises(BadFile, match="at most 11 folders above"):
                sent_over(OutgoingFiles(tmp_path), tmp_path / "here", tmp_path)
        finally:
            while Path.cwd() != tmp_path:
                os.chdir("..")
                os.rmdir("d")  # noqa: PTH106


def test_what_a_commit_removes_stays_removed_after_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pointer that returned could take the place of the file; a list that returned would be done again."""
    home, synced = tmp_path / "t", list[str]()
    (home / "checkpoint").mkdir(parents=True)
    (home / "checkpoint" / "old").touch()
    arriving = IncomingFiles(home, tmp_path)
    arriving.part({"name": "x", "size": 1, "md5": MD5_OF_A}, b"a")

    def noted(folder: Path) -> None:
        has = [name for name in ("x", "checkpoint/old", f"{arriving.staging.name}/{LIST}") if (home / name).exists()]
        synced.append(f"{folder.relative_to(tmp_path)}: {' '.join(has)}".replace(arriving.staging.name, "staging"))

    for module in (incoming_files, staged_files):
        monkeypatch.setattr(module, "sync_folder", noted)
    arriving.commit(["checkpoint/old"])
    assert synced == ["t/staging: checkpoint/old", "t: x staging/commit.json", "t/staging: x"]
    assert sorted(path.name for path in home.iterdir()) == ["x"]


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[Channel]:
    """To a command that says nothing."""
    found = Channel(["sleep", "60"], tmp_path / "logs" / "agent.log", 10.0, 1.0, 5.0)
    yield found
    found.close()


def test_an_attempt_is_left_only_between_two_frames(channel: Channel, tmp_path: Path) -> None:
    """Else its part of a file would be written to a closed descriptor, which may be another file by then."""
    left, errors = threading.Event(), list[BaseException]()

    class Body(bytes):
        def __getitem__(self, part: Any) -> bytes:  # the file is open, and nothing of it is written
            leaving.start()
            left.wait(0.2)
            return bytes(self)[part]

    leaving = threading.Thread(target=lambda: (channel.leave_attempt(), left.set()))
    channel.begin("t", IncomingFiles(tmp_path / "t", tmp_path))
    channel._take(Frame(FrameKind.FILE, {"token": "t", "name": "x", "size": 9}, Body(b"a")))
    leaving.join()
    channel._take(Frame(FrameKind.LOG, {"token": "t"}, b"late"))
    assert not errors and channel.take(0.0) == [] and list(tmp_path.rglob("x")) == []


def test_a_set_that_may_not_be_committed_ends_the_connection(channel: Channel, tmp_path: Path) -> None:
    """It did not end the slot's thread, which would have taken it."""
    for frame, words in (
        (Frame(FrameKind.FILES, {"token": "t", "whole": True, "gone": ["../x"]}), "the name of a file"),
        (Frame(FrameKind.FILE, {"token": "t", "name": "x", "size": 9}, b"a"), "is not whole"),
    ):
        channel.begin("t", IncomingFiles(tmp_path / "t", tmp_path))
        with pytest.raises(BadFile, match=words):
            channel._take(frame)
            channel._take(Frame(FrameKind.FILES, {"token": "t", "whole": True, "gone": []}))
        assert channel.take(0.0) == []


def test_what_is_not_taken_makes_a_node_wait(channel: Channel, tmp_path: Path) -> None:
    """A log that is printed faster than it can be stored here may not fill the memory."""
    channel.begin("t", IncomingFiles(tmp_path / "t", tmp_path))
    sent = []

    def send() -> None:
        for n in range(MOST_LOG // MOST_BODY + 5):
            channel._take(Frame(FrameKind.LOG, {"token": "t"}, bytes(MOST_BODY)))
            sent.append(n)

    sending = threading.Thread(target=send)
    sending.start()
    wait_until(lambda: len(sent) == MOST_LOG // MOST_BODY)
    assert len(channel.take(0.0)) == MOST_LOG // MOST_BODY
    sending.join()
    assert len(channel.take(0.0)) == 5


def test_a_machine_that_sleeps_calls_no_node_silent_and_blames_none(channel: Channel) -> None:
    """By either clock: while a machine is suspended, the monotonic one stands still."""
    channel.hello = {}
    channel.beat()
    assert not channel.is_blameless
    for slept in ((100.0, 100.0), (0.0, 100.0)):
        channel._beaten = (time.monotonic() - slept[0], time.time() - slept[1])
        channel._silent_from = channel._reader.heard = channel._beaten[0]
        assert channel.lost() is None and channel.is_blameless, "before the first heartbeat afterwards"
        channel.beat()
        assert channel.lost() is None and channel.is_blameless, "its agent may be about to leave"
        channel._excused_until = 0.0
        assert not channel.is_blameless
    channel._silent_from -= 11.0
    channel._reader.heard = channel._silent_from
    assert "silent for 11 s" in str(channel.lost()) and not channel.is_blameless


def test_a_beat_waits_for_nothing_and_a_part_of_a_frame_is_a_sign_of_life() -> None:
    out, into = os.pipe()
    writer, full = Writer(into, lambda: False), []
    writer.begin()
    reader = FrameReader(out, 1000)
    sending = threading.Thread(target=lambda: (full.append(1), writer.send(FrameKind.FILE, {}, bytes(MOST_BODY))))
    sending.start()
    while not full or writer._lock.acquire(blocking=False):  # it holds the lock until somebody reads
        writer._lock.release() if full else None
    writer.beat()
    before = reader.heard
    assert (frame := reader.next()) is not None and len(frame.body) == MOST_BODY
    assert reader.heard > before
    sending.join()
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(into, bytes(4096))
    writer.beat()  # nobody reads, and nothing is under way
    os.close(out)
    os.close(into)


def test_the_last_line_is_no_line_of_a_crash() -> None:
    said = b"no route\nan odd state\n*** StackTrace Information ***\n/lib/x.so(+0x18) [0x7f51dbe1] ray::f()\n\n"
    assert last_line(said) == "an odd state" and last_line(b"\n") == "it printed nothing"


def test_the_last_line_says_why_and_not_only_that_something_ended() -> None:
    for ends in (
        "srun: error: n1: task 0: Exited with exit code 1",
        "srun: error: gpu[1-2]: tasks 0-3: Killed\nsrun: Force Terminated StepId=7.0",
        "srun: Job step aborted: Waiting up to 12 seconds for job step to finish.",
        "slurmstepd-n1: error: *** STEP 9.0 ON n1 CANCELLED AT 2026-11-28T18:15:49 ***",
        "command terminated with exit code 127",
    ):
        assert last_line(f"No module named fts\n{ends}\n".encode()) == "No module named fts"
        assert last_line(ends.encode()) == ends.splitlines()[-1]
    why = "slurmstepd-n1: error: execve(): /opt/python: No such file or directory"
    assert last_line(f"{why}\nsrun: error: n1: task 0: Exited with exit code 2".encode()) == why
