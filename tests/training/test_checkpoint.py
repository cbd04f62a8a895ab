"""A checkpoint is whole or absent, damage is noticed, and what follows a resume is what would have come anyway."""

import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from fts.model.architecture import NORMS, Architecture, ModelConfig
from fts.model.patchtst import PatchTST
from fts.training import checkpoint
from fts.training.checkpoint import CheckpointError, DiskFull, read_checkpoint, read_weights, write_checkpoint
from fts.training.results import EpochDone
from fts.training.trainer import Trainer
from tests import forks
from tests.forks import ROOT
from tests.training.test_trainer import LEAN
from tests.training.tiny import finish, make_config, make_data, make_model, make_trainer, numbers


def run_for(trainer: Trainer, events: int) -> Trainer:
    running = trainer.run()
    for _ in range(events):
        next(running)
    return trainer


@pytest.mark.parametrize("changes", [{}, LEAN, {"precision": "bf16"}, {"objective": "val_auc"}], ids=str)
def test_stopped_between_any_two_events_and_resumed_every_later_number_is_the_same(tmp_path, changes):
    """With dropout, accumulation, shuffling, warm-up and early stopping on."""
    settings = {"max_epochs": 6, "patience": 2, "min_delta": 0.02} | changes
    whole = make_trainer(**settings)
    n_events = len(list(whole.run()))
    assert n_events >= 10
    for stop_after in range(n_events + 1):
        run_for(make_trainer(**settings), stop_after).save(tmp_path)
        torch.manual_seed(stop_after)  # the world moves on between two processes
        resumed = make_trainer(**settings)
        resumed.load(tmp_path)
        finish(resumed)
        assert numbers(resumed.history) == numbers(whole.history), f"stopped after event {stop_after}"
        assert resumed.outcome() == whole.outcome()
        assert np.array_equal(resumed.val_predictions, whole.val_predictions)
        same_weights(resumed, whole)


def same_weights(one: Trainer, other: Trainer) -> None:
    for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_stopping_at_every_event_of_one_run_changes_nothing(tmp_path):
    whole = make_trainer()
    n_events = len(list(whole.run()))
    for _ in range(n_events):
        trainer = make_trainer()
        if checkpoint.has_checkpoint(tmp_path):
            trainer.load(tmp_path)
        run_for(trainer, 1).save(tmp_path)
    last = make_trainer()
    last.load(tmp_path)
    assert list(last.run()) == []
    assert numbers(last.history) == numbers(whole.history)


OTHER = [sys.executable, "-Pm", "tests.training.other_process"]


def in_a_process(folder: Path, *words: str) -> str:
    code, out, err = forks.run([*OTHER, str(folder), *words], ROOT, os.environ, 120.0)
    assert code == 0, err[-2000:]
    return out


def test_a_new_process_continues_to_the_bit(tmp_path, one_thread):
    whole = json.dumps([result.to_json() for result in numbers(finish(make_trainer(max_epochs=4)))])
    in_a_process(tmp_path, "stop", "9")  # between the second epoch's last step and its result
    assert in_a_process(tmp_path, "resume").strip() == whole


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_global_random_states_come_back_too(tmp_path):
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    make_trainer().save(tmp_path)
    expected = (random.random(), np.random.rand(), float(torch.rand(())))
    make_trainer().load(tmp_path)
    assert (random.random(), np.random.rand(), float(torch.rand(()))) == expected


def test_another_number_of_threads_is_refused_with_the_cure(tmp_path, one_thread):
    make_trainer().save(tmp_path)
    torch.set_num_threads(2)
    with pytest.raises(CheckpointError, match=r"written with 1 threads.*uses 2.*set_num_threads\(1\)"):
        make_trainer().load(tmp_path)
    make_trainer().load(tmp_path, any_threads=True)


