"""The input of a report: trials, curves, baselines and predictions of a study, as frozen tables.

The caller fills a StudyData from the database; this package never opens it. Every part may be empty, because studies
are often unfinished.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fts.analysis.baselines import BaselineResult, score_predictions
from fts.analysis.trials_table import tidy_trials
from fts.scores.dependence import TooFewSamples
from fts.scores.intervals import Scores, measure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fts.scores.folds import Luck

EPOCH_COLUMNS = ("experiment", "number", "epoch", "train_loss", "val_loss", "train_auc", "val_auc")
CELL_COLUMNS = ("experiment", "budget", "horizon", "task", "tier", "trials_wanted", "status")
ENDED = ("complete", "pruned", "failed")  # of a trial
PREDICTION_COLUMNS = ("date", "y", "p")


class BadPredictionsFile(ValueError):
    """A predictions file has not the format that a trial writes."""


@dataclass(frozen=True, eq=False)
class BaselineRow:
    """One baseline on the validation windows of every cell with this task, horizon, tier and data."""

    task: str
    horizon: int
    tier: str
    data_md5: str
    result: BaselineResult
    dates: np.ndarray  # datetime64[D], n_val: the last day of each window, in the order of result.predictions
    scores: Scores | None = None  # every score with its interval; None if the samples do not allow one
    y: np.ndarray | None = None  # float64, the labels of those days

    def on(self, dates: np.ndarray) -> np.ndarray | None:
        """Returns its probabilities on these days, float64; None if some are missing."""
        by_day = pd.Series(self.result.predictions.astype(float), index=pd.to_datetime(self.dates))
        theirs = by_day.reindex(pd.to_datetime(dates)).to_numpy()
        return theirs if np.isfinite(theirs).all() else None


@dataclass(frozen=True, eq=False)
class WalkRow:
    """A cell's winner on walk-forward folds: S trainings with different seeds, N days of all folds in order."""

    experiment: str  # of the cell
    budget: str
    horizon: int
    task: str  # of the cell
    walk_task: str  # of the baselines on the same folds
    tier: str
    data_md5: str
    folds: int
    chosen_from: np.datetime64 | None  # the first validation day of the search that chose it; None: unknown
    dates: np.ndarray  # datetime64[D], N
    y: np.ndarray  # float64, N
    p_SN: tuple[np.ndarray, ...]  # noqa: N815  # shapes are upper-case suffixes; probabilities, float64
    wanted: int  # number of seeds wanted; running, waiting and failed ones are not among the S
    lucks: Mapping[str, Luck | None]  # variation over seeds, in AUC and log loss; None: no winner was trained twice
    recorded: tuple[tuple[float | None, ...], ...] = ()  # AUC, low and high end that each training recorded


def baseline_row(
    task: str,
    horizon: int,
    tier: str,
    data_md5: str,
    name: str,
    inputs: str,
    predictions: pd.DataFrame,
    seconds: float = 0.0,
    auc_ends: tuple[float | None, float | None] = (None, None),
) -> BaselineRow:
    """Returns a BaselineRow from stored predictions (`read_predictions`), scored again here, so that scores agree.

    auc_ends: the interval of the AUC that its trial recorded, which `fts results` shows, too.
    """
    y, p = predictions["y"].to_numpy(float), predictions["p"].to_numpy(float)
    result = score_predictions(name, inputs, y, p, horizon, seconds=seconds)
    try:
        scores = measure(y, p, horizon)
    except TooFewSamples:
        scores = None
    if scores is not None:  # use one interval on the whole page
        scores = replace(scores, auc=scores.auc.recorded(*auc_ends))
        result = replace(result, auc_low=scores.auc.low, auc_high=scores.auc.high)
    dates = predictions["date"].to_numpy().astype("datetime64[D]")
    return BaselineRow(task, horizon, tier, data_md5, result, dates, scores, y)


@dataclass(frozen=True)
class Importance:
    """Importance of each parameter of a cell: shares of the variance of the trials' ranks."""

    shares: Mapping[str, float]
    chance: float  # share that the luckiest parameter of a shuffled search stays below in 95 of 100


