"""What `-m NAME=A,B` and `--space NAME=LOW:HIGH` say is taken as it was typed, or refused as a wrong word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fts.jobs import commands, functions
from fts.jobs.api.spec import BadSpec
from fts.jobs.axis_words import parse_axis, parse_parameter
from fts.jobs.unused_names import unread
from tests.jobs import toy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("size=1e999,M", "size is inf, expected text or a number up to 1e+100"),
        (f"size={10**150}", "expected text or a number up to 1e+100"),
        ("size=a\nb,M", "size is 'a\\nb', expected 1 to 200 printable characters"),
        ("size=\x1b[31mred", "expected 1 to 200 printable characters"),
        ("size=" + "x" * 201, "expected 1 to 200 printable characters"),
        ("lr=[0.1,1.0]", "has a comma inside brackets"),
        ("net=conv(3,64),conv(5,64)", "but a comma always ends a value; write NAME=A,B instead"),
        ("lr=loguniform(1e-5,0.1)", "a range is LOW:HIGH or LOW:HIGH:log of --space, or LOW..HIGH:log in a command"),
    ],
)
def test_a_value_that_no_job_may_have_is_a_wrong_word(text: str, said: str) -> None:
    with pytest.raises(BadSpec, match=re.escape(said)):
        parse_axis(text)


@pytest.mark.parametrize(
    "text", ["lr=1:2:lin", "lr=1:2:3:4", "lr=1:2:log:log", "lr=0.1:high", "lr=low:1", "lr=1:", "lr"]
)
def test_a_range_that_was_not_typed_to_its_end_is_a_wrong_word(text: str) -> None:
    with pytest.raises(BadSpec, match="is no parameter, expected NAME=A,B or NAME=LOW:HIGH, with :log behind it"):
        parse_parameter(text)


def test_whole_numbers_keep_every_digit() -> None:
    """2**53 + 1 went through a float, and was another cell than the one that was typed."""
    assert parse_axis(f"size={2**53 + 1},-{10**26 + 1},1e3,x") == ("size", [2**53 + 1, -(10**26) - 1, 1000.0, "x"])
    assert parse_parameter(f"n=0:{10**22 + 1}")[1]["high"] == 10**22 + 1


def test_a_cell_whose_value_looks_like_an_option_has_a_name_that_can_be_typed(tmp_path: Path) -> None:
    made = toy.write(tmp_path / "study", keeps=False)
    made.ok("enqueue", "train.py:objective", "--trials", "1", "-m", "size=-n,--help,-1,S,-S/x")
    names = made.one("SELECT group_concat(cell, ' ') FROM job").split()
    assert names == ["size=-n", "size=--help", "size=-1", "S", "size=-S/x"]
    for number, name in enumerate(names, 1):
        assert made.ok("why", name).startswith(f"job {number} "), name
        made.ok("pause", name)
    assert made.one("SELECT count(*) FROM job WHERE status = 'paused'") == 5


def test_an_axis_that_reads_like_a_range_is_said(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("def objective(trial, lr): return 1.0\n")
    for value, searches in (
        ("0.1..1.0", "--space lr=0.1..1.0"),
        ("1e-5:1e-1:log", "--space lr=1e-5..1e-1:log"),
        ("1..3:log", "--space lr=1..3:log"),
        ("16:9", ""),
        ("log", ""),
    ):
        _, values = parse_axis(f"lr={value}")
        made = functions.cells("train.py:objective", tmp_path, 3, axes={"lr": values})
        assert [searches in one for one in unread(made)] == [True] * bool(searches), value
        command = commands.cells(["echo", "{lr}", "{x:0.0..1.0}"], tmp_path, 3, {"lr": values}, metric="loss")
        assert any("in the command searches" in one for one in unread(command)) is bool(searches)


def test_a_range_is_written_with_two_points_or_a_colon() -> None:
    for points, colon in (("1..4", "1:4"), ("0.1..1.0", "0.1:1.0"), ("1e-5..1e-1:log", "1e-5:1e-1:log")):
        assert parse_parameter(f"x={points}") == parse_parameter(f"x={colon}")
        assert commands.parse_place("x", points) == parse_parameter(f"x={colon}")[1]
    assert parse_parameter("x=a..b")[1]["kind"] == "choice"
    assert parse_axis("x=f(3),(") == ("x", ["f(3)", "("]), "no comma is inside brackets"


def test_a_range_that_was_written_otherwise_is_said(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("def f(lr): return 1.0\n")
    for words, said in (("lr=0.1-1.0", True), ("lr=adam", False), ("lr=0.1", False), ("lr=0.1-1.0,2", False)):
        name, parameter = parse_parameter(words)
        found = unread(functions.cells("train.py:f", tmp_path, 3, space={name: parameter}))
        assert ["is always the text '0.1-1.0'; write LOW:HIGH" in one for one in found] == [True] * said, words
