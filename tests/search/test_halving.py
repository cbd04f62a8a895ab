"""The numbers of successive halving are frozen with a cell, checked like its other fields, and read by people."""

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fts.jobs.api.halving import BEFORE_FREEZING, HALVING, BadHalving, Halving
from fts.jobs.api.spec import BadSpec
from fts.jobs.search.past_trial import PastTrial
from fts.jobs.search.pruner import should_prune
from fts.study.cell import CellSpec
from tests.search.test_spec import CELL, through_json

STRICT = Halving(first_rung=1, growth=4, keep=0.1, trailing=None)
FROZEN = replace(CELL, pruner="halving", halving=STRICT)


def test_a_cell_keeps_its_rule_through_json():
    assert CellSpec.from_json(through_json(FROZEN)) == FROZEN
    assert CellSpec.from_json(through_json(FROZEN)).halving_rule == STRICT


def test_a_spec_from_before_the_rule_was_frozen_means_what_the_code_did_then():
    old = through_json(replace(CELL, pruner="halving"))
    del old["halving"]
    assert CellSpec.from_json(old).halving_rule == BEFORE_FREEZING
    assert asdict(BEFORE_FREEZING) == {
        "first_rung": 2, "growth": 3, "keep": 0.5, "trailing": 2, "startup": 0, "margin": 0.0,
    }  # fmt: skip


def test_the_rule_is_part_of_what_a_cell_is_and_its_absence_changes_nothing():
    old = replace(CELL, pruner="halving")
    assert FROZEN.identity != old.identity
    assert replace(FROZEN, halving=BEFORE_FREEZING).identity == old.identity, "the same rule, said or meant"
    assert CELL.identity == "c19a110d7e511f82253f767af402f589"  # as before the field was there


def test_the_frozen_rule_decides():
    rivals = [PastTrial(n, {}, "complete", v, {1: v, 2: v}) for n, v in enumerate((0.5, 0.6, 0.7, 0.8))]
    fair = {1: 0.55}
    assert should_prune("halving", rivals, 9, fair, rule=replace(CELL, pruner="halving").halving_rule) is None
    assert should_prune("halving", rivals * 3, 9, fair, rule=FROZEN.halving_rule)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("first_rung", 0),
        ("growth", 1),
        ("keep", 0.0),
        ("keep", 1.1),
        ("keep", float("nan")),
        ("keep", "half"),
        ("trailing", 0),
        ("trailing", 2.5),
        ("startup", True),
        ("margin", -0.1),
    ],
)
def test_a_bad_number_is_named(name, value):
    rule = asdict(HALVING) | {name: value}
    with pytest.raises(BadSpec, match=name):
        CellSpec.from_json(through_json(CELL) | {"pruner": "halving", "halving": rule})
    with pytest.raises(BadHalving, match=name):
        Halving(**rule)


@pytest.mark.parametrize("rule", [{}, {"keep": 0.5}, asdict(HALVING) | {"x": 1}, [2, 3], "2,3,0.5,2", 7])
def test_a_rule_that_is_not_whole_is_refused(rule):
    with pytest.raises(BadSpec, match="halving"):
        CellSpec.from_json(through_json(CELL) | {"pruner": "halving", "halving": rule})


def test_a_rule_without_its_pruner_is_refused():
    with pytest.raises(BadSpec, match="pruner is median"):
        CellSpec.from_json(through_json(replace(FROZEN, pruner="median")))


def test_a_rule_is_typed_by_place_or_by_name():
    assert Halving.parse("2,3,0.5,2") == BEFORE_FREEZING
    assert Halving.parse("keep=1/3, trailing=none") == replace(HALVING, keep=1 / 3, trailing=None)
    assert Halving.parse("4,margin=0.002") == replace(HALVING, first_rung=4, margin=0.002)


@pytest.mark.parametrize(
    "text", ["", "2,3,0.5,2,0,0,0", "keep", "keep=1/0", "rung=2", "keep=0.5,keep=0.4", "2,x", "a,b=c"]
)
def test_what_is_no_rule_is_refused_in_one_sentence(text):
    with pytest.raises(BadHalving, match="expected"):
        Halving.parse(text)


@settings(deadline=None)
@given(
    st.builds(
        Halving, first_rung=st.integers(1, 50), growth=st.integers(2, 9), keep=st.floats(0.01, 1),
        trailing=st.none() | st.integers(1, 9), startup=st.integers(0, 9), margin=st.floats(0, 1),
    )
)  # fmt: skip
def test_what_a_rule_says_of_itself_makes_it_again(rule: Halving):
    assert Halving.parse(rule.numbers) == rule
    assert Halving.from_json(json.loads(json.dumps(asdict(rule)))) == rule


def test_a_rule_reads_as_a_sentence():
    assert HALVING.numbers == "1,9,0.3,4" and BEFORE_FREEZING.numbers == "2,3,0.5,2"
    assert "epochs 2, 6, 18" in BEFORE_FREEZING.told and "after 2 epochs without improvement" in BEFORE_FREEZING.told
    assert "never ended" in replace(HALVING, startup=5).told and "0.002" in replace(HALVING, margin=0.002).told
