"""The model computes what it says: patches, RevIN, dropout as a function of its seed, nothing outside its window."""

# shapes: B batch, C features, T days, N patches, D width, H heads, K = D/H

import math
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from fts.model import dropout
from fts.model.architecture import Architecture, ModelConfig
from fts.model.dropout import branch_masks, drop_mask
from fts.model.patchtst import PatchTST, normalise_window, window_statistics


def tiny(**changes) -> PatchTST:
    settings = {"context": 16, "patch": 4, "stride": 4, "dropout": 0.3} | changes
    return PatchTST(ModelConfig(Architecture(16, 2, 4, 32), 5, **settings), seed=3)


def windows(B: int = 6, C: int = 5, T: int = 16) -> torch.Tensor:
    return torch.randn(B, C, T, generator=torch.Generator().manual_seed(0)).cumsum(-1)


def slow_logits(model: PatchTST, x_BCT: torch.Tensor) -> torch.Tensor:
    """The same function, one window, one patch and one head at a time, from the textbook."""
    return torch.stack([slow_logit(model, x_CT) for x_CT in x_BCT])


def slow_logit(model: PatchTST, x_CT: torch.Tensor) -> torch.Tensor:
    config = model.config
    x_CT = (x_CT - x_CT.mean(1, keepdim=True)) / x_CT.std(1, keepdim=True, unbiased=False)
    starts = range(0, config.context - config.patch + 1, config.stride)
    tokens = torch.stack([model.embed(x_CT[:, s : s + config.patch].reshape(-1)) for s in starts])
    x_ND = tokens + model.position_ND
    for block in model.blocks:
        x_ND = x_ND + block.attention_out(slow_attention(block, block.attention_norm(x_ND)))
        hidden = block.ff_in(block.ff_norm(x_ND))
        x_ND = x_ND + block.ff_out(hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2))))
    return model.head(functional.layer_norm(x_ND, x_ND.shape[-1:]).reshape(-1)).squeeze()


def slow_attention(block, x_ND: torch.Tensor) -> torch.Tensor:
    q_ND, k_ND, v_ND = block.qkv(x_ND).chunk(3, -1)
    K = x_ND.shape[1] // block.n_heads
    heads = []
    for h in range(block.n_heads):
        q, k, v = (t[:, h * K : (h + 1) * K] for t in (q_ND, k_ND, v_ND))
        heads.append(torch.softmax(q @ k.T / math.sqrt(K), -1) @ v)
    return torch.cat(heads, -1)


def test_the_forward_pass_equals_a_slow_one():
    model, x_BCT = tiny(), windows()
    torch.testing.assert_close(model(x_BCT), slow_logits(model, x_BCT), atol=2e-5, rtol=1e-4)


def test_a_channel_independent_model_equals_a_loop_over_channels():
    model, x_BCT = tiny(channel_independent=True), windows()
    together = model(x_BCT)
    normalised = normalise_window(x_BCT)
    states = []
    for channel in range(5):
        tokens_BNP = normalised[:, channel].unfold(-1, 4, 4)
        x_BND = model.embed(tokens_BNP) + model.position_ND
        for block in model.blocks:
            x_BND = block(x_BND)
        states.append(model.norm(x_BND).flatten(1))
    torch.testing.assert_close(together, model.head(torch.cat(states, 1)).squeeze(-1), atol=1e-5, rtol=1e-5)


def test_several_outputs_come_as_columns_and_one_as_a_vector():
    assert tiny(n_outputs=3)(windows()).shape == (6, 3)
    assert tiny()(windows()).shape == (6,)
    assert tiny()(windows(B=1)).shape == (1,)


def test_a_window_may_be_moved_and_stretched_without_changing_the_answer():
    model, x_BCT = tiny(), windows()
    scale = torch.tensor([1.0, 3.0, 100.0, 0.5, 7.0])[:, None]
    shift = torch.tensor([0.0, 5.0, -300.0, 1.0, 20.0])[:, None]
    torch.testing.assert_close(model(x_BCT), model(x_BCT * scale + shift), atol=1e-3, rtol=1e-3)


def test_a_constant_feature_becomes_zero_even_at_the_level_of_a_volume():
    x_BCT = torch.full((1, 1, 16), 1.23e9)
    assert normalise_window(x_BCT).abs().max() == 0


def test_without_revin_the_level_matters():
    model, x_BCT = tiny(norm="none"), windows()
    assert not torch.allclose(model(x_BCT), model(x_BCT + 10))


def test_a_partial_norm_moves_only_its_features():
    model, x_BCT = tiny(norm="partial", levels=(1, 3)), windows()
    moved = x_BCT.clone()
    moved[:, [1, 3]] = moved[:, [1, 3]] * 3 + 10
    torch.testing.assert_close(model(x_BCT), model(moved), atol=1e-4, rtol=1e-3)
    for channel in (0, 2, 4):
        seen = x_BCT.clone()
        seen[:, channel] += 1
        assert not torch.allclose(model(x_BCT), model(seen))
    whole = tiny(norm="partial", levels=(0, 1, 2, 3, 4))
    assert torch.equal(whole(x_BCT), tiny()(x_BCT))


