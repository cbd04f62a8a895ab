"""Architectures are named by content, and every label is kept by counting."""

import json

import pytest
import torch

from fts.model.architecture import NORMS, Architecture, ModelConfig
from fts.model.budgets import BUDGETS, count_parameters, fits, grid, weight_shapes
from fts.model.patchtst import PatchTST


def counted(config: ModelConfig) -> int:
    with torch.device("meta"):  # shapes without memory: 2B takes as long as tiny
        model = PatchTST(config)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("budget", BUDGETS)
def test_every_grid_entry_has_the_parameters_the_formula_counts_and_its_budget_promises(budget):
    sizes: dict[tuple[int, int, int], int] = {}
    for shape in grid(budget):
        config = ModelConfig(shape, n_features=25)
        key = (shape.d_model, shape.n_layers, shape.d_ff)
        if key not in sizes:
            sizes[key] = counted(config)
        assert count_parameters(config) == sizes[key], shape.name
        assert fits(budget, sizes[key]), shape.name


def test_heads_change_no_parameter_count():
    few, many = (Architecture(64, 2, heads, 128) for heads in (2, 32))
    assert counted(ModelConfig(few, 25)) == counted(ModelConfig(many, 25))


def test_the_grid_has_the_published_number_of_combinations_and_sizes():
    grids = {budget: grid(budget) for budget in ("2M", "20M", "200M", "2B")}
    assert {budget: len(shapes) for budget, shapes in grids.items()} == {"2M": 80, "20M": 75, "200M": 125, "2B": 75}
    sizes = {budget: len({(a.d_model, a.n_layers, a.d_ff) for a in shapes}) for budget, shapes in grids.items()}
    assert all(15 <= n <= 25 for n in sizes.values()), sizes


def test_patches_of_sixteen_lose_one_size_of_2m():
    assert len(grid("2M", patch=16, stride=8)) == 75


def test_the_grid_has_one_order():
    assert list(grid("2M")) == sorted(grid("2M"))


@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_the_count_holds_for_other_shapes_of_input_and_output(independent, n_outputs):
    config = ModelConfig(
        Architecture(24, 3, 4, 48), 7, 60, 12, 4, norm="none", channel_independent=independent, n_outputs=n_outputs
    )
    assert counted(config) == count_parameters(config)
    with torch.device("meta"):
        model = PatchTST(config)
    assert dict(weight_shapes(config)) == {name: tuple(weight.shape) for name, weight in model.named_parameters()}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("context", [10, 20, 120])
def test_the_count_holds_for_every_norm_and_window(norm, context):
    levels = (0, 2, 3) if norm.startswith("partial") else ()
    config = ModelConfig(Architecture(24, 3, 4, 48), 7, context, norm=norm, levels=levels)
    assert counted(config) == count_parameters(config)
    with torch.device("meta"):
        model = PatchTST(config)
    assert dict(weight_shapes(config)) == {name: tuple(weight.shape) for name, weight in model.named_parameters()}


def test_a_grid_counts_the_token_of_statistics():
    def sizes(**window):
        return [count_parameters(ModelConfig(shape, 25, **window)) for shape in grid("2M", **window)]

    for window in ({"norm": "revin+stats"}, {"context": 20}, {"context": 120, "norm": "revin+stats"}):
        assert all(fits("2M", size) for size in sizes(**window))
    assert grid("2M", norm="partial+stats") == grid("2M", norm="revin+stats")
    shape = Architecture(128, 12, 8, 256)
    more = count_parameters(ModelConfig(shape, 25, norm="revin+stats")) - count_parameters(ModelConfig(shape, 25))
    assert more == (2 * 25 * 128 + 128) + 128 + 128, "embedding, position, and its place in the head"


def test_an_unknown_budget_is_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"unknown budget '3M'.*2M"):
        grid("3M")


def test_an_architecture_survives_its_name():
    for shape in grid("200M"):
        assert Architecture.parse(shape.name) == shape


@pytest.mark.parametrize("name", ["d512-L6-h8", "d512-L6-h8-ff2048\n", "../d512-L6-h8-ff2048", "d0-L1-h1-ff1", "", "7"])
def test_what_is_no_architecture_is_refused(name):
    with pytest.raises(ValueError, match=r"is no architecture|positive whole number"):
        Architecture.parse(name)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="3 heads do not divide d_model 64"):
        Architecture(64, 2, 3, 128)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"context": 8}, "does not fit"),
        ({"context": 83}, "unread"),
        ({"patch": 5, "stride": 10, "context": 85}, "skips days"),
        ({"dropout": 1.0}, "below 1"),
        ({"norm": "batch"}, "revin, none"),
        ({"norm": "partial"}, "there are none; choose norm none"),
        ({"levels": (0,)}, "belong to a partial norm, got norm revin"),
        ({"norm": "partial", "levels": (0, 5)}, "rising positions among 5 features"),
        ({"norm": "partial", "levels": (1, 0)}, "rising positions"),
        ({"norm": "partial", "levels": (1, 1)}, "rising positions"),
        ({"norm": "partial", "levels": (True,)}, "rising positions"),
        ({"norm": "revin+stats", "channel_independent": True}, "choose norm revin, or"),
        ({"n_features": 0}, "positive whole number"),
        ({"n_features": True}, "positive whole number"),
    ],
)
def test_a_model_that_cannot_be_is_refused_in_words(changes, reason):
    with pytest.raises(ValueError, match=reason):
        ModelConfig(**({"architecture": Architecture(16, 1, 2, 32), "n_features": 5} | changes))


def test_a_model_config_survives_json():
    config = ModelConfig(Architecture(16, 1, 2, 32), 5, dropout=0.25, channel_independent=True)
    assert ModelConfig.from_json(config.to_json()) == config
    assert "levels" not in config.to_json(), "the description of older models stays as it was"
    partial = ModelConfig(Architecture(16, 1, 2, 32), 5, norm="partial+stats", levels=(0, 3))
    assert ModelConfig.from_json(json.loads(json.dumps(partial.to_json()))) == partial