@dataclass(frozen=True)
class StudyData:
    """Everything that `write_report` and `summarise` read; `walks` are the winners on walk-forward folds.

    trials: any table `tidy_trials` accepts (v_trials, exports), of every kind; replicates are matched to their winner
    by effective_md5, other kinds than cells are ignored. epochs: EPOCH_COLUMNS and more; experiment and number name the
    trial. predictions: `trials_table.trial_name` -> table of PREDICTION_COLUMNS, for every complete trial that
    has them. prices: data_md5 -> High and Close by day, none of the test part.
    cells: CELL_COLUMNS of planned cells, so that the report can say what is missing. test_openings: one
    sentence per opened test set (who, when, which cell). newer: one sentence per search or walk without an ended trial,
    so that none of its trials is here. without_best: experiment -> why it has ended without a best trial.
    """

    trials: pd.DataFrame
    epochs: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(EPOCH_COLUMNS)))
    baselines: tuple[BaselineRow, ...] = ()
    predictions: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    cells: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(CELL_COLUMNS)))
    prices: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    walks: tuple[WalkRow, ...] = ()
    vix: pd.Series | None = None  # closes by day; None: unknown
    importance: Mapping[str, Importance] = field(default_factory=dict)  # experiment -> importance in its search
    test_openings: tuple[str, ...] = ()
    newer: tuple[str, ...] = ()
    without_best: Mapping[str, str] = field(default_factory=dict)
    title: str = "Does a transformer for daily prices get better as it grows?"
    source: str = ""  # source of the rows, shown in the footer
    made_at: str = ""  # UTC, as text; empty: not shown, so that equal data give an equal page
    earlier: tuple[str, ...] = field(init=False, default=())  # searches that a newer one of the same cell replaces
    looked: Mapping[tuple[str, str], int] = field(init=False, default_factory=dict)  # see `trials_looked_at`

    def __post_init__(self) -> None:
        every = tidy_trials(self.trials)
        object.__setattr__(self, "trials", newest_jobs(every))
        object.__setattr__(self, "earlier", earlier_searches(every, self.trials))
        object.__setattr__(self, "looked", trials_looked_at(every))
        for name, frame, columns in (
            ("epochs", self.epochs, EPOCH_COLUMNS[:5]),
            ("cells", self.cells, CELL_COLUMNS),
        ):
            if lacking := [column for column in columns if column not in frame]:
                raise ValueError(f"the {name} table has no {', '.join(lacking)}; expected {', '.join(columns)}")


def newest_jobs(trials: pd.DataFrame) -> pd.DataFrame:
    """Returns one search per experiment: if a cell was enqueued again with another specification, only the latest job.

    The latest with an ended trial, if there is one, because a first trial may run for a day. All replicates stay: three
    seeds and then five more belong to one winner, which their configuration identifies.
    """
    if "job" not in trials or trials.empty:
        return trials
    names = [trials["experiment"], trials["kind"]]
    begun = trials["job"].where(trials["status"].isin(ENDED)).groupby(names).transform("max")
    latest = begun.fillna(trials["job"].groupby(names).transform("max"))
    return trials[(trials["job"] == latest) | (trials["kind"] == "replicate")].reset_index(drop=True)


def trials_looked_at(trials: pd.DataFrame) -> dict[tuple[str, str], int]:
    """Returns (task, tier) -> number of trials among which a winner could be chosen: all cells and earlier searches."""
    judged = trials[(trials["kind"] == "cell") & trials["status"].isin(("complete", "pruned"))]
    return dict(Counter(zip(judged["task"].astype(str), judged["tier"].astype(str), strict=True)))


def earlier_searches(trials: pd.DataFrame, shown: pd.DataFrame) -> tuple[str, ...]:
    """Returns one sentence for each search that is older than the one `newest_jobs` shows."""
    if "job" not in trials or trials.empty:
        return ()
    searches = trials[trials["kind"] == "cell"].groupby(["experiment", "job"], as_index=False).agg(n=("number", "size"))
    if searches.empty:  # pandas cannot compare a job with the text of an empty look-up
        return ()
    latest = shown[shown["kind"] == "cell"].groupby("experiment")["job"].max()
    older = searches[searches["job"] < searches["experiment"].map(latest)]
    return tuple(
        f"{experiment}: job {job} ({n} trials) is an earlier search of this cell; only the newest is shown"
        for experiment, job, n in zip(older["experiment"], older["job"], older["n"], strict=True)
    )


def read_predictions(path: Path | str) -> pd.DataFrame:
    """Returns a trial's predictions.parquet: date (sorted, unique), y (0/1) and p in [0, 1].

    Raises BadPredictionsFile.
    """
    frame = pd.read_parquet(path)
    if lacking := [column for column in PREDICTION_COLUMNS if column not in frame]:
        raise BadPredictionsFile(f"{path} has no columns {', '.join(lacking)}; expected date, y and p")
    if frame.empty:
        raise BadPredictionsFile(f"{path} has no days; run the trial again")
    frame = frame[list(PREDICTION_COLUMNS)].assign(date=pd.to_datetime(frame["date"])).sort_values("date")
    if frame["date"].duplicated().any() or frame.isna().to_numpy().any() or not frame["p"].between(0, 1).all():
        raise BadPredictionsFile(f"{path} has duplicate days, gaps, or probabilities outside 0..1; run the trial again")
    if not frame["y"].isin((0, 1)).all():
        raise BadPredictionsFile(f"{path} has labels other than 0 and 1; run the trial again")
    return frame.reset_index(drop=True)
