"""Checkpoints of functions: what they hold, where they lie, and what a damaged one costs."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import warnings
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import fts
from fts.jobs.python import python
from fts.jobs.trial import checkpoint as artifacts
from fts.jobs.trial.checkpoint import BadState, Checkpoint
from fts.jobs.trial.running import mentions_pruning

STATE: dict[str, Any] = {
    "none": None, "yes": True, "n": 2**70, "x": 0.1, "nan": float("inf"), "text": "é", "list": [1, (2, "3")],
    "keys": {0: "int", (1, 2): "tuple", "$": "mark"}, "set": {1, 2}, "bytes": b"\0\xff",
    "array": np.arange(6, dtype=np.int16).reshape(2, 3), "scalar": np.float32(0.1), "words": np.array(["a", "bc"]),
    "frozen": {frozenset({1}): frozenset({frozenset()})}, "ordered": OrderedDict(b=1, a=2), "counted": Counter("aab"),
    "half": torch.ones(2, dtype=torch.bfloat16), "bits": torch.tensor([True, False]), "zero": torch.tensor(3.5),
}  # fmt: skip


def a_trial(folder: Path, name: str = "s") -> optuna.Trial:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(folder / "optuna.log")))
    study = optuna.create_study(study_name=name, storage=storage, load_if_exists=True)
    return study.ask()


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, np.ndarray | np.generic):
        return type(a) is type(b) and a.dtype == b.dtype and bool(np.array_equal(a, b))
    return type(a) is type(b) and bool(a == b)


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    Checkpoint(tmp_path / "c", None).save(STATE)
    found = Checkpoint(tmp_path / "c", None).load()
    assert [name for name in STATE if not same(STATE[name], found[name])] == []
    assert not [file for file in (tmp_path / "c").rglob("*") if b"pickle" in file.name.encode()]


def test_tensors_and_arrays_come_back_with_layout_and_alignment_so_that_their_sums_have_the_same_bits(
    tmp_path: Path,
) -> None:
    drawn = torch.Generator().manual_seed(0)
    x, y = torch.randn(64, 512, generator=drawn), torch.randn(4, 3, 8, 8, generator=drawn)
    flat, values = torch.randn(5000, generator=drawn), np.random.default_rng(0).random((60, 40, 20))
    state: dict[str, Any] = {
        "turned": x.T, "column": x[:, 3], "steps": x[::2, ::3], "last": y.contiguous(memory_format=torch.channels_last),
        "repeated": x[:1].expand(7, 512), "tail": flat[1:], "empty": x[:0].T, "whole": x,
        "array": values.transpose(1, 0, 2), "back": values[::-1, ::2], "line": values[:, 3, 4], "order": values.T,
        "one": np.broadcast_to(values[0], (3, 40, 20)),
    }  # fmt: skip
    Checkpoint(tmp_path, None).save(state)
    found = Checkpoint(tmp_path, None).load()
    for name, value in state.items():
        again = found[name]
        if isinstance(value, np.ndarray):
            assert (again.strides, again.dtype) == (value.strides, value.dtype) and np.array_equal(again, value), name
            assert again.sum() == value.sum() and again.ravel("K") @ again.ravel("K") == value.ravel("K") @ value.ravel(
                "K"
            )
            continue
        assert torch.equal(again, value), name
        if not value.numel():
            continue
        assert again.stride() == value.stride() and again.data_ptr() % 64 == value.data_ptr() % 64, name
        assert torch.equal(again.sum(), value.sum()) and torch.equal(again.sum(0), value.sum(0)), name
    assert torch.equal(found["tail"] @ found["tail"].flip(0), state["tail"] @ state["tail"].flip(0))
    Checkpoint(tmp_path / "gaps", None).save({"x": torch.ones(1).expand(10).as_strided((2,), (0,))})
    assert torch.equal(Checkpoint(tmp_path / "gaps", None).load()["x"], torch.ones(2))


def test_odd_kinds_of_values_come_back_exactly_or_are_refused_when_they_are_saved(tmp_path: Path) -> None:
    drawn = torch.Generator().manual_seed(0)
    complex_ones = torch.randn(4, 5, dtype=torch.complex128, generator=drawn)
    fixed = np.arange(5.0)
    fixed.flags.writeable = False
    kept: dict[str, Any] = {
        "complex": complex_ones, "turned": complex_ones.T[::2], "conjugate": complex_ones.conj(),
        "none": complex_ones[:0], "short complex": complex_ones.to(torch.complex64).to(torch.complex32),
        "imaginary": complex_ones.conj().imag,
        "eighths": torch.randn(4, 5, generator=drawn).to(torch.float8_e4m3fn).T[::2], "long": 10**5000,
        "minus": -(7**9000), "one channel": torch.randn(32, generator=drawn).as_strided((2, 1, 4, 4), (16, 1, 4, 1)),
        "fixed": fixed, "windows": torch.arange(10.0).unfold(0, 4, 1),
        "overlap": torch.arange(20.0).as_strided((4, 4), (1, 2), 2),
        "read": np.lib.stride_tricks.sliding_window_view(fixed, 3), "big-endian": np.arange(4, dtype=">f8")[::2],
        "fields": np.zeros(2, [("a", "i4"), ("b", "f8"), ("c", "i2")])[["a", "c"]],
        "days": np.array(["2020-01-01", "NaT"], "M8[D]"),
    }  # fmt: skip
    for name, value in kept.items():
        Checkpoint(tmp_path / name, None).save(value)
        again = Checkpoint(tmp_path / name, None).load()
        assert type(again) is type(value), name
        if isinstance(value, torch.Tensor):
            assert (again.dtype, again.shape) == (value.dtype, value.shape), name
            assert not value.numel() or again.stride() == value.stride(), name
            assert again.resolve_conj().tolist() == value.resolve_conj().tolist(), name
        elif isinstance(value, np.ndarray):
            assert (again.dtype, again.strides, again.tolist()) == (value.dtype, value.strides, value.tolist()), name
            assert again.flags.writeable == value.flags.writeable, name
        else:
            assert again == value, name

    Checkpoint(tmp_path / "short", None).save(torch.ones(2, dtype=torch.complex64))
    assert '"complex"' not in next((tmp_path / "short").rglob("state.json")).read_text(), "an older fts reads it"
    for far in (torch.empty(40_000_000)[::39_999_999].zero_(), np.zeros(40_000_000, np.float32)[::39_999_999]):
        Checkpoint(tmp_path / "far", None).save(far)
        again = Checkpoint(tmp_path / "far", None).load()
        assert (again.stride() if isinstance(again, torch.Tensor) else again.strides[0] // 4) in (1, (1,))
        assert again.tolist() == [0, 0]
    odd = torch.frombuffer(bytearray(range(42)), dtype=torch.float32, offset=1, count=10)
    Checkpoint(tmp_path / "unaligned", None).save(odd)
    assert torch.equal(Checkpoint(tmp_path / "unaligned", None).load(), odd)

    class Own(torch.Tensor):
        pass

    lazy = torch.nn.LazyLinear(2).weight
    refused = [
        torch.ones(2).as_subclass(Own), lazy, torch.empty(2, device="meta"), torch.eye(2).to_sparse(),
        torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]), torch.empty(2, dtype=torch.int4),
        torch.empty(2, dtype=torch.bits8), np.bytes_(b"a\0"), np.str_("a\0"), np.zeros(2, (np.record, [("a", "i4")])),
        np.zeros(2, {"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [0, 0]}),
    ]  # fmt: skip
    for value in refused:
        with pytest.raises(BadState, match=r"^state\['state'\]\['odd'\] is a .* save its"):
            Checkpoint(tmp_path / "odd", None).save({"odd": value})


def test_what_a_value_can_do_comes_back_too(tmp_path: Path) -> None:
    weight, factor = torch.nn.Parameter(torch.ones(2)), torch.ones(2, requires_grad=True)
    seen: defaultdict[str, list[int]] = defaultdict(list, {"a": [1]})
    own = defaultdict(lambda: 5, {"b": 2})
    Checkpoint(tmp_path, None).save({"weight": weight, "factor": factor, "sum": factor * 2, "seen": seen, "own": own})
    found = Checkpoint(tmp_path, None).load()
    assert isinstance(found["weight"], torch.nn.Parameter) and found["weight"].requires_grad
    assert found["factor"].requires_grad and not found["sum"].requires_grad
    found["seen"]["new"].append(2)
    assert found["seen"] == {"a": [1], "new": [2]}
    assert type(found["own"]) is dict, "a factory of one's own cannot be kept"


def test_another_generator_of_numpy_goes_on_with_the_same_numbers(tmp_path: Path) -> None:
    usual = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(np.random.PCG64(1))
        Checkpoint(tmp_path, None).save({})
        expected = np.random.random(3)
        np.random.set_bit_generator(np.random.MT19937(2))
        Checkpoint(tmp_path, None).load()
        assert np.array_equal(np.random.random(3), expected)
    finally:
        np.random.set_bit_generator(usual)


def test_a_state_that_holds_itself_or_loses_something_is_refused_in_one_sentence(tmp_path: Path) -> None:
    round_about: dict[str, Any] = {}
    round_about["me"] = round_about
    with pytest.raises(BadState, match="has more than 100 levels, or holds itself"):
        Checkpoint(tmp_path, None).save(round_about)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls this layout a beta
        compressed = torch.eye(2).to_sparse_csr()
    for odd in (np.ma.array([1, 2], mask=[True, False]), np.rec.array([(1, 2.0)]), compressed):
        with pytest.raises(BadState, match="save its"):
            Checkpoint(tmp_path, None).save({"odd": odd})
    assert Checkpoint(tmp_path, None).load() is None


def test_models_and_generators_go_on_with_the_same_numbers(tmp_path: Path) -> None:
    def steps(model: torch.nn.Module, count: int) -> None:
        for _ in range(count):
            model.zero_grad()
            (model(torch.randn(4, 3)).square().sum() * random.random() * float(np.random.random())).backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= 0.01 * parameter.grad

    def made() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Dropout(0.5), torch.nn.Linear(3, 1))

    model = made()
    steps(model, 3)
    Checkpoint(tmp_path, None).save(lambda: {"model": model.state_dict()})
    steps(model, 3)
    again = made()
    again.load_state_dict(OrderedDict(Checkpoint(tmp_path, None).load()["model"]))
    steps(again, 3)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_the_state_of_an_optimizer_keeps_its_keys_and_tuples(tmp_path: Path) -> None:
    moments = {"step": torch.tensor(3.0), "exp_avg": torch.ones(2)}  # what AdamW.state_dict() looks like
    state = {"state": {0: moments}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999), "fused": None, "params": [0]}]}
    Checkpoint(tmp_path, None).save(state)
    found = Checkpoint(tmp_path, None).load()
    assert found["param_groups"] == state["param_groups"] and list(found["state"]) == [0]
    assert torch.equal(found["state"][0]["exp_avg"], moments["exp_avg"])


def test_tied_weights_are_kept(tmp_path: Path) -> None:
    weight = torch.arange(4.0)
    Checkpoint(tmp_path, None).save({"a": weight, "b": weight, "c": weight[1:3]})
    found = Checkpoint(tmp_path, None).load()
    assert torch.equal(found["a"], found["b"]) and torch.equal(found["c"], weight[1:3])


@pytest.mark.parametrize("damage", ["cut", "gone", "flipped"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path, damage: str) -> None:
    for n in range(3):
        assert Checkpoint(tmp_path, None).save({"n": n, "x": np.full(4, n)})
    assert [path.name for path in artifacts.stored(tmp_path)] == ["checkpoint-000003", "checkpoint-000002"]
    file = tmp_path / "checkpoint-000003" / "arrays.npz"
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-3] if damage == "cut" else content[:40] + bytes([content[40] ^ 1]) + content[41:])
    assert Checkpoint(tmp_path, None).load()["n"] == 1
    assert Checkpoint(tmp_path, None).save({"n": 4})
    assert Checkpoint(tmp_path, None).load() == {"n": 4}


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ENOMEM, errno.ESTALE])
@pytest.mark.parametrize("at", ["file_md5", "Packed.read"])
def test_a_checkpoint_that_cannot_be_read_now_stays(
    tmp_path: Path, number: int, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says nothing about the file: hours of training would be gone after one moment of trouble."""
    Checkpoint(tmp_path, None).save({"n": 1})
    Checkpoint(tmp_path, None).save({"n": 2, "x": np.full(4, 2)})

    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))  # without a name, as a failed read of an open file

    with monkeypatch.context() as trouble:
        trouble.setattr(f"fts.jobs.trial.checkpoint.{at}", refused)
        with pytest.raises(OSError, match="checkpoint-000002"):
            Checkpoint(tmp_path, None).load()
    assert Checkpoint(tmp_path, None).load()["n"] == 2


