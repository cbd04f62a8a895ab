"""The recipe a cell asks for is the recipe its trials get."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from fts.jobs.api.spec import BadSpec
from fts.study import recipe
from fts.study.cell import CellSpec, effective_config
from fts.study.objective import run_trial
from tests.search.test_spec import CELL, PARAMS, TRIAL

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


@pytest.mark.parametrize(("visible", "good"), [("", [False, True]), ("1", [True]), ("GPU-new,0", [True, False])])
def test_a_gpu_is_asked_by_the_number_that_torch_gives_it(monkeypatch, visible, good):
    """CUDA_VISIBLE_DEVICES renumbers the GPUs: an old one may be 0 for the driver, and unseen by torch."""
    gpus = {0: 7, 1: 9, "GPU-new": 9}
    driver = SimpleNamespace(
        nvmlInit=lambda: None, NVMLError=RuntimeError, nvmlDeviceGetHandleByIndex=gpus.__getitem__,
        nvmlDeviceGetHandleByUUID=gpus.__getitem__, nvmlDeviceGetCudaComputeCapability=lambda gpu: (gpu, 0),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    recipe.good_at_bf16.cache_clear()
    assert [recipe.good_at_bf16(f"cuda:{n}") for n in range(len(good))] == good
    recipe.good_at_bf16.cache_clear()


def test_a_trial_on_a_gpu_measures_its_own_peak_and_leaves_no_memory(monkeypatch):
    """One process serves many trials, and torch keeps memory and peak of all of them."""
    done = []
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: done.append("freed"))
    monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", done.append)
    monkeypatch.setattr("fts.study.objective.log_to", lambda path: None)
    monkeypatch.setattr("fts.study.objective.trial_facts", lambda *_: iter([done.append("ran")]))
    list(run_trial(replace(TRIAL, device="cuda:1"), None))
    list(run_trial(TRIAL, None))
    assert done == ["freed", "cuda:1", "ran", "freed", "cuda:1", "ran"]
