"""What a person reads before `fts worker --executor ray` starts anything; no Ray is needed for these."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from fts.jobs.executors import ray_cluster
from fts.jobs.executors.base import Want
from fts.jobs.executors.frames import MAGIC, Frame, FrameKind, encode
from fts.jobs.executors.ray_cluster import BadSetting, Cluster, RayLaunch, check_token, check_versions, look, sentence
from fts.jobs.executors.ray_slot import FramePosition, amounts, answers_at
from fts.jobs.executors.ray_slot import sentence as ray_says

OPEN: dict[str, str] = {}


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (None, "needs --address"),
        ("auto", "expected HOST:PORT"),
        ("10.0.0.5", "expected HOST:PORT"),
        (":6379", "expected HOST:PORT"),
        ("10.0.0.5:0", "expected HOST:PORT"),
        ("ray://10.0.0.5:10001", "is another service of Ray"),
        ("10.0.0.5:6379", "is not a loopback address and RAY_AUTH_MODE is not set"),
        ("0.0.0.0:6379", "is not a loopback address"),
    ],
)
def test_an_address_that_cannot_be_used_or_must_not_is_refused(address: str | None, words: str) -> None:
    with pytest.raises(BadSetting, match=words):
        look(address, OPEN)


def test_a_token_that_is_not_there_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    with pytest.raises(BadSetting, match="there is none"):
        check_token("10.0.0.5:6379", "10.0.0.5", token)
    (tmp_path / "token").write_text("x")
    check_token("10.0.0.5:6379", "10.0.0.5", token)
    for host in ("localhost", "127.0.0.1", "::1"):
        check_token(f"{host}:6379", host, OPEN)


def test_nothing_there_and_ray_not_installed_are_a_sentence_each(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
        with pytest.raises(BadSetting, match="nothing answers"):
            look(address, OPEN)
        one.listen()
        monkeypatch.setattr(ray_cluster, "LOOK", "tests.executors.no_ray")
        with pytest.raises(BadSetting, match=r"ray is not installed for .*: run `.*install .*fts-hpo\[ray\]"):
            look(address, {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})


def test_versions_must_be_the_same() -> None:
    check_versions({"here": ["2.60.0", "3.11.7"], "there": ["2.60.0", "3.11.9"]})
    with pytest.raises(BadSetting, match=r"runs Ray 2\.59\.0, here is 2\.60\.0: run `.*pip install ray==2\.59\.0`"):
        check_versions({"here": ["2.60.0", "3.11.7"], "there": ["2.59.0", "3.11.7"]})
    with pytest.raises(BadSetting, match=r"runs Python 3\.12\.1, here is 3\.11\.7"):
        check_versions({"here": ["2.60.0", "3.11.7"], "there": ["2.60.0", "3.12.1"]})


def test_a_token_is_asked_for_or_refused() -> None:
    assert "asks for a token: set RAY_AUTH_MODE=token" in sentence("token", "a:1", OPEN)
    assert "refuses this token" in sentence("token", "a:1", {"RAY_AUTH_MODE": "token"})


def test_a_slot_asks_for_what_a_trial_needs_and_says_no_secret() -> None:
    words = RayLaunch("", address="10.0.0.5:6379").argv(Want(threads=4, gpus=1, memory=1 << 30), "fts-0", 2 << 30)
    assert words[words.index("--threads") :] == ["--threads", "4", "--gpus", "1", "--memory", str(2 << 30)]
    nodes = tuple({"name": "n", "resources": {"CPU": 8.0}} for _ in range(3))
    assert Cluster(nodes).slots(4) == 6 and Cluster(nodes[:1]).slots(16) == 1 and Cluster(nodes * 9).slots(1) == 16


def test_a_frame_of_ours_follows_only_a_whole_one() -> None:
    stream = b"Welcome\n" + MAGIC + b"".join(encode(Frame(FrameKind.FACT, {"n": n}, b"b" * n)) for n in (0, 7, 300))
    for step in (1, 5, len(stream)):
        passing, whole = FramePosition(), []
        for at in range(0, len(stream), step):
            passing.feed(stream[at : at + step])
            whole.append(passing.whole)
        assert whole[-1]
        assert step > 1 or sum(whole) == 4  # after the magic word, and after each frame


def test_what_ray_says_is_one_line() -> None:
    assert ray_says(RuntimeError("The actor died\nbecause\nIts node has died.")) == (
        "Ray: The actor died Its node has died."
    )
    assert amounts({"CPU": 2.0, "GPU": 1.0, "memory": 4.0 * (1 << 30)}) == "2 CPU, 1 GPU, 4.0 GiB"


def test_a_port_that_nobody_serves_does_not_answer() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        assert not answers_at("127.0.0.1", one.getsockname()[1])
