"""Data sets on a node: fetched once, whole or absent, checked, and no more of them than allowed."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from fts.jobs.executors.arriving import BadFile
from fts.jobs.executors.node_data import DataSets, Left

MOST = 1000
BODY = b"abc" * 30
MD5 = hashlib.md5(BODY).hexdigest()


def agent(folder: Path, name: str, goes_on: bool = True) -> DataSets:
    return DataSets(folder / name, lambda: goes_on)


def files(*bodies: bytes) -> dict[str, tuple[str, int]]:
    return {f"data/{n}.bin": (hashlib.md5(body).hexdigest(), len(body)) for n, body in enumerate(bodies)}


def send(sets: DataSets, body: bytes, told: bytes | None = None) -> None:
    md5 = hashlib.md5(body if told is None else told).hexdigest()
    size = len(body)
    sets.part({"name": md5, "size": size}, body[:7])
    sets.part({"name": md5, "size": size, "md5": "of what came"}, body[7:])


def fetch(folder: Path, name: str, *bodies: bytes, most: int = MOST) -> DataSets:
    sets = agent(folder, name)
    missing = sets.want(folder / name / "code", files(*bodies), most)
    for body in bodies:
        if hashlib.md5(body).hexdigest() in missing:
            send(sets, body)
    sets.place()
    return sets


def held(folder: Path) -> list[str]:
    (root,) = folder.glob("fts-data-*")
    return sorted(path.name for path in root.iterdir() if path.suffix not in (".lock", ".seen"))


def test_two_agents_of_a_node_fetch_once_and_the_second_waits(tmp_path: Path) -> None:
    first, second = agent(tmp_path, "a"), agent(tmp_path, "b")
    assert first.want(tmp_path / "a" / "code", files(BODY), MOST) == [MD5]
    said: list[list[str]] = []
    waiting = threading.Thread(target=lambda: said.append(second.want(tmp_path / "b" / "code", files(BODY), MOST)))
    waiting.start()
    send(first, BODY)
    assert said == []
    first.place()
    waiting.join(30)
    assert said == [[]]
    second.place()
    assert all((tmp_path / name / "code" / "data" / "0.bin").read_bytes() == BODY for name in "ab")
    assert first.want(tmp_path / "a" / "code", files(BODY), MOST) == []
    with pytest.raises(Left):
        agent(tmp_path, "c", goes_on=False).want(tmp_path / "c" / "code", files(BODY), MOST)


def test_what_a_killed_agent_had_half_is_fetched_again(tmp_path: Path) -> None:
    into, out = os.pipe()
    if (pid := os.fork()) == 0:
        dies = agent(tmp_path, "a")
        dies.want(tmp_path / "a" / "code", files(BODY), MOST)
        dies.part({"name": MD5, "size": len(BODY)}, BODY[:7])
        os.write(out, b"half")
        os.kill(os.getpid(), 9)
    os.read(into, 4)
    os.waitpid(pid, 0)
    assert held(tmp_path) == [f"{MD5}.part"]
    fetch(tmp_path, "b", BODY)
    assert (tmp_path / "b" / "code" / "data" / "0.bin").read_bytes() == BODY
    assert held(tmp_path) == [MD5]


def test_another_content_than_promised_never_takes_the_name(tmp_path: Path) -> None:
    sets = agent(tmp_path, "a")
    sets.want(tmp_path / "a" / "code", files(BODY), MOST)
    with pytest.raises(BadFile, match="another content"):
        send(sets, b"x" * len(BODY), told=BODY)
    sets.close()
    assert held(tmp_path) == [f"{MD5}.part"]
    with pytest.raises(BadFile, match="have not come"):
        late = agent(tmp_path, "b")
        late.want(tmp_path / "b" / "code", files(BODY), MOST)
        late.place()


def test_one_that_was_changed_on_the_node_is_fetched_again(tmp_path: Path) -> None:
    fetch(tmp_path, "a", BODY)
    (root,) = tmp_path.glob("fts-data-*")
    (root / MD5).chmod(0o600)
    (root / MD5).write_bytes(b"x" * len(BODY))
    assert agent(tmp_path, "b").want(tmp_path / "b" / "code", files(BODY), MOST) == [MD5]


def test_what_was_used_longest_ago_makes_room_unless_a_trial_has_it(tmp_path: Path) -> None:
    old, new, big = b"o" * 400, b"n" * 400, b"b" * 500
    for age, (name, body) in enumerate((("a", old), ("b", new))):
        fetch(tmp_path, name, body)
        (root,) = tmp_path.glob("fts-data-*")
        os.utime(root / f"{hashlib.md5(body).hexdigest()}.seen", (age, age))
    with pytest.raises(BadFile, match="keeps at most"):
        fetch(tmp_path, "c", big)
    for name in "ab":
        (tmp_path / name / "code" / "data" / "0.bin").unlink()
    fetch(tmp_path, "d", big)
    assert held(tmp_path) == sorted(hashlib.md5(body).hexdigest() for body in (new, big))


def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="the name of a file"):
        agent(tmp_path, "a").want(tmp_path / "a" / "code", {"../x": (MD5, 1)}, MOST)
    with pytest.raises(BadFile, match="md5 and size"):
        agent(tmp_path, "a").want(tmp_path / "a" / "code", {"x": ("../x", 1)}, MOST)
