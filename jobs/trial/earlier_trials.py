"""The earlier trials of a job, as this process has been told of them; what it knows need not be told again.

A template process learns them before it forks, and makes the study of the trial to come: its fork has both in memory.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.grid import GRID
from fts.jobs.api.lag import seen_below
from fts.jobs.search.recorded_study import Rebuilt
from fts.jobs.search.sampler import PastTrial, add_trial, study_before

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import optuna

    from fts.jobs.api.spec import TrialSpec

NUMBER = attrgetter("number")


@dataclass(frozen=True)
class Prepared:
    """The study of a trial that has not begun."""

    cell: Any
    number: int
    known: int  # earlier trials
    study: optuna.Study


class Known:
    """Of one history; the supervisor names it by its job and claim."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self.past: list[PastTrial] = []  # in the order of their numbers
        self.rebuilt = Rebuilt()
        self._prepared: Prepared | None = None
        self._new: list[PastTrial] = []  # since then
        self._is_plain = True  # no sampler has kept anything, and no trial diverged, which changes what others count

    def learn(self, told: Iterable[Any]) -> None:
        """Raises BadSpec for what is no trial."""
        for data in told:
            past = PastTrial.from_json(data)
            place = bisect_left(self.past, past.number, key=NUMBER)
            known = place < len(self.past) and self.past[place].number == past.number
            self.past[place : place + known] = [past]
            self._new.append(past)
            self._is_plain &= not (past.kept or past.diverged)

    def prepare(self, cell: Any, number: int) -> Prepared:
        """Makes the study of that trial, or adds the latest trials to the one that is there.

        So a template need not touch the others, which it would copy: they are its forks', too.
        """
        latest, new, self._new = self._prepared, self._new, []
        known = bisect_left(self.past, seen_below(cell, number), key=NUMBER)
        whole = known == len(self.past) == number  # no number is missing
        goes_on = latest is not None and [one.number for one in new] == list(range(latest.number, number))
        if latest is not None and goes_on and whole and self._is_plain and latest.cell == cell:
            study = latest.study
            for one in new:
                add_trial(study, cell, one, self.rebuilt)
        else:
            study = study_before(cell, self.past[:known], number, sampler_of(cell), self.rebuilt)
        self._prepared = Prepared(cell, number, known, study)
        return self._prepared

    def study(self, cell: Any, number: int, trials: int) -> optuna.Study:
        """As it was when that trial began, which knew so many. Raises RuntimeError where these are not as many."""
        found = self._prepared
        if found is None or self._new or (found.cell, found.number) != (cell, number):
            found = self.prepare(cell, number)
        self._prepared = None  # the trial changes its study
        if found.known != trials:
            raise RuntimeError(f"the process knows {found.known} earlier trials, its specification {trials}")
        return found.study


KNOWN = Known()


def learn(name: str, told: Iterable[Any]) -> Known:
    """Adds to what is known under this name; another name is another history, and the former one is forgotten."""
    global KNOWN  # one for the process
    if KNOWN.name != name:
        KNOWN = Known(name)
    KNOWN.learn(told)
    return KNOWN


def sampler_of(cell: Any) -> optuna.samplers.BaseSampler:
    from fts.jobs.search.pure_sampler import PureSampler  # here: an interpreter without Optuna imports this file, too

    return PureSampler(
        "random" if cell.sampler == GRID else cell.sampler, cell.seed
    )  # a grid's points are drawn before


def study_of(spec: TrialSpec) -> optuna.Study:
    """The study of a trial as it was when the trial began.

    Raises RuntimeError where this process has not been told of as many trials as the specification says.
    """
    if spec.known is None:
        past = [PastTrial.from_json(past) for past in spec.history]
        return study_before(spec.cell, past, spec.number, sampler_of(spec.cell))
    known = learn(str(spec.known["history"]), spec.history)
    return known.study(spec.cell, spec.number, int(spec.known["trials"]))


def prepare(order: Mapping[str, Any]) -> None:
    """For a template: takes in earlier trials and makes the study of the next one, which a fork then has."""
    from fts.jobs.api.function import FunctionCell  # here: a process without a template never comes here

    known = learn(str(order["history"]), order["trials"])
    with contextlib.suppress(ModuleNotFoundError):  # without Optuna no function asks for a study
        known.prepare(FunctionCell.from_json(order["cell"]), int(order["number"]))
