"""Estimates from finished trials what each remaining cell will cost, and what it is likely to gain.

Cost: seconds per trial as in the forecast of `fts status`, with an 80 % interval. Gain of further trials: the best of n
trials falls about linearly with log n, with the slope of this cell's own last doubling. For a cell without trials it
is the gain of its size at other horizons. It is compared with the noise of the validation set: a gain below the noise
cannot be distinguished from luck.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fts.jobs.status.forecast import Z80, epochs_of, is_pruned, own_pace, pace_of
from fts.jobs.status.formatting import trials_ended
from fts.jobs.status.naming import with_task
from fts.state.pareto_front import best_of
from fts.state.values import Job, JobStatus, Margin, Trial, TrialStatus
from fts.study.own import own_jobs
from fts.study.results import BUDGETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fts.state.db import Database

FEWEST = 4  # complete trials needed to estimate a slope
PRUNED_COUNTS = 1 / 3  # share of a complete trial, see `evidence`
FOLD = 0.4  # cost of a fold in trials: it stops at the winner's best epoch (2M/h1: 4of6 cost 1.03)
WINNER_KINDS = ("replicate", "walk")  # kinds that evaluate a winner: they gain nothing
OPEN = (JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.PAUSED)


@dataclass(frozen=True)
class Outlook:
    """Expected cost and gain of a cell that has not ended. Gains are in the objective; above 0 is better."""

    job: int
    cell: str
    status: str
    left: int  # number of trials
    seconds: float | None  # of training and overhead; None if nothing similar has run
    seconds_low: float | None  # 80 % interval
    seconds_high: float | None
    then: float | None  # seconds after the search: its winner with other seeds, and on walk-forward folds
    objective: str
    best: float | None  # so far
    chance: float | None  # that a remaining trial beats the best, if they are as good as those that ran (`evidence`)
    gain: float | None  # expected, over the best so far; for a cell without trials: over the best at its horizon
    noise: float | None  # half the 95 % interval of the paired difference to the baseline
    basis: str  # source of the gain, as text

    @property
    def worth_it(self) -> bool | None:
        """Whether the expected gain is above the noise; None if unknown."""
        return None if self.gain is None or self.noise is None else self.gain > self.noise


def outlooks(
    jobs: Sequence[Job],
    trials: Mapping[int, Sequence[Trial]],
    margins: Iterable[Margin],
    now: float,
    worked: Mapping[int, float] | None = None,
) -> list[Outlook]:
    """Returns one per cell, or job that evaluates a winner, that has not ended, in the order of the queue.

    `trials` by job number, `worked` the seconds of training of interrupted jobs (fts.state.queries.worked).
    """
    shown = [job for job in jobs if job.kind in ("cell", *WINNER_KINDS) and job.status is not JobStatus.CANCELLED]
    cells = [job for job in shown if job.kind == "cell"]
    noise = {margin.job_id: (margin.loss_high - margin.loss_low) / 2 for margin in margins}
    noise_auc = {margin.job_id: (margin.auc_high - margin.auc_low) / 2 for margin in margins}
    found = []
    for job in shown:
        if job.status not in OPEN or trials_ended(job) >= job.trials_wanted:
            continue
        known = noise_auc if _objective(job) == "val_auc" else noise
        found.append(_outlook(job, cells, trials, known, jobs, now, worked or {}))
    return found


def _outlook(
    job: Job,
    cells: Sequence[Job],
    trials: Mapping[int, Sequence[Trial]],
    noise: dict[int, float],
    jobs: Sequence[Job],
    now: float,
    worked: Mapping[int, float],
) -> Outlook:
    left = job.trials_wanted - trials_ended(job)
    pace = own_pace(job, now, worked) or pace_of(job.budget, jobs, now, worked, epochs_of(job), is_pruned(job))
    best = best_of(job, trials.get(job.id, ()))
    values = complete_values(trials.get(job.id, ()))
    seen = evidence(values, trials.get(job.id, ()))
    gain: float | None
    if job.kind in WINNER_KINDS:
        gain, basis = None, "evaluates the winner"
    elif len(values) >= FEWEST:
        gain, basis = more_trials(values, left, seen), f"its last {len(values) // 2} of {len(values)} trials"
    else:
        gain, basis = step_in_size(job, cells, trials)
        if gain is None and values:
            basis = f"unknown: {len(values)} of {FEWEST} complete trials needed"
    seconds = None if pace is None else left * pace.seconds
    wide = 1.0 if pace is None else math.exp(Z80 * pace.sd_log)
    like = [other for other in cells if other.horizon == job.horizon and _question(other) == _question(job)]
    rivals = [noise[other.id] for other in like if other.id in noise]
    return Outlook(
        job=job.id,
        cell=with_task(jobs)[job.id],
        status=str(job.status),
        left=left,
        seconds=seconds,
        seconds_low=None if seconds is None else seconds / wide,
        seconds_high=None if seconds is None else seconds * wide,
        then=None
        if pace is None
        else pace.seconds * trials_after(job.spec.get("winner_seeds", 1), job.spec.get("winner_folds")),
        objective=_objective(job),
        best=best.value if best else None,
        chance=left / (left + seen) if values else None,
        gain=gain,
        noise=noise.get(job.id, max(rivals, default=None)),
        basis=basis,
    )


def trials_after(seeds: int, folds: str | None) -> float:
    """Returns what follows a search, in its trials: its winner with other seeds, and with all seeds on folds (4of6)."""
    walked = 0.0
    if folds is not None:
        judged, of = map(int, folds.split("of"))
        walked = FOLD * sum(range(of - judged + 1, of + 1)) / (of + 1)  # each trains on the folds before it
    return seeds - 1 + seeds * walked


def complete_values(trials: Iterable[Trial]) -> list[float]:
    """Returns the losses of complete trials in order; an AUC counts as its negative, so that smaller is better."""
    return [
        -trial.value if trial.objective == "val_auc" else trial.value
        for trial in trials
        if trial.status is TrialStatus.COMPLETE and trial.value is not None and "reused" not in trial.badges
    ]


def evidence(values: Sequence[float], trials: Iterable[Trial]) -> float:
    """Returns how many trials count as evidence that the best is hard to beat: the complete and some of the pruned.

    A pruned trial was no better either, but a sampler that learns makes the next ones better. With a pruned trial as
    a third, in ten real 2M searches cut at a tenth to nine tenths the predicted chance of a better trial was .94, .87,
    .70, .46 and .21; the observed frequency 1, .9, .7, .4 and .4. Without pruned trials: .96, .93, .88, .74 and .53.
    """
    return len(values) + PRUNED_COUNTS * sum(trial.status is TrialStatus.PRUNED for trial in trials)


def more_trials(values: Sequence[float], left: int, seen: float | None = None) -> float:
    """Returns the expected fall of the best value by `left` further trials like the `values` that ran.

    The expected best of k of the n values, over all choices of k, is known exactly. Its fall from k = n/2 to n is one
    doubling, and log2((seen + left) / seen) doublings remain; `seen` is n, or the number from `evidence`.
    """
    n = len(values)
    doubling = expected_best(values, n // 2) - expected_best(values, n)
    return doubling * math.log2(1 + left / (seen or n))


def expected_best(values: Sequence[float], k: int) -> float:
    """Returns the mean of the smallest of k values drawn without replacement.

    The i-th smallest of all n is the smallest in C(n-i, k-1) of the C(n, k) draws.
    """
    ordered, n = sorted(values), len(values)
    total = math.comb(n, k)
    return math.fsum(value * (math.comb(n - i, k - 1) / total) for i, value in enumerate(ordered, start=1))


def step_in_size(job: Job, cells: Sequence[Job], trials: Mapping[int, Sequence[Trial]]) -> tuple[float | None, str]:
    """Returns what this budget gained over the best smaller one at other horizons, and the source as text."""
    best = {
        (other.budget, other.horizon): min(values)
        for other in cells
        if other.id != job.id and _question(other) == _question(job)
        if (values := complete_values(trials.get(other.id, ())))
    }
    smaller = [budget for budget in BUDGETS if BUDGETS[budget] < BUDGETS.get(job.budget, 0)]
    steps = []
    for budget, horizon in best:
        before = [best[b, horizon] for b in smaller if (b, horizon) in best]
        if budget == job.budget and horizon != job.horizon and before:
            steps.append(min(before) - best[budget, horizon])
    if not steps:
        return None, "no comparable cell has run"
    return math.fsum(steps) / len(steps), f"the gain of this size at {len(steps)} other horizon{'s' * (len(steps) > 1)}"


def _question(job: Job) -> tuple[str, ...]:
    """What two cells must have in common so that the values of one predict those of the other."""
    asked = (job.spec.get(name) for name in ("dataset", "data_md5", "split", "cv"))
    return (job.task, job.tier, _objective(job), *map(repr, asked))


def _objective(job: Job) -> str:
    return str(job.spec.get("objective", "val_loss"))


def campaign(db: Database, now: float) -> list[Outlook]:
    """Returns the outlook of every open cell, from one read transaction."""
    from fts.state import queries  # here, not above: peewee

    with db.read():
        jobs = own_jobs(db)
        trials = {job.id: queries.trials(db, job.id) for job in jobs if job.kind == "cell"}
        margins = queries.margins(db)
        worked = queries.worked(db)
    return outlooks(jobs, trials, margins, now, worked)
