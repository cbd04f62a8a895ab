"""Studies of functions and commands that use all there is, their processes, and the record of what came of them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

import fts
from fts.jobs.study_file import enqueue
from fts.jobs.study_file.study import StudyFile
from fts.state import queries, transitions
from fts.state.db import open_for_person
from fts.state.values import JobStatus
from tests.chaos.harness import QUICK, ROOT, RUN_WORKER

HERE = Path(__file__).parent
GOAL = '[metrics]\nval_loss = { goal = "minimize" }\n'
COMMAND = f'[study]\ncommand = "{sys.executable} any_command.py --lr {{lr}} --to %s"\n'
LR = "[space]\nlr = { low = 0.01, high = 0.5, log = true }\n"
X = "[space]\nx = { low = 0.0, high = 1.0 }\n"
STUDIES = {
    "declared": """
        [study]
        objective = "any_objective.py:declared"
        [matrix]
        size = ["S", "M"]
        [space]
        lr = { low = 1e-3, high = 0.5, log = true }
        layers = { low = 1, high = 4 }
        optimizer = ["adam", "sgd"]
        momentum = { low = 0.0, high = 0.9, when = "optimizer == 'sgd'" }
        [forbid]
        too_large = "layers >= 4 and size == 'M'"
        [metrics]
        val_loss = { goal = "minimize" }
        latency = { goal = "minimize" }
        n_params = { constraint = "<= 30" }
        [search]
        prune_by = "val_loss"
        [budget]
        trials = 14
        seeds = 3
        [baseline]
        objective = "any_objective.py:baseline"
        """,
    "branches": '[study]\nobjective = "any_objective.py:branches"\n'
    + GOAL
    + '[budget]\ntrials = 24\n[search]\npruner = "halving"\nhalving = { first_rung = 1, growth = 2, keep = 0.5 }\n',
    "reused": '[study]\nobjective = "any_objective.py:branches"\nseed = 5\n'
    + GOAL
    + '[budget]\ntrials = 14\nseeds = 2\n[search]\nsampler = "tpe"\n',
    "two_goals": '[study]\nobjective = "any_objective.py:two_goals"\n[metrics]\nloss = { goal = "minimize" }\n'
    'cost = { goal = "minimize" }\n[budget]\ntrials = 56\n[search]\nsampler = "nsgaii"\npruner = "none"\n',
    "wordy": '[study]\nobjective = "any_objective.py:wordy"\n[budget]\ntrials = 100\n[search]\nsampler = "tpe"\n',
    "points": '[study]\nobjective = "any_objective.py:points"\n[budget]\ntrials = 90\n[space]\n'
    'width = { low = 1, high = 5 }\nkind = ["plain", "wide"]\n'
    "power = { low = 0.0, high = 1.0, step = 0.5, when = \"kind == 'wide'\" }\n"
    '[search]\nsampler = "grid"\npruner = "none"\n',
    "shrinks": '[study]\nobjective = "any_objective.py:shrinks"\n[budget]\ntrials = 8\nseeds = 2\n'
    "[space]\nsize = { low = 0, high = 3 }\n"
    '[search]\nsampler = "random"\n[resources]\non_oom = "shrink"\n',
    "alone": '[study]\nobjective = "any_objective.py:too_large"\n[budget]\ntrials = 10\n'
    "[space]\nsize = { low = 1, high = 8 }\n" + GOAL + '[resources]\non_oom = "alone"\n',
    "ends": '[study]\nobjective = "any_objective.py:too_large"\n[budget]\ntrials = 10\n'
    "[space]\nsize = { low = 1, high = 8 }\n" + GOAL + '[resources]\non_oom = "prune"\n',
    "gaussian": '[study]\nobjective = "any_objective.py:numbers"\n[budget]\ntrials = 13\n[space]\n'
    'x = { low = 0.0, high = 1.0 }\ny = { low = 0.0, high = 1.0 }\n[search]\nsampler = "gp"\n',
    "hangs": '[study]\nobjective = "any_objective.py:hangs"\n'
    + X
    + GOAL
    + '[budget]\ntrials = 7\ntrial_timeout = "12s"\n[search]\nsampler = "random"\n',
    "stalls": '[study]\nobjective = "any_objective.py:hangs"\n'
    + X
    + GOAL
    + '[budget]\ntrials = 3\n[search]\nsampler = "random"\n[resources]\nstall = "6s"\n',
    "diverges": '[study]\nobjective = "any_objective.py:diverges"\n' + X + GOAL + "[budget]\ntrials = 14\n",
    "by_report": COMMAND % "report" + LR + GOAL + '[budget]\ntrials = 8\nseeds = 2\n[search]\npruner = "median"\n',
    "by_csv": COMMAND % "csv" + 'csv = "{folder}/**/metrics.csv"\n' + LR + GOAL + "[budget]\ntrials = 8\n",
    "by_board": COMMAND % "tensorboard" + 'tensorboard = "{folder}/logs"\n' + LR + GOAL + "[budget]\ntrials = 6\n",
    "by_results": COMMAND % "results" + 'results = "{folder}/results.json"\n' + LR + GOAL + "[budget]\ntrials = 6\n",
    "by_output": COMMAND % "stdout"
    + LR
    + "[metrics]\nval_loss = { goal = \"minimize\", regex = 'epoch (?P<epoch>\\d+) val_loss=(?P<val_loss>\\S+)' }\n"
    + '[budget]\ntrials = 8\n[search]\npruner = "halving"\nhalving = { first_rung = 1, growth = 2, keep = 0.5 }\n',
}  # fmt: skip
EXTENDED = ("branches", "by_csv", "diverges")  # begin with fewer trials
PATIENCE_S = 900.0  # of one worker's life under a busy machine; never asserted
FAST = QUICK | {"FTS_AWAKE": "0", "FTS_SENSORS": "none", "FTS_OUTAGE_PAUSE_S": "0.01", "FTS_LEASE_S": "5"}


@dataclass
class Studies:
    """One database of these studies, and the processes that work on it."""

    code: Path
    folder: Path
    names: tuple[str, ...] = tuple(STUDIES)
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def db(self) -> Path:
        return self.folder / "outputs" / "fts.db"

    # -- what is in line

    def put_in_line(self, less: bool = False) -> None:
        """`less`: some with fewer trials than they will have."""
        db = open_for_person(self.db)
        try:
            for name in self.names:
                file = self.code / f"{name}.toml"
                file.write_text(STUDIES[name].replace("\n        ", "\n"))
                settings = ["budget.trials=5"] if less and name in EXTENDED else []
                study = StudyFile.read(file, settings).named(name)
                cells = study.cells()
                if name == "reused":
                    cells = [replace(cell, process="reused") for cell in cells]
                enqueue.enqueue_cells(db, cells, study.metrics)
        finally:
            db.close()

    def retry(self) -> list[str]:
        """As a person would: what was parked by the machine goes on; returns what else has failed."""
        db = open_for_person(self.db)
        try:
            parked = queries.jobs(db, [JobStatus.FAILED])
            for job in parked:
                transitions.retry(db, [job.id], who="storm")
            return [f"{job.experiment}: {job.cause} {job.message}" for job in parked]
        finally:
            db.close()

    # -- processes

    def start(self, slots: int = 2, threads: int = 1, elsewhere: bool = False, **env: str) -> subprocess.Popen[bytes]:
        self.folder.mkdir(parents=True, exist_ok=True)
        around = {name: value for name, value in os.environ.items() if not name.startswith("FTS_")}
        ours = {"FTS_DB": str(self.db), "PYTHONPATH": str(ROOT), "STORM": str(self.folder), "STORM_ROOT": str(ROOT)}
        words = [sys.executable, "-m", "fts.jobs.cli", "worker", "--slots", str(slots), "--threads", str(threads)]
        if elsewhere:
            locks = self.folder / "locks"
            locks.mkdir(exist_ok=True)
            words = [sys.executable, str(RUN_WORKER), "--locks", str(locks)]
        with (self.folder / "said.txt").open("ab") as said:
            worker = subprocess.Popen(
                [*words, "--until-empty"], env=around | FAST | ours | env, cwd=self.folder, stdin=subprocess.DEVNULL,
                stdout=said, stderr=said, start_new_session=True,
            )  # fmt: skip
        self.workers.append(worker)
        return worker

    def processes(self) -> dict[str, list[psutil.Process]]:
        """By what they are: worker, template, trial, other (commands and what they started)."""
        found: dict[str, list[psutil.Process]] = {"worker": [], "template": [], "trial": [], "other": []}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("STORM") != str(self.folder):
                    continue
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                words = " ".join(process.cmdline())
                kind = "other"
                if "fts.jobs.cli worker" in words or "run_worker.py" in words:
                    kind = "worker"
                elif "--template-fd" in words:
                    parent = process.parent()
                    forked = parent is not None and "--template-fd" in " ".join(parent.cmdline())
                    kind = "trial" if forked or os.getsid(process.pid) != process.pid else "template"
                    if parent is None or parent.pid == 1:
                        kind = "trial"
                elif "--facts-fd" in words:
                    kind = "trial"
                found[kind].append(process)
        return found

    def end(self) -> None:
        """Whatever a failed test has left."""
        for kind in ("worker", "template", "trial", "other"):
            for process in self.processes()[kind]:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        for worker in self.workers:
            worker.wait()

    def said(self, letters: int = 3000) -> str:
        return (self.folder / "said.txt").read_text(errors="replace")[-letters:]

    def finish(self) -> None:
        """Undisturbed workers bring everything to its end."""
        for _ in range(4):
            worker = self.start()
            code = worker.wait(PATIENCE_S)
            assert code == 0, f"exit code {code}\n{self.said()}"
            if not self.retry():
                return
        raise AssertionError(f"{self.retry()}\n{self.said()}")

    # -- what has come of it

    def record(self) -> dict[str, Any]:
        """All that must be equal, by experiment; it goes through JSON, so floats keep every bit."""
        connection = sqlite3.connect(f"file:{self.db}?mode=ro", uri=True)
        connection.row_factory = sqlite3.Row
        loaded = fts.load(self.db)
        told: dict[str, Any] = {}
        try:
            for job in connection.execute("SELECT * FROM job ORDER BY experiment"):
                trials = connection.execute("SELECT * FROM trial WHERE job_id = ? ORDER BY number", (job["id"],))
                told[job["experiment"]] = {
                    **{name: job[name] for name in OF_JOB},
                    "message": None if job["status"] == "done" else job["message"],
                    "best": [best_row(row) for row in loaded.best.records(job["id"])],
                    "trials": [self._trial(connection, row) for row in trials],
                }
        finally:
            connection.close()
        found: dict[str, Any] = json.loads(json.dumps(told))
        return found

    def _trial(self, connection: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any]:
        kept = {name: row[name] for name in OF_TRIAL}
        kept["facts"] = {name: value for name, value in json.loads(row["facts"]).items() if name not in FREE}
        draws = connection.execute(
            "SELECT k, name, value, distribution FROM draw WHERE trial_id = ? ORDER BY k", (row["id"],)
        )
        kept["draws"] = [tuple(draw) for draw in draws]
        epochs = connection.execute(
            "SELECT epoch, value, metrics FROM epoch WHERE trial_id = ? ORDER BY epoch", (row["id"],)
        )
        kept["epochs"] = [tuple(epoch) for epoch in epochs]
        return kept

    def leftovers(self) -> list[str]:
        """Processes, leases, drafts and locks that nobody needs any more."""
        left = [f"{kind} {one.pid} {one.cmdline()}" for kind, ones in self.processes().items() for one in ones]
        connection = sqlite3.connect(f"file:{self.db}?mode=ro", uri=True)
        try:
            left += [f"job {row}" for row in connection.execute(
                "SELECT id, status FROM job WHERE lease_until IS NOT NULL OR worker_id IS NOT NULL"
            )]  # fmt: skip
            left += [f"worker {row}" for row in connection.execute(
                "SELECT id, status FROM worker WHERE status NOT IN ('stopped', 'lost')"
            )]  # fmt: skip
            left += [f"attempt {row}" for row in connection.execute("SELECT * FROM attempt WHERE ended_at IS NULL")]
            left += [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
        finally:
            connection.close()
        outputs = self.folder / "outputs"
        left += [
            str(path.relative_to(outputs))
            for path in outputs.rglob("*")
            if (path.name.startswith(".") and path.name != ".ballast") or path.name.endswith((".tmp", ".new", ".draft"))
            or path.name == "specification.json"
        ]  # fmt: skip
        return left


OF_JOB = (
    "study", "cell", "status", "trials_wanted", "trials_complete", "trials_pruned", "trials_failed", "best_value",
    "best_trial", "cause",
)  # fmt: skip
OF_TRIAL = (
    "number", "status", "params", "effective", "effective_md5", "objective", "direction", "value", "best_epoch",
    "last_value", "epochs", "seed", "badges", "cause", "recipe",
)  # fmt: skip
FREE = ("host", "python", "resumed", "pid", "threads", "device")  # of a trial's facts


def best_row(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name.startswith(("params.", "metrics.")) or name == "trial"}


def difference(a: Any, b: Any, at: str = "") -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        return [one for key in sorted({*a, *b}) for one in difference(a.get(key), b.get(key), f"{at}.{key}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [one for n, (x, y) in enumerate(zip(a, b, strict=True)) for one in difference(x, y, f"{at}[{n}]")]
    return [] if a == b else [f"{at}: {a!r:.200} != {b!r:.200}"]


def write_code(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("any_objective.py", "any_command.py"):
        shutil.copy(HERE / name, folder / name)
    return folder
