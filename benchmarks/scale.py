"""Measures a trial and a report of a Python function at trial 25, 100, 1,000 and 10,000, and where the time goes.

python -m benchmarks.scale [--full] [--at 100 10000] [--sampler tpe random] [--process fresh reused command] [--peers]

The objective returns at once, so all measured time is overhead. A real worker runs real trials; before trial 1,000 and
10,000 the rows of the first trials are copied, because running them would take hours. Processor time counts the worker
and all its child processes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks import Row
from benchmarks.other_runners import other_runners
from fts.jobs.python import python
from fts.state import queries
from fts.state.db import open_database
from tests.jobs.many import copy_trials

FIRST = 25  # trials that really run before any are copied
TIMED, SETTLING = 30, 5  # measured trials, and earlier ones that absorb the worker's start
MS, KB = 1000.0, 1024.0

OBJECTIVE = """
def objective(trial):
    x = trial.suggest_float("x", -10.0, 10.0)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    for step in range({reports}):
        trial.report(x * x + 1.0 / (step + 1), step)
    return (x - 2.0) ** 2 + (kind == "b")
"""
ENVIRONMENT = {"FTS_SENSORS": "none", "FTS_AWAKE": "0", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


@dataclass(frozen=True)
class Cost:
    """Cost of one trial, after some number of earlier trials."""

    wall_ms: float
    cpu_ms: float
    bytes_in_database: float
    files: float
    first_s: float  # until a worker that finds this many trials has run its first one: it reads them all once


@dataclass(frozen=True)
class Question:
    """The measured configuration."""

    at: int = FIRST
    sampler: str = "tpe"
    process: str = "fresh"  # fresh | reused: of a function; command: a shell that writes one number
    reports: int = 0

    @property
    def words(self) -> str:
        how = "a command" if self.process == COMMAND else f"process {self.process}"
        return f"trial {self.at:,}, {self.sampler}, {how}" + (f", {self.reports} reports" if self.reports else "")


def rows(quick: bool = True) -> list[Row]:
    """Minutes; in full with every combination and the other runners."""
    counts = (100, 10_000) if quick else (FIRST, 100, 1_000, 10_000)
    questions = [
        Question(at, sampler, process) for process in PROCESSES for sampler in ("tpe", "random") for at in counts
    ]
    questions += [Question(100, "random", process, 100) for process in PROCESSES]
    questions.append(Question(100, "random", COMMAND))
    made: list[Row] = []
    known: dict[Question, Cost] = {}
    for question in questions:
        known[question] = cost = measured(question)
        made += lines(question, cost, known)
    return made + starts() + ([*peers(), *other_runners()] if not quick else [])


PROCESSES = ("fresh", "reused")
COMMAND = "command"


def lines(question: Question, cost: Cost, known: dict[Question, Cost]) -> list[Row]:
    """Returns a row of wall clock and one of processor time, each compared with trial 100."""
    few = known.get(Question(100, question.sampler, question.process)) if question.at > 100 else None
    note = f"{cost.bytes_in_database / KB:.1f} KB in the database, {cost.files:.1f} files"
    note += f"; the first trial of the worker ended after {cost.first_s:.1f} s, once"
    wall_then, cpu_then = (few.wall_ms, few.cpu_ms) if few else (None, None)
    beside = "trial 100" if few else ""
    wall = Row(question.words, cost.wall_ms, "ms", wall_then, beside, True, note=note)
    name = f"{question.words}: processor"
    cpu = Row(name, cost.cpu_ms, "ms", cpu_then, beside, True)
    if not question.reports:
        return [wall, cpu]
    plain = known.get(Question(100, question.sampler, question.process))
    if plain is None:
        return [wall, cpu]
    each = (cost.wall_ms - plain.wall_ms) / question.reports
    size = (cost.bytes_in_database - plain.bytes_in_database) / question.reports
    report = Row(f"a report, process {question.process}", each, "ms", note=f"{size:.0f} bytes in the database; goal 2")
    return [wall, cpu, report]


# -- a worker at work


def measured(question: Question, timed: int = TIMED) -> Cost:
    """Runs the trials and measures the last `timed` of them."""
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        enqueue(folder, question, FIRST)
        run(folder)
        multiply(folder, question.at)
        enqueue(folder, question, question.at + SETTLING + timed)
        before = size_of(folder)
        began = time.perf_counter()
        with worker(folder) as process:
            first_s = moment(process, folder, question.at + 1)[0] - began
            first = moment(process, folder, question.at + SETTLING)
            last = moment(process, folder, question.at + SETTLING + timed)
            process.wait(60)
        grown = size_of(folder) - before
        files = sum(len(names) for _, _, names in os.walk(folder / "outputs")) - FILES_OF_A_STUDY
        ran = FIRST + SETTLING + timed
        wall, cpu = ((after - earlier) / timed * MS for earlier, after in zip(first, last, strict=True))
        return Cost(wall, cpu, grown / (SETTLING + timed), files / ran, first_s)


FILES_OF_A_STUDY = 5  # the database, its ballast, a lock, best files


def environment() -> dict[str, str]:
    without = "PYTHONDONTWRITEBYTECODE"  # else every start would compile all our modules
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FTS_") and name != without}
    return clean | ENVIRONMENT | {"PYTHONPATH": str(Path(__file__).parent.parent)}


def fts(*words: str) -> list[str]:
    return python("-m", "fts.jobs.cli", *words)


def enqueue(folder: Path, question: Question, trials: int) -> None:
    (folder / "train.py").write_text(OBJECTIVE.format(reports=question.reports))
    words = ["--trials", str(trials), "--sampler", question.sampler, "--pruner", "none"]
    if question.process == COMMAND:
        words += ["--metric", "value", "--", "sh", "-c", "echo {x:-10.0..10.0} > $FTS_REPORT"]
    else:
        words += ["train.py:objective", "--process", question.process]
    subprocess.run(fts("enqueue", *words), cwd=folder, env=environment(), check=True, stdout=subprocess.DEVNULL)


def run(folder: Path) -> None:
    with worker(folder) as process:
        process.wait(600)


@contextmanager
def worker(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    words = fts("worker", "--until-empty", "--slots", "1", "--threads", "1")
    with (folder / "said.txt").open("ab") as said:
        process = subprocess.Popen(words, cwd=folder, env=environment(), stdout=said, stderr=said)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def moment(process: subprocess.Popen[bytes], folder: Path, trials: int) -> tuple[float, float]:
    """Returns wall clock and processor seconds when this many trials have ended."""
    db = open_database(folder / "outputs" / "fts.db", readonly=True, check=False)
    sql = "SELECT trials_complete FROM job WHERE id = 1"
    try:
        while db.execute_sql(sql).fetchone()[0] < trials and process.poll() is None:
            time.sleep(0.002)
        return time.perf_counter(), cpu_of(process.pid)
    finally:
        db.close()


def cpu_of(pid: int) -> float:
    """Returns seconds of the process and all its children, living or reaped."""
    total = 0.0
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        for one in (root, *root.children(recursive=True)):
            with suppress(psutil.Error):
                total += sum(one.cpu_times()[:4])  # user, system, and of reaped children
    return total


def size_of(folder: Path) -> int:
    """Returns the used bytes of the database."""
    db = open_database(folder / "outputs" / "fts.db", check=False)
    try:
        db.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        sql = "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, "
        return int(db.execute_sql(sql + "pragma_page_size").fetchone()[0])
    finally:
        db.close()


def multiply(folder: Path, count: int) -> None:
    """Copies the trials of job 1 until there are `count`; with draws, reports, attempts and events."""
    db = open_database(folder / "outputs" / "fts.db")
    try:
        have = len(queries.trials(db, 1))
        if count > have:
            copy_trials(db, 1, have, count)
    finally:
        db.close()


# -- starts and idling


def starts() -> list[Row]:
    """Measures the start of `fts worker`, the time from kill -9 to the next complete trial, and an idle worker."""
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        enqueue(folder, Question(sampler="random"), 3_000)
        began = time.time()
        with worker(folder) as process:
            moment(process, folder, FIRST)
            first = scalar(folder, "SELECT MIN(began_at) FROM attempt") - began
            called = scalar(folder, "SELECT MIN(at) FROM event WHERE verb = 'trial_facts'") - began
            process.kill()
            process.wait()
        killed = time.time()
        done = int(scalar(folder, "SELECT COUNT(*) FROM trial WHERE ended_at IS NOT NULL"))
        with worker(folder) as process:
            moment(process, folder, done + 1)
            again = scalar(folder, "SELECT ended_at FROM trial WHERE ended_at IS NOT NULL ORDER BY id DESC") - killed
    alone, kept = idle_mib()
    return [
        Row("`fts worker` to the first trial", first, "s", note="claimed"),
        Row("`fts worker` to the first call of the function", called, "s", note="goal 0.8 beyond imports"),
        Row("kill -9 to the next complete trial", again, "s", note="goal 1.5 beyond imports"),
        Row(
            "idle worker",
            alone,
            "MiB",
            note=f"goal 40; PSS; for a minute another {kept:.0f} MiB that it keeps to fork from",
        ),
    ]


def scalar(folder: Path, sql: str) -> float:
    db = open_database(folder / "outputs" / "fts.db", readonly=True, check=False)
    try:
        return float(db.execute_sql(sql).fetchone()[0])
    finally:
        db.close()


def idle_mib() -> tuple[float, float]:
    """Returns the memory of a worker after its last trial, and of its child processes."""
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        enqueue(folder, Question(sampler="random"), 5)
        with (folder / "said.txt").open("ab") as said:
            words = fts("worker", "--slots", "1", "--threads", "1")
            process = subprocess.Popen(words, cwd=folder, env=environment(), stdout=said, stderr=said)
        try:
            moment(process, folder, 5)
            time.sleep(3.0)
            root = psutil.Process(process.pid)
            return pss(root) / 2**20, sum(pss(one) for one in root.children(recursive=True)) / 2**20
        finally:
            process.kill()
            process.wait()


def pss(process: psutil.Process) -> int:
    with suppress(psutil.Error, AttributeError):
        return int(process.memory_full_info().pss)
    return int(process.memory_info().rss)


# -- other runners


PEERS = {
    "Optuna, memory": "study = optuna.create_study(sampler=S(seed=0))",
    "Optuna, journal": (
        "from optuna.storages.journal import JournalFileBackend\n"
        "study = optuna.create_study(sampler=S(seed=0), "
        "storage=optuna.storages.JournalStorage(JournalFileBackend('journal')))"
    ),
    "Optuna, SQLite": "study = optuna.create_study(sampler=S(seed=0), storage='sqlite:///optuna.db')",
}
PEER = """
import json, time, optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
from train import objective
S = optuna.samplers.{sampler}
{study}
study.optimize(objective, n_trials={before})
wall, cpu = time.perf_counter(), time.process_time()
study.optimize(objective, n_trials={timed})
print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]))
"""
ALONE = "import optuna; from train import objective; optuna.logging.set_verbosity(40); s = optuna.create_study(); s.optimize(objective, n_trials=1)"  # noqa: E501
OF_SAMPLER = {"tpe": "TPESampler", "random": "RandomSampler"}


def peers(before: int = 100, timed: int = TIMED) -> list[Row]:
    """Measures the same objective under Optuna's own runner, and in a process per trial that imports Optuna."""
    made = []
    for name, study in PEERS.items():
        for sampler, its_class in OF_SAMPLER.items():
            with tempfile.TemporaryDirectory(prefix="scale-") as folder:
                (Path(folder) / "train.py").write_text(OBJECTIVE.format(reports=0))
                script = Path(folder) / "peer.py"
                script.write_text(PEER.format(study=study, sampler=its_class, before=before, timed=timed))
                said = subprocess.run(
                    [sys.executable, str(script)], cwd=folder, env=environment(), check=True, capture_output=True
                )
                wall, cpu = json.loads(said.stdout.splitlines()[-1])
            note = f"{cpu / timed * MS:.1f} ms of processor"
            made.append(Row(f"{name}, {sampler}, trial {before}", wall / timed * MS, "ms", note=note))
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        (Path(folder) / "train.py").write_text(OBJECTIVE.format(reports=0))
        wall, cpu = time.perf_counter(), children_cpu()
        for _ in range(10):
            words = python("-c", f"import sys; sys.path.insert(0, '.'); {ALONE}")
            subprocess.run(words, cwd=folder, env=environment(), check=True)
        note = f"{(children_cpu() - cpu) / 10 * MS:.0f} ms of processor"
        each = (time.perf_counter() - wall) / 10 * MS
    return [*made, Row("a process per trial that imports Optuna", each, "ms", note=note)]


def children_cpu() -> float:
    spent = os.times()
    return spent.children_user + spent.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--at", type=int, nargs="*")
    parser.add_argument("--sampler", nargs="*", default=["tpe", "random"])
    parser.add_argument("--process", nargs="*", default=list(PROCESSES))
    parser.add_argument("--reports", type=int, nargs="*", default=[0])
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--starts", action="store_true")
    given: Any = parser.parse_args()
    made: list[Row] = []
    known: dict[Question, Cost] = {}
    for process in given.process if given.at else ():
        for sampler in given.sampler:
            for reports in given.reports:
                for at in given.at:
                    question = Question(at, sampler, process, reports)
                    known[question] = measured(question)
                    for row in lines(question, known[question], known):
                        print(row.line(), flush=True)
    if given.starts:
        made += starts()
    if given.peers:
        made += [*peers(), *other_runners()]
    if not (given.at or given.starts or given.peers):
        made = rows(quick=not given.full)
    for row in made:
        print(row.line(), flush=True)


if __name__ == "__main__":
    main()
