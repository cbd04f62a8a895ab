"""A person may narrow the space of a cell in one word: `dropout=0.1:0.3`."""

import pytest

from fts.search.space import BadSpace, parse_override, space_for


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
