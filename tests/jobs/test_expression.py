"""Expressions of a study file: what they are worth, and the one sentence for everything that is none."""

from __future__ import annotations

import random

import pytest

from fts.jobs.api.expression import BadExpression, Expression
from fts.jobs.api.spec import BadSpec

VALUES = {"size": "L", "layers": 4, "lr": 0.01, "fast": True, "none": None}
WORTH = [
    ("size == 'L'", True),
    ("layers >= 4 and size == 'L'", True),
    ("1 < layers <= 4 < 5", True),
    ("1 < layers < 4", False),
    ("size in ('S', 'M')", False),
    ("size not in ['S', 'M']", True),
    ("not fast or layers == 2", False),
    ("layers % 2 == 0", True),
    ("layers // 3 + 2 * 3 - 1", 6),
    ("-layers / 8 < +0", True),
    ("lr", 0.01),
    ("size", "L"),
    ("none == None", True),
    ("  fast", True),
    ("(layers == 4\n and fast)", True),
    ("layers == 4\n and fast", True),
    ("layers * lr > 0.03", True),
    # momentum was not drawn: unknown
    ("momentum > 0.5", False),
    ("not momentum > 0.5", False),
    ("momentum != 0.5", False),
    ("momentum > 0.5 or fast", True),
    ("momentum > 0.5 and fast", False),
    ("not (momentum > 0.5 and size == 'S')", True),
    ("1 < momentum < 2 or layers == 4", True),
    ("layers < 2 < momentum", False),
    ("not layers < 2 < momentum", True),
    ("layers in (momentum, 4)", False),
    ("-momentum + 1 < 5", False),
]
FAULTS = [
    ("", "an expression has 0 characters, expected 1 to 1000"),
    ("x" * 1001, "an expression has 1001 characters"),
    (3, "an expression is 3, expected a text"),
    ("size = 'L'", "has a fault at character 6: = is not supported, write =="),
    ("layers >=", "has a fault at character 10: invalid syntax"),
    ("__import__('os')", "has a fault at character 1: a call is not supported; expected names"),
    ("  (size + 1).upper == 'L'", "has a fault at character 3: an attribute"),
    ("fast and size[0] == 'L'", "has a fault at character 10: an index"),
    ("'äöü' == 'x'.x", "has a fault at character 10: an attribute"),
    ("layers ** 2", "a power is not supported"),
    ("fast & fast", "& (write and) is not supported"),
    ("size is 'L'", "`is` (write ==) is not supported"),
    ("lambda: 1", "a function is not supported"),
    ("f'{size}'", "a text with places is not supported"),
    ("[x for x in y]", "ListComp is not supported"),
    ("b'x' == size", "b'x' is not supported"),
    ("1j", "1j is not supported"),
    ("1e999 < lr", "inf is not supported"),
    ("... == size", "Ellipsis is not supported"),
    ("size in 'SML'", "expected a list after `in`"),
    ("size in layers", "expected a list after `in`"),
    ("(1, 2)", "expected a list after `in`, and nowhere else"),
    ("size == ('L', 'M')", "at character 9: expected a list after `in`, and nowhere else"),
    ("(" * 400 + "1" + ")" * 400, "too many nested parentheses"),
    ("-" * 60 + "1", "is too long"),
    (" + ".join(["1"] * 240), "is too long"),
]  # fmt: skip
CLASHES = [
    ("layers > size", "has a fault at character 1: 4 and 'L' cannot be compared"),
    ("size + 'x' == 'Lx'", "at character 1: 'L' is not a number"),
    ("fast or (1 < layers and size * 3)", None),
    ("1 == 1 and layers / (layers - 4) > 1", "at character 12: division by zero of 4 and 0"),
    (" * ".join(["9" * 200] * 2), "larger than 1e308"),
]


@pytest.mark.parametrize(("text", "worth"), WORTH)
def test_an_expression_is_worth_what_a_person_expects(text, worth):
    found = Expression.parse(text).value(VALUES)
    assert (found, type(found)) == (worth, type(worth))


@pytest.mark.parametrize(("text", "sentence"), FAULTS)
def test_a_fault_is_named_with_its_place(text, sentence):
    with pytest.raises(BadExpression) as caught:
        Expression.parse(text)
    assert sentence in str(caught.value)
    assert isinstance(caught.value, BadSpec)


@pytest.mark.parametrize(("text", "sentence"), CLASHES)
def test_values_that_do_not_go_together_are_named(text, sentence):
    expression = Expression.parse(text)
    if sentence is None:
        assert expression.holds(VALUES)
        return
    with pytest.raises(BadExpression) as caught:
        expression.value(VALUES)
    assert sentence in str(caught.value)


def test_names_come_once_and_in_their_order():
    assert Expression.parse("b > 1 and (a in (c, 'd') or b < 3)").names == ("b", "a", "c")
    assert Expression.parse("True == None").names == ()


def test_holds_takes_a_number_as_python_does():
    assert Expression.parse("layers - 4").holds(VALUES) is False
    assert Expression.parse("layers").holds(VALUES) is True


def test_expressions_without_unknown_names_are_worth_what_python_says():
    """Against Python's own evaluation, on 500 made expressions."""
    dice = random.Random(3)

    def number(depth: int) -> str:
        if depth == 0 or dice.random() < 0.3:
            return dice.choice(["layers", "lr", "2", "0.5", "7"])
        return f"({number(depth - 1)} {dice.choice('+-*')} {number(depth - 1)})"

    def truth(depth: int) -> str:
        kind = dice.randrange(5) if depth else 0
        if kind < 2:
            signs = dice.choices(["<", "<=", ">", ">=", "==", "!="], k=dice.randint(1, 2))
            return number(2) + "".join(f" {sign} {number(1)}" for sign in signs)
        if kind == 2:
            return f"not {truth(depth - 1)}"
        if kind == 3:
            return f"size {dice.choice(['in', 'not in'])} ('{dice.choice('SL')}', 'M')"
        return f"({truth(depth - 1)} {dice.choice(['and', 'or'])} {truth(depth - 1)})"

    for _ in range(500):
        text = truth(3)
        assert Expression.parse(text).value(VALUES) is eval(text, dict(VALUES)), text  # noqa: S307 - the reference
