"""A real database of three studies of functions, written by the transitions under a clock of our own.

`train` has two axes, branches, several metrics and pruning; `peak` is maximized, has no axis and reports no steps;
`fit` has one axis and its own word for a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fts.jobs.api.function import FunctionCell, FunctionStudy
from fts.jobs.functions import declaration
from fts.state import transitions
from fts.state.db import Database, open_database
from fts.state.values import Claim
from tests.tui.study import Clock, open_at
from tests.tui.values import HOUR, NOW

USER = "you@spark"
TRIALS, STEPS = 12, 6


def cell(study: str, trials: int = TRIALS, axes: Mapping[str, Any] | None = None, **more: Any) -> FunctionCell:
    name = "_".join((study, *(str(value) for value in (axes or {}).values())))
    return FunctionCell(
        study=study, experiment=name, objective=f"{study}.py:objective", folder="/home/you/work", code_md5="ab" * 16,
        trials=trials, axes=dict(axes or {}), **more,
    )  # fmt: skip


TRAIN = [cell("train", axes={"data": data, "size": size}) for data in ("mnist", "cifar") for size in ("S", "M")]
PEAK = [cell("peak", direction="maximize", metric="height")]
FIT = [cell("fit", 4, {"width": width}, direction="maximize", steps=20) for width in (16, 4, 64)]


def build(path: Path, now: float = NOW, only: str = "") -> None:
    """Of `train` a cell is done, one runs its trial 7; `peak` is done; the rest is in line."""
    clock = Clock(now - 5 * HOUR)
    db = open_at(path, clock)
    cells = {"train": TRAIN, "peak": PEAK, "fit": FIT}
    order = ["peak", "train", "fit"] if not only else [only]
    with db.write():
        for name in order:
            transitions.enqueue(db, [FunctionStudy(name).row(each) for each in cells[name]], who=USER)
            step = {"fit": "round"}.get(name, "epoch")
            transitions.declare_study(db, name, declaration(cells[name]) | {"step": step})
        worker = transitions.register_worker(db, "spark", 4242, now - 5 * HOUR, 1)
        transitions.set_guard(db, worker, "normal")
        if "peak" in order:
            claim = claimed(db, worker)
            for number in range(TRIALS):
                value = 1000.0 - 7.5 * (number - 4) ** 2
                trial_of(db, clock, claim, number, {"x": number - 4.25, "y": number % 3}, value, seconds=90)
            transitions.finish_job(db, claim)
        if "train" in order:
            claim = claimed(db, worker)
            for number in range(TRIALS):
                searched(db, clock, claim, number, 600)
            transitions.finish_job(db, claim)
            claim = claimed(db, worker)
            for number in range(6):
                searched(db, clock, claim, number, (now - 300 - clock.at) / (6 - number))
            searched(db, clock, claim, 6, 360, steps=4, ends=False)
        clock.at = now - 2
        transitions.record_heartbeat(db, worker, 60.0)
    db.close()


def claimed(db: Database, worker: int) -> Claim:
    claim = transitions.claim(db, worker, 6 * HOUR)
    assert claim is not None
    return claim


def drawn(number: int) -> dict[str, Any]:
    """Only sgd has a momentum; the learning rate decides."""
    params: dict[str, Any] = {"lr": 10 ** -(1 + (number * 5 % 12) / 3), "optimizer": ("adam", "sgd")[number % 2]}
    if number % 2:
        params["momentum"] = 0.5 + 0.04 * number
    return params | {"layers": 1 + number % 4}


def searched(
    db: Database, clock: Clock, claim: Claim, number: int, seconds: float, steps: int = STEPS, ends: bool = True
) -> None:
    """A trial whose loss falls towards what its learning rate allows; every fourth is pruned half way."""
    floor = 0.2 + 0.1 * (number * 5 % 12) / 3 + 0.3 * (claim.job.labels["size"] == "M")
    pruned = ends and number % 4 == 3
    trial = begin(db, claim, number, drawn(number))
    loss = 0.0
    for step in range(3 if pruned else steps):
        clock.pass_s(seconds / STEPS)
        loss = floor + 1.2 * 0.5**step
        metrics = {"value": loss, "accuracy": 1 - loss / 2, "grad_norm": 40 * loss}
        transitions.record_epoch(db, claim, trial, {"epoch": step, "value": loss, "metrics": metrics})
    if ends:
        status, cause = ("pruned", "pruned") if pruned else ("complete", "finished")
        end(db, claim, trial, status, cause, loss, best_epoch=2 if pruned else steps - 1)


def trial_of(
    db: Database, clock: Clock, claim: Claim, number: int, params: dict[str, Any], value: float, seconds: float
) -> None:
    """One that reports nothing and returns a number."""
    trial = begin(db, claim, number, params)
    clock.pass_s(seconds)
    end(db, claim, trial, "complete", "finished", value)


def begin(db: Database, claim: Claim, number: int, params: dict[str, Any]) -> int:
    trial = transitions.start_trial(
        db, claim, number, params=params, effective=params, architecture="", objective=claim.job.metric, seed=number,
        effective_md5=f"{claim.job_id:016x}{number:016x}",
    )  # fmt: skip
    transitions.record_started(db, claim, trial, {"host": "spark", "device": "cpu", "threads": 1})
    return trial


def end(
    db: Database, claim: Claim, trial: int, status: str, cause: str, value: float, best_epoch: int | None = None
) -> None:
    transitions.finish_trial(db, claim, trial, status, cause, value=value, best_epoch=best_epoch, last_value=value)


GOALS = {"loss": "minimize", "latency": "minimize"}
LATENCY = (9.0, 5.0, 7.0, 2.0, 8.0, 1.0)  # against a loss of 1, 2, 3 ...: t0, t1, t3 and t5 are on the front


def build_front(path: Path, now: float = NOW, cells: int = 2, beside: int = 0) -> None:
    """Two goals; the first cell is done, the others are in line."""
    clock = Clock(now - HOUR)
    db = open_at(path, clock)
    made = [cell("net", len(LATENCY), {"width": width}, metric="loss", goals=GOALS) for width in range(cells)]
    with db.write():
        transitions.enqueue(db, [FunctionStudy("net").row(each) for each in made], who=USER)
        transitions.declare_study(db, "net", declaration(made))
        claim = claimed(db, transitions.register_worker(db, "spark", 4242, clock.at, 1))
        for number, latency in enumerate(LATENCY):
            trial = begin(db, claim, number, {"lr": 0.1 * (number + 1)})
            clock.pass_s(60)
            facts = {"metrics": {"loss": number + 1.0, "latency": latency}}
            transitions.finish_trial(
                db, claim, trial, "complete", "finished", value=number + 1.0, last_value=number + 1.0, facts=facts
            )
        transitions.finish_job(db, claim)
        transitions.enqueue(db, [FunctionStudy("peak").row(each) for each in PEAK[:beside]], who=USER)
    db.close()


def build_long_names(path: Path, now: float = NOW) -> None:
    """Names and values as long as people make them, in two scripts; one parameter is always the same."""
    clock = Clock(now - HOUR)
    db = open_at(path, clock)
    metric = "validation_mean_average_precision_at_50"
    made = [
        replace(
            cell(
                "experiment_with_a_very_long_name", 16, {"データ": data, "backbone_architecture": "resnet_152_wide"},
                metric=metric, direction="maximize",
            ),
            experiment=f"long_{n}",
        )
        for n, data in enumerate(("imagenet-21k-winter-2021-release", "日本語のデータ"))
    ]  # fmt: skip
    with db.write():
        transitions.enqueue(db, [FunctionStudy(made[0].study).row(each) for each in made], who=USER)
        transitions.declare_study(db, made[0].study, declaration(made) | {"step": "optimizer_update"})
        claim = claimed(
            db, transitions.register_worker(db, "a-machine-with-a-long-name.cluster.example", 4242, clock.at, 1)
        )
        for number in range(14):
            params = {
                "learning_rate_of_the_pretrained_backbone": 10.0 ** -(1 + number % 5), "always_the_same": "x" * 60,
                "augmentation": ("none", "日本", "randaugment+mixup+cutmix")[number % 3], "flag": bool(number % 2),
            }  # fmt: skip
            trial = begin(db, claim, number, params)
            clock.pass_s(30)
            if number == 5:
                why = "ValueError: " + "a message that goes on and on " * 12
                transitions.finish_trial(db, claim, trial, "failed", "code error", message=why)
            else:
                end(db, claim, trial, "complete", "finished", 1e9 * number if number % 2 else 1e-9 * number)
    db.close()


def build_attempts(path: Path, now: float = NOW) -> None:
    """One trial that three processes worked on: a worker was lost, then the process was killed, the third one runs."""
    clock = Clock(now - HOUR)
    db = open_at(path, clock)
    made = [cell("alone", 1)]
    with db.write():
        transitions.enqueue(db, [FunctionStudy("alone").row(each) for each in made], who=USER)
        transitions.declare_study(db, "alone", declaration(made))
        lost = transitions.register_worker(db, "spark", 1, clock.at, 1)
        first = claimed(db, lost)
        trial = begin(db, first, 0, {"x": 1.0})
        transitions.record_progress(db, first, trial, {"host": "spark", "pid": 100})
        clock.pass_s(600)
        transitions.record_heartbeat(db, lost, 60.0)
        clock.at = now - 40 * 60
        transitions.reconcile(db, "spark", lambda pid, started: False)
        worker = transitions.register_worker(db, "spark", 2, clock.at, 1)
        second = claimed(db, worker)
        transitions.resume_trial(db, second, trial)
        transitions.record_progress(db, second, trial, {"host": "spark", "pid": 101})
        clock.pass_s(300)
        transitions.record_attempt_ended(db, second, trial, "killed by signal 9")
        transitions.record_progress(db, second, trial, {"host": "spark", "pid": 102})
        clock.at = now - 2
        transitions.record_heartbeat(db, worker, 60.0)
    db.close()


def add_trials(path: Path, count: int) -> None:
    """So many more complete trials of the first job, all beaten, written at once."""
    db = open_database(path)
    with db.write():
        db.execute_sql(
            """
            WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
            INSERT INTO trial (job_id, number, status, params, effective, effective_md5, architecture, objective,
              direction, value, last_value, epochs, seed, started_at, ended_at, train_seconds, facts, badges)
            SELECT job_id, 6 + n.i, 'complete', json_object('lr', 0.001 * (n.i % 97 + 1)), effective,
              printf('%032x', 900000 + n.i), architecture, objective, direction, 10 + n.i % 89, 10.0, 0, n.i,
              started_at, ended_at, 0.0,
              json_object('metrics', json_object('loss', 10 + n.i % 89, 'latency', 10.0 + n.i % 7)), '[]'
            FROM trial, n WHERE trial.job_id = 1 AND trial.number = 0""",
            (count - 1,),
        )
        db.execute_sql("UPDATE job SET trials_complete = 6 + ?, trials_wanted = 6 + ? WHERE id = 1", (count, count))
    db.close()
