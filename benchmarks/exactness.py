"""Checks that a restarted or killed search continues bit for bit: parameters, values, epochs, pruning.

python -m benchmarks exactness [--full]

First each of Optuna's own samplers against `fts.PureSampler`: both are restarted in the middle, as in a new process,
from the recorded trials. Then whole studies whose worker and trial processes are killed with -9 at random moments,
against the same function under plain Optuna in one undisturbed process.
"""

from __future__ import annotations

import contextlib
import os
import random
import runpy
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

import fts
from benchmarks import Row
from fts.jobs.python import python
from fts.jobs.search.pure_pruner import PurePruner
from fts.state import queries
from fts.state.db import Database, open_for_reading
from fts.state.values import JobStatus

SEED = 3
OWN: dict[str, Callable[[], BaseSampler]] = {  # Optuna's own, as users write them
    "tpe": lambda: TPESampler(seed=SEED),
    "random": lambda: RandomSampler(seed=SEED),
    "nsgaii": lambda: NSGAIISampler(seed=SEED, population_size=8),
    "cmaes": lambda: CmaEsSampler(seed=SEED),
    "gp": lambda: GPSampler(seed=SEED),
}
RESTARTED = {"tpe": (40, 17), "random": (40, 17), "nsgaii": (40, 17), "cmaes": (40, 17), "gp": (12, 3)}
OBJECTIVE = '''
import random
import optuna
import fts

def objective(trial):
    """Branches, a loop of draws, a random generator, reports, pruning, attributes."""
    x = trial.suggest_float("x", -5.0, 5.0)
    rate = trial.suggest_float("rate", 1e-3, 1.0, log=True)
    loss = 1 + x * x
    if trial.suggest_categorical("kind", ["a", "b"]) == "a":
        for n in range(trial.suggest_int("layers", 1, 3)):
            loss += trial.suggest_float(f"width{n}", 0.0, 1.0)
    trial.set_user_attr("n_params", round(1000 * (x + 5)))
    noise = random.Random(fts.seed(trial, "noise"))
    checkpoint = fts.checkpoint(trial)
    state = checkpoint.load()
    if state:
        loss, first = state["loss"], state["epoch"] + 1
        noise.seed(state["noise"])
    else:
        first = 0
    for epoch in range(first, 6):
        loss = loss * (0.7 + 0.1 * noise.random()) + rate * 0.01
        trial.report(loss, epoch)
        again = noise.getrandbits(40)
        noise.seed(again)
        checkpoint.save(lambda: {"loss": loss, "epoch": epoch, "noise": again})
        if trial.should_prune():
            raise optuna.TrialPruned()
    return loss

def several(trial):
    """Two goals and a constraint."""
    x = trial.suggest_float("x", -5.0, 5.0)
    y = trial.suggest_int("y", 0, 9)
    if trial.suggest_categorical("kind", ["a", "b"]) == "a":
        y += trial.suggest_float("z", 0.0, 1.0)
    trial.set_constraint("x", x - 3)
    return x * x + y, abs(x - 2) * (y + 1)
'''
Trial = tuple[dict[str, Any], str, Any, dict[int, float]]  # parameters, status, values, epochs
PATIENCE_S = 900.0


def rows(quick: bool = True) -> list[Row]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    found = [restarted(name, *RESTARTED[name]) for name in OWN if is_there(name)]
    studies = [("objective", "tpe"), ("several", "nsgaii")] if quick else STUDIES
    return [*found, *(killed(function, name, 20 if quick else 40) for function, name in studies if is_there(name))]


STUDIES = [
    *(("objective", name) for name in ("tpe", "random", "cmaes", "nsgaii")),
    *(("several", name) for name in ("tpe", "random", "nsgaii")),
]  # fmt: skip


def is_there(name: str) -> bool:
    return name != "cmaes" or find_spec("cmaes") is not None


# -- restarted in the middle


def toy(trial: optuna.Trial) -> float:
    x, y = trial.suggest_float("x", -5, 5), trial.suggest_int("y", 1, 9)
    rate = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
    return (x - 1) ** 2 + y + rate


def restarted(name: str, trials: int, cut: int) -> Row:
    """Counts the trials with equal draws after a restart: with `fts.PureSampler`, and with Optuna's own sampler."""
    pure, own = (equal_after(make, trials, cut) for make in (lambda: fts.PureSampler(name, SEED), OWN[name]))
    return Row(
        f"{name}, restarted at trial {cut}", pure, f"of {trials} trials equal", own, "Optuna's own sampler",
    )  # fmt: skip


def equal_after(make: Callable[[], BaseSampler], trials: int, cut: int) -> int:
    whole = optuna.create_study(sampler=make())
    whole.optimize(toy, n_trials=trials)
    other = optuna.create_study(sampler=make())
    other.add_trials(whole.trials[:cut])
    other.optimize(toy, n_trials=trials - cut)
    return sum(a.params == b.params for a, b in zip(whole.trials, other.trials, strict=True))


