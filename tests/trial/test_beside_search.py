"""A cell's winner runs again with other seeds and its baseline once: in the same job, beside its search."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.api.function import FunctionCell, FunctionStudy
from fts.jobs.api.spec import BadSpec
from fts.jobs.functions import cells
from fts.jobs.python import python
from fts.jobs.records.intervals import mean_interval, share_interval
from fts.state import queries, transitions
from fts.state.db import open_for_person
from tests.fts_process import fts as run

TRAIN = """
import os, random, time
def objective(x, seed, slow="0"):
    loss = (x - 0.3) ** 2 + random.Random(seed).gauss(0, 0.01)
    while os.path.exists("wait"):
        time.sleep(0.01)
    return loss
def plain(size="S"):
    return 0.5
def drawn(trial):
    return (trial.suggest_float("x", -1, 1) - 0.3) ** 2
def mean(trial):
    return 0.5
"""
PATIENCE_S = 120.0


def fts(folder: Path, *words: str) -> str:
    said = run(words, folder, os.environ)
    assert said.code == 0, said
    return said.out


def enqueued(folder: Path, trials: int, *more: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(TRAIN)
    words = ("--trials", str(trials), "--space", "x=-1.0:1.0", *more)
    fts(folder, "enqueue", "train.py:objective", *words)


def work(folder: Path) -> list[dict[str, Any]]:
    fts(folder, "worker", "--until-empty", "--slots", "1", "--threads", "1")
    return trials_of(folder)


def trials_of(folder: Path) -> list[dict[str, Any]]:
    with contextlib.closing(sqlite3.connect(folder / "outputs" / "fts.db")) as db:
        rows = db.execute("SELECT number, params, value, badges FROM trial ORDER BY number").fetchall()
    return [{"number": n, "params": json.loads(p), "value": v, "badges": json.loads(b)} for n, p, v, b in rows]


def numbers(trials: list[dict[str, Any]]) -> list[tuple[Any, Any]]:
    return [(trial["params"], trial["value"]) for trial in trials]


@pytest.mark.parametrize(
    ("n", "sampler"),
    [(2, "random"), pytest.param(11, "tpe", marks=pytest.mark.slow)],  # TPE learns from ten trials on
)
def test_a_search_with_seeds_and_baseline_is_the_search_without_and_goes_on_as_if_they_had_not_run(
    tmp_path: Path, n: int, sampler: str
):
    enqueued(tmp_path / "plain", n + 1, "--sampler", sampler)
    plain = work(tmp_path / "plain")
    beside = ("--sampler", sampler, "--seeds", "3")
    enqueued(tmp_path / "more", n, *beside, "--baseline", "train.py:plain")
    trials = work(tmp_path / "more")
    assert numbers(trials[:n]) == numbers(plain[:n])
    assert [trial["badges"] for trial in trials[n:]] == [["baseline"], *[["replicate"]] * 2]
    winner = min(trials[:n], key=lambda trial: trial["value"])
    again = [trial["value"] for trial in trials[n + 1 :]]
    assert all(trial["params"] == winner["params"] for trial in trials[n + 1 :]) and len({*again, winner["value"]}) == 3
    (found,) = json.loads(fts(tmp_path / "more", "results", "--json"))["results"]
    assert (found["best_trial"], found["value"], found["baseline"]) == (winner["number"], winner["value"], 0.5)
    assert found["other_seeds"] == 2 and found["other_seeds_mean"] == pytest.approx(statistics.fmean(again))
    enqueued(tmp_path / "more", n + 1, *beside)
    extended = work(tmp_path / "more")
    assert numbers(extended[: n + 3]) == numbers(trials)
    assert numbers(extended[n + 3 : n + 4]) == numbers(plain[n:])
    later = extended[n + 4 :]  # the winner of all, where that is another one
    best = min([*extended[:n], extended[n + 3]], key=lambda trial: trial["value"])
    assert len(later) == (0 if best["number"] == winner["number"] else 2)


def test_the_baseline_of_a_search_that_draws_as_it_runs_takes_a_trial_too(tmp_path: Path):
    (tmp_path / "train.py").write_text(TRAIN)
    words = ("--trials", "2", "--seeds", "2", "--baseline", "train.py:mean")
    fts(tmp_path, "enqueue", "train.py:drawn", *words)
    trials = work(tmp_path)
    assert [trial["badges"] for trial in trials[2:]] == [["baseline"], ["replicate"]]
    winner = min(trials[:2], key=lambda trial: trial["value"])
    assert [trial["value"] for trial in trials[2:]] == [0.5, winner["value"]]


@pytest.mark.slow  # eight processes of fts; how a trial comes back is the same code as for any other trial
def test_a_worker_killed_during_a_replicate_ends_like_an_undisturbed_one(tmp_path: Path):
    enqueued(tmp_path / "calm", 2, "--seeds", "3")
    calm = work(tmp_path / "calm")
    folder = tmp_path / "killed"
    enqueued(folder, 2)
    work(folder)
    enqueued(folder, 2, "--seeds", "3")  # added to a search that is done
    (folder / "wait").touch()
    words = ("worker", "--until-empty", "--slots", "1", "--threads", "1")
    worker = subprocess.Popen(python("-m", "fts.jobs.cli", *words), cwd=folder, stderr=subprocess.DEVNULL)
    until = time.monotonic() + PATIENCE_S
    while not (folder / "outputs" / "logs").is_dir() or len(trials_of(folder)) < 3:
        assert time.monotonic() < until and worker.poll() is None
        time.sleep(0.05)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    (folder / "wait").unlink()
    trials = work(folder)
    assert numbers(trials) == numbers(calm) and [trial["badges"] for trial in trials[2:]] == [["replicate"]] * 2


FREE = """
def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    return x, 1 - x
def plain():
    return 0.5
