"""kill -9 at every draw and every report: what goes on from the record ends as if nothing had happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fts.jobs.search.past_trial import PastTrial
from fts.jobs.supervisor.child import TrialProcess
from tests.trial.harness import Record, attempt, cell_of, log_of, run_one, spec_of

WITHOUT = """
import random

def objective(trial):
    x = trial.suggest_float("x", -5.0, 5.0)
    loss = x * x + 1
    if x > -5.0:
        loss += trial.suggest_int("k", 1, 9)
    for epoch in range(4):
        loss *= 0.5 + 0.1 * random.random()
        trial.report(loss, epoch)
    return {"loss": loss, "k": trial.params["k"]}
"""
WITH = """
import random
import numpy as np
import optuna
import fts

def objective(trial):
    x = trial.suggest_float("x", -5.0, 5.0)
    checkpoint = fts.checkpoint(trial)
    weights = np.full(3, x)
    state = checkpoint.load()
    if state:
        weights = state["weights"]
    for epoch in range(state["epoch"] + 1 if state else 0, 5):
        weights = weights * (0.5 + 0.1 * random.random()) + np.random.normal(size=3) * 0.01
        if epoch == 2:
            weights += trial.suggest_float("late", 0.0, 1e-3)
        fts.report(trial, epoch, loss=float(np.abs(weights).sum()), largest=float(weights.max()))
        checkpoint.save(lambda: {"weights": weights, "epoch": epoch})
        if trial.should_prune():
            raise optuna.TrialPruned()
    return float(np.abs(weights).sum())
"""
GOOD = tuple(PastTrial(n, {}, "complete", 0.0, dict.fromkeys(range(5), 0.0)) for n in range(6))


def kills_at(kind: str, n: int) -> Any:
    """Kills the process at the n-th fact of a kind."""
    seen: list[Any] = []

    def act(child: TrialProcess, fact: dict[str, Any]) -> bool:
        seen.extend([fact] if fact["fact"] == kind else [])
        return len(seen) == n

    return act


def test_a_function_without_checkpoints_begins_anew_and_ends_equal(tmp_path: Path) -> None:
    cell = cell_of(tmp_path, WITHOUT, metric="loss")
    undisturbed = run_one(cell)
    assert undisturbed.end["value"] == undisturbed.end["metrics"]["loss"] == undisturbed.curve[3]
    disturbed = Record(0)
    for kind, count in (("draw", 2), ("epoch", 4)):
        for n in range(1, count + 1):
            new = 1 if kind == "draw" else n  # draws on record are not told again
            attempt(spec_of(cell, disturbed, ()), disturbed, (), kills_at(kind, new))
            assert not disturbed.end
    attempt(spec_of(cell, disturbed, ()), disturbed, forked=False)
    assert disturbed.outcome == undisturbed.outcome


SELDOM = WITH.replace("if trial.should_prune()", "if epoch == 3 and trial.should_prune()")
NEVER = WITH.replace("if trial.should_prune()", "if False")


@pytest.mark.parametrize(
    ("pruner", "body", "how"),
    [("none", WITH, "result"), ("median", WITH, "pruned"), ("median", SELDOM, "pruned"), ("median", NEVER, "result")],
    ids=["no pruner", "asks always", "asks once", "asks never"],
)
def test_a_function_with_checkpoints_goes_on_and_ends_equal(tmp_path: Path, pruner: str, body: str, how: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    cell, other = (cell_of(tmp_path / one, body, metric="loss", pruner=pruner) for one in "ab")
    undisturbed = run_one(cell, 6, GOOD)
    assert undisturbed.end["fact"] == how
    disturbed = Record(6)
    moments = [("draw", 1)]
    for epoch in range(5):  # a resumed process tells the epochs again that its checkpoint holds
        moments += [("epoch", epoch + 1), ("checkpoint", 1)] + (
            [("judge", 1)] if body is WITH and how == "pruned" else []
        )
    kills = 0
    for moment in moments:
        attempt(spec_of(other, disturbed, GOOD), disturbed, GOOD, kills_at(*moment))
        if disturbed.end:
            break
        kills += 1
    if not disturbed.end:
        attempt(spec_of(other, disturbed, GOOD), disturbed, GOOD)
    assert disturbed.outcome == undisturbed.outcome
    assert kills >= 8
    assert "resumed from checkpoint-" in log_of(other, 6)


END = """
import fts

