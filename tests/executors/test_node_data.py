"""Data sets on a node: fetched once, whole or absent, checked; half ones and unused ones go."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from fts.jobs.executors.base import DataNotSent
from fts.jobs.executors.data import DataSums
from fts.jobs.executors.node_data import DataSets, MustLeave
from fts.jobs.supervisor.staged_files import BadFile

BODY = b"abc" * 30
MD5 = hashlib.md5(BODY).hexdigest()


def agent(folder: Path, name: str, goes_on: bool = True) -> DataSets:
    return DataSets(folder / name, lambda: goes_on)


def files(*bodies: bytes) -> dict[str, tuple[str, int]]:
    return {f"data/{n}.bin": (hashlib.md5(body).hexdigest(), len(body)) for n, body in enumerate(bodies)}


def send(sets: DataSets, body: bytes, told: str | None = None) -> None:
    meta = {"name": told or hashlib.md5(body).hexdigest(), "size": len(body)}
    sets.part(meta, body[:7])
    sets.part({**meta, "md5": "of what came"}, body[7:])


def fetch(folder: Path, name: str, *bodies: bytes) -> None:
    sets = agent(folder, name)
    missing = sets.want(files(*bodies))
    for body in bodies:
        if hashlib.md5(body).hexdigest() in missing:
            send(sets, body)
    sets.place(folder / name / "code")


def held(folder: Path) -> list[str]:
    (root,) = folder.glob(".fts-data-*")
    return sorted(path.name for path in root.iterdir() if path.suffix not in (".lock", ".seen"))


def test_two_agents_of_a_node_fetch_once_and_the_second_waits(tmp_path: Path) -> None:
    first, second = agent(tmp_path, "a"), agent(tmp_path, "b")
    assert first.want(files(BODY)) == [MD5]
    said: list[list[str]] = []
    waiting = threading.Thread(target=lambda: said.append(second.want(files(BODY))))
    waiting.start()
    with pytest.raises(MustLeave):
        agent(tmp_path, "c", goes_on=False).want(files(BODY))
    send(first, BODY)
    assert said == []
    first.place(tmp_path / "a" / "code")
    waiting.join(30)
    assert said == [[]]
    second.place(tmp_path / "b" / "code")
    assert all((tmp_path / name / "code" / "data" / "0.bin").read_bytes() == BODY for name in "ab")
    assert agent(tmp_path, "d").want(files(BODY)) == []


def test_what_a_killed_agent_had_half_is_fetched_again(tmp_path: Path) -> None:
    into, out = os.pipe()
    if (pid := os.fork()) == 0:
        dies = agent(tmp_path, "a")
        dies.want(files(BODY))
        dies.part({"name": MD5, "size": len(BODY)}, BODY[:7])
        os.write(out, b"half")
        os.kill(os.getpid(), 9)
    os.read(into, 4)
    os.waitpid(pid, 0)
    assert held(tmp_path) == [f"{MD5}.part"]
    fetch(tmp_path, "b", b"another")
    assert held(tmp_path) == [hashlib.md5(b"another").hexdigest()], "nobody will finish it"
    fetch(tmp_path, "c", BODY)
    assert (tmp_path / "c" / "code" / "data" / "0.bin").read_bytes() == BODY


def test_another_content_than_promised_never_takes_the_name(tmp_path: Path) -> None:
    sets = agent(tmp_path, "a")
    sets.want(files(BODY))
    with pytest.raises(BadFile, match="another content"):
        send(sets, b"x" * len(BODY), told=MD5)
    sets.close()
    assert held(tmp_path) == []
    late = agent(tmp_path, "b")
    late.want(files(BODY))
    with pytest.raises(BadFile, match="have not come"):
        late.place(tmp_path / "b" / "code")


def test_one_that_was_changed_on_the_node_is_fetched_again(tmp_path: Path) -> None:
    fetch(tmp_path, "a", BODY)
    (root,) = tmp_path.glob(".fts-data-*")
    (root / MD5).chmod(0o600)
    (root / MD5).write_bytes(b"x" * len(BODY))
    assert agent(tmp_path, "b").want(files(BODY)) == [MD5]


def test_a_full_disk_is_said_before_anything_travels_and_what_no_trial_has_makes_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Free space as the system counts it, less what a small disk of 100 bytes would not have."""
    fetch(tmp_path, "a", b"o" * 40)
    fetch(tmp_path, "b", b"n" * 40)
    shutil.rmtree(tmp_path / "a")  # its agent is gone

    def usage(root: Path) -> SimpleNamespace:
        return SimpleNamespace(free=100 - sum(path.stat().st_size for path in root.iterdir() if len(path.name) == 32))

    monkeypatch.setattr("fts.jobs.executors.node_data.shutil.disk_usage", usage)
    with pytest.raises(OSError, match="has 60 bytes left, the data sets need 70"):
        agent(tmp_path, "c").want(files(b"c" * 70))
    assert held(tmp_path) == [hashlib.md5(b"n" * 40).hexdigest()], "a trial has it"
    fetch(tmp_path, "d", b"d" * 60)


def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="the name of a file"):
        agent(tmp_path, "a").want({"../x": (MD5, 1)})
    with pytest.raises(BadFile, match="md5 and size"):
        agent(tmp_path, "a").want({"x": ("../x", 1)})


def test_a_data_set_that_is_gone_or_outside_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(BODY)
    assert DataSums().read(tmp_path, ["x"])["x"].md5 == MD5
    with pytest.raises(DataNotSent, match="`data` names gone, which is not in"):
        DataSums().read(tmp_path, ["gone"])
    with pytest.raises(DataNotSent, match="lies outside"):
        DataSums().read(tmp_path / "y", ["../x"])


def test_a_data_set_that_is_written_to_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    """Else every node would refuse it, for the md5 of a content that it never had."""
    (tmp_path / "d").write_bytes(bytes(2 << 20))
    sums, looks = DataSums(), []

    def writes() -> None:
        if not looks:
            (tmp_path / "d").write_bytes(b"1" * (2 << 20))
        looks.append(1)

    sums.read(tmp_path, ["d"], writes)
    assert sums.read(tmp_path, ["d"])["d"].md5 == hashlib.md5(b"1" * (2 << 20)).hexdigest()
