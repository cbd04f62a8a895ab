"""Compares predicted and measured peak memory of real trial processes: two optimizer steps and a validation pass each.

python -m benchmarks.memory [--full]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from benchmarks import Row
from fts.jobs.api.spec import trial_folder
from fts.jobs.settings import Places
from fts.jobs.supervisor.child import TrialProcess
from fts.study import dataset
from fts.study.cell import CellSpec, TrialSpec
from fts.study.matrix import make_cells
from fts.study.recipe import model_config, predict
from fts.study.study import program_of
from fts.training.memory import Recipe, in_gb

PATIENCE_S = 1800.0
STEPS = 2
TRAINING = {"learning_rate": 3e-4, "weight_decay": 1e-3, "warmup_steps": 100, "dropout": 0.2}
LEAN = {"checkpoint_layers": True, "optimizer": "adafactor", "fused_backward": True}
# budget, architecture, effective batch, recipe: narrow and deep to wide and shallow, each training method at least once
QUICK: tuple[tuple[str, str, int, dict[str, Any]], ...] = (
    ("2M", "d64-L48-h2-ff256", 256, {"micro_batch": 64}),
    ("2M", "d128-L12-h8-ff512", 256, {"micro_batch": 256}),
    ("2M", "d384-L2-h8-ff768", 256, {"micro_batch": 64}),
    ("2M", "d256-L3-h16-ff512", 256, {"micro_batch": 256, "checkpoint_layers": True}),
    ("20M", "d128-L128-h4-ff256", 128, {"micro_batch": 64}),
    ("20M", "d512-L6-h32-ff2048", 128, {"micro_batch": 64}),
)
FULL = (
    *QUICK,
    ("2M", "d64-L64-h16-ff128", 256, {"micro_batch": 256}),
    ("2M", "d192-L6-h16-ff384", 256, {"micro_batch": 32}),
    ("20M", "d192-L48-h32-ff768", 64, {"micro_batch": 64}),
    ("20M", "d384-L12-h8-ff1536", 64, {"micro_batch": 16}),
    ("20M", "d384-L16-h16-ff768", 64, {"micro_batch": 64, "checkpoint_layers": True}),
    ("20M", "d1024-L2-h8-ff2048", 64, {"micro_batch": 64, **LEAN}),
    ("200M", "d256-L256-h4-ff1024", 16, {"micro_batch": 8}),
    ("200M", "d512-L64-h16-ff2048", 128, {"micro_batch": 64}),
    ("200M", "d768-L32-h16-ff1536", 32, {"micro_batch": 16, "checkpoint_layers": True}),
    ("200M", "d1024-L16-h32-ff4096", 32, {"micro_batch": 32, **LEAN}),
    ("200M", "d2048-L3-h32-ff8192", 32, {"micro_batch": 16}),
    ("2B", "d2048-L48-h16-ff4096", 16, {"micro_batch": 16, **LEAN}),
)


def rows(quick: bool = True) -> list[Row]:
    """Returns a row per shape and recipe; ratio is predicted over measured. Minutes; in full an hour and 12 GiB."""
    with tempfile.TemporaryDirectory() as folder:
        places = Places(Path(folder) / "outputs" / "fts.db", Path(folder) / "data")
        dataset.build(places.data, "bundled")
        return [row for shape in (QUICK if quick else FULL) if (row := one(places, *shape)) is not None]


def one(places: Places, budget: str, architecture: str, effective_batch: int, how: dict[str, Any]) -> Row | None:
    """Measures one recipe; returns None if the machine has too little memory."""
    recipe = Recipe.from_json(how, effective_batch)
    (cell,) = make_cells(places, [budget], [1], 1, 1, "threshold_1pct", "a25", effective_batch=effective_batch)
    predicted = predict(model_config(cell, architecture, 25), recipe, "cpu").total
    if predicted * 1.2 > psutil.virtual_memory().available:
        print(f"  {architecture}: left out, it needs {in_gb(predicted)}", file=sys.stderr)
        return None
    measured = peak_of(places, cell, architecture, recipe)
    name = f"{budget} {architecture} {recipe.words()}"
    return Row(name, predicted / 2**20, "MiB predicted", measured / 2**20, "measured peak")


def peak_of(places: Places, cell: CellSpec, architecture: str, recipe: Recipe) -> int:
    """Returns the peak resident bytes of a fresh trial process. Raises RuntimeError with its log if it fails."""
    spec = TrialSpec(
        cell=replace(cell, max_steps=STEPS),
        number=0,
        params=TRAINING | {"architecture": architecture},
        seed=0,
        threads=1,
        device="cpu",
        data_root=str(places.data),
        folder=str(trial_folder(places.outputs, cell.experiment, 0, 0)),
        log_path=str(places.logs / "trial.log"),
        recipe=recipe.to_json(),
        checkpoint_every_s=86_400.0,
    )
    with TrialProcess([sys.executable, *program_of(cell.kind, cell.cv).words], places.logs / "process.log") as child:
        child.send({"do": "run", "spec": spec.to_json()})
        for fact in facts_of(child):
            if fact["fact"] == "failed":
                raise RuntimeError(f"{architecture}: {fact['message']}")
            if fact["fact"] == "result":
                return int(fact["peak_bytes"])
    raise RuntimeError(f"{architecture}: the trial process ended without a result")


def facts_of(child: TrialProcess) -> Iterator[dict[str, Any]]:
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up and not child.facts_ended:
        yield from child.facts(1.0)


def main() -> None:
    for row in rows(quick="--full" not in sys.argv[1:]):
        print(row.line())


if __name__ == "__main__":
    main()
