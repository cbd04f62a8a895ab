"""The statistics of the report: tests between cells, importance, pruning and seeds.

Each test between cells counts a cell as one observation: trials of one search depend on each other, because a sampler
searches near its earlier successes. The tests permute the levels of an axis within blocks of cells that agree on all
other axes.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.records.intervals import EstimatedValue, mean_interval
from fts.jobs.search.importance import ENOUGH, ParameterImportance, chance_of, counts, importance, ranks, standing
from fts.state.values import TrialStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fts.jobs.report.data import CellReport, StudyReport
    from fts.state.values import Trial

LEVEL = 0.05
MOST_PERMUTATIONS = 5000  # if there are more, so many are drawn at random
TOP_SHARE, FEWEST_TOP = 0.2, 3  # share of a cell's complete trials, and least number of them
EDGE = 0.05  # share of a parameter's range that counts as its edge
LATE = 0.2  # share of the trials that counts as the end of a search


# ---------------------------------------------------------------- between cells


@dataclass(frozen=True)
class AxisTest:
    """A permutation test of whether something differs between the values of an axis."""

    axis: str
    what: str  # a parameter; empty: the best value
    p: float
    smallest: float  # the smallest p that these blocks can give
    blocks: int
    levels: Mapping[Any, tuple[float, ...]]  # value of the axis -> mean over the blocks
    p_holm: float = math.nan
    tests: int = 1
    choices: tuple[str, ...] = ()  # of a categorical parameter: each coordinate is the share of one choice

    @property
    def can_tell(self) -> bool:
        return self.smallest * self.tests <= LEVEL

    @property
    def differs(self) -> bool:
        return self.p_holm <= LEVEL


def effects_of_axes(study: StudyReport) -> list[AxisTest]:
    """Tests for each axis whether the best value depends on it: ranks within blocks of cells that differ in this axis
    alone."""
    found = []
    for axis in several(study):
        blocks: list[Block] = []
        for block in blocks_of(study.with_result, axis):
            values = [cell.key(cell.best.value) for cell in block.values() if cell.best and cell.best.value is not None]
            placed = ranks(values)
            blocks.append({level: (rank,) for level, rank in zip(block, placed, strict=True)})
        if blocks:
            found += holm([permutation_test(axis, "", blocks)])  # no correction over axes
    return found


def dependences(study: StudyReport) -> list[AxisTest]:
    """Tests for each axis and parameter whether the location of each cell's best fifth depends on the axis. Corrects
    over the parameters of an axis."""
    cells = [cell for cell in study.with_result if len(top(cell)) >= FEWEST_TOP]
    found: list[AxisTest] = []
    for axis in several(study):
        family = []
        for name in parameters_of(cells):
            drawn = [cell for cell in cells if all(name in trial.params for trial in top(cell))]
            place = placing(name, drawn)
            blocks = [
                {level: middle([place(trial.params[name]) for trial in top(cell)]) for level, cell in block.items()}
                for block in blocks_of(drawn, axis)
            ]
            if blocks:
                family.append(replace(permutation_test(axis, name, blocks), choices=choices_of(name, drawn)))
        found += holm(family)
    return found


def several(study: StudyReport) -> list[str]:
    return [axis for axis, values in study.axes.items() if len(values) > 1]


def blocks_of(cells: Iterable[CellReport], axis: str) -> list[dict[Any, CellReport]]:
    """Returns groups of cells that differ in this axis alone and have the same metric, by their values on it."""
    found: dict[Any, dict[Any, CellReport]] = {}
    for cell in cells:
        if axis in cell.job.labels:
            rest = tuple(sorted((name, repr(value)) for name, value in cell.job.labels.items() if name != axis))
            found.setdefault((rest, cell.metric, cell.direction), {})[cell.job.labels[axis]] = cell
    return [block for block in found.values() if len(block) > 1]


def top(cell: CellReport) -> list[Trial]:
    """Returns the best fifth of the cell's complete trials, at least three."""
    done = sorted(cell.complete, key=lambda trial: (cell.key(trial.value or 0.0), trial.number))
    return done[: max(FEWEST_TOP, math.ceil(TOP_SHARE * len(done)))]


def parameters_of(cells: Iterable[CellReport]) -> list[str]:
    """Returns the names of the parameters that vary."""
    seen: dict[str, set[str]] = {}
    for cell in cells:
        for trial in cell.trials:
            for name, value in trial.params.items():
                seen.setdefault(name, set()).add(repr(value))
    return [name for name, values in seen.items() if len(values) > 1]


