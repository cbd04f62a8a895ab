"""Compares halving with a share of the epochs (as many trials as fit) with an unpruned search of fifty trials.

python -m benchmarks.equal_epochs [DB ...] [--share 1/3] [--trials 50] [--patience 10] [--rule 1,9,0.3,4 ...]

Without a database: the curves in curves-2M.csv, of 300 real unpruned trials (2M cells, S&P 500, h1, h3, h5). The curves
of all unpruned searches of a cell, from any sampler, are one pool. Each order of it is a study: its
first fifty trials are the unpruned search; the search with halving tries the same ones in the same order and continues
until the share of the first one's epochs is spent (or the pool). `above` is its best value minus the unpruned one's.
Both see the same pool, so that the luck of proposals cancels out; the effect of halving on a sampler is not included:
benchmarks.searches has searches that really ran.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from itertools import product
from pathlib import Path
from statistics import mean

from benchmarks import Row
from benchmarks.pruning import FEWEST, NO_WORSE, Pool, quantile, recorded, replay, shuffles, waiting
from benchmarks.searches import fraction, question
from fts.jobs.api.halving import HALVING, Halving
from fts.state import queries
from fts.state.db import open_database
from fts.study.cell import CellSpec

ORDERS = 100
REAL = Path(__file__).parent / "curves-2M.csv"


@dataclass(frozen=True)
class Fitted:
    """A rule over all orders of one pool; values in the objective, smaller is better."""

    pool: str
    rule: str
    trials: float  # mean number of trials that fit
    share: float  # mean epochs spent, relative to the unpruned search
    near: float  # share of the orders that end at most NO_WORSE above it
    above: float  # mean
    above_p95: float
    above_max: float

    def line(self) -> str:
        told = [self.pool, self.rule, f"{self.trials:.0f}", f"{self.share:.0%}", f"{self.near:.0%}"]
        told += [f"{above:+.4f}" for above in (self.above, self.above_p95, self.above_max)]
        return f"| {' | '.join(told)} |"


COLUMNS = ("cell", "rule", "trials", "epochs", "within .001", "above, mean", "p95", "max")


def rows(quick: bool = True) -> list[Row]:
    """Compares halving, and no pruning, with a third of the epochs of fifty unpruned trials, on the real curves."""
    told = []
    orders = 30 if quick else 200
    for name, rule in (("halving", HALVING), ("unpruned", Halving(keep=1.0, trailing=None))):
        for pool in pools(read(), patience=10):
            found = fitted(pool, rule, share=1 / 3, orders=orders)
            note = f"{found.trials:.0f} trials, {found.share:.0%} of the epochs, at most .001 in {found.near:.0%}"
            told.append(Row(f"{name}, {pool.name}", 1000 * found.above, "thousandths above", repeats=orders, note=note))
    return told


def fitted(pool: Pool, rule: Halving, share: float, trials: int = 50, orders: int = ORDERS) -> Fitted:
    """Replays many studies of one pool; the unpruned search has `trials`, or half of a small pool."""
    trials = min(trials, (len(pool.curves) + 1) // 2)
    runs, aboves, shares = [], [], []
    for order in shuffles(len(pool.curves), orders):
        unpruned = [pool.curves[k] for k in order[:trials]]
        epochs = sum(map(len, unpruned))
        run = replay(pool, order, "halving", rule, budget=share * epochs)
        runs.append(run)
        aboves.append(run.value - min(map(min, unpruned)))
        shares.append(run.epochs / epochs)
    ordered = sorted(aboves)
    return Fitted(
        pool=pool.name,
        rule=rule.numbers,
        trials=mean(run.trials for run in runs),
        share=mean(shares),
        near=mean(above <= NO_WORSE for above in aboves),
        above=mean(aboves),
        above_p95=quantile(ordered, 0.95),
        above_max=ordered[-1],
    )


@dataclass(frozen=True)
class Recorded:
    """One complete trial of an unpruned search."""

    cell: str
    sampler: str
    seed: int
    trial: int
    patience: int  # of its search
    epochs: int  # limit of its search
    losses: tuple[float, ...]  # the objective after epochs 1, 2, ...; smaller is better


def pools(trials: Iterable[Recorded], patience: int = 0) -> list[Pool]:
    """Returns the trials of each cell, with at least this patience. Raises SystemExit if there are too few."""
    found: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for one in trials:
        found[one.cell].append(waiting(one.losses, patience - one.patience, one.epochs))
    told = [Pool(cell, tuple(curves)) for cell, curves in sorted(found.items()) if len(curves) >= 2 * FEWEST]
    if not told:
        raise SystemExit(f"no cell here has {2 * FEWEST} complete trials of `--pruner none`")
    return told


def from_databases(paths: Sequence[Path]) -> list[Recorded]:
    """Returns all unpruned trials, of searches of one question per cell: the one with most trials."""
    found: dict[str, dict[str, list[Recorded]]] = defaultdict(lambda: defaultdict(list))
    for path in paths:
        db = open_database(path, readonly=True)
        try:
            for job in queries.jobs(db):
                if job.kind == "cell" and (spec := CellSpec.from_json(job.spec)).pruner == "none":
                    cell = f"{spec.budget}/h{spec.horizon}"
                    found[cell][question(spec)] += [
                        Recorded(cell, spec.sampler, spec.seed, number, spec.patience, spec.epochs, curve)
                        for number, curve in recorded(db, job, patience=0).items()
                    ]
        finally:
            db.close()
    return [one for asked in found.values() for one in max(asked.values(), key=len)]


def write(trials: Iterable[Recorded], file: Path) -> None:
    with file.open("w", newline="") as out:
        lines = csv.writer(out, lineterminator="\n")
        lines.writerow([field.name for field in fields(Recorded)])
        for one in trials:
            lines.writerow([*astuple(one)[:-1], " ".join(f"{loss:.6f}" for loss in one.losses)])


def read(file: Path = REAL) -> list[Recorded]:
    with file.open(newline="") as lines:
        return [
            Recorded(
                line["cell"], line["sampler"], int(line["seed"]), int(line["trial"]), int(line["patience"]),
                int(line["epochs"]), tuple(map(float, line["losses"].split())),
            )
            for line in csv.DictReader(lines)
        ]  # fmt: skip


def candidates() -> list[Halving]:
    """Returns a grid of rules, for `--all`."""
    shapes = product((1, 2), (3, 4, 6, 9), (0.2, 0.3, 0.4, 0.5, 0.6), (3, 4, 5))
    return [Halving(first, growth, keep, trailing) for first, growth, keep, trailing in shapes]


def main() -> None:
    parser = argparse.ArgumentParser(description="halving within a share of an unpruned search's epochs")
    parser.add_argument("db", nargs="*", type=Path, help="databases of fts; none: the real 2M curves that are here")
    parser.add_argument(
        "--share", type=fraction, default=1 / 3, metavar="PART", help="share of the unpruned search's epochs"
    )
    parser.add_argument("--trials", type=int, default=50, metavar="N", help="of the unpruned search")
    parser.add_argument("--patience", type=int, default=10, metavar="N", help="minimum patience of the searches")
    parser.add_argument("--orders", type=int, default=ORDERS)
    parser.add_argument(
        "--rule",
        type=Halving.parse,
        action="append",
        help="halving rule, may be repeated; default: that of fts enqueue",
    )
    parser.add_argument("--all", action="store_true", help="try 120 rules, print the best 20 over all cells first")
    parser.add_argument("--save", type=Path, metavar="FILE", help="only write the curves as csv")
    given = parser.parse_args()
    trials = from_databases(given.db) if given.db else read()
    if given.save:
        return write(trials, given.save)
    known = pools(trials, given.patience)
    rules = candidates() if given.all else given.rule or [HALVING]
    told = [[fitted(pool, rule, given.share, given.trials, given.orders) for pool in known] for rule in rules]
    if given.all:
        told = sorted(told, key=lambda cells: mean(cell.above for cell in cells))[:20]
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    for cells in told:
        print("\n".join(cell.line() for cell in cells), flush=True)
    return None


if __name__ == "__main__":
    main()