def test_a_smaller_micro_batch_may_continue_and_stays_close(tmp_path):
    whole = make_trainer(dropout=0.0, max_epochs=3)
    finish(whole)
    run_for(make_trainer(dropout=0.0, max_epochs=3), 3).save(tmp_path)
    halved = make_trainer(dropout=0.0, max_epochs=3, micro_batch=12)
    halved.load(tmp_path)
    finish(halved)
    assert halved.history[-1].val_loss == pytest.approx(whole.history[-1].val_loss, abs=1e-4)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (lambda: make_trainer(learning_rate=0.5), "learning_rate 0.003 there, 0.5 here"),
        (lambda: Trainer(make_model(n_layers=2), make_data(), make_config()), "another model"),
        (lambda: Trainer(make_model(), make_data(seed=1), make_config()), "other data"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_by_name(tmp_path, other, reason):
    make_trainer().save(tmp_path)
    with pytest.raises(CheckpointError, match=reason):
        other().load(tmp_path)


@pytest.mark.parametrize("norm", NORMS)
def test_a_model_of_every_norm_goes_on_to_the_bit_and_no_other_norm_takes_its_checkpoint(tmp_path, norm):
    def trainer_of(norm, levels=(0, 2)):
        levels = levels if norm.startswith("partial") else ()
        config = ModelConfig(Architecture(16, 1, 2, 32), 5, 16, 4, 4, dropout=0.3, norm=norm, levels=levels)
        return Trainer(PatchTST(config, 1), make_data(), make_config(max_epochs=2))

    whole = trainer_of(norm)
    finish(whole)
    run_for(trainer_of(norm), 5).save(tmp_path)
    state = json.loads((read_checkpoint(tmp_path).path / "state.json").read_text())
    assert state["model"]["norm"] == norm and ("levels" in state["model"]) == norm.startswith("partial")
    resumed = trainer_of(norm)
    resumed.load(tmp_path)
    finish(resumed)
    assert numbers(resumed.history) == numbers(whole.history)
    others = [trainer_of(other) for other in NORMS if other != norm]
    others += [trainer_of(norm, (0, 3))] if norm.startswith("partial") else []
    for other in others:
        with pytest.raises(CheckpointError, match="another model"):
            other.load(tmp_path)


def test_the_newest_two_are_kept_and_private(tmp_path):
    trainer = make_trainer()
    for _ in trainer.run():
        saved = trainer.save(tmp_path / "new")
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == ["checkpoint-000014", "checkpoint-000015"]
    assert (saved.step, saved.epoch, Path(saved.path).name) == (12, 4, "checkpoint-000015")
    assert saved.bytes == sum(file.stat().st_size for file in Path(saved.path).iterdir())
    assert Path(saved.path).stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in Path(saved.path).iterdir())


