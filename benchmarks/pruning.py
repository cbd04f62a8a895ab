"""Measures what pruning saves and misses: recorded curves of an unpruned search, replayed in many random orders.

python -m benchmarks.pruning DB [CELL ...] [--orders 200] [--patience 10] [--all]       CELL: 2M/h1, or a job's number

The trials of a random, unpruned search are exchangeable: any order is as likely as the one that ran, and jobs that
differ only in their seed are one pool. So each order is a search with another seed, and every pruner is asked, epoch
by epoch, what it would have done (`should_prune` itself, no imitation). A trial that is not pruned runs as long as
it ran: early stopping is in the record, with the search's own patience, or at least `--patience`: a trial that stopped
early then continues for the rest of it without improvement. A winner is `alike` if its loss on the validation days is
not distinguishable from the unpruned search's best: the 95 % interval of the paired difference (block bootstrap)
contains zero.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING

from benchmarks import Row
from fts.jobs.api.halving import HALVING, Halving
from fts.jobs.search.past_trial import PastTrial
from fts.jobs.search.pruner import should_prune

if TYPE_CHECKING:
    from fts.jobs.settings import Places
    from fts.state.db import Database
    from fts.state.values import Job

FEWEST = 10  # trials in a pool
ORDERS = 200
SAME = 1e-9  # difference of the objective
NO_WORSE = 1e-3  # difference of the objective: less is no improvement by the study's own min_delta


@dataclass(frozen=True)
class Pool:
    """The curves of one unpruned search: for each trial the objective (smaller is better) after epochs 1, 2, ..."""

    name: str
    curves: tuple[tuple[float, ...], ...]
    alike: frozenset[int] | None = None  # trials not distinguishable from the best; None: no predictions

    @property
    def best(self) -> float:
        return min(min(curve) for curve in self.curves)

    @property
    def epochs(self) -> int:
        return sum(len(curve) for curve in self.curves)


@dataclass(frozen=True)
class Replay:
    """One order of one pool under one rule."""

    lengths: tuple[int, ...]  # epochs of each trial that was tried, pruned or not
    value: float  # best of the trials that were not pruned
    winner: int  # its index in the pool

    @property
    def epochs(self) -> int:
        return sum(self.lengths)

    @property
    def trials(self) -> int:
        return len(self.lengths)


@dataclass(frozen=True)
class Judged:
    """A rule over all orders. Regret: its best value minus the unpruned search's, in the objective."""

    pool: str
    rule: str
    share: float  # mean epochs spent, relative to the unpruned search
    share_p95: float
    reached: float  # share of the orders that found the best value
    near: float  # share of the orders that found one at most NO_WORSE above it
    alike: float | None  # share of the orders with a winner not distinguishable from it
    regret_median: float
    regret_p95: float
    regret_max: float
    orders: int

    def line(self) -> str:
        alike = "—" if self.alike is None else f"{self.alike:.1%}"
        told = [
            self.pool,
            self.rule,
            *(f"{part:.1%}" for part in (self.share, self.share_p95, self.reached, self.near)),
        ]
        told += [alike, *(f"{regret:.4f}" for regret in (self.regret_median, self.regret_p95, self.regret_max))]
        return f"| {' | '.join(told)} |"


COLUMNS = ("pool", "rule", "epochs", "p95", "same best", "within .001", "alike", "regret median", "p95", "max")
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def rows(quick: bool = True) -> list[Row]:
    """Returns epochs spent by each pruner on synthetic curves (`python -m benchmarks.pruning DB` for recorded ones)."""
    pools = [synthetic(seed) for seed in range(3 if quick else 12)]
    found = []
    for name in ("none", "median", "halving"):
        judged = [judge(pool, name, orders=30 if quick else ORDERS) for pool in pools]
        missed = 1 - mean(j.reached for j in judged)
        note = f"missed the best in {missed:.0%}, regret at most {max(j.regret_max for j in judged):.4f} nats"
        orders = sum(j.orders for j in judged)
        share = mean(j.share for j in judged)
        found.append(Row(f"{name}, synthetic curves", 100 * share, "% of the epochs", repeats=orders, note=note))
    return found


def judge(pool: Pool, pruner: str, rule: Halving = HALVING, orders: int = ORDERS, name: str | None = None) -> Judged:
    """Replays the pool under one rule in `orders` random orders, the same ones for every rule."""
    runs = [replay(pool, order, pruner, rule) for order in shuffles(len(pool.curves), orders)]
    shares = sorted(run.epochs / pool.epochs for run in runs)
    regrets = sorted(run.value - pool.best for run in runs)
    return Judged(
        pool=pool.name,
        rule=name or pruner,
        share=mean(shares),
        share_p95=quantile(shares, 0.95),
        reached=mean(regret <= SAME for regret in regrets),
        near=mean(regret <= NO_WORSE for regret in regrets),
        alike=None if pool.alike is None else mean(run.winner in pool.alike for run in runs),
        regret_median=median(regrets),
        regret_p95=quantile(regrets, 0.95),
        regret_max=regrets[-1],
        orders=orders,
    )


