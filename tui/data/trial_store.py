"""Keeps ten thousand trials in a few hundred bytes each, and hands out whole ones as they are asked for.

A table paints forty rows of them at a time: as objects all of them would weigh ten megabytes, packed they weigh three.
"""

from __future__ import annotations

import marshal
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, overload

from fts.state.values import Trial

UNSHOWN: dict[str, Any] = {"effective": {}, "effective_md5": "", "recipe": None, "pid_started": None}
ALIKE = (  # equal in many trials of a cell: kept once for all of them
    "job_id", "status", "architecture", "objective", "direction", "n_params", "n_train", "n_val", "n_pos", "prior_loss",
    "label_md5", "base_rate", "data_md5", "code_commit", "code_dirty", "torch_version", "host", "device", "threads",
    "micro_batch", "accumulation", "predicted_bytes", "badges", "cause",
)  # fmt: skip
OWN = tuple(f.name for f in fields(Trial) if f.name not in (*ALIKE, *UNSHOWN, "params"))
UNPACKED = 120  # trials kept as objects, because a screen asks for the same ones again


class _Row(Sequence[Trial]):
    """Trials that are made when they are asked for: one by its place, or a slice of them."""

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
        """The trial at a place from 0."""


class TrialStore(_Row):
    """The trials of a cell by number, without what no screen shows; it never changes.

    Asking for one costs some microseconds, so a painter asks for those it paints, not for all.
    """

    def __init__(self, trials: Iterable[Trial] = ()) -> None:
        self.ids, self.numbers = array("q"), array("q")
        self._rows: list[bytes] = []
        self._alike: list[tuple[Any, ...]] = []
        self._alike_at: dict[tuple[Any, ...], int] = {}
        self._unpacked: dict[int, Trial] = {}
        for trial in trials:
            self._add(trial)

    def with_changes(self, changed: Mapping[int, Trial], added: Iterable[Trial]) -> TrialStore:
        """Another shelf in which some places hold another trial and some are new at the end."""
        other = TrialStore()
        other.ids, other.numbers = self.ids[:], self.numbers[:]
        other._rows, other._alike, other._alike_at = self._rows[:], self._alike[:], dict(self._alike_at)
        for place, trial in changed.items():
            other._rows[place] = other._packed(trial)
        for trial in added:
            other._add(trial)
        return other

    def at(self, place: int) -> Trial:
        """Unpacked, or as unpacked the last time."""
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
        alike = (*(getattr(trial, name) for name in ALIKE), tuple(trial.params))
        at = self._alike_at.setdefault(alike, len(self._alike))
        if at == len(self._alike):
            self._alike.append(alike)
        return marshal.dumps((at, *(getattr(trial, name) for name in OWN), *trial.params.values()))

    def _unpack(self, row: bytes) -> Trial:
        at, *rest = marshal.loads(row)  # our own bytes, never those of a file
        *alike, names = self._alike[at]
        own = dict(zip(OWN, rest, strict=False))  # what is left over are the parameters' values
        params = dict(zip(names, rest[len(OWN) :], strict=True))
        return Trial(params=params, **UNSHOWN, **own, **dict(zip(ALIKE, alike, strict=True)))


class Picked(_Row):
    """Trials of a shelf in an order of their own; live ones as the latest snapshot knows them."""

    def __init__(self, shelf: TrialStore, places: Sequence[int], live: Mapping[int, Trial]) -> None:
        self.ids = array("q", (shelf.ids[place] for place in places))
        self._shelf, self._places, self._live = shelf, places, live

    def at(self, place: int) -> Trial:
        """As the snapshot knows it if it lives, else as the shelf has it."""
        return self._live.get(self.ids[place]) or self._shelf[self._places[place]]

    def __len__(self) -> int:
        return len(self._places)


def ids_of(trials: Sequence[Trial]) -> Sequence[int]:
    """Their ids, in their order."""
    return trials.ids if isinstance(trials, TrialStore | Picked) else [trial.id for trial in trials]


def place_of(trials: Sequence[Trial], trial_id: int | None) -> int | None:
    """Where a trial stands; None when it is not among them."""
    if trial_id is None:
        return None
    try:
        return ids_of(trials).index(trial_id)
    except ValueError:
        return None


def by_id(trials: Sequence[Trial], trial_id: int | None) -> Trial | None:
    """The trial with this id, if it is among them."""
    place = place_of(trials, trial_id)
    return None if place is None else trials[place]


def by_number(trials: Sequence[Trial], number: int | None) -> Trial | None:
    """The trial with this number, if it is among them."""
    if number is None:
        return None
    if isinstance(trials, TrialStore):
        return trials[trials.numbers.index(number)] if number in trials.numbers else None
    return next((trial for trial in trials if trial.number == number), None)
