"""The in-memory study of a search as it was when a trial began; between two draws only what has changed is built again.

What is kept decides nothing: a study that is rebuilt from the record holds the same trials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import InMemoryStorage

from fts.jobs.api.goals import goals_of
from fts.jobs.api.study import MAXIMIZE
from fts.jobs.search.sampler import NO_HISTORY, PastTrial, frozen, with_bad_region

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.trial import FrozenTrial

MOST_KEPT = 4  # searches of one process


class RecordStorage(InMemoryStorage):
    """Takes recorded trials as they are, without a copy of each."""

    def __init__(self, first: int = 0) -> None:
        super().__init__()
        self.first = first  # number of the first trial, of a search that needs none of those before
        self.held: list[PastTrial | None] = []  # what stands in it

    def hold(self, study_id: int, start: int, trials: Sequence[FrozenTrial]) -> None:
        """From number `start` on there are these trials, and no other."""
        there = self._studies[study_id].trials
        for trial in there[start:]:
            del self._trial_id_to_study_id_and_number[trial._trial_id]
        del there[start:]
        self._studies[study_id].best_trial_id = None
        self._studies[study_id].system_attrs = {}
        self._prev_waiting_trial_number[study_id] = 0
        self._max_trial_id = start - 1  # an identity is a number: what samplers keep names trials by it
        for number, trial in enumerate(trials, start=start):
            trial.number = trial._trial_id = self._max_trial_id = number
            self._trial_id_to_study_id_and_number[number] = (study_id, number)
            there.append(trial)
        if self._studies[study_id].directions is not None and len(self._studies[study_id].directions) == 1:
            for trial in there:
                self._update_cache(trial._trial_id, study_id)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        trial_id = super().create_new_trial(study_id, template_trial)
        self._get_trial(trial_id).number += self.first
        return trial_id


_KEPT: dict[str, optuna.Study] = {}  # identity of a cell -> its study


def study_before(
    cell: Any,
    history: Sequence[PastTrial],
    number: int,
    sampler: optuna.samplers.BaseSampler,
    keep: bool = False,
) -> optuna.Study:
    """As it was when trial `number` of the cell began: earlier trials stand at their own numbers.

    `keep`: this process will ask again, and gives the study to nobody else.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    goals = goals_of(cell)
    if cell.sampler in NO_HISTORY:
        return _made(cell, sampler, RecordStorage(first=number))
    if cell.diverged == "worst":
        history = with_bad_region(history, next(iter(goals.values())) == MAXIMIZE, goals)
    past = {one.number: one for one in history if one.number < number}
    wanted = [past.get(n) for n in range(number)]
    study = _KEPT.get(key := cell.identity) if keep else None
    if study is None:
        study = _made(cell, sampler, RecordStorage())
    storage = study._storage
    assert isinstance(storage, RecordStorage), "it was made with one"
    same = _common(storage.held, wanted)
    nothing = optuna.trial.TrialState.FAIL  # samplers leave failed ones out
    fresh = [
        optuna.trial.create_trial(state=nothing) if one is None else frozen(cell.space or {}, one, goals)
        for one in wanted[same:]
    ]
    storage.hold(study._study_id, same, fresh)
    storage.held = wanted
    for one in wanted:
        for name, value in one.kept.get("study", {}).items() if one is not None and one.kept else ():
            storage.set_study_system_attr(study._study_id, name, value)
    study.sampler = sampler
    if keep:
        _KEPT.pop(key, None)
        _KEPT[key] = study
        while len(_KEPT) > MOST_KEPT:
            del _KEPT[next(iter(_KEPT))]
    return study


def _made(cell: Any, sampler: optuna.samplers.BaseSampler, storage: RecordStorage) -> optuna.Study:
    directions = [optuna.study.StudyDirection[goal.upper()] for goal in goals_of(cell).values()]
    name = getattr(cell, "study", None)
    return optuna.create_study(directions=directions, sampler=sampler, study_name=name, storage=storage)


def _common(one: Sequence[PastTrial | None], other: Sequence[PastTrial | None]) -> int:
    """How many trials are the same at the beginning."""
    for n, (a, b) in enumerate(zip(one, other, strict=False)):
        if a is not b and a != b:
            return n
    return min(len(one), len(other))