def objective(trial):
    checkpoint = fts.checkpoint(trial)
    state = checkpoint.load() or {"epoch": -1, "w": 8.0}
    %s
    for epoch in range(state["epoch"] + 1, 3):
        state = {"epoch": epoch, "w": state["w"] / 2}
        loss = state["w"]
        trial.report(loss, epoch)
        checkpoint.save(state)
    return loss
"""


KEEPS = """
import fts

def objective(trial):
    trial.set_user_attr("parameters", 7)
    checkpoint = fts.checkpoint(trial)
    state = checkpoint.load() or {"epoch": -1}
    for epoch in range(state["epoch"] + 1, 4):
        if epoch == 1:
            trial.set_user_attr("best_epoch", epoch)
            trial.set_user_attr("names", ["a", ("b", 2)])
            trial.set_user_attr("kept by nobody", object)
            trial.set_constraint("size", 3.0)
            trial.set_user_attr("constraints", (1.0, -1.0))
        trial.report(1.0 / (epoch + 1), epoch)
        checkpoint.save({"epoch": epoch})
    return 1.0
"""


def test_what_a_function_kept_of_its_trial_survives_a_kill(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    cell, other = (cell_of(tmp_path / one, KEEPS) for one in "ab")
    undisturbed = run_one(cell)
    assert undisturbed.end["user_attrs"] == {
        "parameters": 7, "best_epoch": 1, "names": ["a", ["b", 2]], "constraints": [1.0, -1.0]
    }  # fmt: skip
    assert undisturbed.end["constraints"] == {"size": 3.0, "0": 1.0, "1": -1.0}
    disturbed = Record(0)
    attempt(spec_of(other, disturbed, ()), disturbed, (), kills_at("checkpoint", 3))
    assert not disturbed.end
    attempt(spec_of(other, disturbed, ()), disturbed, ())
    assert "resumed from checkpoint-" in log_of(other, 0)
    assert {name: disturbed.end[name] for name in ("user_attrs", "constraints")} == {
        name: undisturbed.end[name] for name in ("user_attrs", "constraints")
    }


@pytest.mark.parametrize("first", ["loss = 0.0", "pass"])
def test_a_trial_killed_behind_its_last_epoch_trains_it_again_and_never_returns_what_it_began_with(
    tmp_path: Path, first: str
) -> None:
    """A loss that is still 0.0, or a name that is not there: what people write without a kill in mind."""
    cell, record = cell_of(tmp_path, END % first), Record(0)
    attempt(spec_of(cell, record, ()), record, (), kills_at("checkpoint", 3))
    attempt(spec_of(cell, record, ()), record)
    assert (record.end["fact"], record.end["value"], record.curve) == ("result", 1.0, {0: 4.0, 1: 2.0, 2: 1.0})
    assert "nothing was left to train after checkpoint-000003, so the last epoch is trained again" in log_of(cell)
    assert log_of(cell).count("resumed from") == 2


def test_a_recorded_draw_wins_over_a_changed_distribution_and_is_told_as_drifted(tmp_path: Path) -> None:
    cell = cell_of(tmp_path, "def objective(trial):\n    return trial.suggest_float('x', 0.0, 1.0)\n")
    record = Record(0)
    attempt(spec_of(cell, record, ()), record, (), kills_at("draw", 1))
    cell = cell_of(tmp_path, "def objective(trial):\n    return trial.suggest_float('x', 0.0, 2.0)\n")
    attempt(spec_of(cell, record, ()), record)
    (drifted,) = [fact for fact in record.told if fact["fact"] == "drifted"]
    assert (drifted["k"], drifted["name"], drifted["value"]) == (0, "x", record.end["value"])
    assert drifted["recorded"]["value"] == drifted["value"]
    assert (drifted["recorded"]["distribution"]["high"], drifted["distribution"]["high"]) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("drawn", "recorded", "now", "offered"),
    [
        ("categorical('o', ['adam'])", "'adam'", "categorical('o', ['sgd', 'lion'])", "'sgd', 'lion'"),
        ("float('o', 0.5, 0.5)", "0.5", "int('o', 0, 1)", "int 0..1"),  # Python would cut it to 0
        ("categorical('o', ['1'])", "'1'", "float('o', 0.0, 2.0)", "0.0..2.0"),  # a text that reads as a number
    ],
)
def test_a_recorded_value_that_is_offered_no_more_is_named(
    tmp_path: Path, drawn: str, recorded: str, now: str, offered: str
) -> None:
    cell, record = cell_of(tmp_path, f"def objective(trial):\n    trial.suggest_{drawn}\n    return 1.0\n"), Record(0)
    attempt(spec_of(cell, record, ()), record, (), kills_at("draw", 1))
    cell = cell_of(tmp_path, f"def objective(trial):\n    trial.suggest_{now}\n    return 1.0\n")
    attempt(spec_of(cell, record, ()), record)
    assert record.end["fact"] == "failed"
    assert f"o is {recorded} in this trial's record, and train.py suggests {offered} now; " in record.end["message"]


TORCH = """
import torch
import fts