def placing(name: str, cells: Sequence[CellReport]) -> Callable[[Any], tuple[float, ...]]:
    """Returns a function from a parameter's value to a point: for numbers the rank among all trials (0..1), for choices
    one coordinate per choice."""
    values = [trial.params[name] for cell in cells for trial in cell.trials if name in trial.params]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        known = sorted(set(values))
        of = dict(zip(values, (rank / len(values) for rank in ranks(values)), strict=True))
        return lambda value: (of.get(value, 0.5),) if known else (0.5,)
    choices = choices_of(name, cells)
    return lambda value: tuple(float(str(value) == choice) for choice in choices)


def choices_of(name: str, cells: Sequence[CellReport]) -> tuple[str, ...]:
    """Returns the values of a categorical parameter; () for a numeric one."""
    values = [trial.params[name] for cell in cells for trial in cell.trials if name in trial.params]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return ()
    return tuple(sorted({str(value) for value in values}))


def middle(points: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(math.fsum(one) / len(points) for one in zip(*points, strict=True))


Block = dict[Any, tuple[float, ...]]  # level -> point of its cell


def permutation_test(axis: str, what: str, blocks: Sequence[Block]) -> AxisTest:
    """Tests how often randomly permuted levels within the blocks are at least as far apart as the observed ones."""
    centred = []
    for block in blocks:
        centre = middle(list(block.values()))
        centred.append({k: tuple(a - b for a, b in zip(v, centre, strict=True)) for k, v in block.items()})
    seen = spread(centred)
    ways = math.prod(math.factorial(len(block)) for block in centred)
    permutations: Iterable[Sequence[Block]]
    if ways <= MOST_PERMUTATIONS:
        permutations = every_permutation(centred)
        hits, n = 0, 0
    else:
        chance = random.Random(0)
        permutations = (random_permutation(centred, chance) for _ in range(MOST_PERMUTATIONS))
        hits, n = 1, 1  # the observed one counts too
    for permuted in permutations:
        hits += spread(permuted) >= seen * (1 - 1e-12) - 1e-15
        n += 1
    levels: dict[Any, list[tuple[float, ...]]] = {}
    for block in blocks:
        for level, point in block.items():
            levels.setdefault(level, []).append(point)
    there = Counter(tuple(level in block for block in centred) for level in levels)
    alike = math.prod(math.factorial(n) for n in there.values())  # the same groups under other names
    return AxisTest(
        axis, what, hits / n, min(1.0, alike / ways) if ways <= MOST_PERMUTATIONS else 1 / n, len(blocks),
        {level: middle(points) for level, points in levels.items()},
    )  # fmt: skip


def spread(blocks: Sequence[Block]) -> float:
    """Returns the sum over levels of n times the squared distance of the level's mean from the centre."""
    sums: dict[Any, list[float]] = {}
    n: Counter[Any] = Counter()
    for block in blocks:
        for level, point in block.items():
            n[level] += 1
            before = sums.setdefault(level, [0.0] * len(point))
            for k, value in enumerate(point):
                before[k] += value
    return math.fsum(value * value / n[level] for level, total in sums.items() for value in total)


def every_permutation(blocks: Sequence[Block]) -> Iterable[Sequence[Block]]:
    ways = [
        [dict(zip(block, points, strict=True)) for points in itertools.permutations(block.values())] for block in blocks
    ]
    return itertools.product(*ways)


def random_permutation(blocks: Sequence[Block], chance: random.Random) -> list[Block]:
    return [dict(zip(block, chance.sample(list(block.values()), len(block)), strict=True)) for block in blocks]


def holm(tests: Sequence[AxisTest]) -> list[AxisTest]:
    """Returns the tests with Holm's correction over all of them."""
    order = sorted(range(len(tests)), key=lambda k: tests[k].p)
    corrected = [math.nan] * len(tests)
    largest = 0.0
    for place, k in enumerate(order):
        largest = max(largest, min(1.0, (len(tests) - place) * tests[k].p))
        corrected[k] = largest
    return [replace(one, p_holm=p_holm, tests=len(tests)) for one, p_holm in zip(tests, corrected, strict=True)]


# ---------------------------------------------------------------- within a cell


@dataclass(frozen=True)
class CellImportance:
    """The importance shares of one cell's parameters, and the share that chance reaches."""

    cell: CellReport
    shares: tuple[ParameterImportance, ...]
    chance: float  # in 95 % of shuffled searches no parameter has a larger share

    def real(self) -> list[ParameterImportance]:
        return [one for one in self.shares if one.share > self.chance]

    @property
    def varies(self) -> bool:
        """Whether the trials' values differ; otherwise there is nothing to explain."""
        return len({standing(trial) for trial in self.cell.trials if counts(trial)}) > 1


def importances(study: StudyReport) -> list[CellImportance]:
    found = []
    for cell in study.cells:
        shares = importance(cell.trials)
        if shares:
            found.append(CellImportance(cell, shares, chance_of(cell.trials)))
    return found


def at_least(hits: int, n: int, probability: float) -> float:
    """Returns the probability of at least `hits` hits in n independent draws."""
    return math.fsum(math.comb(n, k) * probability**k * (1 - probability) ** (n - k) for k in range(hits, n + 1))


def still_improving(cell: CellReport) -> bool:
    """Whether the best trial is among the last fifth of the search."""
    ended = [trial.number for trial in cell.trials if trial.status in (TrialStatus.COMPLETE, TrialStatus.PRUNED)]
    return cell.best is not None and len(ended) >= ENOUGH and cell.best.number in ended[-int(LATE * len(ended)) :]


def at_the_edge(cell: CellReport) -> dict[str, str]:
    """Returns parameter -> `low` or `high`, for the winner's values within 5 % of an end of their range."""
    found = {}
    for name, one in cell.space.items():
        value = cell.best.params.get(name) if cell.best else None
        low, high = one.get("low"), one.get("high")
        if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in (value, low, high)):
            continue
        assert value is not None and low is not None and high is not None, "they are numbers"
        if not high > low or (isinstance(value, int) and high - low < 3):
            continue
        if one.get("log") and low > 0 and value > 0:
            value, low, high = math.log(value), math.log(low), math.log(high)
        place = (value - low) / (high - low)
        if place <= EDGE or place >= 1 - EDGE:
            found[name] = "low" if place <= EDGE else "high"
    return found


