"""The results table: the best value of each cell, its uncertainty, and the comparison with class prior and baseline.

Next to every best value are its interval, the number of validation windows and positives, and the loss of the class
prior, because a validation set of 19 once decided 600 trials (lesson 1).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from statistics import fmean
from typing import TYPE_CHECKING

from fts.jobs.api.study import Table
from fts.jobs.records.energy import energies, total
from fts.jobs.records.results import newer_of
from fts.jobs.records.searches import Searches
from fts.jobs.records.text_table import layout
from fts.jobs.status import formatting, naming
from fts.state.files import csv_text
from fts.state.pareto_front import best_of
from fts.state.values import Job, JobStatus, Trial, TrialStatus
from fts.study.margins import COMPARED_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from fts.scores.folds import Luck
    from fts.state.db import Database

BELOW_PRIOR = "below prior"  # its validation loss is no better than always predicting the base rate
BY_AUC = " by AUC"
IN_NOISE = "inside noise"  # the 95 % interval of its AUC contains 0.5: it may be guessing


@dataclass(frozen=True)
class Result:
    """One cell, or the baselines of a horizon. Values are those of its best complete trial; None if there is none.

    The best trial is the best by objective, also for baselines, as in queue and monitor. Cells are compared with the
    baseline of the highest AUC; if that is another baseline, it has a separate row.
    """

    job: int
    cell: str  # 2M/h1, or 2M/h1 2pct if another task has a cell of that name
    experiment: str
    status: str
    wanted: int
    complete: int
    pruned: int
    failed: int
    objective: str
    value: float | None
    best_trial: int | None
    best_epoch: int | None
    val_loss: float | None
    prior_loss: float | None
    val_auc: float | None
    auc_low: float | None  # 95 % interval
    auc_high: float | None
    n_val: int | None
    n_pos: int | None
    base_rate: float | None
    architecture: str | None
    n_params: int | None
    minutes: float  # of training, summed over the trials
    energy_wh: float | None  # of that training, processor and GPU; None: not measured all the time
    label_md5: str | None
    data_md5: str | None
    badges: tuple[str, ...]
    rival: str | None = None  # best baseline by AUC; the gains are cell minus rival, paired, with 95 % intervals
    auc_gain: float | None = None
    auc_gain_low: float | None = None
    auc_gain_high: float | None = None
    loss_gain: float | None = None  # below 0: the cell is better
    loss_gain_low: float | None = None
    loss_gain_high: float | None = None
    seeds: int = 0  # number of trainings of the winning configuration with other seeds
    seed_mean: float | None = None  # of the objective
    seed_sd: float | None = None
    test_opened: str | None = None  # who opened the test set, and when
    test_auc: float | None = None
    test_loss: float | None = None
    test_auc_gain: float | None = None  # over the baseline that was best on validation, on the same test days
    test_auc_gain_low: float | None = None
    test_auc_gain_high: float | None = None
    without_best: str | None = None  # for a cell that has ended: why it has no best trial
    newer: str | None = None  # `job 5 is queued`: waiting or running searches of the same cell


def results(db: Database, jobs: Iterable[Job] | None = None) -> list[Result]:
    """Returns one row per cell, by budget and horizon; a cell that was run again appears once per job."""
    from fts.state import queries  # here, not above: peewee, which the pure parts of this file do not need

    there = queries.jobs(db)
    chosen = [job for job in (there if jobs is None else jobs) if job.status is not JobStatus.CANCELLED]
    shown = [job for job in chosen if job.kind in SHOWN]
    measured = energies(db)
    names, searches = naming.with_task([*there, *chosen]), Searches(there)
    rows = [
        replace(_with_evidence(db, row, job), cell=names[job.id] + more, newer=newer_of(searches, job))
        for job in shown
        for more, row in rows_of(job, queries.trials(db, job.id), measured, luck_in_auc(db, job))
    ]
    walked = {job.spec["cv"] for job in chosen if job.kind == "walk"}
    order = {  # walks and jobs on the same folds first: they have more days, and their stopping was not chosen on them
        job.id: (job.spec.get("cv") not in walked, BUDGETS.get(job.budget, len(BUDGETS)), job.horizon, job.id)
        for job in chosen
    }
    return sorted(rows, key=lambda row: order[row.job])


SHOWN = ("cell", "baseline", "walk")


def _with_evidence(db: Database, row: Result, job: Job) -> Result:
    """Adds what was computed after the trials: comparison with baselines, other seeds, the test set."""
    from fts.state import queries
    from fts.study.seeds import spread_of  # here: see results

    if job.kind not in COMPARED_KINDS:
        return row
    margin = next((m for m in queries.margins(db) if m.job_id == job.id), None)
    if margin is not None and (margin.trial == row.best_trial or job.kind == "walk"):
        row = replace(
            row, rival=margin.rival, auc_gain=margin.auc, auc_gain_low=margin.auc_low, auc_gain_high=margin.auc_high,
            loss_gain=margin.loss, loss_gain_low=margin.loss_low, loss_gain_high=margin.loss_high,
        )  # fmt: skip
    if job.kind == "walk":
        return row
    if (spread := spread_of(db, job)) is not None:
        row = replace(row, seeds=spread.n, seed_mean=spread.mean, seed_sd=spread.sd)
    if (opened := queries.opening(db, job.experiment)) is not None:
        scores = (opened.scores or {}) if opened.job_id == job.id else {}  # not the score of another cell of that name
        row = replace(
            row, test_opened=f"{opened.who} {formatting.iso(opened.at)}",
            test_auc=scores.get("auc"), test_loss=scores.get("loss"),
            test_auc_gain=scores.get("auc_gain"), test_auc_gain_low=scores.get("auc_gain_low"),
            test_auc_gain_high=scores.get("auc_gain_high"),
        )  # fmt: skip
    return row


BUDGETS = {"baseline": -1, "base": -1, "tiny": 0, "2M": 1, "20M": 2, "200M": 3, "2B": 4}


def results_table(db: Database) -> str:
    """Returns the table as text, as `fts results` prints it."""
    return "\n".join(layout(COLUMNS, table(results(db)), right=NUMBERS))


def result_of(job: Job, trials: Sequence[Trial], measured: Mapping[int, float] | None = None) -> Result:
    """Returns the row of one job. `measured`: watt hours by trial id (`fts.jobs.records.energy.energies`)."""
    return _row(job, trials, best_of(job, trials), measured)


def luck_in_auc(db: Database, job: Job) -> Luck | None:
    """Returns the variation over seeds, if the job's row is a mean over seeds."""
    from fts.study.seeds import lucks_of  # here: see results

    return lucks_of(db, job)["auc"] if job.kind == "walk" else None