def objective(trial):
    lr = trial.suggest_float("lr", 1e-3, 1e-1, log=True)
    checkpoint = fts.checkpoint(trial)
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(fts.seed(trial, "data") % 2**63))
    y = x.sin().sum(1, keepdim=True)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Dropout(0.2), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 6)
    state = checkpoint.load()
    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
    for epoch in range(state["epoch"] + 1 if state else 0, 6):
        for batch in torch.randperm(64).split(16):
            optimizer.zero_grad()
            loss = (model(x[batch]) - y[batch]).square().mean()
            loss.backward()
            optimizer.step()
        schedule.step()
        trial.report(loss.item(), epoch)
        parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
        checkpoint.save(lambda: {name: part.state_dict() for name, part in parts.items()} | {"epoch": epoch})
    return loss
"""


@pytest.mark.slow  # importing torch and its optimizers takes 5 s a process
def test_a_torch_model_that_was_killed_twice_ends_with_the_same_bits(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    undisturbed = run_one(cell_of(tmp_path / "a", TORCH), forked=False)
    cell, record = cell_of(tmp_path, TORCH), Record(0)
    for moment in (("epoch", 2), ("checkpoint", 2)):
        attempt(spec_of(cell, record, ()), record, (), kills_at(*moment), forked=False)
    attempt(spec_of(cell, record, ()), record, forked=False)
    assert undisturbed.end["fact"] == "result", log_of(cell)
    assert record.outcome == undisturbed.outcome
    assert log_of(cell).count("resumed from checkpoint-") == 2


def test_draws_and_epochs_that_only_the_checkpoint_knows_are_told_again(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    cell, other = (cell_of(tmp_path / one, WITH, metric="loss") for one in "ab")
    undisturbed = run_one(cell)
    disturbed = Record(0)
    attempt(spec_of(other, disturbed, ()), disturbed, (), kills_at("checkpoint", 4))
    assert "late" in disturbed.params
    disturbed.draws = {0: disturbed.draws[0]}  # the supervisor died before it wrote the others down
    disturbed.epochs.clear()
    attempt(spec_of(other, disturbed, ()), disturbed)
    assert disturbed.outcome == undisturbed.outcome
