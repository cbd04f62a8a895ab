"""Measures how often the flagship's claims are wrong on simulated studies with known truth, now and by earlier rules.

python -m benchmarks claims [--full]        (or a part of it: claims:scaling, :horizons, :effective, :folds)

Scaling: four sizes, one or three trainings of each, seeds .004 apart, days shared by all sizes. Horizons: three
searches of one bowl with noise of .3, 1 and 3 times its spread. n effective: the width of an interval of the mean of
that many independent days, compared with the width of the real one. Folds: a model that is trained again for each of
four folds, with three seeds, compared with one that has no seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks import Row
from benchmarks.coverage import DAYS, KINDS, RESAMPLES, Kind, lasting, years
from fts.analysis.scaling import fit_power_law
from fts.analysis.scaling_interval import SeedNoise, bounds, covariance
from fts.analysis.surfaces import p_common
from fts.scores.dependence import block_length, blocks_variance, effective_size, slow_variance
from fts.scores.folds import luck_of, over_folds, paired
from fts.scores.intervals import SERIES, compare
from fts.scores.metrics import auc

Floats = NDArray[np.float64]

SIZES = np.array([2e6, 2e7, 2e8, 2e9])
LAW, CONSTANT = 0.5 + 0.05 * (SIZES / SIZES[0]) ** -0.3, np.full(4, 0.55)
SEED_SD, DAY_SD, SHARED_SD = 0.004, 0.002, 0.02
BEST = np.array([0.2, 0.7, 0.5])
OTHER = np.array([0.7, 0.3, 0.5])
BOWL_SD = 0.35
NOISES = ((0.3, 1.0, 3.0), (0.3, 0.3, 0.3), (1.0, 1.0, 1.0), (3.0, 3.0, 0.1))


def rows(quick: bool = True) -> list[Row]:
    return [row for piece in PIECES.values() for row in piece(quick)]


PIECES: dict[str, Callable[[bool], list[Row]]] = {  # each alone: python -m benchmarks claims:folds --full
    "scaling": lambda quick: scaling_rows(60 if quick else 1000),
    "horizons": lambda quick: horizon_rows(60 if quick else 1000),
    "effective": lambda quick: effective_rows(20 if quick else 100),
    "folds": lambda quick: fold_rows(20 if quick else 300),
}


# ---------------------------------------------------------------- scaling


def scaling_rows(studies: int) -> list[Row]:
    found = []
    for trainings in (1, 3):
        for name, truth in (("a law", LAW), ("a constant", CONSTANT)):
            held, before, falls, fell_before = _scaled(truth, trainings, studies)
            seeds = f"{trainings} training{'s' if trainings > 1 else ''} of each size"
            told = f"fall of {name}, {seeds}"
            found.append(Row(f"{told}: interval holds it", held, "%", before, "days alone", repeats=studies))
            if truth is CONSTANT:
                found.append(
                    Row(f"{told}: called a fall", falls, "%", fell_before, "days alone", True, repeats=studies)
                )
    return found


def _scaled(truth: Floats, trainings: int, studies: int) -> tuple[float, float, float, float]:
    """Returns in per cent: interval contains the fall, the earlier one does, a fall is found, and was found earlier."""
    rng = np.random.default_rng(0)
    counts = np.zeros(4)
    fall = truth[0] - truth[-1]
    for _ in range(studies):
        day = SHARED_SD * rng.standard_normal() + DAY_SD * rng.standard_normal(4)
        trained = truth + day + SEED_SD * rng.standard_normal((trainings, 4))
        other = trained if trainings > 1 else SEED_SD * rng.standard_normal((3, 1))
        sd = float(np.sqrt(other.var(axis=0, ddof=1).mean()))
        seeds = SeedNoise(sd, (len(other) - 1) * other.shape[1], (float(trainings),) * 4)
        values = trained.mean(axis=0)
        draws = values + SHARED_SD * rng.standard_normal((200, 1)) + DAY_SD * rng.standard_normal((200, 4))
        now = bounds(SIZES / SIZES[0], values, covariance(seeds, draws), seeds)
        law = fit_power_law(SIZES, values)
        gains = [float(np.subtract(*fit_power_law(SIZES, row, law)(SIZES[[0, -1]]))) for row in draws[:40]]
        low, high = np.quantile(gains, [0.025, 0.975])
        counts += (now.gain_low <= fall <= now.gain_high, low <= fall <= high, now.gain_low > 0, low > 1e-4)
    held, before, falls, fell_before = (100 * counts / studies).tolist()
    return held, before, falls, fell_before


# ---------------------------------------------------------------- horizons


def horizon_rows(studies: int) -> list[Row]:
    found = []
    for noises in NOISES:
        told = " / ".join(f"{noise:g}" for noise in noises)
        now, before = _called_different(noises, (BEST, BEST, BEST), studies)
        found.append(
            Row(f"one truth, noise {told}: called different", now, "%", before, "ranks swapped", True, repeats=studies)
        )
    now, before = _called_different((0.3, 0.3, 0.3), (BEST, BEST, OTHER), studies)
    found.append(Row("two truths, noise .3: called different", now, "%", before, "ranks swapped", repeats=studies))
    return found


def _called_different(noises: tuple[float, ...], bests: tuple[Floats, ...], studies: int) -> tuple[float, float]:
    """Returns per cent of studies, by one response surface and by swapped ranks; all horizons have the same 50."""
    now = before = 0
    for seed in range(studies):
        rng = np.random.default_rng(seed)
        x = rng.random((50, 3))
        losses = [
            ((x - best) ** 2 * np.array([1.0, 0.6, 0.3])).sum(axis=1) + noise * BOWL_SD * rng.standard_normal(50)
            for noise, best in zip(noises, bests, strict=True)
        ]
        found = p_common([x] * 3, losses, seed)
        now += found is not None and found < 0.05
        pairs = ((0, 1), (0, 2), (1, 2))
        before += min(1.0, 3 * min(_swapped(losses[a], losses[b], x) for a, b in pairs)) < 0.05
    return 100 * now / studies, 100 * before / studies


def _swapped(there: Floats, here: Floats, x: Floats) -> float:
    """The earlier rule: do parameters explain differences in rank better than with the two ranks swapped at random?"""
    axes = np.linalg.svd((x - x.mean(axis=0)) / x.std(axis=0), full_matrices=False)[0]
    difference = stats.rankdata(there) - stats.rankdata(here)
    signs = np.random.default_rng(len(here)).choice((-1.0, 1.0), (500, len(here)))
    seen = float(((difference @ axes) ** 2).sum())
    reached = np.count_nonzero((((signs * difference) @ axes) ** 2).sum(axis=1) >= seen - 1e-9)
    return float((1 + reached) / 501)


# ---------------------------------------------------------------- n effective


def effective_rows(samples: int) -> list[Row]:
    """1 means: the interval of n effective independent days is as wide as the reported one."""
    found = []
    for kind in KINDS:
        rng = np.random.default_rng(2)
        ratios, before = [], []
        for turn in range(samples):
            y, p, _ = years(rng, DAYS, kind)
            series = SERIES["log_loss"](y, p)
            block = block_length(series, kind.horizon)
            loss = compare(y, p, np.full(len(y), 0.5), kind.horizon, "log_loss", turn, RESAMPLES).interval
            shown = (loss.high - loss.low) / 2
            sd = float(series.std())
            ratios.append(shown / (1.96 * sd / math.sqrt(effective_size(series, block))))
            # without the correction for few blocks
            formerly = max(blocks_variance(series, block), slow_variance(series))
            before.append(shown / (1.96 * math.sqrt(formerly / len(y))))
        name = f"interval over that of n effective days, {kind.name}"
        found.append(Row(name, float(np.median(ratios)), "x", float(np.median(before)), "before", repeats=samples))
    return found


# ---------------------------------------------------------------- folds

FOLDS, FOLD_DAYS, SEEDS = 4, 569, 3
SKILL, SKILL_SD = 0.8, 0.25  # how well a training follows the mood, and its standard deviation


def fold_rows(samples: int) -> list[Row]:
    """Returns the share of walk-forward differences in AUC with an interval that contains the truth."""
    return [_fold_row(kind, samples) for kind in KINDS[2:]]


def _fold_row(kind: Kind, samples: int) -> Row:
    rng = np.random.default_rng(3)
    y, mood, own, other = _days(rng, 100_000, kind)
    skills = SKILL + SKILL_SD * np.linspace(-2.5, 2.5, 21)
    aucs = [float(auc(y, _forecast(mood, own, skill), None)[0]) for skill in skills]
    truth = float(np.average(aucs, weights=stats.norm.pdf(np.linspace(-2.5, 2.5, 21))))
    truth -= float(auc(y, _forecast(mood, other, SKILL), None)[0])
    held = np.zeros(2)
    for _ in range(samples):
        y, mood, own, other = _days(rng, FOLDS * FOLD_DAYS, kind)
        drawn = np.repeat(SKILL + SKILL_SD * rng.standard_normal((SEEDS, FOLDS)), FOLD_DAYS, axis=1)
        mine = [_forecast(mood, own, skill) for skill in drawn]
        luck = luck_of([[float(over_folds("auc", y, p, FOLDS)[0]) for p in mine]])
        for k, seeds in enumerate((luck, None)):
            rival = _forecast(mood, other, SKILL)
            found = paired("auc", y, mine, [rival], FOLDS, kind.horizon, seeds, (SEEDS, 0), RESAMPLES)
            held[k] += found.covers(truth)
    now, before = (100 * held / samples).tolist()
    name = f"difference of AUCs over {FOLDS} folds and {SEEDS} seeds, {kind.name}: interval holds it"
    return Row(name, now, "%", before, "days alone", repeats=samples)


def _days(rng: np.random.Generator, days: int, kind: Kind) -> tuple[Floats, Floats, Floats, Floats]:
    """Returns labels, the mood, and the noise of two forecasters."""
    mood, own, other = (lasting(rng, days, kind.memory) for _ in range(3))
    ahead = np.convolve(rng.standard_normal(days + kind.horizon - 1), np.ones(kind.horizon), "valid")
    return (mood + ahead / math.sqrt(kind.horizon) > 0.6).astype(float), mood, own, other


def _forecast(mood: Floats, noise: Floats, skill: Floats | float) -> Floats:
    p: Floats = 1 / (1 + np.exp(0.6 - skill * mood - 0.6 * noise))
    return p