def replay(
    pool: Pool, order: Sequence[int], pruner: str, rule: Halving = HALVING, budget: float = float("inf")
) -> Replay:
    """Replays one search in this order. Ends before the trial that would exceed `budget` epochs."""
    history: list[PastTrial] = []
    value, winner = float("inf"), order[0]
    lengths: list[int] = []
    for number, k in enumerate(order):
        curve = dict(enumerate(pool.curves[k], start=1))
        ended = next((e for e in curve if should_prune(pruner, history, number, upto(curve, e), rule=rule)), None)
        seen = curve if ended is None else upto(curve, ended)
        if sum(lengths) + len(seen) > budget:
            break
        lengths.append(len(seen))
        if ended is None and min(curve.values()) < value:
            value, winner = min(curve.values()), k
        history.append(PastTrial(number, {}, "complete" if ended is None else "pruned", None, seen))
    return Replay(tuple(lengths), value, winner)


def upto(curve: dict[int, float], epoch: int) -> dict[int, float]:
    return {e: value for e, value in curve.items() if e <= epoch}


def shuffles(n: int, orders: int) -> list[list[int]]:
    return [random.Random(seed).sample(range(n), n) for seed in range(orders)]


def quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def candidates() -> dict[str, Halving]:
    """Returns candidate rules by descriptive names."""
    steps = ((2, 0.5), (3, 0.5), (3, 0.6), (3, 1 / 3), (4, 0.25), (6, 0.4), (9, 0.3), (9, 0.4))
    shapes = product((1, 2, 3), steps, (None, 2, 3, 4))
    plain = [Halving(first, growth, keep, trailing=trailing) for first, (growth, keep), trailing in shapes]
    free = [Halving(2, 3, 1 / 3, startup=5, trailing=trailing) for trailing in (None, 2, 3)]
    lenient = [Halving(2, 3, 1 / 3, margin=0.002, trailing=trailing) for trailing in (None, 2, 3)]
    return {named(rule): rule for rule in [*plain, *free, *lenient]}


def named(rule: Halving) -> str:
    said = [f"from {rule.first_rung}, x{rule.growth}, keep {rule.keep:.0%}"]
    said += [f"first {rule.startup} free"] if rule.startup else []
    said += [f"margin {rule.margin:g}"] if rule.margin else []
    said += [f"trailing {rule.trailing}"] if rule.trailing is not None else []
    return ", ".join(said)


def pools(path: Path, cells: Sequence[str], patience: int = 0) -> list[Pool]:
    """Returns the unpruned random searches of a database. Raises SystemExit with what was found instead."""
    from fts.jobs.settings import Places
    from fts.state import queries
    from fts.state.db import open_database
    from fts.study.cell import CellSpec  # here, not above: synthetic curves need no database

    searches: dict[str, list[Job]] = {}
    db = open_database(path, readonly=True)
    try:
        for job in queries.jobs(db):
            if job.kind != "cell" or (cells and not {f"{job.budget}/h{job.horizon}", str(job.id)} & set(cells)):
                continue
            spec = CellSpec.from_json(job.spec)
            if (spec.pruner, spec.sampler) == ("none", "random"):
                searches.setdefault(replace(spec, seed=0, trials=1).identity, []).append(job)
            else:
                told = f"job {job.id} {job.experiment}: sampler {spec.sampler}, pruner {spec.pruner}"
                print(f"left out: {told}; only random, unpruned trials can be put in another order", file=sys.stderr)
        found = [pool_of(db, Places(path, path.parent.parent / "data"), jobs, patience) for jobs in searches.values()]
    finally:
        db.close()
    large = [pool for pool in found if len(pool.curves) >= FEWEST]
    for pool in found:
        if pool not in large:
            print(f"left out: {pool.name}: {len(pool.curves)} complete trials", file=sys.stderr)
    if not large:
        raise SystemExit(f"{path} has no cell with {FEWEST} complete trials of `--sampler random --pruner none`")
    return large


