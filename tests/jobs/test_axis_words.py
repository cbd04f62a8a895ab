"""What `-m NAME=A,B` and `--space NAME=LOW:HIGH` say is taken as it was typed, or refused as a wrong word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fts.jobs.api.spec import BadSpec
from fts.jobs.functions import parse_axis, parse_parameter
from tests.jobs import toy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("size=1e999,M", "size is inf, expected text or a number up to 1e+100"),
        (f"size={10**150}", "expected text or a number up to 1e+100"),
        ("size=a\nb,M", "size is 'a\\nb', expected 1 to 200 printable characters"),
        ("size=\x1b[31mred", "expected 1 to 200 printable characters"),
        ("size=" + "x" * 201, "expected 1 to 200 printable characters"),
    ],
)
def test_a_value_that_no_job_may_have_is_a_wrong_word(text: str, said: str) -> None:
    with pytest.raises(BadSpec, match=re.escape(said)):
        parse_axis(text)


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
