"""Compares real searches, their best values and epochs, with the unpruned random search of the same cell.

python -m benchmarks.searches DB [DB ...] [--patience 10] [--share 1/3]

A replay (benchmarks.pruning) computes what a rule would have done to existing trials. Here the searches themselves
ran, with their own sampler, pruner and seed. Searches belong together if they differ only in these, the number of
trials and the requested precision. Two losses are compared on the same validation days (block bootstrap) and with the
results of the same configuration under other seeds (`fts replicate`): a smaller difference than both does not count.

How much pruning saves depends on the patience of the unpruned search. `--patience` counts epochs as if every search had
this patience, as is the default for users: a trial that ended early would have continued for at least the rest of it.

With `--share` a search counts up to that share of the unpruned one's epochs: its trials in their order, while they fit.
So a search of more trials than the unpruned one is evaluated by its result at that cost; one that was stopped
later counts as well.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from statistics import mean, stdev

from fts.analysis.study_data import read_predictions
from fts.jobs.api.spec import trial_folder
from fts.scores.intervals import Interval, compare
from fts.state import queries
from fts.state.db import Database, open_database
from fts.state.values import Job, Trial
from fts.study.cell import CellSpec

Asked = tuple[Database, Path, Job, CellSpec]
UNPRUNED = ("random", "none")


@dataclass(frozen=True)
class Search:
    """One ended search, or several unpruned ones that differ only in their seed."""

    name: str  # "tpe, halving 1,3,0.5,3, seed 21"
    horizon: int  # trading days
    trials: int
    epochs: int  # of all its trials, including pruned ones; with more patience than it had: at least this many
    best: float  # the objective's best value, smaller is better
    predictions: Path | None  # of the best trial
    retrained: tuple[float, ...] = ()  # the best configuration under other seeds


@dataclass(frozen=True)
class Beside:
    """A search compared with the unpruned one of its cell."""

    search: Search
    share: float  # of the unpruned search's epochs
    above: float  # its best value minus the unpruned one's
    interval: Interval | None  # of that difference on the same days; None: predictions are missing

    def cells(self) -> list[str]:
        told = self.search
        same_days = "—" if self.interval is None else f"[{self.interval.low:+.4f}, {self.interval.high:+.4f}]"
        return [
            told.name, str(told.trials), str(told.epochs), f"{self.share:.0%}", f"{told.best:.4f}",
            f"{self.above:+.4f}", same_days, spread(told.retrained),
        ]  # fmt: skip


COLUMNS = ("search", "trials", "epochs", "of unpruned", "best", "above unpruned", "same days, 95 %", "winner retrained")


def found(paths: Sequence[Path], patience: int = 0, share: float | None = None) -> dict[str, list[Search]]:
    """Returns by cell ("2M/h3") the ended searches, the pooled unpruned one first.

    `share` is the part of that one's epochs up to which the pruned ones count; a search that was stopped after it
    is included. Raises SystemExit if no cell was searched both unpruned (`--sampler random --pruner none`) and
    otherwise.
    """
    asked: dict[tuple[str, str], list[Asked]] = defaultdict(list)
    databases = [open_database(path, readonly=True) for path in paths]
    try:
        again = replicates(databases)
        for db, path in zip(databases, paths, strict=True):
            for job in queries.jobs(db):
                if job.kind == "cell" and job.trials_complete:
                    spec = CellSpec.from_json(job.spec)
                    if job.status != "done" and (share is None or spec.pruner == "none"):
                        continue
                    asked[f"{spec.budget}/h{spec.horizon}", question(spec)].append((db, path, job, spec))
        told: dict[str, list[Search]] = {}
        for (cell, _), jobs in sorted(asked.items(), key=lambda pair: pair[0]):
            plain = [one for one in jobs if (one[3].sampler, one[3].pruner) == UNPRUNED]
            if plain and len(plain) < len(jobs):
                others = [[one] for one in jobs if one not in plain]
                parts = [plain, *([[one] for one in plain] if len(plain) > 1 else []), *others]
                name = cell if cell not in told else f"{cell} (another question, job {jobs[0][2].id})"
                if searches := compared(parts, again, patience, share):
                    told[name] = searches
    finally:
        for db in databases:
            db.close()
    if not told:
        raise SystemExit("no cell here was searched both with `--sampler random --pruner none` and in another way")
    return told


def question(spec: CellSpec) -> str:
    """Returns what searches must have in common to be compared: everything except sampler, pruner, seed and trials."""
    return replace(
        spec, seed=0, trials=1, sampler="random", pruner="none", halving=None, precision="auto", warm_start=()
    ).identity


def compared(
    parts: Sequence[Sequence[Asked]], again: dict[tuple[int, int], list[float]], patience: int, share: float | None
) -> list[Search]:
    """Returns the searches of one cell; the others are compared with `parts[0]`."""
    reference = searched(parts[0], again, patience)
    if reference is None:
        return []
    searches = [reference]
    for part in parts[1:]:
        db, _, job, spec = part[0]
        budget = reference.epochs * share if share and spec.pruner != "none" else float("inf")
        told = searched(part, again, patience, budget)
        if told and (job.status == "done" or told.trials < len(queries.trials(db, job.id))):
            searches.append(told)
    return searches


def searched(
    jobs: Sequence[Asked], again: dict[tuple[int, int], list[float]], patience: int, budget: float = float("inf")
) -> Search | None:
    """Returns the result of the trials that fit into this many epochs; None if there is none."""
    spec = jobs[0][3]
    trials = [(one, trial) for one in jobs for trial in queries.trials(one[0], one[2].id)]
    spent = list(accumulate(epochs_of(trial, one[3], patience) for one, trial in trials))
    ended = [one for one, epochs in zip(trials, spent, strict=True) if epochs <= budget]
    complete = [(one, trial) for one, trial in ended if trial.status == "complete" and trial.value is not None]
    if not complete:
        return None
    (db, path, job, _), winner = min(complete, key=lambda pair: worth(pair[1], spec))
    file = trial_folder(path.parent, job.experiment, job.id, winner.number) / "predictions.parquet"
    seeds = ", ".join(str(one[3].seed) for one in jobs)
    rule = f"{spec.pruner} {spec.halving_rule.numbers}" if spec.pruner == "halving" else spec.pruner
    return Search(
        name=f"{spec.sampler}, {rule}, seed {seeds}",
        horizon=spec.horizon,
        trials=len(ended),
        epochs=spent[len(ended) - 1],
        best=worth(winner, spec),
        predictions=file if file.exists() else None,
        retrained=tuple(again.get((id(db), winner.id), ())),
    )


def epochs_of(trial: Trial, spec: CellSpec, patience: int) -> int:
    """Returns the epochs of a trial, and those it would at least have taken with more patience than its cell has."""
    if trial.status != "complete" or patience <= spec.patience:
        return trial.epochs
    return min(spec.epochs, trial.epochs + patience - spec.patience)


def replicates(databases: Sequence[Database]) -> dict[tuple[int, int], list[float]]:
    """Returns the values of a trial's configuration under other seeds, by database and trial."""
    values: dict[tuple[int, int], dict[int, float]] = defaultdict(dict)
    for db in databases:
        for job in queries.jobs(db):
            if job.kind != "replicate":
                continue
            spec = CellSpec.from_json(job.spec)
            origin = {trial.number: trial.id for trial in queries.trials(db, spec.origin["job"])}
            if spec.origin["trial"] in origin:
                told = {
                    trial.seed: worth(trial, spec) for trial in queries.trials(db, job.id) if trial.status == "complete"
                }
                values[id(db), origin[spec.origin["trial"]]] |= told  # five seeds begin with those of an earlier three
    return {trial: list(by_seed.values()) for trial, by_seed in values.items()}


