"""The examples as studies to compare: plain Optuna, undisturbed in the queue, and through a storm of kills."""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from fts.jobs.python import python
from tests.fts_process import ROOT, Study

# Another interpreter may have the libraries that constraints.txt does not pin
PYTHON = os.environ.get("FTS_LIBRARIES", sys.executable)
ENVIRON = {
    "FTS_OUTAGE_PAUSE_S": "0.001",
    "KERAS_BACKEND": "torch",
    "FTS_CHECKPOINT_EVERY_S": "0.001",
    "MKL_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}


@dataclass(frozen=True)
class Kind:
    """One example, and how it is put in line."""

    file: str
    metric: str = "value"
    direction: str = "minimize"
    trials: int = 8
    needs: tuple[str, ...] = ()
    pruner: str = "median"
    seed: int = 3
    more: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        return f"{Path(self.file).parent.name}-{self.pruner}"

    @property
    def objective(self) -> str:
        return f"{Path(self.file).name}:objective"


KINDS = {
    "branches": Kind("function/branches.py", trials=16),
    "function": Kind("function/digits.py", "accuracy", "maximize"),
    "sklearn": Kind("sklearn/forest.py", direction="maximize", needs=("sklearn",)),
    "torch": Kind("torch/mlp.py", "val_loss", needs=("torch", "sklearn")),
    "xgboost": Kind("xgboost/boosting.py", "validation-mlogloss", needs=("xgboost", "sklearn")),
    "lightgbm": Kind("lightgbm/boosting.py", "valid_0-l2", needs=("lightgbm", "sklearn")),
    "lightning": Kind("lightning/digits.py", "val_loss", needs=("lightning", "sklearn")),
    "huggingface": Kind("huggingface/tiny_bert.py", "eval_loss", needs=("transformers", "accelerate")),
    "keras": Kind("keras/digits.py", "val_loss", needs=("keras", "sklearn")),
}


@functools.cache
def missing(name: str) -> str:
    """Which package of this one the interpreter has not installed; empty: none."""
    ask = f"import importlib.util as u; print(u.find_spec({name!r}) is None)"
    said = subprocess.run([PYTHON, "-P", "-c", ask], capture_output=True, text=True, check=True).stdout
    return name if said.strip() == "True" else ""


def lacking(kind: Kind) -> str:
    return ", ".join(filter(None, map(missing, kind.needs)))


def plain(kind: Kind, folder: Path, trials: int) -> list[dict[str, Any]]:
    """The trials under plain Optuna."""
    folder.mkdir(parents=True)
    file = shutil.copy(ROOT / "examples" / kind.file, folder)
    given = {"n_trials": trials, "direction": kind.direction, "pruner": kind.pruner, "seed": kind.seed}
    words = [f"{file}:objective", json.dumps(given | {"sampler": "tpe"})]
    environ = os.environ | ENVIRON | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = python(str(ROOT / "tests" / "libraries" / "plain.py"), *words, interpreter=PYTHON)
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def enqueued(kind: Kind, folder: Path, trials: int) -> Study:
    study = Study(folder, **ENVIRON)
    shutil.copy(ROOT / "examples" / kind.file, folder)
    study.ok("enqueue", kind.objective, "--trials", str(trials), "--metric", kind.metric, "--name", "it",
             "--direction", kind.direction, "--pruner", kind.pruner, "--seed", str(kind.seed), "--python", PYTHON,
             *kind.more)  # fmt: skip
    return study


WORKER = ("worker", "--until-empty", "--slots", "1", "--threads", "1")


def work(study: Study) -> None:
    study.ok(*WORKER, timeout_s=600)


def told(study: Study) -> list[dict[str, Any]]:
    """The same of what the queue recorded."""
    epochs: dict[int, dict[str, float]] = {}
    for row in study.query("SELECT trial_id, epoch, value FROM epoch ORDER BY epoch"):
        epochs.setdefault(row["trial_id"], {})[str(row["epoch"])] = row["value"]
    return [
        {
            "number": row["number"],
            "params": json.loads(row["params"]),
            "status": row["status"],
            "value": row["value"] if row["status"] == "complete" else None,
            "epochs": epochs.get(row["id"], {}),
        }
        for row in study.query("SELECT * FROM trial ORDER BY number")
    ]


def storm(study: Study, kills: int, seed: int) -> int:
    """Kills trial, worker or both, so many times, each after another report or checkpoint; says how often it did."""
    chance, done = random.Random(seed), 0
    worker = study.start(*WORKER)
    seen = progress(study)
    wait = chance.randint(1, 3)  # steps of the study's own
    while done < kills:
        if worker.poll() is not None:
            if not is_open(study):
                break
            worker = study.start(*WORKER)
        now = progress(study)
        if now - seen < wait:
            time.sleep(0.01)
            continue
        if not is_open(study):
            break
        victim = chance.choice(("trial", "worker", "both"))
        if victim != "worker":
            for child in trial_processes(study):
                child.kill()
        if victim != "trial":
            os.killpg(worker.pid, signal.SIGKILL) if victim == "both" else worker.kill()
            worker.wait()
        done += 1
        seen, wait = progress(study), chance.randint(1, 6)
    if worker.poll() is None:
        worker.wait(timeout=600)
    if is_open(study):
        work(study)
    return done


def trial_processes(study: Study) -> list[psutil.Process]:
    rows = study.query("SELECT pid FROM trial WHERE status = 'running' AND pid IS NOT NULL")
    return [psutil.Process(row["pid"]) for row in rows if psutil.pid_exists(row["pid"])]


def progress(study: Study) -> int:
    counted = "(SELECT count(*) FROM epoch) + (SELECT count(*) FROM checkpoint) + (SELECT count(*) FROM trial)"
    return int(study.one(f"SELECT {counted}"))


def is_open(study: Study) -> bool:
    return bool(study.one("SELECT count(*) FROM job WHERE status NOT IN ('done', 'failed', 'cancelled')"))
