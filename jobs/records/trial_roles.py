"""Finds the extra trials of a job outside its search: the winner with other seeds, and the baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.records.intervals import EstimatedValue, mean_interval
from fts.state.values import BASELINE, REPLICATE, ROLE, TrialStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fts.state.values import Trial

OF = "replicates"  # fact of a replicate: the number of the repeated trial


@dataclass(frozen=True)
class Replicates:
    """The winner with other seeds. Excludes the value of the search itself, which was selected for being good."""

    trials: tuple[Trial, ...]
    interval: EstimatedValue  # t interval of their mean
    curse: float  # how much better the search's value is than their mean; above 0: it was partly luck


def role_of(trial: Trial) -> str | None:
    """Returns `baseline` or `replicate`; None if the trial belongs to the search."""
    role = trial.facts.get(ROLE)
    return role if role in (BASELINE, REPLICATE) else None


def search_of(trials: Iterable[Trial]) -> list[Trial]:
    return [trial for trial in trials if role_of(trial) is None]


def replicates_of(winner: Trial | None, trials: Iterable[Trial]) -> Replicates | None:
    """Returns the winner's complete replicates; None if there are none."""
    if winner is None or winner.value is None:
        return None
    again = tuple(
        trial
        for trial in trials
        if role_of(trial) == REPLICATE
        and trial.facts.get(OF) == winner.number
        and trial.status is TrialStatus.COMPLETE
        and trial.value is not None
        and "diverged" not in trial.badges
    )
    if not again:
        return None
    interval = mean_interval([trial.value for trial in again if trial.value is not None])
    key = winner.direction.key
    return Replicates(again, interval, key(interval.value) - key(winner.value))


def baseline_of(trials: Iterable[Trial]) -> Trial | None:
    """Returns the latest complete baseline, or None."""
    done = [t for t in trials if role_of(t) == BASELINE and t.status is TrialStatus.COMPLETE and t.value is not None]
    return done[-1] if done else None
