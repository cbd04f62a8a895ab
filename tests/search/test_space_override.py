"""A person may narrow the space of a cell in one word: `dropout=0.1:0.3`."""

import pytest

from fts.jobs.search.sampler import suggest
from fts.jobs.search.space import BadSpace
from fts.model.budgets import grid
from fts.study.space import parse_override, space_for


def test_a_range_keeps_the_usual_scale():
    assert parse_override("dropout=0.1:0.3") == ("dropout", {"kind": "float", "low": 0.1, "high": 0.3, "log": False})
    assert parse_override("learning_rate=1e-4:3e-4")[1]["log"] is True


def test_choices_are_numbers_but_for_architectures():
    assert parse_override("warmup_steps=100,200") == ("warmup_steps", {"kind": "choice", "choices": [100, 200]})
    assert parse_override("architecture=d64-L2-h2-ff128")[1]["choices"] == ["d64-L2-h2-ff128"]


@pytest.mark.parametrize("text", ["dropuot=0.1:0.3", "dropout", "dropout=", "dropout=a:b", "dropout=0.1:0.2:0.3", ""])
def test_nonsense_is_refused_with_what_was_expected(text):
    with pytest.raises(BadSpace, match="NAME=LOW:HIGH"):
        parse_override(text)


def test_an_override_takes_its_place_in_the_space():
    name, narrow = parse_override("dropout=0.1:0.3")
    assert space_for("tiny", 25, {name: narrow})["dropout"] == narrow


@pytest.mark.parametrize(
    "text",
    [
        "learning_rate=nan:1", "learning_rate=1e-4:inf", "learning_rate=-inf:1", "learning_rate=0:1", "learning_rate=0",
        "learning_rate=1e400:1e500", "learning_rate=1_0:20", "weight_decay=-1e-3:1e-3", "weight_decay=0:1e-3",
        "dropout=-1:2", "dropout=0.2:1.15", "dropout=0.9:0.1", "dropout=1", "dropout=0.1,nan", "dropout=0.1,0.1",
        "dropout=0,0", "dropout=0.1,,0.2", "dropout=0.1,", "dropout= ", "dropout=:", "dropout=0.1:", "dropout=:0.1",
        "dropout=\uff11:2", "warmup_steps=1.5:3", "warmup_steps=-5,10", "warmup_steps=10.5", "warmup_steps=1e12",
    ],
)  # fmt: skip
def test_a_range_that_no_training_can_consume_is_refused_in_plain_words(text: str):
    with pytest.raises(BadSpace, match=f"^'?{text.partition('=')[0]}") as refused:
        parse_override(text)
    assert "expected" in str(refused.value)
    assert not any(word in str(refused.value) for word in ("low=", "float", "must hold", "Error", "literal", "None"))


@pytest.mark.parametrize("distribution", [
    {"kind": "float", "low": -1.0, "high": 2.0}, {"kind": "float", "low": 0.1}, {"kind": "choice", "choices": ["x"]},
    {"kind": "float", "low": float("nan"), "high": 0.5}, {"kind": "choice"}, {"kind": "odd"}, {},
])  # fmt: skip
def test_the_same_bounds_hold_for_who_calls_us_without_the_command(distribution: dict):
    with pytest.raises(BadSpace, match=r"^dropout"):
        space_for("tiny", 25, {"dropout": distribution})


def test_windows_and_norms_are_searched_among_choices():
    assert parse_override("context=20,80")[1] == {"kind": "choice", "choices": [20, 80]}
    name, norms = parse_override("norm=revin,partial+stats")
    assert norms == {"kind": "choice", "choices": ["revin", "partial+stats"]}
    both = {"context": {"kind": "choice", "choices": [20, 80]}, name: norms}
    space = space_for("2M", 25, both)
    assert {"context", "norm"} <= set(space)
    for window in ({"context": 20}, {"context": 80}, {"context": 80, "norm": "revin+stats"}):
        assert set(space["architecture"]["choices"]) <= {str(shape) for shape in grid("2M", 25, **window)}
    assert {"context", "norm"}.isdisjoint(space_for("2M", 25)), "nobody asked for them"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("context=20:80", "is a range"), ("context=20,1", "from 2 to"), ("context=20,20.5", "whole numbers"),
        ("norm=revin,batch", "norm is 'batch', expected choices among revin, none"), ("norm=", "empty value"),
        ("norm=none,none", "names a value twice"),
    ],
)  # fmt: skip
def test_a_window_or_norm_that_no_model_reads_is_refused(text: str, told: str):
    with pytest.raises(BadSpace, match=told):
        parse_override(text)


def test_a_searched_window_that_the_patches_do_not_fit_is_refused():
    with pytest.raises(BadSpace, match="leave 2 days of the 22-day window unread"):
        space_for("tiny", 25, {"context": {"kind": "choice", "choices": [20, 22]}})


def test_architectures_are_of_the_form_and_of_the_size():
    for name, told in (
        ("d8", "no architecture"),
        ("d64-L2-h3-ff128", "do not divide"),
        ("d64-L2-h2-ff128", "budget 2M"),
    ):
        with pytest.raises(BadSpace, match=told):
            space_for("2M", 25, dict([parse_override(f"architecture={name}")]))
    with pytest.raises(BadSpace, match="does not fit into a window"):
        space_for("tiny", 25, patch=100)


def test_a_range_of_whole_numbers_is_drawn_in_whole_numbers():
    name, steps = parse_override("warmup_steps=100:300")
    assert steps == {"kind": "int", "low": 100, "high": 300}
    drawn = suggest(space_for("tiny", 25, {name: steps}), [], 0, 0, "random")
    assert isinstance(drawn["warmup_steps"], int) and 100 <= drawn["warmup_steps"] <= 300