# ---------------------------------------------------------------- pruning


@dataclass(frozen=True)
class PruningAudit:
    """What pruning saved in one cell, and how well early values predict the final ones there."""

    cell: CellReport
    pruned: int
    ended: int
    saved: float  # share of all steps, assuming that pruned trials would have run as long as complete ones
    spared: int  # steps that pruned trials did not run, under the same assumption
    step: int  # the median step at which trials were pruned
    agreement: float  # Spearman's correlation of complete trials' values at that step and at the end
    n: int  # number of complete trials for `agreement`


def audit(cell: CellReport) -> PruningAudit | None:
    """Computes the audit of a cell; None if nothing was pruned or no steps are known."""
    pruned = [trial for trial in cell.trials if trial.status is TrialStatus.PRUNED]
    complete = cell.complete
    lengths = sorted(trial.epochs for trial in complete if trial.epochs > 0)
    if not pruned or not lengths:
        return None
    usual = lengths[len(lengths) // 2]
    ran = sum(trial.epochs for trial in cell.trials)
    spared = sum(max(0, usual - trial.epochs) for trial in pruned)
    last = sorted(max(cell.curves[t.number]) for t in pruned if cell.curves.get(t.number))
    step = last[len(last) // 2] if last else 0
    pairs = [
        (cell.curves[t.number][step], t.value)
        for t in complete
        if t.value is not None and step in cell.curves.get(t.number, {}) and max(cell.curves[t.number]) > step
    ]
    agreement = spearman([a for a, _ in pairs], [b for _, b in pairs]) if len(pairs) >= 5 else math.nan
    return PruningAudit(
        cell, len(pruned), len(pruned) + cell.ended, spared / (ran + spared) if ran else 0.0, spared, step, agreement,
        len(pairs),
    )  # fmt: skip


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    x, y = ranks(a), ranks(b)
    mean = (len(x) + 1) / 2
    top_ = math.fsum((p - mean) * (q - mean) for p, q in zip(x, y, strict=True))
    below = math.sqrt(math.fsum((p - mean) ** 2 for p in x) * math.fsum((q - mean) ** 2 for q in y))
    return top_ / below if below > 0 else math.nan


# ---------------------------------------------------------------- seeds


def mean_curse(study: StudyReport) -> EstimatedValue | None:
    """Returns the t interval of how much better the searches' values are than the means of their replicates; None for
    fewer than three cells or several metrics."""
    found = [cell.replicates.curse for cell in study.cells if cell.replicates is not None]
    metrics = {(cell.metric, cell.direction) for cell in study.cells if cell.replicates is not None}
    return mean_interval(found) if len(found) >= 3 and len(metrics) == 1 else None
