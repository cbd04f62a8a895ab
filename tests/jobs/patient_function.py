"""A function of many short epochs with checkpoints: a trial that runs long and starts soon."""

from __future__ import annotations

from pathlib import Path

from tests.fts_process import Study

OBJECTIVE = """\
import os, random, time, fts

PAUSE_S = float(os.environ.get("PAUSE_S", "0.02"))

def objective(trial, horizon=1, epochs=400):
    loss = trial.suggest_float("x", 1.0, 2.0)
    checkpoint = fts.checkpoint(trial)
    state = checkpoint.load()
    if state:
        loss = state["loss"]
    for epoch in range(state["epoch"] + 1 if state else 0, epochs):
        time.sleep(PAUSE_S)
        loss *= 0.99 + 0.01 * random.random()
        trial.report(loss, epoch)
        checkpoint.save(lambda: {"loss": loss, "epoch": epoch})
    return loss
"""


def write(folder: Path, epochs: int = 400, **environ: str) -> Study:
    """The study's folder with `patient.py`, whose trials last `epochs` epochs of `PAUSE_S` seconds (1/50)."""
    study = Study(folder, **environ)
    (folder / "patient.py").write_text(OBJECTIVE.replace("epochs=400", f"epochs={epochs}"))
    return study