@pytest.mark.parametrize("value", [object(), len, np.array([object()]), torch.nn.Linear(1, 1), Path()])
def test_what_would_need_a_pickle_is_refused_with_its_place(tmp_path: Path, value: Any) -> None:
    with pytest.raises(BadState, match=r"\['deep'\]\[1\] is a .*state_dict"):
        Checkpoint(tmp_path, None).save({"deep": [0, value]})
    assert Checkpoint(tmp_path, None).load() is None


def test_checkpoints_take_a_fiftieth_of_the_time(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, None)
    assert checkpoint.save({}) and not checkpoint.due
    assert not checkpoint.save(lambda: 1 / 0), "the state is not even built"
    checkpoint._last_save -= 50 * checkpoint._cost_s
    assert checkpoint.due


def test_under_plain_optuna_they_lie_beside_the_script_and_a_retried_trial_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trial = a_trial(tmp_path, "my study/1")
    fts.checkpoint(trial).save({"epoch": 3})
    assert (tmp_path / "checkpoints" / "my_study_1" / "trial_0000" / "checkpoint-000001").is_dir()
    assert fts.checkpoint(a_trial(tmp_path, "my study/1")).load() is None, "another trial"
    trial.study.add_trial(
        optuna.trial.create_trial(state=optuna.trial.TrialState.WAITING, system_attrs={"failed_trial": 0})
    )
    assert fts.checkpoint(trial.study.ask()).load() == {"epoch": 3}


