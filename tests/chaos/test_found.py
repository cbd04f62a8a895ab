"""What the kills brought to light, each as small as it can be told."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from fts.jobs.trial.process import Commands
from fts.model.attention import _separating_mask, attend
from tests.chaos import study
from tests.chaos.harness import Harness, until


def test_a_prune_order_ends_with_its_trial() -> None:
    """The next job's trial of the same number was pruned before its first step."""
    read_end, write_end = os.pipe()
    orders = Commands(read_end)
    os.write(write_end, json.dumps({"do": "prune", "number": 3}).encode() + b"\n")
    until(lambda: orders.prune_asked(3))
    os.write(write_end, json.dumps({"do": "run", "spec": {}}).encode() + b"\n")
    assert orders.next() == {}
    assert not orders.prune_asked(3)


def test_a_model_that_validates_first_can_still_train() -> None:
    """Resumed at an epoch's end, the first forward pass is a validation; it left a mask that refused to train."""
    _separating_mask.cache_clear()
    with torch.inference_mode():
        attend(torch.randn(4, 5, 48), 2)
    qkv = torch.randn(4, 5, 48, requires_grad=True)
    attend(qkv, 2).sum().backward()
    assert qkv.grad is not None


def test_ordinary_processes_end_as_those_of_the_nursery(
    make_harness: Callable[..., Harness], undisturbed_small: Any
) -> None:
    """Elsewhere workers are forked from a process that has torch; this one is started and killed as a user's is."""
    harness = replace(make_harness(trials=2), nursery=None)
    worker = harness.start(["worker:record_epoch:9:kill-all"])
    assert worker.wait() == -signal.SIGKILL, worker.talk()
    assert harness.fired() == ["worker:record_epoch:9:kill-all"]
    harness.finish()
    assert study.difference(undisturbed_small, study.identity(harness.places)) is None
    assert study.broken(harness.places, harness.journal) == []