def worth(trial: Trial, spec: CellSpec) -> float:
    value = float("inf") if trial.value is None else trial.value
    return -value if spec.objective == "val_auc" else value


def beside(searches: Sequence[Search]) -> list[Beside]:
    """Compares each search with the first one."""
    reference = searches[0]
    return [
        Beside(search, search.epochs / reference.epochs, search.best - reference.best, same_days(search, reference))
        for search in searches
    ]


def same_days(search: Search, reference: Search) -> Interval | None:
    if search.predictions is None or reference.predictions is None or search.predictions == reference.predictions:
        return None
    ours, theirs = read_predictions(search.predictions), read_predictions(reference.predictions)
    return compare(ours.y, ours.p, theirs.p, search.horizon, "log_loss").interval


def spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "—"
    return f"{mean(values):.4f}, sd {stdev(values):.4f} ({len(values)})"


def fraction(text: str) -> float:
    """Parses `1/3` or `0.33`."""
    top, _, bottom = text.partition("/")
    return float(top) / float(bottom or 1)


def main() -> None:
    parser = argparse.ArgumentParser(description="real searches beside the unpruned one of their cell")
    parser.add_argument("db", nargs="+", type=Path, help="databases of fts; `fts db path` names one")
    parser.add_argument(
        "--patience", type=int, default=0, metavar="N", help="minimum patience with which epochs are counted"
    )
    parser.add_argument(
        "--share", type=fraction, metavar="PART", help="count pruned searches up to this share of the epochs"
    )
    given = parser.parse_args()
    print(f"| cell | {' | '.join(COLUMNS)} |\n{'|---' * (1 + len(COLUMNS))}|")
    for cell, searches in found(given.db, given.patience, given.share).items():
        for row in beside(searches):
            print(f"| {cell} | {' | '.join(row.cells())} |", flush=True)


if __name__ == "__main__":
    main()