# -- killed with -9


def killed(function: str, name: str, trials: int, seed: int = SEED) -> Row:
    """Counts the trials of a repeatedly killed study that equal those of plain Optuna, undisturbed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.py"
        path.write_text(OBJECTIVE)
        kills = storm(path, function, name, trials, seed)
        found = recorded(Path(folder) / "outputs" / "fts.db")
        wanted = undisturbed(path, function, name, trials, seed)
    equal = sum(one == other for one, other in zip(found, wanted, strict=False))
    equal = equal if kills and len(found) == trials else 0  # a study without kills shows nothing
    return Row(
        f"{name}, {'two goals' if function == 'several' else 'pruned'}, killed {kills} times",
        equal, f"of {trials} trials equal", repeats=kills, note="to plain Optuna",
    )  # fmt: skip


def storm(path: Path, function: str, name: str, trials: int, seed: int) -> int:
    """Runs the study to its end, with kills in between; returns their number."""
    fate, kills, until = random.Random(f"{function} {name} {seed}"), 0, time.monotonic() + PATIENCE_S
    goals = ["--goal", "loss=minimize", "--goal", "latency=minimize"] if function == "several" else []
    words = [f"train.py:{function}", "--trials", str(trials), "--sampler", name, "--seed", str(seed), *goals]
    run(path.parent, "enqueue", *words, "--name", "s")
    while time.monotonic() < until:
        db, before = path.parent / "outputs" / "fts.db", steps(path.parent / "outputs" / "fts.db")
        worker = start(path.parent, "worker", "--until-empty")
        enough = before + fate.randint(1, 25)  # steps of work: a faster machine is killed as often
        while worker.poll() is None and steps(db) < enough and time.monotonic() < until:
            time.sleep(0.01)
        if worker.poll() is None:
            kill(worker.pid, fate.choice(["worker", "both", "both"]))
            worker.wait()
            kills += 1
        if is_done(db):
            return kills
    raise TimeoutError(f"the study of {name} has not ended after {PATIENCE_S:g} s")


def run(folder: Path, *words: str) -> None:
    subprocess.run(command(*words), cwd=folder, check=True, capture_output=True)


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    silent = subprocess.DEVNULL
    return subprocess.Popen(command(*words), cwd=folder, stdout=silent, stderr=silent, start_new_session=True)


def command(*words: str) -> list[str]:
    return python("-m", "fts.jobs.cli", *words)


def kill(pid: int, victim: str) -> None:
    """Sends SIGKILL to the worker, or to it and its trial processes at once, as in a power cut."""
    with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
        children = psutil.Process(pid).children(recursive=True) if victim == "both" else []
        os.kill(pid, signal.SIGKILL)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


def steps(path: Path) -> int:
    """Returns the number of recorded epochs and ended trials."""
    with contextlib.closing(open_for_reading(path)) as db:
        trials = queries.trials(db, 1)
    return sum(trial.epochs + (trial.ended_at is not None) for trial in trials)


def is_done(path: Path) -> bool:
    with contextlib.closing(open_for_reading(path)) as db:
        job = queries.job(db, 1)
    if job.status is JobStatus.FAILED:
        raise RuntimeError(f"the study has failed: {job.message}")
    return job.status is JobStatus.DONE


def recorded(path: Path) -> list[Trial]:
    with contextlib.closing(open_for_reading(path)) as db:
        job = queries.job(db, 1)
        return [told(db, list(job.goals), trial) for trial in queries.trials(db, job.id)]


def told(db: Database, goals: list[str], trial: Any) -> Trial:
    values = [trial.facts.get("metrics", {}).get(name) for name in goals] if len(goals) > 1 else [trial.value]
    epochs = {one.epoch: one.value for one in queries.epochs(db, trial.id) if one.value is not None}
    complete = trial.status == "complete"
    return dict(trial.params), str(trial.status), values if complete else None, epochs


def undisturbed(path: Path, function: str, name: str, trials: int, seed: int) -> list[Trial]:
    """Runs the same function under plain Optuna."""
    objective = runpy.run_path(str(path))[function]
    directions = ["minimize"] * (2 if function == "several" else 1)
    study = optuna.create_study(
        directions=directions, sampler=fts.PureSampler(name, seed), pruner=PurePruner("median")
    )  # fmt: skip
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        study.optimize(objective, n_trials=trials)
    finally:
        os.chdir(here)
    return [
        (
            one.params,
            one.state.name.lower(),
            one.values if one.state.name == "COMPLETE" else None,
            one.intermediate_values,
        )
        for one in study.trials
    ]
