"""The flagship, PatchTST on daily bars, as a `Study` for the runner.

Imports neither torch nor pandas: the command line imports it to list axes and names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fts.jobs.api.spec import NAME, TrialSpec, seed_for
from fts.jobs.api.study import (
    MAXIMIZE,
    MINIMIZE,
    Axis,
    CannotFit,
    Cell,
    Column,
    Finished,
    Metric,
    Plan,
    Program,
    Study,
    Table,
)
from fts.model.budgets import BUDGETS
from fts.study.cell import TRAINS, CellSpec, effective_config, settled
from fts.study.commands import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

FROM_WINNER = {
    "replicate": "replicate",
    "train": "final",
    "walk": "walk",
}  # kinds that repeat a winner -> purpose of their seeds
OBJECTIVE = "fts.study.objective"
BASELINE = "fts.study.baseline_objective"
FINAL = "fts.study.final_objective"
WALK_FORWARD = "fts.study.walk_forward_objective"
WALK = "fts.study.walk_objective"
MODULES = {"cell": OBJECTIVE, "replicate": OBJECTIVE, "baseline": BASELINE, "train": FINAL, "walk": WALK}


JOBS = (Column("task", "task", right=False), Column("tier", "tier", right=False))  # size and horizon name the cell
TRIALS = (
    Column("objective", "objective", right=False),
    Column("value", "value", "score"),
    Column("epoch", "best_epoch"),
    Column("epochs", "epochs", "d"),
    Column("AUC", "val_auc", "score3"),
    Column("95%", "auc_low auc_high", "interval", right=False),
    Column("prior", "prior_loss", "score"),
    Column("n_val", "n_val"),
    Column("n_pos", "n_pos"),
    Column("architecture", "architecture", right=False),
    Column("params", "n_params", "parameters"),
    Column("batch", "micro_batch accumulation", "times", right=False),
    Column("lr", "params.learning_rate", "number"),
    Column("dropout", "params.dropout", "number"),
    Column("minutes", "train_seconds", "minutes"),
)
STEPS = (
    Column("step", "step"),
    Column("train_loss", "train_loss", "score"),
    Column("val_loss", "val_loss", "score"),
    Column("val_auc", "val_auc", "score3"),
    Column("val_brier", "val_brier", "score"),
    Column("pred_min", "pred_min", "score3"),
    Column("pred_max", "pred_max", "score3"),
    Column("pred_sd", "pred_sd", "score"),
    Column("lr", "learning_rate", "number"),
    Column("samples/s", "samples_per_s", ".0f"),
    Column("seconds", "seconds", ".1f"),
)


def program_of(kind: str, cv: str | None = None) -> Program:
    """What runs a trial of such a job; one process serves many trials, because importing torch costs seconds."""
    module = WALK_FORWARD if cv is not None and kind in ("cell", "replicate") else MODULES[kind]
    return Program(("-m", module), reused=True)


class PatchTST(Study):
    """Does a PatchTST transformer on daily bars get better with size, and does the best configuration depend on h?"""

    name = "patchtst"
    axes = (Axis("budget", "size", tuple(BUDGETS)), Axis("horizon"), Axis("task"), Axis("tier"))
    metrics = (
        Metric("val_loss", "loss", MINIMIZE),
        Metric("val_auc", "AUC", MAXIMIZE),
        Metric("train_loss"),
        Metric("train_auc"),
        Metric("val_brier"),
    )
    commands = COMMANDS
    first_steps: ClassVar[tuple[str, ...]] = ("fts data build", "fts enqueue --matrix", "fts worker")
    columns: ClassVar[Mapping[str, tuple[Column, ...]]] = {"jobs": JOBS, "trials": TRIALS, "steps": STEPS}
    enqueue_form = "fts.study.form:MatrixOffer"
    drops_checkpoints = True  # up to 24 bytes per parameter and trial: 720 GB for the 200M cells of a matrix

    def cell(self, spec: Mapping[str, Any]) -> CellSpec:
        return CellSpec.from_json(spec)

    def labels(self, cell: Any) -> dict[str, str | int | float]:
        return {axis.name: getattr(cell, axis.name) for axis in self.axes}

    def title(self, cell: Any) -> str:
        """`20M/h3`, `base/h3`, `20M/h3 wf5`, `20M/h3 final`."""
        from fts.state.daily_bars import cell_name  # here: peewee

        return cell_name(cell.kind, self.labels(cell), cell.to_json(), cell.experiment)

    # -- the trial, before it runs

    def params(self, cell: Any, number: int) -> dict[str, Any] | None:
        if cell.kind == "baseline":
            from fts.analysis.baselines import baseline_params  # here, not above: numpy

            return dict(baseline_params(number))
        if cell.kind in FROM_WINNER:
            return dict(cell.warm_start[0])
        return super().params(cell, number)

    def effective(self, cell: Any, params: Mapping[str, Any]) -> dict[str, Any]:
        return effective_config(cell, dict(params))

    def describe(self, cell: Any, params: Mapping[str, Any]) -> str:
        if cell.kind == "baseline":
            return f"{params['model']} ({params['inputs']})"
        return str(params["architecture"])

    def seed(self, cell: Any, number: int) -> int:
        return seed_for(cell.seed, number, FROM_WINNER.get(cell.kind, "train"))

    def reuses(self, cell: Any) -> bool:
        return cell.kind not in ("replicate", "walk")  # which are the same configuration on purpose

    # -- where and how it runs

    def program(self, cell: Any) -> Program:
        return program_of(cell.kind, cell.cv)

    def request(self, spec: TrialSpec, db: Any, places: Any) -> dict[str, Any]:
        from fts.study.models import opened_by  # here: only a final training may look at the test set

        opener = opened_by(db, spec.cell) if spec.cell.kind == "train" else None
        return spec.to_json() | {"opened_by": opener}

    def plan(
        self, cell: Any, params: Mapping[str, Any], stored: dict[str, Any] | None, limit: int, device: str
    ) -> Plan | None:
        from fts.study import recipe  # here: models and budgets, which only a worker and `fts plan` ask about
        from fts.training.memory import CannotFit as TooLarge

        if cell.kind not in TRAINS:
            return None
        architecture = str(params["architecture"])
        cell = settled(cell, dict(params))
        try:
            if stored is None:
                chosen = recipe.plan_recipe(cell, architecture, limit, device)
            else:
                chosen = recipe.fitted(cell, architecture, limit, device, stored)
        except TooLarge as refused:
            raise CannotFit(str(refused), refused.needed) from refused
        return Plan(chosen.recipe.to_json(), chosen.estimate.total)

    def leaner(self, cell: Any, stored: Mapping[str, Any]) -> dict[str, Any] | None:
        from fts.study import recipe

        return recipe.shrunk(cell, dict(stored))

    def can_shrink(self, cell: Cell) -> bool:
        return cell.kind in TRAINS

    def batch(self, cell: Any, stored: Mapping[str, Any]) -> str:
        micro_batch = int(stored["micro_batch"])
        return f"{micro_batch}x{-(-cell.effective_batch // micro_batch)}"

    # -- afterwards

    def after_trial(self, finished: Finished) -> None:
        if finished.job.kind in ("cell", "walk"):
            self._compare(finished)

    def after_job(self, finished: Finished) -> None:
        """What the job adds to the comparison with baselines; other seeds and folds follow; a model is kept."""
        self._compare(finished)
        if finished.job.kind == "cell":
            from fts.study.winners import follow_winner  # here: see request

            follow_winner(finished.db, self, finished.job, finished.who)
        if finished.job.kind == "train" and finished.job.best_trial is not None:
            from fts.study.models import publish  # here: see request

            publish(finished.db, finished.places, finished.job)

    def on_result(self, finished: Finished, facts: Mapping[str, Any]) -> None:
        if facts.get("test"):
            from fts.state import transitions  # here: nothing else of this file writes

            transitions.record_test(finished.db, finished.job.spec["origin"]["experiment"], facts["test"], finished.who)

    def _compare(self, finished: Finished) -> None:
        from fts.study import margins  # here: see request

        margins.refresh(finished.db, finished.places, finished.job, finished.who)

    # -- for people

    def tables(self, db: Any, places: Any, folder: Path) -> list[Path]:
        from fts.study.parquet import to_parquet  # here, not above: pandas

        return to_parquet(db, places, folder)

    def report(self, db: Any, places: Any, folder: Path, now: float | None) -> Path:
        from fts.study import report_data  # here: only `fts report` asks

        return report_data.make_report(db, places, folder, now)

    def results(self, db: Any, jobs: Sequence[Any]) -> Table | None:
        from fts.study import results  # here: only `fts results` asks

        return results.shown(db, jobs)

    def may_export(self, job: Any) -> bool:
        return NAME.fullmatch(job.budget) is not None

    def best_file(self, job: Any) -> str:
        return f"{job.experiment}_{job.budget}_best.json"

    def job_record(self, job: Any) -> dict[str, Any]:
        from fts.study import exports  # here: it reads the database, which a trial process does not need

        return exports.job_record(job)

    def best_record(self, job: Any, best: Any, margin: Any | None) -> dict[str, Any] | None:
        from fts.study import exports

        return exports.best_record(job, best, margin)

    def results_file(self, places: Any) -> Path | None:
        found: Path = places.results_csv
        return found

    def result_columns(self) -> tuple[str, ...]:
        from fts.study import exports

        return exports.CSV_COLUMNS

    def result_row(self, job: Any, trials: Sequence[Any], energy_wh: float | None, margin: Any | None) -> Any | None:
        from fts.study import exports

        return exports.result_row(job, trials, energy_wh, margin)

    def checks(self, places: Any) -> Iterator[tuple[str, str, str | None]]:
        """The data sets and their manifest."""
        from fts.study import data_checks  # here, not above: pandas

        yield from data_checks.findings(places.data)
