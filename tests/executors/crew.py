"""A study on nodes of one machine, and what befalls them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.fts_process import ROOT, Study

NODE = ROOT / "tests" / "executors" / "node.py"
TRAIN = """\
import random, time, optuna, fts
from pathlib import Path

def objective(trial, size="S"):
    kind = trial.suggest_categorical("kind", ["wide", "deep"])
    loss = trial.suggest_float("x", -5.0, 5.0) ** 2 + (1 if size == "S" else 2)
    checkpoint = fts.checkpoint(trial)
    state = checkpoint.load() or {"loss": loss, "step": 0}
    if state["step"]:
        assert checkpoint.files["weights.txt"].read_text() == repr(state["loss"])
    loss = state["loss"]
    for step in range(state["step"] + 1, 6):
        time.sleep(PAUSE)
        loss *= 0.7 + 0.2 * random.random()
        if kind == "deep" and step == 3:
            loss += trial.suggest_float("late", 0.0, 1.0)
        fts.report(trial, step, loss=loss)
        weights = checkpoint.dir / "weights.txt"
        weights.write_text(repr(loss))
        checkpoint.save({"loss": loss, "step": step}, files=[weights])
        print("epoch", step, __file__, flush=True)
        if trial.should_prune():
            raise optuna.TrialPruned()
    fts.predictions(trial, [0.0, 1.0], [loss, 1 - loss])
    return loss
"""
QUICK = {
    "FTS_NODE_LEASE_S": "2",
    "FTS_CHECKPOINT_EVERY_S": "0.0001",
    "FTS_OUTAGE_PAUSE_S": "0.001",
    "FTS_MAX_IDLE_ATTEMPTS": "1000",
    "FTS_MEMORY_LIMIT": "2GB",
}


WORKING = (
    "SELECT DISTINCT a.host FROM attempt a JOIN epoch e ON e.trial_id = a.trial_id AND e.at > a.began_at "
    "WHERE a.ended_at IS NULL"
)


class Crew:
    """The study, its nodes, and the folder that tells node.py what to do."""

    def __init__(self, folder: Path, pause_s: float = 0.02, trials: int = 3) -> None:
        self.study = Study(folder, **QUICK)
        self.folder, self.trials = folder, trials
        self.struck: set[int] = set()
        (folder / "train.py").write_text(TRAIN.replace("PAUSE", str(pause_s)))
        (folder / "scratch").mkdir()
        self.study.environ["FTS_SCRATCH"] = str(folder / "scratch")

    def put_in_line(self) -> None:
        self.study.ok("enqueue", "train.py:objective", "--trials", str(self.trials), "-m", "size=S,M")

    def words(self, nodes: str = "a:1,b:1") -> list[str]:
        launch = f"{sys.executable} {NODE} {self.folder} {{name}} {{agent}}"
        return ["worker", "--until-empty", "--executor", "ssh", "--nodes", nodes, "--launch", launch]

    def start(self, nodes: str = "a:1,b:1", *more: str) -> subprocess.Popen[str]:
        return self.study.start(*self.words(nodes), *more)

    def agents(self, name: str | None = None) -> list[int]:
        """Pids of those that live."""
        with contextlib.suppress(FileNotFoundError):
            told = [line.split() for line in (self.folder / "pids").read_text().splitlines()]
            return [int(pid) for node, pid in told if name in (None, node) and is_there(int(pid))]
        return []

    def strike(self, number: signal.Signals) -> bool:
        """Signals an agent that works on a trial and was not struck before; False: there is none."""
        for node in {row["host"] for row in self.study.query(WORKING)}:
            for pid in set(self.agents(node)) - self.struck:
                self.struck.add(pid)
                os.kill(pid, number)
                return True
        return False

    def said_of(self, node: str) -> str:
        """Events about a node."""
        return "\n".join(
            row["message"] for row in self.study.query("SELECT message FROM event") if node in row["message"]
        )

    def epochs(self) -> int:
        return int(self.study.one("SELECT count(*) FROM epoch"))

    def said(self) -> str:
        return (self.folder / "said.txt").read_text()[-4000:]

    def printed(self) -> str:
        """All logs of trials."""
        return "".join(path.read_text() for path in (self.study.outputs / "logs").rglob("*t[0-9]*.log"))

    def record(self) -> list[tuple[object, ...]]:
        """All that must be equal, whatever happened to the nodes."""
        trials = self.study.query(
            "SELECT j.cell, t.number, t.status, t.params, t.effective_md5, t.value, t.best_epoch, t.last_value, "
            "t.epochs, t.seed, t.badges, t.cause, json_extract(t.facts, '$.files') AS files "
            "FROM trial t JOIN job j ON j.id = t.job_id ORDER BY 1, 2"
        )
        epochs = self.study.query(
            "SELECT j.cell, t.number, e.epoch, e.value, e.metrics FROM epoch e JOIN trial t ON t.id = e.trial_id "
            "JOIN job j ON j.id = t.job_id ORDER BY 1, 2, 3"
        )
        draws = self.study.query(
            "SELECT j.cell, t.number, d.k, d.name, d.value FROM draw d JOIN trial t ON t.id = d.trial_id "
            "JOIN job j ON j.id = t.job_id ORDER BY 1, 2, 3"
        )
        return [tuple(row.values()) for row in (*trials, *epochs, *draws)]

    def files(self) -> dict[str, bytes]:
        """What the trials keep, by name; checkpoints may have other numbers."""
        root = self.study.outputs / "trials"
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("predictions.npz"))}

    def leftovers(self) -> list[str]:
        """What nobody needs any more."""
        hidden = [path for path in self.study.outputs.rglob(".*") if path.name != ".ballast"]
        opened = self.study.query("SELECT * FROM attempt WHERE ended_at IS NULL")
        return [str(one) for one in (*hidden, *opened)]


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return not Path("/proc").is_dir()


def undisturbed(folder: Path) -> Crew:
    """The same study on this machine, run to its end: what every disturbed one has to equal."""
    crew = Crew(folder)
    crew.put_in_line()
    crew.study.ok("worker", "--until-empty", "--slots", "2", "--threads", "1")
    return crew
