"""The earlier trials of a job, cached in this process, so that each is sent to it only once.

A template process receives them before it forks and builds the study of the next trial, so the fork has both in memory.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.grid import GRID
from fts.jobs.api.lag import seen_below
from fts.jobs.search.past_trial import PastTrial
from fts.jobs.search.recorded_study import Rebuilt
from fts.jobs.search.sampler import add_trial, study_before

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import optuna

    from fts.jobs.api.spec import TrialSpec

NUMBER = attrgetter("number")


@dataclass(frozen=True)
class PreparedStudy:
    """The study of a trial that has not begun."""

    cell: Any
    number: int
    known: int  # number of earlier trials in the study
    study: optuna.Study


class EarlierTrials:
    """The known trials of one history, which the supervisor names by job and claim."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self.past: list[PastTrial] = []  # ordered by number
        self.rebuilt = Rebuilt()
        self._prepared: PreparedStudy | None = None
        self._new: list[PastTrial] = []  # trials learned after _prepared
        self._is_plain = True  # no sampler state, and no diverged trial, which would change the values of others

    def learn(self, trials: Iterable[Any]) -> None:
        """Adds or replaces trials. Raises BadSpec for invalid ones."""
        for data in trials:
            past = PastTrial.from_json(data)
            place = bisect_left(self.past, past.number, key=NUMBER)
            known = place < len(self.past) and self.past[place].number == past.number
            self.past[place : place + known] = [past]
            self._new.append(past)
            self._is_plain &= not (past.kept or past.diverged)

    def prepare(self, cell: Any, number: int) -> PreparedStudy:
        """Builds the study of a trial, or adds the latest trials to the prepared one.

        Adding avoids writing to the memory of the other trials, which a template shares with its forks.
        """
        latest, new, self._new = self._prepared, self._new, []
        known = bisect_left(self.past, seen_below(cell, number), key=NUMBER)
        whole = known == len(self.past) == number  # no number is missing
        continues = latest is not None and [one.number for one in new] == list(range(latest.number, number))
        if latest is not None and continues and whole and self._is_plain and latest.cell == cell:
            study = latest.study
            for one in new:
                add_trial(study, cell, one, self.rebuilt)
        else:
            study = study_before(cell, self.past[:known], number, sampler_of(cell), self.rebuilt)
        self._prepared = PreparedStudy(cell, number, known, study)
        return self._prepared

    def study(self, cell: Any, number: int, trials: int) -> optuna.Study:
        """Returns the study of a trial that knows `trials` earlier ones. Raises RuntimeError if the number differs."""
        found = self._prepared
        if found is None or self._new or (found.cell, found.number) != (cell, number):
            found = self.prepare(cell, number)
        self._prepared = None  # the trial changes its study
        if found.known != trials:
            raise RuntimeError(f"the process knows {found.known} earlier trials, its specification {trials}")
        return found.study


CURRENT = EarlierTrials()


def learn(name: str, trials: Iterable[Any]) -> EarlierTrials:
    """Adds trials to the history with this name. A new name discards the previous history."""
    global CURRENT  # one for the process
    if CURRENT.name != name:
        CURRENT = EarlierTrials(name)
    CURRENT.learn(trials)
    return CURRENT


def sampler_of(cell: Any) -> optuna.samplers.BaseSampler:
    from fts.jobs.search.pure_sampler import PureSampler  # here: interpreters without Optuna also import this file

    name = "random" if cell.sampler == GRID else cell.sampler  # the points of a grid are given as fixed parameters
    return PureSampler(name, cell.seed)


def study_of(spec: TrialSpec) -> optuna.Study:
    """Returns the study of a trial as it was when the trial began.

    Raises RuntimeError if this process knows another number of trials than the specification.
    """
    if spec.known is None:
        past = [PastTrial.from_json(past) for past in spec.history]
        return study_before(spec.cell, past, spec.number, sampler_of(spec.cell))
    known = learn(str(spec.known["history"]), spec.history)
    return known.study(spec.cell, spec.number, int(spec.known["trials"]))


def prepare(order: Mapping[str, Any]) -> None:
    """In a template: adds earlier trials and builds the study of the next one, which the fork inherits."""
    from fts.jobs.api.function import FunctionCell  # here: only a template needs it

    known = learn(str(order["history"]), order["trials"])
    with contextlib.suppress(ModuleNotFoundError):  # without Optuna no function uses a study
        known.prepare(FunctionCell.from_json(order["cell"]), int(order["number"]))