def test_the_rest_works_under_plain_optuna_too() -> None:
    study = optuna.create_study(sampler=fts.PureSampler("random", seed=5))
    trial = study.ask()
    fts.report(trial, 0, val_loss=0.5, val_acc=0.1)
    assert study.trials[0].intermediate_values == {0: 0.5}
    assert fts.cell(trial) == {}
    assert fts.seed(trial, "data") == fts.seed(trial, "data") != fts.seed(trial, "weights")
    assert fts.checkpoint(trial).load() is None


def test_importing_fts_loads_nothing_heavy() -> None:
    code = "import sys, fts, json; fts.Stopped; fts.checkpoint; fts.report; print(json.dumps(list(sys.modules)))"
    said = subprocess.run(python("-c", code), capture_output=True, text=True, check=True).stdout
    assert not {"optuna", "torch", "numpy", "psutil", "peewee", "click"} & set(json.loads(said))


def test_a_checkpoint_is_written_although_a_file_of_the_code_is_gone(tmp_path: Path) -> None:
    """A module that was moved while the trial ran failed its first checkpoint."""
    assert mentions_pruning(tmp_path, tmp_path / "moved.py"), "as it cannot be known"


def test_a_link_among_the_files_of_a_checkpoint_becomes_what_it_leads_to(tmp_path: Path) -> None:
    """Lightning names its last checkpoint by a link to a file that it replaces later."""
    checkpoint = Checkpoint(tmp_path / "c", None)
    (checkpoint.dir / "epoch1").write_text("first")
    (checkpoint.dir / "last").symlink_to("epoch1")
    (checkpoint.dir / "folder").mkdir()
    (checkpoint.dir / "folder" / "last").symlink_to("../epoch1")
    checkpoint.save(1, files=[checkpoint.dir / "last", checkpoint.dir / "folder"])
    (checkpoint.dir / "epoch1").write_text("second")
    again = Checkpoint(tmp_path / "c", None)
    assert again.load() == 1
    assert (again.files["last"].read_text(), (again.files["folder"] / "last").read_text()) == ("first", "first")
    for files in (["epoch1", "last"], ["last", "epoch1"]):  # the file that it leads to is moved
        (checkpoint.dir / "epoch1").write_text("third")
        (checkpoint.dir / "epoch1").chmod(0o700)
        checkpoint._last_save = 0.0  # it is due
        assert checkpoint.save(2, files=[checkpoint.dir / name for name in files])
        assert again.load() == 2 and {path.read_text() for path in again.files.values()} == {"third"}
        assert all(os.access(path, os.X_OK) for path in again.files.values())
