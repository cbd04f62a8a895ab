"""A study of twenty lines as a person would write it, with places where a test may kill: trial, worker or both."""

from __future__ import annotations

import json
import random
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from fts.jobs.api.halving import HALVING
from fts.jobs.api.spec import seed_for
from fts.jobs.search.past_trial import PastTrial
from fts.jobs.search.pruner import should_prune
from fts.jobs.search.pure_sampler import PureSampler
from fts.state.values import Direction
from tests.fts_process import Study

TRAIN = """\
import random, optuna, fts
from moments import moment

def objective(trial, size="S"):
    kind = trial.suggest_categorical("kind", ["wide", "deep"])
    moment(trial, "drew kind")
    loss = trial.suggest_float("x", -5.0, 5.0) ** 2 + (1 if size == "S" else 2)
    if kind == "deep":
        loss += trial.suggest_int("depth", 1, 9)
    moment(trial, "drew all")
    checkpoint = fts.checkpoint(trial) if KEEPS else None
    state = checkpoint.load() if checkpoint else None
    if state:
        loss = state["loss"]
    for step in range(state["step"] + 1 if state else 0, 5):
        if step == 3:
            loss += trial.suggest_float("late", 0.0, 1.0)
        loss *= 0.7 + 0.2 * random.random()
        trial.report(loss, step)
        moment(trial, f"reported {step}")
        if checkpoint:
            checkpoint.save(lambda: {"loss": loss, "step": step})
            moment(trial, f"saved {step}")
        if trial.should_prune():
            moment(trial, "pruned")
            raise optuna.TrialPruned()
        moment(trial, f"judged {step}")
    return loss
"""
# A file of the moment's name asks for a kill there, once; its first word says of whom.
MOMENTS = """\
import os, signal, time
from pathlib import Path
from fts.jobs.trial import checkpoint

HERE = Path(__file__).parent / "kills"
now, written, rename = "", 0, os.rename

def moment(trial, what):
    global now, written
    now, written = f"{trial.running.folder.parent.name} t{trial.number} {what}", 0
    perhaps(now)

    if (HERE / "slow").exists():
        time.sleep(float((HERE / "slow").read_text()))

def perhaps(what):
    try:
        rename(HERE / what, HERE / f"{what}.done")
    except OSError:
        return
    who = (HERE / f"{what}.done").read_text()
    if "worker" in who:
        os.kill(worker(), signal.SIGKILL)
    if "trial" in who:
        os.kill(os.getpid(), signal.SIGKILL)

def worker():
    if "ASKED_BY" in os.environ:  # tests/forks.py
        return int(os.environ["ASKED_BY"])
    parent = os.getppid()  # it may be the template that forked this process
    try:
        forked = b"--template-fd" in Path(f"/proc/{parent}/cmdline").read_bytes()
        return int(Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[1]) if forked else parent
    except OSError:
        return parent

def noisy(call, name):
    def inner(*given, **named):
        global written
        perhaps(f"{now} {name} {written}")
        written += 1
        return call(*given, **named)
    return inner

if HERE.exists():
    checkpoint.CHECKPOINT_SHARE = 1e9  # at every step, however short
    os.fsync, os.rename, os.replace = noisy(os.fsync, "write"), noisy(os.rename, "write"), noisy(os.replace, "write")
"""
HASTE = {"FTS_OUTAGE_PAUSE_S": "0.001", "FTS_MAX_IDLE_ATTEMPTS": "30"}


@dataclass(frozen=True)
class Outcome:
    """What must be equal however often a trial was disturbed."""

    params: dict[str, Any]
    status: str
    value: float | None
    epochs: dict[int, float]


def write(folder: Path, keeps: bool) -> Study:
    """The study's folder, with train.py, moments.py and room for kills."""
    study = Study(folder, **HASTE)
    (folder / "kills").mkdir()
    (folder / "train.py").write_text(TRAIN.replace("KEEPS", str(keeps)))
    (folder / "moments.py").write_text(MOMENTS)
    return study


def plain_optuna(folder: Path, size: str, trials: int, sampler: str, pruner: str = "median") -> list[Outcome]:
    """The same file under plain Optuna, in this process: what an undisturbed search finds."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    code = (folder / "train.py").read_text().replace("from moments import moment", "moment = lambda *_: None")
    names: dict[str, Any] = {}
    exec(compile(code.replace("fts.checkpoint(trial) if", "None if False and"), "train.py", "exec"), names)
    study = optuna.create_study(sampler=PureSampler(sampler, 0), pruner=Pruner(pruner))

    def objective(trial: optuna.Trial) -> Any:
        random.seed(seed_for(0, trial.number, "train"))
        return names["objective"](trial, size)

    study.optimize(objective, n_trials=trials)
    return [
        Outcome(t.params, t.state.name.lower(), t.value if t.state.name == "COMPLETE" else None, t.intermediate_values)
        for t in study.trials
    ]


class Pruner(optuna.pruners.BasePruner):
    """Our rule in Optuna's terms."""

    def __init__(self, name: str) -> None:
        self.name = name

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        others = [one for one in study.get_trials(deepcopy=False) if one.number < trial.number]
        past = [PastTrial(one.number, {}, one.state.name.lower(), None, one.intermediate_values) for one in others]
        return bool(should_prune(self.name, past, trial.number, trial.intermediate_values, Direction.MINIMIZE, HALVING))


def recorded(study: Study) -> dict[str, list[Outcome]]:
    """The same from the database, by cell."""
    found: dict[str, list[Outcome]] = {}
    values: dict[int, dict[int, float]] = {}
    for row in study.query("SELECT trial_id, epoch, value FROM epoch ORDER BY trial_id, epoch"):
        values.setdefault(row["trial_id"], {})[row["epoch"]] = row["value"]
    rows = study.query("SELECT t.*, j.cell FROM trial t JOIN job j ON j.id = t.job_id ORDER BY t.job_id, t.number")
    for row in rows:
        value = row["value"] if row["status"] == "complete" else None
        one = Outcome(json.loads(row["params"]), row["status"], value, values.get(row["id"], {}))
        found.setdefault(row["cell"], []).append(one)
    return found


def moments(keeps: bool) -> list[str]:
    """Every moment of a trial that a test can kill at."""
    steps = [f"{what} {n}" for n in range(5) for what in ("reported", *(["saved"] if keeps else []), "judged")]
    writes = [f"reported {n} write {k}" for n in range(5) for k in range(8)] if keeps else []
    return ["drew kind", "drew all", "pruned", *steps, *writes]


def plan(study: Study, jobs: list[str], trials: int, count: int, seed: int, keeps: bool) -> None:
    """Asks for so many kills, anywhere."""
    rng = random.Random(seed)
    everything = [f"{job} t{n} {what}" for job in jobs for n in range(trials) for what in moments(keeps)]
    for chosen in rng.sample(everything, count):
        (study.folder / "kills" / chosen).write_text(rng.choice(["trial", "worker", "worker trial"]))


def killed(study: Study) -> int:
    return len(list((study.folder / "kills").glob("*.done")))


def run(study: Study, workers: int = 200) -> int:
    """Workers, one after another, until the queue is empty; how many it took."""
    for n in range(1, workers + 1):
        worker = study.start("worker", "--until-empty", "--slots", "2")
        code = worker.wait(600)
        if code == 0:
            return n
        assert code == -signal.SIGKILL, (study.folder / "said.txt").read_text()[-3000:]
    raise AssertionError(f"{workers} workers were not enough")