def rows_of(
    job: Job, trials: Sequence[Trial], measured: Mapping[int, float] | None, luck: Luck | None
) -> list[tuple[str, Result]]:
    """Returns (suffix of the cell's name, row); two for baselines if one is best by loss and another by AUC."""
    row = result_of(job, trials, measured)
    if job.kind == "walk":
        return [("", _over_seeds(row, trials, luck))]
    rival = best_rival(trials) if job.kind == "baseline" else None
    if rival is None or rival.number == row.best_trial:
        return [("", row)]
    return [("", row), (BY_AUC, _row(job, trials, rival, measured))]


def _over_seeds(row: Result, trials: Sequence[Trial], luck: Luck | None) -> Result:
    """Returns the mean over all trainings, with an interval that includes the variation over seeds."""
    from fts.scores.folds import luck_of, over_seeds  # here: numpy, which the other rows do not need

    again = [trial for trial in trials if trial.status is TrialStatus.COMPLETE and trial.value is not None]
    row = replace(row, best_trial=None, best_epoch=None)
    if not again:
        return row
    values, losses, aucs = ([getattr(trial, name) for trial in again] for name in ("value", "val_loss", "val_auc"))
    own = luck_of([values])
    row = replace(
        row, seeds=len(again), seed_mean=fmean(values), seed_sd=None if own is None else own.sd,
        value=fmean(values), val_loss=_mean_of(losses), val_auc=_mean_of(aucs),
    )  # fmt: skip
    auc = over_seeds([(trial.val_auc, trial.auc_low, trial.auc_high) for trial in again], luck)
    return replace(row, auc_low=None if auc is None else auc.low, auc_high=None if auc is None else auc.high)


