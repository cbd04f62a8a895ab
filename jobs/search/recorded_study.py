"""Caches the recorded trials as Optuna's trials between two draws.

Rebuilding a study of 10,000 trials takes Optuna half a second. The cache is compared with the record each time and
rebuilt where it differs, so a draw still depends only on the record.
"""

from __future__ import annotations

from itertools import compress, count
from operator import attrgetter, is_not
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import optuna
    from optuna.trial import FrozenTrial

    from fts.jobs.search.columns import Columns, TrialTable
    from fts.jobs.search.past_trial import PastTrial

FILLED = "filled"  # attribute of a storage: (the Rebuilt that filled its study, number of trials)


class Rebuilt:
    """The cache of one search."""

    def __init__(self) -> None:
        self._terms: Any = None  # space and goals for which the trials were converted
        self._past: list[PastTrial | None] = []  # by place in the study
        self._frozen: list[FrozenTrial] = []  # the same trials, converted
        self._complete: list[bool] = []
        self._numbers: dict[int, tuple[int, int]] = {}
        self._table: TrialTable | None = None  # set by the first call of columns()

    def trials(
        self, past: Sequence[PastTrial | None], terms: Any, freeze: Callable[[PastTrial | None], FrozenTrial]
    ) -> list[FrozenTrial]:
        """Returns one trial per place of the study. None in `past` is a place without a known trial."""
        if terms != self._terms:
            self._terms, self._past, self._frozen, self._complete, self._table = terms, [], [], [], None
        for place in compress(count(), map(is_not, past, self._past)):
            one, before = past[place], self._past[place]
            if one != before:
                self._put(place, freeze(one))
            self._past[place] = one
        for place in range(len(self._past), len(past)):
            self._put(place, freeze(past[place]))
            self._past.append(past[place])
        return self._frozen[: len(past)]

    def _put(self, place: int, trial: FrozenTrial) -> None:
        trial.number = trial._trial_id = place  # as in a new storage
        self._frozen[place : place + 1] = [trial]
        self._complete[place : place + 1] = [trial.state.name == "COMPLETE"]
        if self._table is not None:
            self._table.put(place, trial)

    def add(self, study: optuna.Study, past: PastTrial, trial: FrozenTrial) -> None:
        """Adds one trial to a study that was filled with all earlier ones."""
        place = len(self._past)
        self._past.append(past)
        self._put(place, trial)
        study._storage.create_new_trial(study._study_id, template_trial=trial)
        if hasattr(study._storage, FILLED):
            setattr(study._storage, FILLED, (self, place + 1))

    def columns(self, count: int) -> Columns:
        """Returns the first `count` trials as arrays, which later trials do not change."""
        from fts.jobs.search.columns import Columns, TrialTable  # here: only TPE needs them

        if self._table is None:
            self._table = TrialTable(self._frozen)
        return Columns(self._table, count)

    def complete(self, trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
        """Returns the complete ones of the trials that `trials` returned last."""
        return list(compress(trials, self._complete))

    def numbers(self, count: int) -> dict[int, tuple[int, int]]:
        """Returns {trial id: (study id, number)} of a new storage, for at least `count` trials."""
        for number in range(len(self._numbers), count):
            self._numbers[number] = (0, number)
        return self._numbers


def fill(study: optuna.Study, trials: list[FrozenTrial], rebuilt: Rebuilt) -> None:
    """As `study.add_trials` on a new in-memory study, but without copying each trial. With an unknown version of Optuna
    it calls add_trials.
    """
    from optuna.storages import InMemoryStorage
    from optuna.study import StudyDirection

    storage = study._storage
    known = all(hasattr(storage, name) for name in ("_studies", "_trial_id_to_study_id_and_number", "_max_trial_id"))
    if type(storage) is not InMemoryStorage or not known or study._study_id != 0:
        study.add_trials(trials)
        return
    info = storage._studies[study._study_id]
    assert not info.trials and storage._max_trial_id == -1, "the study is new"
    info.trials = list(trials)
    storage._trial_id_to_study_id_and_number = rebuilt.numbers(len(trials))
    storage._max_trial_id = len(trials) - 1
    setattr(storage, FILLED, (rebuilt, len(trials)))
    complete = rebuilt.complete(trials)
    if complete and len(study.directions) == 1:
        better = max if study.direction == StudyDirection.MAXIMIZE else min
        info.best_trial_id = better(complete, key=attrgetter("value"))._trial_id
    elif complete:
        info.best_trial_id = complete[0]._trial_id
