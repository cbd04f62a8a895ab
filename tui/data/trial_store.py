"""Stores ten thousand trials packed in a few hundred bytes each, and unpacks them on access.

A table shows forty rows at a time. As objects all trials would take 10 MB, packed they take 3 MB.
"""

from __future__ import annotations

import marshal
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, overload

from fts.state.values import Trial

UNSHOWN: dict[str, Any] = {"effective": {}, "effective_md5": "", "recipe": None, "pid_started": None}  # not stored
SHARED = (  # fields that are equal in many trials of a cell: each combination is stored once
    "job_id", "status", "architecture", "objective", "direction", "n_params", "n_train", "n_val", "n_pos", "prior_loss",
    "label_md5", "base_rate", "data_md5", "code_commit", "code_dirty", "torch_version", "host", "device", "threads",
    "micro_batch", "accumulation", "predicted_bytes", "badges", "cause",
)  # fmt: skip
OWN = tuple(f.name for f in fields(Trial) if f.name not in (*SHARED, *UNSHOWN, "params"))
UNPACKED = 120  # trials cached as objects, because a screen needs the same ones again


class _LazyTrials(Sequence[Trial]):
    """A sequence whose trials are made on access."""

    @overload
    def __getitem__(self, place: int) -> Trial: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Trial, ...]: ...

    def __getitem__(self, place: int | slice) -> Trial | tuple[Trial, ...]:
        if isinstance(place, slice):
            return tuple(self[n] for n in range(*place.indices(len(self))))
        return self.at(range(len(self))[place])

    @abstractmethod
    def at(self, place: int) -> Trial:
        """Returns the trial at an index from 0."""


class TrialStore(_LazyTrials):
    """The trials of a cell in order of their number, without the fields that no screen shows. Immutable.

    An access takes some microseconds, so a painter should access only the trials that it paints.
    """

    def __init__(self, trials: Iterable[Trial] = ()) -> None:
        self.ids, self.numbers = array("q"), array("q")
        self._rows: list[bytes] = []
        self._shared: list[tuple[Any, ...]] = []
        self._shared_at: dict[tuple[Any, ...], int] = {}
        self._unpacked: dict[int, Trial] = {}
        for trial in trials:
            self._add(trial)

    def with_changes(self, changed: Mapping[int, Trial], added: Iterable[Trial]) -> TrialStore:
        """Returns a copy with some trials replaced (by index) and some added at the end."""
        other = TrialStore()
        other.ids, other.numbers = self.ids[:], self.numbers[:]
        other._rows, other._shared, other._shared_at = self._rows[:], self._shared[:], dict(self._shared_at)
        for place, trial in changed.items():
            other._rows[place] = other._packed(trial)
        for trial in added:
            other._add(trial)
        return other

    def at(self, place: int) -> Trial:
        """Returns the trial at an index, from the cache if it was unpacked before."""
        found = self._unpacked.get(place)
        if found is None:
            if len(self._unpacked) >= UNPACKED:
                self._unpacked.clear()
            found = self._unpacked[place] = self._unpack(self._rows[place])
        return found

    def __len__(self) -> int:
        return len(self._rows)

    def _add(self, trial: Trial) -> None:
        self.ids.append(trial.id)
        self.numbers.append(trial.number)
        self._rows.append(self._packed(trial))

    def _packed(self, trial: Trial) -> bytes:
        shared = (*(getattr(trial, name) for name in SHARED), tuple(trial.params))
        at = self._shared_at.setdefault(shared, len(self._shared))
        if at == len(self._shared):
            self._shared.append(shared)
        return marshal.dumps((at, *(getattr(trial, name) for name in OWN), *trial.params.values()))

    def _unpack(self, row: bytes) -> Trial:
        at, *rest = marshal.loads(row)  # safe: bytes of this process, never of a file
        *shared, names = self._shared[at]
        own = dict(zip(OWN, rest, strict=False))  # the rest are the parameters' values
        params = dict(zip(names, rest[len(OWN) :], strict=True))
        return Trial(params=params, **UNSHOWN, **own, **dict(zip(SHARED, shared, strict=True)))


class OrderedTrials(_LazyTrials):
    """Trials of a store in another order, some left out; live ones from the latest snapshot."""

    def __init__(self, store: TrialStore, places: Sequence[int], live: Mapping[int, Trial]) -> None:
        self.ids = array("q", (store.ids[place] for place in places))
        self._store, self._places, self._live = store, places, live

    def at(self, place: int) -> Trial:
        """Returns the trial at an index: from the snapshot if it is live, else from the store."""
        return self._live.get(self.ids[place]) or self._store[self._places[place]]

    def __len__(self) -> int:
        return len(self._places)


def ids_of(trials: Sequence[Trial]) -> Sequence[int]:
    """Returns the ids of the trials, in order."""
    return trials.ids if isinstance(trials, TrialStore | OrderedTrials) else [trial.id for trial in trials]


def place_of(trials: Sequence[Trial], trial_id: int | None) -> int | None:
    """Returns the index of a trial; None if it is not among them."""
    if trial_id is None:
        return None
    try:
        return ids_of(trials).index(trial_id)
    except ValueError:
        return None


def by_id(trials: Sequence[Trial], trial_id: int | None) -> Trial | None:
    """Returns the trial with this id, or None."""
    place = place_of(trials, trial_id)
    return None if place is None else trials[place]


def by_number(trials: Sequence[Trial], number: int | None) -> Trial | None:
    """Returns the trial with this number, or None."""
    if number is None:
        return None
    if isinstance(trials, TrialStore):
        return trials[trials.numbers.index(number)] if number in trials.numbers else None
    return next((trial for trial in trials if trial.number == number), None)