def test_any_flipped_byte_is_noticed_and_the_one_before_is_taken(tmp_path):
    trainer = make_trainer()
    run_for(trainer, 2).save(tmp_path / "clean")
    run_for(trainer, 1).save(tmp_path / "clean")
    rng = random.Random(0)
    for round_ in range(30):
        folder = shutil.copytree(tmp_path / "clean", tmp_path / str(round_))
        file = rng.choice(sorted((folder / "checkpoint-000002").iterdir()))
        content = bytearray(file.read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        file.write_bytes(content)
        loaded = make_trainer()
        stored = loaded.load(folder)
        if stored.path.name == "checkpoint-000001":
            assert loaded.step == 2
            assert "checkpoint-000002 is damaged" in stored.warnings[0]
        else:  # only a manifest can change without meaning: white space
            assert file.name == "manifest.json" and loaded.step == 3


@pytest.mark.parametrize("name", ["manifest.json", "state.json", "tensors-00001.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "gone", "empty", "garbage"])
def test_a_file_cut_short_or_gone_makes_the_one_before_count(tmp_path, name, damage):
    run_for(make_trainer(), 1).save(tmp_path)
    newest = Path(run_for(make_trainer(), 2).save(tmp_path).path) / name
    content = newest.read_bytes()
    if damage == "gone":
        newest.unlink()
    else:
        newest.write_bytes({"cut": content[:-3], "empty": b"", "garbage": b"\x80\x04[1]"}[damage])
    trainer = make_trainer()
    assert trainer.load(tmp_path).warnings and trainer.step == 1
    trainer.save(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2  # the damaged one has gone, the good one is the fall-back


def test_when_nothing_is_sound_the_reason_is_given(tmp_path):
    with pytest.raises(CheckpointError, match="it has none"):
        make_trainer().load(tmp_path / "nowhere")
    saved = make_trainer().save(tmp_path)
    (Path(saved.path) / "state.json").unlink()
    with pytest.raises(CheckpointError, match="checkpoint-000001 is damaged"):
        make_trainer().load(tmp_path)


def test_a_manifest_cannot_point_outside_its_folder(tmp_path):
    saved = Path(make_trainer().save(tmp_path / "checkpoint").path)
    manifest = json.loads((saved / "manifest.json").read_text())
    secret = tmp_path / "secret"
    secret.write_text("x")
    manifest["../../secret"] = {"md5": checkpoint.file_md5(secret), "bytes": 1}
    (saved / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="outside the folder"):
        make_trainer().load(tmp_path / "checkpoint")


def test_large_states_are_split_into_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SHARD_BYTES", 5000)
    whole = make_trainer()
    finish(whole)
    saved = run_for(make_trainer(), 4).save(tmp_path)
    assert len(saved.md5s) > 5
    resumed = make_trainer()
    resumed.load(tmp_path)
    finish(resumed)
    assert numbers(resumed.history) == numbers(whole.history)


def test_nothing_in_a_checkpoint_is_a_pickle(tmp_path):
    saved = Path(make_trainer().save(tmp_path).path)
    assert {file.suffix for file in saved.iterdir()} == {".json", ".safetensors"}


# -- crashes ---------------------------------------------------------------------------------------------------------


class Crash(BaseException):
    """Stands for the process ending here: no handler of ours runs after it."""


SYSTEM_CALLS = [(os, "rename"), (os, "fsync"), (os, "mkdir"), (os, "chmod"), (os, "rmdir"), (os, "unlink")]


def test_a_crash_at_any_system_call_of_a_save_leaves_a_sound_checkpoint(tmp_path, monkeypatch):
    """The n-th call that touches the disk never returns, for every n until a save gets through."""
    for n in range(1, 200):
        folder = tmp_path / str(n)
        trainer = make_trainer()
        for _ in range(2):
            run_for(trainer, 1).save(folder)
        run_for(trainer, 1)
        with monkeypatch.context() as patch:
            finished = not crashes(patch, n, lambda t=trainer, f=folder: t.save(f))
        resumed = make_trainer()
        stored = resumed.load(folder)
        assert resumed.step in (2, 3) and not stored.warnings, f"crash at call {n}"
        resumed.save(folder)
        assert len(list(folder.iterdir())) == 2, "left-overs were not swept"
        if finished:
            assert n > 15
            return
    pytest.fail("a save never got through")


def crashes(patch: pytest.MonkeyPatch, n: int, act) -> bool:
    left = [n]
    for module, name in SYSTEM_CALLS:
        patch.setattr(module, name, _crash_at(left, getattr(module, name)))
    try:
        act()
    except Crash:
        return True
    return False


def _crash_at(left: list[int], real):
    def call(*args, **kwargs):
        left[0] -= 1
        if left[0] <= 0:
            raise Crash
        return real(*args, **kwargs)

    return call


def test_kill_9_of_a_process_that_saves_all_the_time_never_leaves_it_without_one(tmp_path):
    rng, step = random.Random(7), 0
    for _ in range(2):
        told, its = os.pipe()
        words = [*OTHER, str(tmp_path), "save"]
        process = forks.popen(words, stdin=subprocess.DEVNULL, stdout=its, stderr=None, cwd=ROOT)
        os.close(its)
        with os.fdopen(told) as steps:
            for _ in range(rng.randrange(3, 12)):
                step = int(steps.readline())
            time.sleep(rng.random() * 0.02)
            process.send_signal(signal.SIGKILL)
            process.wait(60)
        trainer = make_trainer(max_epochs=100000, patience=100000)
        stored = trainer.load(tmp_path)
        assert trainer.step >= step and not stored.warnings
        shutil.rmtree(tmp_path)


# -- a full disk -----------------------------------------------------------------------------------------------------


def test_a_checkpoint_that_cannot_fit_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    run_for(make_trainer(), 1).save(tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(DiskFull, match=r"needs [\d,]+ bytes .* has 1,000 free") as full:
        run_for(make_trainer(), 2).save(tmp_path)
    assert full.value.free == 1000 < full.value.needed and full.value.errno == errno.ENOSPC
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000001"]


def test_a_disk_that_fills_up_while_writing_leaves_the_one_before(tmp_path):
    """A real limit of this process on file size stands for the disk: the same error path, from the kernel."""
    trainer = run_for(make_trainer(), 1)
    trainer.save(tmp_path)
    run_for(trainer, 1)
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(Exception, match=r"(?i)too large|os error 27|signal"):
            trainer.save(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000001"]
    resumed = make_trainer()
    resumed.load(tmp_path)
    assert resumed.step == 1


@pytest.mark.parametrize("call", ["mkdir", "fsync", "rename"])
def test_no_space_at_any_call_is_a_full_disk_by_name(tmp_path, monkeypatch, call):
    trainer = run_for(make_trainer(), 1)
    trainer.save(tmp_path)

    def no_space(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, no_space)
        with pytest.raises(DiskFull):
            trainer.save(tmp_path)
    make_trainer().load(tmp_path)
    trainer.save(tmp_path)


# -- best weights ----------------------------------------------------------------------------------------------------


def test_the_best_weights_say_what_they_are_and_give_the_best_predictions(tmp_path):
    trainer = make_trainer(max_epochs=5, learning_rate=0.02)
    for event in trainer.run():
        if isinstance(event, EpochDone) and event.improved:
            saved = trainer.save_best(tmp_path)
    facts, weights = read_weights(tmp_path / "best.safetensors")
    assert facts["result"]["epoch"] == trainer.outcome().best_epoch == saved.epoch
    assert facts["model"]["architecture"]["d_model"] == 16
    model = make_model()
    model.load_state_dict(weights)
    logits = model(trainer.data.batch(trainer.data.val_ends)[0]).detach()
    assert np.allclose(torch.sigmoid(logits).numpy(), trainer.val_predictions, atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["best.safetensors"]


def test_weights_that_are_none_are_refused(tmp_path):
    (tmp_path / "best.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        read_weights(tmp_path / "best.safetensors")


def test_tensors_come_back_to_the_bit(tmp_path):
    tensors = {"a": torch.randn(3, 4), "scalar": torch.tensor(3.0), "bytes": torch.arange(7, dtype=torch.uint8)}
    tensors |= {"none": torch.empty(0), "turned": torch.randn(4, 3).T, "odd": torch.tensor([0.1, float("nan"), -0.0])}
    write_checkpoint(tmp_path, lambda: iter(tensors.items()), {"x": 0.1})
    stored = read_checkpoint(tmp_path)
    assert stored.state["x"] == 0.1
    for name, tensor in stored.tensors():
        assert tensor.numpy().tobytes() == tensors[name].contiguous().numpy().tobytes()
