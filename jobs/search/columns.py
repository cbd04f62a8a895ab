"""The trials of a study as arrays, one for each parameter: what TPE reads of them, without looking at each trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    Numbers = npt.NDArray[np.float64]  # one for each place; NaN: nothing there
    Places = npt.NDArray[np.intp]

NONE, COMPLETE, PRUNED, RUNNING = range(4)  # states; of a trial that says nothing to a sampler: NONE
STATES = {TrialState.COMPLETE: COMPLETE, TrialState.PRUNED: PRUNED, TrialState.RUNNING: RUNNING}


class Table:
    """Grows with the trials, of which one may also take the place of another."""

    def __init__(self, trials: Iterable[FrozenTrial] = ()) -> None:
        self.states = np.zeros(64, dtype=np.int8)
        self.values = np.full(64, np.nan)
        self.constrained = np.zeros(64, dtype=bool)
        self.params: dict[str, Column] = {}
        for place, trial in enumerate(trials):
            self.put(place, trial)

    def put(self, place: int, trial: FrozenTrial) -> None:
        self.states, self.values = grown(self.states, place, NONE), grown(self.values, place, np.nan)
        self.constrained = grown(self.constrained, place, False)
        self.states[place] = STATES.get(trial.state, NONE)
        told = trial.values
        self.values[place] = told[0] if told is not None and len(told) == 1 else np.nan
        self.constrained[place] = any("constraints" in name for name in trial.system_attrs)
        for name in self.params.keys() - trial.params.keys():
            self.params[name].put(place, None)
        for name, value in trial.params.items():
            if name not in self.params:
                self.params[name] = Column(isinstance(trial.distributions[name], CategoricalDistribution))
            self.params[name].put(place, trial.distributions[name], value)


class Column:
    """One parameter: a number is itself; a choice is the place of its value among the different ones."""

    def __init__(self, is_choice: bool) -> None:
        self.is_choice = is_choice
        self.is_plain = True  # else only Optuna can say what the values are
        self.numbers = np.full(64, np.nan)
        self.different: dict[Any, int] = {}

    def put(self, place: int, distribution: BaseDistribution | None, value: Any = None) -> None:
        self.numbers = grown(self.numbers, place, np.nan)
        try:
            self.numbers[place] = np.nan if distribution is None else self._number(distribution, value)
        except (TypeError, OverflowError):
            self.is_plain = False

    def _number(self, distribution: BaseDistribution, value: Any) -> float:
        """Raises TypeError, OverflowError."""
        if isinstance(distribution, CategoricalDistribution) is not self.is_choice:
            raise TypeError("numbers and choices under one name")
        if self.is_choice:
            return self.different.setdefault(value, len(self.different))
        if type(value) not in (int, float) or value != value:
            raise TypeError("no number")
        return float(value)


class Columns:
    """The first `count` trials of a table, as a study has them that stands still."""

    def __init__(self, table: Table, count: int) -> None:
        self.table, self.count = table, count
        self.states, self.values = table.states[:count], table.values[:count]
        self.finished = int(np.count_nonzero((self.states == COMPLETE) | (self.states == PRUNED)))
        self.split: tuple[Places, Places] | None = None  # of TPE; see fast_tpe

    @property
    def is_constrained(self) -> bool:
        return bool(self.table.constrained[: self.count].any())

    def values_of(self, name: str, distribution: BaseDistribution, places: Places) -> Any | None:
        """What `to_internal_repr` gives for the trials there that drew it; None: only Optuna can say."""
        column = self.table.params.get(name)
        if column is None:
            return np.asarray([])
        found = column.numbers[places[places < len(column.numbers)]]
        found = found[~np.isnan(found)]
        if not column.is_plain:
            return None
        if column.is_choice:
            return chosen(found, column, distribution)
        if not isinstance(distribution, FloatDistribution | IntDistribution):
            return None
        return None if distribution.log and (found <= 0.0).any() else found


def chosen(found: Numbers, column: Column, distribution: BaseDistribution) -> Any | None:
    if not isinstance(distribution, CategoricalDistribution):
        return None
    index: dict[Any, int] = {}
    try:
        for place, choice in enumerate(distribution.choices):
            index.setdefault(choice, place)  # the first of two that are equal, as `index` finds it
        return np.asarray([index[value] for value in column.different])[found.astype(np.intp)]
    except (KeyError, TypeError):
        return None


def grown(array: Any, place: int, nothing: Any) -> Any:
    """The array, long enough for that place."""
    if place < len(array):
        return array
    longer = np.full(2 * (place + 1), nothing, dtype=array.dtype)
    longer[: len(array)] = array
    return longer
