"""Measures the cost of a trial under Ray Tune, Syne Tune and HyperQueue: it returns at once, on one slot.

    FTS_PEER_PYTHON=/tmp/peers/bin/python python -m benchmarks.other_runners

They are not dependencies of fts: the interpreter of FTS_PEER_PYTHON has them (`pip install "ray[tune]"
"syne-tune[core]" hyperqueue cloudpickle tqdm`). If it does not, the row says so. Random search, so that no sampler is
measured; HyperQueue has none, and its tasks get a number.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import Row
from fts.jobs.python import python

MS = 1000.0
TRIALS = 40
RAY = """
import json, random, sys, time
import ray
from ray import tune
ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
def objective(config):
    tune.report({"value": (config["x"] - 2.0) ** 2 + (config["kind"] == "b"), "at": time.time()})
def run(trials, reuse):
    space = {"x": tune.uniform(-10.0, 10.0), "kind": tune.choice(["a", "b"])}
    options = tune.TuneConfig(metric="value", mode="min", num_samples=trials, reuse_actors=reuse)
    done = tune.Tuner(objective, param_space=space, tune_config=options, run_config=tune.RunConfig(verbose=0)).fit()
    at = sorted(one.metrics["at"] for one in done)
    return (at[-1] - at[0]) / (len(at) - 1)  # without the start
found = {}
for reuse, trials in ((False, max(2, TRIALS // 4)), (True, TRIALS)):
    found["reused" if reuse else "an actor per trial"] = run(trials, reuse)
print(json.dumps(found))
"""
SYNE = """
import json, logging, time
logging.disable(logging.CRITICAL)
from pathlib import Path
Path("train.py").write_text(
    "import argparse\\nfrom syne_tune import Reporter\\n"
    "p = argparse.ArgumentParser(); p.add_argument('--x', type=float); p.add_argument('--kind'); "
    "p.add_argument('--st_checkpoint_dir'); a = p.parse_args()\\n"
    "Reporter()(value=(a.x - 2.0) ** 2 + (a.kind == 'b'))\\n"
)
from syne_tune import StoppingCriterion, Tuner
from syne_tune.backend import LocalBackend
from syne_tune.config_space import choice, uniform
from syne_tune.optimizer.baselines import RandomSearch
def run(trials):
    space = {"x": uniform(-10.0, 10.0), "kind": choice(["a", "b"])}
    tuner = Tuner(
        trial_backend=LocalBackend(entry_point="train.py"), scheduler=RandomSearch(space, metrics=["value"]),
        stop_criterion=StoppingCriterion(max_num_trials_finished=trials), n_workers=1, sleep_time=0.01,
        print_update_interval=1e9,
    )
    began = time.perf_counter()
    tuner.run()
    return time.perf_counter() - began
few = run(1)
print(json.dumps({"a process per trial": (run(TRIALS // 4 + 1) - few) / (TRIALS // 4)}))
"""
HYPERQUEUE = """
import json, sys, time
from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig
from hyperqueue.task.function import PythonEnv
def objective(x):
    print((x - 2.0) ** 2)
def run(count, add):
    job = Job()
    for n in range(count):
        add(job, n)
    began = time.perf_counter()
    client.wait_for_jobs([client.submit(job)])
    return time.perf_counter() - began
def each(count, add):
    few = run(1, add)
    return (run(count + 1, add) - few) / count
with LocalCluster() as cluster:
    cluster.start_worker(WorkerConfig(cores=1))
    client = cluster.client(python_env=PythonEnv(python_bin=sys.executable))
    command = each(10 * TRIALS, lambda job, n: job.program(["sh", "-c", f"echo {n}"]))
    function = each(TRIALS // 4, lambda job, n: job.function(objective, args=(float(n),)))
print(json.dumps({"a command": command, "a function": function}))
"""
RUNNERS = {"Ray Tune": ("ray", RAY), "Syne Tune": ("syne_tune", SYNE), "HyperQueue": ("hyperqueue", HYPERQUEUE)}


def other_runners(interpreter: str | None = None, trials: int = TRIALS) -> list[Row]:
    """Returns a row for each way in which they run a trial."""
    own = interpreter or os.environ.get("FTS_PEER_PYTHON") or sys.executable
    made = []
    for name, (package, script) in RUNNERS.items():
        version_of = f"from importlib.metadata import version; import {package}; print(version('{package}'))"
        look = python("-c", version_of, interpreter=own)
        there = subprocess.run(look, capture_output=True, text=True, check=False)
        if there.returncode != 0:
            made.append(Row(name, float("nan"), "ms", note=f"not installed in {own}: see FTS_PEER_PYTHON"))
            continue
        with tempfile.TemporaryDirectory(prefix="peer-") as folder:
            (Path(folder) / "peer.py").write_text(f"TRIALS = {trials}\n{script}")
            words = python(str(Path(folder) / "peer.py"), interpreter=own)
            environ = {**os.environ, "HOME": folder, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
            done = subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            why = (done.stderr.strip().splitlines() or ["no word"])[-1]
            made.append(Row(name, float("nan"), "ms", note=f"it failed: {why:.200}"))
            continue
        version = there.stdout.split()[-1]
        for how, seconds in json.loads(done.stdout.strip().splitlines()[-1]).items():
            made.append(Row(f"{name}, {how}", seconds * MS, "ms", note=f"version {version}"))
    return made


if __name__ == "__main__":
    for row in other_runners():
        print(f"{row.name:<34}{row.ours:>10.1f} {row.unit}  {row.note}")
