"""The trials of a study as arrays, one per parameter, so that TPE need not read each trial."""

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

    Numbers = npt.NDArray[np.float64]  # one number per place; NaN: the trial has none
    Places = npt.NDArray[np.intp]

NONE, COMPLETE, PRUNED, RUNNING = range(4)  # states; NONE: samplers ignore the trial
STATES = {TrialState.COMPLETE: COMPLETE, TrialState.PRUNED: PRUNED, TrialState.RUNNING: RUNNING}


class TrialTable:
    """The arrays of all trials, which grow with the trials. A trial may also be replaced."""

    def __init__(self, trials: Iterable[FrozenTrial] = ()) -> None:
        self.states = np.zeros(64, dtype=np.int8)
        self.values = np.full(64, np.nan)
        self.constrained = np.zeros(64, dtype=bool)
        self.params: dict[str, ParameterColumn] = {}
        for place, trial in enumerate(trials):
            self.put(place, trial)

    def put(self, place: int, trial: FrozenTrial) -> None:
        self.states, self.values = grown(self.states, place, NONE), grown(self.values, place, np.nan)
        self.constrained = grown(self.constrained, place, False)
        self.states[place] = STATES.get(trial.state, NONE)
        values = trial.values
        self.values[place] = values[0] if values is not None and len(values) == 1 else np.nan
        self.constrained[place] = any("constraints" in name for name in trial.system_attrs)
        for name in self.params.keys() - trial.params.keys():
            self.params[name].put(place, None)
        for name, value in trial.params.items():
            if name not in self.params:
                self.params[name] = ParameterColumn(isinstance(trial.distributions[name], CategoricalDistribution))
            self.params[name].put(place, trial.distributions[name], value)


class ParameterColumn:
    """The values of one parameter. A choice is stored as the index of its value in `different`."""

    def __init__(self, is_choice: bool) -> None:
        self.is_choice = is_choice
        self.is_plain = True  # False: the values must be read by Optuna
        self.numbers = np.full(64, np.nan)
        self.different: dict[Any, int] = {}

    def put(self, place: int, distribution: BaseDistribution | None, value: Any = None) -> None:
        self.numbers = grown(self.numbers, place, np.nan)
        try:
            self.numbers[place] = np.nan if distribution is None else self._number(distribution, value)
        except (TypeError, OverflowError):
            self.is_plain = False

    def _number(self, distribution: BaseDistribution, value: Any) -> float:
        """Returns the stored number of a value. Raises TypeError or OverflowError."""
        if isinstance(distribution, CategoricalDistribution) is not self.is_choice:
            raise TypeError("numbers and choices under one name")
        if self.is_choice:
            return self.different.setdefault(value, len(self.different))
        if type(value) not in (int, float) or value != value:
            raise TypeError("not a number")
        return float(value)


class Columns:
    """The first `count` trials of a table. They do not change when trials are added."""

    def __init__(self, table: TrialTable, count: int) -> None:
        self.table, self.count = table, count
        self.states, self.values = table.states[:count], table.values[:count]
        self.finished = int(np.count_nonzero((self.states == COMPLETE) | (self.states == PRUNED)))
        self.split: tuple[Places, Places] | None = None  # cache of fast_tpe.split

    @property
    def is_constrained(self) -> bool:
        return bool(self.table.constrained[: self.count].any())

    def values_of(self, name: str, distribution: BaseDistribution, places: Places) -> Any | None:
        """Returns `to_internal_repr` of the values at these places, skipping missing ones; None: Optuna must read."""
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


def chosen(found: Numbers, column: ParameterColumn, distribution: BaseDistribution) -> Any | None:
    if not isinstance(distribution, CategoricalDistribution):
        return None
    index: dict[Any, int] = {}
    try:
        for place, choice in enumerate(distribution.choices):
            index.setdefault(choice, place)  # of equal choices the first, as in Optuna
        return np.asarray([index[value] for value in column.different])[found.astype(np.intp)]
    except (KeyError, TypeError):
        return None


def grown(array: Any, place: int, nothing: Any) -> Any:
    """Returns the array, extended if it is too short for the place."""
    if place < len(array):
        return array
    longer = np.full(2 * (place + 1), nothing, dtype=array.dtype)
    longer[: len(array)] = array
    return longer