def pool_of(db: Database, places: Places, jobs: Sequence[Job], patience: int) -> Pool:
    """Returns the complete trials of searches that differ only in their seed."""
    from fts.jobs.api.spec import trial_folder
    from fts.study.cell import CellSpec

    spec = CellSpec.from_json(jobs[0].spec)
    curves, files = [], []
    for job in jobs:
        for number, curve in recorded(db, job, patience).items():
            curves.append(curve)
            folder = trial_folder(places.outputs, job.experiment, job.id, number)
            files.append(folder / "predictions.parquet")
    name = f"{spec.budget}/h{spec.horizon} (job {', '.join(str(job.id) for job in jobs)})"
    return Pool(name, tuple(curves), alike_of(curves, files, spec.horizon))


def recorded(db: Database, job: Job, patience: int) -> dict[int, tuple[float, ...]]:
    """Returns by number the curves of a job's complete trials, smaller is better, with at least this patience."""
    from fts.state import queries
    from fts.study.cell import CellSpec

    spec = CellSpec.from_json(job.spec)
    sign = -1.0 if spec.objective == "val_auc" else 1.0
    found = {}
    for curve in queries.curves(db, job.id):
        if curve.status == "complete" and curve.epochs:
            told = tuple(sign * curve.epochs[e] for e in sorted(curve.epochs))
            found[curve.number] = waiting(told, patience - spec.patience, spec.epochs)
    return found


def waiting(curve: tuple[float, ...], more: int, epochs: int) -> tuple[float, ...]:
    """Extends the curve by `more` epochs of patience without improvement, at most to the cell's epochs."""
    return curve + curve[-1:] * max(0, min(more, epochs - len(curve)))


def alike_of(curves: Sequence[Sequence[float]], files: Sequence[Path], horizon: int) -> frozenset[int] | None:
    """Returns the trials with a log loss like the best one's on the same days; None without predictions."""
    from fts.analysis.study_data import read_predictions
    from fts.scores.intervals import compare

    if not curves or not all(file.exists() for file in files):
        return None
    frames = [read_predictions(file) for file in files]
    best = frames[min(range(len(curves)), key=lambda k: min(curves[k]))]
    paired = [compare(best.y, frame.p, best.p, horizon, "log_loss") for frame in frames]
    return frozenset(k for k, difference in enumerate(paired) if difference.interval.low <= 0.0)


def synthetic(seed: int, trials: int = 50, epochs: int = 25, patience: int = 6) -> Pool:
    """Returns curves that fall to their own floor, rise again by overfitting, and are noisy."""
    rng = random.Random(f"pruning/{seed}")
    curves = []
    for _ in range(trials):
        floor, speed, overfit = 0.39 + rng.expovariate(50), rng.lognormvariate(0.9, 0.5), rng.uniform(0.0, 0.004)
        curve: list[float] = []
        while len(curve) < epochs and (not curve or len(curve) - curve.index(min(curve)) <= patience):
            e = len(curve) + 1
            curve.append(floor + 0.3 * 2 ** -(e / speed * 2) + overfit * max(0, e - 2 * speed) + rng.gauss(0, 0.002))
        curves.append(tuple(curve))
    return Pool(f"synthetic {seed}", tuple(curves))


def main() -> None:
    parser = argparse.ArgumentParser(description="replay pruners on the recorded curves of unpruned random searches")
    parser.add_argument("db", type=Path, help="a database of fts; `fts db path` names it")
    parser.add_argument("cells", nargs="*", metavar="CELL", help="2M/h1 or a job's number; default: every such cell")
    parser.add_argument("--orders", type=int, default=ORDERS)
    parser.add_argument("--patience", type=int, default=0, metavar="N", help="minimum patience of the search")
    parser.add_argument("--all", action="store_true", help="try all candidate rules, print the best trade-offs first")
    parser.add_argument(
        "--within", type=float, default=0.45, metavar="SHARE", help="with --all: print only rules that cost less"
    )
    given = parser.parse_args()
    print(HEAD)
    known = pools(given.db, given.cells, given.patience)
    for pool in known:
        print(
            f"{pool.name}: {len(pool.curves)} trials, {pool.epochs} epochs, best {pool.best:.4f}"
            + ("" if pool.alike is None else f", {len(pool.alike)} alike"),
            file=sys.stderr,
        )
        for name in ("none", "median", "halving"):
            told = f"halving ({named(HALVING)})" if name == "halving" else name
            print(judge(pool, name, orders=given.orders, name=told).line(), flush=True)
    if given.all:
        for pool in known:
            tried = [judge(pool, "halving", rule, given.orders, name) for name, rule in candidates().items()]
            cheap = sorted((j for j in tried if j.share <= given.within), key=lambda j: (-j.near, j.regret_p95))
            print("\n".join(j.line() for j in cheap), flush=True)


if __name__ == "__main__":
    main()