def _mean_of(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _row(job: Job, trials: Sequence[Trial], best: Trial | None, measured: Mapping[int, float] | None) -> Result:
    return Result(
        job=job.id,
        cell=naming.cell_name(job),
        experiment=job.experiment,
        status=str(job.status),
        wanted=job.trials_wanted,
        complete=job.trials_complete,
        pruned=job.trials_pruned,
        failed=job.trials_failed,
        objective=best.objective if best else str(job.spec.get("objective", "val_loss")),
        value=best.value if best else None,
        best_trial=best.number if best else None,
        best_epoch=best.best_epoch if best else None,
        val_loss=best.val_loss if best else None,
        prior_loss=best.prior_loss if best else None,
        val_auc=best.val_auc if best else None,
        auc_low=best.auc_low if best else None,
        auc_high=best.auc_high if best else None,
        n_val=best.n_val if best else None,
        n_pos=best.n_pos if best else None,
        base_rate=best.base_rate if best else None,
        architecture=best.architecture if best else None,
        n_params=best.n_params if best else None,
        minutes=sum(_seconds(job, trial) for trial in trials) / 60,
        energy_wh=total(measured or {}, trials),
        label_md5=best.label_md5 if best else None,
        data_md5=best.data_md5 if best else None,
        badges=badges_of(best) if best else (),
        without_best=formatting.without_best(job) if best is None and job.status in formatting.ENDED else None,
    )


def _seconds(job: Job, trial: Trial) -> float:
    """Returns seconds of training; for a baseline, which has no epochs, from start to end."""
    if job.kind != "baseline":
        return trial.train_seconds
    return (trial.ended_at or trial.started_at) - trial.started_at


def best_rival(trials: Iterable[Trial]) -> Trial | None:
    """Returns the baseline with the highest AUC; the lower number wins a tie."""
    judged = [trial for trial in trials if trial.status is TrialStatus.COMPLETE and trial.val_auc is not None]
    return min(judged, key=lambda trial: (-(trial.val_auc or 0.0), trial.number), default=None)


def badges_of(best: Trial) -> tuple[str, ...]:
    """Returns badges that warn against trusting a best value."""
    badges = [badge for badge in best.badges if badge != "reused"]
    if best.val_loss is not None and best.prior_loss is not None and best.val_loss >= best.prior_loss:
        badges.append(BELOW_PRIOR)
    if best.auc_low is not None and best.auc_high is not None and best.auc_low <= 0.5 <= best.auc_high:
        badges.append(IN_NOISE)
    return tuple(badges)


def data_note(rows: Iterable[Result]) -> str | None:
    """Says which rows use which data, if they differ: windows and days differ, so do not compare across them."""
    jobs: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.data_md5:
            jobs.setdefault(row.data_md5, {})[str(row.job)] = None  # baselines may have two rows
    if len(jobs) < 2:
        return None
    text = "; ".join(f"job{'s' * (len(ids) > 1)} {', '.join(ids)} on data {md5[:8]}" for md5, ids in jobs.items())
    return f"these rows use different data, so do not compare them: {text}"


COLUMNS: tuple[str, ...] = ("job", "cell", "state", "trials", "objective", "value", "prior", "AUC", "95%", "vs base")
COLUMNS += ("n_val", "n_pos", "architecture", "params", "best", "minutes", "Wh", "badges")
# columns that a narrow terminal omits, in this order: the conclusion (AUC, 95%, vs base, badges) stays longest
LEAST = (
    "Wh",
    "minutes",
    "architecture",
    "params",
    "n_val",
    "objective",
    "best",
    "prior",
    "n_pos",
    "job",
    "state",
    "95%",
)
NUMBERS = ("job", "value", "prior", "AUC", "vs base", "n_val", "n_pos", "params", "minutes", "Wh")


def table(rows: Iterable[Result]) -> list[list[str]]:
    """Returns the rows of COLUMNS as text."""
    return [
        [
            str(row.job),
            row.cell,
            row.status,
            f"{row.complete}/{row.pruned}/{row.failed} of {row.wanted}",
            row.objective,
            formatting.score(row.value),
            formatting.score(row.prior_loss),
            formatting.score(row.val_auc, 3),
            formatting.interval(row.auc_low, row.auc_high),
            gain(row),
            str(row.n_val or "—"),
            str(row.n_pos or "—"),
            row.architecture or "—",
            formatting.parameters(row.n_params),
            "—" if row.best_trial is None else f"t{row.best_trial}" + (f" e{row.best_epoch}" if row.best_epoch else ""),
            f"{row.minutes:.1f}",
            watt_hours(row.energy_wh),
            ", ".join(remarks(row)) or "—",
        ]
        for row in rows
    ]


def watt_hours(energy: float | None) -> str:
    """Formats `0.42`, `18.3`, `240`; a dash without a measurement."""
    if energy is None:
        return "—"
    return f"{energy:.2f}" if energy < 1 else f"{energy:.1f}" if energy < 100 else f"{energy:.0f}"


def gain(row: Result) -> str:
    """Formats `+0.012 [-0.010, +0.034]`: AUC of the best trial minus the best baseline's, on the same days."""
    return difference(row.auc_gain, row.auc_gain_low, row.auc_gain_high) or "—"


def difference(value: float | None, low: float | None, high: float | None) -> str | None:
    return None if value is None else f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def remarks(row: Result) -> list[str]:
    """Returns remarks: newer searches, why there is no value, badges, variation over seeds, the opened test set."""
    parts = [f"older search: {row.newer}"] if row.newer else []
    parts += [row.without_best] if row.without_best else []
    parts += row.badges
    if _allows_verdict(row) and row.auc_gain_low is not None and row.auc_gain_high is not None:
        if row.auc_gain_high < 0:
            parts.append(f"worse than {row.rival}")
        elif row.auc_gain_low <= 0:
            parts.append(f"not shown to beat {row.rival}")
    if row.seeds:
        sd = f" sd {row.seed_sd:.4f}" if row.seed_sd else ""
        parts.append(f"{formatting.count(row.seeds, 'seed')}: {formatting.score(row.seed_mean)}{sd}")
        parts += [] if _allows_verdict(row) else [f"no verdict against {row.rival or 'a baseline'}"]
    if row.test_opened:
        there = difference(row.test_auc_gain, row.test_auc_gain_low, row.test_auc_gain_high)
        against = f", {there} to the baseline" if there else ""
        parts.append(f"test opened by {row.test_opened}: AUC {formatting.score(row.test_auc, 3)}{against}")
    return parts


def _allows_verdict(row: Result) -> bool:
    """Whether the row allows a verdict; a walk with one seed does not, because another seed may differ."""
    return row.best_trial is not None or row.seeds != 1


def as_csv(rows: Iterable[Result]) -> str:
    """Returns every field with all digits, one line per cell."""
    names = [field.name for field in fields(Result)]
    told = [{name: getattr(row, name) for name in names} | {"badges": " ".join(row.badges)} for row in rows]
    return csv_text(names, [list(values.values()) for values in told])


def shown(db: Database, jobs: Sequence[Job]) -> Table:
    """Returns the table that `fts results` shows for these jobs."""
    rows = results(db, jobs)
    notes = [note for note in (data_note(rows), *across_assets(rows, jobs)) if note]
    return Table(COLUMNS, table(rows), NUMBERS, list(rows), as_csv(rows), LEAST, (*notes, LEGEND))


def across_assets(rows: Iterable[Result], jobs: Iterable[Job]) -> Iterator[str]:
    """Yields `2M/h1 on IXIC -0.031 [...] and SPX -0.047 [...]: holds: worse on both`, for cells of several assets.

    Uses walk-forward if every asset has it, and the latest search of an asset.
    """
    from fts.analysis.assets import held  # here: few studies have several assets

    there = {job.id: job for job in jobs}
    found: dict[tuple[str, ...], dict[str, dict[str, Result]]] = {}
    for row in sorted(rows, key=lambda row: row.job):
        job = there[row.job]
        if job.kind in COMPARED_KINDS and row.auc_gain is not None:
            asked = (f"{job.budget}/h{job.horizon}", job.task, job.tier)
            found.setdefault(asked, {}).setdefault(job.spec.get("cv") or "", {})[naming.ticker_of(job)] = row
    for (name, *_), splits in found.items():
        assets = sorted(max(splits.items(), key=lambda one: (len(one[1]), one[0]))[1].items())
        if len(assets) > 1:
            text = " and ".join(f"{ticker} {gain(row)}" for ticker, row in assets)
            ends = [(ticker, row.auc_gain_low or 0.0, row.auc_gain_high or 0.0) for ticker, row in assets]
            alone = [ticker for ticker, row in assets if not _allows_verdict(row)]
            yield f"{name} vs base on {text}: {held(ends, alone)}"


LEGEND = (
    "validation data only. 95%: interval of the AUC. prior: loss of always predicting the base rate. vs base: "
    "AUC minus that of the best baseline on the same days. Wh: energy of the training, where a sensor measures it"
)