def both(trial):
    return {"loss": 0.5, "size": 0.25}
"""


@pytest.mark.parametrize("baseline", ["plain", pytest.param("both", marks=pytest.mark.slow)])
def test_a_baseline_beside_a_search_that_draws_itself_and_has_two_goals(tmp_path: Path, baseline: str):
    """Its process was told of trials that the baseline does not look at; the goal that decides is enough."""
    (tmp_path / "train.py").write_text(FREE)
    goals = ("--goal", "loss=minimize", "--goal", "size=minimize")
    words = ("enqueue", "train.py:objective", *goals, "--seeds", "2", "--baseline", f"train.py:{baseline}")
    fts(tmp_path, *words, "--trials", "2")
    trials = work(tmp_path)
    assert [trial["badges"] for trial in trials] == [[], [], ["baseline"], ["replicate"]]
    assert [trial["value"] for trial in trials[2:]] == [0.5, min(trial["value"] for trial in trials[:2])]
    (found,) = json.loads(fts(tmp_path, "results", "--json"))["results"]
    assert (found["baseline"], found["front"]) == (0.5, "t0 t1")


def test_more_seeds_extend_a_job_and_fewer_delete_nothing(tmp_path: Path):
    db = open_for_person(tmp_path / "fts.db")
    study = FunctionStudy("s")
    rule = transitions.SameQuestion(lambda spec: study.cell(spec).question, lambda spec: study.cell(spec).identity)

    def put(**fields: Any) -> tuple[int, Any, Any]:
        cell = FunctionCell("s", "s_a", "train.py:f", "/x", "0" * 32, **{"trials": 5} | fields)
        transitions.enqueue(db, [study.row(cell)], rule=rule)
        (job,) = queries.jobs(db)
        assert study.cell(job.spec).wanted == job.trials_wanted
        return job.trials_wanted, job.spec["trials"], job.spec.get("seeds")

    assert put() == (5, 5, None)
    assert put(seeds=3) == (7, 5, 3)
    assert put(seeds=2) == (7, 5, 3)
    assert put(trials=6) == (8, 6, 3)
    transitions.undo(db)
    assert put() == (7, 5, 3)
    assert put(baseline="train.py:g") == (8, 5, 3)
    db.close()


@pytest.mark.parametrize(
    ("baseline", "told"),
    [
        ("train.py", "expected FILE.py:FUNCTION"),
        ("train.py:missing", "has no function 'missing'; it has objective, plain"),
        ("train.py:objective", "needs seed2, which nothing gives"),
    ],
)
def test_a_baseline_that_cannot_run_is_refused(tmp_path: Path, baseline: str, told: str):
    (tmp_path / "train.py").write_text(TRAIN.replace("(x, seed,", "(x, seed2,"))
    with pytest.raises(BadSpec, match=told):
        cells("train.py:plain", tmp_path, 3, axes={"size": ["S"]}, baseline=baseline)


def test_the_intervals_cover_what_they_say():
    """Of 2,000 planted means of four values, and shares of 30, about 95 % lie within."""
    chance = random.Random(5)
    mean = share = 0
    for _ in range(2000):
        interval = mean_interval([chance.gauss(3.0, 2.0) for _ in range(4)])
        mean += interval.low <= 3.0 <= interval.high
        of = share_interval(sum(chance.random() < 0.2 for _ in range(30)), 30)
        share += of.low <= 0.2 <= of.high
    assert 1880 <= mean <= 1920 and 1860 <= share <= 1940
    assert not mean_interval([1.0]).is_known
