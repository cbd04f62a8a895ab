"""The recipe a cell asks for is the recipe its trials get."""

from dataclasses import replace

import pytest

from fts.jobs.api.spec import BadSpec
from fts.study import recipe
from fts.study.cell import CellSpec, effective_config
from tests.search.test_spec import CELL, PARAMS

LIMIT = 8 << 30
SHAPE = "d64-L2-h2-ff128"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_cell_that_names_its_precision_gets_it_on_every_machine(precision):
    cell = replace(CELL, precision=precision)
    assert recipe.plan_recipe(cell, SHAPE, LIMIT, "cpu").recipe.precision == precision


@pytest.mark.parametrize(
    ("good", "device", "expected"),
    [
        (False, "cpu", ("fp32",)),
        (True, "cpu", ("bf16", "fp32")),
        (True, "cuda", ("bf16",)),
        (False, "mps", ("fp32",)),
    ],
)
def test_auto_is_what_the_machine_is_good_at(monkeypatch, good, device, expected):
    monkeypatch.setattr(recipe, "good_at_bf16", lambda asked: good)
    assert recipe.precisions("auto", device) == expected


def test_two_precisions_are_two_experiments():
    fp32, bf16 = (effective_config(replace(CELL, precision=name), PARAMS) for name in ("fp32", "bf16"))
    assert fp32 != bf16


def test_an_unknown_precision_is_refused_by_name():
    with pytest.raises(BadSpec, match="precision is 'fp8', expected one of auto, fp32, bf16"):
        CellSpec.from_json(CELL.to_json() | {"precision": "fp8"})