@pytest.mark.parametrize("norm", ["revin+stats", "partial+stats"])
def test_a_token_of_statistics_brings_back_what_the_norm_took_away(norm):
    levels = (0, 1, 2, 3, 4) if norm.startswith("partial") else ()
    model, x_BCT = tiny(norm=norm, levels=levels), windows()
    assert not torch.allclose(model(x_BCT), model(x_BCT + 1))
    x_CT = x_BCT[0].double()
    statistics = torch.cat([x_CT.mean(1), (x_CT - x_CT.mean(1, keepdim=True)).square().mean(1).sqrt().log()])
    torch.testing.assert_close(window_statistics(x_BCT)[0], statistics.float())
    with torch.no_grad():
        model.embed_statistics.weight.zero_()
    torch.testing.assert_close(model(x_BCT), model(x_BCT + 1), atol=1e-4, rtol=1e-3)  # it is the only way


def test_the_statistics_of_a_constant_feature_are_numbers():
    assert window_statistics(torch.full((2, 3, 16), 1.5)).isfinite().all()
    assert tiny(norm="revin+stats")(torch.full((2, 5, 16), 1.5)).isfinite().all()


def test_no_window_sees_its_neighbours_in_the_batch():
    model, x_BCT = tiny(), windows()
    changed = x_BCT.clone()
    changed[1:] += torch.randn_like(changed[1:])
    assert torch.equal(model(x_BCT)[0], model(changed)[0])


def test_dropout_is_a_function_of_its_seed_and_of_nothing_else():
    model, x_BCT = tiny(), windows()
    first = model(x_BCT, 7)
    torch.manual_seed(99)
    torch.randn(3)
    state = torch.get_rng_state()
    assert torch.equal(first, model(x_BCT, 7))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, model(x_BCT, 8))
    assert torch.equal(model(x_BCT), model(x_BCT, None))


def test_masks_keep_the_mean_and_the_rate_to_a_256th():
    like = torch.zeros(64, 50, 32)
    for rate in (0.1, 0.3, 0.5, 0.6):
        mask = drop_mask(like, rate, seed=1)
        assert float((mask == 0).float().mean()) == pytest.approx(round(rate * 256) / 256, abs=0.005)
        assert float(mask.mean()) == pytest.approx(1, abs=0.01)


def test_masks_of_branches_layers_and_seeds_are_unrelated():
    like = torch.zeros(64, 50, 32)
    masks = [m for seed in (1, 2) for layer in (0, 1) for m in branch_masks(like, 0.5, seed, layer)]
    masks.append(drop_mask(like, 0.5, 1))
    kept = torch.stack([(mask > 0).float().flatten() - 0.5 for mask in masks])
    related = torch.corrcoef(kept) - torch.eye(len(masks))
    assert related.abs().max() < 0.02  # 6 sd of independent bits


def test_recomputing_layers_gives_the_same_logits_and_gradients():
    x_BCT = windows()
    gradients = []
    for again in (False, True):
        model = tiny()
        model(x_BCT, 5, checkpoint_layers=again).sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_weights_are_a_function_of_the_seed():
    torch.manual_seed(1)
    first = tiny().state_dict()
    torch.manual_seed(2)
    assert all(torch.equal(first[name], value) for name, value in tiny().state_dict().items())
    other = PatchTST(tiny().config, seed=4).state_dict()
    assert not torch.equal(first["embed.weight"], other["embed.weight"])


def test_the_deepest_architecture_starts_calm():
    config = ModelConfig(Architecture(16, 256, 2, 32), 5, 16, 4, 4)
    logits = PatchTST(config)(windows())
    assert logits.isfinite().all() and logits.abs().max() < 2


def test_a_window_of_another_length_is_our_mistake():
    with pytest.raises(AssertionError, match=r"15 days.*built for 16"):
        tiny()(windows(T=15))


def test_on_mps_masks_are_drawn_from_a_range_that_it_supports(monkeypatch):
    """Its random_ refuses the whole range of an int64."""
    of_bytes = dropout._one_by_one
    like = SimpleNamespace(shape=(64, 50, 32), dtype=torch.float32, device=torch.device("mps"))
    monkeypatch.setattr(dropout, "_generator", lambda device: torch.Generator())
    monkeypatch.setattr(dropout, "_one_by_one", lambda n, device, drawn: of_bytes(n, torch.device("cpu"), drawn))
    mask = drop_mask(like, 0.3, seed=1)
    assert float((mask == 0).float().mean()) == pytest.approx(round(0.3 * 256) / 256, abs=0.005)
    assert float(mask.mean()) == pytest.approx(1, abs=0.01) and torch.equal(mask, drop_mask(like, 0.3, seed=1))
